"""The unread count: bounded by `COUNTER_LIMIT`, and read once for each request."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import formats
from django.utils.translation import gettext, ngettext

from persistent_messages.conf import get_config
from persistent_messages.constants import Folder
from persistent_messages.http import caching, visits
from persistent_messages.models import Message
from persistent_messages.topics import topics

MEMO = "_pm_unread"
GROUPED = 1000
"""The number from which a language may separate groups of digits."""


def unread_count(request: HttpRequest) -> int:
    """Return the number of unread messages in the inbox, at most `COUNTER_LIMIT` plus one.

    One bounded query for each request, and then cached; 0 for visitors, without a query.
    """
    user = getattr(request, "user", None)
    if user is None or user.pk is None:
        return 0
    caching.mark_private(request)
    memo = vars(request).setdefault(MEMO, {})  # by user, who may change during the request
    if user.pk not in memo:
        visits.visit(request, user)
        limit = get_config().COUNTER_LIMIT + 1
        memo[user.pk] = Message.objects.count_unread_of(user, limit)
    return int(memo[user.pk])


def kinds_of(request: HttpRequest, folder: Folder) -> tuple[set[int], set[str]]:
    """Return the levels of the latest messages in `folder`, and its topics; one query.

    The query also counts the unread messages, so `unread_count()` then needs none.
    """
    caching.mark_private(request)
    user, limit = request.user, get_config().COUNTER_LIMIT + 1
    visits.visit(request, user)
    found = Message.objects.count_unread_and_kinds_of(user, limit, folder, [*topics])
    count, levels, named = found
    vars(request).setdefault(MEMO, {}).setdefault(user.pk, count)
    return levels, named


def reset_unread_count(request: HttpRequest) -> None:
    """Clear the cached unread count, after messages were marked or moved."""
    vars(request).pop(MEMO, None)


def counter_context(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the counter's template; one query for each request."""
    unread, limit = unread_count(request), get_config().COUNTER_LIMIT
    shown, more = min(unread, limit), unread > limit
    return {
        "unread": shown,
        "more": more,
        "label": count_label(unread),
        "words": _words(shown, more=more),
    }


def _words(unread: int, *, more: bool) -> str:
    # Faster than {% blocktranslate %}, and every page of the site has the counter.
    if more:
        text = gettext("more than %(unread)s unread")
    else:
        text = ngettext("%(unread)s unread", "%(unread)s unread", unread)
    return text % {"unread": formats.localize(unread) if unread >= GROUPED else unread}


def count_label(count: int, limit: int | None = None) -> str:
    """Return `count` as text, or "99+" above `limit`, which is `COUNTER_LIMIT` by default."""
    limit = limit or get_config().COUNTER_LIMIT
    return f"{limit}+" if count > limit else str(count)
