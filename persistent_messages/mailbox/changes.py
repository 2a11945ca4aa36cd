"""Changes to the rows of one mailbox: mark, move, delete, undo.

Every function starts from the owner of the mailbox, so ids of other users' rows match nothing.
When letters move, their thread heads are updated in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeAlias

from django.db import connections, transaction
from django.db.models import Case, F, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from persistent_messages import signals
from persistent_messages.conf import MAX_RATE_PERIOD
from persistent_messages.constants import Folder
from persistent_messages.db.times import after, ago
from persistent_messages.models import Message
from persistent_messages.querysets import IS_SENT, MessageQuerySet

from . import locks, threads
from .deadlocks import retry_on_deadlock
from .writes import primary_rows, send_after_commit

REMOVAL_BATCH_SIZE = 500


@dataclass(frozen=True)
class Change:
    """What one action did in one folder of one mailbox: enough to undo exactly that.

    The rows it changed have `at` as their `read_at` or `moved_at`, to the microsecond.
    """

    action: str
    """One of "read", "unread", "move", "restore", "delete", "undo"."""
    folder: Folder
    """The folder the rows were in."""
    at: datetime
    count: int = 0
    target: Folder | None = None
    """The folder that a move put them in."""

    @property
    def can_be_undone(self) -> bool:
        """Whether `undo` can revert it."""
        return self.count > 0 and self.action in ("read", "move")


ChangeFunction: TypeAlias = Callable[..., Change]
"""A function that changes some rows. It takes the owner, the folder, the rows and `at`.

`at` defaults to now. The function changes all the rows it is given in one transaction. A page may
ask for any number of rows: `inbox.bulk_actions` passes them on in bounded batches, with the same
`at` each time, so that one `Change` undoes them all.
"""


@retry_on_deadlock
def mark_read(
    user: Any, folder: Folder, messages: MessageQuerySet, at: datetime | None = None
) -> Change:
    """Mark the `messages` that are unread in `folder` of `user` as read. One statement."""
    now = at or timezone.now()
    # Only the unread ones, so that a second request does not overwrite the time of the first.
    count = _rows_in(user, folder, messages).unread().update(read_at=now)
    return _signal_change(user, Change("read", folder, now, count))


@retry_on_deadlock
def mark_thread_read(user: Any, message: Message) -> None:
    """Mark `message` of `user` as read, together with its conversation. One statement.

    Marks what the page of the conversation shows: either the letters in the trash, or the letters
    outside it. If another request has moved the conversation in the meantime, a second statement
    marks `message` alone.
    """
    now, unread = timezone.now(), primary_rows().visible_to(user).unread()
    itself = unread.filter(pk=message.pk)
    rows = unread.in_same_thread(message) if message.is_letter else itself
    count = rows.update(read_at=now)
    if message.is_letter and not count:
        count = itself.update(read_at=now)
    _signal_change(user, Change("read", Folder(message.folder), now, count))


@retry_on_deadlock
def mark_unread(
    user: Any, folder: Folder, messages: MessageQuerySet, at: datetime | None = None
) -> Change:
    """Mark the `messages` that are read in `folder` of `user` as unread. One statement.

    In a conversation, only the thread head is marked.
    """
    read = _rows_in(user, folder, messages).exclude(read_at=None)
    count = read.filter(superseded_by=None).update(read_at=None)
    return _signal_change(user, Change("unread", folder, at or timezone.now(), count))


@retry_on_deadlock
def archive(
    user: Any, folder: Folder, messages: MessageQuerySet, at: datetime | None = None
) -> Change:
    """Move the `messages` that are in the inbox of `user` to the archive."""
    arrived = messages if folder == Folder.INBOX else messages.none()
    return _move(user, folder, arrived, Folder.ARCHIVE, at)


@retry_on_deadlock
def restore(
    user: Any, folder: Folder, messages: MessageQuerySet, at: datetime | None = None
) -> Change:
    """Move `messages` out of the archive or the trash, back to the inbox or to sent messages."""
    put_away = messages if folder in (Folder.ARCHIVE, Folder.TRASH) else messages.none()
    rows = _rows_in(user, folder, put_away)
    with _keeping_thread_heads(user, rows) as rows_to_move:
        count = rows_to_move.update(
            folder=Case(When(IS_SENT, then=Folder.SENT.value), default=Folder.INBOX.value),
            moved_at=None,
            trashed_at=None,
        )
    return _signal_change(user, Change("restore", folder, at or timezone.now(), count))


@retry_on_deadlock
def delete(
    user: Any, folder: Folder, messages: MessageQuerySet, at: datetime | None = None
) -> Change:
    """Move `messages` to the trash; delete trashed and one-shot messages permanently.

    A letter that the user sent recently leaves a tombstone: an empty row that still counts towards
    the sending limit.
    """
    if folder not in (Folder.TRASH, Folder.ONE_SHOT):
        return _move(user, folder, messages, Folder.TRASH, at)
    rows = _rows_in(user, folder, messages)
    with _keeping_thread_heads(user, rows) as rows_to_move:
        has_letters = rows_to_move is rows
        tombstones = _leave_tombstones(rows) if has_letters else 0
        count = rows_to_move.delete()[0] + tombstones
    return _signal_change(user, Change("delete", folder, at or timezone.now(), count))


@retry_on_deadlock
def undo(user: Any, change: Change, limit: int | None = None) -> int:
    """Undo `change` for the rows that are still as it left them; return how many.

    A row remembers only its last move, so only the last of several moves can be undone. With
    `limit`, at most that many rows are changed, in one transaction: call it again for the rest.
    """
    rows = undoable_rows(user, change)
    if limit is not None:
        if change.action == "read":
            # Thread heads first: `update_thread_heads` would mark a head as unread if it is still
            # read while an older letter is unread.
            first = connections[rows.db].features.order_by_nulls_first
            rows = rows.order_by("superseded_by" if first else "-superseded_by")
        rows = _undoable_rows_with_keys(
            user, change, list(rows.values_list("pk", flat=True)[:limit])
        )
    values: dict[str, Any] = {"read_at": None}
    if change.action == "move":
        values = {"folder": change.folder, "moved_at": None, "trashed_at": None}
    with _keeping_thread_heads(user, rows) as rows_to_move:
        count = rows_to_move.update(**values)
    _signal_change(user, Change("undo", change.folder, timezone.now(), count))
    return count


def undoable_rows(user: Any, change: Change) -> MessageQuerySet:
    """Return the rows that are still as `change` left them, unordered; none if it has no undo."""
    if change.action == "read":
        return _rows_in(user, change.folder, primary_rows()).filter(read_at=change.at)
    if change.action == "move" and change.target is not None:
        return _rows_in(user, change.target, primary_rows()).filter(moved_at=change.at)
    return primary_rows().none()


def _undoable_rows_with_keys(user: Any, change: Change, keys: list[int]) -> MessageQuerySet:
    # The `Coalesce` keeps the time out of the index scan. All rows of a large change have the same
    # time, so PostgreSQL would walk through the remaining ones for every batch.
    column, folder = ("read_at", change.folder)
    if change.target is not None:
        column, folder = ("moved_at", change.target)
    then = Coalesce(F(column), F("created"))
    rows = _rows_in(user, folder, primary_rows()).filter(pk__in=keys)
    same: MessageQuerySet = rows.alias(then=then).filter(then=change.at)
    return same


def _move(
    user: Any, folder: Folder, messages: MessageQuerySet, target: Folder, at: datetime | None
) -> Change:
    now, rows = at or timezone.now(), _rows_in(user, folder, messages)
    with _keeping_thread_heads(user, rows) as rows_to_move:
        trashed_at = now if target == Folder.TRASH else None
        count = rows_to_move.update(
            folder=target, moved_at=now, trashed_at=trashed_at, is_live=None
        )
    return _signal_change(user, Change("move", folder, now, count, target))


def _rows_in(user: Any, folder: Folder, messages: MessageQuerySet) -> MessageQuerySet:
    # Clear the order: MariaDB would sort the rows before it updates them.
    return messages.on_primary().owned_by(user).in_folder(folder).order_by()


@contextmanager
def _keeping_thread_heads(user: Any, rows: MessageQuerySet) -> Iterator[MessageQuerySet]:
    """Yield the rows to move, and update the thread heads of their conversations afterwards.

    One query if there are no letters among `rows`; otherwise five, in a transaction.
    """
    if not rows.thread_ids(1):
        # Letters that arrive from now on are left alone. No index has this column, so the
        # condition does not change the query plan.
        yield rows.filter(thread_position=None)
        return
    owner = [getattr(user, "pk", user)]
    with transaction.atomic(using=rows.db):
        locks.lock_mailboxes(primary_rows(), owner)
        conversations = rows.thread_ids()
        yield rows
        threads.update_thread_heads(primary_rows(), owner, conversations)


def _leave_tombstones(rows: MessageQuerySet) -> int:
    # A tombstone expires, and is then pruned, when it no longer counts.
    recent = rows.sent().filter(created__gt=ago(MAX_RATE_PERIOD))
    return recent.update(
        folder=Folder.TOMBSTONE,
        trashed_at=None,
        expires=after(timezone.now(), MAX_RATE_PERIOD),
        subject="",
        message="",
        search_text="",
        to_name="",
        name_details="",
        to_user=None,
        thread=None,
    )


# Removal


def remove_one_shots(user: Any, ids: Iterable[int]) -> None:
    """Delete the one-shot messages with these ids, and no others.

    One statement for each `REMOVAL_BATCH_SIZE` ids, because SQLite limits the parameters.
    """
    keys = iter(ids)
    while batch := list(islice(keys, REMOVAL_BATCH_SIZE)):
        _remove_batch(user, batch)


@retry_on_deadlock
def _remove_batch(user: Any, ids: list[int]) -> None:
    primary_rows().owned_by(user).in_folder(Folder.ONE_SHOT).filter(pk__in=ids).delete()


# Signals


def _signal_change(user: Any, change: Change) -> Change:
    if change.count:
        user_id = getattr(user, "pk", user)
        send_after_commit(
            signals.mailbox_changed, user_id=user_id, action=change.action, count=change.count
        )
    return change
