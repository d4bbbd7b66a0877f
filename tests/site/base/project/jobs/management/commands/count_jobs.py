from django.core.management.base import BaseCommand
from huey.contrib.djhuey import HUEY

from jobs import log


class Command(BaseCommand):
    help = "Count the jobs that wait. `show_job count` says which release did so last."

    def handle(self, *args, **options):
        log.write("count", "done")
        self.stdout.write(f"{HUEY.pending_count()} jobs wait")
