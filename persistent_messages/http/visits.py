"""The first use of a user's mailbox in a request, before which something may arrive there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.core.exceptions import SynchronousOnlyOperation
from django.dispatch import Signal
from django.http import HttpRequest

MEMO = "_pm_visited"
AT_END = "_pm_at_end"

mailbox_visited: Final = Signal()
"""A request is about to read the mailbox of its user: badge, strip or inbox. `request`; `user`."""


def visit(request: HttpRequest, user: Any) -> None:
    """Send `mailbox_visited`, once a request and user.

    Again where a receiver could make no query, in an event loop.
    """
    memo = vars(request)
    if memo.get(MEMO) == user.pk:
        return
    memo[MEMO] = user.pk
    try:
        mailbox_visited.send(sender=HttpRequest, request=request, user=user)
    except SynchronousOnlyOperation:
        del memo[MEMO]


def at_end(request: HttpRequest, function: Callable[[], None]) -> None:
    """Call `function` at the end of the response, after the transaction of its view."""
    vars(request).setdefault(AT_END, []).append(function)


def finish(request: HttpRequest) -> None:
    """Call what waits for the end of the response."""
    for function in vars(request).pop(AT_END, ()):
        function()
