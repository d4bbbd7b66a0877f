"""Make the superuser that is described as JSON on standard input, or bring it to what it should be.

Run by Django's `shell --command`. Says what it did, and no value.
"""

import json
import sys

from django.contrib.auth import get_user_model

model = get_user_model()
fields = json.load(sys.stdin)
password = fields.pop("password", None)
name = {model.USERNAME_FIELD: fields[model.USERNAME_FIELD]}
user = model._default_manager.filter(**name).first()
if user is None:
    model._default_manager.create_superuser(password=password, **fields)
    print("superuser made")
else:
    changed = False
    for key, value in {**fields, "is_active": True, "is_staff": True, "is_superuser": True}.items():
        if getattr(user, key, value) != value:
            setattr(user, key, value)
            changed = True
    if password is not None and not user.check_password(password):
        user.set_password(password)
        changed = True
    if changed:
        user.save()
        print("superuser changed")
