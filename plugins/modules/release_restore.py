#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_restore
short_description: Put configuration files back to what a site was last seen to work with
version_added: 0.1.0
description:
  - M(coralnet.server.release_switch) keeps a copy of the configuration files with each success. This module puts those
    copies back where the files were changed since, for a deployment that ends before anything was switched.
  - A file of which there is no copy is left alone.
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment: coralnet.server.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: The files may hold secrets.
  idempotent:
    support: full
options:
  root:
    description: The site's directory.
    type: path
    required: true
  config_files:
    description: Absolute paths of the files.
    type: list
    elements: path
    required: true
seealso:
  - module: coralnet.server.release_switch
"""

EXAMPLES = r"""
- name: Put the settings back
  coralnet.server.release_restore:
    root: /srv/www/coralnet
    config_files:
      - /srv/www/coralnet/shared/secrets.json
"""

RETURN = r"""
restored:
  description: The files that were put back, or would be.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._good import GoodSet, directory


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "config_files": {"type": "list", "elements": "path", "required": True},
        },
        supports_check_mode=True,
    )
    kept = GoodSet(directory(module.params["root"]), module.params["config_files"])
    try:
        restored = kept.differing() if module.check_mode else kept.restore()
    except OSError as exc:
        module.fail_json(msg=f"could not put the configuration back: {exc}")
    module.exit_json(changed=bool(restored), restored=restored)


if __name__ == "__main__":
    main()
