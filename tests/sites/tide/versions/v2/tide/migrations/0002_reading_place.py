from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tide", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="reading",
            name="place",
            field=models.CharField(blank=True, db_default="", default="", max_length=80),
        )
    ]
