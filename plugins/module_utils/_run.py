# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How programs are run: what the rest of the plugins is given, so that it knows no Ansible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Run = Callable[[list[str]], tuple[int, str, str]]
"""Takes a command as words; returns its exit code, output and errors."""


def runner(module: AnsibleModule, **environment: str) -> Run:
    """Run programs as the module does, with messages in plain English unless the environment says otherwise."""

    def run(argv: list[str]) -> tuple[int, str, str]:
        rc, out, err = module.run_command(argv, environ_update={"LC_ALL": "C", **environment})
        return int(rc), str(out), str(err)

    return run
