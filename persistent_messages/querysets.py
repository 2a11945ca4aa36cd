"""Reads of the table of messages, named after states. Each starts from the owner of a mailbox."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections, models, router
from django.db.models.query import ModelIterable
from django.utils import timezone
from typing_extensions import Self

from .constants import Folder
from .db.compiled import CompiledQuery, Param

ONE_SHOT_LIMIT = 50
"""The maximum number of one-shot messages on a page; the rest waits for the next page."""
BROWSER_GRACE_PERIOD = timedelta(minutes=10)
"""How long only the browser that queued a one-shot message may show it."""
NIL_UUID = UUID(int=0)
"""Sorts before every conversation."""
SEARCHED = {"subject", "message", "is_safe", "from_name", "to_name", "name_details"}
"""The columns that `search_text` is computed from."""


IS_SENT = models.Q(from_user=models.F("user"), letter__isnull=False)
"""Letters that their owner sent; see `Message.is_sent`."""


@dataclass(frozen=True)
class Page:
    """A page of a list, newest first."""

    messages: list[Any]
    older: int | None = None
    """The cursor of the next page; None at the end."""
    further: int | None = None
    """The cursor for continuing a search; None if everything has been searched."""

    @classmethod
    def of(cls, found: list[Any], size: int) -> Page:
        """Return a page with the first `size` rows; an extra row means that more follow."""
        return cls(found[:size], older=found[size - 1].pk if found[size:] else None)

    def down_to(self, key: int, size: int) -> Page:
        """Return a page that ends at row `key`, or after `size` rows."""
        kept = [message for message in self.messages if message.pk >= key][:size]
        if len(kept) == len(self.messages):
            return self
        return Page(kept, older=kept[-1].pk if kept else None)

    @property
    def newest(self) -> int:
        """The key of the first message, or 0. Later messages were not on this page."""
        return self.messages[0].pk if self.messages else 0


class UnreadState(NamedTuple):
    """The unread messages of a mailbox."""

    number: int
    """The number of rows, up to a limit."""
    state: str
    """A text that changes when different rows are unread."""


KEYS_MODULUS = 1_000_003
LEVEL_WINDOW = 200
"""The number of latest rows in a folder whose levels are in the filter menu."""
SEARCHED_CHARACTERS_PER_ROW = 1000
"""The average number of characters a search reads for each row; long rows shrink its window."""


class TextLength(models.Func):
    """The length of a text, in characters or bytes, whichever is faster."""

    function = "LENGTH"
    output_field = models.IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        """Use OCTET_LENGTH, which does not read a text that is stored out of line (TOAST)."""
        return self.as_sql(compiler, connection, function="OCTET_LENGTH")


def _contains_all(terms: list[str]) -> models.Q:
    has_all = models.Q()
    for term in terms:
        found = models.Q(search_text__contains=term)
        if term.isascii():
            # Without a search_text, the columns are short and ASCII, so databases agree on case.
            found |= models.Q(search_text="") & (
                models.Q(subject__icontains=term)
                | models.Q(message__icontains=term)
                | models.Q(from_name__icontains=term)
                | models.Q(to_name__icontains=term)
                | models.Q(name_details__icontains=term)
            )
        has_all &= found
    return has_all


class MessageQuerySet(models.QuerySet[Any]):
    """A queryset of messages. `Any` is `Message`, which imports this module."""

    def on_primary(self) -> Self:
        """Read from the primary database, because a replica may lag."""
        return self.using(router.db_for_write(self.model))

    def owned_by(self, user: Any) -> Self:
        """Keep the mailbox of `user`, which is a user or a key; empty for a visitor."""
        key = getattr(user, "pk", user)
        return self.none() if key is None else self.filter(user_id=key).without_search_text()

    def without_search_text(self) -> Self:
        """Defer `search_text`, which only searches read."""
        return self.defer("search_text")

    def in_folder(self, folder: Folder) -> Self:
        """Keep messages in `folder`."""
        return self.filter(folder=folder)

    def unread(self) -> Self:
        """Keep unread messages."""
        return self.filter(read_at=None)

    def current(self, now: Any = None) -> Self:
        """Leave out expired messages."""
        return self.filter(
            models.Q(expires=None) | models.Q(expires__gt=now or timezone.now()),
        )

    def expired(self) -> Self:
        """Keep expired messages."""
        return self.filter(expires__lte=timezone.now())

    def up_to(self, newest: int) -> Self:
        """Keep messages that are not newer than row `newest`."""
        return self.filter(pk__lte=newest)

    def newest_first(self) -> Self:
        """Order by arrival, newest first."""
        return self.order_by("-pk")

    def thread_heads(self) -> Self:
        """Keep notices, and the newest letter of each conversation in its folder, newest first."""
        return self.filter(superseded_by=None)._latest_by("superseded_by")

    def unread_thread_heads(self) -> Self:
        """Keep unread notices and thread heads, newest first: the messages in the Unread folder.

        Unread counts count these rows. `update_thread_heads` keeps the head of a conversation in
        the inbox unread as long as any of its letters there is.
        """
        return self.unread().filter(superseded_by=None)._latest_by("read_at", "superseded_by")

    def with_topic(self) -> Self:
        """Exclude rows without a topic, which the index of topics does not have."""
        return self.exclude(topic="")

    def about(self, topic: str | Param) -> Self:
        """Keep one topic, which is not empty, with the index of topics."""
        return self.with_topic().filter(topic=topic)

    def notices(self) -> Self:
        """Leave out letters between users."""
        return self.filter(thread=None)

    def unread_notices(self) -> Self:
        """Keep unread notices, newest first."""
        return self.unread().notices()._latest_by("read_at", "thread")

    def _latest_by(self, *nulls: str) -> Self:
        """Order by arrival, newest first, given that the columns `nulls` are null in all rows.

        PostgreSQL uses an index with these columns for the order only if they are in ORDER BY, and
        might scan the primary key instead. MariaDB uses it only if they are not, and SQLite always.
        """
        mariadb = connections[self.db].vendor == "mysql"
        return self.order_by(*([] if mariadb else [f"-{name}" for name in nulls]), "-pk")

    def in_threads(self, threads: Collection[UUID]) -> Self:
        """Keep the letters of these conversations."""
        return self.filter(thread__in=threads)

    def letters_in(self, folder: Folder, threads: Collection[UUID]) -> Self:
        """Keep the letters of these conversations that are in `folder`.

        Uses the index of conversations. SQLite would use that of the folder, and read all of it.
        """
        letters = self.in_threads(threads).alias(place=models.F("folder") + 0)
        return letters.filter(place=folder.value)

    def letters(self) -> Self:
        """Keep letters."""
        # A range, because SQLite does not use an index for "is not null".
        return self.filter(thread__gt=NIL_UUID)

    def thread_ids(self, limit: int | None = None) -> list[UUID]:
        """Return the conversations of these letters, at most `limit`; one query."""
        found = self.letters().order_by().values_list("thread", flat=True).distinct()
        return [thread for thread in found[:limit] if thread is not None]

    def older_than(self, cursor: int | Param | None) -> Self:
        """Keep messages older than row `cursor`, which need not exist; None keeps all."""
        return self if cursor is None else self.filter(pk__lt=cursor)

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Insert rows, and set their `search_text`."""
        objs = list(objs)
        for message in objs:
            message.update_search_text()
        return super().bulk_create(objs, *args, **kwargs)

    def bulk_update(self, objs: Any, fields: Any, *args: Any, **kwargs: Any) -> int:
        """Update rows, and their `search_text` if needed."""
        objs, fields = list(objs), list(fields)
        if not SEARCHED.isdisjoint(fields):
            for message in objs:
                message.update_search_text()
            fields = [*dict.fromkeys([*fields, "search_text"])]
        return super().bulk_update(objs, fields, *args, **kwargs)

    def page(self, size: int) -> Page:
        """Return the first page of `size` rows in the current order, newest first; one query."""
        return Page.of(list(self[: size + 1]), size)

    def search(
        self, user: Any, terms: list[str], size: int, window: int, within: Self | None = None
    ) -> Page:
        """Return a page of rows among the first `window` that contain all `terms`; two queries.

        The folded terms are searched in subject, text and names. A thread head is found by any
        letter of its conversation in the same folder of `user`. All these letters count towards the
        window, which ends early at `window * SEARCHED_CHARACTERS_PER_ROW` characters of text. The
        window counts the rows of `within`, which has these rows and more, if given.
        """
        last = (self if within is None else within)._last_searched(window)
        found = self if last is None else self.filter(pk__gte=last)
        # Name the owner instead of using an OuterRef, so that only one partition is planned.
        letters = self.model.objects.owned_by(user).filter(
            _contains_all(terms), thread=models.OuterRef("thread"), folder=models.OuterRef("folder")
        )
        # A sum, because MariaDB rejects a negative difference of unsigned columns.
        within = letters.alias(reach=models.F("thread_position") + window)
        earlier = within.filter(reach__gt=models.OuterRef("thread_position"))
        page = found.filter(_contains_all(terms) | models.Q(models.Exists(earlier))).page(size)
        return page if page.older else replace(page, further=last)

    def _last_searched(self, window: int) -> int | None:
        """Return the key of the last row of the search window, None at the end; one query."""
        rows = self.annotate(size=TextLength("search_text"))
        last, letters, text = None, 0, 0
        for key, position, size in rows.values_list("pk", "thread_position", "size")[: window + 1]:
            # The earlier letters of a conversation are not read here, so their size is estimated.
            letters += position or 1
            text += size + SEARCHED_CHARACTERS_PER_ROW * ((position or 1) - 1)
            if last is not None and (
                letters > window or text > window * SEARCHED_CHARACTERS_PER_ROW
            ):
                return int(last)
            last = key
        return None

    def last_of(self, window: int) -> int | None:
        """Return the key of the last of `window` rows, or None if no more follow; one query.

        The query only reads the index.
        """
        last, *more = [*self.values_list("pk", flat=True)[window - 1 : window + 1], None]
        return last if len(more) > 1 else None

    def sent_since(self, user: Any, since: datetime) -> Self:
        """Keep the letters that `user` sent after `since`, newest first.

        Includes those in the trash, and the tombstones of deleted ones.
        """
        sent = self.owned_by(user).filter(from_user=user.pk, created__gt=since)
        return sent.sent().order_by("-created")

    def sent(self) -> Self:
        """Keep the senders' copies of letters."""
        return self.filter(IS_SENT)

    def visible_to(self, user: Any) -> Self:
        """Keep the messages that `user` can open: no one-shot messages and no tombstones."""
        return self.owned_by(user).exclude(folder__in=(Folder.ONE_SHOT, Folder.TOMBSTONE))

    def in_same_thread(self, letter: Any) -> Self:
        """Keep the conversation of `letter`: in the trash if it is there, else outside it."""
        found = self.filter(thread=letter.thread)
        if letter.folder == Folder.TRASH:
            return found.in_folder(Folder.TRASH)
        return found.exclude(folder=Folder.TRASH)

    def inbox_of(self, user: Any, now: Any = None) -> Self:
        """Keep the current messages in the inbox of `user`."""
        return self.owned_by(user).in_folder(Folder.INBOX).current(now)

    def one_shot_of(self, user: Any, now: Any = None) -> Self:
        """Keep the current one-shot messages of `user`, oldest first."""
        return self.owned_by(user).in_folder(Folder.ONE_SHOT).current(now).order_by("pk")

    def for_browser(
        self,
        browser: int | Param | None,
        since: datetime | Param | None = None,
        *,
        is_owners: bool = True,
    ) -> Self:
        """Keep one-shot messages that `browser` may show.

        A message queued in another browser is kept if it is older than `since`, which defaults to
        `BROWSER_GRACE_PERIOD` ago. Unless the browser is the owner's, only its own are kept.
        """
        if not is_owners:
            return self.none() if browser is None else self.filter(browser=browser)
        since = since or timezone.now() - BROWSER_GRACE_PERIOD
        return self.filter(
            models.Q(browser=None) | models.Q(browser=browser) | models.Q(created__lt=since)
        )

    def count_up_to(self, limit: int) -> int:
        """Count at most `limit` rows; one query."""
        return self[:limit].count()

    def strip_of(
        self,
        user: Any,
        limit: int,
        *,
        letters: bool = False,
        one_shots: int = ONE_SHOT_LIMIT,
        browser: int | None = None,
        is_owners: bool = True,
    ) -> list[Any]:
        """Return the messages for the strip of `user` in `browser`; one query.

        First the `one_shots` oldest one-shot messages, plus one if there are more. Then the `limit`
        newest unread notices in the inbox, and with `letters` also unread thread heads. Each half
        reads one index range, and is left out if its limit is 0.
        """
        if not (limit or one_shots):
            return []
        now = timezone.now()
        values = {"browser": browser, "since": now - BROWSER_GRACE_PERIOD}
        return sorted(
            STRIP_QUERY.fetch(
                self, limit, one_shots, letters, is_owners, user=user.pk, now=now, **values
            ),
            key=lambda message: (
                (0, message.pk) if message.folder == Folder.ONE_SHOT else (1, -message.pk)
            ),
        )

    def count_unread_of(self, user: Any, limit: int) -> int:
        """Count at most `limit` rows in the Unread folder of `user`; one query.

        A conversation counts once.
        """
        return int(self._aggregate_unread("COUNT(*)", user, limit)[0])

    def unread_state_of(self, user: Any, limit: int) -> UnreadState:
        """Return the state of the `limit` latest rows in the Unread folder of `user`; one query."""
        # A sum of remainders, because a sum of keys might overflow.
        columns = f"COUNT(*), MAX(id), SUM(id %% {KEYS_MODULUS})"
        count, *state = self._aggregate_unread(columns, user, limit)
        return UnreadState(int(count), "-".join(str(int(part or 0)) for part in (count, *state)))

    def count_unread_and_kinds_of(
        self, user: Any, limit: int, folder: Folder, topics: Sequence[str] = ()
    ) -> tuple[int, set[int], set[str]]:
        """Return `count_unread_of()`, and the levels and topics in `folder` of `user`; one query.

        Reads the latest `LEVEL_WINDOW` rows for the levels, and one row for each of `topics`.
        Expired rows count until they are pruned.
        """
        using = self.db
        values = {"user": user.pk, "now": timezone.now()}
        unread, parameters = UNREAD_QUERY.sql(self, limit, using=using, **values)
        latest, more = LATEST_LEVELS_QUERY.sql(self, folder, using=using, **values)
        # The count is negated to distinguish it from levels.
        sql = (
            f"SELECT -COUNT(*), '' FROM ({unread}) unread "  # noqa: S608 (compiled by Django)
            f"UNION ALL SELECT DISTINCT level, '' FROM ({latest}) latest"
        )
        parameters = [*parameters, *more]
        if topics:
            shape = (folder, tuple(topics))
            found, more = TOPICS_QUERY.sql(self, *shape, using=using, **values)
            sql += f" UNION ALL SELECT 0, topic FROM ({found}) topics"  # noqa: S608 (too)
            parameters += more
        with connections[using].cursor() as cursor:
            cursor.execute(sql, parameters)
            kinds = cursor.fetchall()
        numbers = {number for number, _ in kinds}
        named = {topic for _, topic in kinds if topic}
        return -min(numbers), {number for number in numbers if number > 0}, named

    def _aggregate_unread(self, columns: str, user: Any, limit: int) -> Any:
        # Read once, because a router may return a different replica each time.
        using = self.db
        now = timezone.now()
        sql, parameters = UNREAD_QUERY.sql(self, limit, using=using, user=user.pk, now=now)
        with connections[using].cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM ({sql}) unread", parameters)  # noqa: S608
            return cursor.fetchone()

    def params(self) -> tuple[Param, Param]:
        """Return parameters for the owner and the current time."""
        field: Any = self.model._meta.get_field
        return Param("user", field("user").target_field), Param("now", field("expires"))

    def with_callback(self, callback: Callable[[Any], None], limit: int) -> Self:
        """Call `callback` with each row when it is iterated.

        At most `limit` rows, unless the caller slices the queryset.
        """

        class CallbackIterable(ModelIterable):  # type: ignore[type-arg]
            def __iter__(self) -> Iterator[Any]:
                if not self.queryset.query.is_sliced:
                    self.queryset = self.queryset.all()
                    self.queryset.query.set_limits(high=limit)
                for message in super().__iter__():
                    callback(message)
                    yield message

        clone = self.all()
        clone._iterable_class = CallbackIterable
        return clone


def _strip_queries(
    rows: MessageQuerySet,
    limit: int,
    one_shots: int = ONE_SHOT_LIMIT,
    letters: bool = False,  # noqa: FBT001, FBT002 (part of the shape)
    is_owners: bool = True,  # noqa: FBT001, FBT002 (part of the shape)
) -> list[MessageQuerySet]:
    user, now = rows.params()
    field: Any = rows.model._meta.get_field
    browser, since = Param("browser", field("browser")), Param("since", field("created"))
    once = rows.one_shot_of(user, now).for_browser(browser, since, is_owners=is_owners)
    inbox = rows.inbox_of(user, now)
    unread = inbox.unread_thread_heads() if letters else inbox.unread_notices()
    halves = (once[: one_shots + 1] if one_shots else None, unread[:limit] if limit else None)
    return [half for half in halves if half is not None]


def _unread_query(rows: MessageQuerySet, limit: int) -> list[Any]:
    user, now = rows.params()
    return [rows.inbox_of(user, now).unread_thread_heads().values("id")[:limit]]


def _latest_levels_query(rows: MessageQuerySet, folder: Folder) -> list[Any]:
    user, _ = rows.params()
    heads = rows.owned_by(user).in_folder(folder).thread_heads()
    return [heads.values("level")[:LEVEL_WINDOW]]


def _topic_queries(rows: MessageQuerySet, folder: Folder, topics: tuple[str, ...]) -> list[Any]:
    user, _ = rows.params()
    # The order makes planners use the index instead of scanning the table for the first match.
    heads = rows.owned_by(user).in_folder(folder).thread_heads()
    return [heads.about(topic).values("topic")[:1] for topic in topics]


# The queries that every page of a site may run.
STRIP_QUERY = CompiledQuery(_strip_queries)
UNREAD_QUERY = CompiledQuery(_unread_query)
LATEST_LEVELS_QUERY = CompiledQuery(_latest_levels_query)
TOPICS_QUERY = CompiledQuery(_topic_queries)
