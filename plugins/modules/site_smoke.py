#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: site_smoke
short_description: Walk through a site as people do, and remove what that made
version_added: 0.1.0
description:
  - Opens pages, fills forms in, uploads pictures and reads the site's mail, in steps that are data, and judges every
    answer. The visitor behaves as a browser does, with cookies, the fields that a form brings along (Django's CSRF
    token among them), C(Referer), C(Origin), and no secure cookie without TLS.
  - A step that fails ends the walk, and the task, with the step's name, the page, the status and what the page itself
    says.
  - Whatever comes of the walk, what it made is removed, by O(cleanup), by O(command), and from O(mail). A run that was
    killed is cleaned up after by the next.
  - Where a step has V({name}), the run's value of that name is put. V({run}) is the run's own name, which no other run
    has, V({email}) its O(address), V({password}) a password made for it, and V({host}) is O(host). There are O(values)
    and O(secrets), and what the named groups of patterns have found in earlier steps, so that
    V((?P<image>/images/\\d+/\)) in one step is V({image}) in the next.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
    details: Only O(checks) are asked, and O(steps) are looked at for mistakes.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: Nothing that is made stays.
options:
  host:
    description: The site's host name, with the port where people type one.
    type: str
    required: true
  front:
    description:
      - The web server's address as a URL. The name in it is only where to connect; O(host) is what is asked for.
    type: str
    default: ""
  app:
    description: The application's own unix socket, or its address as a URL, for the steps with the layer V(app).
    type: str
    default: ""
  headers:
    description: Headers that the front adds to every request, sent where the application is asked without it.
    type: dict
    default: {}
  validate_certs:
    description: Whether the certificate of an HTTPS O(front) must be valid for O(host).
    type: bool
    default: true
  timeout:
    description: How long one answer may take, in seconds.
    type: int
    default: 30
  address:
    description: The visitor's mail address, with V({run}) in it, at which O(mail) is read.
    type: str
    default: "{run}@smoke.invalid"
  values:
    description: Further values for steps, by name.
    type: dict
    default: {}
  secrets:
    description: The same for values that nobody must see.
    type: dict
    default: {}
  checks:
    description: Pages that must be there, before anything is made. They are asked in check mode too.
    type: list
    elements: dict
    default: []
    suboptions: &step
      name:
        description: What is done, in the words of a person.
        type: str
        required: true
      visit:
        description: The page to open, as a path or an address of this site.
        type: str
        default: ""
      mail:
        description: The address whose newest mail is read, instead of opening a page.
        type: str
        default: ""
      submit:
        description:
          - Fields to fill in, by name, in the form of the page that has all of them, which is then sent.
          - Of a list that is dropped down, a word that is seen can be given instead of the value behind it.
        type: dict
        default: {}
      upload:
        description: File fields of the form, and the name of the picture (PNG) that each gets, made for the occasion.
        type: dict
        default: {}
      form:
        description:
          - A regular expression for the form's action, to tell it from others. Set it for a form that is just a button.
        type: str
        default: ""
      layer:
        description: Whether the web server is asked, or the application without it.
        type: str
        choices: [front, app]
        default: front
      host:
        description: Another host name to ask for. Empty is that of the site.
        type: str
        default: ""
      headers:
        description: Further headers of the request for the page.
        type: dict
        default: {}
      status:
        description:
          - The statuses that are accepted. Empty is 200 for a page, and 302 or 303 for a form, since one that was not
            accepted comes again with status 200.
        type: list
        elements: int
        default: []
      follow:
        description: Whether accepted redirects are followed on this site; what comes at their end must have status 200.
        type: bool
        default: true
      at:
        description: A regular expression for the path (or the address elsewhere) that it leads to.
        type: str
        default: ""
      expect:
        description: Regular expressions that must be found in the page, or in the text of the mail.
        type: list
        elements: str
        default: []
      reject:
        description: Regular expressions that must not be found there.
        type: list
        elements: str
        default: []
      answers:
        description: Headers of the answer, each with a regular expression.
        type: dict
        default: {}
      retries:
        description: How often it is tried again, a second later, before it has failed.
        type: int
        default: 0
  steps:
    description: The walk.
    type: list
    elements: dict
    default: []
    suboptions: *step
  cleanup:
    description:
      - Steps that remove what the walk has made, for sites that have forms for it. All of them are taken, whichever
        step has failed; one that needs a value which was never found is left out.
    type: list
    elements: dict
    default: []
    suboptions: *step
  command:
    description:
      - A command that makes accounts, and removes what has the run's name, as words. It gets a task as JSON on its
        standard input and prints JSON. Empty has nothing made or removed but by forms.
      - The task has V(run), and either V(make), which is O(accounts), or V(remove), which is O(objects), with
        V(cookies), lists of what the site has given, by name. See the C(smoke) role for one that fits Django.
    type: list
    elements: str
    default: []
  accounts:
    description: Accounts that are made by O(command) before the walk, such as a superuser.
    type: list
    elements: dict
    default: []
    suboptions:
      superuser:
        description: Whether it is a superuser.
        type: bool
        default: false
      fields:
        description: The account's fields, as the site's user model calls them.
        type: dict
        required: true
  objects:
    description: What O(command) removes besides the accounts and what falls with them, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      model:
        description: The model, as V(application.Model).
        type: str
        required: true
      field:
        description: The field in which the run's name is.
        type: str
        required: true
  mail:
    description: Where the site's mail can be read on this host. Left out, steps cannot read any.
    type: dict
    suboptions:
      kind:
        description:
          - V(directory) has the files of Django's file-based backend, V(log) is a file with the console of a
            development server, V(journal) the journal of a unit that prints it, V(mailbox) an mbox file or a Maildir.
          - Mail to the run is removed from V(directory) and V(mailbox).
        type: str
        choices: [directory, log, journal, mailbox]
        default: directory
      path:
        description: Its path, or the name of the unit.
        type: str
        required: true
      seconds:
        description: How long mail may take to come.
        type: int
        default: 30
  slip:
    description: A file that remembers what a run has begun to make, for the next if this one is killed. Empty is none.
    type: path
    default: ""
seealso:
  - module: coralnet.server.release_switch
"""

EXAMPLES = r"""
- name: Register, and be gone again
  coralnet.server.site_smoke:
    host: coralnet.ucsd.edu
    front: https://127.0.0.1
    mail: {path: /srv/www/coralnet/shared/mail}
    checks:
      - name: The old address leads to the new one
        visit: /old/
        status: [301]
        follow: false
        at: ^/new/$
    steps:
      - name: Register
        visit: /accounts/register/
        submit: {username: "{run}", email: "{email}", password: "{password}"}
      - name: Read the mail
        mail: "{email}"
        expect: ['(?P<link>https?://\S+/activate/\S+)']
      - name: Activate
        visit: "{link}"
        status: [200, 302]
      - name: Log in
        visit: /accounts/login/
        submit: {username: "{run}", password: "{password}"}
        expect: ["Log out {run}"]
    cleanup:
      - name: Delete the account
        visit: /sources/
        form: /accounts/delete/
"""

RETURN = r"""
steps:
  description: The checks and steps that were taken, in check mode the checks alone.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The step's name.
      type: str
      returned: always
    page:
      description: The page to which it led, or the address whose mail was read.
      type: str
      returned: always
    status:
      description: The status of that page, V(0) for a mail.
      type: int
      returned: always
    milliseconds:
      description: How long it took.
      type: int
      returned: always
would:
  description: The steps that would be taken.
  type: list
  elements: str
  returned: in check mode
removed:
  description: How many of what O(command) has removed, by model.
  type: dict
  returned: success
  sample: {"auth.User": 2, "sources.Source": 1}
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._outing import Outing
from ansible_collections.coralnet.server.plugins.module_utils._run import runner
from ansible_collections.coralnet.server.plugins.module_utils._smoke import SmokeError

STEPS: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "name": {"type": "str", "required": True},
        "visit": {"type": "str", "default": ""},
        "mail": {"type": "str", "default": ""},
        "submit": {"type": "dict", "default": {}},
        "upload": {"type": "dict", "default": {}},
        "form": {"type": "str", "default": ""},
        "layer": {"type": "str", "choices": ["front", "app"], "default": "front"},
        "host": {"type": "str", "default": ""},
        "headers": {"type": "dict", "default": {}},
        "status": {"type": "list", "elements": "int", "default": []},
        "follow": {"type": "bool", "default": True},
        "at": {"type": "str", "default": ""},
        "expect": {"type": "list", "elements": "str", "default": []},
        "reject": {"type": "list", "elements": "str", "default": []},
        "answers": {"type": "dict", "default": {}},
        "retries": {"type": "int", "default": 0},
    },
}
SPEC: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "front": {"type": "str", "default": ""},
    "app": {"type": "str", "default": ""},
    "headers": {"type": "dict", "default": {}},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 30},
    "address": {"type": "str", "default": "{run}@smoke.invalid"},
    "values": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "checks": STEPS,
    "steps": STEPS,
    "cleanup": STEPS,
    "command": {"type": "list", "elements": "str", "default": []},
    "accounts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "superuser": {"type": "bool", "default": False},
            "fields": {"type": "dict", "required": True},
        },
    },
    "objects": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "model": {"type": "str", "required": True},
            "field": {"type": "str", "required": True},
        },
    },
    "mail": {
        "type": "dict",
        "options": {
            "kind": {
                "type": "str",
                "choices": ["directory", "log", "journal", "mailbox"],
                "default": "directory",
            },
            "path": {"type": "str", "required": True},
            "seconds": {"type": "int", "default": 30},
        },
    },
    "slip": {"type": "path", "default": ""},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)

    def program(argv: list[str], given: str) -> tuple[int, str, str]:
        rc, out, err = module.run_command(argv, data=given, environ_update={"LC_ALL": "C"})
        return int(rc), str(out), str(err)

    outing = Outing(module.params, runner(module), program)
    module.no_log_values.add(outing.values["password"])
    if mistakes := outing.mistakes():
        module.fail_json(msg=f"the walk cannot be begun: {'; '.join(mistakes)}", steps=[])
    try:
        if module.check_mode:
            outing.look()
        else:
            outing.go()
    except (SmokeError, OSError) as exc:
        module.fail_json(msg=str(exc), steps=[asdict(done) for done in outing.done])

    would = {"would": [step.name for step in outing.steps]} if module.check_mode else {}
    module.exit_json(changed=False, steps=[asdict(done) for done in outing.done], removed=outing.removed, **would)


if __name__ == "__main__":
    main()
