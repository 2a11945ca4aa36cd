"""Every read of the table, named as states. Each starts from the owner of a mailbox."""

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

from .constants import PERSISTENT_MESSAGE_LEVELS, Folder
from .db.compiled import CompiledQuery, Param

ONE_SHOT_LIMIT = 50
"""How many one-shot messages a page shows; the rest waits for the next one."""
BROWSER_GRACE_PERIOD = timedelta(minutes=10)
"""How long a message waits for the browser whose request queued it, before any may show it."""
NIL_UUID = UUID(int=0)
"""Before every conversation there is."""
SEARCHED = {"subject", "message", "is_safe", "from_name", "to_name", "name_details"}
"""The columns that `search_text` comes from."""


IS_SENT = models.Q(from_user=models.F("user"), letter__isnull=False)
"""What its owner sent, see `Message.is_sent`."""


@dataclass(frozen=True)
class Page:
    """Some messages of a list, newest first."""

    messages: list[Any]
    older: int | None = None
    """The cursor of the next page, None at the end."""
    further: int | None = None
    """The cursor from which to search further back, None where all of it was searched."""

    @classmethod
    def of(cls, found: list[Any], size: int) -> Page:
        """Return the first `size` of what was found: one more says that others follow."""
        return cls(found[:size], older=found[size - 1].pk if found[size:] else None)

    def down_to(self, key: int, size: int) -> Page:
        """Return the first `size` of those that are no older than row `key`.

        The others say that there are more.
        """
        kept = [message for message in self.messages if message.pk >= key][:size]
        if len(kept) == len(self.messages):
            return self
        return Page(kept, older=kept[-1].pk if kept else None)

    @property
    def newest(self) -> int:
        """The key of the first message, else 0: what came after it was not on this page."""
        return self.messages[0].pk if self.messages else 0


class UnreadState(NamedTuple):
    """What is unread in a mailbox."""

    number: int
    """How many rows, up to a limit."""
    state: str
    """Differs where other rows are unread."""


KEYS_MODULUS = 1_000_003
TOPIC_WINDOW = 200
"""Rows of a folder among which the filter menu looks for topics: the latest."""
TOPICS_FROM = 1000
SEARCHED_CHARACTERS_PER_ROW = 1000
"""Characters a row of its window that a search reads, on average: fewer rows are read of longer."""


class TextLength(models.Func):
    """How long a text is, in characters or bytes: whichever the database knows soonest."""

    function = "LENGTH"
    output_field = models.IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        """Ask for what stands beside a text that is stored apart, without reading that."""
        return self.as_sql(compiler, connection, function="OCTET_LENGTH")


def _contains_all(terms: list[str]) -> models.Q:
    has_all = models.Q()
    for term in terms:
        found = models.Q(search_text__contains=term)
        if term.isascii():
            # There the columns are looked through, which are short, and ASCII: alike everywhere.
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
    """Rows of the table. Lazy, as every QuerySet. `Any` is `Message`, which imports this module."""

    def on_primary(self) -> Self:
        """Read where writes go, since a replica may lag: what is about to change, or just did."""
        return self.using(router.db_for_write(self.model))

    def owned_by(self, user: Any) -> Self:
        """Keep the mailbox of `user`, a user or its key; none for a visitor."""
        key = getattr(user, "pk", user)
        return self.none() if key is None else self.filter(user_id=key).without_search_text()

    def without_search_text(self) -> Self:
        """Leave out the column that only a search reads."""
        return self.defer("search_text")

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

    def thread_heads(self) -> Self:
        """Keep notices and of each conversation the newest letter in its folder, latest first."""
        return self.filter(superseded_by=None)._latest_by("superseded_by")

    def unread_thread_heads(self) -> Self:
        """Keep the unread ones of `thread_heads`, latest first: what the Unread folder shows.

        And what every number of unread messages counts. `update_thread_heads` keeps the head of a
        conversation in the inbox unread as long as any letter of it there is.
        """
        return self.unread().filter(superseded_by=None)._latest_by("read_at", "superseded_by")

    def notices(self) -> Self:
        """Leave out letters between users."""
        return self.filter(thread=None)

    def unread_notices(self) -> Self:
        """Keep the unread ones of `notices`, latest first."""
        return self.unread().notices()._latest_by("read_at", "thread")

    def _latest_by(self, *nulls: str) -> Self:
        """Order by arrival, latest first, where the columns `nulls` are null in all rows.

        PostgreSQL takes the order from the index that has them only if they are named, and might
        walk the primary key instead; MariaDB only if they are not; SQLite either way.
        """
        mariadb = connections[self.db].vendor == "mysql"
        return self.order_by(*([] if mariadb else [f"-{name}" for name in nulls]), "-pk")

    def in_threads(self, threads: Collection[UUID]) -> Self:
        """Keep the letters of these conversations."""
        return self.filter(thread__in=threads)

    def letters_in(self, folder: Folder, threads: Collection[UUID]) -> Self:
        """Keep the letters of these conversations that lie in `folder`.

        By the index of conversations: SQLite would take that of the folder, and read all of it.
        """
        lying = self.in_threads(threads).alias(place=models.F("folder") + 0)
        return lying.filter(place=folder.value)

    def letters(self) -> Self:
        """Keep what belongs to a conversation."""
        # A range, unlike "is not null", which SQLite would not take from an index.
        return self.filter(thread__gt=NIL_UUID)

    def thread_ids(self, limit: int | None = None) -> list[UUID]:
        """Return the conversations that have a letter here, `limit` at most; one query."""
        found = self.letters().order_by().values_list("thread", flat=True).distinct()
        return [thread for thread in found[:limit] if thread is not None]

    def older_than(self, cursor: int | Param | None) -> Self:
        """Keep what is older than row `cursor`, which need not exist any more; None keeps all."""
        return self if cursor is None else self.filter(pk__lt=cursor)

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Insert rows, with what a search looks through."""
        objs = list(objs)
        for message in objs:
            message.update_search_text()
        return super().bulk_create(objs, *args, **kwargs)

    def bulk_update(self, objs: Any, fields: Any, *args: Any, **kwargs: Any) -> int:
        """Update rows, with what a search looks through."""
        objs, fields = list(objs), list(fields)
        if not SEARCHED.isdisjoint(fields):
            for message in objs:
                message.update_search_text()
            fields = [*dict.fromkeys([*fields, "search_text"])]
        return super().bulk_update(objs, fields, *args, **kwargs)

    def page(self, size: int) -> Page:
        """Return the first `size` in the order at hand, newest first; one query."""
        return Page.of(list(self[: size + 1]), size)

    def search(self, user: Any, terms: list[str], size: int, window: int) -> Page:
        """Return the first `size` that have all `terms` among the first `window`; two queries.

        The terms, folded, are looked for in subject, text and names. The head of a conversation is
        found by any letter of it that lies in the same folder of `user`. Letters count as rows of
        the window. It ends early at `SEARCHED_CHARACTERS_PER_ROW` times as many characters of text.
        """
        last = self._last_searched(window)
        found = self if last is None else self.filter(pk__gte=last)
        # The owner by name, not as that of the row: so one partition is planned, not all.
        letters = self.model.objects.owned_by(user).filter(
            _contains_all(terms), thread=models.OuterRef("thread"), folder=models.OuterRef("folder")
        )
        # A sum, not a difference: MariaDB refuses one below zero.
        within = letters.alias(reach=models.F("thread_position") + window)
        earlier = within.filter(reach__gt=models.OuterRef("thread_position"))
        page = found.filter(_contains_all(terms) | models.Q(models.Exists(earlier))).page(size)
        return page if page.older else replace(page, further=last)

    def _last_searched(self, window: int) -> int | None:
        """Return the key of the last that a search looks at, None if no more follow; one query."""
        rows = self.annotate(size=TextLength("search_text"))
        last, letters, text = None, 0, 0
        for key, position, size in rows.values_list("pk", "thread_position", "size")[: window + 1]:
            # The size of a letter that came before is not known here: that of a rather long one.
            letters += position or 1
            text += size + SEARCHED_CHARACTERS_PER_ROW * ((position or 1) - 1)
            if last is not None and (
                letters > window or text > window * SEARCHED_CHARACTERS_PER_ROW
            ):
                return int(last)
            last = key
        return None

    def key_at(self, number: int) -> int | None:
        """Return the key of row `number` in the order at hand, None if there are fewer; one query.

        It reads the index alone.
        """
        return next(iter(self.values_list("pk", flat=True)[number - 1 : number]), None)

    def sent_since(self, user: Any, since: datetime) -> Self:
        """Keep the letters in the mailbox of `user` that `user` sent after `since`, latest first.

        Whatever their folder: what was deleted meanwhile was sent all the same.
        """
        sent = self.owned_by(user).filter(from_user=user.pk, created__gt=since)
        return sent.sent().order_by("-created")

    def sent(self) -> Self:
        """Keep the copies of letters that lie in the mailbox of who wrote them."""
        return self.filter(IS_SENT)

    def visible_to(self, user: Any) -> Self:
        """Keep what `user` can open: all but one-shot messages and tombstones."""
        return self.owned_by(user).exclude(folder__in=(Folder.ONE_SHOT, Folder.TOMBSTONE))

    def in_same_thread(self, letter: Any) -> Self:
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

    def for_browser(
        self, browser: int | Param | None, since: datetime | Param | None = None
    ) -> Self:
        """Keep what may be shown in `browser`: what it queued, and what waits for no other.

        Another one has until `since` to come back, by default `BROWSER_GRACE_PERIOD` ago.
        """
        since = since or timezone.now() - BROWSER_GRACE_PERIOD
        return self.filter(
            models.Q(browser=None) | models.Q(browser=browser) | models.Q(created__lt=since)
        )

    def count_up_to(self, limit: int) -> int:
        """Count, but look at no more than `limit` rows; one query."""
        return self[:limit].count()

    def strip_of(
        self,
        user: Any,
        limit: int,
        *,
        letters: bool = False,
        one_shots: int = ONE_SHOT_LIMIT,
        browser: int | None = None,
    ) -> list[Any]:
        """Return what waits for `user` in `browser`, with one query.

        First the `one_shots` oldest one-shot messages and one more, if there is one, in the order
        they came, then the `limit` newest unread notices of the inbox; with `letters` those too,
        one a conversation. Each half is one index range; none where its number is 0.
        """
        if not (limit or one_shots):
            return []
        now = timezone.now()
        values = {"browser": browser, "since": now - BROWSER_GRACE_PERIOD}
        return sorted(
            STRIP_QUERY.fetch(self, limit, one_shots, letters, user=user.pk, now=now, **values),
            key=lambda message: (
                (0, message.pk) if message.folder == Folder.ONE_SHOT else (1, -message.pk)
            ),
        )

    def count_unread_of(self, user: Any, limit: int) -> int:
        """Count the rows of the Unread folder of `user`, `limit` at most; one query.

        A conversation counts once.
        """
        return int(self._aggregate_unread("COUNT(*)", user, limit)[0])

    def unread_state_of(self, user: Any, limit: int) -> UnreadState:
        """Tell what the Unread folder of `user` shows, of its `limit` latest rows; one query."""
        # A sum of remainders: one of keys might be greater than a database can count.
        columns = f"COUNT(*), MAX(id), SUM(id %% {KEYS_MODULUS})"
        count, *state = self._aggregate_unread(columns, user, limit)
        return UnreadState(int(count), "-".join(str(int(part or 0)) for part in (count, *state)))

    def count_unread_and_kinds_of(
        self, user: Any, limit: int, folder: Folder, topics: Sequence[str] = ()
    ) -> tuple[int, set[int], set[str]]:
        """Return `count_unread_of`, and what `folder` of `user` has; one query.

        Which persistent levels, for which it visits one row each; and which of `topics`, for which
        it visits the latest `TOPIC_WINDOW` rows. What has expired counts until it is pruned.
        """
        using = self.db
        values = {"user": user.pk, "now": timezone.now()}
        unread, parameters = UNREAD_QUERY.sql(self, limit, using=using, **values)
        levels, more = LEVELS_QUERY.sql(self, folder, using=using, **values)
        # The count below zero, to know it from a level.
        sql = f"SELECT -COUNT(*) FROM ({unread}) unread UNION ALL {levels}"  # noqa: S608
        parameters = [*parameters, *more]
        if topics:
            latest, more = TOPICS_QUERY.sql(self, folder, using=using, **values)
            # Numbers above those of all levels.
            cases = " ".join(f"WHEN %s THEN {TOPICS_FROM + n}" for n in range(len(topics)))
            case = f"CASE topic {cases} ELSE 0 END"
            sql += f" UNION ALL SELECT DISTINCT {case} FROM ({latest}) latest"  # noqa: S608
            parameters += [*topics, *more]
        with connections[using].cursor() as cursor:
            cursor.execute(sql, parameters)
            found = {number for (number,) in cursor.fetchall()}
        named = {name for n, name in enumerate(topics, TOPICS_FROM) if n in found}
        return -min(found), {number for number in found if 0 < number < TOPICS_FROM}, named

    def _aggregate_unread(self, columns: str, user: Any, limit: int) -> Any:
        # Asked once: a router may name another replica each time.
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
        """Call `callback` with each row at the moment the database hands it out, not before.

        At most `limit` rows, unless the caller takes a slice.
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
) -> list[MessageQuerySet]:
    user, now = rows.params()
    field: Any = rows.model._meta.get_field
    browser, since = Param("browser", field("browser")), Param("since", field("created"))
    once = rows.one_shot_of(user, now).for_browser(browser, since)
    inbox = rows.inbox_of(user, now)
    unread = inbox.unread_thread_heads() if letters else inbox.unread_notices()
    halves = (once[: one_shots + 1] if one_shots else None, unread[:limit] if limit else None)
    return [half for half in halves if half is not None]


def _unread_query(rows: MessageQuerySet, limit: int) -> list[Any]:
    user, now = rows.params()
    return [rows.inbox_of(user, now).unread_thread_heads().values("id")[:limit]]


def _level_queries(rows: MessageQuerySet, folder: Folder) -> list[Any]:
    user, _ = rows.params()
    heads = rows.owned_by(user).in_folder(folder).filter(superseded_by=None)
    # In the order of the index: without one, a planner may try the whole table for its first match.
    heads = heads.order_by("-superseded_by", "-id")
    return [heads.filter(level=level).values("level")[:1] for level in PERSISTENT_MESSAGE_LEVELS]


def _topics_query(rows: MessageQuerySet, folder: Folder) -> list[Any]:
    user, _ = rows.params()
    heads = rows.owned_by(user).in_folder(folder).thread_heads()
    return [heads.values("topic")[:TOPIC_WINDOW]]


# What the pages of a site ask, be they about messages or not.
STRIP_QUERY = CompiledQuery(_strip_queries)
UNREAD_QUERY = CompiledQuery(_unread_query)
LEVELS_QUERY = CompiledQuery(_level_queries)
TOPICS_QUERY = CompiledQuery(_topics_query)
