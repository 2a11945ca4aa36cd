"""Settings of a site with another user model, which the environment names."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

MODEL = os.environ["ACCOUNT_MODEL"]
AUTH_USER_MODEL = f"accounts.{MODEL}"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.accounts"]
PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": None, "SITE_URL": "https://example.org"}
if not DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Beside the database of the tests that started this site.
    name = f"test_{DATABASES['default']['NAME']}_{os.environ['ACCOUNT_DATABASE']}"
    DATABASES["default"]["TEST"] = {**DATABASES["default"].get("TEST", {}), "NAME": name}
