"""Visit the sample site as its people do, with a Django that mails to localhost:25 as in production.

visit ask DOMAIN ADDRESS    register with this address, and ask for a password reset of another account with it
visit open LINK...          follow links that came by mail, to their ends
visit inject DOMAIN         try to smuggle headers into a mail
"""

import json
import os
import sys

LAB = "/srv/lab/mail"
sys.path[:0] = [f"{LAB}/site/project", "{}/{}.{}".format(LAB, *sys.version_info[:2])]
sys.dont_write_bytecode = True
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings.local"

import django  # noqa: E402  # found by the paths above
from django.conf import settings  # noqa: E402  # found by the paths above

command, *words = sys.argv[1:]
settings.DATABASES["default"]["NAME"] = "/var/tmp/visit.sqlite3"
settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
settings.EMAIL_HOST, settings.EMAIL_PORT = "localhost", 25
settings.DEFAULT_FROM_EMAIL = f"webmaster@{words[0]}"
settings.ALLOWED_HOSTS = ["coralnet.test"]
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402  # it wants what was set up
from django.core.mail import send_mail  # noqa: E402  # it wants what was set up
from django.core.management import call_command  # noqa: E402  # it wants what was set up
from django.test import Client  # noqa: E402  # it wants what was set up


def client():
    return Client(SERVER_NAME="coralnet.test")


def ask(domain, address):
    users = get_user_model().objects
    users.all().delete()
    users.create_user("known", address, "staghorn-and-table")
    registered = client().post(
        "/accounts/register/", {"username": "new", "email": address, "password": "brain-and-fire"}
    )
    reset = client().post("/accounts/password_reset/", {"email": address})
    return {"registered": registered.status_code, "reset": reset.status_code}


def follow(link):
    visitor = client()
    path = "/" + link.partition("://")[2].partition("/")[2]
    if "activate" in path:
        visitor.get(path)
        return visitor.login(username="new", password="brain-and-fire")
    form = visitor.get(path, follow=True)
    new = {"new_password1": "elkhorn-and-moss", "new_password2": "elkhorn-and-moss"}
    visitor.post(form.redirect_chain[-1][0], new)
    return visitor.login(username="known", password="elkhorn-and-moss")


def refused(attempt):
    try:
        attempt()
    except ValueError as exc:  # BadHeaderError is one
        return type(exc).__name__
    return ""


def inject(domain):
    sender, bcc = f"webmaster@{domain}", "\nBcc: victim@dest.test"
    answer = client().post(
        "/accounts/register/", {"username": "evil", "email": f"a@dest.test{bcc}", "password": "brain-and-fire"}
    )
    return {
        "subject": refused(lambda: send_mail(f"hello{bcc}", "x", sender, ["a@dest.test"])),
        "sender": refused(lambda: send_mail("hello", "x", f"{sender}{bcc}", ["a@dest.test"])),
        "recipient": refused(lambda: send_mail("hello", "x", sender, [f"a@dest.test{bcc}"])),
        "form": "errorlist" in answer.content.decode(),
    }


def follow_all(*links):
    return {link: follow(link) for link in links}


call_command("migrate", verbosity=0)
print(json.dumps({"ask": ask, "open": follow_all, "inject": inject}[command](*words)))
