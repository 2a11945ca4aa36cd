"""Doing a write again that the database broke off because two waited for each other."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connections, router

from .drafts import message_model

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 10
DEADLOCKS = {"40P01", 1213}
"""What PostgreSQL and MariaDB call it."""


def again(write: Callable[P, T]) -> Callable[P, T]:
    """Have `write` done again where it met a deadlock, which leaves nothing of it.

    Two tabs may lock the same rows in another order, by whatever plans the database made; MariaDB
    also locks the user to whom a new row belongs. After `ATTEMPTS` times the error is raised; at
    once within a transaction of the caller, all of which is gone by then, and where an argument is
    an iterator, which gives nothing twice.
    """

    @wraps(write)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, ATTEMPTS):
            try:
                return write(*args, **kwargs)
            except OperationalError as error:
                once = any(isinstance(argument, Iterator) for argument in args)
                connection = connections[router.db_for_write(message_model())]
                if once or connection.in_atomic_block or not is_deadlock(error):
                    raise
            time.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 (only to get out of step)
        return write(*args, **kwargs)

    return wrapped


def is_deadlock(error: OperationalError) -> bool:
    """Tell whether the database broke off a write in favour of another one."""
    cause = error.__cause__
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *error.args[:1]}
    return bool(codes & DEADLOCKS)
