"""Two sites of other shapes than the first, from bare hosts to an update and back, by inventory alone."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import pytest
from shared.sites import Site
from shared.visitor import changed

LONG = f"/?{'x' * 1500}"


def words(result: Any) -> str:
    return " ".join(result.stdout.split())


# --- from nothing


def test_tide_is_deployed(tide: Site) -> None:
    assert changed(tide.play("site")) > 0
    assert tide.version == "1.0"


def test_kelp_is_deployed_beside_it(tide: Site, kelp: Site) -> None:
    assert changed(kelp.play("site")) > 0
    assert kelp.version == "v1"
    assert tide.version == "1.0"


@pytest.mark.on("debian-12")
def test_a_second_run_changes_nothing_of_tide(tide: Site, kelp: Site) -> None:
    assert changed(tide.play("site")) == 0
    assert (tide.version, kelp.version) == ("1.0", "v1")


@pytest.mark.on("debian-13")
def test_a_second_run_changes_nothing_of_kelp(tide: Site, kelp: Site) -> None:
    assert changed(kelp.play("site")) == 0
    assert (tide.version, kelp.version) == ("1.0", "v1")


def test_people_can_use_them(tide: Site, kelp: Site) -> None:
    assert changed(tide.play("smoke")) == 0
    assert changed(kelp.play("smoke")) == 0


# --- tide: a package, an INI file, SQLite, static files by the application


def test_a_package_is_installed_and_nothing_checked_out(tide: Site) -> None:
    assert tide.host.check_output(f"ls {tide.root}/current/src") == "requirements.txt"
    assert "/venv/lib/" in tide.run("python -c 'import tide; print(tide.__file__)'")


def test_requirements_and_constraints_of_the_host(tide: Site) -> None:
    asked = "python -c 'import gunicorn, django; print(gunicorn.__version__, django.__version__)'"
    gunicorn, django = tide.run(asked).split()
    assert gunicorn.startswith("27.0.")
    assert django.startswith("5.2.")


def test_management_commands_without_a_manage_py(tide: Site) -> None:
    assert "no issues" in tide.run("python -m tide check 2>&1")


def test_the_virtual_environment_is_made_by_another_command(tide: Site) -> None:
    assert "the-tide" in tide.host.file(f"{tide.root}/current/venv/pyvenv.cfg").content_string


def test_the_application_serves_its_static_files(tide: Site) -> None:
    style = tide.get("/static/tide/tide.css")
    assert (style.status, style.text) == (200, "body { color: #0b6e83; }\n")
    assert tide.host.check_output(f"find {tide.root}/static -type f") == ""


def test_settings_in_an_ini_file_beside_the_tree(tide: Site) -> None:
    asked = "from django.conf import settings; print(settings.DEBUG, settings.ALLOWED_HOSTS)"
    assert tide.run(f'python -m tide shell -v 0 -c "{asked}"') == "False ['tide.test']"


def test_it_runs_outside_the_release(tide: Site) -> None:
    assert tide.run("pwd") == f"{tide.root}/shared/work"


def test_home_is_writable_where_it_is_asked_for(tide: Site) -> None:
    assert tide.run('touch "$HOME/x" && rm "$HOME/x" && echo "$HOME"') == f"{tide.root}/shared/home"


def test_directories_have_owner_group_and_mode(tide: Site) -> None:
    folder = tide.host.file(f"{tide.root}/shared/db")
    assert (folder.user, folder.group, folder.mode) == ("tide", "adm", 0o2770)
    assert tide.host.file(f"{tide.root}/shared/work").user == "root"
    assert tide.host.file(f"{tide.root}/shared/db/tide.sqlite3").group == "adm"


def test_the_site_has_further_groups(tide: Site) -> None:
    assert "adm" in tide.run("id -nG").split()
    gid = tide.host.group("adm").gid
    pid = tide.host.check_output("pgrep -u tide -f gunicorn | head -n 1")
    assert str(gid) in tide.host.check_output(f"sed -n 's/^Groups://p' /proc/{pid}/status").split()


def test_others_reach_the_application_on_a_port(tide: Site) -> None:
    there = ("--connect-to", "::127.0.0.1:8001")
    assert tide.ask("/", *there) == "200"
    # An argument for gunicorn
    assert tide.ask(LONG, *there) == "414"


@pytest.mark.on("debian-13")
def test_settings_that_fall_back_to_debug_are_not_let_in(tide: Site) -> None:
    """Without these settings tide runs with DEBUG and a known key, and its pages are as good as ever."""
    data = {"site": {"database": f"{tide.root}/shared/db/tide.sqlite3"}}
    less = {"site_config_files": [{"path": "tide.ini", "format": "ini", "data": data}], "gunicorn_probe_timeout": 4}
    result = tide.play("update", "-e", json.dumps(less))
    assert result.returncode != 0
    assert "DEBUG = True" in words(result), words(result)[-1500:]
    assert (tide.get("/nothing").status, tide.version) == (404, "1.0")
    assert "debug = no" in tide.host.file(f"{tide.root}/shared/tide.ini").content_string


# --- kelp: a repository behind SSH, .env, https, several hosts, two databases, a queue


def test_the_deploy_key_is_nobody_elses(kelp: Site) -> None:
    key = kelp.host.file("/var/lib/kelp-deploy/.ssh/deploy_key")
    assert (key.user, key.mode) == ("kelp-deploy", 0o600)
    assert kelp.host.run("runuser -u kelp -- cat /var/lib/kelp-deploy/.ssh/deploy_key").rc != 0


def test_settings_in_the_tree(kelp: Site) -> None:
    assert kelp.host.file(f"{kelp.root}/current/src/web/.env").linked_to == f"{kelp.root}/shared/kelp.env"
    asked = "from django.conf import settings; print(settings.SECRET_KEY)"
    assert (
        kelp.run(f'python manage.py shell -v 0 -c "{asked}"')
        == "lab-only-'5d$1f #0b8e\"-7c1e90ab44d2f83b6a05e7d9c2f1b8"
    )


def test_https_as_the_site_understands_it(kelp: Site) -> None:
    socket = ("--unix-socket", f"{kelp.root}/current/app.sock")
    assert kelp.ask("/", *socket) == "301"
    assert kelp.ask("/", *socket, "--header", "X-Forwarded-Protocol: https") == "200"
    # Whatever a visitor claims, nginx says what is so
    assert kelp.get("/", X_Forwarded_Protocol="http").status == 200


def test_several_hosts(kelp: Site) -> None:
    for name in ("kelp.test", "www.kelp.test", "forests.test"):
        assert "Kelp forests" in kelp.get("/", name).text


def test_the_size_of_a_body(kelp: Site) -> None:
    # Not allowed, which only nginx says before the whole of it is there
    assert kelp.get("/", method="POST", body=b"x" * 3_000_000).status == 413


def test_a_database_that_is_loaded_once(kelp: Site) -> None:
    assert "seas 3" in kelp.get("/").text


def test_the_repositorys_gunicorn_file(kelp: Site) -> None:
    assert kelp.get("/?x").status == 200
    assert kelp.get(LONG).status == 414
    assert int(kelp.host.check_output("pgrep -u kelp -fc 'gunicorn --config'")) == 2, "a master and one worker"


def test_media_elsewhere(kelp: Site) -> None:
    folder = kelp.host.file("/srv/media/kelp")
    assert (folder.user, folder.group, folder.mode) == ("kelp", "www-data", 0o2750)
    kelp.run("umask 027; echo coral > /srv/media/kelp/coral.txt")
    assert kelp.get("/media/coral.txt").text == "coral\n"
    unit = kelp.host.check_output(f"basename $(readlink {kelp.root}/current/app.sock) .sock")
    writable = kelp.host.check_output(f"systemctl show --value --property=ReadWritePaths kelp@{unit}.service")
    assert writable.split() == [f"{kelp.root}/shared", "/srv/media/kelp"]


def test_steps_before_and_after_static_files_and_after_migrations(kelp: Site) -> None:
    # Compiled into the source, which the site itself cannot write
    assert "Kelpwouden" in kelp.get("/", Accept_Language="nl").text
    compiled = kelp.host.file(f"{kelp.root}/current/src/web/locale/nl/LC_MESSAGES/django.mo")
    assert (compiled.user, compiled.group) == ("kelp-deploy", "kelp")
    # Of what was collected
    style = re.findall(r'/static/(css/kelp\.\w+\.css)"', kelp.get("/").text)
    assert style[0] in kelp.get("/static/assets.txt").text.split()
    # Data, once for all releases
    assert "places 2" in kelp.get("/").text
    assert kelp.host.check_output(f"ls {kelp.root}/steps") == "places"


def test_a_program_beside_the_site(kelp: Site) -> None:
    shown = "systemctl show --value --property=ActiveState,MemoryMax memcached"
    assert set(kelp.host.check_output(shown).split()) == {"active", str(128 * 2**20)}
    assert kelp.run("python -c 'import socket; socket.create_connection((\"127.0.0.1\", 11211), 5)' && echo ok") == "ok"


def test_workers_and_timers(kelp: Site) -> None:
    listing = "systemctl list-units --plain --no-legend --state=active 'kelp.*'"
    assert {line.split(".")[1].split("@")[0] for line in kelp.host.check_output(listing).splitlines()} == {
        "queue",
        "sessions",
    }


# --- updates and back


def test_updates(tide: Site, kelp: Site) -> None:
    older = kelp.release
    job = kelp.run("python manage.py add_job 8")
    time.sleep(1)  # the queue takes it up
    both = [threading.Thread(target=lambda: results.append(tide.play("update", "-e", "version=2.0")))]
    results: list[Any] = []
    for thread in both:
        thread.start()
    result = kelp.play("update", "-e", "version=v2")
    for thread in both:
        thread.join()

    assert changed(result) > 0
    assert changed(results[0]) > 0
    assert (tide.version, kelp.version) == ("2.0", "v2")
    # SIGINT lets the queue end its job
    assert f"job {job} by {older}" in kelp.get("/").text
    assert "coralnet-sample-tide==2.0" in words(results[0])
    assert "tide.0002_reading_place" in words(results[0])
    assert "places 2" in kelp.get("/").text
    assert "Kelpwouden" in kelp.get("/", Accept_Language="nl").text


def test_ways_back(tide: Site, kelp: Site) -> None:
    assert changed(tide.play("rollback")) > 0
    assert changed(kelp.play("rollback")) > 0
    assert (tide.version, kelp.version) == ("1.0", "v1")
    assert "seas 3" in kelp.get("/").text


def test_no_unit_failed(host: Any) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
