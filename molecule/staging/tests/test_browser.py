"""Staging in Debian's own browser, as a person meets it. What it saw is kept in .lab/staging."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from shared.visitor import ROOT, changed, png

SITE = "https://coralnet.test"
MAIL = "/srv/www/coralnet/shared/mail"
SEEN = ROOT / ".lab" / "staging"
DRIVER = "http://{}:9515"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
pytestmark = pytest.mark.on("debian-13")


class Browser:
    """A browser told by WebDriver, the protocol that all of them have."""

    def __init__(self, driver: str, address: str) -> None:
        self._driver, self._session = driver, ""
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1100,800"]
        options = {"args": [*arguments, f"--host-resolver-rules=MAP coralnet.test {address}"]}
        wanted = {"acceptInsecureCerts": True, "goog:chromeOptions": options}
        started = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{started['sessionId']}"

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._driver}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{path} {body}: {exc.read().decode()[:600]}") from exc

    def open(self, url: str) -> None:
        self._ask("POST", f"{self._session}/url", {"url": url})

    def reload(self) -> None:
        self._ask("POST", f"{self._session}/refresh", {})

    def run(self, script: str) -> Any:
        return self._ask("POST", f"{self._session}/execute/sync", {"script": f"return {script}", "args": []})

    def element(self, selector: str) -> str:
        found = self._ask("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        return f"{self._session}/element/{found[ELEMENT]}"

    def text(self, selector: str) -> str:
        """Read what a person sees there."""
        element = self.element(selector)
        assert self._ask("GET", f"{element}/displayed"), selector
        return str(self._ask("GET", f"{element}/text"))

    def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            self._ask("POST", f"{self.element(f'main [name={name}]')}/value", {"text": value})

    def press(self, selector: str = "main form button") -> None:
        """Press what leads to another page, and wait for that."""
        self.run("window.before = true")
        self._ask("POST", f"{self.element(selector)}/click", {})
        self.wait("!window.before && document.readyState === 'complete'")

    def keep(self, name: str) -> None:
        """Keep a picture of the window, from the top of the page."""
        self.run("scrollTo(0, 0)")
        SEEN.mkdir(parents=True, exist_ok=True)
        (SEEN / f"{name}.png").write_bytes(base64.b64decode(self._ask("GET", f"{self._session}/screenshot")))

    def wait(self, script: str, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < deadline, f"{script}: {self.run('document.title')}"
            time.sleep(0.3)

    def close(self) -> None:
        self._ask("DELETE", self._session)


@pytest.fixture
def browser(host: Any, address: str) -> Iterator[Browser]:
    host.run_expect(
        [0],
        "command -v chromedriver >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet"
        " --no-install-recommends chromium chromium-driver fonts-dejavu-core",
    )
    host.run_expect(
        [0],
        "systemd-run --quiet --collect --unit=driver --setenv=HOME=/root"
        " chromedriver --port=9515 --allowed-ips= --allowed-origins='*'",
    )
    try:
        deadline = time.monotonic() + 30
        while host.run("ss --no-header --listening --tcp 'sport = :9515' | grep .").rc:
            assert time.monotonic() < deadline, "the driver does not listen"
            time.sleep(0.3)
        browser = Browser(DRIVER.format(address), address)
        yield browser
        browser.close()
    finally:
        host.run("systemctl stop driver")


def test_a_person_tries_staging(host: Any, browser: Browser, playbook: Callable[..., Any]) -> None:
    start = time.monotonic()
    name = f"reef{time.time_ns():x}"

    browser.open(f"{SITE}/")
    assert "site-version" not in browser.run("document.documentElement.outerHTML")
    browser.open("https://tester:reef-tester-0f1e2d3c@coralnet.test/")
    # From then on the browser sends them by itself
    browser.open(f"{SITE}/")
    assert browser.text(".site-banner") == "This is staging & nothing <here> is kept"
    style = "getComputedStyle(document.querySelector('.site-banner'))"
    assert browser.run(f"[{style}.position, {style}.backgroundColor]") == ["sticky", "rgb(179, 38, 30)"]
    browser.keep("1-front")

    browser.open(f"{SITE}/accounts/register/")
    browser.fill(username=name, email=f"{name}@reef.example", password="reef-0f1e2d3c4b")
    browser.press()
    assert "We have mailed an activation link" in browser.text("main")
    mails = host.check_output(f"grep -rlE '{name}@reef.example' {MAIL}").split()
    link = host.check_output(f"grep -hoE 'https://coralnet.test/accounts/activate/[^ ]+' {mails[0]}")
    browser.open(link.strip())
    browser.fill(username=name, password="reef-0f1e2d3c4b")
    browser.press()
    browser.open(f"{SITE}/sources/new/")
    browser.fill(name="A reef")
    browser.press()
    picture = base64.b64encode(png(120)).decode()
    host.run_expect([0], f"echo {picture} | base64 --decode > /var/tmp/coral.png")
    browser.fill(files="/var/tmp/coral.png")
    browser.press("main form[enctype] button")
    browser.wait("document.querySelector('.patches img')?.naturalWidth > 0")
    browser.press(".patches a")
    browser.wait("document.querySelector('main img')?.naturalWidth === 120")
    browser.keep("2-image")
    image = browser.run("location.href")

    host.run_expect([0], "echo y | /srv/www/coralnet/run python manage.py maintenanceon")
    browser.reload()
    assert "The site will be under maintenance in" in browser.text(".maintenance")
    browser.keep("3-notice")
    host.run_expect([0], "/srv/www/coralnet/run python manage.py maintenanceoff")

    release = host.check_output("readlink /srv/www/coralnet/current")
    see_an_update(browser, playbook)
    assert host.check_output("readlink /srv/www/coralnet/current") != release
    assert browser.run("location.href") == image
    browser.wait("document.querySelector('main img')?.naturalWidth === 120")
    browser.keep("5-back")
    print(f"{host.backend.name}: a person's walk in a browser: {time.monotonic() - start:.0f} s")


def see_an_update(browser: Browser, playbook: Callable[..., Any]) -> None:
    """Meet the curtain of an update with a window, and the page again when that is done."""
    page = browser.run("document.title")
    values = ("version=v2", "strategy=window", "django_app_upgrade_packages=true")
    arguments = [word for value in values for word in ("-e", value)]
    with ThreadPoolExecutor(1) as operator:
        update = operator.submit(playbook, *arguments, path="playbooks/update.yml")
        while not browser.run("document.title.startsWith('Under maintenance')"):
            assert not update.done(), update.result().stdout[-3000:]
            browser.reload()
        assert browser.text("h1") == "Under maintenance"
        browser.keep("4-curtain")
        # Nobody reloads: the page does
        browser.wait(f"document.title === {json.dumps(page)}", 120)
        assert changed(update.result()) > 0
