from django.core.management.base import BaseCommand

from kelp.models import Job


class Command(BaseCommand):
    help = "Queue a job that takes so many seconds"

    def add_arguments(self, parser):
        parser.add_argument("seconds", type=float)

    def handle(self, *args, seconds, **options):
        self.stdout.write(str(Job.objects.create(seconds=seconds).pk))
