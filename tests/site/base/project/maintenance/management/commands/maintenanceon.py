from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.timesince import timeuntil

from maintenance import notice
from maintenance.schedule import start_time


class Command(BaseCommand):
    help = "Put up the maintenance notice on every page."

    def add_arguments(self, parser):
        parser.add_argument(
            "time",
            nargs="?",
            help="Start as HH:MM in Django's time zone; by default in 20 to 25 minutes.",
        )
        parser.add_argument(
            "--date",
            help="Date of the start as YYYY-MM-DD; by default the next time that it is TIME."
            " Ignored without TIME.",
        )
        parser.add_argument("--message", default="", help="What the notice says (HTML).")

    def handle(self, *args, time, date, message, **options):
        try:
            start = start_time(time, date)
        except ValueError as error:
            raise CommandError(
                "Time parsing failed. The time is HH:MM (24 hours), the date YYYY-MM-DD."
            ) from error
        self.stdout.write("The site will be considered under maintenance starting at:")
        self.stdout.write(f"{start:%Y-%m-%d, %H:%M}")
        self.stdout.write(f"That's {timeuntil(start, timezone.now())} from now.")
        if not self.confirmed():
            self.stdout.write("Aborting.")
            return
        notice.put_up(start, message)
        self.stdout.write(self.style.SUCCESS("Maintenance mode on."))

    @staticmethod
    def confirmed():
        """Ask until the answer starts with y or n; no answer means n."""
        while True:
            answer = input("Is this OK? [yN] ")[:1].lower() or "n"
            if answer in "yn":
                return answer == "y"
