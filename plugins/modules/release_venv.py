#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_venv
short_description: Find the virtual environment that a release of a site can share
version_added: 0.1.0
description:
  - Releases with the same requirements share one virtual environment, under C(venvs/) in the site's directory. This
    module says which one a release is to use, and whether it has yet to be built.
  - The same are the content of the requirements files and of those that they include, the further packages, the
    environment of pip, the interpreter's version, and the version of pip that comes with it.
  - A virtual environment's record (C(venv.json)) is written last, so one whose build died is not found.
  - What is installed from the project's own files (editable, or from a path) is shared with no other release, because
    it would mix their code. So are requirements of which the module cannot say that they come from elsewhere.
  - Nothing is changed.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  root:
    description: The site's directory, which holds C(venvs/).
    type: path
    required: true
  release:
    description: The release that is being built, after which a new virtual environment is named.
    type: str
    required: true
  source:
    description: The directory of the release's source, in which pip runs.
    type: path
    required: true
  requirements:
    description: Requirements files, relative to O(source).
    type: list
    elements: str
    default: []
  packages:
    description: Requirements besides.
    type: list
    elements: str
    default: []
  environment:
    description: The environment variables that pip is given.
    type: dict
    default: {}
  python:
    description: The interpreter, a command on the host or a path.
    type: str
    default: python3
  rebuild:
    description: Whether to build a new one even where one could be shared.
    type: bool
    default: false
seealso:
  - module: coralnet.server.release_plan
"""

EXAMPLES = r"""
- name: Find the virtual environment
  coralnet.server.release_venv:
    root: /srv/www/coralnet
    release: 20261124T101500Z-0123456789
    source: /srv/www/coralnet/releases/20261124T101500Z-0123456789/src
    requirements: [requirements/production.txt]
  register: venv
"""

RETURN = r"""
name:
  description: Name of the virtual environment, a directory under C(venvs/).
  type: str
  returned: success
  sample: 20261101T080000Z-89abcdef01
build:
  description: Whether it has yet to be built.
  type: bool
  returned: success
fingerprint:
  description: Digest of all that its packages depend on, for its record. Empty where it must not be shared.
  type: str
  returned: success
  sample: 3f8a1be2c07d
hashes:
  description: Whether a requirements file has hashes, so that nothing must be installed without one.
  type: bool
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._venv import fingerprint, hashed, reusable

# A new virtual environment gets the pip that comes with the interpreter
VERSIONS = "import ensurepip, sys; print(sys.executable, sys.version, ensurepip.version())"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "source": {"type": "path", "required": True},
            "requirements": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "environment": {"type": "dict", "default": {}},
            "python": {"type": "str", "default": "python3"},
            "rebuild": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    rc, interpreter, err = module.run_command([params["python"], "-c", VERSIONS], environ_update={"LC_ALL": "C"})
    if rc != 0:
        module.fail_json(msg=f"{params['python']} cannot make virtual environments: {err.strip()}", rc=rc)
    needs = fingerprint(
        params["source"], params["requirements"], params["packages"], params["environment"], interpreter
    )
    shared = "" if params["rebuild"] else reusable(params["root"], needs)
    module.exit_json(
        changed=False,
        name=shared or params["release"],
        build=not shared,
        fingerprint=needs,
        hashes=hashed(params["source"], params["requirements"]),
    )


if __name__ == "__main__":
    main()
