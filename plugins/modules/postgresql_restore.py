#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore
short_description: Put a dump in the place of a site's database, and keep the database
version_added: 0.1.0
description:
  - Restores the dump into a new database beside the one in use, with the same owner, encoding, locale, privileges and
    settings. Then both are renamed in one transaction, so there is always a whole database of that name.
  - A restore that fails leaves the database as it was. One that succeeds keeps it under another name, which is
    returned; it is never removed by itself.
  - Clients are sent away for the exchange. Stop those that write before, or what they write meanwhile stays behind.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment:
  - coralnet.server.attributes
  - coralnet.server.postgresql
attributes:
  check_mode:
    support: full
    details: Check mode reads the whole dump, and looks at free space.
  diff_mode:
    support: full
  idempotent:
    support: none
    details: Each run restores.
options:
  path:
    description: The dump, in PostgreSQL's custom format, readable for the account that runs the module.
    type: path
  undo:
    description: Instead of restoring a dump, put the database of this name back, which an earlier run has replaced.
    type: str
  foreign:
    description:
      - Whether the dump is another server's. All in it becomes the database's owner's, and privileges and comments are
        left out. Extensions that the database has are made before.
    type: bool
    default: false
  statements:
    description:
      - SQL that is run in the restored database, in this order, before it takes the other's place. Each is a
        transaction of its own.
      - One that fails leaves the database as it was. The message has its number and PostgreSQL's words.
    type: list
    elements: str
    default: []
seealso:
  - module: coralnet.server.postgresql_dump
"""

EXAMPLES = r"""
- name: Restore a dump
  coralnet.server.postgresql_restore:
    database: coralnet
    path: /var/backups/postgresql/coralnet/20261124T101512Z_20261101T080000Z-89abcdef01_20261124T101500Z-0123456789.pgc
  become: true
  become_user: postgres
  register: restored

- name: Put another server's dump in the place of the database, without its addresses
  coralnet.server.postgresql_restore:
    database: coralnet
    path: /var/backups/production.pgc
    foreign: true
    statements:
      - update auth_user set email = 'user' || id || '@staging.invalid'
      - delete from django_session
  become: true
  become_user: postgres

- name: Have the database back that it replaced
  coralnet.server.postgresql_restore:
    database: coralnet
    undo: "{{ restored.replaced }}"
  become: true
  become_user: postgres
"""

RETURN = r"""
replaced:
  description: The name under which the database that was replaced is kept. Empty in check mode, and after O(undo).
  type: str
  returned: success
  sample: coralnet_replaced_20261124103000
seconds:
  description: How long it took.
  type: float
  returned: success
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._postgresql import (
    SPEC,
    PostgresError,
    Server,
    environment,
)
from ansible_collections.coralnet.server.plugins.module_utils._restore import Restorer
from ansible_collections.coralnet.server.plugins.module_utils._run import runner


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SPEC,
            "path": {"type": "path"},
            "undo": {"type": "str"},
            "foreign": {"type": "bool", "default": False},
            "statements": {"type": "list", "elements": "str", "default": []},
        },
        mutually_exclusive=[("path", "undo")],
        required_one_of=[("path", "undo")],
        supports_check_mode=True,
    )
    params = module.params
    server = Server(runner(module, **environment(params)), params["login_database"], params["programs"])
    jobs = min(os.cpu_count() or 1, 4)
    restorer = Restorer(
        server,
        params["database"],
        local=not params["login_host"],
        jobs=jobs,
        foreign=params["foreign"],
        statements=params["statements"],
    )
    replaced, start = "", time.monotonic()
    try:
        if params["path"]:
            restorer.check(params["path"], whole=module.check_mode)
        if module.check_mode:
            pass
        elif params["path"]:
            replaced = restorer.restore(params["path"], time.time())
        else:
            restorer.undo(params["undo"])
    except (PostgresError, OSError) as exc:
        module.fail_json(msg=str(exc))

    module.exit_json(
        changed=True,
        replaced=replaced,
        seconds=round(time.monotonic() - start, 2),
        diff={
            "before": f"{params['database']}: in use\n",
            "after": f"{params['database']}: {params['path'] or params['undo']}\n",
        },
    )


if __name__ == "__main__":
    main()
