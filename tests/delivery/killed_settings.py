"""Settings of processes that send mail until they are killed."""

import os

import django

from tests.settings import *  # noqa: F403

SMTP = "django.core.mail.backends.smtp.EmailBackend"
if django.VERSION >= (6, 1):
    options = {"host": "127.0.0.1", "port": int(os.environ["SMTP_PORT"]), "timeout": 20}
    MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": options}}
else:
    EMAIL_BACKEND, EMAIL_HOST, EMAIL_TIMEOUT = SMTP, "127.0.0.1", 20
    EMAIL_PORT = int(os.environ["SMTP_PORT"])
PERSISTENT_MESSAGES = {"MAIL_JOURNAL": os.environ["MAIL_JOURNAL"]}
