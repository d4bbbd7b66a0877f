import json

from django.core.management.base import BaseCommand

from jobs import log


class Command(BaseCommand):
    help = "Say as JSON what became of a job, and which release did it."

    def add_arguments(self, parser):
        parser.add_argument("name", help="what queue_job has printed")

    def handle(self, *args, **options):
        self.stdout.write(json.dumps(log.read(options["name"])))
