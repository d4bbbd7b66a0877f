"""List the static files that a release knows, or remove those that neither it nor the given ones name.

Run by Django's `shell --command`. Takes JSON on its standard input: with nothing there it prints the list as JSON, and
with `known` (a list) and `keep` (patterns) it removes what is in none of them.
"""

import json
import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import staticfiles_storage

known = set()
for finder in get_finders():
    for path, storage in finder.list([]):
        known.add(str(Path(getattr(storage, "prefix", None) or "", path)))
# What ManifestStaticFilesStorage has made of them, and its own list
known |= set(getattr(staticfiles_storage, "hashed_files", {}).values())
known.add(getattr(staticfiles_storage, "manifest_name", ""))

given = json.loads(sys.stdin.read() or "{}")
if not given:
    print(json.dumps(sorted(known)))
else:
    known |= set(given["known"])
    root = Path(settings.STATIC_ROOT)
    for file in [path for path in root.rglob("*") if path.is_file() or path.is_symlink()]:
        name = file.relative_to(root).as_posix()
        compressed = re.sub(r"\.(br|gz)$", "", name)
        if known.isdisjoint({name, compressed}) and not any(fnmatchcase(name, pattern) for pattern in given["keep"]):
            file.unlink()
            print(name)
