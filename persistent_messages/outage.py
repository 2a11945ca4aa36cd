"""What a page does while the database does not answer: it goes on, without what it cannot know.

Only where nothing but the connection is at fault. A wrong statement is raised, and so is whatever
happens within a transaction: to go on there would hide that it is broken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest

T = TypeVar("T")

logger = logging.getLogger(__name__)

ERRORS = (OperationalError, InterfaceError)
MEMO = "_pm_unanswered"

# What SQLite says where the file is at fault, or who else uses it, and not the statement.
SQLITE = (
    "unable to open",
    "database is locked",
    "database or disk is full",
    "disk I/O error",
    "attempt to write a readonly",
)
# Numbers from 2000 on are those of the client; then: shut down, killed, thrown out.
MYSQL = {*range(2000, 3000), 1053, 1927, 4031}


def signed_in_user(request: HttpRequest) -> Any:
    """Return who is signed in, None for visitors. May ask the database, as `request.user` does."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def known_user(request: HttpRequest) -> Any:
    """Return who is signed in; None for visitors, and where the database does not say."""
    return answer(request, "user", lambda: signed_in_user(request), None)


def answer(request: HttpRequest, question: str, ask: Callable[[], T], otherwise: T) -> T:
    """Return what `ask` reads or writes; `otherwise` where the database does not answer.

    After that the same `question` is not asked again in this request: each would wait anew.
    """
    if question in vars(request).get(MEMO, ()):
        return otherwise
    try:
        return ask()
    except ERRORS as error:
        if not noted(request, error):
            raise
        vars(request)[MEMO].add(question)
        return otherwise


def noted(request: HttpRequest, error: Exception) -> bool:
    """Tell whether `error` says that the database does not answer; logs it, once a request."""
    if not any(_is_lost(lost, error) for lost in connections.all(initialized_only=True)):
        return False
    if not is_noted(request):
        vars(request)[MEMO] = set()
        logger.error("The database does not answer at %s.", request.path, exc_info=error)
    return True


def is_noted(request: HttpRequest) -> bool:
    """Tell whether the database did not answer in this request."""
    return MEMO in vars(request)


def _is_lost(connection: BaseDatabaseWrapper, error: Exception) -> bool:
    if not connection.errors_occurred or connection.in_atomic_block:
        return False
    if connection.connection is None:  # it could not be opened
        return True
    if connection.vendor == "sqlite":
        return str(error).startswith(SQLITE)
    if connection.vendor == "mysql":  # whose `is_usable` may open another one
        return isinstance(error, InterfaceError) or error.args[0] in MYSQL
    return not connection.is_usable()
