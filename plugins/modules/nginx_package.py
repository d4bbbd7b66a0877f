#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_package
short_description: Install nginx from the distribution or from nginx.org while it runs
version_added: 0.1.0
description:
  - Installs the package C(nginx) from where it is wanted, moves it from one origin to the other in either direction,
    and upgrades it when told to. An nginx of the wanted origin and version is left alone.
  - A running nginx is neither stopped nor restarted; it goes on as the program that it is. Have
    M(coralnet.server.nginx_site) exchange it for the new one afterwards.
  - Configuration files that were changed on the host are kept.
  - What an earlier run that was killed left half done is finished.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: partial
    details:
      - With O(latest), the repositories are read in a directory apart, so that the prediction is of today.
      - An origin whose source is not there yet cannot be asked, and RV(after) is empty then.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  origin:
    description: Whose package to install. V(stable) and V(mainline) are the two of nginx.org.
    type: str
    choices: [distribution, stable, mainline]
    default: distribution
  repository:
    description:
      - The address of the repository of V(stable) or V(mainline), as in its source. Left out with V(distribution).
    type: str
  source:
    description:
      - The file in C(sources.list.d) that holds O(repository). It alone is read anew before something is installed.
      - With V(distribution), what it offers is passed over, and everything is read anew where O(latest) is set.
    type: path
  version:
    description:
      - The version to install, such as V(1.30.4) or a package's whole version. Empty takes any that is installed, and
        the newest where none is.
    type: str
    default: ""
  latest:
    description: Whether to upgrade to the newest version of the origin. O(version) has precedence.
    type: bool
    default: false
  hold:
    description: Whether apt must leave the package at its version in upgrades that are not made by this module.
    type: bool
    default: false
seealso:
  - module: coralnet.server.nginx_site
  - module: coralnet.server.apt_keyring
"""

EXAMPLES = r"""
- name: Install the distribution's nginx
  coralnet.server.nginx_package:

- name: Install a version of nginx.org's and keep it
  coralnet.server.nginx_package:
    origin: stable
    repository: https://nginx.org/packages/debian
    source: /etc/apt/sources.list.d/nginx.sources
    version: 1.30.4
    hold: true
"""

RETURN = r"""
before:
  description: The package's version. Empty if it was not installed.
  type: str
  returned: success
after:
  description: The package's version now, or as it would be. Empty in check mode where the repository is not known yet.
  type: str
  returned: success
held:
  description: Whether the package is held at its version, or would be.
  type: bool
  returned: success
"""

import contextlib
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._apt import (
    ENVIRONMENT,
    Apt,
    AptError,
    Installed,
    Offer,
    installed,
    left_running,
    matches,
    newer,
    remove_policy,
    scratch,
)
from ansible_collections.coralnet.server.plugins.module_utils._run import Run, runner

PACKAGE = "nginx"


def origin_of(version: str, distribution: bool) -> str:
    """Tell where a package is from; nginx.org's mainline has an odd number in the middle, its stable an even one."""
    if not version:
        return ""
    if distribution:
        return "distribution"
    middle = re.match(r"(?:\d+:)?\d+\.(\d+)", version)
    return "mainline" if middle and int(middle[1]) % 2 else "stable"


def choose(offers: list[Offer], repository: str, version: str) -> str:
    """Pick the newest fitting version of a repository; of all, without one."""
    there = [offer.version for offer in offers if not repository or offer.uri.rstrip("/") == repository.rstrip("/")]
    fitting = [each for each in there if not version or matches(each, version)]
    if not fitting:
        where = repository or "the distribution"
        has = f", which has {', '.join(dict.fromkeys(there))}" if there else ""
        raise AptError(f"apt finds no nginx {version or 'at all'} from {where}{has}")
    return fitting[0]


def addresses(source: str) -> list[str]:
    """List the addresses of a file in sources.list.d."""
    if not os.path.exists(source):
        return []
    with open(source, encoding="utf-8") as file:
        found = re.findall(r"(?m)^URIs: (.*)$", file.read())
    return [address.rstrip("/") for line in found for address in line.split()]


def wanted(module: AnsibleModule, run: Run, now: Installed) -> str:
    """Say which version is to be installed; the installed one where nothing is to be done."""
    params = module.params
    repository, version = params["repository"] or "", params["version"]
    common = installed(run, "nginx-common").version  # nginx.org's package conflicts with it
    in_place = origin_of(now.version, bool(common)) == params["origin"]
    if in_place and (matches(now.version, version) if version else not params["latest"]):
        return now.version
    source = params["source"] or ""
    vendor = params["origin"] != "distribution"
    if vendor and module.check_mode and repository.rstrip("/") not in addresses(source):
        return ""
    read = vendor or params["latest"]  # the repositories, anew
    with scratch(run) if read and module.check_mode else contextlib.nullcontext(("", Apt(run))) as (_directory, apt):
        if read:
            apt.update(source if vendor else "")
        offers = apt.offers(PACKAGE)
    if module.check_mode and not offers:
        return ""  # a bare host may have no lists yet
    if not vendor:
        passed_over = addresses(source)
        offers = [offer for offer in offers if offer.uri.rstrip("/") not in passed_over]
    found = choose(offers, repository, version)
    return now.version if in_place and not version and not newer(run, found, now.version) else found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "origin": {"type": "str", "choices": ["distribution", "stable", "mainline"], "default": "distribution"},
            "repository": {"type": "str"},
            "source": {"type": "path"},
            "version": {"type": "str", "default": ""},
            "latest": {"type": "bool", "default": False},
            "hold": {"type": "bool", "default": False},
        },
        required_if=[("origin", "stable", ["repository", "source"]), ("origin", "mainline", ["repository", "source"])],
        supports_check_mode=True,
    )

    run = runner(module, **ENVIRONMENT)
    hold, now = module.params["hold"], installed(run, PACKAGE)
    try:
        after = wanted(module, run, now)
        install = after != now.version or not now.complete
        if not module.check_mode:
            remove_policy()
            if install:
                with left_running():
                    Apt(run).install(PACKAGE, after)
            if hold != installed(run, PACKAGE).held:
                Apt(run).hold(PACKAGE, hold)
    except (AptError, OSError) as exc:
        module.fail_json(msg=str(exc))

    module.exit_json(
        changed=install or hold != now.held,
        before=now.version,
        after=after,
        held=hold,
        diff={
            "before": f"{PACKAGE} {now.version or '(none)'}{' held' if now.held else ''}\n",
            "after": f"{PACKAGE} {after or '(the newest)'}{' held' if hold else ''}\n",
        },
    )


if __name__ == "__main__":
    main()
