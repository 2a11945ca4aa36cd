"""What one page of the inbox shows: the list of a filter, the other filters, what can be done."""

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
"""Up to so many rows of a list are counted."""


@dataclass(frozen=True)
class Choice:
    """A link to another filter."""

    name: str
    label: Any
    query: str
    is_current: bool


class InboxPage:
    """A view of the mailbox of the request's user; each part is read once, and only if asked."""

    def __init__(self, request: HttpRequest, chosen: Filter | None = None) -> None:
        self.request = request
        self.filter = chosen or Filter()
        self.user = getattr(request, "user", None)
        self.pages = 1
        """How many pages it is long: what was loaded stays when an answer renews the list."""

    @property
    def further_pages(self) -> int:
        """How many pages were loaded beyond the first."""
        in_address = -(-self.found // get_config().PAGE_SIZE) if self.filter.until else 1
        return max(self.pages, in_address) - 1

    @cached_property
    def page(self) -> Page:
        """Read the messages; one query, with words two, and none for visitors."""
        caching.mark_private(self.request)
        if self.user is not None and self.user.pk is not None:
            visits.visit(self.request, self.user)
        return self.filter.page_of(self.user, self.pages)

    @property
    def query(self) -> str:
        """The query string of this view, from its first page on."""
        return self.filter.query(before=None)

    @property
    def older_query(self) -> str:
        """The query string of the next page."""
        newest = None if self.filter.words else self.newest
        return self.filter.query(before=self.page.older, newest=newest)

    @property
    def further_query(self) -> str:
        """The query string to search further back."""
        return self.filter.query(before=self.page.further)

    @property
    def without_words(self) -> str:
        """The query string of this view without its search."""
        return self.filter.query(q="", before=None)

    @property
    def without_level(self) -> str:
        """The query string of this folder with all its levels and topics."""
        return self.filter.query(level="", topic="", before=None)

    @property
    def trash_days(self) -> int:
        """How long the trash is kept."""
        return get_config().TRASH_DAYS

    @property
    def writes_letters(self) -> bool:
        """Whether the site lets its users write to each other."""
        return get_config().LETTERS

    @property
    def box_name(self) -> Any:
        """The name of its folder."""
        return BOX_NAMES[self.filter.box]

    @property
    def boxes(self) -> list[Choice]:
        """The folders; level and topic stay where there are some, the words go."""
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
        """Return the levels that the folder has, and the one in force, which leads back to all.

        One query.

        The unread count comes with it: where both are needed, ask for this first.

        None where there is nothing to choose from: in the folder of what one sent, and for
        visitors. "debug" only while the site is in `DEBUG` mode.
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
        """Return the topics among the latest rows of the folder, and the one in force.

        That leads back to all. No query more than for `levels`.
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
        # The menu offers one or the other.
        return self.filter.query(**{"level": "", "topic": "", **changes}, before=None)

    def prefetch(self) -> None:
        """Read the levels before the frame asks for the unread count: one query has both."""
        self.levels  # noqa: B018 (a property that reads)

    @property
    def filter_name(self) -> Any:
        """What the filter in force is called, by level or topic; "" for none."""
        name = FILTER_NAMES.get(self.filter.level, "")
        return name or (topic_label(self.filter.topic) if self.filter.topic else "")

    @property
    def is_filtered(self) -> bool:
        """Whether it shows one level or topic only."""
        return bool(self.filter.level or self.filter.topic)

    @cached_property
    def newest(self) -> int:
        """Return the key of the newest message as the page is drawn: no bulk action goes beyond it.

        No query on the first page, which further ones are told by, nor in a search, which has no
        such action; else one.
        """
        if self.filter.before is None or self.filter.words:
            return self.page.newest
        if self.filter.newest is not None:
            return self.filter.newest
        return next(iter(self.filter.rows_of(self.user).values_list("pk", flat=True)[:1]), 0)

    @cached_property
    def unread(self) -> int | None:
        """Count what is unread here, to the limit of the counter and one more; 0 after a search.

        No query of its own where the counter of the page says it; None, for not counted, on later
        pages of a level, so that no page needs more than four queries, and in a topic.
        """
        if self.filter.words or self.filter.folder != Folder.INBOX:
            return 0
        if not self.is_filtered:
            return unread_count(self.request)
        if self.filter.topic or self.filter.before is not None:
            return None
        filter_ = Filter(box="unread", level=self.filter.level)
        unread = filter_.rows_of(self.user)  # in the order of its index
        return unread.count_up_to(get_config().COUNTER_LIMIT + 1)

    @property
    def has_other_unread(self) -> bool:
        """Whether other messages are unread, in a view of one level or topic."""
        return self.is_filtered and unread_count(self.request) > (self.unread or 0)

    @property
    def unread_is_open(self) -> bool:
        """Whether that number is not known exactly: not counted, or above the limit."""
        return self.unread is None or self.unread > get_config().COUNTER_LIMIT

    @property
    def all_unread(self) -> str:
        """How many are unread in the inbox, as the counter writes it; "" for none."""
        unread = unread_count(self.request)
        return count_label(unread) if unread else ""

    @property
    def found(self) -> int:
        """How many rows this page shows."""
        return len(self.page.messages)

    @property
    def found_label(self) -> str:
        """That number, with "+" where there are more, or may be."""
        return f"{self.found}+" if self.page.older or self.page.further else str(self.found)

    @cached_property
    def total_label(self) -> str:
        """How many rows there are, as far as the page shows: "10,000+" above `COUNT_LIMIT`."""
        rows = self.filter.rows_of(self.user)
        if self.filter.newest is not None:
            rows = rows.up_to(self.filter.newest)
        return total_label(rows.count_up_to(COUNT_LIMIT + 1))

    @property
    def nth(self) -> SafeString:
        """Where the script writes how many are selected."""
        return mark_safe('<span class="pm-nth"></span>')

    def news_after(self, key: int) -> int:
        """Count what came here after message `key`, up to the limit of the counter and one more."""
        news = self.filter.rows_of(self.user).filter(pk__gt=key)
        return news.count_up_to(get_config().COUNTER_LIMIT + 1)

    def keeps(self, message: Message) -> bool:
        """Tell whether `message` still belongs here; what was just read stays in sight."""
        return message.folder == self.filter.folder and not message.has_expired


def total_label(count: int) -> str:
    """Write `count` with separators: "1,121", and "10,000+" above `COUNT_LIMIT`."""
    label = str(number_format(min(count, COUNT_LIMIT), force_grouping=True))
    return f"{label}+" if count > COUNT_LIMIT else label
