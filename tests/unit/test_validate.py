"""Bad values fail before anything is changed, with a message that names the variable to set.

The rules are read from the roles and judged with Ansible's own Templar and validator, since a playbook
that tries them all takes more than a minute; a small one shows that it says the same.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from rendering import FULL, NAMES, REQUIRED, ROLES, load, role_variables

# Jinja takes regular expressions in single quotes for Python's escapes
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")

VALIDATED = [role for role in NAMES if (ROLES / role / "tasks" / "validate.yml").exists()]


PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


@dataclass(frozen=True)
class Bad:
    """Values that a role refuses, and words that its message has."""

    role: str
    words: tuple[str, ...]
    values: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    @property
    def all_values(self) -> dict[str, Any]:
        values = {**REQUIRED[self.role], **self.values}
        return {name: value for name, value in values.items() if name not in self.without}

    def __str__(self) -> str:
        return json.dumps(self.values) if self.values else f"without {', '.join(self.without)}"


def bad(role: str, *words: str, without: tuple[str, ...] = (), **values: Any) -> Bad:
    return Bad(role, words, values, without)


def site(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "reef", "server_names": ["reef.example"], "socket": "/run/reef.sock", **changes}]


def served(location: str, path: str = "/srv/x/") -> list[dict[str, Any]]:
    return site(files=[{"location": location, "path": path}])


def source(**values: str) -> dict[str, Any]:
    return {**REQUIRED["refresh"]["refresh_source"], **values}


def nginx(word: str, sites: list[dict[str, Any]]) -> Bad:
    return bad("nginx", word, nginx_sites=sites)


def letsencrypt(word: str, domains: list[str], **values: Any) -> Bad:
    certificates = [{"name": "reef", "domains": domains}]
    return bad(
        "letsencrypt", word, **{"letsencrypt_certificates": certificates, "letsencrypt_agree_tos": True, **values}
    )


PAIR = {"name": "own", "certificate": "-----BEGIN CERTIFICATE-----", "key": "-----BEGIN EC PRIVATE KEY-----"}
FILE = {"path": "a.json", "content": "x"}

WORKER = {"name": "queue", "command": ["true"]}
TIMER = {"name": "tidy", "command": ["true"], "schedule": "hourly"}

STEP = {"name": "Look", "visit": "/"}

BAD = [
    bad("django_app", "django_app_settings_fail_level", "one of", django_app_settings_fail_level="strict"),
    # runserver
    bad("runserver", "runserver_name", without=("runserver_name",)),
    *(
        bad("runserver", "Set runserver_name", runserver_name=name)
        for name in ("", "Reef", "a b", "../x", "a" * 25, "a\n")
    ),
    bad("runserver", "not run here", "runserver_allowed", runserver_allowed=False),
    *(
        bad("runserver", "runserver_address", "one of: 127.0.0.1, ::1", runserver_address=address)
        for address in ("0.0.0.0", "::", "localhost", "10.0.0.5", "")
    ),
    *(bad("runserver", "Set runserver_port", runserver_port=port) for port in (0, 65536)),
    *(bad("runserver", name, **{name: 0}) for name in ("runserver_tunnel_port", "runserver_ssh_port")),
    *(
        bad("runserver", "runserver_files", runserver_files=[{"path": path, "content": "x"}])
        for path in ("", "/etc/x", "~/x", "../x", "a/../../x")
    ),
    bad("runserver", "runserver_project_directory", runserver_project_directory="/srv/x"),
    *(
        bad(
            "runserver",
            "Set runserver_settings_module",
            runserver_settings={"DEBUG": True},
            runserver_settings_module=name,
        )
        for name in ("", "config/settings.py", "a; import os")
    ),
    bad("runserver", "runserver_state", runserver_state="restarted"),
    bad("runserver", "runserver_place", runserver_place="laptop"),
    # smoke
    *(bad("smoke", name, without=(name,)) for name in ("smoke_name", "smoke_host")),
    *(
        bad("smoke", "Set smoke_front", smoke_front=front)
        for front in ("", "127.0.0.1", "https://127.0.0.1/x", "/run/x")
    ),
    *(
        bad("smoke", "Look", name, **{name: [step]})
        for name in ("smoke_registration", "smoke_steps", "smoke_administration", "smoke_cleanup")
        for step in ({"name": "Look"}, {**STEP, "mail": "{email}"}, {**STEP, "visit": "sources/"})
    ),
    bad("smoke", "smoke_checks", "visit", smoke_checks=[{"name": "Look"}]),
    *(
        bad("smoke", "smoke_checks", smoke_checks=[{**STEP, **more}])
        for more in ({"submit": {"a": "b"}}, {"upload": {"a": "b"}}, {"form": "x"}, {"mail": "x"})
    ),
    bad("smoke", "layer", smoke_checks=[{**STEP, "layer": "nginx"}]),
    bad("smoke", "expects", smoke_steps=[{**STEP, "expects": ["x"]}]),
    *(
        bad("smoke", "Set smoke_address", smoke_address=address)
        for address in ("", "{run}", "reef@reef.example", "a b{run}@reef.example", "reef@{run}.example")
    ),
    bad("smoke", "Set path", smoke_mail={"kind": "log"}),
    bad("smoke", "Set path", smoke_mail={"path": "mail"}),
    bad("smoke", "kind", smoke_mail={"path": "/mail", "kind": "imap"}),
    bad("smoke", "Set smoke_command", smoke_command=[]),
    bad("smoke", "Set smoke_command", smoke_command=[], smoke_administration=[]),
    bad("smoke", "model", smoke_objects=[{"field": "name"}]),
    # worker
    bad("worker", "worker_name", without=("worker_name",)),
    *(
        bad("worker", "a name of its own", worker_workers=[{**WORKER, "name": name}])
        for name in ("", "Queue", "a b", "a.b", "a@b", "../x", "1a", "a" * 33, "queue\n")
    ),
    bad("worker", "a name of its own", worker_workers=[WORKER, WORKER]),
    bad("worker", "a name of its own", worker_workers=[{**WORKER, "name": "tidy"}], worker_timers=[TIMER]),
    bad("worker", "a command", worker_workers=[{**WORKER, "command": []}]),
    bad("worker", "a command", worker_timers=[{**TIMER, "command": [""]}]),
    bad("worker", "a command", worker_workers=[{**WORKER, "command": ["a", "b\nUser=root"]}]),
    bad("worker", "command", worker_workers=[{"name": "queue"}]),
    bad("worker", "schedule", worker_timers=[{"name": "tidy", "command": ["true"]}]),
    bad("worker", "Set schedule", worker_timers=[{**TIMER, "schedule": ""}]),
    bad("worker", "Set schedule", worker_timers=[{**TIMER, "schedule": "hourly\nUnit=x"}]),
    bad("worker", "stop_signal", "SIGNONE", worker_workers=[{**WORKER, "stop_signal": "SIGNONE"}]),
    bad("worker", "on_timeout", worker_workers=[{**WORKER, "on_timeout": "wait"}]),
    bad("worker", "worker_on_timeout", worker_on_timeout="wait"),
    *(
        bad("worker", "Set count and stop_seconds", worker_workers=[{**WORKER, name: 0}])
        for name in ("count", "stop_seconds")
    ),
    bad("worker", "timeout_seconds", worker_timers=[{**TIMER, "timeout_seconds": 0}]),
    bad("worker", "random_delay_seconds", worker_timers=[{**TIMER, "random_delay_seconds": -1}]),
    bad("worker", "worker_settle", worker_settle=0),
    *(
        bad("worker", "Set remove", worker_workers=[{**WORKER, "remove": [path]}])
        for path in ("x.pid", "/a b", "/x\nUser=root", "")
    ),
    # redis
    bad("redis", "redis_socket", redis_addresses=[]),
    *(bad("redis", "redis_socket", redis_socket=path) for path in ("/tmp/x", "/run/redis/../x", "x.sock")),
    *(bad("redis", "redis_port", redis_port=port) for port in (0, 65536)),
    *(
        bad("redis", "redis_password", redis_addresses=["127.0.0.1", address], redis_password="short")
        for address in ("10.0.0.5", "0.0.0.0", "::", "*", "127.example.org")
    ),
    bad("redis", "redis_password", redis_password='a"b'),
    bad("redis", "redis_memory", redis_memory="much"),
    bad("redis", "redis_memory", "redis_save", redis_save=["often"]),
    bad("redis", "Set requirepass", redis_settings={"RequirePass": "x"}),
    bad("redis", "redis_memory_policy", redis_memory_policy="first"),
    # django_app
    *(bad("django_app", name, without=(name,)) for name in ("django_app_name", "django_app_repository")),
    *(
        bad("django_app", "Set django_app_name", django_app_name=name)
        for name in ("", "Reef", "1reef", "re_ef", "re ef", "reef/../x", "reef@x", "a" * 25, "-reef", "réef")
    ),
    bad("django_app", "django_app_user", "django_app_deploy_user", django_app_deploy_user="reef"),
    bad("django_app", "django_app_user", "django_app_deploy_user", django_app_user="root"),
    bad("django_app", "django_app_user", "django_app_deploy_user", django_app_deploy_user="root"),
    *(
        bad(
            "django_app",
            "django_app_config_files",
            "relative to shared",
            django_app_config_files=[{**FILE, "path": path}],
        )
        for path in ("", "/etc/passwd", "../x", "a/../../x", "a/..")
    ),
    *(
        bad(
            "django_app",
            "django_app_config_files",
            "relative to shared",
            django_app_config_files=[{**FILE, "link": path}],
        )
        for path in ("", "/etc/passwd", "../x")
    ),
    *(
        bad(
            "django_app",
            "django_app_directories",
            "relative to shared",
            django_app_directories=[{"path": path, "mode": "0750"}],
        )
        for path in ("/", "../x")
    ),
    bad("django_app", "django_app_config_files", "one of data", django_app_config_files=[{"path": "x"}]),
    bad("django_app", "django_app_config_files", "one of data", django_app_config_files=[{**FILE, "template": "x.j2"}]),
    bad("django_app", "django_app_name", django_app_name="reef\n"),
    bad("gunicorn", "gunicorn_app", gunicorn_app="config.wsgi:application\n"),
    bad("django_app", "a path of its own", django_app_config_files=[FILE, FILE]),
    bad("django_app", "one of data", django_app_config_files=[{**FILE, "data": {"A": "b"}, "format": "json"}]),
    bad("django_app", "one of data", "with a format", django_app_config_files=[{"path": "x", "data": {"A": "b"}}]),
    bad("django_app", "django_app_config_files", "format", django_app_config_files=[{**FILE, "format": "yaml"}]),
    bad("django_app", "django_app_config_files", "path", django_app_config_files=[{"content": "x"}]),
    bad("django_app", "django_app_config_files", "contents", django_app_config_files=[{"path": "x", "contents": "x"}]),
    bad("django_app", "django_app_directories", "mode", django_app_directories=[{"path": "x"}]),
    bad("django_app", "django_app_requirements", django_app_requirements={"a": "b"}),
    bad("django_app", "django_app_migrate", django_app_migrate="perhaps"),
    bad("django_app", "django_app_environment", django_app_environment="A"),
    *(
        bad("django_app", "Set django_app_secrets_example", django_app_secrets_example=path)
        for path in ("/srv/x.json", "../x.json", "a/../x.json", "a/..")
    ),
    *(
        bad("django_app", "django_app_allowed_signers", django_app_verify="commit", django_app_allowed_signers=[line])
        for line in (
            "",
            "anna@example.org",
            "# a b c",
            "anna@example.org ssh-ed25519",
            "a ssh-rsa AAAA\nb ssh-rsa AAAA",
        )
    ),
    bad("django_app", "Set django_app_verify", django_app_allowed_signers=["anna@example.org ssh-ed25519 AAAA"]),
    bad("django_app", "django_app_verify", django_app_verify="tags"),
    bad("django_app", "django_app_installer", django_app_installer="conda"),
    *(
        bad("django_app", "Set django_app_repository to a package", **{"django_app_version": "2.1.0", **values})
        for values in (
            {"django_app_repository": "package:"},
            {"django_app_repository": "package:a b"},
            {"django_app_repository": "package:reef==2.0"},
            {"django_app_repository": "package:reef", "django_app_version": "main"},
            {"django_app_repository": "package:reef", "django_app_version": "2.0; import os"},
            {"django_app_repository": "package:reef", "django_app_verify": "tag"},
            {"django_app_repository": "package:reef", "django_app_secrets_example": ".env.example"},
        )
    ),
    *(
        bad("django_app", "Set django_app_deploy_key", **values)
        for values in (
            {"django_app_deploy_key": PRIVATE},
            {"django_app_known_hosts": ["git.example ssh-ed25519 AAAA"]},
            {"django_app_deploy_key": "ssh-ed25519 AAAA", "django_app_known_hosts": ["git.example ssh-ed25519 AAAA"]},
            {"django_app_deploy_key": PRIVATE, "django_app_known_hosts": ["git.example"]},
            {"django_app_deploy_key": PRIVATE, "django_app_known_hosts": ["# git.example:22 SSH-2.0"]},
        )
    ),
    *(
        bad("django_app", "django_app_steps_before_static", **values)
        for values in (
            {"django_app_steps_before_static": [{"name": "a b", "command": ["true"]}]},
            {"django_app_steps_after_static": [{"name": "..", "command": ["true"]}]},
            {"django_app_steps_after_static": [{"name": "a", "command": []}]},
            {"django_app_steps_after_migrate": [{"name": "a", "command": ["true"]}] * 2},
            {"django_app_extra_installs": [[]]},
        )
    ),
    bad("django_app", "command", django_app_steps_before_static=[{"name": "a"}]),
    *(bad("django_app", "django_app_python_path", django_app_python_path=[path]) for path in ("../lib", "a:b")),
    bad("django_app", "django_app_project_directory", django_app_project_directory="../x"),
    *(bad("gunicorn", "Set gunicorn_config", gunicorn_config=path) for path in ("/etc/x.py", "../x.py", "a/../x")),
    *(bad("gunicorn", "gunicorn_bind", gunicorn_bind=[at]) for at in ("8000", "localhost:8000", "::1:8000", "/run/x")),
    *(
        bad("services", "Give each of services_wanted", services_wanted=wanted)
        for wanted in (
            [{"name": "memcached.service"}],
            [{"name": "../x"}],
            [{"name": "a"}, {"name": "a"}],
            [{"name": "a", "files": [{"path": "a.conf", "content": ""}]}],
            [{"name": name, "files": [{"path": "/etc/a", "content": ""}]} for name in ("a", "b")],
        )
    ),
    bad("gunicorn", "gunicorn_arguments", gunicorn_arguments=["--reload\nUser=root"]),
    bad("nginx", "nginx_other_sites", nginx_other_sites=["../x"]),
    bad("nginx", "nginx_other_sites", nginx_other_sites=["reef"], nginx_sites=site()),
    # gunicorn
    *(bad("gunicorn", name, without=(name,)) for name in ("gunicorn_name", "gunicorn_app", "gunicorn_host")),
    *(
        bad("gunicorn", "Set gunicorn_app", gunicorn_app=app)
        for app in ("", "config.wsgi", "config/wsgi.py:application", "config.wsgi:", ":x", "a b:c", "config:app()")
    ),
    *(
        bad("gunicorn", name, **{name: 0})
        for name in (
            "gunicorn_workers",
            "gunicorn_threads",
            "gunicorn_graceful_timeout",
            "gunicorn_probe_timeout",
            "gunicorn_stop_timeout",
            "gunicorn_keep_releases",
        )
    ),
    bad("gunicorn", "gunicorn_timeout", gunicorn_timeout=-1),
    bad("gunicorn", "gunicorn_workers", gunicorn_workers="many"),
    *(
        bad("gunicorn", "Set gunicorn_front", gunicorn_front=front)
        for front in ("127.0.0.1", "ftp://127.0.0.1", "http://", "http://127.0.0.1/x", "/run/x.sock")
    ),
    bad("gunicorn", "gunicorn_checks", "status", gunicorn_checks=[{"status": ["fine"]}]),
    bad("gunicorn", "gunicorn_checks", "reject_it", gunicorn_checks=[{"path": "/", "reject_it": "x"}]),
    # letsencrypt
    letsencrypt("letsencrypt_agree_tos", ["reef.example"], letsencrypt_agree_tos=False),
    *(
        letsencrypt("full host name", [name])
        for name in (
            *("", "coralnet", "-reef.example", "reef-.example", "re..ef.example", ".reef.example", "reef.example."),
            *("re ef.example", "reef.example;id", "$(id).example", "réef.example", "Reef.example", "reef.example\n"),
            *("10.0.0.1", "192.0.2.7", "2001:db8::1", "[2001:db8::1]", "../reef.example", "http://reef.example"),
            *("reef.example:80", f"{'a' * 64}.example", f"{'a.' * 130}example", "reef.1", "re_ef.example"),
        )
    ),
    letsencrypt("1 to 100 domains", []),
    letsencrypt("1 to 100 domains", [f"r{number}.reef.example" for number in range(101)]),
    letsencrypt("once", ["reef.example", "reef.example"]),
    *(letsencrypt("wildcard", [name]) for name in ("*.reef.example", "*", "reef.*.example")),
    *(
        letsencrypt("a domain of your own", [name])
        for name in ("ec2-192-0-2-7.us-west-2.compute.amazonaws.com", "amazonaws.com", "localhost", "reef.local")
    ),
    letsencrypt("a domain of your own", ["reef.corp"], letsencrypt_refused_suffixes=["corp"]),
    *(
        letsencrypt("letsencrypt_email", ["reef.example"], letsencrypt_email=email)
        for email in (
            "",
            "a@b",
            "webmaster",
            "@reef.example",
            "a b@reef.example",
            "a@reef..example",
            "a@reef.example\n",
        )
    ),
    letsencrypt("letsencrypt_alert_email", ["reef.example"], letsencrypt_alert_email="root"),
    *(
        letsencrypt("letsencrypt_directory_url", ["reef.example"], letsencrypt_directory_url=url)
        for url in ("", "http://ca.example/dir", "https://ca.example", "ca.example/dir", "https://ca.example/a b")
    ),
    letsencrypt("letsencrypt_ca_bundle", ["reef.example"], letsencrypt_ca_bundle="ca.pem"),
    letsencrypt("letsencrypt_webroot", ["reef.example"], letsencrypt_webroot="/var/www/a b"),
    *(
        bad("letsencrypt", "name of its own", letsencrypt_own=[{**PAIR, "name": name}])
        for name in ("", "../reef", "Reef", "re ef", "a/b")
    ),
    bad("letsencrypt", "name of its own", letsencrypt_own=[PAIR, PAIR]),
    bad("letsencrypt", "PEM", letsencrypt_own=[{**PAIR, "certificate": "/etc/ssl/reef.pem"}]),
    bad("letsencrypt", "PEM", letsencrypt_own=[{**PAIR, "key": "-----BEGIN CERTIFICATE-----"}]),
    *(
        letsencrypt("letsencrypt_services", ["reef.example"], letsencrypt_services=[service])
        for service in (
            *({"unit": "nginx"}, {"unit": "a b.service"}, {"unit": "x.service; id"}, {"unit": "x.service", "port": 0}),
            *({"unit": "x.service", "port": 65536}, {"unit": "x.service", "certificates": ["other"]}),
        )
    ),
    *(
        letsencrypt(name, ["reef.example"], **{name: 0})
        for name in ("letsencrypt_tries", "letsencrypt_keep_backups", "letsencrypt_renew_before_days")
    ),
    bad("letsencrypt", "letsencrypt_source", letsencrypt_source="snap"),
    bad("letsencrypt", "letsencrypt_challenge", letsencrypt_challenge="dns"),
    bad("letsencrypt", "letsencrypt_key_type", letsencrypt_key_type="dsa"),
    bad("letsencrypt", "domains", letsencrypt_certificates=[{"name": "reef"}]),
    # nginx
    *(nginx("name of its own", site(name=name)) for name in ("", "Reef", "re ef", "../reef", "/reef", "réef", "reef;")),
    nginx("name of its own", [*site(), *site(server_names=["other.example"])]),
    nginx("at least one server name", site(server_names=[])),
    *(
        nginx("plain host name", site(server_names=[name]))
        for name in ("", "a b", "reef.example;", "~^reef", "http://reef.example", "reef.example:80", "-reef", "_", "*")
    ),
    nginx("no other site has", site(server_names=["reef.example", "reef.example"])),
    nginx("no other site has", [*site(), *site(name="other")]),
    *(
        bad("nginx", "Set nginx_client_max_body_size", nginx_client_max_body_size=size)
        for size in ("", "40 m", "40mb", "-1")
    ),
    nginx("client_max_body_size", site(client_max_body_size="x")),
    *(nginx("every location", served(location)) for location in ("static/", "/static", "", "/a b/", "/a;/", "/{/")),
    *(nginx("absolute path", served("/static/", path)) for path in ("srv/x", "/srv/a b", "/srv/x;", "/srv/{x}")),
    nginx("server_names", [{"name": "reef", "socket": "/run/reef.sock"}]),
    nginx("socket", [{"name": "reef", "server_names": ["reef.example"]}]),
    nginx("server_name", site(server_name="reef.example")),
    bad("nginx", "nginx_worker_connections", nginx_worker_connections="many"),
    *(
        bad("nginx", "nginx_acme_peers", nginx_acme_peers=[peer])
        for peer in ("", "http://10.0.0.7", "2001:db8::7", "10.0.0.7;", "10.0.0.7:x")
    ),
    *(
        nginx("site's curtain", site(curtain=curtain))
        for curtain in (
            {"operators": ["reef.example"]},
            {"operators": ["192.0.2.1;"]},
            {"let_through": ["health/"]},
            {"let_through": ['/"; }']},
            {"json": ["/api/$"]},
            {"color": "red; }"},
            {"dark_color": ""},
            {"retry_after": 0},
            {"logo": "<script>"},
        )
    ),
    nginx("nobody", site(curtain={"nobody": "knows"})),
    nginx("more than hyphens", [*site(name="a-b", curtain={}), *site(name="a.b", server_names=["b"], curtain={})]),
    nginx("more than hyphens", [*site(name="a-b"), *site(name="a.b", server_names=["b"])]),
    *(
        bad("nginx", "nginx_curtain_cookies", nginx_sites=site(curtain={}), nginx_curtain_cookies=cookies)
        for cookies in ({"reef": "short"}, {"reef": 'x"; return 200; # xxxxxxxx'}, {"other": "x" * 16}, {"reef": ""})
    ),
    *(
        bad("nginx", "nginx_passwords", nginx_sites=site(), nginx_passwords=passwords)
        for passwords in (
            {"reef": {"ann": "short"}},
            {"reef": {"ann": "two\nlines of it"}},
            {"reef": {"a b": "long enough"}},
            {"reef": {"a:b": "long enough"}},
            {"reef": {"#ann": "long enough"}},
            {"reef": {"": "long enough"}},
            {"reef": {}},
            {"reef": "long enough"},
            {"other": {"ann": "long enough"}},
        )
    ),
    nginx("set its people in nginx_passwords", site(password={})),
    *(
        bad("nginx", "a site's password", nginx_sites=site(password=access), nginx_passwords={"reef": {"a": "x" * 8}})
        for access in (
            {"realm": "off"},
            {"realm": 'a "quoted" one'},
            {"realm": "$host"},
            {"realm": ""},
            {"addresses": ["reef.example"]},
            {"addresses": ["192.0.2.1;"]},
            {"paths": ["api/"]},
            {"paths": ['/"; }']},
        )
    ),
    *(nginx("one line", site(banner=banner)) for banner in ("$host", "a\nb", "a\\b")),
    nginx("noindex", site(noindex="perhaps")),
    # refresh
    bad("refresh", "never written over", refresh_environment="production"),
    bad("refresh", "never written over", refresh_environment="live", refresh_protected=["live"]),
    *(
        bad("refresh", "No host is known to copy from", refresh_source=source(**{name: ""}))
        for name in ("web", "database_host")
    ),
    bad("refresh", "another environment", refresh_source=source(environment="staging")),
    *(
        bad("refresh", "hosts of its own", refresh_hosts=["staging.example", name])
        for name in ("www.example", "db.example")
    ),
    *(
        bad("refresh", "refresh_mail_domain", refresh_mail_domain=name)
        for name in ("", "localhost", "a@b.example", "x'; --")
    ),
    bad("refresh", "takes people's addresses out", refresh_statements=[]),
    *(bad("refresh", name, without=(name,)) for name in ("refresh_source", "refresh_target", "refresh_environment")),
    # postfix
    *(bad("postfix", name, without=(name,)) for name in ("postfix_hostname", "postfix_root_address")),
    *(
        bad("postfix", "postfix_hostname", postfix_hostname=name)
        for name in ("", "localhost", "a b.example", "-a.example", "a..b", "Reef.example", "reef.example\n")
    ),
    *(
        bad("postfix", "postfix_domains", postfix_domains=[name])
        for name in ("", "*.reef.example", "a/../b.example", "a=b.example")
    ),
    *(
        bad("postfix", "Set postfix_root_address", postfix_root_address=address)
        for address in (
            "",
            "root",
            "root@localhost",
            "root@www.reef.example",
            "a@b.example, c@d.example",
            "a b@c.example",
            "a@b.example\n",
        )
    ),
    *(
        bad("postfix", "postfix_aliases", postfix_aliases=aliases)
        for aliases in (
            {"reef": []},
            {"reef": 1},
            {"reef": "a b"},
            {"reef": ["a,b"]},
            {"re ef": "root"},
            {"#": "root"},
            {"reef": "a\nb c"},
        )
    ),
    *(
        bad("postfix", "postfix_networks", postfix_networks=networks)
        for networks in ([], ["0.0.0.0/0"], ["[::]/0"], ["everybody"], ["hash:/etc/x"])
    ),
    bad("postfix", "postfix_interfaces", postfix_interfaces=[]),
    bad("postfix", "postfix_certificate_key", postfix_certificate="/a.pem"),
    bad("postfix", "postfix_certificate_key", postfix_certificate_key="/a.pem"),
    bad("postfix", "postfix_client_certificate", postfix_client_certificate=True),
    bad("postfix", "absolute paths", postfix_certificate="a.pem", postfix_certificate_key="/a.key"),
    bad("postfix", "postfix_tls_level", postfix_tls_level="always"),
    *(
        bad("postfix", "postfix_tls_policy", postfix_tls_policy=policy)
        for policy in ({"a.example": "always"}, {"a.example": "may\nb.example none"}, {"a b": "may"}, {"": "may"})
    ),
    *(
        bad("postfix", "Set postfix_relay_host", **values)
        for values in (
            {"postfix_relay_username": "reef"},
            {"postfix_relay_username": "reef", "postfix_relay_host": "a.example"},
            {"postfix_relay_username": "re:ef", "postfix_relay_host": "a.example", "postfix_relay_password": "x"},
            {"postfix_relay_username": "reef", "postfix_relay_host": "a.example", "postfix_relay_password": "x\ny"},
            {"postfix_relay_host": "a b"},
        )
    ),
    *(bad("postfix", "postfix_queue_lifetime", postfix_queue_lifetime=time) for time in ("", "3 days", "-1d", "1d\n")),
    bad("postfix", "postfix_message_size", postfix_message_size=0),
    bad("postfix", "postfix_message_rate", postfix_message_rate=-1),
    bad("postfix", "postfix_settings", postfix_settings={"relay host": "x"}),
    bad("postfix", "postfix_settings", postfix_settings={"relayhost": "x\ny = z"}),
    *(
        bad("postfix", "postfix_dkim_selectors", postfix_dkim_selectors=selectors)
        for selectors in ([], ["S1"], ["a/b"], ["a.b"], [""])
    ),
    *(bad("postfix", "postfix_spf", postfix_spf=record) for record in ("", "v=spf2 a -all", 'v=spf1 "', "v=spf1 a\n")),
    *(bad("postfix", "postfix_dmarc", postfix_dmarc=record) for record in ("", "p=none", "v=DMARC1; p=always")),
    bad("nginx", "nginx_origin", nginx_origin="vendor"),
    *(
        bad("nginx", "Set nginx_repository", nginx_repository=url)
        for url in ("", "nginx.org", "ftp://x/y", "http://a b")
    ),
    *(bad("nginx", "nginx_key to one", nginx_key=key) for key in ("", "nginx.key", "~/nginx.key", "/srv/a b")),
    *(
        bad("nginx", "nginx_key_fingerprints", nginx_key_fingerprints=prints)
        for prints in ([], ["7BD9BF62"], ["573BFD6B3D8FBC641079A6ABABF5BD827BD9BFXX"])
    ),
    *(bad("nginx", "nginx_version", nginx_version=version) for version in ("latest", "1.30.4 ", ">=1.30", "-y")),
    # postgresql
    bad("postgresql", "set postgresql_login_host", postgresql_server=False),
    bad("postgresql", "Set postgresql_login_password", "db.example", postgresql_login_host="db.example"),
    bad(
        "postgresql",
        "Add to postgresql_roles: reef",
        postgresql_databases=[{"name": "reef", "owner": "reef"}],
        postgresql_roles=[{"name": "other"}],
    ),
    bad("postgresql", "postgresql_ssl_mode", postgresql_ssl_mode="always"),
    bad("postgresql", "postgresql_databases", "owner", postgresql_databases=[{"name": "reef"}]),
    bad("postgresql", "postgresql_roles", "name", postgresql_roles=[{"password": "x"}]),
]

GOOD = [
    *((role, {}) for role in VALIDATED),
    *((role, FULL[role]) for role in VALIDATED),
    ("django_app", {"django_app_name": "a-1"}),
    ("django_app", {"django_app_config_files": [{"path": "a.b/.env", "data": {}, "format": "dotenv"}]}),
    ("django_app", {"django_app_secrets_example": "conf/..secrets.example.json"}),
    (
        "django_app",
        {
            "django_app_verify": "tag",
            "django_app_allowed_signers": [
                "*@example.org ssh-ed25519 AAAA",
                'a@b.example namespaces="git" ssh-rsa AAAA a comment',
            ],
        },
    ),
    (
        "django_app",
        {
            "django_app_repository": "package:reef[pdf,s3]",
            "django_app_version": "2.1.0rc1",
            "django_app_project_directory": "/srv/reef",
            "django_app_python_path": ["lib", "/opt/shared"],
            "django_app_directories": [{"path": "/srv/media/reef", "mode": "2770", "owner": "root", "group": "adm"}],
        },
    ),
    (
        "django_app",
        {
            "django_app_deploy_key": PRIVATE,
            "django_app_known_hosts": ["[git.example]:2222 ssh-ed25519 AAAA", "@cert-authority *.example ssh-rsa AAAA"],
        },
    ),
    ("gunicorn", {"gunicorn_bind": ["127.0.0.1:8000", "[::1]:8000"], "gunicorn_config": "deploy/gunicorn.py"}),
    ("gunicorn", {"gunicorn_timeout": 0, "gunicorn_front": "https://127.0.0.1:8443/"}),
    ("gunicorn", {"gunicorn_workers": "3"}),
    ("letsencrypt", {"letsencrypt_certificates": [], "letsencrypt_refused_suffixes": []}),
    (
        "letsencrypt",
        {
            "letsencrypt_certificates": [{"name": "a", "domains": ["notamazonaws.com", "a-b.c1.museum"]}],
            "letsencrypt_agree_tos": "yes",
            "letsencrypt_own": [PAIR],
        },
    ),
    ("nginx", {"nginx_sites": served("/")}),
    (
        "nginx",
        {
            "nginx_sites": site(
                password={"realm": "Staging: ask us", "paths": ["/api/"]}, banner="It's <staging>; {x}"
            ),
            "nginx_passwords": {"reef": {"ann": "p$%&\"' {x}", "bob": 12345678}},
        },
    ),
    ("postfix", {"postfix_relay_host": "[relay.example]:25", "postfix_domains": []}),
    (
        "postfix",
        {"postfix_root_address": "ops+reef@reef.example", "postfix_aliases": {"reef@www.reef.example": "a@b.example"}},
    ),
    ("smoke", {"smoke_command": [], "smoke_administration": [], "smoke_mail": {"path": "/var/mail/smoke"}}),
    ("postgresql", {"postgresql_server": False, "postgresql_login_host": "db", "postgresql_login_password": "x"}),
]


def refusal(role: str, values: dict[str, Any]) -> str:
    """Say why a role refuses values, as its specification and then its rules find it; nothing where it takes them."""
    folder, loader = ROLES / role, DataLoader()
    options = load(folder / "meta" / "argument_specs.yml")["argument_specs"]["validate"]["options"]
    variables = {
        **(load(folder / "defaults" / "main.yml") or {}),
        **values,
        **(load(folder / "vars" / "main.yml") or {}),
    }
    templar = Templar(loader=loader, variables=variables)
    try:
        given = {name: templar.template(variables[name]) for name in options if name in variables}
    except AnsibleError as exc:
        return str(exc)
    if errors := ArgumentSpecValidator(options).validate(given).error_messages:
        return "\n".join(errors)
    for task in load(folder / "tasks" / "validate.yml"):
        templar = Templar(loader=loader, variables={**variables, **task.get("vars", {})})
        rules = task["ansible.builtin.assert"]
        conditions = rules["that"] if isinstance(rules["that"], list) else [rules["that"]]
        if not all(templar.evaluate_conditional(condition) for condition in conditions):
            return str(templar.template(rules["fail_msg"]))
    return ""


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_values_are_refused(case: Bad) -> None:
    said = refusal(case.role, case.all_values)

    assert said, "this was accepted"
    for word in case.words:
        assert word in said


@pytest.mark.parametrize(("role", "values"), GOOD)
def test_good_values_are_accepted(role: str, values: dict[str, Any]) -> None:
    assert refusal(role, {**REQUIRED[role], **values}) == ""


def test_a_playbook_says_the_same(ansible: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """A value that a specification refuses, one that a rule of each role refuses, and good ones at last."""
    cases = [
        nginx("", site(server_name="reef.example")),
        nginx("", site(server_names=[])),
        bad("django_app", django_app_name="Reef"),
        bad("gunicorn", gunicorn_app="config.wsgi"),
        letsencrypt("", ["localhost"]),
        bad("postgresql", postgresql_server=False),
        bad("postgresql"),
    ]
    keep = (
        "{{ said | combine({number: ansible_failed_result.argument_errors | default([ansible_failed_result.msg])}) }}"
    )
    tasks: list[dict[str, Any]] = [
        {
            "block": [
                {
                    "ansible.builtin.include_role": {"name": f"coralnet.server.{case.role}", "tasks_from": "validate"},
                    "vars": case.all_values,
                }
            ],
            "rescue": [{"ansible.builtin.set_fact": {"said": keep}, "vars": {"number": str(number)}}],
        }
        for number, case in enumerate(cases)
    ]
    tasks.append(
        {"ansible.builtin.copy": {"content": "{{ said | to_json }}", "dest": str(tmp_path / "said"), "mode": "0644"}}
    )
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "said": {},
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "ansible_remote_tmp": str(tmp_path),
        },
        "tasks": tasks,
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))

    done = ansible("playbook", "--inventory", "localhost,", tmp_path / "play.yml")

    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    said = {int(number): "\n".join(lines) for number, lines in json.loads((tmp_path / "said").read_text()).items()}
    assert said == {
        number: words for number, case in enumerate(cases) if (words := refusal(case.role, case.all_values))
    }
    assert len(said) == len(cases) - 1


@pytest.mark.parametrize("role", VALIDATED)
def test_validation_changes_nothing(role: str) -> None:
    """So that it can run for every part before the first change."""
    tasks = yaml.safe_load((ROLES / role / "tasks" / "validate.yml").read_text())

    for task in tasks:
        assert set(task) <= {"name", "ansible.builtin.assert", "vars"}
        assert task["ansible.builtin.assert"]["fail_msg"]
        assert task["ansible.builtin.assert"]["quiet"] is True


@pytest.mark.parametrize(
    ("values", "host"),
    [
        ({}, "acme-v02.api.letsencrypt.org"),
        ({"letsencrypt_staging": True}, "acme-staging-v02.api.letsencrypt.org"),
        ({"letsencrypt_staging": True, "letsencrypt_directory_url": "https://ca.example/dir"}, "ca.example"),
    ],
    ids=["real", "staging", "another"],
)
def test_which_ca(values: dict[str, Any], host: str) -> None:
    variables = role_variables("letsencrypt", **values)
    url = Templar(loader=DataLoader(), variables=variables).template(variables["letsencrypt_directory_url"])
    assert url.split("/")[2] == host
