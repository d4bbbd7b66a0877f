#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: certbot_certificate
short_description: Get a certificate with certbot where one is needed
version_added: 0.1.0
description:
  - Asks the CA for a certificate where there is none, where its names or its CA are others than wanted, or where it is
    due for renewal. Otherwise the CA is not asked, and renewals are left to certbot's own timer.
  - Before the CA is asked, every name must resolve, lead to this host as far as that can be known, and serve a
    challenge on port 80. A name that fails costs none of the few tries that Let's Encrypt allows.
  - Passing faults of the CA or of the network are tried again with growing pauses. What the CA refuses is not. Its
    reason is given also where certbot hides it, as version 2.1 of Debian 12 does.
  - A renewal that is not due is never forced.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
    details: Check mode looks at the certificate that there is, and at nothing else.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: The certificate's name, and that of its directory in C(/etc/letsencrypt/live).
    type: str
    required: true
  domains:
    description: The host names that it is for, the main one first.
    type: list
    elements: str
    required: true
  server:
    description: The CA's ACME directory.
    type: str
    default: https://acme-v02.api.letsencrypt.org/directory
  email:
    description: The address of the account. Empty registers without one.
    type: str
    default: ""
  webroot:
    description: The directory of which the web server has C(/.well-known/acme-challenge/) on port 80 of every name.
    type: path
    default: /var/www/letsencrypt
  executable:
    description: The certbot to use.
    type: path
    default: /usr/bin/certbot
  ca_bundle:
    description: The CA certificates by which to know O(server). Empty are certbot's own.
    type: str
    default: ""
  key_type:
    description: The kind of key.
    type: str
    choices: [ecdsa, rsa]
    default: ecdsa
  elliptic_curve:
    description: The curve of an ECDSA key.
    type: str
    default: secp256r1
  rsa_key_size:
    description: The length of an RSA key, in bits.
    type: int
    default: 2048
  arguments:
    description: Further arguments of C(certbot certonly).
    type: list
    elements: str
    default: []
  renew_before_days:
    description:
      - How many days before its end a certificate is due.
      - Left out, it is a third of its life, or half of one that is shorter than ten days.
    type: float
  addresses:
    description:
      - The addresses that the names may resolve to. Empty are the host's own public ones, and any where it has none.
    type: list
    elements: str
    default: []
  front:
    description: The web server's address, which is asked for a challenge under each name.
    type: str
    default: http://127.0.0.1
  tries:
    description: How often to ask the CA when it has a passing fault, with pauses of 2, 8, 32, ... seconds.
    type: int
    default: 4
seealso:
  - name: Let's Encrypt, rate limits
    description: How often it may be asked.
    link: https://letsencrypt.org/docs/rate-limits/
"""

EXAMPLES = r"""
- name: Have a certificate for two names
  coralnet.server.certbot_certificate:
    name: coralnet
    domains: [coralnet.ucsd.edu, www.coralnet.ucsd.edu]
    email: webmaster@coralnet.ucsd.edu
"""

RETURN = r"""
reason:
  description: Why the CA was asked, or would be. Empty where it was not.
  type: str
  returned: success
  sample: there is none
tries:
  description: How often the CA was asked.
  type: int
  returned: success
certificate:
  description: Path of the certificate with its chain.
  type: str
  returned: success
key:
  description: Path of its private key.
  type: str
  returned: success
"""

import os
from datetime import datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._certbot import (
    Certbot,
    CertbotError,
    Current,
    Wanted,
    check_challenge,
    check_names,
    own_addresses,
    read,
)
from ansible_collections.coralnet.server.plugins.module_utils._moment import UTC
from ansible_collections.coralnet.server.plugins.module_utils._run import runner

DIRECTORY = "/etc/letsencrypt"


def key_arguments(key_type: str, curve: str, size: int) -> tuple[str, ...]:
    size_or_curve = ("--elliptic-curve", curve) if key_type == "ecdsa" else ("--rsa-key-size", str(size))
    return ("--key-type", key_type, *size_or_curve)


def shown(server: str, domains: list[str]) -> str:
    return "".join(f"{line}\n" for line in [server, *sorted(domains)])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "domains": {"type": "list", "elements": "str", "required": True},
            "server": {"type": "str", "default": "https://acme-v02.api.letsencrypt.org/directory"},
            "email": {"type": "str", "default": ""},
            "webroot": {"type": "path", "default": "/var/www/letsencrypt"},
            "executable": {"type": "path", "default": "/usr/bin/certbot"},
            "ca_bundle": {"type": "str", "default": ""},
            "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "default": "ecdsa", "no_log": False},
            "elliptic_curve": {"type": "str", "default": "secp256r1"},
            "rsa_key_size": {"type": "int", "default": 2048, "no_log": False},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "renew_before_days": {"type": "float"},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "front": {"type": "str", "default": "http://127.0.0.1"},
            "tries": {"type": "int", "default": 4},
        },
        supports_check_mode=True,
    )
    given = module.params
    trusted = {"REQUESTS_CA_BUNDLE": given["ca_bundle"]} if given["ca_bundle"] else {}
    run = runner(module, LC_ALL="C.UTF-8", **trusted)

    wanted = Wanted(
        name=given["name"],
        domains=tuple(given["domains"]),
        server=given["server"],
        webroot=given["webroot"],
        email=given["email"],
        key_arguments=key_arguments(given["key_type"], given["elliptic_curve"], given["rsa_key_size"]),
        arguments=tuple(given["arguments"]),
        renew_before_days=given["renew_before_days"],
    )
    before: Current | None = read(DIRECTORY, wanted.name, run) if module.get_bin_path("openssl") else None
    reason = wanted.reason(before, datetime.now(UTC))
    changed, tries = bool(reason), 0
    if reason and not module.check_mode:
        try:
            check_names(wanted.domains, given["addresses"], own_addresses(run))
            check_challenge(wanted.domains, wanted.webroot, given["front"])
            tries = Certbot(given["executable"], run).get(wanted, before, given["tries"])
            changed = read(DIRECTORY, wanted.name, run) != before
        except CertbotError as exc:
            module.fail_json(msg=f"{exc}. What was there before is unchanged")
    module.exit_json(
        changed=changed,
        reason=reason,
        tries=tries,
        certificate=os.path.join(DIRECTORY, "live", wanted.name, "fullchain.pem"),
        key=os.path.join(DIRECTORY, "live", wanted.name, "privkey.pem"),
        diff={
            "before": shown(before.server, list(before.domains)) if before else "",
            "after": shown(wanted.server, given["domains"]),
        },
    )


if __name__ == "__main__":
    main()
