# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The questions that a site must answer well, as modules take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.coralnet.server.plugins.module_utils._http import Check, run_checks

PROBE: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "headers": {"type": "dict", "default": {}},
    "checks": {
        "type": "list",
        "elements": "dict",
        "default": [{}],
        "options": {
            "path": {"type": "str", "default": "/"},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "body": {"type": "str", "default": ""},
            "reject": {"type": "str", "default": ""},
        },
    },
    "front": {"type": "str", "default": ""},
    "release_header": {"type": "str", "default": "X-Release"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 30},
}
"""The options of a module that asks a site."""


def ask(params: dict[str, Any], where: str, instance: str, died: Callable[[], str] = lambda: "") -> str:
    """Run the checks at a socket or a URL; an empty place is not asked. Return a complaint, or nothing."""
    if not where:
        return ""
    checks = [Check(**{**check, "status": tuple(check["status"])}) for check in params["checks"]]
    headers = {**params["headers"], "Host": params["host"]}
    expect = {params["release_header"]: instance} if params["release_header"] else {}
    return run_checks(where, checks, headers, expect, params["timeout"], params["validate_certs"], died)
