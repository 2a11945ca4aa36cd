"""Commands for development: run the demo, the tests, the checks, the benchmarks; see `main`.

Needs only Python 3.10 or newer. Packages are installed into `.venv`.
"""

import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path

# Any Python since 3.6 can parse this file up to here.
if sys.version_info < (3, 10):
    sys.exit(
        f"Python 3.10 or newer is needed, and this is {sys.version.split()[0]}: "
        "run it with another one, as in `python3.12 dev.py test`."
    )

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PROBE = "import sys, pip._internal.cli.main; print(*sys.version_info[:2])"
"""Works only in a complete `.venv`: an interrupted installation of pip may lack submodules."""
NO_NETWORK = ("connection broken by", "from versions: none")
"""Output of pip if its index cannot be reached."""
NO_TESTS = 5
"""The exit code of pytest if it ran no tests."""


def install(group: str) -> None:
    """Install `group` into `.venv`; do nothing if neither it nor `pyproject.toml` has changed."""
    stamp, wanted = VENV / f".installed-{group}", _stamp()
    whole = is_whole() and not _is_moved()
    if whole and stamp.exists() and stamp.read_text() == wanted:
        return
    for folder in (ROOT, VENV):
        if folder.exists() and not os.access(folder, os.W_OK):
            sys.exit(f"{folder} is read-only: make it writable, or run a copy of the checkout.")
    print(f"Installing the packages for “{group}” into {VENV.name} …", flush=True)
    try:
        if not whole:
            make_whole()
        # Dependency groups need pip 25.1.
        pip_install("--upgrade", "pip>=25.1")
        pip_install("-e", str(ROOT), "--group", f"{ROOT / 'pyproject.toml'}:{group}")
        stamp.write_text(wanted)
    except OSError as error:
        sys.exit(f"Cannot write to {VENV}: {error.strerror or error}.")


def _stamp() -> str:
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return f"{digest} {VENV.resolve()}"


def _is_moved() -> bool:
    """Return whether `.venv` was moved after it was created, as its scripts have absolute paths."""
    known = [stamp.read_text().partition(" ")[2] for stamp in VENV.glob(".installed-*")]
    return any(place and place != str(VENV.resolve()) for place in known)


def is_whole() -> bool:
    """Return whether `.venv` has a recent enough Python, and pip."""
    try:
        done = subprocess.run([str(PYTHON), "-c", PROBE], capture_output=True, text=True)
    except OSError:  # missing, or a link to a Python that is gone
        return False
    return done.returncode == 0 and tuple(map(int, done.stdout.split())) >= (3, 10)


def make_whole() -> None:
    """Install pip into `.venv` if only that is missing, or create `.venv` again.

    It is incomplete if this command was interrupted, if the system has no ensurepip, or if uv
    created it, which does not install pip.
    """
    if not _is_moved():
        try:
            ensure = [str(PYTHON), "-m", "ensurepip", "--upgrade"]
            subprocess.run(ensure, capture_output=True)
        except OSError:
            pass
        if is_whole():
            return
    try:
        venv.create(VENV, clear=True, with_pip=True)
    except (subprocess.CalledProcessError, ImportError):
        uv = shutil.which("uv")
        if uv:
            seed = [uv, "venv", "-q", "--clear", "--seed", "--python", sys.executable, str(VENV)]
            subprocess.run(seed, cwd=ROOT)
    except ValueError as error:  # .venv is not a directory
        sys.exit(f"{error}")
    if not is_whole():
        sys.exit(
            "This Python cannot make a virtual environment: install its ensurepip (on Debian and "
            "Ubuntu `apt install python3-venv`), and run this again."
        )


def pip_install(*arguments: str) -> None:
    """Install with the pip of `.venv`; exit with one line that says why if it fails."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode == 0:
        return
    if any(sign in done.stdout for sign in NO_NETWORK):
        sys.exit("No network: pip cannot reach its package index. Connect, and run this again.")
    lines = [line for line in done.stdout.splitlines() if line.strip()] or ["no reason given"]
    last = [line for line in lines if line.lower().startswith("error")] or lines
    sys.exit(f"pip could not install the packages: {last[-1]}")


def run(command: list[str], **env: str) -> None:
    """Run `command` in the root of the checkout; exit with its exit code if it fails."""
    code = exit_code(command, **env)
    if code:
        sys.exit(code)


def exit_code(command: list[str], **env: str) -> int:
    """Run `command` in the root of the checkout; return its exit code."""
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **env}).returncode


def has_chromium() -> bool:
    """Return whether Chromium is installed for the browser tests; install Debian's if possible."""
    named = os.environ.get("CHROMIUM")
    # The headless shell is the same browser without a window, and twice as fast.
    names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"]
    names = [named] if named else names
    if any(map(shutil.which, names)):
        return True
    if named or not shutil.which("apt-get") or getattr(os, "geteuid", lambda: 1)() != 0:
        return False
    print("Installing Chromium for the browser tests …", flush=True)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    install = ["install", "-y", "--no-install-recommends", "fonts-dejavu-core"]
    for step in (["update"], [*install, names[0]], [*install, names[1]]):
        subprocess.run(
            [*apt, *step],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if any(map(shutil.which, names)):
            return True
    return False


def demo(*arguments: str) -> None:
    """Migrate, add data if there is none yet, and serve at 127.0.0.1:PORT."""
    named = arguments[:1] if arguments and not arguments[0].startswith("-") else ()
    host, port = served_at(*named)
    claim(host, port)
    install("demo")
    if not os.environ.get("DATABASE_URL") and not os.access(ROOT, os.W_OK):
        sys.exit(f"{ROOT} is read-only: name a database in DATABASE_URL, or run a copy of it.")
    manage = [str(PYTHON), "manage.py"]
    print("Preparing the database …", flush=True)
    run([*manage, "migrate", "--verbosity", "0"])
    claim(host, port)  # again, because the installation may have taken minutes
    run([*manage, "fill_demo", "--address", f"http://{host or '127.0.0.1'}:{port}/"])
    # Under ASGI, for live updates. Open pages must not keep it from stopping.
    uvicorn = [str(PYTHON), "-m", "uvicorn", "demo.asgi:application", "--lifespan", "off"]
    place = ["--host", host.strip("[]") or "127.0.0.1", "--port", str(port)]
    calm = ["--log-level", "warning", "--timeout-graceful-shutdown", "1"]
    run([*uvicorn, *place, *calm, *arguments[len(named) :]])


def served_at(place: str = "") -> tuple[str, int]:
    """Return the host and port in `place`, or the default host and PORT; the host may be ""."""
    place = place or f"127.0.0.1:{os.environ.get('PORT') or 8000}"
    host, _, port = place.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        sys.exit(f"{port!r} is no port: set PORT to a number from 1 to 65535, such as 8001.")
    return host, int(port)


def claim(host: str, port: int) -> None:
    """Exit with one line unless a server could listen at this address now."""
    bare = host.strip("[]") or "127.0.0.1"
    try:
        family, kind, _, _, place = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as server:
            if os.name != "nt":
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(place)
            server.listen()
    except OSError as error:
        sys.exit(
            f"Cannot serve at {bare}:{port}: {error.strerror}. "
            "Choose another port, as in `PORT=8001 python3 dev.py demo`."
        )


def test(*arguments: str) -> None:
    """Run the tests on two cores, the browser tests last; pass other arguments to pytest instead.

    With `--slow`, also run the slow tests, and try all examples of the others. With `--cov`,
    fail if the tests without a browser cover too little of the package.
    """
    install("test")
    has_browser = has_chromium()
    pytest = [str(PYTHON), "-m", "pytest"]
    if {*arguments} <= {"--slow", "--cov"}:
        run([*pytest, *arguments, "-n", "2", "--ignore=tests/browser"])
        slow = [each for each in arguments if each == "--slow"]
        # Browsers often wait, so two cores are enough for three.
        code = exit_code([*pytest, *slow, "-n", "3", "tests/browser"])
    else:
        code = exit_code([*pytest, *arguments])
    if code == NO_TESTS and not has_browser:
        print(
            "No Chromium: the tests in tests/browser were left out. Install one, or set CHROMIUM "
            "to its path, and run `python3 dev.py test tests/browser`."
        )
        return
    sys.exit(code)


def bench(*arguments: str) -> None:
    """Run the benchmarks on DATABASE_URL; write benchmarks/RESULTS.md."""
    install("demo")
    run([str(PYTHON), "-m", "benchmarks", *arguments])


def load(*arguments: str) -> None:
    """Run the load test of the demo on DATABASE_URL; write benchmarks/LOAD.md.

    `load live` keeps many pages connected for live updates, and writes benchmarks/LIVE.md.
    """
    install("load")
    os.chdir(ROOT)
    is_live = arguments[:1] == ("live",)
    command = ["benchmarks.live" if is_live else "benchmarks.load", *arguments[is_live:]]
    # Replace this process, because the load test needs time after Ctrl-C to stop its children.
    os.execv(PYTHON, [str(PYTHON), "-m", *command])


def docs(*arguments: str) -> None:
    """Build the documentation into build/docs; a warning, such as a broken link, is an error."""
    install("docs")
    sphinx = [str(PYTHON), "-m", "sphinx", "-q", "-E", "-W", "--keep-going"]
    run([*sphinx, *arguments, "docs", "build/docs"])
    print("Built build/docs/index.html.")


def check(*arguments: str) -> None:
    """Check linting, formatting, types, templates, migrations and settings, as CI does."""
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
        "docs": docs,
        "bench": bench,
        "load": load,
    }
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: python3 dev.py {' | '.join(commands)} [arguments]")
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
