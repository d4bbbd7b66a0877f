#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_rollback
short_description: Work out the way back to an older release of a site
version_added: 0.1.0
description:
  - Says which release to go back to, which migrations the current one has and the older one does not, whether they can
    be reversed and to where, which dump there is from before, and in words what is returned and what is not.
  - Both releases are asked with their own code, so one that does not start is found here.
  - Nothing is changed.
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
  root:
    description: The site's directory, which holds C(releases/), C(current) and C(run).
    type: path
    required: true
  release:
    description:
      - The release to go back to, by its name, its commit (at least seven of its digits) or the version that it was
        built from. It must be older than the current one, and must have served.
      - Empty is the one that ran before the current one, as O(records) say, if it is good and older. Otherwise it is
        the newest good one of those that are older.
    type: str
    default: ""
  records:
    description: The file with one line of JSON for each deployment, see M(coralnet.server.deploy_lock).
    type: path
    default: ""
  migrations:
    description:
      - Whether the database keeps migrations that the older release does not have, or they are reversed. V(reverse)
        fails where Django says that one cannot be.
    type: str
    choices: [keep, reverse]
    default: keep
  manage:
    description: The site's management command, word by word, as C(run) takes it.
    type: list
    elements: str
    default: [python, manage.py]
  dumps:
    description: Paths of the dumps there are, named as M(coralnet.server.postgresql_dump) names them.
    type: list
    elements: str
    default: []
  restore_dump:
    description: The dump that will be restored, for the words. Empty is none.
    type: str
    default: ""
seealso:
  - module: coralnet.server.release_switch
  - module: coralnet.server.postgresql_restore
"""

EXAMPLES = r"""
- name: Plan the way back
  coralnet.server.release_rollback:
    root: /srv/www/coralnet
    migrations: reverse
  register: way_back
"""

RETURN = r"""
release:
  description: Name of the release to go back to.
  type: str
  returned: success
  sample: 20261101T080000Z-89abcdef01
version:
  description: The version that it was built from.
  type: str
  returned: success
current:
  description: Name of the release that is current.
  type: str
  returned: success
  sample: 20261124T101500Z-0123456789
current_version:
  description: The version that the current release was built from.
  type: str
  returned: success
migrations:
  description: The migrations in the database that the current release has and the older one does not.
  type: list
  elements: str
  returned: success
  sample: [sources.0002_image_file_size]
obstacles:
  description: Why they cannot be reversed, in Django's words. Empty where they can.
  type: list
  elements: str
  returned: success
targets:
  description: To which migration each app has to be migrated by the current release's code to reverse them.
  type: list
  elements: dict
  returned: success
  sample: [{app: sources, migration: 0001_initial}]
words:
  description: What is returned and what is not.
  type: list
  elements: str
  returned: success
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._postgresql import last_words
from ansible_collections.coralnet.server.plugins.module_utils._rollback import (
    ASK,
    Kept,
    RollbackError,
    Way,
    choose,
    compare,
    dump_from_before,
    read_answer,
)
from ansible_collections.coralnet.server.plugins.module_utils._run import Run, runner


def migrations_of(run: Run, root: str, manage: list[str], release: Kept) -> dict[str, Any]:
    """Ask a release's own code which migrations it has."""
    argv = [os.path.join(root, "run"), "--instance", release.name, *manage, "shell", "--command", ASK]
    rc, out, err = run(argv)
    try:
        if rc == 0:
            return read_answer(out)
    except (ValueError, IndexError):
        err = out
    raise RollbackError(f"{release} cannot say which migrations it has: {last_words(err)}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "default": ""},
            "records": {"type": "path", "default": ""},
            "migrations": {"type": "str", "choices": ["keep", "reverse"], "default": "keep"},
            "manage": {"type": "list", "elements": "str", "default": ["python", "manage.py"]},
            "dumps": {"type": "list", "elements": "str", "default": []},
            "restore_dump": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    root, reverse = os.path.normpath(params["root"]), params["migrations"] == "reverse"
    try:
        if reverse and params["restore_dump"]:
            raise RollbackError("say migrations=reverse or restore_dump, not both: a dump brings its own migrations")
        running, older = choose(root, params["release"], params["records"])
        newer_state, older_state = (
            migrations_of(runner(module), root, params["manage"], each) for each in (running, older)
        )
        migrations = compare(newer_state, older_state)
        if reverse and migrations.obstacles:
            raise RollbackError(
                f"nothing was changed, because these migrations cannot be reversed: {'; '.join(migrations.obstacles)}"
            )
    except (RollbackError, OSError) as exc:
        module.fail_json(msg=str(exc))

    way = Way(running, older, migrations, dump_from_before(params["dumps"], older), time.time())
    module.exit_json(
        changed=False,
        release=older.name,
        version=older.version,
        current=running.name,
        current_version=running.version,
        migrations=migrations.extra,
        obstacles=migrations.obstacles,
        targets=[{"app": app, "migration": name} for app, name in migrations.targets],
        words=way.lines(params["migrations"], params["restore_dump"]),
    )


if __name__ == "__main__":
    main()
