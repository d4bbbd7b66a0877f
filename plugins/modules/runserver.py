#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: runserver
short_description: Run a development server out of a person's own checkout
version_added: 0.1.0
description:
  - Starts Django's C(runserver) in the background as the account that Ansible is, without root and without systemd, and
    waits until it answers. It lives on when the run has ended, and ends with O(state=stopped) or with the machine.
  - A keeper, C(serve.py) of the C(runserver) role, starts it again when files come or go, which Django's own reloader
    does not see, and when it has ended.
  - With O(state=checked) all that could be in the way is looked at, and nothing is changed.
  - With O(unit) the same is done to a systemd unit.
  - A server that was started with another command, other settings or other packages is started again.
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
  directory:
    description: Where C(serve.py) and the command are, and where the log and what is known of the server are kept.
    type: path
    required: true
  state:
    description: What is to be.
    type: str
    choices: [checked, started, stopped]
    default: started
  address:
    description: The loopback address that it listens on.
    type: str
    choices: ["127.0.0.1", "::1"]
    default: 127.0.0.1
  port:
    description: The port.
    type: int
    default: 8000
  source:
    description: The site's checkout.
    type: path
    default: ""
  command:
    description: The command, as words.
    type: list
    elements: str
    default: []
  timeout:
    description: How long it may take until it answers, in seconds.
    type: int
    default: 60
  project:
    description: For O(state=checked), where in the source C(manage.py) is.
    type: str
    default: ""
  requirements:
    description: For O(state=checked), the requirements files, relative to O(source).
    type: list
    elements: str
    default: []
  repository:
    description: For O(state=checked), what can be cloned where there is no source.
    type: str
    default: ""
  python:
    description: For O(state=checked), the interpreter.
    type: str
    default: python3
  uv:
    description: For O(state=checked), the program uv. Empty looks for it.
    type: str
    default: ""
  unit:
    description:
      - On a server, the systemd unit that it runs as, which is there already, instead of a process of the account's
        own. It needs root, and O(command) is the unit's.
    type: str
    default: ""
  files:
    description: The files that O(unit) reads when it starts. It is started again where one is younger.
    type: list
    elements: path
    default: []
seealso:
  - module: coralnet.server.runserver_venv
  - module: coralnet.server.systemd_current
"""

EXAMPLES = r"""
- name: Run the development server
  coralnet.server.runserver:
    directory: ~/.local/state/coralnet
    source: ~/coralnet
    command: [/home/anna/.local/state/coralnet/run, python, manage.py, runserver, 127.0.0.1:8000]

- name: Stop it
  coralnet.server.runserver:
    directory: ~/.local/state/coralnet
    state: stopped
"""

RETURN = r"""
url:
  description: Where it is, or would be.
  type: str
  returned: success
  sample: http://127.0.0.1:8000/
log:
  description: Where its output goes, with the mail of Django's console backend.
  type: str
  returned: success
status:
  description: The status of its front page.
  type: int
  returned: when O(state=started), not in check mode
directory:
  description: The absolute path of O(directory).
  type: str
  returned: success
source:
  description: The absolute path of O(source).
  type: str
  returned: success
present:
  description: Whether the source is there.
  type: bool
  returned: when O(state=checked)
uv:
  description: Where uv is. Empty where there is none.
  type: str
  returned: when O(state=checked)
user:
  description: The account that it runs as.
  type: str
  returned: when O(state=checked)
group:
  description: That account's group.
  type: str
  returned: when O(state=checked)
"""

import grp
import os
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._current import Service
from ansible_collections.coralnet.server.plugins.module_utils._run import Run, runner
from ansible_collections.coralnet.server.plugins.module_utils._runserver import (
    Runserver,
    RunserverError,
    find_uv,
    port_is_free,
    python_works,
    site_of,
    source_is_there,
    wait,
)
from ansible_collections.coralnet.server.plugins.module_utils._systemd import SystemdError, systemctl


def check(params: dict[str, Any], server: Runserver, run: Run) -> dict[str, Any]:
    """Look at all that could be in the way."""
    present = source_is_there(params["source"], params["project"], params["requirements"], params["repository"])
    uv = "" if params["unit"] else find_uv(params["uv"])
    if not params["unit"]:
        python_works(params["python"], uv, run)
    ours = runs(params, server, run) if params["unit"] else server.site == site_of(params["address"], params["port"])
    if not ours:
        port_is_free(params["address"], params["port"])
    return {
        "present": present,
        "uv": uv,
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "group": grp.getgrgid(os.getegid()).gr_name,
    }


def start(params: dict[str, Any], server: Runserver, check_mode: bool) -> bool:
    """Start it, or start it anew, where what runs is not what is wanted."""
    command, source = params["command"], params["source"]
    changed = server.digest != server.wanted(command, source)
    if changed and not check_mode:
        server.stop()
        server.start(command, source, site_of(params["address"], params["port"]))
    return changed


def start_unit(params: dict[str, Any], service: Service, check_mode: bool) -> bool:
    """Have the unit run with the files that there are; it is not enabled, so that a reboot ends it."""
    action = service.action(params["files"], [])
    if action and not check_mode:
        service.act(action, enable=False)
    return bool(action)


def last_words(run: Run, unit: str) -> str:
    """Give the last line of the unit's own, without what systemd says of it."""
    words = ["journalctl", f"_SYSTEMD_UNIT={unit}", "--lines=1", "--output=cat", "--no-pager"]
    return run(words)[1].strip() or "nothing"


def run_it(module: AnsibleModule, server: Runserver) -> dict[str, Any]:
    """Start it, and wait until it answers; what does not is not left behind."""
    params, unit, run = module.params, module.params["unit"], runner(module)
    if unit:
        service = Service(unit, run)
        changed = start_unit(params, service, module.check_mode)

        def died() -> str:
            service.look()
            return f"{unit} has ended: {last_words(run, unit)}" if service.idle() else ""
    else:
        changed, died = start(params, server, module.check_mode), server.died
    if module.check_mode:
        return {"changed": changed}
    try:
        status = wait(params["address"], params["port"], params["timeout"], died)
    except RunserverError:
        if changed:
            stop(params, server, run)
        raise
    if status == 400 or status >= 500:
        where = f"journalctl -u {unit}" if unit else server.path("log")
        raise RunserverError(f"the server runs, and its front page answers {status}: see {where}")
    return {"changed": changed, "status": status}


def stop(params: dict[str, Any], server: Runserver, run: Run) -> None:
    if params["unit"]:
        systemctl(run, "stop", params["unit"])
        forget(params, run)
    else:
        server.stop()


def forget(params: dict[str, Any], run: Run) -> None:
    """Have systemd not count what has failed among the host's troubles, when nobody wants it to run."""
    run(["systemctl", "reset-failed", params["unit"]])


def runs(params: dict[str, Any], server: Runserver, run: Run) -> bool:
    return not Service(params["unit"], run).idle() if params["unit"] else server.running


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["checked", "started", "stopped"], "default": "started"},
            "address": {"type": "str", "choices": ["127.0.0.1", "::1"], "default": "127.0.0.1"},
            "port": {"type": "int", "default": 8000},
            "source": {"type": "path", "default": ""},
            "command": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 60},
            "project": {"type": "str", "default": ""},
            "requirements": {"type": "list", "elements": "str", "default": []},
            "repository": {"type": "str", "default": ""},
            "python": {"type": "str", "default": "python3"},
            "uv": {"type": "str", "default": ""},
            "unit": {"type": "str", "default": ""},
            "files": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    server = Runserver(params["directory"])
    told = {
        "changed": False,
        "url": f"http://{site_of(params['address'], params['port'])}/",
        "log": server.path("log"),
        "directory": params["directory"],
        "source": params["source"],
    }
    try:
        if params["state"] == "checked":
            told |= check(params, server, runner(module))
        elif params["state"] == "started":
            told |= run_it(module, server)
        else:
            told["changed"] = runs(params, server, runner(module))
            if told["changed"] and not module.check_mode:
                stop(params, server, runner(module))
            elif params["unit"] and not module.check_mode:
                forget(params, runner(module))
    except (RunserverError, SystemdError, OSError) as exc:
        module.fail_json(msg=str(exc), **told)
    module.exit_json(**told)


if __name__ == "__main__":
    main()
