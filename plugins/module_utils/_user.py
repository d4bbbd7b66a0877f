# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands run as another account of the host."""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# Root's own directory for temporary files may be closed to others (libpam-tmpdir)
ENVIRONMENT = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "TMPDIR": "/tmp"}  # noqa: S108 - mktemp makes what is in it


def user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def as_user(
    module: AnsibleModule,
    user: str,
    argv: list[str],
    cwd: str = "/",
    environment: dict[str, str] | None = None,
    umask: int | None = None,
) -> tuple[int, str, str]:
    """Run a command as a user, with that user's home (git looks for its settings and keys there)."""
    command = ["runuser", "--user", user, "--", *argv]
    variables = {**ENVIRONMENT, "HOME": pwd.getpwnam(user).pw_dir, **(environment or {})}
    rc, out, err = module.run_command(command, cwd=cwd, environ_update=variables, umask=umask)
    return int(rc), str(out), str(err)
