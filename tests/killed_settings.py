"""Settings of the site whose server is killed; see `killed_site`."""

from .settings import *  # noqa: F403
from .settings import MIDDLEWARE

ROOT_URLCONF = "tests.killed_site"
MIDDLEWARE = ["tests.killed_site.name_worker", *MIDDLEWARE]
PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": None}
