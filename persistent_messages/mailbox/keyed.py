"""Notices with a key: of each there is one in an inbox, which is renewed when it is sent again."""

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

from . import threads
from .deadlocks import MAX_SECONDS, retry_on_deadlock
from .recipients import key_list, recipient_keys
from .validation import clean_key
from .writes import primary_rows, send_after_commit

BATCH_SIZE = 500
"""Mailboxes that one statement of `resolve` looks into."""

UNIQUE_VIOLATION = "23505"
"""What PostgreSQL calls it."""

RENEWED = (
    *("level", "subject", "message", "is_safe", "search_text", "extra_tags", "url", "action"),
    *("topic", "expires", "close_timeout", "from_user_id", "from_name", "name_details"),
)
"""The columns that a repetition within `min_interval` changes."""


class _Found(NamedTuple):
    """A row of the key in one mailbox."""

    pk: int
    user_id: Any
    folder: int
    told: int
    """How often it was sent, 0 if it has expired. No times are read: they take SQLite long."""
    is_young: bool = False
    """Whether it is younger than the interval."""


class Plan(NamedTuple):
    """What sending a notice again does to the mailboxes that have it."""

    times: dict[Any, int]
    """How often each user was told, with this time, by the keys of those who had one already."""
    quiet: set[Any]
    """The keys of the users whose notice is too young to be renewed: its text changes, no more."""


def send_keyed(messages: list[Message], min_interval: timedelta | None = None) -> list[Message]:
    """Insert `messages`, of one key and each for another user, in the place of earlier ones.

    Returns those that were inserted; the others are younger than `min_interval`, and only their
    text and number changed. All in one transaction.
    """
    first = messages[0]
    owners = {message.user_id: message for message in messages}

    def insert(plan: Plan) -> list[Message]:
        told = [message for message in messages if message.user_id not in plan.quiet]
        for message in told:
            message.times = plan.times.get(message.user_id, 1)
            message.is_live = True if message.folder == Folder.INBOX else None
        primary_rows().bulk_create(told)
        return told

    rows = primary_rows().filter(user__in=owners)
    if past := [key for key, message in owners.items() if message.folder != Folder.INBOX]:
        # Who wants none of the topic in the inbox has it in the archive, once too.
        arrived = rows.filter(user__in=past, key=first.key, folder=Folder.ARCHIVE)
        arrived.filter(moved_at=None).delete()
    told: list[Message] = replace(rows, list(owners), first, min_interval, insert)
    return told


def copy_keyed(message: Message, users: list[Any], min_interval: timedelta | None = None) -> int:
    """Have the database copy `message`, which has a key, for `users` in the place of earlier ones.

    Returns how many were told, those included of whose notice only text and number changed. Some
    statements, whatever the number of users.
    """
    rows = primary_rows().filter(user__in=key_list(users))
    people = get_user_model()._base_manager.using(rows.db).order_by("pk")

    def insert(plan: Plan) -> int:
        told = [user for user in users if user not in plan.quiet]
        owners = people.filter(pk__in=key_list(told)).annotate(pm_times=_times(told, plan.times))
        columns = owners.values_list("pk", "pm_times")
        return len(plan.quiet) + insert_copies(message, ["user", "times"], columns, rows.db)

    message.is_live = True
    count: int = replace(rows, users, message, min_interval, insert)
    return count


def _times(users: list[Any], times: dict[Any, int]) -> Case:
    """Return how often each of `users` was told by then, as SQL."""
    by_times: dict[int, list[Any]] = {}
    for user in users:
        by_times.setdefault(times.get(user, 1), []).append(user)
    usual = max(by_times, key=lambda number: len(by_times[number]), default=1)
    others = sorted(by_times.keys() - {usual})
    cases = [When(pk__in=key_list(by_times[n]), then=Value(n)) for n in others]
    return Case(*cases, default=Value(usual), output_field=PositiveIntegerField())


def replace(
    mailboxes: MessageQuerySet,
    users: list[Any],
    message: Message,
    min_interval: timedelta | None,
    insert: Any,
) -> Any:
    """Remove what `mailboxes` have of the key of `message`, and return what `insert` does.

    `insert` takes the `Plan`, and inserts the notice for all `users` but the quiet ones. If other
    senders were quicker, the database refuses a second notice of the key: then theirs are renewed.
    Each time one of them is done, so it ends.
    """
    rows, begin = mailboxes.filter(key=message.key), time.monotonic()
    with transaction.atomic(using=rows.db):
        _lock(rows, users)
        while True:
            with _letting_others_first(begin), transaction.atomic(using=rows.db):
                return insert(_make_room(rows, message, min_interval))


@contextmanager
def _letting_others_first(begin: float) -> Iterator[None]:
    # Only PostgreSQL: elsewhere the locks leave no one to be quicker.
    try:
        yield
    except IntegrityError as error:
        cause = error.__cause__
        code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if code != UNIQUE_VIOLATION or time.monotonic() - begin > MAX_SECONDS:
            raise


def _lock(rows: MessageQuerySet, users: list[Any]) -> None:
    if connections[rows.db].vendor == "mysql":
        # It locks the gap where a row is not found: two who look for the same, and then insert it,
        # would each wait for the other. The insert locks these users in any case.
        threads.lock_mailboxes(primary_rows(), users)
    elif connections[rows.db].vendor == "postgresql":
        # Before their notices, as who deletes a user does: else each might wait for the other.
        people = get_user_model()._base_manager.using(rows.db).filter(pk__in=key_list(users))
        lock_keys(people.order_by("pk").values_list("pk"), rows.db)
    else:
        threads.take_sqlite_lock(primary_rows())


def _make_room(rows: MessageQuerySet, message: Message, min_interval: timedelta | None) -> Plan:
    """Delete the earlier notices of the key, but renew the text of those that are too young."""
    newest: dict[Any, _Found] = {}
    stale: list[int] = []
    moved: list[int] = []
    for row in _find_and_lock(rows, min_interval):
        if row.folder != Folder.INBOX:
            moved.append(row.pk)  # by a site itself: what the mailbox moves is no longer live
            continue
        stale.append(row.pk)
        if row.told:
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
    times = {row.user_id: row.told + 1 for row in newest.values()}
    return Plan(times, quiet)


def _find_and_lock(rows: MessageQuerySet, min_interval: timedelta | None) -> Iterator[_Found]:
    """Yield what there is of the key, oldest first, but what lies in other folders; one query."""
    found = rows.filter(Q(folder=Folder.INBOX) | Q(is_live=True)).order_by("user", "pk")
    has_expired = When(expires__lte=timezone.now(), then=Value(0))
    told = Case(has_expired, default=F("times"), output_field=PositiveIntegerField())
    found = found.annotate(told=told)
    if min_interval is not None:
        found = found.annotate(is_young=_is_true(Q(created__gt=ago(min_interval))))
    columns = _Found._fields if min_interval is not None else _Found._fields[:-1]
    # What waits here for an archiving or another sender sees what that has left.
    return (_Found(*row) for row in found.select_for_update().values_list(*columns))


def _is_true(condition: Q) -> Case:
    return Case(When(condition, then=Value(True)), default=Value(False))  # noqa: FBT003


def resolve(users: Any, key: str) -> int:
    """Remove the notices of `key` from the inboxes of `users`; returns how many.

    An undo does not bring them back. What a user has archived or trashed stays there, and no undo
    moves it back to the inbox. `users` as `deliver_to` takes them, streamed. Three statements a
    batch, all in one transaction; sends `mailbox_changed` for each mailbox.
    """
    name = clean_key(key)
    if name is None:
        raise ValueError("key must not be empty.")
    return _resolve(users, name)


@retry_on_deadlock
def _resolve(users: Any, key: str) -> int:
    rows, count = primary_rows().filter(key=key), 0
    with transaction.atomic(using=rows.db):
        threads.take_sqlite_lock(rows)
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
        # An undo finds rows by their time of moving.
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
