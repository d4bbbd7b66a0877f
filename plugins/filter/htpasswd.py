# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: htpasswd
short_description: Write the lines of a password file for nginx
version_added: 0.1.0
description:
  - Gives a line with a name and a hash for each person, sorted by name. A hash that is there already and fits its
    password is kept, so that the file changes only when a name or a password does.
  - The hash is SHA-512 crypt, which nginx has the system check (C(crypt)), with 5000 rounds. nginx computes it at each
    request and does nothing else meanwhile, so more rounds would slow the whole site down.
  - An error never shows a password.
requirements:
  - passlib, on the machine that runs Ansible
author:
  - CoralNet server contributors (@coralnet)
options:
  _input:
    description: The passwords, by name.
    type: dict
    required: true
  kept:
    description: The text of the file as it is.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Read the passwords that there are
  ansible.builtin.slurp:
    src: /etc/nginx/passwords/reef
  register: found
  no_log: true

- name: Write the passwords
  ansible.builtin.copy:
    dest: /etc/nginx/passwords/reef
    content: "{{ {'alice': vault_alice} | coralnet.server.htpasswd(found.content | b64decode) }}"
    mode: "0640"
    group: www-data
  no_log: true
"""

RETURN = r"""
_value:
  description: The text of the file, without an end of line at its end.
  type: str
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

try:
    from passlib.hash import sha512_crypt
except ImportError:  # said where it is needed
    sha512_crypt = None

ROUNDS = 5000


def htpasswd(passwords: Any, kept: str = "") -> str:
    if sha512_crypt is None:
        raise AnsibleFilterError("htpasswd needs passlib where ansible-playbook runs: python3 -m pip install passlib")
    if not isinstance(passwords, Mapping):
        raise AnsibleFilterError("htpasswd takes a dictionary of passwords by name")
    hashes = dict(line.split(":", 1) for line in kept.splitlines() if ":" in line and not line.startswith("#"))
    lines = []
    for name, password in sorted(passwords.items()):
        if not re.fullmatch(r"[^\s:#][^\s:]*", str(name)):
            raise AnsibleFilterError(f"htpasswd: the name {name!r} has a blank, a colon or # at its beginning")
        hashed = hashes.get(name, "")
        if not fits(str(password), hashed):
            hashed = sha512_crypt.using(rounds=ROUNDS).hash(str(password))
        lines.append(f"{name}:{hashed}")
    return "\n".join(lines)


def fits(password: str, hashed: str) -> bool:
    try:
        return bool(sha512_crypt.verify(password, hashed))
    except ValueError:  # it is no such hash
        return False


class FilterModule:
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"htpasswd": htpasswd}
