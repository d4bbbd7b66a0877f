"""Roles as Ansible sees them: their variables, and their templates through Ansible's own Templar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).parents[2] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())
CANARY = "canary-4f0c1a"

LOGIN = {
    "host": "",
    "port": 5432,
    "user": "postgres",
    "password": "",
    "database": "postgres",
    "ssl_mode": "prefer",
    "ca_certificate": "",
}

# What a role cannot do without
REQUIRED: dict[str, dict[str, Any]] = {
    "django_app": {"django_app_name": "reef", "django_app_repository": "https://git.example/reef.git"},
    "guard": {"guard_environment": "staging"},
    "gunicorn": {
        "gunicorn_name": "reef",
        "gunicorn_app": "config.wsgi:application",
        "gunicorn_host": "reef.example",
    },
    "letsencrypt": {},
    "nginx": {},
    "postfix": {"postfix_hostname": "www.reef.example", "postfix_root_address": "ops@away.example"},
    "postgresql": {},
    "redis": {},
    "refresh": {
        "refresh_name": "reef",
        "refresh_environment": "staging",
        "refresh_hosts": ["staging.example"],
        "refresh_source": {
            "environment": "production",
            "web": "www.example",
            "database_host": "db.example",
            "database": "reef",
            "media": "/srv/www/reef/shared/media",
            "login": LOGIN,
        },
        "refresh_target": {"database_host": "staging.example", "database": "reef", "login": LOGIN},
    },
    "runserver": {"runserver_name": "reef"},
    "services": {},
    "smoke": {"smoke_name": "reef", "smoke_host": "reef.example"},
    "worker": {"worker_name": "reef"},
}
# A site with as much set as possible, secrets included
FULL: dict[str, dict[str, Any]] = {
    "django_app": {
        "django_app_root": "/data/sites/reef",
        "django_app_user": "reefer",
        "django_app_project_directory": "project",
        "django_app_manage": ["python", "-X", "dev", "manage.py"],
        "django_app_environment": {"SECRET": CANARY},
        "django_app_config_files": [
            {"path": "secrets.json", "format": "json", "data": {"SECRET": CANARY}, "link": "project/secrets.json"},
            {"path": "motd", "content": CANARY, "mode": "0644", "secret": False},
        ],
        "django_app_superuser": {"username": "admin", "password": CANARY},
    },
    "guard": {},
    "gunicorn": {
        "gunicorn_root": "/data/sites/reef",
        "gunicorn_user": "reefer",
        "gunicorn_socket_group": "web",
        "gunicorn_command": ["/usr/local/bin/run", "%i", "gunicorn"],
        "gunicorn_workers": 3,
        "gunicorn_worker_class": "sync",
        "gunicorn_threads": 1,
        "gunicorn_timeout": 30,
        "gunicorn_graceful_timeout": 40,
        "gunicorn_settings": {"max_requests": 1000, "errorlog": "/data/log/it's.log", "raw_env": ["A=b"]},
        "gunicorn_release_header": "X-Reef",
        "gunicorn_headers": {"X-Forwarded-Proto": "https"},
        "gunicorn_front": "https://127.0.0.1",
        "gunicorn_config_files": ["/data/sites/reef/shared/secrets.json"],
        "gunicorn_writable_paths": ["/data/sites/reef/shared", "/data/uploads"],
        "gunicorn_addresses": ["localhost", "10.0.0.0/8"],
        "gunicorn_stop_timeout": 7,
        "gunicorn_service": {"MemoryMax": "1G", "IPAddressAllow": "192.0.2.1"},
        "gunicorn_keep_releases": 2,
    },
    "letsencrypt": {
        "letsencrypt_certificates": [{"name": "reef", "domains": ["reef.example", "xn--rf-bjaa.reef.example"]}],
        "letsencrypt_own": [
            {
                "name": "own",
                "certificate": "-----BEGIN CERTIFICATE-----",
                "key": f"-----BEGIN PRIVATE KEY-----{CANARY}",
            }
        ],
        "letsencrypt_email": "webmaster+ca@reef.example",
        "letsencrypt_agree_tos": True,
        "letsencrypt_directory_url": "https://ca.reef.example:14000/dir",
        "letsencrypt_ca_bundle": "/etc/ssl/ca.pem",
        "letsencrypt_source": "venv",
        "letsencrypt_webroot": "/data/www/acme",
        "letsencrypt_challenge": "swap",
        "letsencrypt_renew_before_days": 12.5,
        "letsencrypt_services": [
            {"unit": "nginx.service", "port": 443, "certificates": ["reef"]},
            {"unit": "postfix@-.service", "port": 25, "protocol": "smtp", "address": "192.0.2.1"},
            {"unit": "reader.service"},
        ],
        "letsencrypt_alert_command": ["/usr/local/bin/page"],
        "letsencrypt_alert_email": "root@reef.example",
        "letsencrypt_restore": "/root/letsencrypt.tar.gz",
        "letsencrypt_service": {"ReadWritePaths": "/srv/hooks"},
    },
    "nginx": {
        "nginx_origin": "mainline",
        "nginx_version": "1.31.3-1~trixie",
        "nginx_hold": True,
        "nginx_probe": {"url": "https://127.0.0.1", "host": "reef.example", "body": "Reef"},
        "nginx_repository": "http://mirror.example:8080/nginx",
        "nginx_repository_sources": True,
        "nginx_key": "/srv/keys/nginx.asc",
        "nginx_key_fingerprints": ["573B FD6B 3D8F BC64 1079  A6AB ABF5 BD82 7BD9 BF62"],
        "nginx_user": "web",
        "nginx_worker_connections": 4096,
        "nginx_client_max_body_size": "1g",
        "nginx_ipv6": False,
        "nginx_upstream_keepalive": 0,
        "nginx_security_headers": {"Permissions-Policy": "camera=()"},
        "nginx_acme_peers": ["10.0.0.7", "[2001:db8::7]:80"],
        "nginx_trusted_proxies": ["10.0.0.0/8", "192.0.2.1"],
        "nginx_real_ip_header": "CF-Connecting-IP",
        "nginx_http_snippets": ["proxy_buffers 16 8k;"],
        "nginx_service": {"ProtectHome": "read-only"},
        "nginx_log_days": 90,
        "nginx_curtain_cookies": {"reef": CANARY * 2},
        "nginx_passwords": {"reef": {"ann": CANARY}},
        "nginx_sites": [
            {
                "name": "reef",
                "server_names": ["reef.example", "*.reef.example"],
                "socket": "/data/sites/reef/current/app.sock",
                "headers": {"Host": "$host", "X-Real-IP": "$remote_addr"},
                "timeout": 120,
                "client_max_body_size": "2g",
                "files": [
                    {
                        "location": "/static/",
                        "path": "/data/sites/reef/static/",
                        "hashed": True,
                        "precompressed": True,
                        "log": False,
                    },
                    {
                        "location": "/media/",
                        "path": "/data/sites/reef/shared/media",
                        "expires": "1h",
                        "headers": {"Content-Security-Policy": "sandbox"},
                    },
                    {"location": "/cdn/", "url": "https://cdn.example/reef/"},
                ],
                "curtain": {
                    "title": "Coral & <Reef>",
                    "language": "nl",
                    "message": 'We "move" <b>',
                    "color": "#123456",
                    "dark_color": "hsl(190, 60%, 70%)",
                    "logo": "<svg></svg>",
                    "retry_after": 60,
                    "let_through": ["/health/", "/version.txt"],
                    "json": ["/data/"],
                    "operators": ["192.0.2.0/24", "2001:db8::1"],
                },
                "password": {"realm": "Ours", "addresses": ["2001:db8::/32"], "paths": ["/api/"]},
                "banner": "It's staging & <so on>",
                "snippets": ["location = /robots.txt {\n    return 204;\n}\n"],
            },
            {"name": "plain", "server_names": ["plain.example"], "socket": "/run/plain.sock"},
        ],
    },
    "postfix": {
        "postfix_origin": "reef.example",
        "postfix_domains": ["reef.example", "survey.example"],
        "postfix_aliases": {"reef": ["root", "reef@away.example"], "cron": "root"},
        "postfix_interfaces": ["10.0.0.2", "127.0.0.1"],
        "postfix_networks": ["127.0.0.0/8", "[2001:db8::]/32", "10.0.0.1"],
        "postfix_ipv6": True,
        "postfix_certificate": "/etc/ssl/reef.pem",
        "postfix_certificate_key": "/etc/ssl/reef.key",
        "postfix_client_certificate": True,
        "postfix_tls_level": "encrypt",
        "postfix_tls_policy": {"away.example": "secure match=mx.away.example", ".old.example": "dane"},
        "postfix_relay_host": "[relay.example]:587",
        "postfix_relay_username": "reef",
        "postfix_relay_password": CANARY,
        "postfix_queue_lifetime": "12h",
        "postfix_message_size": 20000000,
        "postfix_message_rate": 60,
        "postfix_settings": {"smtpd_banner": "reef", "header_size_limit": 4096},
        "postfix_dkim_selectors": ["s2", "s3"],
        "postfix_check_resolver": "192.0.2.53",
    },
    "postgresql": {"postgresql_login_password": CANARY},
    "redis": {
        "redis_addresses": ["127.0.0.1", "10.0.0.5"],
        "redis_port": 6380,
        "redis_socket": "/run/redis/reef.sock",
        "redis_socket_users": ["reef"],
        "redis_password": CANARY * 2,
        "redis_memory": "1gb",
        "redis_memory_policy": "allkeys-lru",
        "redis_append_only": False,
        "redis_save": [],
        "redis_settings": {"timeout": 300},
        "redis_service": {"PrivateUsers": "no"},
    },
    "refresh": {
        "refresh_protected": ["production", "archive"],
        "refresh_directory": "/data/refresh",
        "refresh_dump": "/data/dumps/reef.pgc",
        "refresh_media": False,
        "refresh_media_path": "/data/uploads",
        "refresh_mail_domain": "sink.reef.example",
        "refresh_reset_passwords": True,
        "refresh_statements": ["update people set email = ''"],
        "refresh_reset_statements": ["update people set password = ''"],
    },
    "runserver": {
        "runserver_place": "server",
        "runserver_address": "::1",
        "runserver_port": 8001,
        "runserver_manage": ["python", "-X", "dev", "manage.py"],
        "runserver_arguments": ["--insecure"],
        "runserver_environment": {"SECRET": CANARY},
        "runserver_settings_module": "config.settings.staging",
        "runserver_settings": {"DEBUG": True, "ALLOWED_HOSTS": ["127.0.0.1"]},
        "runserver_ssh_host": "staging.reef.example",
        "runserver_ssh_user": "anna",
        "runserver_ssh_port": 2222,
        "runserver_project_directory": "project",
        "runserver_files": [{"path": "project/secrets.json", "content": CANARY}],
        "runserver_root": "/data/sites/reef",
        "runserver_user": "reefer",
        "runserver_service": {"MemoryMax": "1G"},
    },
    "services": {
        "services_wanted": [
            {
                "name": "memcached",
                "packages": ["memcached"],
                "settings": {"MemoryMax": "128M", "PrivateUsers": "no"},
                "files": [{"path": "/etc/memcached.conf", "content": "-l 127.0.0.1\n"}],
            }
        ]
    },
    "smoke": {
        "smoke_root": "/data/sites/reef",
        "smoke_front": "https://127.0.0.1:8443",
        "smoke_validate_certs": False,
        "smoke_app": "/data/sites/reef/app.sock",
        "smoke_headers": {"X-Forwarded-Proto": "https"},
        "smoke_timeout": 5,
        "smoke_checks": [
            {
                "name": "The old address",
                "visit": "/old/",
                "layer": "app",
                "host": "www.reef.example",
                "headers": {"Accept": "text/html"},
                "status": [301, 308],
                "follow": False,
                "at": "^/new/$",
                "answers": {"Cache-Control": "max-age"},
                "retries": 2,
            }
        ],
        "smoke_mail": {"kind": "journal", "path": "reef@*", "seconds": 5},
        "smoke_address": "smoke+{run}@reef.example",
        "smoke_values": {"survey": "Moorea"},
        "smoke_secrets": {"invitation": CANARY},
        "smoke_registration": [
            {"name": "Register", "visit": "/join/", "submit": {"name": "{run}", "invitation": "{invitation}"}},
            {"name": "Read", "mail": "{email}", "expect": [r"(?P<link>https://\S+)"]},
            {"name": "Activate", "visit": "{link}"},
        ],
        "smoke_steps": [{"name": "Upload", "visit": "/up/", "upload": {"file": "{run}.png"}, "reject": ["sorry"]}],
        "smoke_administration": [],
        "smoke_cleanup": [{"name": "Leave", "visit": "/me/", "form": "/leave/"}],
        "smoke_manage": ["python", "-X", "dev", "manage.py"],
        "smoke_command": ["/data/sites/reef/run"],
        "smoke_account": {"name": "{run}"},
        "smoke_superuser": {"name": "{run}-admin"},
        "smoke_objects": [{"model": "surveys.Survey", "field": "title"}],
    },
    "worker": {
        "worker_root": "/data/sites/reef",
        "worker_user": "reefer",
        "worker_workers": [
            {
                "name": "queue",
                "command": ["celery", "-A", "config", "worker", "--hostname={instance}@%h", '--why=a "b" $c \\'],
                "count": 3,
                "environment": {"KEY": CANARY, "THREADS": 2},
                "stop_signal": "SIGQUIT",
                "stop_seconds": 1200,
                "on_timeout": "kill",
                "remove": ["/data/sites/reef/shared/{instance}.pid"],
            },
            {"name": "beat", "command": ["celery", "beat"]},
        ],
        "worker_timers": [
            {
                "name": "tidy",
                "command": ["python", "manage.py", "clearsessions"],
                "schedule": "Mon *-*-* 04:30",
                "timeout_seconds": 60,
                "random_delay_seconds": 600,
                "persistent": False,
            },
        ],
        "worker_on_timeout": "fail",
        "worker_after": ["network.target"],
        "worker_writable_paths": ["/data/sites/reef/shared"],
        "worker_addresses": ["localhost", "10.0.0.0/8"],
        "worker_service": {"MemoryMax": "1G"},
    },
}


def load(path: Path) -> Any:
    """Read a YAML file as Ansible does, with what it holds trusted as templates."""
    return DataLoader().load_from_file(str(path), trusted_as_template=True) if path.exists() else None


def role_variables(role: str, **variables: Any) -> dict[str, Any]:
    """Give a role's variables: its defaults, what is required, what is wanted, and its own private ones."""
    folder = ROLES / role
    return {
        **(load(folder / "defaults" / "main.yml") or {}),
        **REQUIRED[role],
        **variables,
        **(load(folder / "vars" / "main.yml") or {}),
        "role_path": str(folder),
    }


def render(role: str, template: str, **variables: Any) -> str:
    """Render a role's template, named by its path below templates/; an undefined variable is an error."""
    path = ROLES / role / "templates" / template
    templar = Templar(loader=DataLoader(), variables={**role_variables(role, **variables), "__path": str(path)})
    return str(templar.template(trust_as_template("{{ lookup('ansible.builtin.template', __path) }}")))


def templates() -> Iterator[tuple[str, str]]:
    """List every template of every role."""
    for role in NAMES:
        folder = ROLES / role / "templates"
        for path in sorted(folder.rglob("*.j2")):
            yield role, str(path.relative_to(folder))
