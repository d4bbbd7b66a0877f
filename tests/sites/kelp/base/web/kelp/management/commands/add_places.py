from django.core.management.base import BaseCommand

from kelp.models import Place


class Command(BaseCommand):
    help = "Add the places that the site begins with; twice would be too many"

    def handle(self, *args, **options):
        Place.objects.bulk_create(Place(name=name) for name in ("Moorea", "Line Islands"))
