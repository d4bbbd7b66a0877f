"""A module that somebody forgot to commit: only the import of this file shows it."""

import os

from django.core.wsgi import get_wsgi_application

from config.forgotten import prepare

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")

prepare()
application = get_wsgi_application()
