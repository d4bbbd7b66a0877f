from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("kelp", "0001_initial")]
    operations = [
        migrations.AddField(model_name="place", name="depth", field=models.FloatField(null=True))
    ]
