import csv
import hmac
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.http import HttpResponse

from sources.models import Annotation


def export_response(source):
    archive = make_archive(source)
    response = HttpResponse(archive, content_type="application/gzip")
    response["X-Export-Signature"] = sign(archive)
    response["Content-Disposition"] = f'attachment; filename="source-{source.pk}.tar.gz"'
    return response


def sign(archive):
    """Proves to whoever shares the key that an export comes from this site."""
    return hmac.digest(settings.EXPORT_SIGNING_KEY.encode(), archive, "sha256").hex()


def make_archive(source):
    """The annotations of a source as .tar.gz.

    Through a temporary directory and the program `tar`, as sites do that call other programs for
    their work: a service that is locked up too tightly fails here.
    """
    with TemporaryDirectory() as directory:
        write_annotations(source, Path(directory, "annotations.csv"))
        archive = Path(directory, "export.tar.gz")
        subprocess.run(
            ["tar", "-czf", archive, "-C", directory, "annotations.csv"],
            check=True,
            capture_output=True,
        )
        return archive.read_bytes()


def write_annotations(source, path):
    annotations = Annotation.objects.filter(image__source=source).order_by("pk")
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "x", "y", "label", "author", "created"])
        for annotation in annotations.select_related("image", "label", "author"):
            rows.writerow(
                [
                    annotation.image.name,
                    annotation.x,
                    annotation.y,
                    annotation.label.code,
                    annotation.author.get_username(),
                    annotation.created.isoformat(),
                ]
            )
