#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_dump
short_description: Dump a site's database before it is migrated
version_added: 0.1.0
description:
  - Writes a dump in PostgreSQL's custom format, reads it back as a whole, and only then gives it its name, which says
    when it was made, which release was running, and for which one it was made.
  - Free space is looked at first. Whatever fails, no half dump stays.
  - With O(copy_command) it is copied off the host; a copy that fails is a failure, and the dump itself stays.
  - The oldest dumps beyond O(keep) are removed after that.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment:
  - coralnet.server.attributes
  - coralnet.server.postgresql
attributes:
  check_mode:
    support: full
    details: Free space is looked at in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each run makes a dump.
options:
  directory:
    description: Where the dumps of this database are. It is made if need be, for nobody else's eyes.
    type: path
    required: true
  account:
    description: The account that dumps, and that the dumps belong to. Needs root; empty is who runs the module.
    type: str
    default: ""
  running:
    description: The release that the database belongs to.
    type: str
    default: ""
  coming:
    description: The release that the dump is made for.
    type: str
    default: ""
  space:
    description: How many free bytes to ask for, for each byte of the database.
    type: float
    default: 1.1
  keep:
    description: How many dumps to keep.
    type: int
    default: 5
  copy_command:
    description: A command, word by word, that copies the dump elsewhere. C({path}) in it is the dump's path.
    type: list
    elements: str
    default: []
seealso:
  - module: coralnet.server.postgresql_restore
"""

EXAMPLES = r"""
- name: Dump the database
  coralnet.server.postgresql_dump:
    database: coralnet
    directory: /var/backups/postgresql/coralnet
    running: 20261101T080000Z-89abcdef01
    coming: 20261124T101500Z-0123456789
    account: postgres
    copy_command: [rclone, copy, "{path}", "vault:coralnet"]
  become: true
"""

RETURN = r"""
path:
  description: The dump, or where it would be after a run in check mode.
  type: str
  returned: success
  sample: /var/backups/postgresql/coralnet/20261124T101512Z_20261101T080000Z-89abcdef01_20261124T101500Z-0123456789.pgc
bytes:
  description: Its size. 0 in check mode.
  type: int
  returned: success
seconds:
  description: How long dumping, reading back and copying took.
  type: float
  returned: success
pruned:
  description: The dumps that were removed.
  type: list
  elements: str
  returned: success
"""

import os
import shutil
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._dump import Dumper, path_of
from ansible_collections.coralnet.server.plugins.module_utils._files import make_directory
from ansible_collections.coralnet.server.plugins.module_utils._postgresql import (
    SPEC,
    PostgresError,
    Server,
    environment,
    last_words,
)
from ansible_collections.coralnet.server.plugins.module_utils._run import Run, runner
from ansible_collections.coralnet.server.plugins.module_utils._user import as_user, user_exists


def runner_of(module: AnsibleModule, **variables: str) -> Run:
    """Run programs as the account that dumps."""
    account = module.params["account"]
    if account:
        return lambda argv: as_user(module, account, argv, environment=variables)
    return runner(module, **variables)


def make_own(path: str, account: str) -> None:
    """Make it for the account alone, below directories that it may pass through."""
    if not os.path.isdir(path):
        make_directory(os.path.dirname(path))
        os.mkdir(path)
    os.chmod(path, 0o700)
    if account:
        shutil.chown(path, account)


def copy(module: AnsibleModule, path: str) -> None:
    """Have it copied elsewhere. The command may hold a secret, so only its program is named."""
    words = [word.replace("{path}", path) for word in module.params["copy_command"]]
    if not words:
        return
    complaint = f"the dump is in {path}, and {words[0]} (postgresql_dump_copy_command) could not copy it:"
    if not shutil.which(words[0]):
        raise PostgresError(f"{complaint} there is no such program")
    rc, out, err = runner_of(module)(words)
    if rc != 0:
        raise PostgresError(f"{complaint} {last_words(err or out) or f'exit code {rc}'}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SPEC,
            "directory": {"type": "path", "required": True},
            "account": {"type": "str", "default": ""},
            "running": {"type": "str", "default": ""},
            "coming": {"type": "str", "default": ""},
            "space": {"type": "float", "default": 1.1},
            "keep": {"type": "int", "default": 5},
            "copy_command": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["account"] and not user_exists(params["account"]):
        module.fail_json(
            msg=f"this host has no account {params['account']}: site.yml installs PostgreSQL's programs, and it"
        )
    os.umask(0o077)
    server = Server(runner_of(module, **environment(params)), params["login_database"], params["programs"])
    dumper = Dumper(server, params["database"], params["directory"])
    size, pruned, start = 0, [], time.monotonic()
    try:
        path = path_of(params["directory"], params["running"], params["coming"], time.time())
        dumper.check_space(params["space"])
        if not module.check_mode:
            make_own(params["directory"], params["account"])
            size = dumper.take(path)
            copy(module, path)
            pruned = dumper.prune(max(params["keep"], 1))
    except (PostgresError, OSError) as exc:
        module.fail_json(msg=str(exc))

    seconds = round(time.monotonic() - start, 2)
    module.exit_json(changed=True, path=path, bytes=size, seconds=seconds, pruned=pruned)


if __name__ == "__main__":
    main()
