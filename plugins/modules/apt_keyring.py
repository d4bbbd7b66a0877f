#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_keyring
short_description: Install the keys of an apt repository after checking every one of them
version_added: 0.1.0
description:
  - Installs a file of OpenPGP keys for C(Signed-By) of an apt source, if every primary key in it has one of the pinned
    fingerprints and is strong enough, and at least one of them can be used. Otherwise the task fails with one sentence
    that says why, and the file on the host stays as it is.
  - With O(repository), apt itself is asked before anything is written whether it takes the repository with these keys.
    It has nothing but them and no older lists then, and what it says is told.
  - Warns of keys that are about to expire.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
    details: Keys and repository are checked in check mode too.
  diff_mode:
    support: full
    details: Fingerprints and when they expire, not the file itself.
  idempotent:
    support: full
options:
  path:
    description: Where to install the file, which ends in C(.asc) because it is ASCII-armoured.
    type: path
    required: true
  url:
    description: Where the host gets the keys. Exactly one of O(url) and O(content) is needed.
    type: str
  content:
    description: The keys themselves, ASCII-armoured.
    type: str
  fingerprints:
    description: Fingerprints of the primary keys that the file may hold, in hexadecimal, with or without blanks.
    type: list
    elements: str
    required: true
  repository:
    description:
      - What the keys are for, as behind C(deb) in a line of C(sources.list), with address, suite and components.
      - Left out, apt is not asked.
    type: str
  warning_days:
    description: How many days before a key expires the warnings begin.
    type: int
    default: 60
  timeout:
    description: How long O(url) may take, in seconds.
    type: int
    default: 30
requirements:
  - gpg
seealso:
  - module: ansible.builtin.deb822_repository
"""

EXAMPLES = r"""
- name: Trust the keys of nginx.org
  coralnet.server.apt_keyring:
    path: /etc/apt/keyrings/nginx.asc
    url: https://nginx.org/keys/nginx_signing.key
    fingerprints:
      - 573BFD6B3D8FBC641079A6ABABF5BD827BD9BF62
      - 8540A6F18833A80E9C1653A42FD21310B49F6B46
      - 9E9BE90EACBCDE69FE9B204CBCDCD8A38D88A2B3
    repository: https://nginx.org/packages/debian trixie nginx

- name: Trust a key that was checked in
  coralnet.server.apt_keyring:
    path: /etc/apt/keyrings/example.asc
    content: "{{ lookup('ansible.builtin.file', 'example.asc') }}"
    fingerprints: [9E9BE90EACBCDE69FE9B204CBCDCD8A38D88A2B3]
"""

RETURN = r"""
keys:
  description: The primary keys of the file.
  type: list
  elements: dict
  returned: success
  contains:
    fingerprint:
      description: Its fingerprint.
      type: str
    algorithm:
      description: Its kind, such as V(rsa).
      type: str
    bits:
      description: Its length.
      type: int
    expires:
      description: The day on which it expires or expired, such as V(2027-05-24). Empty if it never does.
      type: str
    usable:
      description: Whether it has neither expired nor been revoked.
      type: bool
expires:
  description: The day on which the last usable key expires. Empty if one never does.
  type: str
  returned: success
"""

import os
import shutil
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.urls import fetch_url
from ansible_collections.coralnet.server.plugins.module_utils._apt import ENVIRONMENT, AptError, trial
from ansible_collections.coralnet.server.plugins.module_utils._openpgp import (
    Key,
    KeyFileError,
    check_keys,
    date,
    last_day,
    read_keys,
    warnings,
)
from ansible_collections.coralnet.server.plugins.module_utils._run import runner

LARGEST = 1024 * 1024


def fetch(module: AnsibleModule) -> str:
    """Get the keys from where the options say."""
    if module.params["content"] is not None:
        return str(module.params["content"])
    response, info = fetch_url(module, module.params["url"], timeout=module.params["timeout"])
    if response is None or info["status"] not in (200, -1):
        raise KeyFileError(f"it cannot be fetched: {info['msg']}")
    content: bytes = response.read(LARGEST)
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise KeyFileError("it holds no ASCII-armoured OpenPGP key") from exc


def on_disk(path: str) -> str:
    """Read the installed file; one that apt's own account cannot read does not count."""
    if not os.path.isfile(path) or os.stat(path).st_mode & 0o777 != 0o644:
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def install(module: AnsibleModule, text: str) -> None:
    os.makedirs(os.path.dirname(module.params["path"]), mode=0o755, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(fresh, 0o644)
    module.atomic_move(fresh, module.params["path"])
    os.chmod(module.params["path"], 0o644)


def listing(keys: list[Key], now: float) -> str:
    return "".join(f"{key.fingerprint} {key.state(now)}\n" for key in keys)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "url": {"type": "str"},
            "content": {"type": "str", "no_log": False},
            "fingerprints": {"type": "list", "elements": "str", "required": True},
            "repository": {"type": "str"},
            "warning_days": {"type": "int", "default": 60},
            "timeout": {"type": "int", "default": 30},
        },
        mutually_exclusive=[("url", "content")],
        required_one_of=[("url", "content")],
        supports_check_mode=True,
    )
    if shutil.which("gpg") is None:
        module.fail_json(msg="there is no gpg on this host: install the package gpg first")

    run = runner(module, **ENVIRONMENT)
    path, repository, now = module.params["path"], module.params["repository"], time.time()
    try:
        text = fetch(module)
        keys = read_keys(text, run)
        check_keys(keys, module.params["fingerprints"], now)
    except (KeyFileError, OSError) as exc:
        source = module.params["url"] or "the given file"
        module.fail_json(msg=f"{source} is not trusted as a file of keys: {to_native(exc)}. Nothing was changed")
    if repository:
        try:
            trial(run, text, repository)
        except (AptError, OSError) as exc:
            module.fail_json(msg=f"apt refuses {repository} with these keys: {to_native(exc)}. Nothing was changed")

    before = on_disk(path)
    changed = before != text
    if changed and not module.check_mode:
        install(module, text)
    for warning in warnings(keys, module.params["warning_days"], now):
        module.warn(warning)
    try:
        old = listing(read_keys(before, run), now) if changed and before else ""
    except KeyFileError:
        old = "(no keys)\n"
    end = last_day(keys, now)
    module.exit_json(
        changed=changed,
        keys=[
            {
                "fingerprint": key.fingerprint,
                "algorithm": key.algorithm,
                "bits": key.bits,
                "expires": date(key.expires) if key.expires else "",
                "usable": key.usable(now),
            }
            for key in keys
        ],
        expires=date(end) if end else "",
        diff={"before": old if changed else listing(keys, now), "after": listing(keys, now)},
    )


if __name__ == "__main__":
    main()
