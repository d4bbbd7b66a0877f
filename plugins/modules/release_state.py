#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_state
short_description: Say whether a site already runs what is wanted, and works
version_added: 0.1.0
description:
  - Looks in one go at all that an update of a site would change - the commit of the version, what the release was built
    with, the files that it reads, the systemd units - and asks the site through its own socket and through the front.
  - An update that finds nothing to do needs no other task. Whatever is not as wanted is only named here, and brought by
    the other modules.
  - Nothing is changed.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment:
  - coralnet.server.attributes
  - coralnet.server.probe
  - coralnet.server.text_files
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  name:
    description: The site's name, as in M(coralnet.server.release_switch).
    type: str
    required: true
  root:
    description: The site's directory.
    type: path
    required: true
  lock:
    description:
      - The file of M(coralnet.server.deploy_lock). While it is there somebody deploys or is to, or a deployment has
        left something to do.
    type: path
    required: true
  repository:
    description: Where the site's source is.
    type: str
    required: true
  mirror:
    description: The bare mirror of the repository.
    type: path
    required: true
  version:
    description: A branch, a tag, V(HEAD), a full reference, or a commit.
    type: str
    required: true
  user:
    description: The account that asks the repository.
    type: str
    required: true
  inputs:
    description: Whatever else a build depends on, as in M(coralnet.server.release_plan).
    type: dict
    default: {}
  config_files:
    description: Paths of the files that an instance reads when it starts, as in M(coralnet.server.release_switch).
    type: list
    elements: path
    default: []
seealso:
  - module: coralnet.server.release_plan
  - module: coralnet.server.config_files
  - module: coralnet.server.release_switch
"""

EXAMPLES = r"""
- name: See whether there is anything to do
  coralnet.server.release_state:
    name: coralnet
    root: /srv/www/coralnet
    lock: /srv/www/coralnet/lock.json
    repository: https://git.example/coralnet.git
    mirror: /srv/www/coralnet/repo.git
    version: main
    user: coralnet-deploy
    files:
      - path: /etc/gunicorn/coralnet.conf.py
        content: "{{ lookup('ansible.builtin.template', 'gunicorn.conf.py.j2') }}"
    host: coralnet.ucsd.edu
    front: http://127.0.0.1
  register: site_state
"""

RETURN = r"""
settled:
  description: Whether all is as wanted, and the site answers well.
  type: bool
  returned: always
reason:
  description: What is not. Empty where all is.
  type: str
  returned: always
files_current:
  description: Whether O(files) are as they should be, and nobody deploys who might change them.
  type: bool
  returned: always
release:
  description: The release that runs. Empty where there is none.
  type: str
  returned: always
commit:
  description: The commit of that release. Empty where there is none.
  type: str
  returned: always
"""

import os
from collections.abc import Iterator

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._files import FILES, TextFile
from ansible_collections.coralnet.server.plugins.module_utils._git import GitError, mirror_of
from ansible_collections.coralnet.server.plugins.module_utils._probe import PROBE, ask
from ansible_collections.coralnet.server.plugins.module_utils._release import Release, current, digest, finished
from ansible_collections.coralnet.server.plugins.module_utils._run import runner
from ansible_collections.coralnet.server.plugins.module_utils._switch import Switcher
from ansible_collections.coralnet.server.plugins.module_utils._systemd import SystemdError
from ansible_collections.coralnet.server.plugins.module_utils._user import as_user


def wanted_commit(module: AnsibleModule) -> str:
    """Name the commit of the version; empty where the mirror has yet to fetch it."""
    params = module.params
    mirror = mirror_of(params["mirror"], params["repository"], lambda argv: as_user(module, params["user"], argv))
    version = mirror.remote(params["version"])
    if version.commit:
        return version.commit
    return mirror.local_commit(version.object) if mirror.has(version.object) else ""


def reasons(module: AnsibleModule, root: str, running: Release | None, changed: list[str]) -> Iterator[str]:
    """Name what is not as wanted, the quickest to find first."""
    params = module.params
    if os.path.exists(params["lock"]):
        yield f"{params['lock']} is there"
    if not running:
        yield "no release runs"
        return
    yield from (f"{path} has changed" for path in changed)
    if running.inputs != digest(params["inputs"]):
        yield f"{running.name} was built with something else"
    if running.commit != wanted_commit(module):
        yield f"{params['version']} has another commit"
    switcher = Switcher(params["name"], root, running.name, params["config_files"], runner(module))
    plan = switcher.plan()
    if plan.changed:
        yield f"{plan.instance} does not run as it should"
    for where in (switcher.socket(plan.instance), params["front"]):
        yield ask(params, where, plan.instance)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "lock": {"type": "path", "required": True},
            "repository": {"type": "str", "required": True},
            "mirror": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "inputs": {"type": "dict", "default": {}},
            "files": FILES,
            "config_files": {"type": "list", "elements": "path", "default": []},
            **PROBE,
        },
        supports_check_mode=True,
    )
    root = os.path.normpath(module.params["root"])
    running = next((release for release in finished(root) if release.name == current(root)), None)
    files_current = False
    try:
        changed = [file.path for file in (TextFile(**words) for words in module.params["files"]) if file.differs]
        files_current = not changed and not os.path.exists(module.params["lock"])
        reason = next(filter(None, reasons(module, root, running, changed)), "")
    except (GitError, SystemdError, OSError, KeyError) as exc:  # the modules that bring things say it better
        reason = str(exc)
    module.exit_json(
        changed=False,
        settled=not reason,
        reason=reason,
        files_current=files_current,
        release=running.name if running else "",
        commit=running.commit if running else "",
    )


if __name__ == "__main__":
    main()
