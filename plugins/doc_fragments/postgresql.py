# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the modules reach a database server."""

from __future__ import annotations


class ModuleDocFragment:
    """The options are handed to PostgreSQL's own programs, which know what they mean."""

    DOCUMENTATION = r"""
options:
  database:
    description: The database.
    type: str
    required: true
  login_host:
    description: Where the server is. Empty is the unix socket of this host, as the account that runs the module.
    type: str
    default: ""
  login_port:
    description: The server's TCP port.
    type: int
    default: 5432
  login_user:
    description: The administrator.
    type: str
    default: postgres
  login_password:
    description: The administrator's password. Not needed over the unix socket.
    type: str
    default: ""
  login_database:
    description: The database to connect to for administration.
    type: str
    default: postgres
  ssl_mode:
    description: How much TLS the connection insists on (libpq's sslmode).
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: prefer
  ca_certificate:
    description: Path of the CA certificates that V(verify-ca) and V(verify-full) trust.
    type: str
    default: ""
  programs:
    description: The directory of C(psql), C(pg_dump) and C(pg_restore). Empty looks for them as a shell does.
    type: str
    default: ""
"""
