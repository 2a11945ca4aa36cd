"""`python3 dev.py load live`: many open streams of events, and deliveries; writes LIVE.md.

uvicorn serves the demo with two workers that a Redis of our own connects. This process holds the
streams, and another one sends messages to random users. In the second half a worker is killed.
Fails if an event is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from statistics import quantiles
from typing import Any

import django
import psutil
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

from persistent_messages import INFO, send_message

from .load import ADDRESS, answers, child, say, set_environment

HERE = Path(__file__).parent
PATIENCE = 30
"""Seconds that an event may take before it counts as lost: a browser reconnects in five."""


@dataclass
class Page:
    """An open page: a stream of events, opened again when it breaks, as browsers do."""

    cookie: str
    heard: list[float] = field(default_factory=list)
    """When it heard that something changed, in seconds of the system's clock."""
    opened: int = 0
    last_id: str = ""

    async def listen(self, port: int, path: str) -> None:
        """Listen until it is cancelled."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._stream(port, path)
            await asyncio.sleep(random.uniform(1, 5))  # noqa: S311 (no secret)

    async def _stream(self, port: int, path: str) -> None:
        reader, writer = await asyncio.open_connection(ADDRESS, port)
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {ADDRESS}",
            "X-Forwarded-Proto: https",
            f"Cookie: {settings.SESSION_COOKIE_NAME}={self.cookie}",
            *([f"Last-Event-ID: {self.last_id}"] if self.last_id else []),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            while line := await reader.readline():
                name, _, value = line.decode().strip().partition(": ")
                if name == "id":
                    self.last_id = value
                elif name == "event":
                    self.opened += value == "beat"
                    if value == "change":
                        self.opened += 1
                        self.heard.append(time.time())
        finally:
            writer.close()


def main(arguments: list[str] | None = None) -> int:
    """Serve, listen, send and report; returns the exit code."""
    options = parsed(arguments)
    if options.send:
        return send(options)
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        set_environment(folder)
        with redis_server() as address:
            os.environ["LIVE"] = address
            django.setup()
            name = connection.settings_dict["NAME"]
            try:
                connection.creation.create_test_db(verbosity=0, autoclobber=True)
                lines, lost = run(options, Path(folder))
            finally:
                if connection.settings_dict["NAME"] != name:
                    connection.creation.destroy_test_db(name, verbosity=0)
    for line in lines:
        say(line)
    if not options.print:
        write(lines)
    return 1 if lost else 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python3 dev.py load live", description=__doc__)
    parser.add_argument("--pages", type=int, default=1000, help="open streams")
    parser.add_argument("--seconds", type=int, default=30, help="how long messages are sent")
    parser.add_argument("--rate", type=int, default=100, help="messages a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--print", action="store_true", help="leave LIVE.md as it is")
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


@contextmanager
def redis_server() -> Iterator[str]:
    """Start a Redis that keeps nothing; gives its address."""
    with socket.create_server((ADDRESS, 0)) as free:
        port = free.getsockname()[1]
    program = shutil.which("redis-server") or sys.exit("There is no redis-server.")
    command = [program, "--port", str(port), "--bind", ADDRESS, "--save", ""]
    with child(command, stdout=subprocess.DEVNULL):
        yield f"redis://{ADDRESS}:{port}/0"


def run(options: argparse.Namespace, folder: Path) -> tuple[list[str], int]:
    """Run the load test; return the lines of the report, and how many events were lost."""
    load = f"{os.getloadavg()[0]:.1f}"
    pages = [Page(cookie) for cookie in sessions(options.pages)]
    call_command("collectstatic", "--noinput", verbosity=0)
    connection.close()
    with serving(options, folder / "server.log") as (server, port):
        measured = asyncio.run(measure(options, pages, server, port))
    connection.ensure_connection()
    log = (folder / "server.log").read_text(encoding="utf-8", errors="replace")
    return report(options, measured, load, log), sum(half.lost for half in measured["halves"])


def sessions(number: int) -> list[str]:
    """Make so many users, who are logged in; returns the keys of their sessions."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    model = get_user_model()
    users = model.objects.bulk_create(model(username=f"page-{n}") for n in range(number))
    keys = []
    for user in users:
        session = store()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        keys.append(session.session_key)
    return keys


@contextmanager
def serving(options: argparse.Namespace, log: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Have uvicorn serve the database at a free port; gives its process and its port."""
    with socket.create_server((ADDRESS, 0)) as free:
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "uvicorn", "demo.asgi:application", "--lifespan", "off"),
        *("--host", ADDRESS, "--port", str(port), "--workers", str(options.workers)),
        *("--log-level", "warning", "--timeout-graceful-shutdown", "1", "--backlog", "4096"),
    ]
    environment = {**os.environ, "LOAD_SERVES": "1"}
    with log.open("w") as errors, child(command, env=environment, stderr=errors) as process:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                answers(port)
                break
            except OSError:
                if time.monotonic() > until:
                    sys.exit(f"The server did not start.\n{log.read_text()}")
                time.sleep(0.2)
        yield psutil.Process(process.pid), port


@dataclass
class Half:
    """What became of the messages of one half of the time."""

    seconds: list[float]
    """From before each message was sent to the event that told of it."""
    lost: int


async def measure(
    options: argparse.Namespace, pages: list[Page], server: psutil.Process, port: int
) -> dict[str, Any]:
    """Open the streams, have messages sent, and kill a worker after half of them."""
    before = memory(server)
    path = reverse("message_events")
    begun = time.monotonic()
    streams = []
    for page in pages:
        streams.append(asyncio.create_task(page.listen(port, path)))
        await asyncio.sleep(0.003)
    await until(lambda: all(page.opened for page in pages))
    opening = time.monotonic() - begun
    await asyncio.sleep(3)
    after = memory(server)
    halves = []
    for kills in (False, True):
        sending = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.live", "--send", "--rate", str(options.rate)),
            *("--seconds", str(options.seconds // 2), "--pages", str(len(pages))),
            stdout=subprocess.PIPE,
            env={**os.environ, "LOAD_SERVES": "1"},
        )
        if kills:
            await asyncio.sleep(options.seconds / 6)
            os.kill(workers(server)[0].pid, signal.SIGKILL)
        output, _ = await sending.communicate()
        sent = json.loads(output)
        await until(lambda sent=sent: not lost_of(pages, sent))
        halves.append(outcome(pages, sent))
    for stream in streams:
        stream.cancel()
    return {"memory": (before, after), "opening": opening, "halves": halves}


def workers(server: psutil.Process) -> list[psutil.Process]:
    """Return the processes that serve: the largest children."""
    children = [each for each in server.children() if "spawn_main" in " ".join(each.cmdline())]
    return sorted(children, key=lambda each: -each.memory_info().rss)


def memory(server: psutil.Process) -> int:
    """Return the bytes in memory of all processes of the server."""
    return sum(each.memory_info().rss for each in [server, *server.children(recursive=True)])


async def until(is_true: Any) -> None:
    """Wait until `is_true` returns True, for `PATIENCE` at most."""
    end = time.monotonic() + PATIENCE
    while not is_true() and time.monotonic() < end:
        await asyncio.sleep(0.1)


def outcome(pages: list[Page], sent: list[tuple[int, float]]) -> Half:
    """Return when pages heard of what was `sent`."""
    waited = [(number, at, first_after(pages[number].heard, at)) for number, at in sent]
    return Half(
        [heard - at for _number, at, heard in waited if heard is not None],
        sum(heard is None for *_, heard in waited),
    )


def lost_of(pages: list[Page], sent: list[tuple[int, float]]) -> int:
    """Return of how many messages nobody has heard yet."""
    return outcome(pages, sent).lost


def first_after(times: list[float], at: float) -> float | None:
    """Return the first of `times`, which are in order, after `at`."""
    place = bisect_left(times, at)
    return times[place] if place < len(times) else None


def send(options: argparse.Namespace) -> int:
    """Send messages at a steady rate, each to a random user; prints to whom and when."""
    django.setup()
    users = list(get_user_model().objects.filter(username__startswith="page-").order_by("pk"))
    sent: list[tuple[int, float]] = []
    begun = time.monotonic()
    for number in range(options.rate * options.seconds):
        time.sleep(max(0, begun + number / options.rate - time.monotonic()))
        user = random.randrange(len(users))  # noqa: S311 (no secret)
        sent.append((user, time.time()))
        send_message(users[user], INFO, f"Message {number}")
    sys.stdout.write(json.dumps(sent))
    return 0


def report(options: argparse.Namespace, measured: dict[str, Any], load: str, log: str) -> list[str]:
    """Return the lines that LIVE.md has of a run."""
    before, after = measured["memory"]
    quiet, killed = measured["halves"]
    cuts = quantiles(quiet.seconds, n=100)
    each = (after - before) / options.pages / 1024
    today = datetime.now(timezone.utc).date()
    lines: list[str] = []
    lines.append(
        f"{connection.vendor}, Python {sys.version.split()[0]}, Django {django.get_version()}, "
        f"{options.workers} workers, {os.cpu_count()} cores; load average {load} before it began; "
        f"{today}."
    )
    lines.append(
        f"{options.pages:,} pages were connected after {measured['opening']:.1f} s, and take "
        f"{each:.0f} KiB of the server’s memory each."
    )
    lines.append(
        f"{options.rate} messages a second for {options.seconds // 2} s: {len(quiet.seconds):,} "
        f"events, {quiet.lost} lost. From before the message was sent to the event: median "
        f"{cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms."
    )
    lines.append(
        f"The same while one of the workers is killed: {len(killed.seconds):,} events, "
        f"{killed.lost} lost, the last one after {max(killed.seconds):.1f} s."
    )
    return [*lines, *(["The log of the server has errors.", log[-3000:]] if log else [])]


def write(lines: list[str]) -> None:
    """Write LIVE.md."""
    head = ["# Live updates under load", "Written by `python3 dev.py load live`."]
    (HERE / "LIVE.md").write_text("\n\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
