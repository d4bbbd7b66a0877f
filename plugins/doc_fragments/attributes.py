# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the attributes of the modules mean."""

from __future__ import annotations


class ModuleDocFragment:
    """The modules say how far they support each."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed, when in diff mode.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second run makes no change.
"""
