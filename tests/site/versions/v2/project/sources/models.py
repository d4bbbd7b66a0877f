import humanize
from django.conf import settings
from django.db import models
from django.urls import reverse


class SourceQuerySet(models.QuerySet):
    def visible_to(self, user):
        return self if user.is_superuser else self.filter(owner=user)


class Source(models.Model):
    """A place, or a project, from which images come."""

    name = models.CharField(max_length=100)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created = models.DateTimeField(auto_now_add=True)

    objects = SourceQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self):
        return self.name

    def get_absolute_url(self):
        return reverse("source", args=[self.pk])


class Label(models.Model):
    """One entry of a source's labelset: what can be seen at a point."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="labels")
    name = models.CharField(max_length=50)
    code = models.CharField(max_length=10)

    class Meta:
        ordering = ["code"]
        constraints = [
            models.UniqueConstraint(fields=["source", "code"], name="one_label_per_code"),
        ]

    def __str__(self):
        return f"{self.name} ({self.code})"


class Image(models.Model):
    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="images")
    name = models.CharField(max_length=255)
    file = models.ImageField(
        upload_to="images/%Y/%m/", max_length=255, width_field="width", height_field="height"
    )
    width = models.PositiveIntegerField(editable=False)
    height = models.PositiveIntegerField(editable=False)
    # Unknown for the images of version v1. That version, while it is still running beside this one,
    # must be able to save images without it.
    file_size = models.PositiveBigIntegerField(null=True, editable=False)
    patch = models.ImageField(upload_to="patches/%Y/%m/", max_length=255)
    uploaded = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-uploaded", "-pk"]

    def __str__(self):
        return self.name

    def get_absolute_url(self):
        return reverse("image", args=[self.pk])

    def save(self, *args, **kwargs):
        self.file_size = self.file.size
        super().save(*args, **kwargs)

    def description(self):
        pixels = f"{self.width} × {self.height} pixels"
        if self.file_size is None:
            return pixels
        return f"{pixels}, {humanize.naturalsize(self.file_size)}"


class Annotation(models.Model):
    """What somebody saw at a point.

    Never changed: a later annotation of the same point replaces an earlier one, and the history
    of the image keeps both.
    """

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="annotations")
    label = models.ForeignKey(Label, on_delete=models.CASCADE)
    x = models.PositiveIntegerField()
    y = models.PositiveIntegerField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self):
        return f"{self.label.code} at {self.x}, {self.y}"
