# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a site is asked whether it works."""

from __future__ import annotations


class ModuleDocFragment:
    """The same questions for the instance itself and for the front."""

    DOCUMENTATION = r"""
options:
  host:
    description: The host name with which the site is asked, one that the site accepts.
    type: str
    required: true
  headers:
    description: Headers that the front adds to every request, such as C(X-Forwarded-Proto).
    type: dict
    default: {}
  checks:
    description: The requests that the site must answer well, in this order. Redirects are not followed.
    type: list
    elements: dict
    default: [{}]
    suboptions:
      path:
        description: What to ask for.
        type: str
        default: /
      status:
        description: The statuses that are accepted.
        type: list
        elements: int
        default: [200]
      body:
        description: A regular expression that must be found in the answer. Empty accepts any.
        type: str
        default: ""
      reject:
        description: A regular expression that must not be found in the answer. Empty rejects none.
        type: str
        default: ""
  front:
    description:
      - The web server's address as a URL, such as V(http://127.0.0.1). The name in it is only where to connect;
        O(host) is what is asked for.
      - Empty asks nobody but the instance itself.
    type: str
    default: ""
  release_header:
    description:
      - A response header in which the instance says its name, so that no other can answer in its place.
      - Empty where the site's own gunicorn configuration sends none.
    type: str
    default: X-Release
  validate_certs:
    description: Whether the certificate of an HTTPS O(front) must be valid for O(host).
    type: bool
    default: true
  timeout:
    description: How long all checks of one place may take together, in seconds, starting up included.
    type: int
    default: 30
"""
