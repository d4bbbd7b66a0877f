from io import BytesIO
from pathlib import Path

from django.core.files.base import ContentFile
from PIL import Image, ImageOps

SIZE = (200, 200)


def make_patch(file, name):
    """A small JPEG of an image, upright whatever the camera said."""
    with Image.open(file) as image:
        # Lets the JPEG decoder scale down while it reads: much faster for a photograph
        image.draft("RGB", SIZE)
        patch = ImageOps.exif_transpose(image).convert("RGB")
    patch.thumbnail(SIZE)
    buffer = BytesIO()
    patch.save(buffer, "JPEG")
    return ContentFile(buffer.getvalue(), name=f"{Path(name).stem}.jpg")
