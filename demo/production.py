"""Settings of the demo site on a server; what differs from place to place is in the environment.

`SECRET_KEY` and `ALLOWED_HOSTS` must be set. `DATABASE_URL`, `STATIC_ROOT`, `CSRF_TRUSTED_ORIGINS`,
`BEHIND_PROXY`, `HSTS_SECONDS`, `LIVE`, `LOG_LEVEL`, `SITE_URL`, and for mail `EMAIL_HOST`,
`EMAIL_PORT`, `EMAIL_HOST_USER` and `EMAIL_HOST_PASSWORD` may be.
"""

import os

import django
from django.core.exceptions import ImproperlyConfigured

from demo.settings import *  # noqa: F403
from demo.settings import BASE_DIR, DATABASES, MIDDLEWARE, PERSISTENT_MESSAGES


def required(name):
    value = os.environ.get(name, "").strip()
    if not value:
        raise ImproperlyConfigured(f"Set the environment variable {name}: there is no default.")
    return value


def number(name, default):
    value = os.environ.get(name, "").strip() or str(default)
    if not (value.isascii() and value.isdecimal()):
        raise ImproperlyConfigured(f"The environment variable {name} must be a whole number.")
    return int(value)


def listed(text):
    return [part.strip() for part in text.split(",") if part.strip()]


SECRET_KEY = required("SECRET_KEY")
ALLOWED_HOSTS = listed(required("ALLOWED_HOSTS"))
# Where links in mails lead.
_site = os.environ.get("SITE_URL") or f"https://{ALLOWED_HOSTS[0].strip('.*') or 'localhost'}"
PERSISTENT_MESSAGES = {
    **PERSISTENT_MESSAGES,
    "SITE_URL": _site,
    # Under ASGI: of several processes, each tells the others by this server.
    "LIVE": os.environ.get("LIVE", ""),
}
CSRF_TRUSTED_ORIGINS = listed(os.environ.get("CSRF_TRUSTED_ORIGINS", ""))
DEBUG = False  # whatever the environment says

# Only over TLS.
SECURE_SSL_REDIRECT = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# Browsers remember this: on a new domain begin with 60 seconds.
SECURE_HSTS_SECONDS = number("HSTS_SECONDS", default=365 * 24 * 60 * 60)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
if os.environ.get("BEHIND_PROXY") == "1":
    # Only behind a proxy that sets this header itself, whatever the client sent: it is believed.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Opening a connection costs more than most pages here.
DATABASES["default"] |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}

# `manage.py collectstatic` fills it; names with a hash of the content may be cached for ever.
STATIC_ROOT = os.environ.get("STATIC_ROOT") or BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
# Inside the policy, which then holds for files as well.
_policy = MIDDLEWARE.index("demo.csp.StrictPolicyMiddleware") + 1
MIDDLEWARE = [
    *MIDDLEWARE[:_policy],
    "whitenoise.middleware.WhiteNoiseMiddleware",
    *MIDDLEWARE[_policy:],
]

_smtp = "django.core.mail.backends.smtp.EmailBackend"
_relay = {
    "host": os.environ.get("EMAIL_HOST") or "localhost",
    "username": os.environ.get("EMAIL_HOST_USER", ""),
    "password": os.environ.get("EMAIL_HOST_PASSWORD", ""),
    "timeout": 10,  # or a relay that is gone would hold the request for ever
}
_relay["use_tls"] = bool(_relay["username"])  # a password never goes out in the clear
_relay["port"] = number("EMAIL_PORT", default=587 if _relay["use_tls"] else 25)
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _smtp, "OPTIONS": _relay}}
else:
    EMAIL_BACKEND = _smtp
    EMAIL_HOST = _relay["host"]
    EMAIL_PORT = _relay["port"]
    EMAIL_HOST_USER = _relay["username"]
    EMAIL_HOST_PASSWORD = _relay["password"]
    EMAIL_USE_TLS = _relay["use_tls"]
    EMAIL_TIMEOUT = _relay["timeout"]

_level = os.environ.get("LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _level},
    "loggers": {"django": {"level": _level}},  # without the handlers that Django gives it
}
