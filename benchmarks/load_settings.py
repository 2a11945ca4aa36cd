"""The demo as on a server, in a database of its own, with one page more, which does nothing."""

import os
from pathlib import Path

from demo.production import *  # noqa: F403
from demo.production import DATABASES, PERSISTENT_MESSAGES

ROOT_URLCONF = "benchmarks.load_urls"
# A few people write as many letters here as a town does: the demo's 500 an hour for each would stop
# them. The rate is asked all the same.
PERSISTENT_MESSAGES = {**PERSISTENT_MESSAGES, "SEND_RATE": "1000000/h"}

_database = DATABASES["default"]
if _database["ENGINE"].endswith("sqlite3"):
    _own = str(Path(os.environ["LOAD_FOLDER"]) / "load.sqlite3")
else:
    _own = f"{_database['NAME']}_load"
_database["TEST"] = {**_database.get("TEST", {}), "NAME": _own}
if os.environ.get("LOAD_SERVES") == "1":  # `load.py` has made it meanwhile
    _database["NAME"] = _own
