import json
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Write the names of the collected static files, as visitors get them, where they are"

    def handle(self, *args, **options):
        folder = Path(settings.STATIC_ROOT)
        names = json.loads((folder / "staticfiles.json").read_text())["paths"].values()
        (folder / "assets.txt").write_text("".join(f"{name}\n" for name in sorted(names)))
