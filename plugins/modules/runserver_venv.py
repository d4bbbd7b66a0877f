#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: runserver_venv
short_description: Bring a person's virtual environment to what the requirements say
version_added: 0.1.0
description:
  - Makes a virtual environment and installs into it, with uv or with pip. It stays in its place when requirements
    change, other than those of releases.
  - Where the requirements files, those that they include, the packages, the environment of the installer and the
    interpreter are what they were, nothing is asked. Where they may name the project's own code it is asked every
    time, and a change is what came or went.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
    details: A change is foretold where the requirements are not those that were installed.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  venv:
    description: The virtual environment.
    type: path
    required: true
  record:
    description: A file that keeps what was installed.
    type: path
    required: true
  source:
    description: The directory of the source, in which the installer runs.
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
    description: Environment variables of pip. uv is told of those for certificates and indexes too.
    type: dict
    default: {}
  python:
    description: The interpreter, a command or a path.
    type: str
    default: python3
  uv:
    description: Where uv is. Empty installs with pip.
    type: str
    default: ""
seealso:
  - module: coralnet.server.release_build
"""

EXAMPLES = r"""
- name: Install the requirements
  coralnet.server.runserver_venv:
    venv: ~/.local/state/coralnet/venv
    record: ~/.local/state/coralnet/venv.json
    source: ~/coralnet
    requirements: [requirements/local.txt]
"""

RETURN = r"""
packages:
  description: What the virtual environment has, each with its version.
  type: list
  elements: str
  returned: success
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._installer import for_uv
from ansible_collections.coralnet.server.plugins.module_utils._run import runner
from ansible_collections.coralnet.server.plugins.module_utils._runserver import (
    RunserverError,
    distributions,
    install,
)
from ansible_collections.coralnet.server.plugins.module_utils._venv import fingerprint


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "venv": {"type": "path", "required": True},
            "record": {"type": "path", "required": True},
            "source": {"type": "path", "required": True},
            "requirements": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "environment": {"type": "dict", "default": {}},
            "python": {"type": "str", "default": "python3"},
            "uv": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    given = {name: str(value) for name, value in params["environment"].items()}
    run = runner(module, **(for_uv(given) if params["uv"] else given))
    python, record = os.path.join(params["venv"], "bin", "python"), params["record"]
    interpreter = run([params["python"], "-c", "import sys; print(sys.executable, sys.version)"])[1]
    wanted = fingerprint(params["source"], params["requirements"], params["packages"], given, interpreter)
    before = distributions(python, run)
    try:
        with open(record, encoding="utf-8") as file:
            known = str(json.load(file)["fingerprint"])
    except (OSError, ValueError, KeyError):
        known = ""
    if wanted and wanted == known and before:
        module.exit_json(changed=False, packages=before)
    if module.check_mode:
        module.exit_json(changed=True, packages=before)
    try:
        os.chdir(params["source"])
        install(params, params["uv"], run)
        after = distributions(python, run)
        if before != after or wanted != known:
            with open(f"{record}.new", "w", encoding="utf-8") as file:
                json.dump({"fingerprint": wanted, "packages": after}, file)
            os.replace(f"{record}.new", record)
    except (RunserverError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=before != after, packages=after)


if __name__ == "__main__":
    main()
