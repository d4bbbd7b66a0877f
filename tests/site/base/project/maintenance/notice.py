"""The notice: a JSON file, so that every process of the site sees it at once."""

import json
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings


def _path():
    return Path(settings.MAINTENANCE_DETAILS_FILE_PATH)


def put_up(start, message):
    details = {"timestamp": int(start.timestamp()), "message": message}
    _path().write_text(json.dumps(details), encoding="utf-8")


def take_down():
    """Say whether there was a notice."""
    try:
        _path().unlink()
    except FileNotFoundError:
        return False
    return True


def read():
    """None where there is no notice, or none that we may read. A broken one is an error."""
    try:
        details = json.loads(_path().read_text(encoding="utf-8"))
    except OSError:
        return None
    return {
        "start": datetime.fromtimestamp(details["timestamp"], UTC),
        "message": details["message"],
    }
