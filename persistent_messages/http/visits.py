"""A signal before the first use of a mailbox in a request, so that messages can be delivered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.core.exceptions import SynchronousOnlyOperation
from django.dispatch import Signal
from django.http import HttpRequest

MEMO = "_pm_visited"
AT_END = "_pm_at_end"

mailbox_visited: Final = Signal()
"""Sent before a request reads the mailbox of its user. Arguments: `request`, `user`."""


def visit(request: HttpRequest, user: Any) -> None:
    """Send `mailbox_visited` once for each request and user.

    If a receiver cannot query because it runs in an event loop, the next call sends it again.
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
    """Call the functions that were registered with `at_end`."""
    for function in vars(request).pop(AT_END, ()):
        function()
