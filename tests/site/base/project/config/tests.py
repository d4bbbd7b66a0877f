import json
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.test import SimpleTestCase

from config.settings.secrets import Secrets
from config.testing import SiteTestCase
from config.version import VERSION


class SecretsTest(SimpleTestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name, "secrets.json")

    def test_all_missing_keys_are_named_with_the_file(self):
        self.path.write_text(json.dumps({"A": "set", "B": ""}))
        with self.assertRaisesMessage(ImproperlyConfigured, f"B, C must be set in {self.path}."):
            Secrets(self.path).require(["A", "B", "C"])

    def test_an_empty_list_is_a_value(self):
        self.path.write_text(json.dumps({"ALLOWED_HOSTS": []}))
        Secrets(self.path).require(["ALLOWED_HOSTS"])

    def test_a_missing_file_is_named(self):
        with self.assertRaisesMessage(
            ImproperlyConfigured, f"A must be set in {self.path}, which does not exist."
        ):
            Secrets(self.path).require(["A"])

    def test_a_broken_file_is_named(self):
        for content in ("{", "[1, 2]", "3"):
            self.path.write_text(content)
            with self.assertRaisesMessage(
                ImproperlyConfigured, f"{self.path} is not a JSON object"
            ):
                Secrets(self.path)


class PagesTest(SiteTestCase):
    def test_every_answer_names_the_version(self):
        home = self.client.get("/")
        self.assertContains(home, "CoralNet sample site")
        self.assertContains(home, f'<meta name="site-version" content="{VERSION}">', html=True)
        for path in ("/", "/no/such/page/", "/health/"):
            self.assertEqual(self.client.get(path)["X-Site-Version"], VERSION)

    def test_missing_pages_have_a_page(self):
        self.assertContains(self.client.get("/no/"), "nothing at this address", status_code=404)

    def test_an_error_has_a_page_of_its_own(self):
        self.client.raise_request_exception = False
        with mock.patch("maintenance.notice.read", side_effect=RuntimeError):
            answer = self.client.get("/")
        self.assertContains(answer, "The site could not answer", status_code=500)


class HealthTest(SiteTestCase):
    def test_healthy(self):
        answer = self.client.get("/health/")
        self.assertEqual(answer.json(), {"version": VERSION, "database": "ok"})

    def test_database_down(self):
        broken = mock.patch.object(connection, "cursor", side_effect=DatabaseError)
        with broken, self.assertLogs("config.health", "ERROR"):
            answer = self.client.get("/health/")
        self.assertEqual(answer.status_code, 503)
        self.assertEqual(answer.json()["database"], "error")
