from django.db import migrations


def say_so(apps, schema_editor):
    print("Images are not taken any more")  # noqa: T201 - migrations of many sites do


class Migration(migrations.Migration):
    """Takes no image any more, prints a line, and cannot be reversed."""

    dependencies = [("sources", "0001_initial")]

    operations = [
        migrations.RunPython(say_so, migrations.RunPython.noop),
        migrations.RunSQL(
            "ALTER TABLE sources_image ADD CONSTRAINT sources_image_full CHECK (false) NOT VALID"
        ),
    ]
