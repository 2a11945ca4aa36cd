"""What one page of the inbox shows: the list of a filter, the other filters, what can be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from .conf import get_config
from .constants import Folder
from .counter import label, unread_to_limit
from .filters import LEVELS, Filter
from .models import Message
from .querysets import Page
from .wording import LEVEL_NAMES

BOX_NAMES = {
    "inbox": _("Inbox"),
    "unread": _("Unread"),
    "archive": _("Archive"),
    "sent": _("Sent"),
    "trash": _("Trash"),
}


@dataclass(frozen=True)
class Choice:
    """A link to another filter."""

    name: str
    label: Any
    query: str
    is_current: bool


class Inbox:
    """A view of the mailbox of the request's user; each part is read once, and only if asked."""

    def __init__(self, request: HttpRequest, chosen: Filter | None = None) -> None:
        self.request = request
        self.filter = chosen or Filter()
        self.user = getattr(request, "user", None)

    @cached_property
    def page(self) -> Page:
        """Read the messages; one query, with words two, and none for visitors."""
        return self.filter.page_of(self.user)

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
        """The folders; the level stays, the words go."""
        return [
            Choice(
                name,
                label,
                self.filter.query(box=name, q="", before=None),
                is_current=name == self.filter.box,
            )
            for name, label in BOX_NAMES.items()
        ]

    @property
    def levels(self) -> list[Choice]:
        """The levels; the one in force leads back to all."""
        return [
            Choice(
                name,
                LEVEL_NAMES[name],
                self.filter.query(level="" if name == self.filter.level else name, before=None),
                is_current=name == self.filter.level,
            )
            for name in LEVELS
        ]

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
        pages of a level, so that no page needs more than four queries.
        """
        if self.filter.words or self.filter.folder != Folder.INBOX:
            return 0
        if not self.filter.level:
            return unread_to_limit(self.request)
        if self.filter.before is not None:
            return None
        filter_ = Filter(box="unread", level=self.filter.level)
        unread = filter_.rows_of(self.user)  # in the order of its index
        return unread.count_to(get_config().COUNTER_LIMIT + 1)

    @property
    def unread_label(self) -> str:
        """That number as the counter writes it: "99+" above the limit."""
        return label(self.unread or 0)

    @property
    def all_unread(self) -> str:
        """How many are unread in the inbox, as the counter writes it; "" for none."""
        unread = unread_to_limit(self.request)
        return label(unread) if unread else ""

    @property
    def found(self) -> int:
        """How many rows this page shows."""
        return len(self.page.messages)

    @property
    def found_label(self) -> str:
        """That number, with "+" where there are more, or may be."""
        return f"{self.found}+" if self.page.older or self.page.further else str(self.found)

    def news_after(self, key: int) -> int:
        """Count what came here after message `key`, up to the limit of the counter and one more."""
        news = self.filter.rows_of(self.user).filter(pk__gt=key)
        return news.count_to(get_config().COUNTER_LIMIT + 1)

    def keeps(self, message: Message) -> bool:
        """Tell whether `message` still belongs here; what was just read stays in sight."""
        return message.folder == self.filter.folder and not message.has_expired
