from django.core.management.base import BaseCommand

from maintenance import notice


class Command(BaseCommand):
    help = "Take down the maintenance notice."

    def handle(self, *args, **options):
        was_up = notice.take_down()
        text = "Maintenance mode off." if was_up else "Maintenance mode is already off."
        self.stdout.write(self.style.SUCCESS(text))
