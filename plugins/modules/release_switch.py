#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_switch
short_description: Bring a release of a site to its visitors without losing a request
version_added: 0.1.0
description:
  - Starts an instance of the wanted release beside the running one (systemd socket and service
    C(<name>@<instance>)), asks it on its own socket, points C(current) to it, asks again through the front door, and
    lets the old instance finish its requests.
  - An instance is a release under a configuration. Where only O(config_files) changed since the running instance
    started, a further instance of the same release is started and proven in the same way.
  - On any refusal, C(current) and O(config_files) are put back to what was last seen to work, the new instance is
    stopped, and the task fails with the reason and the end of the journal. The running instance is never touched
    before the new one has answered.
  - The state is compared with what runs, so a run that died at any point is completed by the next one.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment:
  - coralnet.server.attributes
  - coralnet.server.probe
attributes:
  check_mode:
    support: full
    details: The running instance is asked in check mode too, so a dead site fails there as well.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: The site's name, which is the template's name of the systemd units and the directory under C(/run).
    type: str
    required: true
  root:
    description: The site's directory, which holds C(releases/) and C(current).
    type: path
    required: true
  release:
    description: The release to run, a directory under C(releases/). Empty is the current one.
    type: str
    default: ""
  config_files:
    description:
      - Absolute paths of the files that an instance reads when it starts, the unit files among them.
      - A file that is younger than the running instance calls for a new one.
    type: list
    elements: path
    default: []
  reload_nginx:
    description:
      - Whether to reload nginx between the switch and the last requests of the old instance.
      - Needed where nginx keeps idle connections to the application (C(keepalive)), which belong to the old instance.
    type: bool
    default: false
  keep:
    description: How many finished releases stay on disk. Those that run, or still finish requests, always do.
    type: int
    default: 5
seealso:
  - module: coralnet.server.release_plan
"""

EXAMPLES = r"""
- name: Switch to the release
  coralnet.server.release_switch:
    name: coralnet
    root: /srv/www/coralnet
    release: 20261124T101500Z-0123456789
    host: coralnet.ucsd.edu
    headers:
      X-Forwarded-Proto: https
    front: http://127.0.0.1
    reload_nginx: true
    config_files:
      - /etc/gunicorn/coralnet.conf.py
      - /srv/www/coralnet/shared/secrets.json
"""

RETURN = r"""
instance:
  description: Name of the instance that serves the site, or would after a run in check mode.
  type: str
  returned: success
  sample: 20261124T101500Z-0123456789.1
before:
  description: Name of the instance that served it before. Empty where there was none.
  type: str
  returned: success
  sample: 20261101T080000Z-89abcdef01
proven:
  description:
    - Whether the instance was asked and answered well. In check mode it cannot be where it has yet to be started.
  type: bool
  returned: success
drained:
  description: Instances that were told to finish their requests and end.
  type: list
  elements: str
  returned: success
pruned:
  description: Releases that were removed from disk.
  type: list
  elements: str
  returned: success
pruned_venvs:
  description: Virtual environments that were removed from disk, because no release needs them any more.
  type: list
  elements: str
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._nginx import Nginx
from ansible_collections.coralnet.server.plugins.module_utils._probe import PROBE, ask
from ansible_collections.coralnet.server.plugins.module_utils._release import current, prune
from ansible_collections.coralnet.server.plugins.module_utils._run import runner
from ansible_collections.coralnet.server.plugins.module_utils._switch import Plan, Switcher, SwitchError
from ansible_collections.coralnet.server.plugins.module_utils._systemd import SystemdError
from ansible_collections.coralnet.server.plugins.module_utils._venv import prune_venvs


def switch(module: AnsibleModule, switcher: Switcher) -> tuple[Plan, bool]:
    """Carry the plan out; say whether the instance was seen to work, too."""
    plan = switcher.plan()

    def own(instance: str) -> str:
        def died() -> str:
            return switcher.died(instance) if plan.start else ""

        return ask(module.params, switcher.socket(instance), instance, died)

    def front(instance: str) -> str:
        return ask(module.params, module.params["front"], instance)

    if not module.check_mode:
        if complaint := switcher.apply(plan, own, front):
            module.warn(f"{plan.instance} serves, but not all of what came before could be ended: {complaint}")
    elif plan.start or plan.switch:
        return plan, False
    elif complaint := own(plan.instance) or front(plan.instance):
        raise SwitchError(f"{plan.instance} runs, but does not work: {complaint}")
    return plan, True


def tidy(module: AnsibleModule, switcher: Switcher, plan: Plan, root: str) -> tuple[list[str], list[str]]:
    """Remove what nobody needs any more. Where that fails, the site is served all the same, and the next run tries."""
    if module.check_mode:
        return [], []
    try:
        needed = switcher.running() | {plan.release, plan.before_release} - {""}
        return prune(root, module.params["keep"], needed), prune_venvs(root, max(needed))
    except (SystemdError, OSError) as exc:
        module.warn(f"{plan.instance} serves, but not all old releases could be removed: {exc}")
        return [], []


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "default": ""},
            "config_files": {"type": "list", "elements": "path", "default": []},
            "reload_nginx": {"type": "bool", "default": False},
            "keep": {"type": "int", "default": 5},
            **PROBE,
        },
        supports_check_mode=True,
    )
    params = module.params
    root = os.path.normpath(params["root"])

    run = runner(module)
    release = params["release"] or current(root)
    if not release:
        module.fail_json(msg=f"{params['name']} has no current release yet: name the release to run")
    if not module.check_mode and not os.path.isdir(os.path.join(root, "releases", release)):
        module.fail_json(msg=f"{params['name']} has no release {release}: build it first")
    nginx = Nginx("/etc/nginx", run)

    def let_go() -> None:
        if params["reload_nginx"] and nginx.masters():
            nginx.reload()

    switcher = Switcher(params["name"], root, release, params["config_files"], run, let_go)
    try:
        plan, proven = switch(module, switcher)
    except SwitchError as exc:
        message = f"{exc}\nThe end of its journal:\n{exc.journal}" if exc.journal else str(exc)
        module.fail_json(msg=message)
    except (SystemdError, OSError) as exc:
        module.fail_json(msg=str(exc))
    pruned, pruned_venvs = tidy(module, switcher, plan, root)

    module.exit_json(
        changed=plan.changed or bool(pruned or pruned_venvs),
        instance=plan.instance,
        proven=proven,
        before=plan.before_instance,
        drained=plan.drain,
        pruned=pruned,
        pruned_venvs=pruned_venvs,
        diff={"before": f"{plan.before_instance}\n", "after": f"{plan.instance}\n"},
    )


if __name__ == "__main__":
    main()
