"""Retry writes that the database aborted because of a deadlock or a locked file."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connections, router

from persistent_messages.models import Message

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 10
DEADLOCK_CODES = {"40P01", 1213, 1467, "database is locked", "database table is locked"}
"""How PostgreSQL, MariaDB and SQLite report a deadlock.

MariaDB raises 1467 for an insert beside another transaction's `INSERT ... SELECT`.
"""
MAX_SECONDS = 20
"""Seconds after which a write is not retried: SQLite waits for its timeout in each attempt."""


def retry_on_deadlock(write: Callable[P, T]) -> Callable[P, T]:
    """Retry `write` when the database aborts it because of a deadlock, which rolls it back.

    Two tabs may lock the same rows in a different order, depending on the query plans. MariaDB also
    locks the user that a new row refers to. SQLite lets only one transaction write at a time.

    Makes up to `ATTEMPTS` attempts within `MAX_SECONDS`, with a random pause in between. Raises the
    error at once inside the caller's transaction, because the database has rolled that back, and
    when an argument is an iterator that has been started, because it cannot be restarted.
    """

    @wraps(write)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        given: list[Any] = [_tracked(argument) for argument in args]
        named: dict[str, Any] = {name: _tracked(argument) for name, argument in kwargs.items()}
        iterators = [a for a in (*given, *named.values()) if isinstance(a, _TrackedIterator)]
        begin = time.monotonic()
        for attempt in range(1, ATTEMPTS):
            try:
                return write(*given, **named)
            except OperationalError as error:
                is_consumed = any(iterator.has_started for iterator in iterators)
                connection = connections[router.db_for_write(Message)]
                if is_consumed or connection.in_atomic_block or not is_deadlock(error):
                    raise
                if time.monotonic() - begin > MAX_SECONDS:
                    raise
            time.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 (not for security)
        return write(*given, **named)

    return wrapped


class _TrackedIterator(Iterator[Any]):
    """An iterator that knows whether it has been started."""

    def __init__(self, items: Iterator[Any]) -> None:
        self.items = items
        self.has_started = False

    def __next__(self) -> Any:
        self.has_started = True
        return next(self.items)


def _tracked(argument: Any) -> Any:
    return _TrackedIterator(argument) if isinstance(argument, Iterator) else argument


def is_deadlock(error: OperationalError) -> bool:
    """Return whether the database aborted a write in favor of another one."""
    cause = error.__cause__
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *error.args[:1]}
    return bool(codes & DEADLOCK_CODES)
