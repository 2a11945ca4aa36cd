"""Settings of the tests: those of the demo, with a fast password hasher and mail in memory."""

import django

from demo.settings import *  # noqa: F403
from demo.settings import INSTALLED_APPS

# Of the backport of Django's tasks; a site that has no TASKS has none.
TASKS_APPS = [] if django.VERSION >= (6, 0) else ["django_tasks"]
INSTALLED_APPS = [*INSTALLED_APPS, *TASKS_APPS, "tests"]
PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "500/h"}
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
else:
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
del MESSAGE_LEVEL  # noqa: F821 (Django's default)
