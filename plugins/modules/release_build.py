#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_build
short_description: Build a release of a site beside those that are there
version_added: 0.1.0
description:
  - Checks a commit out of the site's mirror, links what outlives a release into it, and gives it a virtual environment,
    all as the account that deploys. Nothing that serves is touched.
  - Releases with the same requirements share one virtual environment, under C(venvs/) in the site's directory. The same
    are the content of the requirements files and of those that they include, the further packages, the environment of
    the installer, the interpreter's version, and the version of pip that comes with it.
  - What is installed from the project's own files (editable, or from a path) is shared with no other release, because
    it would mix their code. So are requirements of which the module cannot say that they come from elsewhere.
  - With uv, a new virtual environment begins as a copy of the newest one of the same interpreter, from which uv takes
    what nobody asks for any more, and into which it brings what is missing or newer. What comes out is what a fresh one
    would have. Its files are hard links, so only what differs takes room. It is a fresh one where a requirement
    has a hash or an address, since an installer passes over what is there in the same version, and where copying fails,
    since root has put something in there that the account may not read.
  - The records, C(venv.json) and C(release.json), are written last, so what a run that died has left is not taken for
    finished. What could not be built is removed.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: none
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  root:
    description: The site's directory, which holds C(releases/) and C(venvs/).
    type: path
    required: true
  release:
    description: The new release's name, from M(coralnet.server.release_plan).
    type: str
    required: true
  mirror:
    description: The mirror of the site's repository on the host.
    type: path
    required: true
  repository:
    description: The address of the repository itself, to which those of its submodules may be relative.
    type: str
    default: ""
  commit:
    description: The commit, in full.
    type: str
    required: true
  record:
    description: What else the release's record says of it.
    type: dict
    default: {}
  user:
    description: The account that deploys, which owns the release.
    type: str
    required: true
  group:
    description: The group that reads it, which is the site's.
    type: str
    required: true
  links:
    description: Symbolic links in the source.
    type: list
    elements: dict
    default: []
    suboptions:
      link:
        description: Where, relative to the source.
        type: str
        required: true
      target:
        description: What it leads to.
        type: path
        required: true
  requirements:
    description: Requirements files, relative to the source.
    type: list
    elements: str
    default: []
  packages:
    description: Requirements besides.
    type: list
    elements: str
    default: []
  environment:
    description: The environment variables that the installer is given. They are not logged.
    type: dict
    default: {}
  python:
    description: The interpreter, a command on the host or a path.
    type: str
    default: python3
  virtualenv:
    description:
      - Words of the command that makes a virtual environment, to which its path is added. Empty is the installer's own.
    type: list
    elements: str
    default: []
  extra_installs:
    description: Further calls of the installer after the others, each the words after C(install).
    type: list
    elements: list
    default: []
  installer:
    description: What installs the requirements.
    type: str
    choices: [pip, uv]
    default: uv
  upgrade_pip:
    description: Whether pip is upgraded before it is used.
    type: bool
    default: false
  uv:
    description: Path of the uv to use. Where it is empty, pip installs one into C(venvs/uv).
    type: path
  rebuild:
    description: Whether to make a fresh virtual environment even where one could be shared or copied.
    type: bool
    default: false
seealso:
  - module: coralnet.server.release_plan
  - module: coralnet.server.release_switch
"""

EXAMPLES = r"""
- name: Build the release
  coralnet.server.release_build:
    root: /srv/www/coralnet
    release: 20261124T101500Z-0123456789
    mirror: /srv/www/coralnet/repo.git
    commit: 0123456789abcdef0123456789abcdef01234567
    user: coralnet-deploy
    group: coralnet
    requirements: [requirements/production.txt]
    links:
      - link: project/config/settings/secrets.json
        target: /srv/www/coralnet/shared/secrets.json
"""

RETURN = r"""
venv:
  description: Name of its virtual environment, a directory under C(venvs/).
  type: str
  returned: success
  sample: 20261101T080000Z-89abcdef01
installed:
  description: Whether that was made for it; others shared theirs.
  type: bool
  returned: success
copied:
  description: The virtual environment that it began as a copy of. Empty where there was none.
  type: str
  returned: success
"""

import json
import os
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._files import TextFile
from ansible_collections.coralnet.server.plugins.module_utils._installer import (
    BuildError,
    Program,
    Wanted,
    install_with_pip,
    install_with_uv,
    own_uv,
)
from ansible_collections.coralnet.server.plugins.module_utils._release import RECORD
from ansible_collections.coralnet.server.plugins.module_utils._secret import hide_credentials
from ansible_collections.coralnet.server.plugins.module_utils._user import as_user
from ansible_collections.coralnet.server.plugins.module_utils._venv import RECORD as VENV_RECORD
from ansible_collections.coralnet.server.plugins.module_utils._venv import (
    common_ground,
    fingerprint,
    hashed,
    reusable,
)

# A new virtual environment gets the pip that comes with the interpreter
VERSIONS = "import ensurepip, sys; print(sys.executable, sys.version, ensurepip.version())"
# and another command brings its own, also for an interpreter that has none
VERSION = "import sys; print(sys.executable + sys.version)"


def keep_secret(module: AnsibleModule) -> None:
    """Hide the credentials of indexes and repositories in whatever is said; all values would hide every 1 as well."""
    params = module.params
    module.no_log_values.clear()
    extra = [word for words in params["extra_installs"] for word in words]
    hide_credentials(
        module, [*map(str, params["environment"].values()), params["repository"], *params["packages"], *extra]
    )


def check_out(run: Program, mirror: str, repository: str, commit: str, source: str) -> None:
    run("clone the source", ["git", "clone", "--quiet", "--no-checkout", "--", mirror, source], {})
    git = ["git", "-C", source]
    run("check the source out", [*git, "checkout", "--quiet", "--detach", commit], {})
    if os.path.lexists(os.path.join(source, ".gitmodules")):
        # Addresses that are relative mean the repository, and not the mirror
        origin = ["-c", f"remote.origin.url={repository}"] if repository else []
        run("check the submodules out", [*git, *origin, "submodule", "--quiet", "update", "--init", "--recursive"], {})


class Builder:
    """Builds one release; whatever of it has been made is known, so that it can be removed."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._params = module.params
        self._root = os.path.normpath(module.params["root"])
        self._environment = {name: str(value) for name, value in module.params["environment"].items()}
        self._directory = os.path.join(self._root, "releases", module.params["release"])
        self._source = os.path.join(self._directory, "src")
        self._made: list[str] = []

    def build(self) -> dict[str, Any]:
        params = self._params
        self._make_directory()
        check_out(self._run, params["mirror"], params["repository"], params["commit"], self._source)
        result = self._find_venv()
        self._link(f"../../venvs/{result['venv']}", os.path.join(self._directory, "venv"))
        for link in params["links"]:
            self._link(link["target"], os.path.join(self._source, link["link"]))
        self._record(os.path.join(self._directory, RECORD), {"commit": params["commit"], **params["record"]})
        return result

    def remove(self) -> None:
        for path in self._made:
            shutil.rmtree(path, ignore_errors=True)

    def _run(self, purpose: str, argv: list[str], environment: dict[str, str]) -> str:
        variables = {**self._environment, **environment}
        cwd = self._source if os.path.isdir(self._source) else "/"
        rc, out, err = as_user(self._module, self._params["user"], argv, cwd, variables, umask=0o027)
        if rc != 0:
            raise BuildError(purpose, rc, out, err)
        return out

    def _make_directory(self) -> None:
        """Its set-group-ID bit gives all that is made in it to the site's group, for reading."""
        os.mkdir(self._directory)
        self._made.append(self._directory)
        shutil.chown(self._directory, self._params["user"], self._params["group"])
        os.chmod(self._directory, 0o2755)  # noqa: S103 - nginx passes through it on its way to the socket

    def _find_venv(self) -> dict[str, Any]:
        """Share a virtual environment, or make one."""
        params = self._params
        interpreter = self._run(
            "make virtual environments", [params["python"], "-c", VERSION if params["virtualenv"] else VERSIONS], {}
        )
        interpreter += " ".join(params["virtualenv"])
        needs = [self._source, params["requirements"], params["packages"], self._environment, interpreter]
        same = "" if params["extra_installs"] else fingerprint(*needs)
        shared = "" if params["rebuild"] else reusable(self._root, "fingerprint", same)
        if shared:
            return {"venv": shared, "installed": False, "copied": ""}
        ground = common_ground(*needs) if same else ""
        copied = "" if params["rebuild"] or params["installer"] == "pip" else reusable(self._root, "ground", ground)
        path = os.path.join(self._root, "venvs", params["release"])
        self._made.append(path)
        began_as_copy = self._install(path, copied)
        self._record(os.path.join(path, VENV_RECORD), {"fingerprint": same, "ground": ground})
        return {"venv": params["release"], "installed": True, "copied": copied if began_as_copy else ""}

    def _install(self, path: str, copied: str) -> bool:
        params = self._params
        wanted = Wanted(
            path,
            params["python"],
            params["requirements"],
            params["packages"],
            hashed(self._source, params["requirements"]),
            params["virtualenv"],
            params["extra_installs"],
        )
        if params["installer"] == "pip":
            install_with_pip(self._run, wanted, params["upgrade_pip"])
            return False
        venvs = os.path.join(self._root, "venvs")
        uv = params["uv"] or own_uv(self._run, os.path.join(venvs, "uv"), params["python"], params["rebuild"])
        return install_with_uv(self._run, wanted, uv, self._environment, os.path.join(venvs, copied) if copied else "")

    def _link(self, target: str, link: str) -> None:
        """As the account that owns the source, which must not have a link made where it may not make one itself."""
        words = ["ln", "--symbolic", "--force", "--no-target-directory", "--", target, link]
        self._run(f"link {link}", words, {})

    def _record(self, path: str, content: dict[str, Any]) -> None:
        text = json.dumps(content, indent=4, sort_keys=True) + "\n"
        TextFile(path, text, self._params["user"], self._params["group"], "0644").write()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "mirror": {"type": "path", "required": True},
            "repository": {"type": "str", "default": ""},
            "commit": {"type": "str", "required": True},
            "record": {"type": "dict", "default": {}},
            "user": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
            "links": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"link": {"type": "str", "required": True}, "target": {"type": "path", "required": True}},
            },
            "requirements": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "environment": {"type": "dict", "default": {}, "no_log": True},
            "python": {"type": "str", "default": "python3"},
            "virtualenv": {"type": "list", "elements": "str", "default": []},
            "extra_installs": {"type": "list", "elements": "list", "default": []},
            "installer": {"type": "str", "choices": ["pip", "uv"], "default": "uv"},
            "upgrade_pip": {"type": "bool", "default": False},
            "uv": {"type": "path"},
            "rebuild": {"type": "bool", "default": False},
        },
    )
    keep_secret(module)
    builder = Builder(module)
    try:
        result = builder.build()
    except BuildError as exc:
        builder.remove()
        module.fail_json(msg=str(exc), output=exc.output)
    except (OSError, LookupError) as exc:
        builder.remove()
        module.fail_json(msg=f"could not build {module.params['release']}: {exc}")
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
