"""Polling: find the parts of a page that have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils.crypto import salted_hmac
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from persistent_messages.conf import get_config
from persistent_messages.http import caching, visits
from persistent_messages.inbox.counter import MEMO, count_label, counter_context
from persistent_messages.inbox.filters import parse_key
from persistent_messages.inbox.page import InboxPage
from persistent_messages.models import Message
from persistent_messages.querysets import UnreadState
from persistent_messages.rendering.row_actions import PageContext

from . import htmx, page_state

STATE_HEADER = "PM-State"
"""The header with the state of the unread messages, which the tabs of a browser compare."""
MAX_ROWS = 200
"""The number of rows of a page that are compared; the script sends no more."""


def keep_session_unchanged(request: HttpRequest) -> None:
    """Prevent Django from saving the session of `request`, unless it was modified.

    With `SESSION_SAVE_EVERY_REQUEST`, polling would otherwise keep an open page logged in forever.
    """
    session: Any = getattr(request, "session", None)
    if session is None:
        return
    is_empty: Callable[[], bool] = session.is_empty

    def is_empty_if_modified() -> bool:
        # SessionMiddleware catches the AttributeError and leaves the response alone.
        if not session.modified:
            raise AttributeError("This session is left as it is.")
        return is_empty()

    if settings.SESSION_SAVE_EVERY_REQUEST:
        session.is_empty = is_empty_if_modified


def tabs_key(user: Any) -> str:
    """Return a name that only the tabs of `user` share, without revealing the user's key."""
    return _tabs_key(str(user.pk), settings.SECRET_KEY)


@lru_cache(maxsize=1024)
def _tabs_key(key: str, secret: str | bytes) -> str:
    return salted_hmac("persistent_messages.tabs", key, secret, algorithm="sha256").hexdigest()[:16]


def polling_attributes(user: Any, context: PageContext) -> SafeString:
    """Return the attributes that tell the script which URL to poll, and for which user.

    Empty on a site without the URLs of the app. Cached for each user and `page_context`, because
    every page with the counter has them.
    """
    is_live = bool(get_config().LIVE)
    return _attributes(
        str(user.pk), settings.SECRET_KEY, settings.STATIC_URL, context, is_live=is_live
    )


@lru_cache(maxsize=1024)
def _attributes(
    key: str,
    secret: str | bytes,
    _static_url: str | None,
    context: PageContext,
    *,
    is_live: bool,
) -> SafeString:
    if not context.inbox:
        return mark_safe("")
    address, script = reverse("message_news"), static("persistent_messages/tabs.js")
    polling = format_html(
        ' data-pm-news="{}" data-pm-user="{}" data-pm-script="{}"',
        address,
        _tabs_key(key, secret),
        script,
    )
    if not is_live:
        return polling
    return format_html('{} data-pm-events="{}"', polling, reverse("message_events"))


@receiver(setting_changed)
def _forget_attributes(setting: str, **_: Any) -> None:
    # These settings change the URLs of static files.
    if setting in ("STORAGES", "STATIC_ROOT"):
        _attributes.cache_clear()


class ShownParts:
    """The parts that a page shows, to compare with the database. Each part is read at most once."""

    def __init__(self, request: HttpRequest, user: Any) -> None:
        self.request, self.user, self.asked = request, user, request.GET
        self.parts = set(self.asked.getlist("pm-part"))
        self.inbox = InboxPage(request, page_state.filter_from(self.asked))
        self.context: dict[str, Any] = {
            "pm_oob": True,
            "inbox": self.inbox,
            "pm_is_page": self.asked.get("pm-page") == "1",
        }

    @cached_property
    def unread(self) -> UnreadState:
        """The state of the unread messages; one query, whose count the counter reuses."""
        unread = Message.objects.unread_state_of(self.user, get_config().COUNTER_LIMIT + 1)
        vars(self.request).setdefault(MEMO, {})[self.user.pk] = unread.number
        caching.mark_private(self.request)
        return unread

    def changed_parts(self) -> Iterator[str]:
        """Yield the changed parts as HTML."""
        visits.visit(self.request, self.user)  # delivers running broadcasts first
        if self.parts & {"counter", "list", "latest"} and self._has_other_number():
            yield self._render(htmx.COUNTER, **counter_context(self.request))
            yield self._render(f"{htmx.INBOX}#totals", pm_list_shown=True)
        if "strip" in self.parts:
            yield from self._notices()
        if "pm-row" in self.asked:
            yield from self._rows()
        if "after" in self.asked:
            yield from self._news()

    def _has_other_number(self) -> bool:
        count = count_label(self.unread.number) if self.unread.number else ""
        known = self.asked.get("known") or self.unread.state
        return self.asked.get("unread") != count or known != self.unread.state

    def _notices(self) -> Iterator[str]:
        config = get_config()
        waiting = Message.objects.strip_of(
            self.user, config.STRIP_LIMIT, letters=config.STRIP_LETTERS, one_shots=0
        )
        shown, there = self.asked.getlist("pm-notice"), [str(message.pk) for message in waiting]
        if there and there == [key for key in shown if key in set(there)]:
            # Remove single notices, so that the focus stays on another one.
            for key in parse_keys(set(shown) - set(there)):
                yield self._render(f"{htmx.STRIP}#closed", message=Message(pk=key))
        elif there != shown:
            strip = {"notices": waiting, "newest": max((m.pk for m in waiting), default=0)}
            close_all = bool(self.asked.get("close_all"))
            yield self._render(f"{htmx.STRIP}#notices", waiting=strip, close_all=close_all)

    def _rows(self) -> Iterator[str]:
        shown = self.asked.getlist("pm-row")[:MAX_ROWS]
        was_unread = set(parse_keys(key.removesuffix("u") for key in shown if key.endswith("u")))
        was_read = set(parse_keys(shown))
        rows = Message.objects.owned_by(self.user).in_folder(self.inbox.filter.folder).current()
        found = rows.filter(pk__in=was_unread | was_read).values_list("pk", "read_at")
        is_unread = {key: read_at is None for key, read_at in found}
        for key in (was_unread | was_read) - is_unread.keys():
            yield self._render(f"{htmx.INBOX}#gone", message=Message(pk=key))
        changed = [key for key, unread in is_unread.items() if unread != (key in was_unread)]
        for message in rows.filter(pk__in=changed) if changed else []:
            yield self._render(htmx.ROW, message=message)

    def _news(self) -> Iterator[str]:
        after = parse_key(self.asked["after"])
        news = 0 if after is None else self.inbox.news_after(after)
        count = count_label(news) if news else ""
        if count != self.asked.get("news", ""):
            yield self._render(f"{htmx.INBOX}#news", news=news, news_label=count)

    def _render(self, template: str, **context: Any) -> str:
        return htmx.render_fragment(self.request, template, {**self.context, **context})


def parse_keys(texts: Iterable[str]) -> list[int]:
    """Return the keys in `texts`, without invalid ones."""
    return [key for text in texts if (key := parse_key(text)) is not None]
