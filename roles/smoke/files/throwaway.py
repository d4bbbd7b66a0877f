"""Make the accounts of a walk through the site, or remove whatever has the walk's name.

Run by Django's `shell --command`. Takes JSON on its standard input: `run` is the name, and either `make` has accounts
(`superuser` and `fields`), or `remove` has what to remove besides accounts (`model`, and the `field` with the name) and
`cookies` those that the site has given (lists of values, by name), whose sessions end. Prints how many it removed.
"""

import json
import re
import sys
from collections import Counter
from importlib import import_module

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

task = json.load(sys.stdin)
run, users = task["run"], get_user_model()
# Everything with it in its name is removed, so it must be one that nothing else has
if not re.fullmatch("smoke[0-9a-f]{10}", run):
    sys.exit(f"{run!r} is no name of a walk")

removed = Counter()
# By itself, since nobody shall stay logged in where something cannot be removed
if "remove" in task and "django.contrib.sessions" in settings.INSTALLED_APPS:
    sessions = import_module(settings.SESSION_ENGINE).SessionStore
    for key in task["cookies"].get(settings.SESSION_COOKIE_NAME, []):
        sessions(key).delete()
with transaction.atomic():
    for account in task.get("make", []):
        if run not in account["fields"].get(users.USERNAME_FIELD, ""):
            sys.exit(f"an account of this walk needs {run} in its {users.USERNAME_FIELD}")
        manager = users._default_manager
        (manager.create_superuser if account["superuser"] else manager.create_user)(**account["fields"])
    if "remove" in task:
        # One by one and not all in one statement: a site may have its own way to delete what goes with it
        objects = [(apps.get_model(each["model"]), each["field"]) for each in task["remove"]]
        for model, field in [*objects, (users, users.USERNAME_FIELD)]:
            for found in model._base_manager.filter(**{f"{field}__contains": run}):
                removed.update(found.delete()[1])
print(json.dumps(removed))
