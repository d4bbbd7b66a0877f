#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_lock
short_description: Let one run at a time deploy a site
version_added: 0.1.0
description:
  - Holds and gives back the lock of a site, a file on the host that says who deploys and what for.
  - The lock is no state of the host that a run is to reach, so nothing is ever reported as changed.
  - A run that was killed leaves its lock. The next one is told whose it is, when it was last seen alive, and how to
    take it over.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
    details: A lock that somebody else holds is a warning in check mode, since nothing is changed then.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  path:
    description: The file. Its directory must be there and be root's.
    type: path
    required: true
  state:
    description:
      - V(held) takes the lock, or tells that a run which holds it is alive. V(released) gives it back, where the run
        holds it.
      - V(reserved) keeps it for the next run of O(owner), for whom a time was announced. With O(run) that run, which
        holds it, ends with this.
      - Without O(run), V(released) gives back what is kept for O(owner), and with O(take_over) for whomever.
      - V(opened) tells that the site is open again, so that nothing is kept any more for a run that was to open it.
    type: str
    choices: [held, reserved, released, opened]
    required: true
  run:
    description:
      - What tells one run from any other, as the module returned it when the lock was taken. Without it the run is a
        new one.
    type: str
  owner:
    description: Who deploys. Shown to the next.
    type: str
    default: somebody
  reason:
    description: What for. Shown to the next.
    type: str
    default: ""
  closed:
    description:
      - Whether a run has closed the site, so that whoever holds the lock next has to open it.
      - Where it is left out, it stays as the one who held the lock before has said.
    type: bool
  torn:
    description:
      - Whether a run has left code and database that may not fit, so that whoever holds the lock next has to put that
        right.
      - Where it is left out, it stays as the one who held the lock before has said. V(opened) does not change it.
    type: bool
  take_over:
    description: Take the lock from whom holds it, or is to have it.
    type: bool
    default: false
  record:
    description: What is to be remembered of the run, added to O(records) before it gives its lock back.
    type: dict
  records:
    description: A file with one line of JSON for each run that was recorded, readable for root and its group.
    type: path
"""

EXAMPLES = r"""
- name: Let nobody else deploy
  coralnet.server.deploy_lock:
    path: /srv/www/coralnet/lock.json
    state: held
    owner: anna
    reason: update to v2
  register: deploy_lock

- name: Let others deploy again
  coralnet.server.deploy_lock:
    path: /srv/www/coralnet/lock.json
    state: released
    run: "{{ deploy_lock.run }}"
"""

RETURN = r"""
run:
  description: What tells this run from any other.
  type: str
  returned: success
reserved:
  description: Whether the lock was kept for the owner, who has announced this.
  type: bool
  returned: success
announced:
  description: What the lock was kept for, in the words of the reservation. Empty where it was not.
  type: str
  returned: success
other:
  description:
    - Who held the lock before, where it was taken over; in check mode, who holds it. Empty where nobody else did.
  type: str
  returned: success
closed:
  description: Whether a run before, or the one that holds the lock, has left the site closed.
  type: bool
  returned: success
torn:
  description: Whether a run before, or the one that holds the lock, has left code and database that may not fit.
  type: bool
  returned: success
"""

import os
import uuid

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._lock import RESERVED, Holder, Lock, LockError, remember


def own_time(holder: Holder, owner: str) -> bool:
    return holder.reserved and holder.owner == owner


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["held", "reserved", "released", "opened"], "required": True},
            "run": {"type": "str"},
            "owner": {"type": "str", "default": "somebody"},
            "reason": {"type": "str", "default": ""},
            "closed": {"type": "bool"},
            "torn": {"type": "bool"},
            "take_over": {"type": "bool", "default": False},
            "record": {"type": "dict"},
            "records": {"type": "path"},
        },
        required_by={"record": "records"},
        supports_check_mode=True,
    )
    params = module.params
    run = params["run"] or (uuid.uuid4().hex if params["state"] == "held" else RESERVED)
    lock = Lock(params["path"])
    before = None
    try:
        if module.check_mode:
            before = lock.holder()
            refused = before and before.run != run and not own_time(before, params["owner"])
            if refused and params["state"] != "opened":
                module.warn(f"{before}: a run that changes something would be refused")
        elif params["state"] == "released" or (params["state"] == "reserved" and params["run"]):
            try:
                if params["record"]:
                    remember(params["records"], params["record"])
            finally:
                if params["state"] == "released":
                    lock.release(run, params["owner"], params["take_over"])
                else:
                    lock.keep(run, params["owner"], params["reason"], params["closed"], params["torn"])
        elif params["state"] == "opened":
            lock.opened()
        elif not os.path.isdir(os.path.dirname(params["path"])):
            raise LockError(f"{os.path.dirname(params['path'])} is not there: run site.yml first")
        else:
            before = lock.take(
                run, params["owner"], params["reason"], params["take_over"], params["closed"], params["torn"]
            )
    except (LockError, OSError) as exc:
        module.fail_json(msg=str(exc))

    reserved = before is not None and own_time(before, params["owner"])
    module.exit_json(
        changed=False,
        run=run,
        reserved=reserved,
        announced=before.reason if before and reserved else "",
        other="" if reserved else str(before or ""),
        closed=before is not None and before.closed,
        torn=before is not None and before.torn,
    )


if __name__ == "__main__":
    main()
