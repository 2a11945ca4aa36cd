"""Every read of the table, named as states. Each starts from the owner of a mailbox."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections, models, router
from django.db.models.query import ModelIterable
from django.utils import timezone

from .constants import Folder
from .prepared import Later, Statement

if TYPE_CHECKING:
    from typing_extensions import Self

    from .models import Message


NIL = UUID(int=0)
"""Before every conversation there is."""


@dataclass(frozen=True)
class Page:
    """Some messages of a list, newest first."""

    messages: list[Message]
    older: int | None = None
    """The cursor of the next page, None at the end."""
    further: int | None = None
    """The cursor from which to search further back, None where all of it was searched."""

    @classmethod
    def of(cls, found: list[Message], size: int) -> Page:
        """Return the first `size` of what was found: one more says that others follow."""
        return cls(found[:size], older=found[size - 1].pk if found[size:] else None)

    @property
    def newest(self) -> int:
        """The key of the first message, else 0: what came after it was not on this page."""
        return self.messages[0].pk if self.messages else 0


def _having(words: list[str]) -> models.Q:
    has_all = models.Q()
    for word in words:
        has_all &= (
            models.Q(subject__icontains=word)
            | models.Q(message__icontains=word)
            | models.Q(from_name__icontains=word)
            | models.Q(to_name__icontains=word)
        )
    return has_all


class MessageQuerySet(models.QuerySet["Message"]):
    """Rows of the table. Lazy, as every QuerySet."""

    def at_source(self) -> Self:
        """Read where writes go, since a replica may lag: what is about to change, or just did."""
        return self.using(router.db_for_write(self.model))

    def owned_by(self, user: Any) -> Self:
        """Keep the mailbox of `user`, a user or its key; none for a visitor."""
        key = getattr(user, "pk", user)
        return self.none() if key is None else self.filter(user_id=key)

    def in_folder(self, folder: Folder) -> Self:
        """Keep one folder."""
        return self.filter(folder=folder)

    def unread(self) -> Self:
        """Keep what nobody opened or closed yet."""
        return self.filter(read_at=None)

    def current(self, now: Any = None) -> Self:
        """Leave out what has expired by now."""
        return self.filter(
            models.Q(expires=None) | models.Q(expires__gt=now or timezone.now()),
        )

    def expired(self) -> Self:
        """Keep what has expired by now."""
        return self.filter(expires__lte=timezone.now())

    def up_to(self, newest: int) -> Self:
        """Keep what had arrived when row `newest` was the newest."""
        return self.filter(pk__lte=newest)

    def newest_first(self) -> Self:
        """Order by arrival, latest first."""
        return self.order_by("-pk")

    def heads(self) -> Self:
        """Keep notices and of each conversation the newest letter in its folder, latest first."""
        return self.filter(followed_by=None)._latest_by("followed_by")

    def unread_heads(self) -> Self:
        """Keep the unread ones of `heads`, latest first."""
        return self.unread().filter(followed_by=None)._latest_by("read_at", "followed_by")

    def unread_counted(self) -> Self:
        """Keep the unread, each letter by itself, to count: in the order of their index.

        So the plan is that index, however the rows lie.
        """
        return self.unread()._latest_by("read_at", then=("-followed_by", "-pk"))

    def _latest_by(self, *nulls: str, then: tuple[str, ...] = ("-pk",)) -> Self:
        """Order by arrival, latest first, where the columns `nulls` are null in all rows.

        PostgreSQL takes the order from the index that has them only if they are named, and might
        walk the primary key instead; MariaDB only if they are not; SQLite either way.
        """
        mariadb = connections[self.db].vendor == "mysql"
        return self.order_by(*([] if mariadb else [f"-{name}" for name in nulls]), *then)

    def in_threads(self, threads: Collection[UUID]) -> Self:
        """Keep the letters of these conversations."""
        return self.filter(thread__in=threads)

    def letters(self) -> Self:
        """Keep what belongs to a conversation."""
        # A range, unlike "is not null", which SQLite would not take from an index.
        return self.filter(thread__gt=NIL)

    def threads(self, limit: int) -> list[UUID]:
        """Return up to `limit` conversations that have a letter here; one query."""
        found = self.letters().order_by().values_list("thread", flat=True).distinct()
        return [thread for thread in found[:limit] if thread is not None]

    def older_than(self, cursor: int | Later | None) -> Self:
        """Keep what is older than row `cursor`, which need not exist any more; None keeps all."""
        return self if cursor is None else self.filter(pk__lt=cursor)

    def page(self, size: int) -> Page:
        """Return the first `size` in the order at hand, newest first; one query."""
        return Page.of(list(self[: size + 1]), size)

    def search(self, user: Any, words: list[str], size: int, window: int) -> Page:
        """Return the first `size` that have all `words` among the first `window`; two queries.

        Words are looked for in subject, text and names, in upper or lower case. The head of a
        conversation is found by any letter of it that lies in the same folder of `user`.
        """
        edge = list(self.values_list("pk", flat=True)[window - 1 : window + 1])
        last = edge[0] if len(edge) > 1 else None  # the last that is looked at, if more follow
        found = self if last is None else self.filter(pk__gte=last)
        # The owner by name, not as that of the row: so one partition is planned, not all.
        earlier = self.model.objects.owned_by(user).filter(
            _having(words), thread=models.OuterRef("thread"), folder=models.OuterRef("folder")
        )
        page = found.filter(_having(words) | models.Q(models.Exists(earlier))).page(size)
        return page if page.older else replace(page, further=last)

    def sent_since(self, user: Any, since: datetime) -> Self:
        """Keep the letters in the mailbox of `user` that `user` sent after `since`, latest first.

        Whatever their folder: what was deleted meanwhile was sent all the same.
        """
        sent = self.owned_by(user).filter(from_user=user.pk, created__gt=since)
        return sent.exclude(letter=None).order_by("-created")

    def kept_by(self, user: Any) -> Self:
        """Keep all of the mailbox of `user` that has pages."""
        return self.owned_by(user).exclude(folder__in=(Folder.ONE_SHOT, Folder.SPENT))

    def beside(self, letter: Message) -> Self:
        """Keep the conversation of `letter`: its part in the trash, or what is not there."""
        found = self.filter(thread=letter.thread)
        if letter.folder == Folder.TRASH:
            return found.in_folder(Folder.TRASH)
        return found.exclude(folder=Folder.TRASH)

    def inbox_of(self, user: Any, now: Any = None) -> Self:
        """Keep the current messages in the inbox of `user`."""
        return self.owned_by(user).in_folder(Folder.INBOX).current(now)

    def one_shot_of(self, user: Any, now: Any = None) -> Self:
        """Keep the current messages that `user` is shown once, in the order they came."""
        return self.owned_by(user).in_folder(Folder.ONE_SHOT).current(now).order_by("pk")

    def count_to(self, limit: int) -> int:
        """Count, but look at no more than `limit` rows; one query."""
        return self[:limit].count()

    def strip_of(self, user: Any, limit: int) -> list[Message]:
        """Return what waits for `user`, with one query.

        First all one-shot messages in the order they came, then the `limit` newest unread ones of
        the inbox, one a conversation. Each half is one index range.
        """
        rows = self.using(self.db)  # asked once: a router may name another replica each time
        return sorted(
            STRIP.fetch(rows, limit, user=user.pk, now=timezone.now()),
            key=lambda message: (
                (0, message.pk) if message.folder == Folder.ONE_SHOT else (1, -message.pk)
            ),
        )

    def count_unread_of(self, user: Any, limit: int) -> int:
        """Count the unread in the inbox of `user`, but look at no more than `limit`; one query."""
        rows = self.using(self.db)
        sql, parameters = UNREAD.sql(rows, limit, user=user.pk, now=timezone.now())
        with connections[rows.db].cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) FROM ({sql}) unread", parameters)  # noqa: S608
            return int(cursor.fetchone()[0])

    def later(self) -> tuple[Later, Later]:
        """Return an owner and a time that are known when a statement runs."""
        field: Any = self.model._meta.get_field
        return Later("user", field("user").target_field), Later("now", field("expires"))

    def noting(self, note: Callable[[Message], None]) -> Self:
        """Call `note` with each row at the moment the database hands it out, not before."""

        class NotingIterable(ModelIterable):  # type: ignore[type-arg]
            def __iter__(self) -> Iterator[Any]:
                for message in super().__iter__():
                    note(message)
                    yield message

        clone = self.all()
        clone._iterable_class = NotingIterable
        return clone


def _strip(rows: MessageQuerySet, limit: int) -> list[MessageQuerySet]:
    user, now = rows.later()
    return [rows.one_shot_of(user, now), rows.inbox_of(user, now).unread_heads()[:limit]]


def _unread(rows: MessageQuerySet, limit: int) -> list[Any]:
    user, now = rows.later()
    return [rows.inbox_of(user, now).unread_counted().values("pk")[:limit]]


# What the pages of a site ask, be they about messages or not.
STRIP = Statement(_strip)
UNREAD = Statement(_unread)
