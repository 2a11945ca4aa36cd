"""Which part of a mailbox a page shows: folder, level, words, place. Each has an address."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from django.http import QueryDict
from django.utils import timezone

from .conf import get_config
from .constants import DEFAULT_TAGS, Folder
from .models import Message
from .prepared import Later, Statement
from .querysets import MessageQuerySet, Page

BOXES = {
    "inbox": Folder.INBOX,
    "unread": Folder.INBOX,
    "archive": Folder.ARCHIVE,
    "sent": Folder.SENT,
    "trash": Folder.TRASH,
}
LEVELS = {tag: level for level, tag in reversed(DEFAULT_TAGS.items())}
MAX_WORDS = 8
MAX_QUERY = 100
MAX_KEY = 2**63 - 1


@dataclass(frozen=True)
class Filter:
    """A view of a mailbox. What its address says wrong is as good as not said."""

    box: str = "inbox"
    level: str = ""
    q: str = ""
    before: int | None = None
    newest: int | None = None
    """On further pages: the newest message when the first of them was drawn."""

    @classmethod
    def from_query(cls, query: QueryDict) -> Filter:
        """Read a query string."""
        box, level = query.get("box", ""), query.get("level", "")
        return cls(
            box=box if box in BOXES else "inbox",
            level=level if level in LEVELS else "",
            q=query.get("q", "").replace("\0", "").strip()[:MAX_QUERY].rstrip(),
            before=number(query.get("before")),
            newest=number(query.get("newest")),
        )

    @property
    def folder(self) -> Folder:
        """The folder that it shows; `unread` is a part of the inbox."""
        return BOXES[self.box]

    @property
    def words(self) -> list[str]:
        """What to look for."""
        return self.q.split()[:MAX_WORDS]

    def messages_of(
        self, user: Any, now: Any = None, among: MessageQuerySet | None = None
    ) -> MessageQuerySet:
        """Return all that it shows of the mailbox of `user` but for the words, in no order."""
        rows = Message.objects.all() if among is None else among
        messages = rows.owned_by(user).in_folder(self.folder).current(now)
        if self.level:
            messages = messages.filter(level=LEVELS[self.level])
        return messages.unread() if self.box == "unread" else messages

    def rows_of(
        self, user: Any, now: Any = None, among: MessageQuerySet | None = None
    ) -> MessageQuerySet:
        """Return what its list has a row for, newest first: of a conversation one letter."""
        messages = self.messages_of(user, now, among)
        return messages.unread_heads() if self.box == "unread" else messages.heads()

    def page_of(self, user: Any) -> Page:
        """Return the page of `user` at its place; one query, with words two."""
        config = get_config()
        if self.words:
            rows = self.rows_of(user).older_than(self.before)
            return rows.search(user, self.words, config.PAGE_SIZE, config.SEARCH_WINDOW)
        key = getattr(user, "pk", user)
        return Page([]) if key is None else self._page_of(key, config.PAGE_SIZE)

    def _page_of(self, key: Any, size: int) -> Page:
        rows = Message.objects.using(Message.objects.db)  # a router is asked once
        shape = (self.box, self.level, self.before is not None, size + 1)
        values = {"user": key, "now": timezone.now(), "before": self.before}
        return Page.of(PAGE.fetch(rows, *shape, **values), size)

    def query(self, **changes: Any) -> str:
        """Return its query string with `changes`, "?" included; the defaults are left out."""
        changed = replace(self, **changes)
        query = QueryDict(mutable=True)
        for name, default in DEFAULTS.items():
            value = getattr(changed, name)
            if value != default and (name != "newest" or changed.before is not None):
                query[name] = str(value)
        return "?" + query.urlencode()


DEFAULTS = {field.name: field.default for field in fields(Filter)}


def _page(
    rows: MessageQuerySet,
    box: str,
    level: str,
    is_further: bool,  # noqa: FBT001 (part of the shape)
    limit: int,
) -> list[MessageQuerySet]:
    user, now = rows.later()
    # No bound on the first page: by the greatest key MariaDB would go along the primary key.
    before = Later("before", Message._meta.pk) if is_further else None
    return [Filter(box, level).rows_of(user, now, rows).older_than(before)[:limit]]


# What people look at all the time.
PAGE = Statement(_page)


def number(text: str | None) -> int | None:
    """Return the key that `text` writes, None where it writes none that a database could hold."""
    if not text or not text.isascii() or not text.isdigit() or len(text) > len(str(MAX_KEY)):
        return None
    return min(int(text), MAX_KEY)
