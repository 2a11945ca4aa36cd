"""SQLite with the settings of `startproject`, whatever database the other tests use."""

import subprocess
import sys
from pathlib import Path

from .sqlite_writers import THREADS, TIMES

ROOT = Path(__file__).parent.parent


def test_concurrent_writes_of_eight_threads_succeed(tmp_path):
    """No transaction reads before it writes, which SQLite would reject at once."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.sqlite_writers", str(tmp_path / "db.sqlite3")],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
    )

    assert (done.stdout.split(maxsplit=1), done.stderr) == ([f"{THREADS * TIMES * 7}", "[]\n"], "")
