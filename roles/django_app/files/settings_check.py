"""Judge a site's settings for where it runs: what is wrong, and what to set instead. No value of a setting is told.

Run in Django's `shell --command`, by whoever calls `settings_report`. It prints nothing, so that several can share a
process.
"""

import re
from urllib.parse import urlsplit

from django import conf
from django.core import checks
from django.http.request import validate_host
from django.utils.http import is_same_domain

LENGTH, VARIETY = 50, 5  # as Django's own security.W009
# Words of keys that were never meant to be secret
KNOWN = re.compile(
    r"insecure|change.?me|replace|example|placeholder|default|your.?(secret|key)|secret.?key|(no|not|so).?secret"
    r"|long random text",
    re.IGNORECASE,
)


def settings_report(wanted):
    """Judge the settings of this process and run Django's own checks; JSON can hold what is returned."""
    settings, messages = judge(conf.settings, wanted), deployment_checks(wanted)
    wrong = [each["set"] for each in settings if not each["ok"]]
    wrong += [each["message"] for each in messages if each["fails"]]
    return {"settings": settings, "checks": messages, "wrong": wrong}


def judge(settings, wanted):
    """Say of each setting whether it is as it should be, and what to set where it is not.

    `wanted` has `debug` (whether DEBUG may be on), `https` (whether visitors come over TLS), `hosts` (their names for
    the site), `headers` (those that the web server sends) and `skip` (settings that are not judged).
    """
    # With DEBUG where it may be, on a machine of one's own, Django itself takes the loopback's names alone
    own = wanted["debug"] and settings.DEBUG
    found = [("DEBUG", wanted["debug"] or not settings.DEBUG, "False")]
    if not own:
        found += [*keys(settings), *hosts(settings, wanted["hosts"])]
        found += https(settings, wanted) if wanted["https"] else http(settings)
    return [
        {"setting": name, "ok": bool(ok), "set": "" if ok else f"set {name} to {value}"}
        for name, ok, value in found
        if name not in wanted["skip"]
    ]


def keys(settings):
    """Keys sign sessions and links that reset passwords: whoever knows one is anybody."""
    secret = f"{LENGTH} random characters or more, which nothing else has"
    yield "SECRET_KEY", is_secret(settings.SECRET_KEY), secret
    fallbacks = list(getattr(settings, "SECRET_KEY_FALLBACKS", []))  # since Django 4.1
    yield "SECRET_KEY_FALLBACKS", all(map(is_secret, fallbacks)), f"keys of {secret}, or to an empty list"


def is_secret(key):
    """Say whether nobody can guess it."""
    text = key.decode("latin-1") if isinstance(key, bytes) else str(key)
    return len(text) >= LENGTH and len(set(text)) >= VARIETY and not KNOWN.search(text)


def hosts(settings, names):
    """Host headers are anybody's to choose, and stand in the links that the site mails."""
    allowed = list(settings.ALLOWED_HOSTS)
    anybody = any(pattern in ("*", ".") for pattern in allowed)
    refused = [name for name in names if not validate_host(name.lower(), allowed)]
    ok = allowed and not anybody and not refused
    yield "ALLOWED_HOSTS", ok, f"the names of the site and no '*': {', '.join(names) or 'those in its addresses'}"


def https(settings, wanted):
    """Cookies that are sent over TLS alone, and a Django that knows of it."""
    header = settings.SECURE_PROXY_SSL_HEADER
    sent = {f"HTTP_{name.upper().replace('-', '_')}": str(value) for name, value in wanted["headers"].items()}
    secure = bool(header) and sent.get(header[0], "").split(",")[0].strip() == header[1]
    said = [*(item for item in sent.items() if item[1] == "https"), ("HTTP_X_FORWARDED_PROTO", "https")]
    yield (
        "SECURE_PROXY_SSL_HEADER",
        secure,
        f"{said[0]}, which is the header that the web server sends",
    )
    yield "SESSION_COOKIE_SECURE", settings.SESSION_COOKIE_SECURE, "True"
    yield "CSRF_COOKIE_SECURE", settings.CSRF_COOKIE_SECURE or settings.CSRF_USE_SESSIONS, "True"
    origins = list(settings.CSRF_TRUSTED_ORIGINS)
    plain = [origin for origin in origins if origin.startswith("http:")]
    # Of a request that is known to be secure, the site's own origin is trusted anyway
    missing = [name for name in wanted["hosts"] if not (secure or trusts(origins, name))]
    value = ", ".join(f"https://{name}" for name in wanted["hosts"]) or "the site's addresses, with https://"
    yield "CSRF_TRUSTED_ORIGINS", not missing and not plain, f"{value}; none with http:"


def trusts(origins, name):
    """Say whether a form that a name's own page sends over TLS is among the origins."""
    parts = [urlsplit(origin) for origin in origins]
    return any(part.scheme == "https" and is_same_domain(name, part.netloc.lstrip("*")) for part in parts)


def http(settings):
    """A browser keeps secure cookies to itself where there is no TLS, so nobody could log in."""
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        yield name, not getattr(settings, name), "False, or serve the site with TLS"


def deployment_checks(wanted):
    """Run `check --deploy`; `fails` is what the level `fail_level` says of each message."""
    level = getattr(checks, wanted["fail_level"], checks.CRITICAL + 1)
    return [
        {
            "id": message.id or "",
            "level": message.level,
            "fails": message.level >= level,
            "message": " ".join(str(message.msg).split()),
            "hint": " ".join(str(message.hint or "").split()),
        }
        for message in checks.run_checks(include_deployment_checks=True)
        if not message.is_silenced()
    ]
