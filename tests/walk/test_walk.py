"""The walk through the real sample site: it passes, leaves nothing, and is ended by whatever is broken, where it is."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._smoke import SmokeError
from sample_site import ACCOUNT, ADMINISTRATION, HOST, REGISTRATION, SHELL, STEPS, SUPERUSER, Site

ALL = [*REGISTRATION, *STEPS, *ADMINISTRATION]


@dataclass(frozen=True)
class Broken:
    """A mistake in the site, the step that must meet it, and words that the message must have."""

    step: str
    file: str
    old: str
    new: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.step}: {self.new[:30]}"


SEND = 'send_mail("Activate your account", body, None, [user.email])'
SAMPLE_ADMIN = "admin.site.register([Annotation, Image, Label, Source])"
USER = "__import__('django.contrib.auth.models', fromlist=['User']).User"
REDIRECT = "__import__('django.views.generic', fromlist=['RedirectView']).RedirectView"

BROKEN = [
    Broken(
        "Register",
        "accounts/forms.py",
        "email = forms.EmailField()",
        "email = forms.EmailField(max_length=5)",
        ("/accounts/register/", "status 200 instead of 302", "Ensure this value has at most 5 characters"),
    ),
    Broken(
        "Register", "accounts/activation.py", SEND, "1 / 0", ("status 500", "ZeroDivisionError at /accounts/register/")
    ),
    Broken(
        "Register",
        "accounts/urls.py",
        'path("register/"',
        'path("sign-up/"',
        ("status 404 instead of 200", "Page not found"),
    ),
    Broken(
        "Read the activation mail",
        "accounts/activation.py",
        SEND,
        "pass",
        ("@smoke.invalid", "no mail to", "1 seconds"),
    ),
    Broken(
        "Read the activation mail",
        "accounts/activation.py",
        "request.build_absolute_uri(path)",
        '"https://elsewhere.test" + path',
        ("the mail does not contain",),
    ),
    Broken(
        "Activate the account",
        "accounts/activation.py",
        "return user if tokens.check_token(user, token) else None",
        "return None",
        ("it led to /,", "This activation link is not valid, or was used already."),
    ),
    Broken(
        "Log in",
        "accounts/views.py",
        "user.is_active = True",
        "user.is_active = False",
        ("/accounts/login/", "status 200", "Please enter a correct username and password"),
    ),
    Broken(
        "Log in",
        "config/settings/local.py",
        "DEBUG = True",
        "DEBUG = SESSION_COOKIE_SECURE = True",
        ("/accounts/login/", "the page does not contain 'Log out smoke", "Log in"),
    ),
    Broken(
        "Create a source",
        "sources/models.py",
        "max_length=100",
        "max_length=5",
        ("/sources/new/", "status 200 instead of 302 or 303", "Ensure this value has at most 5 characters"),
    ),
    Broken(
        "Create a source",
        "sources/views.py",
        "def source_new(request):",
        "def source_new(request):\n    raise __import__('django.core.exceptions', fromlist=['x']).PermissionDenied",
        ("/sources/new/", "status 403 instead of 200", "403 Forbidden"),
    ),
    Broken(
        "Upload an image",
        "sources/patches.py",
        '"JPEG")',
        '"NONE")',
        ("/sources/", "status 500", "KeyError at /sources/"),
    ),
    Broken("Upload an image", "templates/sources/source.html", "enctype", "data-enctype", ("/sources/", "enctype")),
    Broken(
        "See its patch",
        "templates/sources/source.html",
        "{{ image.patch.url }}",
        "{{ image.patch.url }}.gone",
        ("status 404",),
    ),
    Broken(
        "See the image's page",
        "sources/views.py",
        "source__in=Source.objects.visible_to(request.user)",
        "source__in=Source.objects.none()",
        ("/images/", "status 404", "Page not found at /images/"),
    ),
    Broken(
        "See the image itself",
        "templates/sources/image.html",
        "{{ image.file.url }}",
        "{{ image.patch.url }}",
        ("the header Content-Type says 'image/jpeg'",),
    ),
    Broken(
        "Add a label",
        "sources/forms.py",
        "if self.instance.source.labels.filter(code=code).exists():",
        "if code:",
        ("labelset/", "status 200", "This source has a label with this code already."),
    ),
    Broken(
        "Annotate the image",
        "sources/forms.py",
        "queryset = image.source.labels",
        "queryset = image.source.labels.none()",
        ("status 200", "Select a valid choice"),
    ),
    Broken(
        "See the annotation's history",
        "sources/views.py",
        'image.annotations.select_related("label", "author")',
        "image.annotations.none()",
        ("/images/", "the page does not contain", "12, 34"),
    ),
    Broken("Log out", "accounts/urls.py", "auth.LogoutView.as_view()", f"{REDIRECT}.as_view(url='/')", ("the page",)),
    Broken(
        "Log in as superuser",
        "templates/admin/base_site.html",
        "{% load static %}",
        "{% load nothing %}",
        ("/admin/login/", "status 500", "TemplateSyntaxError"),
    ),
    Broken(
        "See the account in the admin",
        "sources/admin.py",
        SAMPLE_ADMIN,
        f"admin.site._registry[{USER}].get_queryset = lambda request: {USER}.objects.none()",
        ("/admin/auth/user/?q=smoke", "the page does not contain"),
    ),
    Broken(
        "Log the superuser out",
        "sources/admin.py",
        SAMPLE_ADMIN,
        "admin.site.logout = lambda request, **more: 1 / 0",
        ("/admin/", "status 500", "ZeroDivisionError"),
    ),
]


def failure(site: Site, **changes: object) -> str:
    with pytest.raises(SmokeError) as caught:
        site.outing(**changes).go()
    return str(caught.value)


def test_the_walk_passes_and_leaves_nothing(site: Site) -> None:
    before = site.things()
    outing = site.outing()

    assert outing.mistakes() == []
    outing.go()

    assert [done.name for done in outing.done] == [step["name"] for step in ALL]
    assert outing.removed == {
        "auth.User": 2,
        "sources.Source": 1,
        "sources.Label": 1,
        "sources.Image": 1,
        "sources.Annotation": 1,
    }
    assert site.things() == before
    assert site.slip.read_text() == ""
    assert site.slip.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate for the site's name, with its key."""
    path = tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    words += ["-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(words, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def test_the_walk_passes_over_tls(copy: Callable[[], Site], certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With cookies for TLS alone, and Django's look at where a form comes from."""
    site = copy()
    site.edit("config/settings/local.py", "DEBUG = True", "DEBUG = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True")
    site.start(certificate)
    before = site.things()

    assert "CERTIFICATE_VERIFY_FAILED" in failure(site)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    outing = site.outing()
    outing.go()

    assert len(outing.done) == len(ALL)
    assert site.things() == before


def test_every_step_has_a_mistake_that_it_meets() -> None:
    assert {broken.step for broken in BROKEN} == {step["name"] for step in ALL}


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_what_is_broken_is_met_by_its_step(copy: Callable[[], Site], broken: Broken) -> None:
    site = copy()
    site.edit(broken.file, broken.old, broken.new)
    site.start()
    before = site.things()
    outing = site.outing()

    with pytest.raises(SmokeError) as caught:
        outing.go()

    message = str(caught.value)
    assert message.startswith(f"{broken.step}: ")
    for word in broken.words:
        assert word in message
    names = [step["name"] for step in ALL]
    assert [done.name for done in outing.done] == names[: names.index(broken.step)]
    assert outing.values["password"] not in message
    assert site.things() == before
    assert site.slip.read_text() == ""


def test_a_mail_directory_that_is_not_there(site: Site) -> None:
    before = site.things()
    elsewhere = {"kind": "directory", "path": str(site.folder / "elsewhere"), "seconds": 1}

    message = failure(site, mail=elsewhere)

    assert message.startswith("Read the activation mail: ")
    assert "elsewhere cannot be read: No such file or directory" in message
    # Which the walk was not told of
    [letter] = site.mail.iterdir()
    letter.unlink()
    assert site.things() == before


def test_a_site_that_is_down(site: Site) -> None:
    site.stop()
    message = failure(site)
    assert re.match(r"Register: /accounts/register/: no answer from http://127\.0\.0\.1:\d+: .*refused", message)


def test_who_cannot_register_has_an_account_made(site: Site) -> None:
    before = site.things()
    outing = site.outing(steps=[*STEPS, *ADMINISTRATION], accounts=[ACCOUNT, SUPERUSER], mail=None)

    outing.go()

    assert outing.removed["auth.User"] == 2
    assert site.things() == before


def test_others_of_similar_names_stay(site: Site) -> None:
    code = (
        "from django.contrib.auth.models import User; from sources.models import Source;"
        "user = User.objects.create_user('smoke0123456789', 'smoke@smoke.invalid', 'x');"
        "Source.objects.create(name='Reef smoke', owner=user)"
    )
    assert site.manage("shell", "--command", code).returncode == 0
    (site.mail / "other.log").write_bytes(b"Subject: x\nTo: smoke@smoke.invalid\n\nx\n" + b"-" * 79 + b"\n")
    before = site.things()

    site.outing().go()

    assert site.things() == before
    assert (before["auth_user"], before["sources_source"], before["mail"]) == (1, 1, 1)


@pytest.mark.parametrize("run", ["", "smoke", "smoke0123456789%", "a"])
def test_the_command_refuses_a_name_that_others_may_have(site: Site, run: str) -> None:
    done = site.manage(*SHELL, given=f'{{"run": "{run}", "remove": [], "cookies": {{}}}}')

    assert done.returncode == 1
    assert "is no name of a walk" in done.stderr


def test_what_cannot_be_removed_is_told_and_removed_by_the_next(copy: Callable[[], Site]) -> None:
    site = copy()
    before = site.things()
    owner = "owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)"
    site.edit("sources/models.py", owner, owner.replace("CASCADE", "PROTECT"))
    site.start()

    message = failure(site)
    assert "could not be removed, and the next walk will try again: the site's command could not remove" in message
    assert "ProtectedError" in message
    run = site.slip.read_text().strip()
    assert re.fullmatch("smoke[0-9a-f]{10}", run)
    assert site.things()["auth_user"] == before["auth_user"] + 2

    # Told of what does not fall with its owner, it goes
    site.outing(objects=[{"model": "sources.Source", "field": "name"}]).go()
    assert site.things() == before
    assert site.slip.read_text() == ""


def test_forms_can_clean_up_as_well(site: Site) -> None:
    before = site.things()
    log_in = next(step for step in STEPS if step["name"] == "Log in")
    cleanup = [
        {**log_in, "name": "Log in again"},
        {"name": "Delete the source", "visit": "{source}", "form": "/delete/"},
        {"name": "Delete the account", "visit": "/sources/", "form": "^/accounts/delete/"},
    ]
    outing = site.outing(steps=[*REGISTRATION, *STEPS], accounts=[], command=[], cleanup=cleanup)

    outing.go()

    assert [done.name for done in outing.done][-3:] == ["Log in again", "Delete the source", "Delete the account"]
    # Sessions of people who were logged out by the deletion of their account are gone as well
    assert site.things() == before


def test_a_walk_that_was_killed_is_cleaned_up_after(site: Site) -> None:
    before = site.things()
    walker = multiprocessing.get_context("fork").Process(target=site.outing().go)
    walker.start()
    deadline = time.monotonic() + 30
    while site.things()["sources_image"] == before["sources_image"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    walker.kill()
    walker.join()
    left = site.things()
    assert left["auth_user"] == before["auth_user"] + 2
    assert left["uploads"] > before["uploads"]

    site.outing().go()

    # A session whose key nobody knows any more ends by itself
    after = site.things()
    assert after.pop("django_session") <= before.pop("django_session") + 1
    assert after == before


def test_two_do_not_walk_at_a_time(site: Site) -> None:
    walker = multiprocessing.get_context("fork").Process(target=site.outing().go)
    walker.start()
    deadline = time.monotonic() + 30
    while not site.slip.exists() or not site.slip.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert failure(site) == f"another walk is under way, which holds {site.slip}"

    walker.join()
    assert walker.exitcode == 0


def test_a_file_of_something_else_is_not_taken_for_a_slip(site: Site, tmp_path: Path) -> None:
    site.slip.write_text("precious\n")
    assert "is no slip of a walk: it says 'precious'" in failure(site)
    assert site.slip.read_text() == "precious\n"
