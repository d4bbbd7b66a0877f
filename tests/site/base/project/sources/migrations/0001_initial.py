from django.conf import settings
from django.db import migrations, models
from django.db.models.deletion import CASCADE


def primary_key():
    return "id", models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )


class Migration(migrations.Migration):
    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.CreateModel(
            name="Source",
            fields=[
                primary_key(),
                ("name", models.CharField(max_length=100)),
                ("created", models.DateTimeField(auto_now_add=True)),
                (
                    "owner",
                    models.ForeignKey(on_delete=CASCADE, to=settings.AUTH_USER_MODEL),
                ),
            ],
            options={"ordering": ["name", "pk"]},
        ),
        migrations.CreateModel(
            name="Label",
            fields=[
                primary_key(),
                ("name", models.CharField(max_length=50)),
                ("code", models.CharField(max_length=10)),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=CASCADE, related_name="labels", to="sources.source"
                    ),
                ),
            ],
            options={
                "ordering": ["code"],
                "constraints": [
                    models.UniqueConstraint(fields=["source", "code"], name="one_label_per_code"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Image",
            fields=[
                primary_key(),
                ("name", models.CharField(max_length=255)),
                (
                    "file",
                    models.ImageField(
                        upload_to="images/%Y/%m/",
                        max_length=255,
                        width_field="width",
                        height_field="height",
                    ),
                ),
                ("width", models.PositiveIntegerField(editable=False)),
                ("height", models.PositiveIntegerField(editable=False)),
                ("patch", models.ImageField(upload_to="patches/%Y/%m/", max_length=255)),
                ("uploaded", models.DateTimeField(auto_now_add=True)),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=CASCADE, related_name="images", to="sources.source"
                    ),
                ),
            ],
            options={"ordering": ["-uploaded", "-pk"]},
        ),
        migrations.CreateModel(
            name="Annotation",
            fields=[
                primary_key(),
                ("x", models.PositiveIntegerField()),
                ("y", models.PositiveIntegerField()),
                ("created", models.DateTimeField(auto_now_add=True)),
                (
                    "author",
                    models.ForeignKey(on_delete=CASCADE, to=settings.AUTH_USER_MODEL),
                ),
                (
                    "image",
                    models.ForeignKey(
                        on_delete=CASCADE, related_name="annotations", to="sources.image"
                    ),
                ),
                ("label", models.ForeignKey(on_delete=CASCADE, to="sources.label")),
            ],
            options={"ordering": ["-pk"]},
        ),
    ]
