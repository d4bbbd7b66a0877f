"""What the tests of several apps need."""

import shutil
import tempfile
from io import BytesIO
from pathlib import Path

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase
from PIL import Image


class SiteTestCase(TestCase):
    """Uploads and the maintenance notice go to a directory that only this test knows."""

    def setUp(self):
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        overrides = self.settings(
            MEDIA_ROOT=self.directory / "media",
            MAINTENANCE_DETAILS_FILE_PATH=self.directory / "maintenance.json",
            # Not safe, but quick
            PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        )
        overrides.enable()
        self.addCleanup(overrides.disable)


def picture(name="reef.jpg", size=(640, 480), image_format="JPEG"):
    buffer = BytesIO()
    Image.new("RGB", size, "teal").save(buffer, image_format)
    return SimpleUploadedFile(name, buffer.getvalue())
