"""Settings of the demo site with a separate database and pages to compare with."""

import os
import tempfile
from pathlib import Path

from demo.settings import *  # noqa: F403
from demo.settings import BASE_DIR, DATABASES, TEMPLATES

DEBUG = False
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "benchmarks.pages"
TEMPLATES = [{**TEMPLATES[0], "DIRS": [BASE_DIR / "benchmarks" / "templates"]}]
# A second engine with an override of row.html that is equal to the bundled template.
ROW = "persistent_messages/message/includes/row.html"
_built_in = BASE_DIR / "persistent_messages" / "templates" / ROW
_loaders = [
    ("django.template.loaders.locmem.Loader", {ROW: _built_in.read_text(encoding="utf-8")}),
    "django.template.loaders.filesystem.Loader",
    "django.template.loaders.app_directories.Loader",
]
TEMPLATES.append(
    {
        **TEMPLATES[0],
        "NAME": "overridden",
        "APP_DIRS": False,
        "OPTIONS": {
            **TEMPLATES[0]["OPTIONS"],
            "loaders": [("django.template.loaders.cached.Loader", _loaders)],
        },
    }
)
SESSION_ENGINE = "django.contrib.sessions.backends.db"
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, as on a site, because a commit in memory costs nothing.
    DATABASES["default"]["TEST"] = {
        "NAME": Path(tempfile.gettempdir()) / f"pm-benchmark-{os.getpid()}.sqlite3"
    }

# A site with users and sessions, but without messages.
WITHOUT = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
MIDDLEWARE = [
    *WITHOUT,
    "django.contrib.messages.middleware.MessageMiddleware",
    "persistent_messages.middleware.HtmxMessagesMiddleware",
]
