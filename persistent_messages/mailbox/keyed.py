"""Notices with a key. An inbox has at most one for each key; sending it again replaces it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import IntegrityError, connections, transaction
from django.db.models import Case, F, PositiveIntegerField, Q, Value, When
from django.utils import timezone

from persistent_messages import signals
from persistent_messages.constants import Folder
from persistent_messages.db.compiled import KeyList
from persistent_messages.db.copies import insert_copies, lock_keys
from persistent_messages.db.times import ago
from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet

from . import locks
from .deadlocks import MAX_SECONDS, retry_on_deadlock
from .recipients import key_list, recipient_keys
from .validation import clean_key
from .writes import primary_rows, send_after_commit

BATCH_SIZE = 500
"""Mailboxes that one statement of `resolve` covers."""

UNIQUE_VIOLATION = "23505"
"""PostgreSQL's error code."""

RENEWED = (
    *("level", "subject", "message", "is_safe", "search_text", "extra_tags", "url", "action"),
    *("topic", "expires", "close_timeout", "from_user_id", "from_name", "name_details"),
)
"""The columns that a repetition within `min_interval` changes."""


class _Found(NamedTuple):
    """An existing row with the key in one mailbox."""

    pk: int
    user_id: Any
    folder: int
    sent: int
    """How often it was sent; 0 if it has expired."""
    is_young: bool = False
    """Whether it is younger than the interval. The database compares, as parsing times is slow."""


class Plan(NamedTuple):
    """What sending a notice again does to the mailboxes that have it already."""

    times: dict[Any, int]
    """How often the notice has been sent, including this time, by user key."""
    quiet: set[Any]
    """The keys of users whose notice is younger than the interval: only its text changes."""


def send_keyed(messages: list[Message], min_interval: timedelta | None = None) -> list[Message]:
    """Insert `messages`, which share one key and have different owners, replacing earlier ones.

    Returns those that were inserted. Earlier notices younger than `min_interval` stay, and only
    their text and their number of times change. All in one transaction.
    """
    first = messages[0]
    owners = {message.user_id: message for message in messages}

    def insert(plan: Plan) -> list[Message]:
        new = [message for message in messages if message.user_id not in plan.quiet]
        for message in new:
            message.times = plan.times.get(message.user_id, 1)
            message.is_live = True if message.folder == Folder.INBOX else None
        primary_rows().bulk_create(new)
        return new

    rows = primary_rows().filter(user__in=owners)
    if archiving := [key for key, message in owners.items() if message.folder != Folder.INBOX]:
        # Users who do not want the topic in the inbox have it once in the archive, too. The
        # constraint does not cover that, so other senders have to wait.
        locks.lock_mailboxes(primary_rows(), archiving)
        delivered = rows.filter(user__in=archiving, key=first.key, folder=Folder.ARCHIVE)
        delivered.filter(moved_at=None).delete()
    inserted: list[Message] = replace(rows, list(owners), first, min_interval, insert)
    return inserted


def copy_keyed(message: Message, users: list[Any], min_interval: timedelta | None = None) -> int:
    """Have the database copy `message`, which has a key, to `users`, replacing earlier notices.

    Returns the number of users who have it now, including those whose notice only changed its text.
    The number of statements does not depend on the number of users.
    """
    rows = primary_rows().filter(user__in=key_list(users))
    people = get_user_model()._base_manager.using(rows.db).order_by("pk")

    def insert(plan: Plan) -> int:
        new = [user for user in users if user not in plan.quiet]
        owners = people.filter(pk__in=key_list(new)).annotate(pm_times=_times(new, plan.times))
        columns = owners.values_list("pk", "pm_times")
        return len(plan.quiet) + insert_copies(message, ["user", "times"], columns, rows.db)

    message.is_live = True
    count: int = replace(rows, users, message, min_interval, insert)
    return count


def _times(users: list[Any], times: dict[Any, int]) -> Case:
    """Return an expression for the number of times that each of `users` was sent the notice."""
    by_times: dict[int, list[Any]] = {}
    for user in users:
        by_times.setdefault(times.get(user, 1), []).append(user)
    most_common = max(by_times, key=lambda number: len(by_times[number]), default=1)
    others = sorted(by_times.keys() - {most_common})
    cases = [When(pk__in=key_list(by_times[n]), then=Value(n)) for n in others]
    return Case(*cases, default=Value(most_common), output_field=PositiveIntegerField())


def replace(
    mailboxes: MessageQuerySet,
    users: list[Any],
    message: Message,
    min_interval: timedelta | None,
    insert: Any,
) -> Any:
    """Remove notices with the key of `message` from `mailboxes`; return the result of `insert`.

    `insert` takes the `Plan`, and inserts the notice for all `users` except the quiet ones. If
    another sender was quicker, the database refuses a second notice with the key. The loop then
    replaces theirs. It ends, because in each round one sender finishes.
    """
    rows, begin = mailboxes.filter(key=message.key), time.monotonic()
    with transaction.atomic(using=rows.db):
        lock(rows, users)
        while True:
            with _retrying_after_others(begin), transaction.atomic(using=rows.db):
                return insert(_make_room(rows, message, min_interval))


@contextmanager
def _retrying_after_others(begin: float) -> Iterator[None]:
    # Only PostgreSQL needs this: elsewhere the locks exclude other senders.
    try:
        yield
    except IntegrityError as error:
        cause = error.__cause__
        code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if code != UNIQUE_VIOLATION or time.monotonic() - begin > MAX_SECONDS:
            raise


def lock(rows: MessageQuerySet, users: list[Any]) -> None:
    """Lock the mailboxes of `users` as far as the database needs it. One statement."""
    if connections[rows.db].vendor == "mysql":
        # MariaDB locks the gap where it finds no row, so two transactions that look for the same
        # row and then insert it would deadlock. The insert locks these users in any case.
        locks.lock_mailboxes(primary_rows(), users)
    elif connections[rows.db].vendor == "postgresql":
        # Lock users before their notices, in the same order as the deletion of a user does, or the
        # two might deadlock.
        people = get_user_model()._base_manager.using(rows.db).filter(pk__in=key_list(users))
        lock_keys(people.order_by("pk").values_list("pk"), rows.db)
    else:
        locks.take_sqlite_lock(primary_rows())


def _make_room(rows: MessageQuerySet, message: Message, min_interval: timedelta | None) -> Plan:
    """Delete the earlier notices with the key; only update the text of those that are too young."""
    newest: dict[Any, _Found] = {}
    stale: list[int] = []
    moved: list[int] = []
    for row in _find_and_lock(rows, min_interval):
        if row.folder != Folder.INBOX:
            moved.append(row.pk)  # by the site's own code: `mailbox` clears `is_live` when it moves
            continue
        stale.append(row.pk)
        if row.sent:
            newest[row.user_id] = row
    young = [row for row in newest.values() if row.is_young]
    quiet = {row.user_id for row in young}
    kept = [row.pk for row in young]
    if moved:
        rows.filter(pk__in=moved).update(is_live=None)
    if kept:
        texts = {name: getattr(message, name) for name in RENEWED}
        rows.filter(pk__in=kept).update(**texts, times=F("times") + 1)
    if gone := set(stale) - {*kept}:
        rows.filter(pk__in=KeyList(gone, Message._meta.pk)).delete()
    times = {row.user_id: row.sent + 1 for row in newest.values()}
    return Plan(times, quiet)


def _find_and_lock(rows: MessageQuerySet, min_interval: timedelta | None) -> Iterator[_Found]:
    """Yield the inbox's and the live rows of each mailbox, oldest first; one query."""
    found = rows.filter(Q(folder=Folder.INBOX) | Q(is_live=True)).order_by("user", "pk")
    has_expired = When(expires__lte=timezone.now(), then=Value(0))
    sent = Case(has_expired, default=F("times"), output_field=PositiveIntegerField())
    found = found.annotate(sent=sent)
    if min_interval is not None:
        found = found.annotate(is_young=_is_true(Q(created__gt=ago(min_interval))))
    columns = _Found._fields if min_interval is not None else _Found._fields[:-1]
    # A row lock waits for concurrent moves and senders, and then sees their result.
    return (_Found(*row) for row in found.select_for_update().values_list(*columns))


def _is_true(condition: Q) -> Case:
    return Case(When(condition, then=Value(True)), default=Value(False))  # noqa: FBT003


def resolve(users: Any, key: str) -> int:
    """Remove the notices with `key` from the inboxes of `users`; return how many.

    Undo does not bring them back. Notices that a user has archived or trashed stay there, and undo
    does not move them back to the inbox. Takes the same `users` as `deliver_to`, streamed. Three
    statements for each batch, all in one transaction. Sends `mailbox_changed` for each mailbox.
    """
    name = clean_key(key)
    if name is None:
        raise ValueError("key must not be empty.")
    return _resolve(users, name)


@retry_on_deadlock
def _resolve(users: Any, key: str) -> int:
    rows, count = primary_rows().filter(key=key), 0
    with transaction.atomic(using=rows.db):
        locks.take_sqlite_lock(rows)
        keys = recipient_keys(users, rows.db)
        while batch := list(islice(keys, BATCH_SIZE)):
            count += _resolve_batch(rows.filter(user__in=batch))
    return count


def _resolve_batch(rows: MessageQuerySet) -> int:
    found = rows.select_for_update().order_by("user", "pk").values_list("pk", "user_id", "folder")
    removed: dict[Any, list[int]] = {}
    kept: list[int] = []
    for pk, user_id, folder in found:
        if folder == Folder.INBOX:
            removed.setdefault(user_id, []).append(pk)
        else:
            kept.append(pk)
    if kept:
        # Undo finds rows by `moved_at`.
        rows.filter(pk__in=kept).update(key=None, is_live=None, moved_at=None)
    if removed:
        rows.filter(pk__in=_flat(removed.values())).delete()
    for user_id, keys in removed.items():
        send_after_commit(
            signals.mailbox_changed, user_id=user_id, action="resolve", count=len(keys)
        )
    return len(removed)


def _flat(lists: Iterable[list[int]]) -> list[int]:
    return [pk for each in lists for pk in each]
