#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_curtain
short_description: Draw and open the curtain before a site
version_added: 0.1.0
description:
  - While the curtain is drawn, nginx answers every request with status 503 and a page that says so, whatever the
    application does. Operators, ACME challenges and the paths that the site lets through go by.
  - nginx looks for a file at each request. It is not reloaded, no request is lost, and a reboot changes nothing.
  - The P(coralnet.server.nginx#role) role puts the page and nginx's part in place, for sites that have a C(curtain).
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: An O(until) that counts from now is another time in every minute.
options:
  site:
    description: The site's name, as in C(nginx_sites).
    type: str
    required: true
  state:
    description: Whether visitors see the curtain or the site.
    type: str
    choices: [drawn, open]
    required: true
  until:
    description:
      - When the site is announced to be back. It opens nothing by itself.
      - A time such as V(18:30), which is the next one within 12 hours; a date and time such as
        V(2026-11-24T18:30+00:00); or a time from now, such as V(+30m) or V(+1h30m).
      - Empty announces no time.
    type: str
    default: ""
  time_zone:
    description:
      - The zone of an O(until) that names none, such as V(Europe/Amsterdam). Empty is the host's own.
    type: str
    default: ""
  text:
    description: What the page says, as plain text. Empty is the site's own message.
    type: str
    default: ""
  directory:
    description: Where the role has put the pages.
    type: path
    default: /var/lib/nginx-curtain
seealso:
  - module: coralnet.server.nginx_site
"""

EXAMPLES = r"""
- name: Draw the curtain
  coralnet.server.nginx_curtain:
    site: coralnet
    state: drawn
    until: +30m
    text: The database is being moved to a larger disk.

- name: Open it
  coralnet.server.nginx_curtain:
    site: coralnet
    state: open
"""

RETURN = r"""
drawn:
  description: Whether visitors see the curtain now, or would.
  type: bool
  returned: success
until:
  description: When the site is announced to be back, in ISO 8601 and UTC. Empty where nothing is announced.
  type: str
  returned: success
  sample: "2026-11-24T18:30:00+00:00"
message:
  description: What the page says. Empty where the curtain is open.
  type: str
  returned: success
"""

import os
from datetime import datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._curtain import Curtain, CurtainError, State
from ansible_collections.coralnet.server.plugins.module_utils._moment import UTC, MomentError, moment, zone


def draw(module: AnsibleModule, curtain: Curtain, before: State) -> tuple[State, bool]:
    params = module.params
    now = datetime.now(UTC)
    until = moment(params["until"], now, zone(params["time_zone"]), "until")
    after, files = curtain.drawn(params["text"], until)
    if until and until <= now and after.until != before.until:
        raise CurtainError(f"until is {after.until}, which is over: give a time to come")
    if not module.check_mode:
        for file in files:
            file.write()
    return after, bool(files)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["drawn", "open"], "required": True},
            "until": {"type": "str", "default": ""},
            "time_zone": {"type": "str", "default": ""},
            "text": {"type": "str", "default": ""},
            "directory": {"type": "path", "default": "/var/lib/nginx-curtain"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        curtain = Curtain(os.path.join(params["directory"], params["site"]))
        before = curtain.state()
        if params["state"] == "drawn":
            after, changed = draw(module, curtain, before)
        else:
            after, changed = State(), before.drawn
            if changed and not module.check_mode:
                curtain.open()
    except (CurtainError, MomentError, OSError) as exc:
        module.fail_json(msg=str(exc))

    module.exit_json(
        changed=changed,
        drawn=after.drawn,
        until=after.until,
        message=after.message,
        diff={"before": str(before), "after": str(after)},
    )


if __name__ == "__main__":
    main()
