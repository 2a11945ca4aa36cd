"""One command each to a running demo, a tested checkout, and what it costs: see `main`.

Needs Python 3.10 or newer and nothing else. It keeps its packages in `.venv`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PORT = os.environ.get("PORT", "8000")


def install(group: str) -> None:
    """Make `.venv` hold `group`; does nothing while `pyproject.toml` stays as it was."""
    pyproject = (ROOT / "pyproject.toml").read_bytes()
    stamp = VENV / f".installed-{group}"
    wanted = hashlib.sha256(pyproject).hexdigest()
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Installing the packages for “{group}” into {VENV.name} …", flush=True)
    if not PYTHON.exists():
        venv.create(VENV, with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    # Dependency groups need pip 25.1.
    run([*pip, "--upgrade", "pip>=25.1"])
    run([*pip, "-e", str(ROOT), "--group", f"{ROOT / 'pyproject.toml'}:{group}"])
    stamp.write_text(wanted)


def run(command: list[str], **env: str) -> None:
    """Run `command` at the top of the checkout; leave with its exit code if it fails."""
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}).returncode
    if code:
        sys.exit(code)


def find_chromium() -> None:
    """Have a Chromium for the browser tests, Debian's where we may install it; else they skip."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if os.environ.get("CHROMIUM") or any(map(shutil.which, names)):
        return
    if not shutil.which("apt-get") or getattr(os, "geteuid", lambda: 1)() != 0:
        return
    print("Installing Chromium for the browser tests …", flush=True)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    packages = ["chromium", "fonts-dejavu-core"]
    for step in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        subprocess.run(
            [*apt, *step],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
        )


def demo(*arguments: str) -> None:
    """Migrate, fill with data where there is none yet, and serve at 127.0.0.1:PORT."""
    install("demo")
    manage = [str(PYTHON), "manage.py"]
    print("Preparing the database …", flush=True)
    run([*manage, "migrate", "--verbosity", "0"])
    run([*manage, "fill_demo", "--address", f"http://127.0.0.1:{PORT}/"])
    run([*manage, "runserver", *(arguments or [f"127.0.0.1:{PORT}"])])


def test(*arguments: str) -> None:
    """Run all tests, on two cores, those with a browser last; arguments go to pytest instead."""
    install("test")
    find_chromium()
    pytest = [str(PYTHON), "-m", "pytest"]
    if arguments:
        run([*pytest, *arguments])
    else:
        run([*pytest, "-n", "2", "--ignore=tests/browser"])
        run([*pytest, "-n", "2", "tests/browser"])


def bench(*arguments: str) -> None:
    """Measure what mailboxes of all sizes cost, on DATABASE_URL; writes benchmarks/RESULTS.md."""
    install("demo")
    run([str(PYTHON), "-m", "benchmarks", *arguments])


def check(*arguments: str) -> None:
    """Lint, format, types, templates, migrations and settings of a server, as CI does."""
    install("lint")
    tool = [str(PYTHON), "-m"]
    templates = [
        str(path)
        for folder in ("persistent_messages", "templates")
        for path in sorted((ROOT / folder).rglob("*.html"))
    ]
    run([*tool, "ruff", "check", *arguments])
    run([*tool, "ruff", "format", "--check"])
    run([str(PYTHON.with_name("djade")), "--target-version", "5.2", "--check", *templates])
    run([*tool, "mypy"])
    run([str(PYTHON), "manage.py", "makemigrations", "--check", "--dry-run"])
    deploy = ["check", "--deploy", "--fail-level", "WARNING", "--settings", "demo.production"]
    run([str(PYTHON), "manage.py", *deploy], SECRET_KEY=secrets.token_hex(), ALLOWED_HOSTS="a.b")


def main() -> None:
    """Run the named command."""
    commands = {"demo": demo, "test": test, "check": check, "bench": bench}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: python3 dev.py {' | '.join(commands)} [arguments]")
    if sys.version_info < (3, 10):
        sys.exit("Python 3.10 or newer is needed.")
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
