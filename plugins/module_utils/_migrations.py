# Copyright: CoralNet server contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Django migrations do to a PostgreSQL database while visitors use it, told from their text alone.

No code is run and no database is asked, so check mode says the same as a run. What the text does not tell is unknown,
and unknown counts as trouble. "Compatible" is whether code that does not know the migration can go on with its schema.

Sources (PostgreSQL 15 to 17, Django 4.2 to 5.2); the locks were compared with pg_locks:
- https://www.postgresql.org/docs/17/explicit-locking.html#LOCKING-TABLES: what a lock makes wait
- https://www.postgresql.org/docs/17/sql-altertable.html, sql-createindex.html, sql-dropindex.html: who takes which, and
  what has to read or write every row
- https://docs.djangoproject.com/en/5.2/ref/migration-operations/ and /ref/contrib/postgres/operations/
- https://docs.djangoproject.com/en/5.2/ref/models/fields/#db-default: a default that the database knows
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

# From the weakest to the strongest, with what waits for it
LOCKS = {
    "SHARE UPDATE EXCLUSIVE": "nothing waits",
    "SHARE": "writes wait",
    "SHARE ROW EXCLUSIVE": "writes wait",
    "ACCESS EXCLUSIVE": "reads and writes wait",
    "unknown": "reads and writes may wait",
}
CONCURRENT, SHARE, SHARE_ROW, ACCESS, UNKNOWN = LOCKS
# How long a lock is held
LASTS = {"short": "shortly", "size": "for as long as the table is large", "unknown": "nobody knows how long"}
SHORT, SIZE, ENDLESS = LASTS

OPERATIONS = ("django.db.migrations.", "django.contrib.postgres.operations.")
RELATIONS = {"ForeignKey", "OneToOneField", "ManyToManyField"}
# PostgreSQL reads the whole table for the CHECK that comes with these, or for an index, and writes it for the last one
READS_ALL = {
    "PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField", "OneToOneField", "GeneratedField"
}  # fmt: skip
INDEXED_FIELDS = {"ForeignKey", "SlugField"}
# Fields from elsewhere may be indexed by themselves, as those of places on earth are
PLAIN = {"django.db.models", "django.contrib.postgres.fields"}
INDEXED = {"condition", "include", "nulls_distinct", "opclasses"}
NOT_KNOWN = "what it does is not known"


@dataclass(frozen=True)
class Lock:
    """A lock on a table (app.model), and how long it lasts."""

    table: str
    lock: str
    lasts: str = SHORT

    def __str__(self) -> str:
        where = f" on {self.table}" if self.table else ""
        lasts = "" if self.lock == CONCURRENT else f", {LASTS[self.lasts]}"
        return f"{self.lock}{where}: {LOCKS[self.lock]}{lasts}"


@dataclass
class Migration:
    """What one file does."""

    path: str
    app: str
    name: str
    operations: list[str] = field(default_factory=list)
    locks: list[Lock] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def compatible(self) -> bool:
        return not self.reasons

    def lines(self) -> list[str]:
        """Say it in words."""
        troubles = [f"the older code cannot go on with it: {reason}" for reason in self.reasons]
        return [*self.operations, *map(str, self.locks), *(troubles or ["the older code can go on with it"])]

    def result(self) -> dict[str, Any]:
        """Give it as a module returns it."""
        locks = [
            {
                **asdict(lock),
                "reads_wait": "reads" in LOCKS[lock.lock],
                "writes_wait": "writes" in LOCKS[lock.lock],
                "words": str(lock),
            }
            for lock in self.locks
        ]
        return {**asdict(self), "locks": locks, "compatible": self.compatible}


@dataclass(frozen=True)
class Effect:
    """What one operation does."""

    words: str
    locks: tuple[Lock, ...] = ()
    trouble: str = ""


class UnreadableError(Exception):
    """The file is not one that can be told without running it."""


class Arguments:
    """What an operation or a field is called with, by its names or by its places."""

    def __init__(self, call: ast.Call, places: str = "") -> None:
        named = zip(places.split(), call.args, strict=False)
        self._nodes = {**dict(named), **{word.arg: word.value for word in call.keywords if word.arg}}
        # More comes from elsewhere: f(*these, **those)
        self.open = any(isinstance(node, ast.Starred) for node in call.args) or None in [w.arg for w in call.keywords]

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def node(self, name: str) -> ast.expr:
        return self._nodes.get(name, ast.Constant(None))

    def text(self, name: str) -> str:
        node = self.node(name)
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)

    def is_true(self, name: str) -> bool:
        node = self.node(name)
        return isinstance(node, ast.Constant) and node.value is True

    def maybe(self, name: str, *, default: bool = False) -> bool:
        return _maybe(self._nodes.get(name), default=default)


@dataclass(frozen=True)
class Kind:
    """An operation that is told by its name: the names of its arguments, words, lock, and what is wrong with it."""

    places: str
    words: str
    lock: str = ""
    lasts: str = SHORT
    trouble: str = ""


ASKED = "the older code asks for what is gone"
KINDS = {
    "AddConstraintNotValid": Kind(
        "model_name constraint", "adds a constraint to {model_name}", ACCESS, SHORT, "the older code may break it"
    ),
    "AddIndex": Kind("model_name index", "adds an index to {model_name}", SHARE, SIZE),
    "AddIndexConcurrently": Kind("model_name index", "adds an index to {model_name}, concurrently", CONCURRENT),
    "AlterConstraint": Kind("model_name name constraint", "says {name} of {model_name} in other words"),
    "AlterField": Kind(
        "model_name name field preserve_default",
        "changes the field {model_name}.{name}",
        ACCESS,
        SIZE,
        "what changes is not said",
    ),
    "AlterIndexTogether": Kind("name index_together", "changes the indexes of {name}", ACCESS, SIZE),
    "AlterModelManagers": Kind("name managers", "changes the managers of {name}"),
    "AlterModelOptions": Kind("name options", "changes the options of {name}"),
    "AlterModelTable": Kind("name table", "renames the table of {name}", ACCESS, SHORT, ASKED),
    "AlterModelTableComment": Kind("name table_comment", "changes the comment on the table of {name}", CONCURRENT),
    "AlterOrderWithRespectTo": Kind(
        "name order_with_respect_to", "changes the order of {name}", ACCESS, SIZE, "the older code fills no order in"
    ),
    "AlterUniqueTogether": Kind(
        "name unique_together",
        "changes what is unique together in {name}",
        ACCESS,
        SIZE,
        "the older code may break it, or count on what is gone",
    ),
    "DeleteModel": Kind("name", "deletes the model {name}", ACCESS, SHORT, ASKED),
    "RemoveConstraint": Kind(
        "model_name name", "removes {name} from {model_name}", ACCESS, SHORT, "the older code may count on it"
    ),
    "RemoveField": Kind("model_name name", "removes the field {model_name}.{name}", ACCESS, SHORT, ASKED),
    "RemoveIndex": Kind("model_name name", "removes the index {name}", ACCESS),
    "RemoveIndexConcurrently": Kind("model_name name", "removes the index {name}, concurrently", CONCURRENT),
    "RenameField": Kind(
        "model_name old_name new_name", "renames {model_name}.{old_name} to {new_name}", ACCESS, SHORT, ASKED
    ),
    "RenameIndex": Kind(
        "model_name new_name old_name old_fields", "renames an index of {model_name} to {new_name}", CONCURRENT
    ),
    "RenameModel": Kind(
        "old_name new_name", "renames the model {old_name} to {new_name}", ACCESS, SHORT, ASKED
    ),
    "ValidateConstraint": Kind("model_name name", "validates {name} of {model_name}", CONCURRENT),
}  # fmt: skip
EXTENSIONS = {
    "BloomExtension", "BtreeGinExtension", "BtreeGistExtension", "CITextExtension", "CryptoExtension",
    "HStoreExtension", "TrigramExtension", "UnaccentExtension",
}  # fmt: skip


class Reader:
    """Reads the migrations of one update, in their order: what one makes, the older code does not know."""

    def __init__(self, there_before: Callable[[str], bool] = lambda _path: False) -> None:
        self._there_before = there_before
        self._made: set[str] = set()
        self._app = ""
        self._imports: dict[str, str] = {}

    def read(self, path: str, text: str) -> Migration:
        folder, file = posixpath.split(path)
        self._app = posixpath.basename(posixpath.dirname(folder))
        migration = Migration(path, self._app, file.removesuffix(".py"))
        try:
            tree = ast.parse(text)
            self._imports = dict(_imports(tree))
            values = self._attributes(tree)
            replaced = [f"{folder}/{name}.py" for name in self._replaced(values.get("replaces"))]
            if replaced and all(map(self._there_before, replaced)):
                migration.operations = [f"stands for {len(replaced)} others that were there before"]
                return migration
            effects = [effect for node in _elements(values.get("operations")) for effect in self._effects(node)]
        except (SyntaxError, ValueError, RecursionError, MemoryError, UnreadableError) as exc:
            migration.operations = [f"cannot be told: {getattr(exc, 'msg', None) or exc}"]
            migration.locks = [Lock("", UNKNOWN, ENDLESS)]
            migration.reasons = [NOT_KNOWN]
            return migration
        migration.operations = [effect.words for effect in effects]
        migration.reasons = [f"{effect.words}: {effect.trouble}" for effect in effects if effect.trouble]
        migration.locks = _merged([effect.locks for effect in effects], _maybe(values.get("atomic"), default=True))
        return migration

    def _attributes(self, tree: ast.Module) -> dict[str, ast.expr]:
        """Find the one class, with nothing in it but plain attributes."""
        found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Migration"]
        if len(found) != 1 or [self._name(base) for base in found[0].bases] != ["django.db.migrations.Migration"]:
            raise UnreadableError("it has no class Migration of Django's own kind")
        values: dict[str, ast.expr] = {}
        for node in found[0].body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                values[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                values[node.target.id] = node.value
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # a docstring
                raise UnreadableError("its class Migration has code of its own")
        return values

    def _replaced(self, node: ast.expr | None) -> Iterator[str]:
        for pair in _elements(node):
            app, name = [part.value if isinstance(part, ast.Constant) else "" for part in _elements(pair)]
            yield str(name) if app == self._app else ""

    def _effects(self, node: ast.expr) -> Iterator[Effect]:
        name = self._name(node.func) if isinstance(node, ast.Call) else ""
        if not isinstance(node, ast.Call) or not name.startswith(OPERATIONS):
            yield self._unknown(f"an operation of the site's own ({_short(node)})")
            return
        name = name.rpartition(".")[2]
        if Arguments(node).open:
            yield self._unknown(name)
            return
        special: dict[str, Callable[[ast.Call], Iterable[Effect]]] = {
            "AddConstraint": self._add_constraint,
            "AddField": self._add_field,
            "CreateModel": self._create_model,
            "RunPython": self._run,
            "RunSQL": self._run,
            "SeparateDatabaseAndState": self._separate,
        }
        if name in special:
            yield from special[name](node)
        elif name in EXTENSIONS or name in ("CreateCollation", "CreateExtension"):
            yield Effect(f"{name}, beside the tables")
        elif name in KINDS:
            yield self._by_name(node, name)
        else:
            yield self._unknown(name)

    def _by_name(self, node: ast.Call, name: str) -> Effect:
        kind = KINDS[name]
        arguments = Arguments(node, kind.places)
        words = kind.words.format(**{place: arguments.text(place) for place in kind.places.split()})
        table = self._table(arguments.text(kind.places.split()[0]))
        if table in self._made:
            if name == "RenameModel":
                self._made.add(self._table(arguments.text("new_name")))
            return Effect(words)
        locks = (Lock(table, kind.lock, kind.lasts),) if kind.lock else ()
        return Effect(words, locks, kind.trouble)

    def _create_model(self, node: ast.Call) -> Iterator[Effect]:
        arguments = Arguments(node, "name fields options bases managers")
        words = f"creates the model {arguments.text('name')}"
        options = arguments.node("options")
        keys = options.keys if isinstance(options, ast.Dict) else []
        if any(isinstance(key, ast.Constant) and key.value in ("proxy", "managed") for key in keys):
            yield Effect(f"{words}, without a table")  # or with one, which is then new
            return
        table = self._table(arguments.text("name"))
        self._made.add(table)
        fields = [_elements(pair) for pair in _elements(arguments.node("fields"))]
        calls = [pair[1] for pair in fields if len(pair) == 2 and isinstance(pair[1], ast.Call)]
        targets = {target for call in calls for target in self._targets(call, table)}
        yield Effect(words, tuple(Lock(target, SHARE_ROW) for target in sorted(targets - self._made)))

    def _add_field(self, node: ast.Call) -> Iterator[Effect]:
        arguments = Arguments(node, "model_name name field preserve_default")
        table = self._table(arguments.text("model_name"))
        call = arguments.node("field")
        words = f"adds the field {arguments.text('model_name')}.{arguments.text('name')}"
        if not isinstance(call, ast.Call) or Arguments(call).open:
            yield self._unknown(words)
            return
        place, _dot, kind = self._name(call.func).rpartition(".")
        given = Arguments(call, "to")
        targets = tuple(Lock(target, SHARE_ROW) for target in self._targets(call, table) - self._made)
        words = f"{words} ({kind or _short(call)})"
        if table in self._made:
            yield Effect(words, targets)
        elif kind == "ManyToManyField":
            own = [] if "through" in given else [Lock(table, SHARE_ROW)]
            yield Effect(words, (*own, *targets))
        else:
            reads_all = (
                place not in PLAIN
                or kind in READS_ALL
                or given.maybe("unique")
                or given.maybe("db_index", default=kind in INDEXED_FIELDS)
                or not isinstance(given.node("db_default"), ast.Constant)
                or (targets and ("default" in given or "db_default" in given))
            )
            lock = Lock(table, ACCESS, SIZE if reads_all else SHORT)
            yield Effect(words, (lock, *targets), _trouble_of_a_field(kind, given))

    def _add_constraint(self, node: ast.Call) -> Iterator[Effect]:
        arguments = Arguments(node, "model_name constraint")
        table, constraint = self._table(arguments.text("model_name")), arguments.node("constraint")
        words = f"adds a constraint to {arguments.text('model_name')}"
        if table in self._made:
            yield Effect(words)
            return
        lock = ACCESS
        if isinstance(constraint, ast.Call) and self._name(constraint.func).endswith(".UniqueConstraint"):
            # Django makes a unique index of what SQL has no constraint for
            by_index = constraint.args or {word.arg for word in constraint.keywords} & INDEXED
            lock = SHARE if by_index else ACCESS
        yield Effect(words, (Lock(table, lock, SIZE),), "the older code may break it")

    def _run(self, node: ast.Call) -> Iterator[Effect]:
        """Take what does nothing for that, and nothing else for known."""
        kind = self._name(node.func).rpartition(".")[2]
        what = Arguments(node, "sql" if kind == "RunSQL" else "code").node("sql" if kind == "RunSQL" else "code")
        if ast.unparse(what) in ("''", "[]") or self._name(what).endswith(f".{kind}.noop"):
            yield Effect(f"{kind} that does nothing on the way forward")
        else:
            yield self._unknown(f"{kind} ({_short(what)})")

    def _separate(self, node: ast.Call) -> Iterator[Effect]:
        """Pass over what Django alone is told; the database does the rest."""
        arguments = Arguments(node, "database_operations state_operations")
        yield Effect("tells Django what the database is told otherwise")
        if arguments.maybe("database_operations"):
            for operation in _elements(arguments.node("database_operations")):
                yield from self._effects(operation)

    def _unknown(self, words: str) -> Effect:
        return Effect(words, (Lock("", UNKNOWN, ENDLESS),), NOT_KNOWN)

    def _targets(self, call: ast.Call, table: str) -> set[str]:
        """Name the tables that a field refers to, itself left out."""
        kind, given = self._name(call.func).rpartition(".")[2], Arguments(call, "to")
        if (kind not in RELATIONS and "on_delete" not in given) or not given.maybe("to"):
            return set()
        if "through" in given or not given.maybe("db_constraint", default=True):
            return set()
        return {self._table(given.text("to"))} - {table, self._table("self")}

    def _table(self, model: str) -> str:
        if model.startswith("settings.") or "." not in model:
            return model if model.startswith("settings.") else f"{self._app}.{model.lower()}"
        return model.lower()

    def _name(self, node: ast.expr) -> str:
        """Say in full what a name stands for; empty where it is none."""
        if isinstance(node, ast.Attribute):
            of = self._name(node.value)
            return f"{of}.{node.attr}" if of else ""
        return self._imports.get(node.id, "") if isinstance(node, ast.Name) else ""


def _trouble_of_a_field(kind: str, given: Arguments) -> str:
    if kind == "GeneratedField":
        return ""
    if "db_default" in given:
        twice = given.maybe("unique") or given.maybe("primary_key") or kind == "OneToOneField"
        return "the older code would give two rows the same value" if twice else ""
    return "" if given.is_true("null") else "the older code fills nothing in, and it has neither null nor db_default"


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            for name in node.names:
                yield (name.asname, name.name) if name.asname else (name.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for name in node.names:
                yield name.asname or name.name, f"{node.module}.{name.name}"


def _maybe(node: ast.expr | None, *, default: bool = False) -> bool:
    """Say whether it may be true, which all is but a plain False, None or nothing."""
    return default if node is None else not (isinstance(node, ast.Constant) and not node.value)


def _elements(node: ast.expr | None) -> list[ast.expr]:
    if node is None:
        return []
    if not isinstance(node, (ast.List, ast.Tuple)):
        raise UnreadableError("its lists are made by code")
    return node.elts


def _short(node: ast.expr) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _merged(steps: list[tuple[Lock, ...]], atomic: bool) -> list[Lock]:
    """Give each table's strongest lock and how long it lasts: to the end, where the migration is one transaction."""
    found: dict[str, Lock] = {}
    for number, locks in enumerate(steps):
        later = [lock.lasts for step in steps[number:] for lock in step] if atomic else []
        for lock in locks:
            before = found.get(lock.table, lock)
            found[lock.table] = replace(
                lock,
                lock=max(lock.lock, before.lock, key=list(LOCKS).index),
                lasts=max([lock.lasts, before.lasts, *later], key=list(LASTS).index),
            )
    return list(found.values())
