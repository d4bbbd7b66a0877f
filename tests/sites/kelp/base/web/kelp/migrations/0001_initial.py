from django.db import migrations, models


def key():
    return (
        "id",
        models.BigAutoField(
            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
        ),
    )


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Place", fields=[key(), ("name", models.CharField(max_length=80))]
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                key(),
                ("seconds", models.FloatField(default=0)),
                ("started", models.BooleanField(default=False)),
                ("done", models.BooleanField(default=False)),
                ("by", models.CharField(blank=True, max_length=80)),
            ],
        ),
    ]
