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
extends_documentation_fragment: coralnet.server.attributes
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
  host:
    description: The host name with which the site is asked, one that the site accepts.
    type: str
    required: true
  headers:
    description: Headers that the front adds to every request, such as C(X-Forwarded-Proto).
    type: dict
    default: {}
  checks:
    description: The requests that the site must answer well, in this order. Redirects are not followed.
    type: list
    elements: dict
    default: [{}]
    suboptions:
      path:
        description: What to ask for.
        type: str
        default: /
      status:
        description: The statuses that are accepted.
        type: list
        elements: int
        default: [200]
      body:
        description: A regular expression that must be found in the answer. Empty accepts any.
        type: str
        default: ""
      reject:
        description: A regular expression that must not be found in the answer. Empty rejects none.
        type: str
        default: ""
  front:
    description:
      - The web server's address as a URL, such as V(http://127.0.0.1). The name in it is only where to connect;
        O(host) is what is asked for.
      - Empty asks nobody but the instance itself.
    type: str
    default: ""
  reload_nginx:
    description:
      - Whether to reload nginx between the switch and the last requests of the old instance.
      - Needed where nginx keeps idle connections to the application (C(keepalive)), which belong to the old instance.
    type: bool
    default: false
  release_header:
    description:
      - A response header in which the instance says its name, so that no other can answer in its place.
      - Empty where the site's own gunicorn configuration sends none.
    type: str
    default: X-Release
  validate_certs:
    description: Whether the certificate of an HTTPS O(front) must be valid for O(host).
    type: bool
    default: true
  timeout:
    description: How long all checks of one place may take together, in seconds, starting up included.
    type: int
    default: 30
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
from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._http import Check, run_checks
from ansible_collections.coralnet.server.plugins.module_utils._nginx import Nginx
from ansible_collections.coralnet.server.plugins.module_utils._release import current, prune
from ansible_collections.coralnet.server.plugins.module_utils._run import runner
from ansible_collections.coralnet.server.plugins.module_utils._switch import Plan, Switcher, SwitchError
from ansible_collections.coralnet.server.plugins.module_utils._systemd import SystemdError
from ansible_collections.coralnet.server.plugins.module_utils._venv import prune_venvs


def ask(module: AnsibleModule, where: str, instance: str, died: Callable[[], str] = lambda: "") -> str:
    """Run the checks at a socket or a URL; an empty place is not asked."""
    params = module.params
    if not where:
        return ""
    checks = [Check(**{**check, "status": tuple(check["status"])}) for check in params["checks"]]
    headers = {**params["headers"], "Host": params["host"]}
    expect = {params["release_header"]: instance} if params["release_header"] else {}
    return run_checks(where, checks, headers, expect, params["timeout"], params["validate_certs"], died)


def switch(module: AnsibleModule, switcher: Switcher) -> tuple[Plan, bool]:
    """Carry the plan out; say whether the instance was seen to work, too."""
    plan = switcher.plan()

    def own(instance: str) -> str:
        def died() -> str:
            return switcher.died(instance) if plan.start else ""

        return ask(module, switcher.socket(instance), instance, died)

    def front(instance: str) -> str:
        return ask(module, module.params["front"], instance)

    if not module.check_mode:
        switcher.apply(plan, own, front)
    elif plan.start or plan.switch:
        return plan, False
    elif complaint := own(plan.instance) or front(plan.instance):
        raise SwitchError(f"{plan.instance} runs, but does not work: {complaint}")
    return plan, True


def main() -> None:
    check = {
        "path": {"type": "str", "default": "/"},
        "status": {"type": "list", "elements": "int", "default": [200]},
        "body": {"type": "str", "default": ""},
        "reject": {"type": "str", "default": ""},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "default": ""},
            "config_files": {"type": "list", "elements": "path", "default": []},
            "host": {"type": "str", "required": True},
            "headers": {"type": "dict", "default": {}},
            "checks": {"type": "list", "elements": "dict", "options": check, "default": [{}]},
            "front": {"type": "str", "default": ""},
            "reload_nginx": {"type": "bool", "default": False},
            "release_header": {"type": "str", "default": "X-Release"},
            "validate_certs": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 30},
            "keep": {"type": "int", "default": 5},
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
        needed = switcher.running() | {release, plan.before_release} - {""}
        pruned = [] if module.check_mode else prune(root, params["keep"], needed)
        pruned_venvs = [] if module.check_mode else prune_venvs(root, max(needed))
    except SwitchError as exc:
        message = f"{exc}\nThe end of its journal:\n{exc.journal}" if exc.journal else str(exc)
        module.fail_json(msg=message)
    except (SystemdError, OSError) as exc:
        module.fail_json(msg=str(exc))

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
