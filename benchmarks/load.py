"""`python -m benchmarks.load`: serve the demo in production, run a load test, and write LOAD.md.

The server is gunicorn on a free port of 127.0.0.1, with a separate database that is removed
afterwards. A second process simulates users with browsers. The test fails on any error, if a letter
is missing afterwards, and if the memory of the server has grown.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path
from typing import Any

import django
import psutil
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.db import connection

from persistent_messages import INFO, send_message

from . import load_report
from .load_cases import ALONE, NAME, NOTICE, PASSWORD

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "127.0.0.1"
MIB = 2**20
GROWTH = 4 * MIB
"""The number of bytes that a worker may grow during the mix."""
PATIENCE = 30
"""Seconds for the server to start or stop."""


def main(arguments: list[str] | None = None) -> int:
    """Run the load test; return the exit code."""
    options = parsed(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        set_environment(folder)
        django.setup()
        name = connection.settings_dict["NAME"]
        try:
            connection.creation.create_test_db(verbosity=0, autoclobber=True)
            result = run(options, Path(folder))
        finally:
            if connection.settings_dict["NAME"] != name:  # if it was created
                connection.creation.destroy_test_db(name, verbosity=0)
    for line in load_report.verdict(result):
        say(line)
    if not options.print:
        load_report.write(result)
    return 1 if result.failures else 0


def end(number: int, _frame: Any) -> None:
    """Exit after stopping child processes and dropping the database; ignore further signals."""
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)
    sys.exit(128 + number)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the parsed options."""
    parser = argparse.ArgumentParser(prog="python3 dev.py load", description=__doc__)
    cores = os.cpu_count() or 2
    parser.add_argument("--seconds", type=float, default=60, help="how long the mix runs")
    parser.add_argument("--people", type=int, default=8 * cores, help="two or more")
    parser.add_argument("--workers", type=int, default=max(2, cores))
    parser.add_argument("--threads", type=int, default=4, help="of each worker")
    parser.add_argument("--print", action="store_true", help="do not write LOAD.md")
    options = parser.parse_args(arguments)
    if options.people < 2:
        parser.error("--people: letters go to somebody else")
    return options


def set_environment(folder: str) -> None:
    """Set the environment variables for the production settings."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "benchmarks.load_settings",
        "LOAD_FOLDER": folder,
        "STATIC_ROOT": f"{folder}/static",
        "SECRET_KEY": secrets.token_hex(),
        "ALLOWED_HOSTS": ADDRESS,
        "BEHIND_PROXY": "1",
        "LOG_LEVEL": "WARNING",
    }


def run(options: argparse.Namespace, folder: Path) -> load_report.Result:
    """Fill the database, start the server and run the load."""
    say("Filling the mailboxes …")
    alone = options.seconds / 6
    fill(options.people, unread=max(50, int(100 * alone)))
    before = letters()
    call_command("collectstatic", "--noinput", verbosity=0)
    facts = load_report.facts(options, alone)
    connection.close()
    log = folder / "server.log"
    with serving(options, log) as (server, host):
        say(f"Each request alone, {alone:g} seconds each …")
        first = drive(host, options.people, ALONE, alone, warm_up=alone)
        before_mix = rss(server)
        say(f"All of them in a mix, {options.seconds:g} seconds …")
        second = drive(host, options.people, ["mix"], options.seconds, warm_up=alone)
        after_mix = rss(server)
    return load_report.Result(
        facts=facts,
        alone={case: first["measured"].get(case) for case in ALONE},
        mix=second["measured"],
        memory=(before_mix, after_mix),
        growth=GROWTH * options.workers,
        seconds=options.seconds,
        acknowledged=first["letters"] + second["letters"],
        refused=first["refused"] + second["refused"],
        stored=letters() - before,
        errors=first["errors"] + second["errors"],
        log=log.read_text(encoding="utf-8", errors="replace").splitlines(),
    )


def fill(people: int, unread: int) -> None:
    """Create the demo's data, and `people` more users with `unread` messages each."""
    call_command("fill_demo", stdout=StringIO())
    # Hashed once, because it takes as long as a log-in.
    password = make_password(PASSWORD)
    names = [NAME.format(number) for number in range(people)]
    users = get_user_model().objects.bulk_create(
        get_user_model()(username=name, first_name=name, password=password) for name in names
    )
    for number in range(unread):
        send_message(users, INFO, NOTICE, subject=f"Export {number}")


def letters() -> int:
    """Return the number of senders' copies of letters."""
    return apps.get_model("persistent_messages", "Message").objects.sent().count()


@contextmanager
def serving(options: argparse.Namespace, log: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Serve the demo with gunicorn on a free port; yield its process and its URL."""
    with socket.create_server((ADDRESS, 0)) as listening:
        # Pass the open socket on, so that no other process takes the port in the meantime.
        descriptor, port = listening.fileno(), listening.getsockname()[1]
        command = [
            *(sys.executable, "-m", "gunicorn", "demo.wsgi"),
            *("--bind", f"fd://{descriptor}"),
            *("--workers", str(options.workers), "--threads", str(options.threads)),
            # Users keep their connections, and none may be closed during a request.
            *("--keep-alive", str(PATIENCE)),
            *("--log-level", "warning", "--no-control-socket"),
        ]
        environment = {**os.environ, "LOAD_SERVES": "1"}
        with (
            log.open("w") as errors,
            child(command, pass_fds=[descriptor], env=environment, stderr=errors) as process,
        ):
            listening.close()
            try:
                answers(port)
            except OSError as error:
                sys.exit(f"The server did not start: {error}\n{log.read_text()}")
            yield psutil.Process(process.pid), f"http://{ADDRESS}:{port}"


def answers(port: int) -> None:
    """Wait until the server responds. Raises `OSError` if it does not."""
    browser = HTTPConnection(ADDRESS, port, timeout=PATIENCE)
    browser.request("GET", "/nothing/", headers={"X-Forwarded-Proto": "https"})
    if (status := browser.getresponse().status) != 200:
        raise OSError(f"it answered {status}")
    browser.close()


def drive(
    host: str, people: int, cases: Sequence[str], seconds: float, warm_up: float
) -> dict[str, Any]:
    """Run each of `cases` for `seconds`; return the measurements."""
    command = [sys.executable, "-m", "benchmarks.load_people", host]
    command += ["--people", str(people), "--seconds", str(seconds), "--warm-up", str(warm_up)]
    # Preparing a case takes up to 1.5 times as long as the case itself.
    longest = warm_up + 2.5 * len(cases) * (seconds + PATIENCE) + 5 * PATIENCE
    with child([*command, "--cases", *cases], stdout=subprocess.PIPE) as process:
        output = process.communicate(timeout=longest)[0]
        if process.returncode:
            sys.exit(f"The people ended with {process.returncode}.")
        found: dict[str, Any] = json.loads(output)
        return found


@contextmanager
def child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in its own process group, and kill the whole group at the end."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **options)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            say(f"{command[2]} did not stop, and is killed.")
        with suppress(ProcessLookupError):  # usually all of them have stopped
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def rss(server: psutil.Process) -> int:
    """Return the resident memory of the server and its workers, in bytes."""
    return sum(process.memory_info().rss for process in [server, *server.children(recursive=True)])


def say(words: str) -> None:
    """Print progress."""
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
