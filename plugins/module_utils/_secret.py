# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Credentials that stand in addresses, which no answer of a module may show."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# ssh has keys, and its git@ is no secret
ACCOUNT = re.compile(r"(?<!ssh)://([^/\s@]+)@")


def credentials(texts: Iterable[str]) -> set[str]:
    """Find the tokens, and the names with passwords, of the addresses in texts; and the passwords by themselves."""
    accounts = {account for text in texts for account in ACCOUNT.findall(text)}
    return accounts | {account.partition(":")[2] for account in accounts} - {""}


def hide_credentials(module: AnsibleModule, texts: Iterable[str]) -> None:
    """Have the module hide them in whatever it says."""
    module.no_log_values.update(credentials(texts))
