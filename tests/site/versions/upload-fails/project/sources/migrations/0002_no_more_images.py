from django.db import migrations


class Migration(migrations.Migration):
    """Takes no image any more, and cannot be reversed."""

    dependencies = [("sources", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE sources_image ADD CONSTRAINT sources_image_full CHECK (false) NOT VALID"
        ),
    ]
