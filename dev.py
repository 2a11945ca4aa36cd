"""One command each to a running demo, a tested checkout, and what it costs: see `main`.

Needs Python 3.10 or newer and nothing else. It keeps its packages in `.venv`.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PORT = os.environ.get("PORT", "8000")
NOT_AUDITED = 69
"""The exit code of `audit` where nobody could say; EX_UNAVAILABLE by its usual name."""
KNOWN_AS_VULNERABLE = "django==2.2.0"
"""Whoever finds nothing in it knows of nothing."""


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


def load(*arguments: str) -> None:
    """Serve the demo as on a server and drive it, on DATABASE_URL; writes benchmarks/LOAD.md."""
    install("load")
    os.chdir(ROOT)
    # In this process: it needs time after Ctrl-C to stop what it started.
    os.execv(PYTHON, [str(PYTHON), "-m", "benchmarks.load", *arguments])


def audit(*arguments: str) -> None:
    """Ask for known vulnerabilities of all installed packages; arguments go to pip-audit.

    Leaves with 1 if there are some, and with NOT_AUDITED if the service did not answer for all:
    of what it does not know pip-audit says that it found nothing.
    """
    install("audit")
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder, "canary.txt")
        canary.write_text(f"{KNOWN_AS_VULNERABLE}\n")
        known, words = ask_pip_audit("--no-deps", "--disable-pip", "-r", str(canary), *arguments)
    if not any(package.get("vulns") for package in known):
        words = "".join(package.get("skip_reason", "") for package in known) or words
        print(f"NOT AUDITED: no answer about {KNOWN_AS_VULNERABLE}, a known case. {words}")
        sys.exit(NOT_AUDITED)
    packages, words = ask_pip_audit("--local", "--skip-editable", *arguments)
    vulnerable = [package for package in packages if package.get("vulns")]
    for package in vulnerable:
        for found in package["vulns"]:
            mended = ", ".join(found["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {found['id']}, mended in {mended}")
    if vulnerable:
        sys.exit(1)
    # Of ours, installed from here, nobody else can know.
    others = [package for package in packages if package["name"] != "django-persistent-inbox"]
    unknown = [package["name"] for package in others if "skip_reason" in package]
    if unknown or not others:
        print(f"NOT AUDITED: no answer about {', '.join(unknown) or 'any package'}. {words}")
        sys.exit(NOT_AUDITED)
    print(f"{len(others)} packages, no known vulnerability.")


def ask_pip_audit(*arguments: str) -> tuple[list[dict], str]:
    """Return what pip-audit says of each package, and its last words.

    Its exit code is 1 for what it found as for what failed: only the former writes a report.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ["--format", "json", "--output", str(report), "--progress-spinner", "off"]
        done = subprocess.run(
            [str(PYTHON), "-m", "pip_audit", *options, *arguments],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        words = done.stderr.strip().rpartition("\n")[2]
        if not report.exists():
            return [], words
        return json.loads(report.read_text(encoding="utf-8"))["dependencies"], words


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
    commands = {
        "demo": demo,
        "test": test,
        "check": check,
        "bench": bench,
        "load": load,
        "audit": audit,
    }
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
