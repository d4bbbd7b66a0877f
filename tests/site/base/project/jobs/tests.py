import json
from io import StringIO

from django.core.management import call_command
from django.test import SimpleTestCase

from config.version import VERSION


def command(*words):
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue().strip()


class JobsTest(SimpleTestCase):
    """Without a broker a job is done at once."""

    def test_a_job_is_done_by_this_version(self):
        name = command("queue_job")
        done = json.loads(command("show_job", name))
        self.assertEqual((done["state"], done["version"]), ("done", VERSION))

    def test_a_job_that_nobody_queued(self):
        self.assertEqual(json.loads(command("show_job", "none")), {"state": "unknown"})
