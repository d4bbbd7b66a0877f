"""What PostgreSQL does for migrations, beside what their text tells of it; one JSON line for each.

Runs in the site's environment, in a schema of its own that is removed again. Its argument is the module's path.
"""

import importlib.util
import json
import sys

import django
from django.db import connection, transaction
from django.db.migrations.state import ProjectState

HEAD = """
from django.contrib.postgres import operations as pg
from django.db import migrations, models
from django.db.models.functions import Random

class Migration(migrations.Migration):
    operations = [{}]
"""
ID = "('id', models.BigAutoField(primary_key=True))"
NUMBER = "('number', models.IntegerField(null=True))"
TO = "'shop.Target', models.CASCADE, related_name='+'"
BASE = f"""
    migrations.CreateModel('Target', [{ID}]),
    migrations.CreateModel('Item', [{ID}, {NUMBER}, ('target', models.ForeignKey({TO}, null=True))],
        {{
            'indexes': [models.Index(fields=['number'], name='of_number')],
            'constraints': [models.CheckConstraint(condition=models.Q(number__gte=0), name='positive')],
        }}),
    migrations.CreateModel('Other', [{ID}, {NUMBER}]),
"""
FIELDS = [
    "models.IntegerField(null=True)",
    "models.IntegerField(default=3)",
    "models.IntegerField(db_default=3)",
    "models.IntegerField(null=True, unique=True)",
    "models.PositiveIntegerField(null=True)",
    "models.SlugField(null=True)",
    "models.FloatField(db_default=Random())",
    "models.GeneratedField(expression=models.F('number') + 1, output_field=models.IntegerField(), db_persist=True)",
    f"models.ForeignKey({TO}, null=True)",
    f"models.ForeignKey({TO}, null=True, db_index=False)",
    f"models.ForeignKey({TO}, null=True, db_index=False, db_constraint=False)",
    f"models.ForeignKey({TO}, default=1, db_index=False)",
    f"models.OneToOneField({TO}, null=True)",
    "models.ManyToManyField('shop.Target', related_name='+')",
]
UNIQUE = "models.UniqueConstraint(name='u', fields=['number']"
CHECK = "models.CheckConstraint(condition=models.Q(number__gt=-2), name='c')"
OPERATIONS = [
    *(f"migrations.AddField('item', 'a', {field})" for field in FIELDS),
    f"migrations.CreateModel('New', [{ID}, ('t', models.ForeignKey({TO}))])",
    f"migrations.CreateModel('New', [{ID}, ('t', models.ManyToManyField('shop.Target', related_name='+'))])",
    "migrations.AddIndex('item', models.Index(fields=['number'], name='x'))",
    "migrations.RemoveIndex('item', 'of_number')",
    f"migrations.AddConstraint('item', {UNIQUE}))",
    f"migrations.AddConstraint('item', {UNIQUE}, condition=models.Q(number__gt=2)))",
    "migrations.AddConstraint('item', models.UniqueConstraint(models.F('number') + 1, name='u'))",
    f"migrations.AddConstraint('item', {CHECK})",
    f"pg.AddConstraintNotValid('item', {CHECK})",
    "pg.ValidateConstraint('item', 'positive')",
    "migrations.RemoveConstraint('item', 'positive')",
    "migrations.RemoveField('item', 'number')",
    "migrations.RenameField('item', 'number', 'n')",
    "migrations.AlterField('item', 'number', models.IntegerField(default=3))",
    "migrations.AlterField('item', 'number', models.BigIntegerField(null=True))",
    "migrations.AlterUniqueTogether('item', {('target', 'number')})",
    "migrations.AlterOrderWithRespectTo('item', 'target')",
    "migrations.AlterModelTable('other', 'elsewhere')",
    "migrations.AlterModelTableComment('item', 'x')",
    "migrations.AlterModelOptions('item', {'verbose_name': 'x'})",
    "migrations.RenameModel('Other', 'Another')",
]
TABLES = ("shop_item", "shop_other", "shop_target")
STRENGTH = ["ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "AccessExclusiveLock"]


class UndoneError(Exception):
    pass


def ask(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def migrate(text, state):
    names = {}
    exec(text, names)  # ours, from above
    with connection.schema_editor(atomic=True) as editor:
        for operation in names["Migration"].operations:
            after = state.clone()
            operation.state_forwards("shop", after)
            operation.database_forwards("shop", editor, state, after)
            state = after
    return state


def scans():
    """Tell tables that were read from end to end in this transaction."""
    return dict(ask("SELECT relid, seq_scan FROM pg_stat_xact_user_tables WHERE schemaname = 'shop'"))


def observe(text, state):
    """Migrate and take it back: the strongest lock on each table, and those of which every row was looked at."""
    before = dict(ask("SELECT relname, oid FROM pg_class WHERE relname = ANY(%s)", list(TABLES)))
    locks, read = {}, []
    try:
        with transaction.atomic():
            earlier = scans()
            migrate(text, state)
            for name, oid in before.items():
                rows = ask("SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = %s", oid)
                held = [mode for (mode,) in rows if mode in STRENGTH]
                if held:
                    locks[name] = max(held, key=STRENGTH.index)
            later = scans()
            read = [name for name, oid in before.items() if later.get(oid, 0) > earlier.get(oid, 0)]
            raise UndoneError
    except UndoneError:
        return locks, read


def main():
    spec = importlib.util.spec_from_file_location("_migrations", sys.argv[1])
    told = sys.modules["_migrations"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(told)
    sys.path.insert(0, "")  # where manage.py is
    django.setup()
    ask("CREATE SCHEMA shop")
    try:
        ask("SET search_path TO shop")
        state = migrate(HEAD.format(BASE), ProjectState())
        ask("INSERT INTO shop_target DEFAULT VALUES")
        ask("INSERT INTO shop_item (number) SELECT generate_series(1, 1000)")
        for operation in OPERATIONS:
            text = HEAD.format(operation)
            locks, read = observe(text, state)
            migration = told.Reader().read("shop/migrations/0002_x.py", text)
            print(
                json.dumps(
                    {
                        "operation": operation,
                        "locks": locks,
                        "read": read,
                        "told": {lock.table.replace(".", "_"): [lock.lock, lock.lasts] for lock in migration.locks},
                    }
                )
            )
    finally:
        ask("DROP SCHEMA shop CASCADE")


main()
