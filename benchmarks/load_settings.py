"""Production settings of the demo with a separate database and an additional empty page."""

import os
from pathlib import Path

from demo.production import *  # noqa: F403
from demo.production import DATABASES, PERSISTENT_MESSAGES

ROOT_URLCONF = "benchmarks.load_urls"
# A few users send very many letters, which the demo's limit would stop. The rate is still checked.
PERSISTENT_MESSAGES = {**PERSISTENT_MESSAGES, "SEND_RATE": "1000000/h"}

_database = DATABASES["default"]
if _database["ENGINE"].endswith("sqlite3"):
    _own = str(Path(os.environ["LOAD_FOLDER"]) / "load.sqlite3")
else:
    _own = f"{_database['NAME']}_load"
_database["TEST"] = {**_database.get("TEST", {}), "NAME": _own}
if os.environ.get("LOAD_SERVES") == "1":  # `load.py` has created the database
    _database["NAME"] = _own
