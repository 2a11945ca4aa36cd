"""The number of unread messages, as the counter shows it: bounded, and read once a request."""

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
"""From here on a language may put something between the digits."""


def unread_count(request: HttpRequest) -> int:
    """Return how many messages wait unread in the inbox, at most `COUNTER_LIMIT` and one more.

    One bounded query a request, remembered for the rest of it; 0 without a query for visitors.
    """
    user = getattr(request, "user", None)
    if user is None or user.pk is None:
        return 0
    caching.mark_private(request)
    memo = vars(request).setdefault(MEMO, {})  # by user: another may take over meanwhile
    if user.pk not in memo:
        visits.visit(request, user)
        limit = get_config().COUNTER_LIMIT + 1
        memo[user.pk] = Message.objects.count_unread_of(user, limit)
    return int(memo[user.pk])


def kinds_of(request: HttpRequest, folder: Folder) -> tuple[set[int], set[str]]:
    """Return which persistent levels `folder` of the user has, and which topics; one query.

    It counts the unread messages as well: `unread_count` needs no query afterwards.
    """
    caching.mark_private(request)
    user, limit = request.user, get_config().COUNTER_LIMIT + 1
    visits.visit(request, user)
    found = Message.objects.count_unread_and_kinds_of(user, limit, folder, [*topics])
    count, levels, named = found
    vars(request).setdefault(MEMO, {}).setdefault(user.pk, count)
    return levels, named


def reset_unread_count(request: HttpRequest) -> None:
    """Have `unread_count` count anew, after something was marked or moved."""
    vars(request).pop(MEMO, None)


def counter_context(request: HttpRequest) -> dict[str, Any]:
    """Return what the template of the counter needs; one query a request."""
    unread, limit = unread_count(request), get_config().COUNTER_LIMIT
    shown, more = min(unread, limit), unread > limit
    return {
        "unread": shown,
        "more": more,
        "label": count_label(unread),
        "words": _words(shown, more=more),
    }


def _words(unread: int, *, more: bool) -> str:
    # Quicker than {% blocktranslate %}, on every page of the site.
    if more:
        text = gettext("more than %(unread)s unread")
    else:
        text = ngettext("%(unread)s unread", "%(unread)s unread", unread)
    return text % {"unread": formats.localize(unread) if unread >= GROUPED else unread}


def count_label(count: int, limit: int | None = None) -> str:
    """Write `count` as the counter does: "99+" above `limit`, which is the counter's by default."""
    limit = limit or get_config().COUNTER_LIMIT
    return f"{limit}+" if count > limit else str(count)
