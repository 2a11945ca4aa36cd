"""Production settings of the demo site, configured by environment variables.

Required: `SECRET_KEY` and `ALLOWED_HOSTS`. Optional: `DATABASE_URL`, `STATIC_ROOT`,
`CSRF_TRUSTED_ORIGINS`, `BEHIND_PROXY`, `HSTS_SECONDS`, `LIVE`, `LOG_LEVEL`, `SITE_URL`, and for
mail `EMAIL_HOST`, `EMAIL_PORT`, `EMAIL_HOST_USER` and `EMAIL_HOST_PASSWORD`.
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
# The beginning of links in mails.
_site = os.environ.get("SITE_URL") or f"https://{ALLOWED_HOSTS[0].strip('.*') or 'localhost'}"
PERSISTENT_MESSAGES = {
    **PERSISTENT_MESSAGES,
    "SITE_URL": _site,
    # Under ASGI: of several processes, each tells the others by this server.
    "LIVE": os.environ.get("LIVE", ""),
}
CSRF_TRUSTED_ORIGINS = listed(os.environ.get("CSRF_TRUSTED_ORIGINS", ""))
DEBUG = False  # even if the environment sets it

# Only over TLS.
SECURE_SSL_REDIRECT = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# Browsers remember this, so begin with 60 seconds on a new domain.
SECURE_HSTS_SECONDS = number("HSTS_SECONDS", default=365 * 24 * 60 * 60)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
if os.environ.get("BEHIND_PROXY") == "1":
    # The header is trusted, so the proxy must always set it, and not pass on that of the client.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Opening a connection takes longer than most pages.
DATABASES["default"] |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}

# `manage.py collectstatic` fills it. File names with a hash of the content can be cached forever.
STATIC_ROOT = os.environ.get("STATIC_ROOT") or BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
# After the policy, which then applies to static files as well.
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
    "timeout": 10,  # an unreachable relay must not block a request forever
}
_relay["use_tls"] = bool(_relay["username"])  # never send a password unencrypted
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
    "loggers": {"django": {"level": _level}},  # without Django's default handlers
}
