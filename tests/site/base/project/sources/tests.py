import tarfile
from io import BytesIO

from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image as Picture

from config.testing import SiteTestCase, picture
from sources.models import Annotation, Image, Label, Source


class SourceTestCase(SiteTestCase):
    def setUp(self):
        super().setUp()
        users = get_user_model().objects
        self.ann = users.create_user("ann", "ann@example.org", "x")
        self.bob = users.create_user("bob", "bob@example.org", "x")
        self.root = users.create_superuser("root", "root@example.org", "x")
        self.client.force_login(self.ann)
        self.source = Source.objects.create(name="Moorea", owner=self.ann)

    def upload(self, *files):
        return self.client.post(f"/sources/{self.source.pk}/", {"files": files}, follow=True)


class WorkflowTest(SourceTestCase):
    def test_from_a_new_source_to_the_export(self):
        answer = self.client.post("/sources/new/", {"name": "Heron Island"})
        self.source = Source.objects.get(name="Heron Island")
        self.assertRedirects(answer, f"/sources/{self.source.pk}/")

        self.assertContains(self.upload(picture()), "reef.jpg")
        image = Image.objects.get()

        labelset = f"/sources/{self.source.pk}/labelset/"
        answer = self.client.post(labelset, {"name": "Porites", "code": "POR"}, follow=True)
        self.assertContains(answer, "Porites (POR)")

        page = f"/images/{image.pk}/"
        point = {"label": Label.objects.get().pk, "x": 10, "y": 20}
        answer = self.client.post(page, point, follow=True)
        self.assertContains(answer, "10, 20")
        self.assertContains(answer, "640 × 480 pixels")

        answer = self.client.get(f"/sources/{self.source.pk}/export/")
        with tarfile.open(fileobj=BytesIO(answer.content)) as archive:
            lines = archive.extractfile("annotations.csv").read().decode().splitlines()
        self.assertEqual(lines[0], "image,x,y,label,author,created")
        self.assertTrue(lines[1].startswith("reef.jpg,10,20,POR,ann,"))


class UploadTest(SourceTestCase):
    def test_several_files_with_their_patches(self):
        big = picture("big.png", (3000, 1000), "PNG")
        self.assertContains(self.upload(picture(), big), "2 uploaded.")
        image = Image.objects.get(name="big.png")
        self.assertEqual((image.width, image.height), (3000, 1000))
        with Picture.open(image.patch.path) as patch:
            self.assertEqual((patch.format, patch.width), ("JPEG", 200))

    def test_a_file_that_django_keeps_in_a_temporary_file(self):
        with self.settings(FILE_UPLOAD_MAX_MEMORY_SIZE=10):
            self.upload(picture())
        self.assertEqual(Image.objects.get().file.size, picture().size)

    def test_other_files_are_refused(self):
        for file in (
            SimpleUploadedFile("reef.jpg", b"no picture"),
            picture("reef.gif", image_format="GIF"),
            picture("gif.jpg", image_format="GIF"),
        ):
            self.assertContains(self.upload(picture(), file), "errorlist")
        self.assertContains(self.upload(), "This field is required.")
        self.assertFalse(Image.objects.exists())


class AnnotationTest(SourceTestCase):
    def setUp(self):
        super().setUp()
        self.upload(picture())
        self.image = Image.objects.get()
        self.label = Label.objects.create(source=self.source, name="Sand", code="SND")

    def annotate(self, **values):
        values = {"label": self.label.pk, "x": 1, "y": 2} | values
        return self.client.post(f"/images/{self.image.pk}/", values, follow=True)

    def test_history_keeps_both_answers(self):
        other = Label.objects.create(source=self.source, name="Porites", code="POR")
        self.annotate()
        answer = self.annotate(label=other.pk)
        self.assertContains(answer, "<td>1, 2</td>", count=2, html=True)
        self.assertContains(answer, "<td>Sand (SND)</td>", html=True)
        self.assertContains(answer, "<td>Porites (POR)</td>", html=True)

    def test_only_points_of_the_image(self):
        self.assertContains(self.annotate(x=640), "outside the image")

    def test_only_labels_of_the_source(self):
        other = Source.objects.create(name="Other", owner=self.ann)
        label = Label.objects.create(source=other, name="Rock", code="RCK")
        self.assertContains(self.annotate(label=label.pk), "errorlist")
        self.assertFalse(Annotation.objects.exists())

    def test_one_label_per_code(self):
        form = {"name": "Sandy", "code": "SND"}
        answer = self.client.post(f"/sources/{self.source.pk}/labelset/", form)
        self.assertContains(answer, "already")


class PermissionTest(SourceTestCase):
    def paths(self):
        self.upload(picture())
        source = f"/sources/{self.source.pk}/"
        return [source, f"{source}labelset/", f"{source}export/", "/images/1/"]

    def test_other_people_find_nothing(self):
        paths = self.paths()
        self.client.force_login(self.bob)
        for path in paths:
            self.assertEqual(self.client.get(path).status_code, 404)
        self.assertEqual(self.client.post(f"{paths[0]}delete/").status_code, 404)
        self.assertNotContains(self.client.get("/sources/"), "Moorea")

    def test_superusers_find_everything(self):
        paths = self.paths()
        self.client.force_login(self.root)
        for path in [*paths, "/admin/", "/admin/sources/image/1/change/"]:
            self.assertEqual(self.client.get(path).status_code, 200)

    def test_strangers_must_log_in(self):
        paths = self.paths()
        self.client.logout()
        for path in [*paths, "/sources/", "/sources/new/"]:
            self.assertRedirects(self.client.get(path), f"/accounts/login/?next={path}")


class DeletionTest(SourceTestCase):
    def test_files_go_with_the_source(self):
        self.upload(picture())
        files = [Image.objects.get().file, Image.objects.get().patch]
        self.assertRedirects(self.client.post(f"/sources/{self.source.pk}/delete/"), "/sources/")
        self.assertFalse(any(file.storage.exists(file.name) for file in files))
