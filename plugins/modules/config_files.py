#!/usr/bin/python
# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write several small text files in one go
version_added: 0.1.0
description:
  - Writes files with their owner, group and mode as M(ansible.builtin.copy) does with O(ignore:content). A loop of that
    costs two round trips for each file, and this one for all of them.
  - Each file is replaced in one rename, and none is written before all of them could be. Directories that are not there
    are made, for root, with mode 0755.
  - A file whose content is right is not written anew, so that its time of change stays.
  - A task with secrets in it needs C(no_log) and C(diff=false).
author:
  - CoralNet server contributors (@coralnet)
extends_documentation_fragment:
  - coralnet.server.attributes
  - coralnet.server.text_files
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ansible.builtin.copy
"""

EXAMPLES = r"""
- name: Write the configuration and the unit
  coralnet.server.config_files:
    files:
      - path: /etc/gunicorn/coralnet.conf.py
        content: "{{ lookup('ansible.builtin.template', 'gunicorn.conf.py.j2') }}"
      - path: /etc/systemd/system/coralnet@.service
        content: "{{ lookup('ansible.builtin.template', 'site@.service.j2') }}"
"""

RETURN = r"""
written:
  description: The files that were not as they should be.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.coralnet.server.plugins.module_utils._files import FILES, FilesError, TextFile


def main() -> None:
    module = AnsibleModule(
        argument_spec={"files": FILES},
        supports_check_mode=True,
    )
    files = [TextFile(**file) for file in module.params["files"]]
    try:
        for file in files:
            file.check()
            if not module.check_mode:
                file.check_accounts()
        wanted = [file for file in files if file.differs]
        diff = [
            {"before": file.before, "after": file.content, "before_header": file.path, "after_header": file.path}
            for file in wanted
        ]
        if not module.check_mode:
            for file in wanted:
                file.write()
    except (FilesError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=bool(wanted), written=[file.path for file in wanted], diff=diff)


if __name__ == "__main__":
    main()
