"""The number of unread messages, as the counter shows it: bounded, and read once a request."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from .conf import get_config
from .models import Message

MEMO = "_pm_unread"


def unread_to_limit(request: HttpRequest) -> int:
    """Return how many messages wait unread in the inbox, at most `COUNTER_LIMIT` and one more.

    One bounded query a request, remembered for the rest of it; 0 without a query for visitors.
    """
    memo, user = vars(request), getattr(request, "user", None)
    if MEMO not in memo:
        limit = get_config().COUNTER_LIMIT + 1
        memo[MEMO] = Message.objects.count_unread_of(user, limit) if user and user.pk else 0
    return int(memo[MEMO])


def forget_unread(request: HttpRequest) -> None:
    """Have `unread_to_limit` count anew, after something was marked or moved."""
    vars(request).pop(MEMO, None)


def counter_context(request: HttpRequest) -> dict[str, Any]:
    """Return what the template of the counter needs; one query a request."""
    unread, limit = unread_to_limit(request), get_config().COUNTER_LIMIT
    return {"unread": min(unread, limit), "more": unread > limit, "label": label(unread)}


def label(count: int, limit: int | None = None) -> str:
    """Write `count` as the counter does: "99+" above `limit`, which is the counter's by default."""
    limit = limit or get_config().COUNTER_LIMIT
    return f"{limit}+" if count > limit else str(count)
