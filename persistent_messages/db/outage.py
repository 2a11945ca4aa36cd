"""Outages: what a request does while the database cannot be reached.

All code uses one of these functions, so this is the only module that knows about outages:

* `known_user` returns no user, so pages have neither a bell nor any part of the inbox.
* `fallback_if_unreachable` returns a fallback, so pages lack the counter and the strip. Messages
  that cannot be stored go to the browser, and those that cannot be removed are shown again.
* `response_or` replaces the whole response: the inbox returns a 503 page that needs no query.

They only catch errors of the connection. Errors in a statement are raised, and so are all errors
within a transaction, because continuing would hide that it is broken. Adding a persistent message
raises the error, and so does every write in the inbox.
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
# Error codes of a lost connection: all client errors, server shutdown, killed and disconnected.
MYSQL_CODES = {*range(2000, 3000), 1053, 1927, 4031}


def known_user(request: HttpRequest) -> Any:
    """Return the signed-in user; None for visitors, and if the database cannot be reached.

    In an event loop, where no query may run, also None if the user has not been loaded yet.
    """
    return fallback_if_unreachable(request, "user", lambda: accounts.signed_in_user(request), None)


def fallback_if_unreachable(
    request: HttpRequest, name: str, query: Callable[[], T], fallback: T
) -> T:
    """Return the result of `query`, or `fallback` if the database cannot be reached.

    After an outage, queries with the same `name` are not repeated in this request, as each would
    wait for its timeout. Also returns `fallback` if Django refuses the query in an event loop.
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

    The outage is logged once for each request.
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
    """Return whether the database could not be reached in this request."""
    return MEMO in vars(request)


def assume_outage(request: HttpRequest, *names: str) -> None:
    """Make `fallback_if_unreachable` return its fallback for these names without a query."""
    vars(request)[MEMO] = {*names}


def _is_outage(error: Exception) -> bool:
    # It is not known which connection raised `error`.
    return any(_is_lost(each, error) for each in connections.all(initialized_only=True))


def _is_lost(connection: BaseDatabaseWrapper, error: Exception) -> bool:
    if not connection.errors_occurred or connection.in_atomic_block:
        return False
    if connection.connection is None:  # the connection could not be opened
        return True
    if connection.vendor == "sqlite":
        return str(error).startswith(SQLITE_MESSAGES)
    if connection.vendor == "mysql":  # `is_usable()` may reconnect
        return isinstance(error, InterfaceError) or error.args[0] in MYSQL_CODES
    return not connection.is_usable()
