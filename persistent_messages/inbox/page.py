"""A page of the inbox: its list of messages, the links to other filters, and the counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.safestring import SafeString, mark_safe

from persistent_messages.conf import get_config
from persistent_messages.constants import Folder
from persistent_messages.http import caching, visits
from persistent_messages.labels import BOX_NAMES, FILTER_NAMES
from persistent_messages.models import Message
from persistent_messages.querysets import Page
from persistent_messages.topics import topic_label, topics

from .counter import count_label, kinds_of, unread_count
from .filters import LEVELS, Filter, has_levels

COUNT_LIMIT = 10_000
"""The number up to which the rows of a list are counted."""


@dataclass(frozen=True)
class Choice:
    """A link to another filter."""

    name: str
    label: Any
    query: str
    is_current: bool


class InboxPage:
    """A page of the mailbox of the user of the request; each part is read on first use."""

    def __init__(self, request: HttpRequest, chosen: Filter | None = None) -> None:
        self.request = request
        self.filter = chosen or Filter()
        self.user = getattr(request, "user", None)
        self.pages = 1
        """The number of pages in the list, so that updating it keeps further pages open."""

    @property
    def further_pages(self) -> int:
        """The number of pages that were loaded after the first one."""
        in_url = -(-self.found // get_config().PAGE_SIZE) if self.filter.until else 1
        return max(self.pages, in_url) - 1

    @cached_property
    def page(self) -> Page:
        """The messages; one query, two for a search, and none for visitors."""
        caching.mark_private(self.request)
        if self.user is not None and self.user.pk is not None:
            visits.visit(self.request, self.user)
        return self.filter.page_of(self.user, self.pages)

    @property
    def query(self) -> str:
        """The query string of this view, starting at the first page."""
        return self.filter.query(before=None)

    @property
    def older_query(self) -> str:
        """The query string of the next page."""
        return self.filter.query(before=self.page.older, newest=self._told_newest)

    @property
    def further_query(self) -> str:
        """The query string that continues in older messages."""
        return self.filter.query(before=self.page.further, newest=self._told_newest)

    @property
    def _told_newest(self) -> int | None:
        # Unknown while nothing was found.
        return None if self.filter.words else self.newest or None

    @property
    def without_words(self) -> str:
        """The query string of this view without its search."""
        return self.filter.query(q="", before=None)

    @property
    def without_level(self) -> str:
        """The query string of this view without its level and topic."""
        return self.filter.query(level="", topic="", before=None)

    @property
    def trash_days(self) -> int:
        """The number of days that messages stay in the trash."""
        return get_config().TRASH_DAYS

    @property
    def writes_letters(self) -> bool:
        """Whether users can write to each other."""
        return get_config().LETTERS

    @property
    def box_name(self) -> Any:
        """The name of the folder."""
        return BOX_NAMES[self.filter.box]

    @property
    def boxes(self) -> list[Choice]:
        """Links to the folders. They keep the level and topic, but not the search words."""
        return [
            Choice(
                name,
                label,
                self.filter.query(
                    box=name,
                    level=self.filter.level if has_levels(name) else "",
                    topic=self.filter.topic if has_levels(name) else "",
                    q="",
                    before=None,
                ),
                is_current=name == self.filter.box,
            )
            for name, label in BOX_NAMES.items()
        ]

    @cached_property
    def levels(self) -> list[Choice]:
        """Links to the levels of the latest messages, and to the current one, which clears it.

        One query, which also reads the unread count: if both are needed, read this first. Empty for
        sent messages and for visitors. Includes "debug" only if `DEBUG` is True.
        """
        if self.user is None or self.user.pk is None:
            return []
        found, _ = self._kinds
        return [
            Choice(
                name,
                FILTER_NAMES[name],
                self._narrowed(level="" if name == self.filter.level else name),
                is_current=name == self.filter.level,
            )
            for name, level in LEVELS.items()
            if name == self.filter.level or (level in found and (name != "debug" or settings.DEBUG))
        ]

    @cached_property
    def topics(self) -> list[Choice]:
        """Links to the topics in the folder, and to the current one, which clears the filter.

        Shares its query with `levels`.
        """
        if self.user is None or self.user.pk is None:
            return []
        _, found = self._kinds
        return [
            Choice(
                name,
                topic.label,
                self._narrowed(topic="" if name == self.filter.topic else name),
                is_current=name == self.filter.topic,
            )
            for name, topic in topics.items()
            if name in found or name == self.filter.topic
        ]

    @cached_property
    def _kinds(self) -> tuple[set[int], set[str]]:
        if not has_levels(self.filter.box):
            return set(), set()
        return kinds_of(self.request, self.filter.folder)

    def _narrowed(self, **changes: str) -> str:
        # The menu filters by either a level or a topic.
        return self.filter.query(**{"level": "", "topic": "", **changes}, before=None)

    def prefetch(self) -> None:
        """Read the levels before the base template reads the unread count: one query has both."""
        self.levels  # noqa: B018 (a property that reads)

    @property
    def filter_name(self) -> str:
        """The names of the current level and topic; "" if there is none."""
        topic = topic_label(self.filter.topic) if self.filter.topic else ""
        return ", ".join(filter(None, (str(FILTER_NAMES.get(self.filter.level, "")), topic)))

    @property
    def is_filtered(self) -> bool:
        """Whether only one level or topic is shown."""
        return bool(self.filter.level or self.filter.topic)

    @cached_property
    def newest(self) -> int:
        """The key of the newest message when the page is rendered, the limit of bulk actions.

        No query on the first page, which passes it on to further pages, nor for a search, which has
        no bulk actions. One query otherwise. If the pages before found nothing in their windows, it
        is the first message of this one.
        """
        if self.filter.before is None or self.filter.words:
            return self.page.newest
        if self.filter.newest is not None:
            return self.filter.newest
        if self.filter.is_windowed:
            return self.page.newest
        return next(iter(self.filter.rows_of(self.user).values_list("pk", flat=True)[:1]), 0)

    @cached_property
    def unread(self) -> int | None:
        """The number of unread messages here, up to the counter's limit plus one; 0 for a search.

        Without a filter, no query beyond that of the counter; with one, none if the page has all
        messages. None, meaning not counted, for further pages of a filter, so that no page needs
        more than four queries, and for a level that has more messages than the page.
        """
        if self.filter.words or self.filter.folder != Folder.INBOX:
            return 0
        if not self.is_filtered:
            return unread_count(self.request)
        if self.filter.before is not None:
            return None
        if not self.page.older and not self.page.further:
            return sum(not message.read for message in self.page.messages)
        if self.filter.is_windowed:
            return None
        unread = Filter(box="unread", topic=self.filter.topic).rows_of(self.user)
        return unread.count_up_to(get_config().COUNTER_LIMIT + 1)

    @property
    def has_other_unread(self) -> bool:
        """Whether the filter hides unread messages."""
        return self.is_filtered and unread_count(self.request) > (self.unread or 0)

    @property
    def unread_is_open(self) -> bool:
        """Whether `unread` is not exact: not counted, or above the limit."""
        return self.unread is None or self.unread > get_config().COUNTER_LIMIT

    @property
    def all_unread(self) -> str:
        """The unread count of the inbox as the counter shows it; "" for none."""
        unread = unread_count(self.request)
        return count_label(unread) if unread else ""

    @property
    def found(self) -> int:
        """The number of rows on this page."""
        return len(self.page.messages)

    @property
    def found_label(self) -> str:
        """The number of rows on this page, with "+" if there are or may be more."""
        return f"{self.found}+" if self.page.older or self.page.further else str(self.found)

    @cached_property
    def total_label(self) -> str:
        """The number of rows in the list when the page was rendered; "10,000+" above the limit."""
        rows = self.filter.rows_of(self.user)
        if self.filter.newest is not None:
            rows = rows.up_to(self.filter.newest)
        return total_label(rows.count_up_to(COUNT_LIMIT + 1))

    @property
    def nth(self) -> SafeString:
        """The element in which the script writes the number of selected messages."""
        return mark_safe('<span class="pm-nth"></span>')

    def news_after(self, key: int) -> int:
        """Count the messages here after message `key`, up to the counter's limit plus one."""
        news = self.filter.rows_of(self.user).filter(pk__gt=key)
        return news.count_up_to(get_config().COUNTER_LIMIT + 1)

    def keeps(self, message: Message) -> bool:
        """Return whether `message` still belongs here. One that was just read stays in the list."""
        return message.folder == self.filter.folder and not message.has_expired


def total_label(count: int) -> str:
    """Return `count` with separators, such as "1,121", or "10,000+" above `COUNT_LIMIT`."""
    label = str(number_format(min(count, COUNT_LIMIT), force_grouping=True))
    return f"{label}+" if count > COUNT_LIMIT else label
