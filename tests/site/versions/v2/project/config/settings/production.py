"""A server behind nginx, which ends TLS and serves static files and media."""

from config.settings.base import *  # noqa: F403
from config.settings.base import secrets

REQUIRED_SECRETS = [
    "SECRET_KEY",
    "DATABASE",
    "ALLOWED_HOSTS",
    "STATIC_ROOT",
    "MEDIA_ROOT",
    "MAINTENANCE_DETAILS_FILE_PATH",
    "EXPORT_SIGNING_KEY",
]
secrets.require(REQUIRED_SECRETS)

DEBUG = False
SECRET_KEY = secrets["SECRET_KEY"]
EXPORT_SIGNING_KEY = secrets["EXPORT_SIGNING_KEY"]
ALLOWED_HOSTS = secrets["ALLOWED_HOSTS"]
CSRF_TRUSTED_ORIGINS = secrets.get("CSRF_TRUSTED_ORIGINS", [])

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        # A thread keeps its connection, and notices when the database was restarted.
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        **secrets["DATABASE"],
    }
}

STATIC_ROOT = secrets["STATIC_ROOT"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}

MEDIA_ROOT = secrets["MEDIA_ROOT"]
# nginx reads uploads through their group, which new directories inherit by their setgid bit:
# a mode set here would take the bit away.
FILE_UPLOAD_PERMISSIONS = 0o640
FILE_UPLOAD_DIRECTORY_PERMISSIONS = None

MAINTENANCE_DETAILS_FILE_PATH = secrets["MAINTENANCE_DETAILS_FILE_PATH"]

EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
EMAIL_HOST = secrets.get("EMAIL_HOST", "localhost")
EMAIL_PORT = secrets.get("EMAIL_PORT", 25)
EMAIL_TIMEOUT = 30
# Staging reads its mail in a directory.
if EMAIL_FILE_PATH := secrets.get("EMAIL_FILE_PATH"):
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = secrets.get("SECURE", True)
# HSTS and the redirect to https are nginx's.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    # To stderr: the journal adds time and process.
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
