"""The filter of a list: folder, level, topic, search words and position, from a query string."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import islice
from typing import Any

from django.db.models import Subquery
from django.db.models.functions import Coalesce
from django.http import QueryDict
from django.utils import timezone

from persistent_messages.conf import get_config
from persistent_messages.constants import DEFAULT_TAGS, Folder
from persistent_messages.db.compiled import CompiledQuery, Param
from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet, Page
from persistent_messages.text.search import fold
from persistent_messages.topics import topics

BOXES = {
    "inbox": Folder.INBOX,
    "unread": Folder.INBOX,
    "archive": Folder.ARCHIVE,
    "sent": Folder.SENT,
    "trash": Folder.TRASH,
}
LEVELS = {tag: level for level, tag in reversed(DEFAULT_TAGS.items())}
MAX_WORDS = 8
QUOTATION_MARKS = [
    tuple(pair) for pair in ('""', "“”", "„“", "„”", "””", "«»", "»«", "「」", "『』")
]
# A phrase in quotes that are at word boundaries, or else a word between spaces.
TERM = re.compile(
    "|".join(rf"(?<!\S){a}([^{a}{b}]+){b}(?!\S)" for a, b in QUOTATION_MARKS) + r"|(\S+)",
)
MAX_QUERY = 100
MAX_KEY = 2**63 - 1
MAX_PAGES = 20
"""The maximum number of pages of a list that are shown at once when it is reopened."""


@dataclass(frozen=True)
class Filter:
    """A view of a mailbox. Invalid values in the query string are ignored."""

    box: str = "inbox"
    level: str = ""
    topic: str = ""
    q: str = ""
    before: int | None = None
    newest: int | None = None
    """On further pages, the newest message when the first page was rendered."""
    until: int | None = None
    """The last row of the pages that were open; the list is shown down to this row at once."""

    @classmethod
    def from_query(cls, query: QueryDict) -> Filter:
        """Return the filter in a query string."""
        box, level, topic = (query.get(name, "") for name in ("box", "level", "topic"))
        return cls(
            box=box if box in BOXES else "inbox",
            level=level if level in LEVELS else "",
            topic=topic if topic in topics else "",
            q=query.get("q", "").replace("\0", "").strip()[:MAX_QUERY].rstrip(),
            before=parse_key(query.get("before")),
            newest=parse_key(query.get("newest")),
            until=parse_key(query.get("until")),
        )

    @property
    def folder(self) -> Folder:
        """The folder of the list; `unread` is part of the inbox."""
        return BOXES[self.box]

    @cached_property
    def words(self) -> list[str]:
        """The folded search terms: words, and phrases in quotes."""
        terms = (match.group(match.lastindex or 0) for match in TERM.finditer(self.q))
        return list(islice(filter(None, map(_clean_term, terms)), MAX_WORDS))

    def messages_of(
        self, user: Any, now: Any = None, among: MessageQuerySet | None = None
    ) -> MessageQuerySet:
        """Return the messages of `user` that match, ignoring the search words; unordered."""
        rows = Message.objects.all() if among is None else among
        messages = rows.owned_by(user).in_folder(self.folder).current(now)
        if self.level:
            messages = messages.filter(level=LEVELS[self.level])
        if self.topic:
            messages = messages.about(self.topic)
        return messages.unread() if self.box == "unread" else messages

    def rows_of(
        self, user: Any, now: Any = None, among: MessageQuerySet | None = None
    ) -> MessageQuerySet:
        """Return the rows of the list, newest first, with one letter for each conversation."""
        messages = self.messages_of(user, now, among)
        return messages.unread_thread_heads() if self.box == "unread" else messages.thread_heads()

    def page_of(self, user: Any, pages: int = 1) -> Page:
        """Return the current page of `user`, which is as long as `pages` pages.

        One query, or two with words or a level. Those read `SEARCH_WINDOW` rows of the folder, or
        of the topic, and the page says where to continue.

        With `until`, the page has all rows down to that one, up to `MAX_PAGES` pages. If none of
        them exists any more, `until` is ignored, with one more query.
        """
        config = get_config()
        key = getattr(user, "pk", user)
        if key is None:
            return Page([])
        if self.until is not None:
            page = self._open_pages_of(user, self.until, config.PAGE_SIZE * MAX_PAGES)
            if page.messages:
                return page
        if self.is_windowed:
            return self._search(user, config.PAGE_SIZE * pages)
        return self._page_of(key, config.PAGE_SIZE * pages)

    @property
    def is_windowed(self) -> bool:
        """Whether the list has no index, so that a page reads a window of a list that has one."""
        return bool(self.words or self.level or (self.topic and self.box == "unread"))

    @property
    def _around(self) -> Filter:
        """The list with an index that the window is read from."""
        return Filter(self.box, topic="" if self.box == "unread" else self.topic)

    def _search(self, user: Any, size: int) -> Page:
        rows, window = self.rows_of(user).older_than(self.before), get_config().SEARCH_WINDOW
        around = self._around.rows_of(user).older_than(self.before)
        if self.words:
            return rows.search(user, self.words, size, window, within=around)
        last = around.last_of(window)
        page = (rows if last is None else rows.filter(pk__gte=last)).page(size)
        return page if page.older else replace(page, further=last)

    def _open_pages_of(self, user: Any, until: int, size: int) -> Page:
        if self.is_windowed:
            return self._search(user, size).down_to(until, size)
        shape = (self.box, bool(self.topic), self.before is not None, size)
        values = {"user": getattr(user, "pk", user), "now": timezone.now(), "topic": self.topic}
        values |= {"before": self.before, "until": until}
        messages = sorted(
            OPEN_PAGES.fetch(Message.objects.all(), *shape, **values),
            key=lambda message: -message.pk,
        )
        return Page(messages).down_to(until, size)

    def _page_of(self, key: Any, size: int) -> Page:
        shape = (self.box, bool(self.topic), self.before is not None, size + 1)
        values = {"user": key, "now": timezone.now(), "topic": self.topic, "before": self.before}
        return Page.of(PAGE.fetch(Message.objects.all(), *shape, **values), size)

    def neighbors_of(self, user: Any, key: int) -> tuple[Message | None, Message | None]:
        """Return the messages directly above and below row `key` in the list; one query.

        The row need not be in the list. The search words are ignored. For a level, looks at
        `SEARCH_WINDOW` rows above and as many below.
        """
        shape = (self.box, self.level, bool(self.topic), get_config().SEARCH_WINDOW)
        values = {"user": user.pk, "now": timezone.now(), "topic": self.topic, "key": key}
        found = NEIGHBORS.fetch(Message.objects.all(), *shape, **values)
        newer = next((message for message in found if message.pk > key), None)
        return newer, next((message for message in found if message.pk < key), None)

    def query(self, **changes: Any) -> str:
        """Return the query string with `changes`, including "?" and without default values.

        `until` is left out unless it is among the changes.
        """
        changed = replace(self, **{"until": None, **changes})
        query = QueryDict(mutable=True)
        for name, default in DEFAULTS.items():
            value = getattr(changed, name)
            if value != default and (name != "newest" or changed.before is not None):
                query[name] = str(value)
        return "?" + query.urlencode()


def has_levels(box: str) -> bool:
    """Return whether `box` can be filtered by level and topic. Sent messages cannot."""
    return box != "sent"


DEFAULTS = {field.name: field.default for field in fields(Filter)}


def _page(
    rows: MessageQuerySet,
    box: str,
    has_topic: bool,  # noqa: FBT001 (part of the shape)
    is_further: bool,  # noqa: FBT001
    limit: int,
) -> list[MessageQuerySet]:
    return [_listed(rows, box, has_topic, is_further)[:limit]]


def _open_pages(
    rows: MessageQuerySet,
    box: str,
    has_topic: bool,  # noqa: FBT001 (part of the shape)
    is_further: bool,  # noqa: FBT001
    limit: int,
) -> list[MessageQuerySet]:
    found, until = _listed(rows, box, has_topic, is_further), _key_param("until")
    # One extra row shows whether there is another page.
    return [found.filter(pk__gte=until)[: limit + 1], found.older_than(until)[:1]]


def _neighbors(
    rows: MessageQuerySet,
    box: str,
    level: str,
    has_topic: bool,  # noqa: FBT001 (part of the shape)
    window: int,
) -> list[MessageQuerySet]:
    key = _key_param("key")
    found = _listed(rows, box, has_topic, is_further=False)
    newer, older = found.filter(pk__gt=key).reverse(), found.older_than(key)
    if level or (has_topic and box == "unread"):
        around = _listed(rows, box, has_topic and box != "unread", is_further=False)
        ends = around.filter(pk__gt=key).reverse(), around.older_than(key)
        last_newer, last_older = (Subquery(end.values("pk")[window - 1 : window]) for end in ends)
        newer = newer.filter(pk__lte=Coalesce(last_newer, MAX_KEY))
        older = older.filter(pk__gte=Coalesce(last_older, 0))
    if level:
        newer, older = (rows.filter(level=LEVELS[level]) for rows in (newer, older))
    return [newer[:1], older[:1]]


def _listed(
    rows: MessageQuerySet,
    box: str,
    has_topic: bool,  # noqa: FBT001
    is_further: bool,  # noqa: FBT001
) -> MessageQuerySet:
    user, now = rows.params()
    # The first page has no bound: with the greatest key, MariaDB would scan the primary key.
    before = _key_param("before") if is_further else None
    listed = Filter(box).rows_of(user, now, rows).older_than(before)
    return listed.about(_topic_param()) if has_topic else listed


def _topic_param() -> Param:
    return Param("topic", Message._meta.get_field("topic"))


def _key_param(name: str) -> Param:
    # Use the type of the other key column, because Django rejects 0 as a primary key on MariaDB.
    return Param(name, Message._meta.get_field("superseded_by"))


def _clean_term(term: str) -> str:
    # An unclosed quotation mark is not part of the word.
    return fold(term.lstrip("".join(a for a, _ in QUOTATION_MARKS))) or fold(term)


# The queries of the most frequent pages.
PAGE = CompiledQuery(_page)
OPEN_PAGES = CompiledQuery(_open_pages)
NEIGHBORS = CompiledQuery(_neighbors)


def parse_key(text: str | None) -> int | None:
    """Return the key in `text`, or None if it is not a valid key."""
    if not text or not text.isascii() or not text.isdigit() or len(text) > len(str(MAX_KEY)):
        return None
    return min(int(text), MAX_KEY)
