from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "A worker that never comes to work."

    def add_arguments(self, parser):
        parser.add_argument("--workers")

    def handle(self, *args, **options):
        raise RuntimeError("there is no tool for this job")
