from django.core.management.base import BaseCommand

from jobs.tasks import work


class Command(BaseCommand):
    help = "Queue a job, and print its name."

    def add_arguments(self, parser):
        parser.add_argument("--seconds", type=float, default=0, help="how long it shall take")

    def handle(self, *args, **options):
        self.stdout.write(work(options["seconds"]).id)
