from django.core.management.base import BaseCommand

from kelp.models import Place


class Command(BaseCommand):
    help = "Remove places without a name, and say how many"

    def handle(self, *args, **options):
        removed, _kinds = Place.objects.filter(name="").delete()
        self.stdout.write(f"removed {removed}")
