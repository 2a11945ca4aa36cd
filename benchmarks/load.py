"""`python -m benchmarks.load`: serve the demo as on a server, drive it, write LOAD.md.

The server is gunicorn on a free port of 127.0.0.1, with a database of its own, which goes again. A
second process plays people with browsers. Fails on any error, on a letter that is not there
afterwards, and when the server has grown.
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
"""What a worker may be larger by after the mix."""
PATIENCE = 30
"""Seconds that the server has to start, and to stop."""


def main(arguments: list[str] | None = None) -> int:
    """Serve, drive and report; returns the exit code."""
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
            if connection.settings_dict["NAME"] != name:  # as soon as there is one
                connection.creation.destroy_test_db(name, verbosity=0)
    for line in load_report.verdict(result):
        say(line)
    if not options.print:
        load_report.write(result)
    return 1 if result.failures else 0


def end(number: int, _frame: Any) -> None:
    """Leave by way of all that stops children and drops the database, whoever is impatient."""
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)
    sys.exit(128 + number)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python3 dev.py load", description=__doc__)
    cores = os.cpu_count() or 2
    parser.add_argument("--seconds", type=float, default=60, help="how long the mix runs")
    parser.add_argument("--people", type=int, default=8 * cores, help="two or more")
    parser.add_argument("--workers", type=int, default=max(2, cores))
    parser.add_argument("--threads", type=int, default=4, help="of each worker")
    parser.add_argument("--print", action="store_true", help="leave LOAD.md as it is")
    options = parser.parse_args(arguments)
    if options.people < 2:
        parser.error("--people: letters go to somebody else")
    return options


def set_environment(folder: str) -> None:
    """Give the production settings what a server would give them."""
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
    """Fill the database, serve it and drive it."""
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
    """Make the demo's people and messages, and `people` more with `unread` messages each."""
    call_command("fill_demo", stdout=StringIO())
    # Made once: it takes as long as a log-in.
    password = make_password(PASSWORD)
    names = [NAME.format(number) for number in range(people)]
    users = get_user_model().objects.bulk_create(
        get_user_model()(username=name, first_name=name, password=password) for name in names
    )
    for number in range(unread):
        send_message(users, INFO, NOTICE, subject=f"Export {number}")


def letters() -> int:
    """Return how many letters lie in the mailboxes of those who sent them."""
    return apps.get_model("persistent_messages", "Message").objects.sent().count()


@contextmanager
def serving(options: argparse.Namespace, log: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Have gunicorn serve the database at a free port; gives its process and its address."""
    with socket.create_server((ADDRESS, 0)) as listening:
        # Handed on open: nobody else takes the port meanwhile.
        descriptor, port = listening.fileno(), listening.getsockname()[1]
        command = [
            *(sys.executable, "-m", "gunicorn", "demo.wsgi"),
            *("--bind", f"fd://{descriptor}"),
            *("--workers", str(options.workers), "--threads", str(options.threads)),
            # People keep their connections; none may close just when one asks.
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
    """Wait until the server has answered. Raises `OSError` if it does not."""
    browser = HTTPConnection(ADDRESS, port, timeout=PATIENCE)
    browser.request("GET", "/nothing/", headers={"X-Forwarded-Proto": "https"})
    if (status := browser.getresponse().status) != 200:
        raise OSError(f"it answered {status}")
    browser.close()


def drive(
    host: str, people: int, cases: Sequence[str], seconds: float, warm_up: float
) -> dict[str, Any]:
    """Have people do each of `cases` for so long; returns what they measured."""
    command = [sys.executable, "-m", "benchmarks.load_people", host]
    command += ["--people", str(people), "--seconds", str(seconds), "--warm-up", str(warm_up)]
    # What leads to a request takes up to as long again and a half.
    longest = warm_up + 2.5 * len(cases) * (seconds + PATIENCE) + 5 * PATIENCE
    with child([*command, "--cases", *cases], stdout=subprocess.PIPE) as process:
        output = process.communicate(timeout=longest)[0]
        if process.returncode:
            sys.exit(f"The people ended with {process.returncode}.")
        found: dict[str, Any] = json.loads(output)
        return found


@contextmanager
def child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a group of its own; whatever happens, none of that group outlives this."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **options)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            say(f"{command[2]} did not stop: it is killed.")
        with suppress(ProcessLookupError):  # as it should be
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def rss(server: psutil.Process) -> int:
    """Return the resident memory of the server and its workers, in bytes."""
    return sum(process.memory_info().rss for process in [server, *server.children(recursive=True)])


def say(words: str) -> None:
    """Tell how far it is."""
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
