#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_check
short_description: See whether a host's mail can arrive
version_added: 0.1.0
description:
  - Compares DNS records with what they should be, and the host's name with where its address leads.
  - Asks the host's own Postfix for its name and certificate, connects to a server elsewhere, and looks into the queue
    and at the deliveries of the last day.
  - It sends no mail and changes nothing.
requirements:
  - dig (Debian's bind9-dnsutils)
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
  hostname:
    description: The name that the host tells other servers.
    type: str
    required: true
  records:
    description:
      - TXT records that should be published. Which kind each is can be told by its name.
      - A published SPF record may have more terms, and a DMARC policy may be stricter.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The record's name, without a dot at its end.
        type: str
        required: true
      strings:
        description: Its value, in pieces of at most 255 characters.
        type: list
        elements: str
        required: true
  resolver:
    description: Address of the DNS server to ask. Empty asks the one of the host.
    type: str
    default: ""
  destination:
    description: A domain, or V([host]:port), whose mail server is connected to.
    type: str
    required: true
  direct:
    description:
      - Whether the host sends to everybody itself.
      - Where another server does it, nobody asks where this one's address leads.
    type: bool
    default: true
  ipv6:
    description: Whether the host sends over IPv6 too.
    type: bool
    default: false
  certificate:
    description: Path of the certificate that Postfix should have. Empty is none.
    type: path
    default: ""
  services:
    description: Services that should run.
    type: list
    elements: str
    default: [postfix]
  queue_limit:
    description: How many messages may wait.
    type: int
    default: 50
seealso:
  - module: coralnet.server.systemd_current
"""

EXAMPLES = r"""
- name: See whether mail can arrive
  coralnet.server.mail_check:
    hostname: coralnet.ucsd.edu
    destination: gmail.com
    records:
      - name: coralnet.ucsd.edu
        strings: ["v=spf1 a:coralnet.ucsd.edu -all"]
      - name: _dmarc.coralnet.ucsd.edu
        strings: ["v=DMARC1; p=none"]
  register: mail

- name: End the run where it cannot
  ansible.builtin.assert:
    that: mail.good
    fail_msg: "{{ mail.table }}"
"""

RETURN = r"""
good:
  description: Whether nothing is wrong.
  type: bool
  returned: success
findings:
  description: What was looked at.
  type: list
  elements: dict
  returned: success
  contains:
    check:
      description: What was looked at.
      type: str
      returned: success
    state:
      description: V(ok), V(wrong), or V(look) for what a person should judge.
      type: str
      returned: success
    found:
      description: What was found.
      type: str
      returned: success
table:
  description: The same as lines of text.
  type: list
  elements: str
  returned: success
"""

import shutil
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._mail import (
    WRONG,
    Dns,
    check_deliveries,
    check_greeting,
    check_name,
    check_port,
    check_queue,
    check_records,
    check_services,
    deliveries,
    table,
)
from ansible_collections.coralnet.server.plugins.module_utils._run import runner


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str", "required": True},
            "records": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "strings": {"type": "list", "elements": "str", "required": True},
                },
            },
            "resolver": {"type": "str", "default": ""},
            "destination": {"type": "str", "required": True},
            "direct": {"type": "bool", "default": True},
            "ipv6": {"type": "bool", "default": False},
            "certificate": {"type": "path", "default": ""},
            "services": {"type": "list", "elements": "str", "default": ["postfix"]},
            "queue_limit": {"type": "int", "default": 50},
        },
        supports_check_mode=True,
    )
    missing = [name for name in ("dig", "postqueue", "journalctl") if shutil.which(name) is None]
    if missing:
        module.fail_json(msg=f"this host has no {' and no '.join(missing)}: set its mail up first")

    run = runner(module)
    dns = Dns(run, module.params["resolver"])
    records = [(record["name"], "".join(record["strings"])) for record in module.params["records"]]
    journal = ["journalctl", "--since=-1d", "--no-pager", "--output=json", "--identifier=postfix/smtp"]
    findings = [
        *check_services(run, module.params["services"]),
        *check_greeting(module.params["hostname"], module.params["certificate"]),
        *(check_name(dns, module.params["hostname"], module.params["ipv6"]) if module.params["direct"] else []),
        *check_records(dns, records),
        check_port(dns, module.params["destination"]),
        check_queue(run, module.params["queue_limit"]),
        *check_deliveries(deliveries(run(journal)[1].splitlines())),
    ]
    module.exit_json(
        changed=False,
        good=all(finding.state != WRONG for finding in findings),
        findings=[asdict(finding) for finding in findings],
        table=table(findings),
    )


if __name__ == "__main__":
    main()
