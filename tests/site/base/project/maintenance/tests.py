import json
from datetime import datetime
from io import StringIO
from unittest import mock
from zoneinfo import ZoneInfo

from django.core.management import CommandError, call_command
from django.test import override_settings

from config.testing import SiteTestCase

PACIFIC = ZoneInfo("America/Los_Angeles")


@override_settings(TIME_ZONE="America/Los_Angeles")
class MaintenanceTestCase(SiteTestCase):
    @property
    def file(self):
        return self.directory / "maintenance.json"

    def run_command(self, *args, answer=None, now=(6, 0)):
        """Run as on 2026-05-04 at `now`, Pacific time; what it prints without colours."""
        clock = datetime(2026, 5, 4, *now, tzinfo=PACIFIC)
        out = StringIO()
        with (
            mock.patch("django.utils.timezone.now", return_value=clock),
            mock.patch("builtins.input", side_effect=answer or ["y"]),
        ):
            call_command(*args, no_color=True, stdout=out)
        return out.getvalue()

    def start(self):
        timestamp = json.loads(self.file.read_text())["timestamp"]
        return f"{datetime.fromtimestamp(timestamp, PACIFIC):%m-%d %H:%M:%S}"


class MaintenanceOnTest(MaintenanceTestCase):
    def test_the_whole_conversation(self):
        self.assertEqual(
            self.run_command("maintenanceon", "8:14"),
            "The site will be considered under maintenance starting at:\n"
            "2026-05-04, 08:14\n"
            "That's 2\xa0hours, 14\xa0minutes from now.\n"
            "Maintenance mode on.\n",
        )
        self.assertEqual(json.loads(self.file.read_text()).keys(), {"timestamp", "message"})

    def test_start(self):
        for args, now, start in [
            # Later today, in Django's time zone
            (["18:30"], (6, 0), "05-04 18:30:00"),
            # Earlier today, so tomorrow
            (["3:14"], (6, 0), "05-05 03:14:00"),
            # In the current minute: tomorrow too
            (["06:00"], (6, 0, 1), "05-05 06:00:00"),
            # No time: 20 to 25 minutes ahead, on a multiple of five
            ([], (6, 0, 30), "05-04 06:25:00"),
            ([], (6, 4, 59), "05-04 06:25:00"),
            ([], (6, 5), "05-04 06:30:00"),
            # A day without a time is ignored
            (["--date", "2026-06-01"], (6, 0), "05-04 06:25:00"),
            (["8:14", "--date", "2026-06-01"], (6, 0), "06-01 08:14:00"),
        ]:
            with self.subTest(args=args, now=now):
                self.run_command("maintenanceon", *args, now=now)
                self.assertEqual(self.start(), start)

    def test_nonsense(self):
        for args in (["25:00"], ["noon"], ["8:14", "--date", "tomorrow"]):
            with self.assertRaisesMessage(CommandError, "Time parsing failed."):
                self.run_command("maintenanceon", *args)

    def test_no_is_no_error(self):
        for answer in (["n"], [""], ["maybe", "no"]):
            self.assertIn("\nAborting.\n", self.run_command("maintenanceon", answer=answer))
        self.assertFalse(self.file.exists())

    def test_nobody_to_ask(self):
        with self.assertRaises(EOFError):
            self.run_command("maintenanceon", answer=EOFError)


class MaintenanceOffTest(MaintenanceTestCase):
    def test_off(self):
        self.run_command("maintenanceon")
        self.assertEqual(self.run_command("maintenanceoff"), "Maintenance mode off.\n")
        self.assertEqual(self.run_command("maintenanceoff"), "Maintenance mode is already off.\n")


class NoticeTest(MaintenanceTestCase):
    def test_before(self):
        self.run_command("maintenanceon", "8:14", "--date", "2999-01-01")
        for path in ("/", "/admin/login/", "/no/such/page/"):
            answer = self.client.get(path)
            self.assertContains(answer, "will be under maintenance", status_code=answer.status_code)
        self.assertContains(self.client.get("/"), "08:14 PST")

    def test_begun(self):
        self.run_command("maintenanceon", "8:14", "--date", "2001-01-01")
        self.assertContains(self.client.get("/"), "The site is under maintenance.")

    def test_message_is_html(self):
        self.run_command("maintenanceon", "--message", "New <em>reefs</em> are coming.")
        self.assertContains(self.client.get("/"), "New <em>reefs</em> are coming.")

    def test_off(self):
        self.assertNotContains(self.client.get("/"), "maintenance")

    def test_broken_file_breaks_every_page(self):
        self.client.raise_request_exception = False
        for content in ("", "{", "{}"):
            self.file.write_text(content)
            for path in ("/", "/accounts/login/", "/admin/login/"):
                self.assertEqual(self.client.get(path).status_code, 500)

    def test_unreadable_file_is_no_notice(self):
        self.file.mkdir()  # Root may read any file, but nobody can read a directory as one.
        self.assertNotContains(self.client.get("/"), "maintenance")
