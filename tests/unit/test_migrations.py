"""What a migration's text tells of its locks and of older code beside it. PostgreSQL's own answers were the same."""

from __future__ import annotations

import pytest
from ansible_collections.coralnet.server.plugins.module_utils._migrations import Migration, Reader

HEAD = """
import django.db.migrations.operations
from django.conf import settings
from django.contrib.postgres import operations as pg
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Now
from elsewhere import AddField


class Migration(migrations.Migration):
    "Has an explanation."

    dependencies = [("shop", "0001_initial")]
    {more}
    operations = [{operations}]
"""


def read(*operations: str, more: str = "", reader: Reader | None = None) -> Migration:
    text = HEAD.format(operations=",\n".join(operations), more=more)
    return (reader or Reader()).read("project/shop/migrations/0002_x.py", text)


def locks(migration: Migration) -> str:
    short = {
        "ACCESS EXCLUSIVE": "AE", "SHARE": "S", "SHARE ROW EXCLUSIVE": "SRE", "SHARE UPDATE EXCLUSIVE": "SUE",
        "unknown": "?",
    }  # fmt: skip
    return " ".join(f"{short[lock.lock]}:{lock.table}:{lock.lasts}" for lock in migration.locks)


def field(declared: str) -> str:
    return f"migrations.AddField(model_name='item', name='a', field={declared})"


TO = "'shop.Target', models.CASCADE, related_name='+'"
CASES = [
    # a field
    (field("models.IntegerField(null=True)"), "AE:shop.item:short", True),
    (field("models.IntegerField(null=True, default=3)"), "AE:shop.item:short", True),
    (field("models.IntegerField(db_default=3)"), "AE:shop.item:short", True),
    (field("models.IntegerField(default=3)"), "AE:shop.item:short", False),
    (field("models.IntegerField(null=False)"), "AE:shop.item:short", False),
    (field("models.IntegerField(null=settings.NULL)"), "AE:shop.item:short", False),
    (field("models.PositiveIntegerField(null=True)"), "AE:shop.item:size", True),
    (field("models.SlugField(null=True)"), "AE:shop.item:size", True),
    (field("models.SlugField(null=True, db_index=False)"), "AE:shop.item:short", True),
    (field("models.CharField(null=True, db_index=True)"), "AE:shop.item:size", True),
    (field("models.CharField(null=True, unique=True)"), "AE:shop.item:size", True),
    (field("models.CharField(db_default='', unique=True)"), "AE:shop.item:size", False),
    (field("models.DateTimeField(db_default=Now())"), "AE:shop.item:size", True),
    (field("models.GeneratedField(expression=models.F('b'), db_persist=True)"), "AE:shop.item:size", True),
    (field(f"models.ForeignKey({TO}, null=True)"), "AE:shop.item:size SRE:shop.target:size", True),
    (field(f"models.ForeignKey({TO}, null=True, db_index=False)"), "AE:shop.item:short SRE:shop.target:short", True),
    (field(f"models.ForeignKey({TO}, default=1, db_index=False)"), "AE:shop.item:size SRE:shop.target:size", False),
    (
        field(f"models.ForeignKey({TO}, null=True, db_index=False, db_constraint=False)"),
        "AE:shop.item:short",
        True,
    ),
    (field(f"models.OneToOneField({TO}, null=True)"), "AE:shop.item:size SRE:shop.target:size", True),
    (field(f"models.OneToOneField({TO}, db_default=1)"), "AE:shop.item:size SRE:shop.target:size", False),
    (field("models.ForeignKey('self', models.CASCADE, null=True, db_index=False)"), "AE:shop.item:short", True),
    (
        field("models.ForeignKey(to=settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True)"),
        "AE:shop.item:size SRE:settings.AUTH_USER_MODEL:size",
        True,
    ),
    (field("models.ManyToManyField(to='Tag')"), "SRE:shop.item:short SRE:shop.tag:short", True),
    (field("models.ManyToManyField('other.Tag', through='Tagged')"), "", True),
    (field("django.db.models.TextField(null=True)"), "AE:shop.item:short", True),
    (field("pg.fields.Field(null=True)"), "AE:shop.item:size", True),
    (field("elsewhere.Field(null=True)"), "AE:shop.item:size", True),
    (field("elsewhere.Field()"), "AE:shop.item:size", False),
    (field("elsewhere.Key('Target', on_delete=x, null=True)"), "AE:shop.item:size SRE:shop.target:size", True),
    (field("models.IntegerField(**more)"), "?::unknown", False),
    (field("MADE"), "?::unknown", False),
    ("migrations.AddField('item', 'a', models.IntegerField(null=True), True)", "AE:shop.item:short", True),
    ("migrations.RemoveField('item', 'a')", "AE:shop.item:short", False),
    ("migrations.RenameField('item', 'a', 'b')", "AE:shop.item:short", False),
    ("migrations.AlterField('item', 'a', models.IntegerField(null=True))", "AE:shop.item:size", False),
    # a model
    ("migrations.CreateModel('New', [('id', models.BigAutoField(primary_key=True))])", "", True),
    (f"migrations.CreateModel(name='New', fields=[('t', models.ForeignKey({TO}))])", "SRE:shop.target:short", True),
    ("migrations.CreateModel('New', [('t', models.ManyToManyField('shop.Target'))])", "SRE:shop.target:short", True),
    (f"migrations.CreateModel('New', [('t', models.ForeignKey({TO}))], {{'proxy': True}})", "", True),
    ("migrations.CreateModel('New', FIELDS)", "?::unknown", False),
    ("migrations.DeleteModel('Item')", "AE:shop.item:short", False),
    ("migrations.RenameModel('Item', 'Thing')", "AE:shop.item:short", False),
    ("migrations.AlterModelTable('item', 'things')", "AE:shop.item:short", False),
    ("migrations.AlterModelTableComment('item', 'x')", "SUE:shop.item:short", True),
    ("migrations.AlterModelOptions('item', {})", "", True),
    ("migrations.AlterModelManagers('item', [])", "", True),
    ("migrations.AlterOrderWithRespectTo('item', 'target')", "AE:shop.item:size", False),
    ("migrations.AlterUniqueTogether('item', {('a', 'b')})", "AE:shop.item:size", False),
    # indexes and constraints
    ("migrations.AddIndex('item', models.Index(fields=['a'], name='x'))", "S:shop.item:size", True),
    ("AddIndexConcurrently('item', models.Index(fields=['a'], name='x'))", "SUE:shop.item:short", True),
    ("migrations.RemoveIndex('item', 'x')", "AE:shop.item:short", True),
    ("pg.RemoveIndexConcurrently('item', 'x')", "SUE:shop.item:short", True),
    ("migrations.RenameIndex('item', 'y', 'x')", "SUE:shop.item:short", True),
    (
        "migrations.AddConstraint('item', models.UniqueConstraint(fields=['a'], name='u'))",
        "AE:shop.item:size",
        False,
    ),
    (
        "migrations.AddConstraint('item', models.UniqueConstraint(fields=['a'], condition=models.Q(b=1), name='u'))",
        "S:shop.item:size",
        False,
    ),
    (
        "migrations.AddConstraint('item', models.UniqueConstraint(models.F('a') + 1, name='u'))",
        "S:shop.item:size",
        False,
    ),
    (
        "migrations.AddConstraint('item', models.CheckConstraint(condition=models.Q(a=1), name='c'))",
        "AE:shop.item:size",
        False,
    ),
    ("migrations.RemoveConstraint('item', 'c')", "AE:shop.item:short", False),
    ("pg.AddConstraintNotValid('item', models.CheckConstraint(name='c'))", "AE:shop.item:short", False),
    ("pg.ValidateConstraint('item', 'c')", "SUE:shop.item:short", True),
    # the rest
    ("pg.TrigramExtension()", "", True),
    ("pg.CreateExtension('pg_stat_statements')", "", True),
    ("migrations.RunSQL('DROP TABLE x')", "?::unknown", False),
    ("migrations.RunSQL(migrations.RunSQL.noop, 'DROP TABLE x')", "", True),
    ("migrations.RunSQL(sql='')", "", True),
    ("migrations.RunPython(forward)", "?::unknown", False),
    ("migrations.RunPython(migrations.RunPython.noop, back)", "", True),
    ("migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel('Item')])", "", True),
    (
        "migrations.SeparateDatabaseAndState([migrations.RemoveField('item', 'a')], [])",
        "AE:shop.item:short",
        False,
    ),
    ("migrations.SeparateDatabaseAndState(database_operations=OPERATIONS)", "?::unknown", False),
    ("django.db.migrations.operations.RemoveIndex('item', 'x')", "AE:shop.item:short", True),
    # what only looks like Django's
    ("AddField('item', 'a', models.IntegerField(null=True))", "?::unknown", False),
    ("migrations.Unheard('item')", "?::unknown", False),
    ("migrations.RemoveIndex(**more)", "?::unknown", False),
    ("migrations.RemoveIndex(*more)", "?::unknown", False),
    ("migrations.SeparateDatabaseAndState(**more)", "?::unknown", False),
    ("migrations.CreateModel(*more)", "?::unknown", False),
    ("*MORE", "?::unknown", False),
    ("", "", True),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "taken", "compatible"), CASES)
def test_operations(operation: str, taken: str, compatible: bool) -> None:
    migration = read(operation)

    assert locks(migration) == taken
    assert migration.compatible is compatible, migration.reasons
    assert len(migration.operations) >= bool(operation)


def test_words_and_result() -> None:
    migration = read(field("models.PositiveBigIntegerField(null=True)"), "migrations.RemoveField('item', 'note')")

    assert migration.lines() == [
        "adds the field item.a (PositiveBigIntegerField)",
        "removes the field item.note",
        "ACCESS EXCLUSIVE on shop.item: reads and writes wait, for as long as the table is large",
        "the older code cannot go on with it: removes the field item.note: the older code asks for what is gone",
    ]
    assert migration.result() == {
        "path": "project/shop/migrations/0002_x.py",
        "app": "shop",
        "name": "0002_x",
        "operations": ["adds the field item.a (PositiveBigIntegerField)", "removes the field item.note"],
        "locks": [
            {
                "table": "shop.item",
                "lock": "ACCESS EXCLUSIVE",
                "lasts": "size",
                "reads_wait": True,
                "writes_wait": True,
                "words": "ACCESS EXCLUSIVE on shop.item: reads and writes wait, for as long as the table is large",
            }
        ],
        "reasons": ["removes the field item.note: the older code asks for what is gone"],
        "compatible": False,
    }
    concurrent = read("pg.RemoveIndexConcurrently('item', 'x')")
    assert concurrent.lines()[1:] == [
        "SHARE UPDATE EXCLUSIVE on shop.item: nothing waits",
        "the older code can go on with it",
    ]
    assert read("migrations.RunPython(forward)").lines() == [
        "RunPython (forward)",
        "unknown: reads and writes may wait, nobody knows how long",
        "the older code cannot go on with it: RunPython (forward): what it does is not known",
    ]


def test_a_lock_lasts_as_long_as_its_transaction() -> None:
    steps = [field("models.IntegerField(null=True)"), "migrations.RunPython(fill)"]

    assert locks(read(*steps)) == "AE:shop.item:unknown ?::unknown"
    assert locks(read(*steps, more="atomic = False")) == "AE:shop.item:short ?::unknown"
    assert locks(read(*steps, more="atomic: bool = SOMETHING")) == "AE:shop.item:unknown ?::unknown"
    assert locks(read(*reversed(steps))) == "?::unknown AE:shop.item:short"
    index = "migrations.AddIndex('item', models.Index(fields=['a'], name='x'))"
    assert locks(read(index, steps[0])) == "AE:shop.item:size"
    assert locks(read(steps[0], index)) == "AE:shop.item:size"


def test_what_is_new_in_the_same_update_nobody_waits_for() -> None:
    reader = Reader()
    first = read("migrations.CreateModel('Item', [])", reader=reader)
    then = read(
        field(f"models.ForeignKey({TO})"),
        "migrations.AddConstraint('item', models.UniqueConstraint(fields=['a'], name='u'))",
        "migrations.RenameModel('Item', 'Thing')",
        "migrations.RemoveField('thing', 'a')",
        reader=reader,
    )

    assert (locks(first), first.compatible) == ("", True)
    assert (locks(then), then.compatible) == ("SRE:shop.target:short", True)
    assert not read("migrations.RemoveField('item', 'a')").compatible


def test_a_squashed_migration_does_nothing_where_the_others_were() -> None:
    made = "migrations.CreateModel('Item', []), migrations.RunPython(forward)"
    replaces = "replaces = [('shop', '0001_initial'), ('shop', '0002_more')]"
    there = {"project/shop/migrations/0001_initial.py", "project/shop/migrations/0002_more.py"}
    reader = Reader(there.__contains__)

    squashed = read(made, more=replaces, reader=reader)
    assert (squashed.operations, squashed.locks) == (["stands for 2 others that were there before"], [])
    assert squashed.compatible
    assert not read("migrations.RemoveField('item', 'a')", reader=reader).compatible, "it made no new table"
    for known in (set(), {"project/shop/migrations/0001_initial.py"}):
        assert not read(made, more=replaces, reader=Reader(known.__contains__)).compatible
    other = replaces.replace("('shop', '0002_more')", "('other', '0002_more')")
    assert not read(made, more=other, reader=Reader(there.__contains__)).compatible


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def broken(:",
        "match = 1\0",
        "\udce9",
        "1",
        "class Migration:\n    operations = []",
        "from elsewhere import migrations\nclass Migration(migrations.Migration):\n    operations = []",
        HEAD.format(operations="", more="def apply(self, *words): pass"),
        HEAD.format(operations="", more="if True: atomic = False"),
        HEAD.format(operations="", more="replaces = OTHERS"),
        HEAD.format(operations="", more="operations = []").replace("operations = []\n", "operations = [] + MORE\n"),
        HEAD.format(operations="*" * 3, more=""),
    ],
)
def test_what_cannot_be_told(text: str) -> None:
    migration = Reader().read("shop/migrations/0002_x.py", text)

    assert migration.operations[0].startswith("cannot be told: ")
    assert (locks(migration), migration.compatible, migration.app) == ("?::unknown", False, "shop")


def test_no_code_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert read("migrations.RunPython(print('run'))", more="atomic = print('run')").operations
    assert capsys.readouterr().out == ""
