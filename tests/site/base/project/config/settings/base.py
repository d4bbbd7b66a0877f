"""What every environment shares."""

import os
from pathlib import Path

from config.settings.more import MORE_APPS
from config.settings.secrets import Secrets

PROJECT_DIR = Path(__file__).resolve().parents[2]

secrets = Secrets(Path(os.environ.get("SECRETS_FILE") or Path(__file__).with_name("secrets.json")))

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "accounts",
    # Before huey's own application, whose commands it may replace
    "jobs",
    "huey.contrib.djhuey",
    "maintenance",
    "sources",
    *MORE_APPS,
]

MIDDLEWARE = [
    # First, so that every response names the version that made it
    "config.middleware.site_version",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [PROJECT_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.context_processors.site_version",
                "maintenance.context_processors.notice",
            ],
        },
    },
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "source_list"
LOGOUT_REDIRECT_URL = "home"

LANGUAGE_CODE = "en-us"
USE_TZ = True
# The time zone of the people who announce maintenance; servers run in UTC.
TIME_ZONE = secrets.get("TIME_ZONE", "America/Los_Angeles")

STATIC_URL = "/static/"
STATICFILES_DIRS = [PROJECT_DIR / "static"]
MEDIA_URL = "/media/"

# Where jobs wait for a worker. Without a broker each is done at once, by whoever queues it.
BROKER = secrets.get("REDIS_URL")
HUEY = {
    "name": "jobs",
    "huey_class": "huey.RedisHuey" if BROKER else "huey.MemoryHuey",
    "immediate": not BROKER,
    "connection": {"url": BROKER} if BROKER else {},
}

DEFAULT_FROM_EMAIL = secrets.get("DEFAULT_FROM_EMAIL", "webmaster@localhost")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
ADMINS = secrets.get("ADMINS", [])
