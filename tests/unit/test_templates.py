"""Every template, rendered by Ansible's own Templar, with defaults and with as much set as possible."""

from __future__ import annotations

import configparser
import json
import os
import pwd
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from gunicorn.config import Config
from rendering import CANARY, FULL, NAMES, REQUIRED, ROLES, load, render, role_variables, templates

SERVICE, SOCKET = "etc/systemd/system/site@.service.j2", "etc/systemd/system/site@.socket.j2"
GUNICORN, RUN = "etc/gunicorn/site.conf.py.j2", "run.j2"
NGINX, SITE, REFUSE = (
    f"etc/nginx/{name}.j2" for name in ("nginx.conf", "sites-available/site", "sites-available/refuse")
)
CURTAIN_HTTP, CURTAIN_SERVER, COOKIE = (f"etc/nginx/curtain/{name}.conf.j2" for name in ("http", "server", "cookie"))
PASSWORDS = "etc/nginx/passwords/site.j2"
OVER = "runserver_settings.py.j2"
REDIS = "etc/redis/redis.conf.j2"
PROGRAM, TIMED = (f"etc/systemd/system/site.{name}.j2" for name in ("program.service", "timer.timer"))
PAGE, DOWN = (f"var/lib/nginx-curtain/{name}.j2" for name in ("page.html", "down.json"))
# nginx's loop hands each site to its template
ITEM = {"item": FULL["nginx"]["nginx_sites"][1]}
FULL_ITEM = {"item": FULL["nginx"]["nginx_sites"][0]}
# The worker role hands each worker and timer to theirs
WORKERS = [
    {"environment": {}, "stop_signal": "SIGTERM", "stop_seconds": 90, "remove": [], **worker}
    for worker in FULL["worker"]["worker_workers"]
]
TIMERS = [{"environment": {"A": "b"}, **timer} for timer in FULL["worker"]["worker_timers"]]


def variables(role: str, template: str, *, full: bool) -> dict[str, Any]:
    item = (FULL_ITEM if full else ITEM) if template == SITE else {}
    if template in (CURTAIN_HTTP, CURTAIN_SERVER, PAGE, DOWN):
        item = curtain(FULL_ITEM["item"] if full else {**ITEM["item"], "curtain": {}})
    if template == COOKIE:
        item = {"item": "reef", **FULL[role]}
    if template == PASSWORDS:
        item = {"item": "reef", "__nginx_kept": "", **FULL[role]}
    if role == "runserver":
        item = {
            "__runserver_release": {"stdout": "/data/sites/reef/releases/20261101T080000Z-89abcdef01"},
            "__runserver_found": {"source": "/home/anna/reef", "directory": "/home/anna/.local/state/reef"},
        }
    if template == OVER and not full:  # there is none where there are no settings
        item |= {"runserver_settings_module": "config.settings", "runserver_settings": {"ALLOWED_HOSTS": ["127.0.0.1"]}}
    if role == "services":
        item = {"__services_item": FULL[role]["services_wanted"][0]}
    if role == "worker":
        item = {"__worker_item": TIMERS[0] if template == TIMED else WORKERS[not full]}
    return {**(FULL[role] if full else {}), **item}


def curtain(site: dict[str, Any], reason: str = "drawn") -> dict[str, Any]:
    """Give what the role's loop gives to the templates of the curtain."""
    defaults = load(ROLES / "nginx" / "vars" / "main.yml")["__nginx_curtain"]
    page = {**defaults, "title": site["server_names"][0], **site["curtain"], "for": reason}
    return {"__nginx_site": site, "__nginx_page": page}


@pytest.mark.parametrize("full", [False, True], ids=["defaults", "full"])
@pytest.mark.parametrize(("role", "template"), list(templates()))
def test_every_template(role: str, template: str, full: bool) -> None:
    text = render(role, template, **variables(role, template, full=full))

    if template not in (PAGE, DOWN):  # visitors get these
        first = next(line for line in text.splitlines() if not line.startswith("#!"))
        assert re.match(r"#\s*$", first), "it begins with who manages it, in a comment"
        assert "managed" in text.partition("\n\n")[0].lower()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search(r"\{\{|\}\}|\{%|%\}|\bNone\b|\bTrue\b|\bFalse\b|Undefined", without_code(text, template))
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    assert CANARY not in text or template in (COOKIE, REDIS)


def without_code(text: str, template: str) -> str:
    """None and True are words of Python's too."""
    return "" if template in (RUN, GUNICORN, OVER) else text


@pytest.mark.parametrize(
    ("role", "template", "missing"),
    [
        ("gunicorn", SERVICE, "gunicorn_name"),
        ("gunicorn", GUNICORN, "gunicorn_app"),
        ("django_app", RUN, "django_app_name"),
        ("nginx", SITE, "item"),
    ],
)
def test_an_undefined_variable_is_an_error(
    role: str, template: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REQUIRED, role, {name: value for name, value in REQUIRED[role].items() if name != missing})

    with pytest.raises(AnsibleError, match=f"'{missing}' is undefined"):
        render(role, template)


# --- gunicorn's units


def unit(text: str) -> dict[str, dict[str, list[str]]]:
    """Read a unit file: each setting's values in their order."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            settings = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            settings.setdefault(name, []).append(value)
    return sections


SANDBOX = {
    "AmbientCapabilities": "",
    "CapabilityBoundingSet": "",
    "DevicePolicy": "closed",
    "IPAddressDeny": "any",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateIPC": "yes",
    "PrivateMounts": "yes",
    "PrivateTmp": "yes",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RemoveIPC": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0027",
}


@pytest.mark.parametrize("full", [False, True], ids=["defaults", "full"])
def test_the_service_is_sandboxed(full: bool) -> None:
    service = unit(render("gunicorn", SERVICE, **variables("gunicorn", SERVICE, full=full)))["Service"]

    assert {name: service[name] for name in SANDBOX} == {name: [value] for name, value in SANDBOX.items()}
    assert service["SystemCallFilter"] == ["@system-service", "~@privileged @resources @obsolete"]
    # What can be written cannot be executed
    assert service["NoExecPaths"] == service["ReadWritePaths"]


def test_the_service_by_default() -> None:
    service = unit(render("gunicorn", SERVICE))["Service"]

    assert service["User"] == service["Group"] == ["reef"]
    assert service["ExecStart"] == ["/srv/www/reef/run --instance %i gunicorn --config /etc/gunicorn/reef.conf.py"]
    assert service["ReadWritePaths"] == ["/srv/www/reef/shared"]
    assert service["IPAddressAllow"] == ["localhost"]
    assert service["TimeoutStopSec"] == ["90"]
    assert service["Type"] == ["notify"]
    assert service["Sockets"] == ["%p@%i.socket"]
    assert service["RuntimeDirectory"] == ["%p/%i"]
    assert service["Restart"] == ["on-failure"]
    assert "EnvironmentFile" not in service
    assert "Environment" not in service


def test_the_service_with_everything_set() -> None:
    service = unit(render("gunicorn", SERVICE, **FULL["gunicorn"]))["Service"]

    assert service["User"] == service["Group"] == ["reefer"]
    assert service["ExecStart"] == ["/usr/local/bin/run %i gunicorn --config /etc/gunicorn/reef.conf.py"]
    assert service["ReadWritePaths"] == ["/data/sites/reef/shared /data/uploads"]
    assert service["TimeoutStopSec"] == ["7"]
    assert service["MemoryMax"] == ["1G"]
    # The site's own settings go last and add to a list, or win
    assert service["IPAddressAllow"] == ["localhost 10.0.0.0/8", "192.0.2.1"]
    assert list(service)[-1] == "MemoryMax"


def test_restarts_are_never_given_up() -> None:
    assert unit(render("gunicorn", SERVICE))["Unit"]["StartLimitIntervalSec"] == ["0"]


@pytest.mark.parametrize(("full", "group", "user"), [(False, "www-data", "reef"), (True, "web", "reefer")])
def test_the_socket(full: bool, group: str, user: str) -> None:
    sections = unit(render("gunicorn", SOCKET, **variables("gunicorn", SOCKET, full=full)))

    assert sections["Socket"] == {
        "ListenStream": ["/run/%p/%i.sock"],
        "SocketUser": [user],
        "SocketGroup": [group],
        "SocketMode": ["0660"],
        "RemoveOnStop": ["yes"],
    }
    assert sections["Install"] == {"WantedBy": ["sockets.target"]}


@pytest.mark.parametrize("template", [SERVICE, SOCKET])
def test_a_unit_can_be_read_as_one(template: str) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(render("gunicorn", template))

    assert "Install" in parser


# --- gunicorn's configuration


def execute(text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the file as gunicorn does, in an instance's environment."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/reef/one")
    monkeypatch.setenv("RELEASE", "one.1")
    names: dict[str, Any] = {}
    exec(compile(text, "reef.conf.py", "exec"), names)
    return names


def settings_of(names: dict[str, Any]) -> dict[str, Any]:
    """Hand the names to gunicorn itself, which refuses values of a wrong kind."""
    config = Config()
    for name, value in names.items():
        if name in config.settings:
            config.set(name, value)
    return {name: getattr(config, name) for name in names if name in config.settings}


def test_gunicorn_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2}, raising=False)
    settings = settings_of(execute(render("gunicorn", GUNICORN), monkeypatch))
    settings.pop("post_worker_init")

    assert settings == {
        "wsgi_app": "config.wsgi:application",
        "workers": 7,
        "worker_class": settings["worker_class"],
        "threads": 4,
        "keepalive": 75,
        "worker_connections": 8,
        "timeout": 604800,
        "graceful_timeout": 604800,
        "worker_tmp_dir": "/run/reef/one",
        "accesslog": "-",
        "access_log_format": '%({x-forwarded-for}i)s "%(r)s" %(s)s %(b)s %(L)s',
        "errorlog": "-",
        "control_socket_disable": True,
    }
    assert "gthread" in str(settings["worker_class"])


def test_gunicorn_with_everything_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(execute(render("gunicorn", GUNICORN, **FULL["gunicorn"]), monkeypatch))

    assert (settings["workers"], settings["threads"]) == (3, 1)
    assert (settings["timeout"], settings["graceful_timeout"]) == (30, 40)
    # Further settings go after the role's own, and win
    assert (settings["max_requests"], settings["errorlog"]) == (1000, "/data/log/it's.log")
    assert settings["raw_env"] == ["A=b"]


def test_gunicorn_listens_nowhere_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "bind" not in execute(render("gunicorn", GUNICORN), monkeypatch)


def test_every_answer_says_which_instance_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        @staticmethod
        def wsgi(environ: dict[str, str], start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Type", environ["type"])])
            return [b"page"]

    worker: Any = Worker()
    execute(render("gunicorn", GUNICORN), monkeypatch)["post_worker_init"](worker)
    monkeypatch.setenv("RELEASE", "another")
    started: list[Any] = []

    assert worker.wsgi({"type": "text/plain"}, lambda *given: started.append(given)) == [b"page"]
    assert started == [("200 OK", [("Content-Type", "text/plain"), ("X-Release", "one.1")], None)]


def test_no_header_is_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render("gunicorn", GUNICORN, gunicorn_release_header="")

    assert "post_worker_init" not in execute(text, monkeypatch)


# --- workers and timers


def test_a_worker_is_sandboxed_as_gunicorn_is() -> None:
    for item in (WORKERS[0], TIMERS[0]):
        service = unit(render("worker", PROGRAM, __worker_item=item))["Service"]
        assert {name: service[name] for name in SANDBOX} == {name: [value] for name, value in SANDBOX.items()}
        assert service["SystemCallFilter"] == ["@system-service", "~@privileged @resources @obsolete"]
        assert service["NoExecPaths"] == service["ReadWritePaths"]


def test_a_worker_with_everything_set() -> None:
    sections = unit(render("worker", PROGRAM, **FULL["worker"], __worker_item=WORKERS[0]))
    service = sections["Service"]

    # The words as systemd reads them: only {instance} is replaced
    assert service["ExecStart"] == [
        "/data/sites/reef/run --instance %i --environment /data/sites/reef/workers/queue.json "
        '"celery" "-A" "config" "worker" "--hostname=%i@%%h" "--why=a \\"b\\" $$c \\\\"'
    ]
    assert service["ExecStartPre"] == ['/bin/rm -f -- "/data/sites/reef/shared/%i.pid"']
    assert (service["KillSignal"], service["TimeoutStopSec"]) == (["SIGQUIT"], ["1200"])
    assert (service["Restart"], service["Type"], service["KillMode"]) == (["always"], ["exec"], ["mixed"])
    assert list(service)[-1] == "MemoryMax"
    assert sections["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert sections["Install"] == {"WantedBy": ["multi-user.target"]}


def test_a_timer_runs_the_current_release() -> None:
    sections = unit(render("worker", PROGRAM, **FULL["worker"], __worker_item=TIMERS[0]))
    service = sections["Service"]

    assert service["ExecStart"] == [
        '/data/sites/reef/run --environment /data/sites/reef/workers/tidy.json "python" "manage.py" "clearsessions"'
    ]
    assert (service["Type"], service["TimeoutStartSec"]) == (["oneshot"], ["60"])
    assert not {"Restart", "KillSignal", "ExecStartPre"} & set(service)
    assert "Install" not in sections, "its timer alone is enabled"
    assert unit(render("worker", TIMED, __worker_item=TIMERS[0])) == {
        "Unit": {"Description": ["reef, tidy at its times"]},
        "Timer": {"OnCalendar": ["Mon *-*-* 04:30"], "RandomizedDelaySec": ["600"], "Persistent": ["no"]},
        "Install": {"WantedBy": ["timers.target"]},
    }


def evaluated(role: str, expression: str, **values: Any) -> Any:
    templar = Templar(loader=DataLoader(), variables=role_variables(role, **values))
    return templar.template(trust_as_template("{{ " + expression + " }}"))


def test_the_units_of_all_workers_and_timers() -> None:
    units = evaluated("worker", "__worker_units", **FULL["worker"])

    assert set(units) == {"reef.queue@.service", "reef.beat@.service", "reef.tidy.service", "reef.tidy.timer"}
    assert "KillSignal=SIGQUIT" in units["reef.queue@.service"]
    # What a worker does not say is as documented
    assert "KillSignal=SIGTERM" in units["reef.beat@.service"]
    assert CANARY not in str(units)


def test_the_environments_are_text() -> None:
    environments = evaluated("worker", "__worker_environments", **FULL["worker"])

    assert {name: json.loads(text) for name, text in environments.items()} == {"queue": {"KEY": CANARY, "THREADS": "2"}}


def test_for_one_run_all_workers_may_be_killed() -> None:
    worker = FULL["worker"]
    for said, policies in (("", ["kill", "fail"]), ("fail", ["fail", "fail"]), ("kill", ["kill", "kill"])):
        found = evaluated("worker", "__worker_policies", **{**worker, "worker_on_timeout": said})
        assert [each["on_timeout"] for each in found] == policies
        assert found[1] == {
            "name": "beat", "count": 1, "stop_signal": "SIGTERM", "stop_seconds": 90, "on_timeout": policies[1]
        }  # fmt: skip


# --- Redis


def redis(**values: Any) -> list[str]:
    return render("redis", REDIS, **values).splitlines()


def test_redis_is_a_broker_by_default() -> None:
    for line in ("bind 127.0.0.1 -::1", "port 6379", "maxmemory-policy noeviction", "appendonly yes", "save 300 100"):
        assert line in redis()
    assert not [line for line in redis() if line.startswith(("unixsocket", "requirepass"))]


def test_redis_with_a_socket_alone() -> None:
    lines = redis(redis_addresses=[], redis_socket="/run/redis/reef.sock")

    assert {"port 0", "unixsocket /run/redis/reef.sock", "unixsocketperm 770"} <= set(lines)
    assert not [line for line in lines if line.startswith("bind")]


def test_redis_with_everything_set() -> None:
    lines = redis(**FULL["redis"])

    assert {f'requirepass "{CANARY * 2}"', "port 6380", 'save ""', "timeout 300", "appendonly no"} <= set(lines)


# --- the site's own run command


class Site:
    """A release on disk, and its `run` command."""

    def __init__(self, path: Path) -> None:
        self.root = path
        me = pwd.getpwuid(os.geteuid()).pw_name
        self.text = render(
            "django_app",
            RUN,
            django_app_root=str(path),
            django_app_user=me,
            django_app_project_directory="project",
        )
        self.release = path / "releases" / "one"
        (self.release / "src" / "project").mkdir(parents=True)
        (self.release / "venv" / "bin").mkdir(parents=True)
        (path / "current").symlink_to("releases/one")
        (path / "shared").mkdir()
        self.set({})
        (path / "run").write_text(self.text)

    def set(self, environment: dict[str, str]) -> None:
        (self.root / "shared" / "environment.json").write_text(json.dumps(environment))

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, self.root / "run", *words],
            env={"LEFT_BEHIND": "x", "PATH": "/usr/bin:/bin", **environment},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def environment(self, *words: str, **environment: str) -> dict[str, str]:
        out = self.run(*words, "env", "-0", **environment).stdout
        return dict(line.split("=", 1) for line in out.split("\0") if line)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_run_gives_the_sites_environment_and_no_other(site: Site) -> None:
    site.set({"DJANGO_SETTINGS_MODULE": "config.settings", "ODD": "a 'b' $HOME\n#c", "LANG": "nl_NL.UTF-8"})

    environment = site.environment(TERM="dumb", NOTIFY_SOCKET="/run/x", ANSIBLE_X="y")

    assert environment == {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ODD": "a 'b' $HOME\n#c",
        "HOME": str(site.root / "shared"),
        "LANG": "nl_NL.UTF-8",
        "NOTIFY_SOCKET": "/run/x",
        "PATH": f"{site.release}/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "RELEASE": "one",
        "TERM": "dumb",
        "VIRTUAL_ENV": f"{site.release}/venv",
    }


def test_run_is_in_the_projects_directory(site: Site) -> None:
    assert site.run("pwd").stdout == f"{site.release}/src/project\n"


def test_run_finds_commands_of_the_release_first(site: Site) -> None:
    own = site.release / "venv" / "bin" / "pwd"
    own.write_text("#!/bin/sh\necho here\n")
    own.chmod(0o755)

    assert site.run("pwd").stdout == "here\n"


def test_run_takes_an_instance(site: Site) -> None:
    (site.root / "releases" / "two" / "src" / "project").mkdir(parents=True)

    environment = site.environment("--instance", "two.1")

    assert environment["RELEASE"] == "two.1"
    assert environment["VIRTUAL_ENV"] == str(site.root / "releases" / "two" / "venv")
    assert site.run("--instance", "two.1", "pwd").stdout == f"{site.root}/releases/two/src/project\n"


def test_run_takes_a_further_environment(site: Site) -> None:
    more = site.root / "more.json"
    more.write_text('{"SETTING": "another", "LANG": "C"}')

    environment = site.environment("--instance", "one", "--environment", str(more))

    assert (environment["SETTING"], environment["LANG"]) == ("another", "C")
    assert "SETTING" not in site.environment()


@pytest.mark.parametrize(("of_root", "of_the_site"), [(0o077, "0027"), (0o027, "0027"), (0o022, "0022")])
def test_run_is_no_stricter_than_the_units(site: Site, of_root: int, of_the_site: str) -> None:
    before = os.umask(of_root)
    try:
        assert site.run("sh", "-c", "umask").stdout.strip() == of_the_site
    finally:
        os.umask(before)


def test_run_hands_words_on_as_they_are(site: Site) -> None:
    assert site.run("printf", "%s|", "a b", "$HOME", "--instance", "x'y").stdout == "a b|$HOME|--instance|x'y|"


def test_run_hands_the_exit_code_on(site: Site) -> None:
    assert site.run("sh", "-c", "exit 7").returncode == 7


def test_run_says_what_is_not_there(site: Site) -> None:
    done = site.run("no-such-command")

    assert done.returncode == 1
    assert done.stderr.endswith("no-such-command: No such file or directory\n")


@pytest.mark.parametrize("words", [(), ("--instance", "one")])
def test_run_without_a_command_explains_itself(site: Site, words: tuple[str, ...]) -> None:
    done = site.run(*words)

    assert done.returncode == 1
    assert "run python manage.py check" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may become anybody")
def test_run_is_for_root_and_the_site_alone(site: Site) -> None:
    (site.root / "run").write_text(site.text.replace(pwd.getpwuid(os.geteuid()).pw_name, "root"))

    assert "run this as root (with sudo) or as root" in site.run("true").stderr


def test_run_compiles_with_everything_set() -> None:
    text = render("django_app", RUN, **FULL["django_app"])

    compile(text, "run", "exec")
    assert text.startswith("#!/usr/bin/python3\n")
    assert 'ROOT = "/data/sites/reef"' in text
    assert "run python -X dev manage.py check" in text


def test_names_of_settings_and_never_values() -> None:
    environment = {"TOKEN": CANARY, "FORGOTTEN": None, "EMPTY": ""}
    variables = role_variables("django_app", **FULL["django_app"] | {"django_app_environment": environment})

    given = Templar(loader=DataLoader(), variables=variables).template(variables["__django_app_given"])

    assert given == ["SECRET", "TOKEN", "EMPTY"]


# --- nginx


def block(text: str, header: str) -> list[str]:
    """Give the lines of a block, without those of the blocks within."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() == f"{header} {{":
            break
    else:
        pytest.fail(f"there is no {header}")
    found, depth = [], 1
    for line in lines:
        if line.strip().endswith("{"):
            depth += 1
        elif line.strip() == "}":
            depth -= 1
            if not depth:
                break
        elif depth == 1 and line.strip() and not line.strip().startswith("#"):
            found.append(line.strip())
    return found


@pytest.mark.parametrize("template", [NGINX, SITE, REFUSE, CURTAIN_HTTP, CURTAIN_SERVER, COOKIE])
@pytest.mark.parametrize("full", [False, True], ids=["defaults", "full"])
def test_nginx_is_well_formed(template: str, full: bool) -> None:
    text = render("nginx", template, **variables("nginx", template, full=full))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]

    # A word of several lines goes on in quotes
    assert all(line.endswith((";", "{", "}", "'")) for line in lines), lines
    code = re.sub(r"""'[^'\n]*'|"[^"\n]*\"""", "", text)
    assert code.count("{") == code.count("}")


HEADERS = [
    "add_header X-Request-ID $request_id always;",
    "add_header Referrer-Policy $default_referrer_policy always;",
    "add_header X-Content-Type-Options $default_x_content_type_options always;",
    "add_header X-Frame-Options $default_x_frame_options always;",
]
CHALLENGE = ["root /var/www/letsencrypt;", "default_type text/plain;"]
TLS = {
    "nginx_sites": [{**ITEM["item"], "tls": {"certificate": "/tls/plain.pem", "key": "/tls/plain.key"}}],
    "__nginx_pair_files": {
        "results": [{"item": f"/tls/plain.{name}", "stat": {"exists": True}} for name in ("pem", "key")]
    },
}
OLD, NEW = (
    {"__nginx_build": {"stderr": f"nginx version: nginx/{nginx}\nbuilt with OpenSSL {openssl} 1 Jan 2026\n"}}
    for nginx, openssl in (("1.22.1", "3.0.20"), ("1.26.3", "3.4.0 (running with OpenSSL 3.5.1)"))
)


def test_nginx_site_by_default() -> None:
    text = render("nginx", SITE, **ITEM)

    assert block(text, "upstream plain") == [
        *["server unix:/run/plain.sock max_fails=0;"] * 7,
        "keepalive 4;",
    ]
    assert block(text, "server") == ["listen 80;", "listen [::]:80;", "server_name plain.example;", *HEADERS]
    assert block(text, "location /") == [
        "proxy_pass http://plain;",
        "proxy_http_version 1.1;",
        "proxy_redirect off;",
        "proxy_hide_header X-Request-ID;",
        'proxy_set_header Connection "";',
        "proxy_set_header Host $visitor_host;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_set_header X-Forwarded-Proto $visitor_scheme;",
        "proxy_set_header X-Request-ID $request_id;",
        # Slightly longer than gunicorn's week
        "proxy_send_timeout 604860;",
        "proxy_read_timeout 604860;",
        "proxy_next_upstream error;",
    ]
    assert block(text, "location ^~ /.well-known/acme-challenge/") == CHALLENGE


def test_nginx_site_with_everything_set() -> None:
    text = render("nginx", SITE, **variables("nginx", SITE, full=True))

    assert block(text, "server") == [
        "listen 80;",
        "server_name reef.example *.reef.example;",
        "client_max_body_size 2g;",
        "add_header X-Request-ID $request_id always;",
        "add_header Permissions-Policy $default_permissions_policy always;",
        "include /etc/nginx/curtain/reef.server.conf;",
        "auth_basic $reef_realm;",
        "auth_basic_user_file /etc/nginx/passwords/reef;",
    ]
    assert "include /etc/nginx/curtain/reef.http.conf;" in text.splitlines()
    assert block(text, "location /static/") == [
        "alias /data/sites/reef/static/;",
        "gzip on;",
        "gzip_static on;",
        "open_file_cache max=1000 inactive=60s;",
        "open_file_cache_valid 1s;",
        "open_file_cache_errors on;",
        "access_log off;",
        "add_header Cache-Control $hashed_cache_control;",
        'add_header Permissions-Policy "camera=()" always;',
    ]
    # Without a slash at its end an alias would lead out of the directory
    media = block(text, "location /media/")
    assert media[:2] == ["alias /data/sites/reef/shared/media/;", "gzip on;"]
    assert media[5:8] == [
        "expires 1h;",
        'add_header Content-Security-Policy "sandbox" always;',
        "add_header X-Request-ID $request_id always;",
    ]
    assert block(text, "location /cdn/") == ["rewrite ^/cdn/(.*)$ https://cdn.example/reef/$1 redirect;"]
    assert "proxy_set_header X-Real-IP $remote_addr;" in block(text, "location /")
    assert "proxy_read_timeout 120;" in block(text, "location /")
    assert block(text, "location = /robots.txt") == ["return 204;"]
    assert "keepalive" not in block(text, "upstream reef")[-1]
    shared = [*CHALLENGE, "log_not_found off;", "error_page 404 = @acme_peers;"]
    assert block(text, "location ^~ /.well-known/acme-challenge/") == shared
    assert block(text, "upstream reef_acme_peers") == ["server 10.0.0.7;", "server [2001:db8::7]:80;"]
    assert "proxy_pass http://reef_acme_peers;" in block(text, "location @acme_peers")


@pytest.mark.parametrize("about", [OLD, NEW], ids=["old", "new"])
def test_nginx_site_with_tls(about: dict[str, Any]) -> None:
    text = render("nginx", SITE, item=TLS["nginx_sites"][0], **TLS, **about)
    plain, secure = re.split(r"^server", text, flags=re.MULTILINE)[1:]

    assert block("server" + plain, "server") == ["listen 80;", "listen [::]:80;", "server_name plain.example;"]
    assert block(plain, "location ^~ /.well-known/acme-challenge/") == CHALLENGE
    assert block(plain, "location /") == ["return 301 https://$host$request_uri;"]
    listen = ["listen 443 ssl;", "listen [::]:443 ssl;", "http2 on;"]
    assert block("server" + secure, "server") == [
        *(listen if about is NEW else ["listen 443 ssl http2;", "listen [::]:443 ssl http2;"]),
        "ssl_certificate /tls/plain.pem;",
        "ssl_certificate_key /tls/plain.key;",
        "server_name plain.example;",
        *HEADERS,
        "add_header Strict-Transport-Security $plain_hsts always;",
    ]
    assert block(text, "map $upstream_http_strict_transport_security $plain_hsts")[0] == '"" "max-age=86400";'
    assert "acme-challenge" not in secure


def test_nginx_site_whose_certificate_is_not_there_yet() -> None:
    missing = {"__nginx_pair_files": {"results": [{"item": "/tls/plain.pem", "stat": {"exists": True}}]}}
    item = TLS["nginx_sites"][0]

    assert render("nginx", SITE, item=item, **{**TLS, **missing}) == render("nginx", SITE, **ITEM)


def test_nginx_site_by_http3() -> None:
    item = TLS["nginx_sites"][0]
    site = render("nginx", SITE, item=item, nginx_http3=True, nginx_ipv6=False, **TLS, **NEW)
    refuse = render("nginx", REFUSE, nginx_http3=True, nginx_ipv6=False, **TLS, **NEW)

    assert "listen 443 quic;" in site
    assert """add_header Alt-Svc 'h3=":443"; ma=86400' always;""" in site
    assert "listen 443 quic reuseport default_server;" in refuse


def test_nginx_main_with_tls() -> None:
    old, new = (block(render("nginx", NGINX, **TLS, **about), "http") for about in (OLD, NEW))

    assert "ssl_protocols TLSv1.2 TLSv1.3;" in old
    assert "ssl_ecdh_curve X25519:prime256v1:secp384r1;" in old
    assert "ssl_session_tickets off;" in old
    assert "ssl_ecdh_curve ?X25519MLKEM768:X25519:prime256v1:secp384r1;" in new
    assert "ssl_session_tickets off;" not in new
    modern = block(render("nginx", NGINX, nginx_tls_profile="modern", **TLS, **NEW), "http")
    assert "ssl_protocols TLSv1.3;" in modern
    assert not [line for line in modern if line.startswith("ssl_ciphers")]
    assert not [line for line in block(render("nginx", NGINX), "http") if line.startswith("ssl_")]


@pytest.mark.parametrize(
    ("uri", "hashed"),
    [
        ("/static/app.0123456789ab.css", True),
        ("/static/app.0123456789ab.js.map", False),
        ("/static/app.css", False),
        ("/static/app.0123456789AB.css", False),
        ("/static/0123456789ab/app.css", False),
    ],
)
def test_names_that_change_with_their_content(uri: str, hashed: bool) -> None:
    line = block(render("nginx", NGINX), "map $uri $hashed_cache_control")[0]

    assert bool(re.search(line.split('"')[1].removeprefix("~"), uri)) is hashed


def test_nginx_main_by_default() -> None:
    http = block(render("nginx", NGINX), "http")

    assert "server_tokens off;" in http
    assert "client_max_body_size 40m;" in http
    assert http[-2:] == ["include /etc/nginx/conf.d/*.conf;", "include /etc/nginx/sites-enabled/*;"]


def test_nginx_main_with_everything_set() -> None:
    text = render("nginx", NGINX, **FULL["nginx"])

    assert "user web;" in text
    assert block(text, "events") == ["worker_connections 4096;"]
    http = block(text, "http")
    assert "client_max_body_size 1g;" in http
    assert http[http.index("real_ip_header CF-Connecting-IP;") - 2 :][:2] == [
        "set_real_ip_from 10.0.0.0/8;",
        "set_real_ip_from 192.0.2.1;",
    ]
    assert block(text, "geo $realip_remote_addr $from_trusted_proxy") == ["default 0;", "10.0.0.0/8 1;", "192.0.2.1 1;"]
    assert http[-3:-1] == ["proxy_buffers 16 8k;", "include /etc/nginx/conf.d/*.conf;"]


@pytest.mark.parametrize(
    ("ipv6", "listen"),
    [(True, ["listen 80 default_server;", "listen [::]:80 default_server;"]), (False, ["listen 80 default_server;"])],
)
def test_unknown_hosts_are_refused(ipv6: bool, listen: list[str]) -> None:
    assert block(render("nginx", REFUSE, nginx_ipv6=ipv6), "server") == [*listen, "server_name _;", "return 444;"]


def test_unknown_hosts_are_refused_with_tls() -> None:
    secure = render("nginx", REFUSE, **TLS).rpartition("server {")[2]

    assert block("server {" + secure, "server") == [
        "listen 443 ssl default_server;",
        "listen [::]:443 ssl default_server;",
        "server_name _;",
        "ssl_reject_handshake on;",
    ]


ASKING = {
    **TLS["nginx_sites"][0],
    "password": {"realm": "Staging", "addresses": ["192.0.2.0/24"], "paths": ["/api/", "/version.txt"]},
    "noindex": True,
    "banner": "Staging & <b>",
    "curtain": {},
}


def test_nginx_site_with_a_password() -> None:
    text = render("nginx", SITE, item=ASKING, nginx_passwords={"plain": {"ann": CANARY}}, **TLS, **NEW)
    plain, secure = re.split(r"^server", text, flags=re.MULTILINE)[1:]

    assert {"auth_basic $plain_realm;", "auth_basic_user_file /etc/nginx/passwords/plain;"} < set(
        block("server" + secure, "server")
    )
    assert "auth_basic" not in plain
    assert block(text, "geo $plain_trusted") == ["default 0;", "192.0.2.0/24 1;"]
    # Tokens are the application's
    header = "map $http_authorization $plain_authorization"
    assert judged(text, header, "Basic YTpi") == judged(text, header, "basic YTpi") == '""'
    assert judged(text, header, "Token x") == "$http_authorization"
    assert "proxy_set_header Authorization $plain_authorization;" in block(secure, "location /")


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        ("0 /", True),
        ("1 /", False),
        ("0 /static/x.css", True),
        ("0 /api/", False),
        ("0 /api/sources", False),
        ("0 /api", True),
        ("0 /x/api/", True),
        ("0 /version.txt", False),
        ("0 /version.txt/x", True),
        ("0 /x\n1 ", True),
        ("0 /.well-known/acme-challenge/token", False),
        ("0 /.well-known/security.txt", True),
        ("0 /.curtain/drawn.html", False),
    ],
)
def test_whom_the_site_asks_for_a_password(request_: str, asked: bool) -> None:
    text = render("nginx", SITE, item=ASKING, nginx_passwords={"plain": {"ann": CANARY}}, **TLS, **NEW)

    assert judged(text, 'map "$plain_trusted $uri" $plain_realm', request_) == ('"Staging"' if asked else "off")


def test_by_default_the_host_itself_is_not_asked() -> None:
    text = render("nginx", SITE, **ITEM, nginx_passwords={"plain": {"ann": CANARY}})

    assert block(text, "geo $plain_trusted") == ["default 0;", "127.0.0.1 1;", "::1 1;"]
    assert 'default "plain.example";' in block(text, 'map "$plain_trusted $uri" $plain_realm')
    assert ".curtain" not in text


def test_nginx_site_that_is_no_search_engines_business() -> None:
    text = render("nginx", SITE, item=ASKING, **TLS, **NEW)
    plain, secure = re.split(r"^server", text, flags=re.MULTILINE)[1:]
    header = 'add_header X-Robots-Tag "noindex, nofollow" always;'

    assert header in block("server" + plain, "server")
    assert header in block("server" + secure, "server")
    assert "proxy_hide_header X-Robots-Tag;" in block(secure, "location /")
    assert block(secure, "location = /robots.txt")[1] == 'return 200 "User-agent: *\\nDisallow: /\\n";'
    files = [{"location": "/static/", "path": "/srv/static"}]
    assert header in block(render("nginx", SITE, item={**ASKING, "files": files}, **TLS, **NEW), "location /static/")
    assert header in block(render("nginx", CURTAIN_SERVER, **curtain(ASKING)), "location ^~ /.curtain/")


def test_nginx_site_with_a_banner() -> None:
    text = render("nginx", SITE, item=ASKING, **TLS, **NEW).rpartition("server {")[2]

    filtered = [line for line in block(text, "location /") if line.startswith("sub_filter ")]
    assert len(filtered) == 1
    assert "Staging &amp; &lt;b&gt;</div></body>';" in filtered[0]
    assert 'proxy_set_header Accept-Encoding "";' in block(text, "location /")
    assert block(text, "location = /.banner.css")[0] == "default_type text/css;"


# --- the curtain


def judged(text: str, variable: str, value: str) -> str:
    """Look a value up in a map as nginx does: the first regular expression that matches."""
    lines = [line for line in block(text, variable) if line != "volatile;"]
    default = next(line.split()[1] for line in lines if line.startswith("default "))
    for line in lines:
        quoted = re.fullmatch(r'"(~\*?)(.*)" (\S+);', line)
        if quoted and re.search(quoted[2], value, re.IGNORECASE if quoted[1] == "~*" else 0):
            return quoted[3]
    return default.rstrip(";")


@pytest.mark.parametrize(
    ("request_", "drawn"),
    [
        ("0 0 /", True),
        ("0 0 /data/", True),
        ("1 0 /", False),
        ("0 1 /", False),
        ("0 0 /health/", False),
        ("0 0 /health/database", False),
        ("0 0 /health", True),
        ("0 0 /version.txt", False),
        ("0 0 /versionXtxt", True),
        ("0 0 /version.txt/x", True),
        ("0 0 /x/health/", True),
        ("0 0 /x\n0 1 /", True),
        ("0 0 /.well-known/acme-challenge/token", False),
        ("0 0 /.well-known/security.txt", True),
        ("0 0 /.curtain/drawn.html", False),
    ],
)
def test_whom_the_curtain_stops(request_: str, drawn: bool) -> None:
    text = render("nginx", CURTAIN_HTTP, **variables("nginx", CURTAIN_HTTP, full=True))
    file = judged(text, 'map "$reef_by_address $reef_by_cookie $uri" $reef_curtain', request_)

    assert file == ("/var/lib/nginx-curtain/reef/drawn" if drawn else "/dev/null")


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ("/  */*", "html"),
        ("/  text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("/  application/json", "json"),
        ("/  application/json, text/plain, */*", "json"),
        ("/  application/vnd.api+json", "json"),
        ("/  application/problem+JSON", "json"),
        ("/  text/html, application/json;q=0.5", "html"),
        ("/ XMLHttpRequest */*", "json"),
        ("/ xmlhttprequest text/html", "json"),
        ("/ other */*", "html"),
        ("/data/1?x=y  text/html", "json"),
        ("/datax  text/html", "html"),
        ("/x/data/  text/html", "html"),
        ("/  ", "html"),
    ],
)
def test_who_gets_json(request_: str, kind: str) -> None:
    text = render("nginx", CURTAIN_HTTP, **variables("nginx", CURTAIN_HTTP, full=True))

    header = 'map "$request_uri $http_x_requested_with $http_accept" $reef_curtain_format'
    assert judged(text, header, request_) == kind


def test_operators() -> None:
    text = render("nginx", CURTAIN_HTTP, **variables("nginx", CURTAIN_HTTP, full=True))
    plain = render("nginx", CURTAIN_HTTP, **variables("nginx", CURTAIN_HTTP, full=False))

    assert block(text, "geo $reef_by_address") == ["default 0;", "192.0.2.0/24 1;", "2001:db8::1 1;"]
    assert block(plain, "geo $plain_by_address") == ["default 0;", "127.0.0.1 1;", "::1 1;"]
    assert "cookie" not in plain
    assert block(plain, 'map "$plain_by_address 0 $uri" $plain_curtain')[1] == (
        "default /var/lib/nginx-curtain/plain/drawn;"
    )


def test_an_operators_cookie() -> None:
    cookie = render("nginx", COOKIE, **variables("nginx", COOKIE, full=True))
    header = "map $cookie_curtain $reef_by_cookie"

    assert judged(cookie, header, CANARY * 2) == "1"
    # nginx ignores case in what is no regular expression
    assert judged(cookie, header, CANARY.upper() * 2) == "0"
    assert judged(cookie, header, f"{CANARY * 2}x") == "0"
    assert judged(cookie, header, "") == "0"


def test_the_curtain_has_the_sites_headers() -> None:
    site = {**TLS["nginx_sites"][0], "curtain": {}}
    headers = {"X-Frame-Options": "DENY", "content-security-policy": "default-src 'self'"}
    text = render("nginx", CURTAIN_SERVER, nginx_security_headers=headers, **TLS, **curtain(site))
    added = [line for line in block(text, "location ^~ /.curtain/") if line.startswith("add_header")]

    assert 'add_header X-Frame-Options "DENY" always;' in added
    assert "add_header Strict-Transport-Security max-age=86400 always;" in added
    # Two policies would both be in force, and the site's knows nothing of the page's script
    assert [line for line in added if "security-policy" in line.lower()] == [
        line for line in added if line.startswith("add_header Content-Security-Policy \"default-src 'none';")
    ]


@pytest.mark.parametrize("reason", ["drawn", "down"])
@pytest.mark.parametrize("full", [False, True], ids=["defaults", "full"])
def test_the_page_is_whole(reason: str, full: bool) -> None:
    site = FULL_ITEM["item"] if full else {**ITEM["item"], "curtain": {}}
    text = render("nginx", PAGE, **curtain(site, reason))

    class Page(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.addresses: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "link"):
                self.open.append(tag)
            self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.addresses == ["data:,"], "it needs nothing from a site that is not there"
    assert "url(" not in text
    assert text.count("<!--message-->") == 1
    assert ("@until@" in text) is (reason == "drawn")
    assert "<Reef>" not in text
    assert ("Coral &amp; &lt;Reef&gt;" in text) is full
    assert ("<svg></svg>" in text) is full


def test_the_page_of_a_site_that_is_down_has_other_words() -> None:
    drawn, down = (
        render("nginx", PAGE, **curtain({**ITEM["item"], "curtain": {}}, reason)) for reason in ("drawn", "down")
    )

    assert "<h1>Under maintenance</h1>" in drawn
    assert "<h1>Not available for a moment</h1>" in down
    assert json.loads(render("nginx", DOWN, **curtain({**ITEM["item"], "curtain": {}}))) == {
        "status": 503,
        "detail": "The site does not answer at the moment. Please stay, it will be back soon.",
        "until": None,
    }


def test_the_options_of_a_curtain_have_the_documented_defaults() -> None:
    spec = load(ROLES / "nginx" / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    options = spec["nginx_sites"]["options"]["curtain"]["options"]
    documented = {name: option["default"] for name, option in options.items() if "default" in option}

    assert documented == load(ROLES / "nginx" / "vars" / "main.yml")["__nginx_curtain"]


def test_the_sandbox_takes_settings() -> None:
    template = "etc/systemd/system/nginx.service.d/sandbox.conf.j2"
    service = unit(render("nginx", template, **FULL["nginx"]))["Service"]

    assert service["ProtectHome"] == ["yes", "read-only"]
    assert "CAP_SYS_ADMIN" not in service["CapabilityBoundingSet"][0]


HEADERS_THAT_PROTECT = [
    "Content-Security-Policy",
    "Permissions-Policy",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
]


@pytest.mark.parametrize("full", [False, True], ids=["defaults", "full"])
@pytest.mark.parametrize("about", [OLD, NEW], ids=["old", "new"])
def test_gixy_finds_nothing(tmp_path: Path, full: bool, about: dict[str, Any]) -> None:
    settings = {**(FULL["nginx"] if full else {}), **TLS, **about, "nginx_http3": full and about is NEW}
    sites = tmp_path / "sites-enabled"
    sites.mkdir()
    (sites / "refuse").write_text(render("nginx", REFUSE, **settings))
    for item in [*TLS["nginx_sites"], *([FULL_ITEM["item"]] if full else [])]:
        (sites / item["name"]).write_text(render("nginx", SITE, **settings, item=item))
        if "curtain" in item:
            for template, name in ((CURTAIN_HTTP, "http"), (CURTAIN_SERVER, "server"), (COOKIE, "cookie")):
                values = {"item": item["name"]} if template == COOKIE else curtain(item)
                text = render("nginx", template, **settings, **values)
                (tmp_path / f"{item['name']}.{name}.conf").write_text(text)
    for file in [*tmp_path.glob("*.conf"), *sites.iterdir()]:
        file.write_text(file.read_text().replace("/etc/nginx/curtain", str(tmp_path)))
    main = tmp_path / "nginx.conf"
    main.write_text(render("nginx", NGINX, **settings).replace("/etc/nginx/sites", f"{tmp_path}/sites"))

    # The request's id is left out on purpose where requests are not logged
    protective = ",".join(HEADERS_THAT_PROTECT)
    gixy = [str(Path(sys.executable).with_name("gixy")), "--add-header-redefinition-headers", protective]

    report = json.loads(subprocess.run([*gixy, "--format", "json", main], capture_output=True, check=False).stdout)

    assert report == []
    sites.joinpath("bad").write_text("server { location /i { proxy_set_header X $uri; return 301 https://x$uri; } }")
    assert subprocess.run([*gixy, main], capture_output=True, check=False).returncode


# --- runserver


def test_runserver_on_a_server_is_the_loopbacks_alone() -> None:
    template = "etc/systemd/system/runserver.service.j2"
    units = [
        unit(render("runserver", template, **variables("runserver", template, full=full))) for full in (False, True)
    ]

    for each in units:
        assert "Install" not in each, "a reboot ends it"
        assert each["Service"]["IPAddressDeny"] == ["any"]
    plain, full = (each["Service"]["ExecStart"][0].replace('"', "") for each in units)
    release = "--instance 20261101T080000Z-89abcdef01"
    assert plain == (
        f"/srv/www/reef/run {release} --environment /srv/www/reef/runserver/environment.json "
        "python manage.py runserver --noreload 127.0.0.1:8000"
    )
    assert full.endswith("python -X dev manage.py runserver --noreload [::1]:8001 --insecure")
    assert units[0]["Service"]["IPAddressAllow"] == ["localhost"]


def test_settings_are_laid_over_the_sites_own() -> None:
    settings = render("runserver", OVER, **variables("runserver", OVER, full=True))

    assert "\nfrom config.settings.staging import *  # noqa: F403 - all of them\n" in settings
    assert settings.endswith("DEBUG = True\nALLOWED_HOSTS = ['127.0.0.1']\n")
    assert value("runserver", "__runserver_environment", full=True) == {
        "DJANGO_SETTINGS_MODULE": "runserver_settings",
        "PYTHONPATH": "/data/sites/reef/runserver",
        "PYTHONUNBUFFERED": "1",
        "SECRET": CANARY,
    }
    # Without them the site's own are taken, from where it has them
    assert value("runserver", "__runserver_environment", full=False) == {"PYTHONUNBUFFERED": "1"}


def test_the_tunnel_is_told_to_the_letter() -> None:
    words = value("runserver", "__runserver_words", full=True)

    assert "\n  ssh -L 8001:[::1]:8001 -p 2222 anna@staging.reef.example -N\n" in words
    assert words.endswith(
        "\n  Host reef-runserver\n    HostName staging.reef.example\n    User anna\n    Port 2222\n"
        "    LocalForward 8001 [::1]:8001\n    SessionType none\n"
    )
    server = {"runserver_place": "server", "runserver_ssh_host": "away.example"}
    plain = value("runserver", "__runserver_words", full=False, **server)
    assert "\n  ssh -L 8000:127.0.0.1:8000 away.example -N\n" in plain
    assert "    HostName away.example\n    LocalForward 8000 127.0.0.1:8000\n" in plain
    assert "ssh" not in value("runserver", "__runserver_words", full=False, runserver_place="server")


def value(role: str, name: str, *, full: bool, **more: Any) -> Any:
    """Give a private variable of a role."""
    given = role_variables(role, **variables(role, "", full=full), **more)
    return Templar(loader=DataLoader(), variables=given).template(given[name])


# --- Postfix


def settings(text: str) -> dict[str, str]:
    """Read a main.cf; a name may be there only once."""
    lines = [line.partition(" =") for line in text.splitlines() if line and not line.startswith("#")]
    found = {name: value.strip() for name, _equals, value in lines}
    assert len(found) == len(lines)
    return found


def table(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_postfix_by_default() -> None:
    main = settings(render("postfix", "etc/postfix/main.cf.j2"))

    wanted = {
        "myhostname": "www.reef.example",
        "myorigin": "www.reef.example",
        "inet_interfaces": "loopback-only",
        "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8, [::1]/128",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "relayhost": "",
        # Debian 13 has none by itself, and sends in clear
        "smtp_tls_security_level": "may",
        "smtp_dns_support_level": "enabled",
        "smtpd_tls_security_level": "none",
        "smtpd_tls_chain_files": "",
        "smtp_tls_chain_files": "",
        "smtp_sasl_auth_enable": "no",
        "smtp_sasl_password_maps": "",
        # An error of the signer must not become one of the site's visitor
        "milter_default_action": "accept",
        "smtpd_milters": "unix:opendkim/opendkim.sock",
        "non_smtpd_milters": "$smtpd_milters",
    }
    assert {name: main[name] for name in wanted} == wanted
    assert table(render("postfix", "etc/postfix/virtual.j2")) == ["root ops@away.example", "postmaster root"]
    assert table(render("postfix", "etc/postfix/tls_policy.j2")) == []


def test_postfix_with_everything_set() -> None:
    main = settings(render("postfix", "etc/postfix/main.cf.j2", **FULL["postfix"]))

    chain = "/etc/ssl/reef.key, /etc/ssl/reef.pem"
    wanted = {
        "inet_interfaces": "10.0.0.2, 127.0.0.1",
        "inet_protocols": "all",
        "relayhost": "[relay.example]:587",
        "smtp_tls_security_level": "encrypt",
        # One destination wants DANE
        "smtp_dns_support_level": "dnssec",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_chain_files": chain,
        "smtp_tls_chain_files": chain,
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": "texthash:/etc/postfix/relay_password",
        "maximal_queue_lifetime": "12h",
        "bounce_queue_lifetime": "12h",
        # The site's own settings win
        "smtpd_banner": "reef",
        "header_size_limit": "4096",
    }
    assert {name: main[name] for name in wanted} == wanted
    assert table(render("postfix", "etc/postfix/virtual.j2", **FULL["postfix"])) == [
        "root ops@away.example",
        "postmaster root",
        "reef root, reef@away.example",
        "cron root",
    ]
    # A password goes only to who proves to be the relay
    assert table(render("postfix", "etc/postfix/tls_policy.j2", **FULL["postfix"])) == [
        "[relay.example]:587 secure",
        "away.example secure match=mx.away.example",
        ".old.example dane",
    ]


def test_postfix_without_dkim() -> None:
    main = settings(render("postfix", "etc/postfix/main.cf.j2", postfix_dkim=False))

    assert main["smtpd_milters"] == ""
    assert "opendkim" not in render(
        "postfix", "etc/systemd/system/postfix.service.d/sandbox.conf.j2", postfix_dkim=False
    )


def test_the_first_selector_signs_for_every_domain() -> None:
    lines = table(render("postfix", "etc/opendkim.conf.j2", **FULL["postfix"]))

    assert (
        "KeyTable csl:reef.example=reef.example:s2:/etc/dkimkeys/reef.example/s2.private,"
        "survey.example=survey.example:s2:/etc/dkimkeys/survey.example/s2.private"
    ) in lines
    assert "SigningTable csl:reef.example=reef.example,survey.example=survey.example" in lines
    assert "InternalHosts csl:127.0.0.0/8,2001:db8::/32,10.0.0.1" in lines


def test_postfix_is_restarted_where_it_shall_listen_elsewhere() -> None:
    """It does not do that at a reload, so the drop-in that it is restarted for has to change."""
    template = "etc/systemd/system/postfix.service.d/sandbox.conf.j2"

    texts = {
        render("postfix", template, **values)
        for values in ({}, {"postfix_ipv6": True}, {"postfix_interfaces": ["all"]})
    }
    assert len(texts) == 3


def test_every_role_has_its_required_variables_here() -> None:
    assert set(NAMES) == set(REQUIRED) == set(FULL)
