import hmac

import humanize
from django.test import override_settings

from config.testing import picture
from sources.models import Image
from sources.tests import SourceTestCase


class FileSizeTest(SourceTestCase):
    def setUp(self):
        super().setUp()
        self.upload(picture())
        self.image = Image.objects.get()

    def description(self):
        return self.client.get(f"/images/{self.image.pk}/")

    def test_new_images_show_their_size(self):
        self.assertEqual(self.image.file_size, picture().size)
        size = humanize.naturalsize(picture().size)
        self.assertContains(self.description(), f"640 × 480 pixels, {size}")

    def test_images_of_v1_do_not(self):
        Image.objects.update(file_size=None)
        self.assertContains(self.description(), "640 × 480 pixels, in")


class SignatureTest(SourceTestCase):
    @override_settings(EXPORT_SIGNING_KEY="shared")
    def test_exports_are_signed(self):
        answer = self.client.get(f"/sources/{self.source.pk}/export/")
        expected = hmac.digest(b"shared", answer.content, "sha256").hex()
        self.assertEqual(answer["X-Export-Signature"], expected)
