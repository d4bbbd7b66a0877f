# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small text files as they should be."""

from __future__ import annotations


class ModuleDocFragment:
    """What is to be written, or compared."""

    DOCUMENTATION = r"""
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where the file is.
        type: path
        required: true
      content:
        description: All that is in it.
        type: str
        required: true
      owner:
        description: The account that it belongs to.
        type: str
        default: root
      group:
        description: The group that it belongs to.
        type: str
        default: root
      mode:
        description: Its mode, an octal number in quotes.
        type: str
        default: "0644"
"""
