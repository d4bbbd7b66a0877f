"""Check the settings and models, collect and compress the static files, and name the migrations that are to run.

Run by Django's `shell --command`, after settings_check.py: one process, since Django takes half a second to start.
Takes JSON on its standard input: `settings` by what the settings are judged, if they are; `collect` and `migrate` say
whether, `compress` in which directory. Prints JSON as its last line.
"""

import gzip
import io
import json
import re
import shutil
import sys
import zlib
from pathlib import Path

from django.core.management import call_command

TEXT = {".css", ".csv", ".html", ".js", ".json", ".map", ".mjs", ".svg", ".ttf", ".txt", ".wasm", ".xml"}


def output_of(command, **options):
    """Run a management command and return what it prints."""
    output = io.StringIO()
    call_command(command, stdout=output, no_color=True, **options)
    return output.getvalue()


def compress(path):
    """Put a compressed file beside one, for nginx's gzip_static, where there is none of the same content.

    Times do not tell, since Django writes files with hashes in their names anew. It is moved there when it is whole.
    """
    beside, fresh = Path(f"{path}.gz"), Path(f"{path}.gz.new")
    content = path.read_bytes()
    try:
        if gzip.decompress(beside.read_bytes()) == content:
            return False
    except (OSError, EOFError, zlib.error):
        pass  # not there, or not whole
    fresh.write_bytes(gzip.compress(content, 9, mtime=0))
    shutil.copystat(path, fresh)
    fresh.replace(beside)
    return True


def texts(root):
    """List the files that are worth it."""
    for path in sorted(root.rglob("*")):
        is_text = path.suffix in TEXT and path.name != "staticfiles.json"
        if is_text and path.is_file() and not path.is_symlink() and path.stat().st_size > 1024:
            yield path


given = json.load(sys.stdin)
done = {"collected": 0, "compressed": 0, "migrations": []}
call_command("check")
if given["settings"]:
    wrong = globals()["settings_report"](given["settings"])["wrong"]  # of settings_check.py, which came before
    if wrong:
        sys.exit(
            f"The settings are not fit for this environment: {'; '.join(wrong)}. What is right as it is can be named "
            "in django_app_settings_skip"
        )
if given["collect"]:
    found = re.search(r"(?m)^([0-9]+) static file", output_of("collectstatic", interactive=False, verbosity=1))
    done["collected"] = int(found.group(1)) if found else 0
if given["compress"]:
    done["compressed"] = sum(map(compress, texts(Path(given["compress"]))))
if given["migrate"]:
    # An operation of a migration stands below its name, further in
    plan = output_of("migrate", plan=True, interactive=False).splitlines()
    done["migrations"] = [line for line in plan if re.match(r"\S+\.\S+$", line)]
print(json.dumps(done))
