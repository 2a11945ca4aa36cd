"""The report of the load test: the verdict, and LOAD.md with a section for each database."""

from __future__ import annotations

import argparse
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import django
from django.db import connection

REPORT = Path(__file__).with_name("LOAD.md")
MIB = 2**20
SHOWN = 30
"""The maximum number of errors, and of log lines, in the verdict."""
NAMES = {
    "form": "form of a letter",
    "close": "close, with HTMX",
    "list": "list of the unread",
    "Aggregated": "all of it",
}
COLUMNS = (
    "request",
    "alone: a second",
    "times the cost of nothing",
    "median",
    "p99",
    "in the mix: a second",
    "median",
    "p99",
    "errors",
)
HEAD = """# Under load

Written by `python3 dev.py load`. gunicorn serves the demo with its production settings. A second
process simulates users with browsers: each logs in with the form, and sends the next request as
soon as the last one has been answered. Times are therefore mostly spent in the queue. They show how
the pages compare, not how long one takes on an idle server. Server, database and users share the
machine. "nothing" is a page of the same server that returns a line of text.

Each request is measured alone, in rounds with the others, and then all of them in a mix. Every
response is checked: its status, whose page it is, that the message is closed, that the letter is
sent. The test fails on any error, if a letter that was acknowledged is not in the table afterwards,
and if the server has grown by more than the limit below.
"""


@dataclass
class Result:
    """The measurements of each request, alone and in the mix."""

    facts: str
    alone: dict[str, Any]
    mix: dict[str, Any]
    seconds: float
    memory: tuple[int, int]
    """The memory of all server processes before and after the mix."""
    growth: int
    """The allowed growth of the memory."""
    acknowledged: int
    refused: int
    """Letters whose request failed, perhaps after they were stored."""
    stored: int
    errors: list[str]
    log: list[str]

    @property
    def failures(self) -> list[str]:
        """The reasons why the test failed; empty if it passed."""
        found = list(self.errors)
        if not self.mix:
            found.append("nothing was measured")
        logged = [line for line in self.log if re.search(r"\bERROR\b|\bCRITICAL\b", line)]
        if logged:
            found.append(f"{len(logged)} errors in the log of the server")
        if not 0 <= self.stored - self.acknowledged <= self.refused:
            found.append(f"{self.acknowledged:,} letters acknowledged, {self.stored:,} stored")
        if self.memory[1] - self.memory[0] > self.growth:
            found.append(f"the server has grown: {memory(self)}")
        return found


def facts(options: argparse.Namespace, alone: float) -> str:
    """Describe the machine, the server and the load."""
    numbers = ".".join(map(str, connection.get_database_version()))
    return (
        f"{connection.display_name} {numbers}\n\n"
        f"Python {platform.python_version()}, Django {django.get_version()}, gunicorn "
        f"{version('gunicorn')}, {options.workers} workers of {options.threads} threads, "
        f"{os.cpu_count()} cores, {options.people} people; {alone:g} seconds each alone, "
        f"{options.seconds:g} in the mix; load average {os.getloadavg()[0]:.1f} before it began; "
        f"{datetime.now(timezone.utc).date().isoformat()}."
    )


def memory(result: Result) -> str:
    """Describe the memory of the server, and the allowed growth."""
    before, after = (f"{size / MIB:.1f}" for size in result.memory)
    return (
        f"{before} MiB before the mix, {after} MiB after it; allowed are "
        f"{result.growth / MIB:.0f} MiB more"
    )


def verdict(result: Result) -> Iterator[str]:
    """Yield the lines of the verdict."""
    yield from _table(result)
    yield ""
    yield f"Memory of the server: {memory(result)}."
    failures = result.failures
    if failures:
        yield from result.log[-SHOWN:]
        yield from (f"FAILED: {failure}" for failure in failures[:SHOWN])
    else:
        yield _passed(result)


def _passed(result: Result) -> str:
    requests = result.mix["Aggregated"]["requests"]
    return (
        f"No error in {requests:,} requests of {result.seconds:g} seconds, nor before; all "
        f"{result.stored:,} letters that were acknowledged meanwhile are stored, none twice."
    )


def _table(result: Result) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|---|{'---:|' * (len(COLUMNS) - 1)}"
    bare = (result.alone.get("nothing") or {}).get("rate", 0)
    nobody = {"rate": 0, "median": 0, "p99": 0, "errors": 0}
    for case in [*result.alone, *(name for name in result.mix if name not in result.alone)]:
        alone, mixed = result.alone.get(case), result.mix.get(case, nobody)
        own = ["", "", "", ""]
        if alone:
            own = [
                f"{alone['rate']:,.1f}",
                f"{bare / alone['rate']:.1f}" if alone["rate"] else "",
                *_times(alone),
            ]
        both = [f"{mixed['rate']:,.1f}", *_times(mixed)]
        errors = mixed["errors"] + (alone or nobody)["errors"]
        yield f"| {' | '.join([NAMES.get(case, case), *own, *both, str(errors)])} |"


def _times(figures: dict[str, Any]) -> list[str]:
    return [f"{figures['median']:,.0f} ms", f"{figures['p99']:,.0f} ms"]


def write(result: Result, report: Path = REPORT) -> None:
    """Update the section of this database in the report, and keep the others."""
    before = report.read_text(encoding="utf-8") if report.exists() else ""
    sections = re.split(r"^(?=## )", before, flags=re.MULTILINE)[1:]
    kept = [part for part in sections if not part.startswith(f"## {connection.display_name} ")]
    failures = result.failures
    own = [
        f"## {result.facts}",
        "",
        *_table(result),
        "",
        f"Memory of the server, master and workers: {memory(result)}.",
        "",
        *([f"**Failed: {failure}**" for failure in failures] or [_passed(result)]),
    ]
    parts = sorted([*map(str.strip, kept), "\n".join(own)])
    report.write_text("\n\n".join([HEAD.strip(), *parts]) + "\n", encoding="utf-8")
