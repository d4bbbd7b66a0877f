from django.db import migrations


class Migration(migrations.Migration):
    """Succeeds half-way: a database that does not roll back keeps `sources_half_done`."""

    dependencies = [("sources", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "CREATE TABLE sources_half_done (id integer)", "DROP TABLE sources_half_done"
        ),
        migrations.RunSQL("UPDATE sources_no_such_table SET name = ''", migrations.RunSQL.noop),
    ]
