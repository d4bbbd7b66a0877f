# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: to_config
short_description: Write a dictionary as a configuration file
version_added: 0.1.0
description:
  - Turns values into the text of a JSON, dotenv, INI or Python file, quoted so that the usual reader of that format
    returns exactly these values.
  - The reader for V(dotenv) is python-dotenv. This is not the quoting of systemd's C(EnvironmentFile), which is
    another language.
  - The reader for V(ini) is one without interpolation, such as Python's C(configparser.RawConfigParser), since C(%)
    stands as it is.
  - A value that the format cannot hold is an error that names the key and never shows the value.
author:
  - CoralNet server contributors (@coralnet)
options:
  _input:
    description: The values. For V(ini) a dictionary of sections.
    type: dict
    required: true
  format:
    description: The format to write.
    type: str
    choices: [json, dotenv, ini, python]
    required: true
"""

EXAMPLES = r"""
- name: Write the site's settings
  ansible.builtin.copy:
    dest: /srv/www/coralnet/shared/.env
    content: "{{ {'DEBUG': false, 'SECRET_KEY': vault_secret_key} | coralnet.server.to_config('dotenv') }}"
    mode: "0640"
  no_log: true
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.coralnet.server.plugins.plugin_utils._formats import FORMATS, FormatError


def to_config(data: Any, format: str) -> str:  # noqa: A002  # the option's natural name
    if format not in FORMATS:
        raise AnsibleFilterError(f"to_config knows no format {format!r}: choose one of {', '.join(sorted(FORMATS))}")
    if not isinstance(data, Mapping):
        raise AnsibleFilterError("to_config takes a dictionary")
    try:
        return FORMATS[format](data)
    except FormatError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    def filters(self) -> dict[str, Callable[..., str]]:
        return {"to_config": to_config}
