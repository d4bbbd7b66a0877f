#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_current
short_description: Have a systemd service run with what is on disk
version_added: 0.1.0
description:
  - Starts and enables a service, and restarts or reloads it where it has not read the present state of its files.
  - Whether it has is worked out from when the service was last started or reloaded and when the files last changed.
    A change whose handler was lost with its run is made up for by the next one.
  - Units that are part of the service are looked at too. The C(postfix.service) of Debian 12 for example does nothing,
    and says that a reload went well whatever became of it in C(postfix@-.service).
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
  name:
    description: The service, with or without C(.service) at its end.
    type: str
    required: true
  restart_files:
    description: Files that it reads when it starts. Drop-ins and unit files belong here.
    type: list
    elements: path
    default: []
  reload_files:
    description: Files that it reads when it is reloaded too. Those that do not exist are passed over.
    type: list
    elements: path
    default: []
seealso:
  - module: ansible.builtin.systemd_service
"""

EXAMPLES = r"""
- name: Have Postfix run with its configuration
  coralnet.server.systemd_current:
    name: postfix
    restart_files: [/etc/systemd/system/postfix.service.d/sandbox.conf]
    reload_files: [/etc/postfix/main.cf, /etc/letsencrypt/live/coralnet.ucsd.edu/fullchain.pem]
"""

RETURN = r"""
action:
  description:
    - What was done, or would be, which is V(start), V(restart) or V(reload).
    - Empty where the service runs with what is on disk.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._current import Service
from ansible_collections.coralnet.server.plugins.module_utils._run import runner
from ansible_collections.coralnet.server.plugins.module_utils._systemd import SystemdError, journal


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "restart_files": {"type": "list", "elements": "path", "default": []},
            "reload_files": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    name = str(module.params["name"]).removesuffix(".service") + ".service"

    run = runner(module)
    try:
        service = Service(name, run)
        action = service.action(module.params["restart_files"], module.params["reload_files"])
        changed = bool(action) or not service.enabled
        if changed and not module.check_mode:
            service.act(action)
    except SystemdError as exc:
        module.fail_json(msg=f"{exc}. Its journal ends with: {journal(run, name, 20)}")

    module.exit_json(changed=changed, action=action)


if __name__ == "__main__":
    main()
