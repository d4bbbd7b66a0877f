#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_site
short_description: Enable, disable and swap nginx sites as one transaction
version_added: 0.1.0
description:
  - Puts the links in C(sites-enabled) to the files in C(sites-available) as wanted, and has the running nginx load
    them.
  - nginx is asked about the whole wanted configuration in a copy before anything is touched. What it refuses fails the
    task with its words, at every run, and leaves the enabled sites as they are.
  - The links are exchanged at once, nginx is reloaded only where it has not loaded what is on disk, and never
    restarted. A reload that an earlier run lost is made up for.
  - Where the package of a running nginx was changed under it, the new program takes over from the old one, which ends
    with its last requests; nothing is lost. If the new one does not answer O(probe) well, the old one goes on.
  - Files in C(sites-enabled) that are no links are left alone.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
    details: nginx is asked about the wanted configuration in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  sites:
    description: Names of files in C(sites-available).
    type: list
    elements: str
    required: true
  state:
    description:
      - V(enabled) and V(disabled) change O(sites) and leave all other sites as they are.
      - V(only) enables O(sites) and disables all others. With RV(before) of an earlier task, it undoes that task
        exactly.
    type: str
    choices: [enabled, disabled, only]
    default: enabled
  files:
    description:
      - Absolute paths of configuration files that were written before this task. Where nginx refuses the whole, these
        are put back to what it last took, so that a later restart finds a configuration that works.
    type: list
    elements: path
    default: []
  directory:
    description: The configuration directory of nginx.
    type: path
    default: /etc/nginx
  probe:
    description:
      - A request that nginx must answer well with the new set. The change is undone where it does not.
      - Left out, nothing is asked.
    type: dict
    suboptions:
      url:
        description: Where to connect, such as V(http://127.0.0.1).
        type: str
        required: true
      host:
        description: The host name to ask for.
        type: str
        required: true
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
      timeout:
        description: How long to try, in seconds.
        type: int
        default: 10
      validate_certs:
        description: Whether the certificate of an HTTPS O(probe.url) must be valid for O(probe.host).
        type: bool
        default: true
seealso:
  - name: nginx, controlling
    description: What a reload does.
    link: https://nginx.org/en/docs/control.html
"""

EXAMPLES = r"""
- name: Put the distribution's page in place of the site
  coralnet.server.nginx_site:
    sites: [default]
    state: only
  register: swap

- name: Put back what was enabled before
  coralnet.server.nginx_site:
    sites: "{{ swap.before }}"
    state: only

- name: Enable the site and see that it comes
  coralnet.server.nginx_site:
    sites: [coralnet]
    probe:
      url: http://127.0.0.1
      host: coralnet.ucsd.edu
"""

RETURN = r"""
before:
  description: Names of the sites that were enabled.
  type: list
  elements: str
  returned: success
after:
  description: Names of the sites that are enabled now, or would be.
  type: list
  elements: str
  returned: success
reloaded:
  description: Whether nginx was reloaded, or would be. It is not where it does not run.
  type: bool
  returned: success
exchanged:
  description: Whether the running program was exchanged for the one on disk, or would be.
  type: bool
  returned: success
"""

import os
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._good import GoodSet
from ansible_collections.coralnet.server.plugins.module_utils._http import Check, run_checks
from ansible_collections.coralnet.server.plugins.module_utils._nginx import Nginx, NginxError
from ansible_collections.coralnet.server.plugins.module_utils._run import runner

GOOD = "/var/lib/coralnet-nginx/good"


def wanted(state: str, before: list[str], sites: list[str]) -> list[str]:
    if state == "only":
        return sorted(set(sites))
    if state == "disabled":
        return sorted(set(before) - set(sites))
    return sorted(set(before) | set(sites))


def complaint(probe: dict[str, Any] | None) -> str:
    if not probe:
        return ""
    check = Check(probe["path"], tuple(probe["status"]), probe["body"])
    return run_checks(probe["url"], [check], {"Host": probe["host"]}, {}, probe["timeout"], probe["validate_certs"])


def apply(module: AnsibleModule, nginx: Nginx, good: GoodSet, before: list[str], after: list[str]) -> bool:
    """Carry out a change that nginx has agreed to; say whether it was reloaded or exchanged."""
    runs, outdated = bool(nginx.masters()), nginx.outdated()
    if after != before:
        nginx.swap(after)
    reload, taken_over = outdated or (runs and not nginx.loaded()), False
    try:
        if outdated:
            nginx.take_over(20)
            taken_over = True
        elif reload:
            nginx.reload()
        refused = complaint(module.params["probe"]) if runs else ""
        if refused:
            raise NginxError(f"with {', '.join(after) or 'no site'} enabled, {refused}")
    except NginxError as exc:
        nginx.swap(before)
        restored = good.restore()
        files = f" and {', '.join(restored)}" if restored else ""
        if taken_over:
            nginx.give_back(10)
        elif runs and not outdated:
            nginx.reload()
        old = "The program that ran before goes on, until nginx is started anew. " if outdated else ""
        raise NginxError(f"{exc}. {old}The sites{files} are as they were before") from exc
    nginx.retire()
    good.save()
    return reload


def main() -> None:
    probe = {
        "url": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "path": {"type": "str", "default": "/"},
        "status": {"type": "list", "elements": "int", "default": [200]},
        "body": {"type": "str", "default": ""},
        "timeout": {"type": "int", "default": 10},
        "validate_certs": {"type": "bool", "default": True},
    }
    module = AnsibleModule(
        argument_spec={
            "sites": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["enabled", "disabled", "only"], "default": "enabled"},
            "files": {"type": "list", "elements": "path", "default": []},
            "directory": {"type": "path", "default": "/etc/nginx"},
            "probe": {"type": "dict", "options": probe},
        },
        supports_check_mode=True,
    )
    if shutil.which("nginx") is None:
        module.fail_json(msg="there is no nginx on this host: install it first")

    run = runner(module)
    nginx = Nginx(os.path.normpath(module.params["directory"]), run)
    good = GoodSet(GOOD, module.params["files"])
    before, exchanged = nginx.sites(), nginx.outdated()
    after = wanted(module.params["state"], before, module.params["sites"])
    try:
        if module.params["state"] != "disabled":
            nginx.check_sites(module.params["sites"])
        nginx.check_links(after)
        refusal = nginx.refusal(after)
        if refusal:
            restored = [] if module.check_mode else good.restore()
            back = f" These files are as they were before: {', '.join(restored)}." if restored else ""
            raise NginxError(
                f"nginx refuses its configuration with {', '.join(after) or 'no site'} enabled: {refusal}.{back}"
            )
        if module.check_mode:
            reloaded = bool(nginx.masters()) and (after != before or exchanged or not nginx.loaded())
        else:
            reloaded = apply(module, nginx, good, before, after)
    except (NginxError, OSError) as exc:
        module.fail_json(msg=str(exc))

    module.exit_json(
        changed=after != before or reloaded,
        before=before,
        after=after,
        reloaded=reloaded,
        exchanged=exchanged,
        diff={"before": "".join(f"{name}\n" for name in before), "after": "".join(f"{name}\n" for name in after)},
    )


if __name__ == "__main__":
    main()
