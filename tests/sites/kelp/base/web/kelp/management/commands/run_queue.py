import os
import signal
import time

from django.core.management.base import BaseCommand

from kelp.models import Job


class Command(BaseCommand):
    help = "Do the jobs; on SIGINT end after the one in hand"

    ended = False

    def handle(self, *args, **options):
        signal.signal(signal.SIGINT, self.end)
        while not self.ended:
            job = Job.objects.filter(started=False).first()
            if not job:
                time.sleep(0.2)
                continue
            Job.objects.filter(pk=job.pk).update(started=True)
            end = time.monotonic() + job.seconds
            while time.monotonic() < end:
                time.sleep(0.1)
            Job.objects.filter(pk=job.pk).update(done=True, by=os.environ["RELEASE"])

    def end(self, *_signal):
        self.ended = True
