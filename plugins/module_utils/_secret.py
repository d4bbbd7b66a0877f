# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Credentials that stand in addresses, which no answer of a module may show."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

ACCOUNT = re.compile(r"https?://([^/\s@]+)@")
TOKEN = 16
"""Characters from which on a name without a password is taken for a token; shorter ones are names of people."""


def credentials(texts: Iterable[str]) -> set[str]:
    """Find the passwords and tokens of the addresses in texts."""
    found = set()
    for account in (account for text in texts for account in ACCOUNT.findall(text)):
        _name, colon, password = account.partition(":")
        if colon and password:
            found |= {account, password}
        elif len(account) >= TOKEN:
            found.add(account)
    return found


def hide_credentials(module: AnsibleModule, texts: Iterable[str]) -> None:
    """Have the module hide them in whatever it says."""
    module.no_log_values.update(credentials(texts))
