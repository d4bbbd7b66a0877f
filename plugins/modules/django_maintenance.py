#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: django_maintenance
short_description: Announce maintenance on a Django site's own pages
version_added: 0.1.0
description:
  - Puts the site's own notice up and takes it down, with the site's own commands, and reads it as its pages do.
  - The notice is the banner before the maintenance. The page in the site's place while it lasts is
    M(coralnet.server.nginx_curtain).
  - A notice that a person or another run has put up is not touched unless O(replace) says so.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: Whether visitors are told of maintenance.
    type: str
    choices: ['on', 'off']
    required: true
  backend:
    description:
      - What the site has. V(maintenanceon) is a pair of commands C(maintenanceon) and C(maintenanceoff) with a JSON
        file at the setting C(MAINTENANCE_DETAILS_FILE_PATH), as CoralNet has them, with or without C(--date) and
        C(--message).
      - V(maintenance_mode) is the package django-maintenance-mode. Its notice takes the site's place.
      - V(commands) are O(on_command), O(off_command) and O(status_command). V(none) is a site without a notice.
      - What V(commands) cannot read back is remembered in O(record). Of V(none) start and end alone are worked out.
    type: str
    choices: [maintenanceon, maintenance_mode, commands, none]
    default: maintenanceon
  manage:
    description:
      - The words that run the site's C(manage.py) as the account and with the environment of the site.
      - Required for the backends V(maintenanceon) and V(maintenance_mode).
    type: list
    elements: str
    default: []
  start:
    description:
      - When the maintenance starts, to the minute - a time such as V(18:30), which is the next one within 12 hours; a
        date and time such as V(2026-11-24T18:30+00:00); or a time from now, such as V(+30m) or V(+1h30m).
      - A time without a zone is in O(time_zone).
      - Empty leaves it to the site's command. So that a run can be repeated, a notice that is up keeps its start where
        this is empty or counts from now.
    type: str
    default: ""
  end:
    description:
      - When the site is expected to be back, as O(start); a time from now counts from the start.
      - The backend V(maintenanceon) tells it at the end of the message.
    type: str
    default: ""
  time_zone:
    description:
      - The zone of an O(start) or O(end) that names none, such as V(Europe/Amsterdam).
      - Empty is Django's C(TIME_ZONE), as in the site's own command. Where the backend asks none, which are
        V(commands) and V(none), it is the host's own.
    type: str
    default: ""
  text:
    description:
      - What the notice says. The backend V(maintenanceon) takes HTML.
      - Empty is the site's own words. A notice that is up keeps its words, where its start is the wanted one.
    type: str
    default: ""
  replace:
    description: Change or take down a notice that somebody else put up.
    type: bool
    default: false
  on_command:
    description:
      - Words of the command that puts the notice up. V({start}) and V({end}) in them become the times in ISO 8601 and
        UTC, V({message}) the O(text).
      - Required, as the next two, for the backend V(commands).
    type: list
    elements: str
    default: []
  off_command:
    description: Words of the command that takes it down.
    type: list
    elements: str
    default: []
  status_command:
    description: Words of a command that ends with 0 where the notice is up and with 1 where it is not.
    type: list
    elements: str
    default: []
  record:
    description: Directory on the host where it is noted which notices this module put up.
    type: path
    default: /var/lib/django-maintenance
seealso:
  - module: coralnet.server.nginx_curtain
"""

EXAMPLES = r"""
- name: Announce maintenance
  coralnet.server.django_maintenance:
    manage: [/srv/www/coralnet/run, python, manage.py]
    state: 'on'
    start: "18:30"
    text: New annotation tools are being installed.

- name: Take the notice down
  coralnet.server.django_maintenance:
    manage: [/srv/www/coralnet/run, python, manage.py]
    state: 'off'
"""

RETURN = r"""
active:
  description: Whether a notice is up now, or would be.
  type: bool
  returned: success
start:
  description: When the maintenance starts, in ISO 8601 and UTC. Empty where nothing is announced, or it is not known.
  type: str
  returned: success
  sample: "2026-11-24T18:30:00+00:00"
start_epoch:
  description: The same in seconds since 1970. Zero where it is empty.
  type: int
  returned: success
  sample: 1795545000
end:
  description:
    - When the site is expected to be back, in ISO 8601 and UTC. Without O(end) it is that of the notice that is up,
      where the backend can read that, and empty where not.
  type: str
  returned: success
  sample: "2026-11-24T18:50:00+00:00"
end_epoch:
  description: The same in seconds since 1970. Zero where it is empty.
  type: int
  returned: success
  sample: 1795546200
seconds_until_start:
  description: Seconds from now to the start. Zero where it is over or not known.
  type: int
  returned: success
message:
  description: What the notice says.
  type: str
  returned: success
said:
  description: What the site's command said. Empty where it was not run.
  type: str
  returned: success
"""

from datetime import datetime, tzinfo
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._moment import UTC, MomentError, moment, zone
from ansible_collections.coralnet.server.plugins.module_utils._notice import (
    Backend,
    Commands,
    Django,
    MaintenanceMode,
    MaintenanceOn,
    Notice,
    NoticeError,
    Record,
    announce,
    iso,
    refuse_anothers,
    withdraw,
)


def backend_of(module: AnsibleModule) -> Backend:
    params = module.params

    def run(argv: list[str], typed: str) -> tuple[int, str, str]:
        rc, out, err = module.run_command(argv, data=typed, environ_update={"LC_ALL": "C.UTF-8"})
        return int(rc), str(out), str(err)

    if params["backend"] == "commands":
        return Commands(run, params["on_command"], params["off_command"], params["status_command"])
    django = Django(run, params["manage"])
    return MaintenanceMode(django) if params["backend"] == "maintenance_mode" else MaintenanceOn(django)


def time_to_come(text: str, now: datetime, zone: tzinfo | None, before: Notice) -> datetime | None:
    start = moment(text, now, zone, "start")
    if start and start < now.replace(second=0, microsecond=0) and start != before.start:
        raise NoticeError(f"start is {iso(start)}, which is over: give a time to come")
    return start


def times(params: dict[str, Any], own: tzinfo | None, before: Notice) -> tuple[datetime | None, datetime | None]:
    """Read start and end; whoever has said a time waits for it also where the site tells nobody."""
    now = datetime.now(UTC)
    place = zone(params["time_zone"]) or own
    if before.active and params["start"][:1] in ("", "+"):
        start = before.start
    else:
        start = time_to_come(params["start"], now, place, before)
    end = moment(params["end"], start or now, place, "end")
    if end and end <= (start or now):
        raise NoticeError(f"end is {iso(end)}, which is not after the start: give a later one")
    return start, end


def main() -> None:
    words = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["on", "off"], "required": True},
            "backend": {
                "type": "str",
                "choices": ["maintenanceon", "maintenance_mode", "commands", "none"],
                "default": "maintenanceon",
            },
            "manage": words,
            "start": {"type": "str", "default": ""},
            "end": {"type": "str", "default": ""},
            "time_zone": {"type": "str", "default": ""},
            "text": {"type": "str", "default": ""},
            "replace": {"type": "bool", "default": False},
            "on_command": words,
            "off_command": words,
            "status_command": words,
            "record": {"type": "path", "default": "/var/lib/django-maintenance"},
        },
        supports_check_mode=True,
    )
    params = module.params
    needs = {"commands": ["on_command", "off_command", "status_command"], "none": []}
    for name in needs.get(params["backend"], ["manage"]):
        if not params[name]:
            module.fail_json(msg=f"the backend {params['backend']} needs {name}")

    said, end = "", None
    try:
        if params["backend"] == "none":
            start, end = times(params, None, Notice()) if params["state"] == "on" else (None, None)
            finish(module, Notice(start=start), Notice(start=start), "", end)
        backend = backend_of(module)
        record = Record(params["record"], backend.key)
        before = backend.state()
        if before.active and not backend.reads:
            before = record.kept() or before
        if params["state"] == "on":
            start, end = times(params, backend.zone, before)
            after = backend.wanted(start, end, params["text"])
            if before.active and before.fits(after.start, after.end, after.message):
                after = before
            else:
                refuse_anothers(record, before, params["replace"])
                if not module.check_mode:
                    said, after = announce(backend, record, after)
        else:
            after = Notice()
            if before != after:
                refuse_anothers(record, before, params["replace"])
                if not module.check_mode:
                    said = withdraw(backend, record)
    except (NoticeError, MomentError, OSError) as exc:
        module.fail_json(msg=str(exc))
    finish(module, before, after, said, end or after.end)


def finish(module: AnsibleModule, before: Notice, after: Notice, said: str, end: datetime | None) -> None:
    start = int(after.start.timestamp()) if after.start else 0
    module.exit_json(
        changed=before != after,
        active=after.active,
        start=iso(after.start),
        start_epoch=start,
        end=iso(end),
        end_epoch=int(end.timestamp()) if end else 0,
        seconds_until_start=max(0, start - int(datetime.now(UTC).timestamp())),
        message=after.message,
        said=said,
        diff={"before": str(before), "after": str(after)},
    )


if __name__ == "__main__":
    main()
