"""Measure a case and its bare case in turn, in one process, as medians."""

import json
import re
import time
import tracemalloc
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from statistics import median

from django.db import connection, reset_queries, transaction
from django.test.utils import CaptureQueriesContext

from persistent_messages.models import Message

TABLE = Message._meta.db_table
LONGEST = 4.0
"""Seconds after which a case stops, if it has run at least three times."""
MUCH_TOO_LONG = 60.0
"""Seconds after which a case stops in any case."""


@dataclass
class Timing:
    """The median seconds of a case and its bare case, over `rounds`."""

    case: float
    bare: float
    rounds: int

    @property
    def ratio(self) -> float:
        """The time of the case relative to the bare case."""
        return self.case / self.bare


@dataclass
class Work:
    """The work of the database for a case."""

    queries: int
    visited: int | None = None
    indexes: set[str] = field(default_factory=set)


def time_both(
    case: Callable, bare: Callable, *, around: Callable = nullcontext, rounds: int = 200
) -> Timing:
    """Run both in turn, `rounds` times or as often as `LONGEST` allows, but at least three times.

    Each run is inside the context `around()`, whose time does not count. After `MUCH_TOO_LONG`, one
    or two runs are enough.
    """
    seconds: dict[Callable, list[float]] = {case: [], bare: []}
    begun = time.perf_counter()
    for number in range(-1, rounds):
        for run in (case, bare):
            with around():
                start = time.perf_counter()
                run()
                taken = time.perf_counter() - start
            if number >= 0:  # the first run is a warm-up
                seconds[run].append(taken)
        taken = time.perf_counter() - begun
        if number >= 0 and taken > (LONGEST if number >= 2 else MUCH_TOO_LONG):
            break
    return Timing(median(seconds[case]), median(seconds[bare]), len(seconds[bare]))


@contextmanager
def undone():
    """Roll back all writes."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def peak_memory(run: Callable) -> int:
    """Return the peak memory of `run` in bytes."""
    run()
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def captured_queries() -> CaptureQueriesContext:
    """Return a context that captures queries, even after thousands of others.

    Django keeps only the latest 9,000 queries, and captures nothing more after that.
    """
    reset_queries()
    return CaptureQueriesContext(connection)


def work_of(run: Callable, table: str = TABLE) -> Work:
    """Return the queries of `run` that use `table`, "" for any table, and their plans."""
    with captured_queries() as captured:
        run()
    statements = [query["sql"] for query in captured if table in query["sql"]]
    work = Work(len(statements))
    for sql in statements:
        if sql.startswith("SELECT"):
            visited, indexes = _PLANS[connection.vendor](sql, table)
            work.indexes |= indexes
            if visited is not None:
                work.visited = (work.visited or 0) + visited
    return work


def _postgresql(sql: str, table: str) -> tuple[int, set[str]]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    (found,) = plan if isinstance(plan, list) else json.loads(plan)
    waiting, visited, indexes = [found["Plan"]], 0, set()
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        if "Relation Name" in node and table in ("", node["Relation Name"]):
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            visited += round(rows * node["Actual Loops"])
        if "Index Name" in node:
            indexes.add(node["Index Name"])
    return visited, indexes


def _sqlite(sql: str, table: str) -> tuple[None, set[str]]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        steps = [row[3] for row in cursor.fetchall()]
    scans = {step for step in steps if step.startswith("SCAN ") and table in step}
    return None, scans | {name for step in steps for name in re.findall(r"INDEX (\w+)", step)}


def _mysql(sql: str, _table: str) -> tuple[int, set[str]]:
    with connection.cursor() as cursor:
        cursor.execute("FLUSH STATUS")
        cursor.execute(sql)
        cursor.fetchall()
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%%'", [])
        visited = sum(int(count) for _name, count in cursor.fetchall())
        cursor.execute(f"EXPLAIN {sql}")
        names = [column[0] for column in cursor.description]
        keys = {dict(zip(names, row, strict=True))["key"] for row in cursor.fetchall()}
    return visited, {key for key in keys if key}


_PLANS = {"postgresql": _postgresql, "sqlite": _sqlite, "mysql": _mysql}
