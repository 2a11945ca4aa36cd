"""What a request does while the database cannot be reached.

Every part asks through one of three functions, so this is the only module that knows of outages:

* `known_user` finds no user, so a page has no bell, and no part of the inbox.
* `fallback_if_unreachable` goes on without the result of a query: without counter and strip. What
  the storage cannot store goes to the browser, and what it cannot remove is shown again.
* `response_or` replaces a whole response: the inbox answers 503, in a page that needs no query.

Only where nothing but the connection is at fault. A wrong statement is raised, and so is whatever
happens within a transaction: to go on there would hide that it is broken. Adding a persistent
message, and each write of the inbox, raises as every query does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest

from persistent_messages.users import accounts

T = TypeVar("T")

logger = logging.getLogger(__name__)

ERRORS = (OperationalError, InterfaceError)
MEMO = "_pm_unanswered"

# Messages of sqlite3 that mean the database is unavailable rather than the SQL wrong.
SQLITE_MESSAGES = (
    "unable to open",
    "database is locked",
    "database or disk is full",
    "disk I/O error",
    "attempt to write a readonly",
)
# Error codes of a lost connection: all client errors, server shutdown, killed, disconnected.
MYSQL_CODES = {*range(2000, 3000), 1053, 1927, 4031}


def known_user(request: HttpRequest) -> Any:
    """Return who is signed in; None for visitors, and where the database does not say.

    In an event loop, where no query may run, None where nobody has loaded the user yet.
    """
    return fallback_if_unreachable(request, "user", lambda: accounts.signed_in_user(request), None)


def fallback_if_unreachable(
    request: HttpRequest, name: str, query: Callable[[], T], fallback: T
) -> T:
    """Return the result of `query`, or `fallback` if the database cannot be reached.

    Then no query of the same `name` is made again in this request: each would wait for its timeout.
    Also returns `fallback` in an event loop if `query` needs the database: Django refuses it there.
    """
    if name in vars(request).get(MEMO, ()):
        return fallback

    def give_up() -> T:
        vars(request)[MEMO].add(name)
        return fallback

    try:
        return response_or(request, query, give_up)
    except SynchronousOnlyOperation:
        return fallback


def response_or(request: HttpRequest, query: Callable[[], T], otherwise: Callable[[], T]) -> T:
    """Return the result of `query`, or of `otherwise` if the database cannot be reached.

    The outage is logged, once a request.
    """
    try:
        return query()
    except ERRORS as error:
        if not _is_outage(error):
            raise
        if not had_outage(request):
            vars(request)[MEMO] = set()
            logger.error("The database does not answer at %s.", request.path, exc_info=error)
        return otherwise()


def had_outage(request: HttpRequest) -> bool:
    """Tell whether the database could not be reached in this request."""
    return MEMO in vars(request)


def assume_outage(request: HttpRequest, *names: str) -> None:
    """Let `fallback_if_unreachable` return its fallback for these names, without a query."""
    vars(request)[MEMO] = {*names}


def _is_outage(error: Exception) -> bool:
    # `error` was just raised, by whichever connection.
    return any(_is_lost(each, error) for each in connections.all(initialized_only=True))


def _is_lost(connection: BaseDatabaseWrapper, error: Exception) -> bool:
    if not connection.errors_occurred or connection.in_atomic_block:
        return False
    if connection.connection is None:  # it could not be opened
        return True
    if connection.vendor == "sqlite":
        return str(error).startswith(SQLITE_MESSAGES)
    if connection.vendor == "mysql":  # whose `is_usable` may open another one
        return isinstance(error, InterfaceError) or error.args[0] in MYSQL_CODES
    return not connection.is_usable()
