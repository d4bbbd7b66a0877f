"""A development server: works without a secrets file, and keeps its data in `local/`."""

from config.settings.base import *  # noqa: F403
from config.settings.base import PROJECT_DIR, secrets

LOCAL_DIR = PROJECT_DIR.parent / "local"
LOCAL_DIR.mkdir(exist_ok=True)

DEBUG = True
SECRET_KEY = EXPORT_SIGNING_KEY = "a development server keeps no secrets"
ALLOWED_HOSTS = secrets.get("ALLOWED_HOSTS", [])

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": LOCAL_DIR / "db.sqlite3",
    }
}

STATIC_ROOT = LOCAL_DIR / "static"
MEDIA_ROOT = LOCAL_DIR / "media"
MAINTENANCE_DETAILS_FILE_PATH = LOCAL_DIR / "maintenance.json"

EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
if EMAIL_FILE_PATH := secrets.get("EMAIL_FILE_PATH"):
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
