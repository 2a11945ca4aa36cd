"""Every write to the table but letters. Each is set-based, and tells its signal after commit.

Whoever calls these starts from the owner of the mailbox; ids of other people's rows match nothing.
Where letters move, their conversations are settled in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import connections, router, transaction
from django.db.models import Case, When
from django.utils import timezone

from . import signals
from . import threads as conversations
from .constants import Folder, is_persistent
from .drafts import message_model, recipient_keys
from .prepared import insert
from .retries import again

if TYPE_CHECKING:
    from .models import Message
    from .querysets import MessageQuerySet

FAN_OUT_BATCH = 1000
MAX_RATE_PERIOD = timedelta(days=1)
"""How long a sent letter may count against what its sender may send."""


def _rows() -> MessageQuerySet:
    return message_model().objects.at_source()


def _source() -> str:
    return router.db_for_write(message_model())


# Arrivals


@again
def deliver(messages: list[Message], *, email: bool = False) -> None:
    """Insert drafts that have their owner, with one statement; sends `messages_delivered`."""
    if not messages:
        return
    for message in messages:
        message.folder = Folder.INBOX if is_persistent(message.level) else Folder.ONE_SHOT
    if len(messages) == 1:
        insert(messages[0], _source())  # no transaction of its own
    else:
        _rows().bulk_create(messages)
    _after_commit(signals.messages_delivered, messages=messages, email=email)


@again
def deliver_to(users: Any, draft: Message, *, email: bool = False) -> int:
    """Insert a copy of `draft` for each of `users`, all or none; returns how many.

    Users are streamed: one insert and one `messages_delivered` a batch.
    """
    draft.settle_text()
    own = ("id", "user_id", "folder")
    values = {
        field.attname: getattr(draft, field.attname)
        for field in draft._meta.concrete_fields
        if field.attname not in own
    }
    model, using, delivered = message_model(), _source(), 0
    size = _batch_size(using, draft)
    with transaction.atomic(using=using):
        keys = recipient_keys(users, using)
        while batch := list(islice(keys, size)):
            deliver([model(user_id=key, **values) for key in batch], email=email)
            delivered += len(batch)
    return delivered


def _batch_size(using: str, draft: Message) -> int:
    # What the database takes in one statement: SQLite counts the parameters.
    fields = [field for field in draft._meta.concrete_fields if not field.primary_key]
    return min(
        FAN_OUT_BATCH,
        connections[using].ops.bulk_batch_size(fields, [draft] * FAN_OUT_BATCH),
    )


# Changes


@dataclass(frozen=True)
class Change:
    """What one action did in one folder of one mailbox: enough to take back exactly that.

    Its rows have `at` as their time of reading or moving, to the microsecond.
    """

    action: str
    """One of "read", "unread", "move", "restore", "delete", "undo"."""
    folder: Folder
    """Where the rows lay."""
    at: datetime
    count: int = 0
    target: Folder | None = None
    """Where a move put them."""

    @property
    def can_be_undone(self) -> bool:
        """Whether `undo` takes it back."""
        return self.count > 0 and self.action in ("read", "move")


Write: TypeAlias = "Callable[[Any, Folder, MessageQuerySet], Change]"
"""Whose mailbox, which folder of it, which rows."""


@again
def mark_read(user: Any, folder: Folder, messages: MessageQuerySet) -> Change:
    """Mark those of `messages` that lie unread in `folder` of `user` as read. One statement."""
    now = timezone.now()
    # Only the unread: the first time of reading stays, whoever comes second.
    count = _lying(user, folder, messages).unread().update(read_at=now)
    return _changed(user, Change("read", folder, now, count))


@again
def open_thread(user: Any, message: Message) -> None:
    """Mark `message` of `user` as read, with its conversation. One statement.

    Of the conversation what its page shows: the letters in the trash, or those that are not.
    """
    now, rows = timezone.now(), _rows().kept_by(user).unread()
    rows = rows.beside(message) if message.is_letter else rows.filter(pk=message.pk)
    count = rows.update(read_at=now)
    _changed(user, Change("read", Folder(message.folder), now, count))


@again
def mark_unread(user: Any, folder: Folder, messages: MessageQuerySet) -> Change:
    """Mark those of `messages` that lie read in `folder` of `user` as unread. One statement.

    Of a conversation only the letter that stands for it.
    """
    read = _lying(user, folder, messages).exclude(read_at=None)
    count = read.filter(followed_by=None).update(read_at=None)
    return _changed(user, Change("unread", folder, timezone.now(), count))


@again
def archive(user: Any, folder: Folder, messages: MessageQuerySet) -> Change:
    """Move those of `messages` that lie in the inbox of `user` to the archive."""
    arrived = messages if folder == Folder.INBOX else messages.none()
    return _move(user, folder, arrived, Folder.ARCHIVE)


@again
def restore(user: Any, folder: Folder, messages: MessageQuerySet) -> Change:
    """Move those of `messages` out of archive or trash, back to inbox or sent."""
    put_away = messages if folder in (Folder.ARCHIVE, Folder.TRASH) else messages.none()
    rows = _lying(user, folder, put_away)
    with _settled(user, rows) as settling:
        count = settling.update(
            # Only what its owner sent has a recipient.
            folder=Case(When(to_name="", then=Folder.INBOX.value), default=Folder.SENT.value),
            moved_at=None,
            trashed_at=None,
        )
    return _changed(user, Change("restore", folder, timezone.now(), count))


@again
def delete(user: Any, folder: Folder, messages: MessageQuerySet) -> Change:
    """Move to the trash; what lies there, or was to be shown once, goes for good.

    Of a letter that was sent lately an empty row stays for a while: it goes on counting.
    """
    if folder not in (Folder.TRASH, Folder.ONE_SHOT):
        return _move(user, folder, messages, Folder.TRASH)
    rows = _lying(user, folder, messages)
    with _settled(user, rows) as settling:
        spent = _spend(rows) if settling is rows else 0  # only where there are letters
        count = settling.delete()[0] + spent
    return _changed(user, Change("delete", folder, timezone.now(), count))


@again
def undo(user: Any, change: Change) -> int:
    """Take `change` back for the rows that are still as it left them; returns how many.

    A row knows when it last moved, no more: of several moves the last can be taken back.
    """
    rows, count = _rows(), 0
    if change.action == "read":
        read = _lying(user, change.folder, rows).filter(read_at=change.at)
        count = read.update(read_at=None)
    elif change.action == "move" and change.target is not None:
        moved = _lying(user, change.target, rows).filter(moved_at=change.at)
        with _settled(user, moved) as settling:
            count = settling.update(folder=change.folder, moved_at=None, trashed_at=None)
    _changed(user, Change("undo", change.folder, timezone.now(), count))
    return count


def _move(user: Any, folder: Folder, messages: MessageQuerySet, target: Folder) -> Change:
    now, rows = timezone.now(), _lying(user, folder, messages)
    with _settled(user, rows) as settling:
        trashed_at = now if target == Folder.TRASH else None
        count = settling.update(folder=target, moved_at=now, trashed_at=trashed_at)
    return _changed(user, Change("move", folder, now, count, target))


def _lying(user: Any, folder: Folder, messages: MessageQuerySet) -> MessageQuerySet:
    # Without an order: MariaDB would sort the rows before it updates them.
    return messages.at_source().owned_by(user).in_folder(folder).order_by()


@contextmanager
def _settled(user: Any, rows: MessageQuerySet) -> Iterator[MessageQuerySet]:
    """Give what to move: `rows`, whose conversations are settled once they moved.

    One query where there are no letters among them, else five in a transaction.
    """
    if not rows.threads(1):
        # What letters come there now stay there. No index has this column: the plan stays too.
        yield rows.filter(thread_position=None)
        return
    owner = [getattr(user, "pk", user)]
    with transaction.atomic(using=rows.db):
        conversations.lock(_rows(), owner)
        threads = rows.threads(conversations.MANY + 1)
        yield rows
        conversations.settle(_rows(), owner, threads)


def _spend(rows: MessageQuerySet) -> int:
    # It expires, and so is pruned, once it counts no more.
    now = timezone.now()
    lately = rows.exclude(to_name="").filter(created__gt=now - MAX_RATE_PERIOD)
    return lately.update(
        folder=Folder.SPENT,
        trashed_at=None,
        expires=now + MAX_RATE_PERIOD,
        subject="",
        message="",
        to_name="",
        to_user=None,
        thread=None,
    )


# Removal


@again
def remove_shown(user: Any, ids: Iterable[int]) -> None:
    """Delete the one-shot messages that were handed out, and only those. One statement."""
    _rows().owned_by(user).in_folder(Folder.ONE_SHOT).filter(pk__in=list(ids)).delete()


# Signals


def _changed(user: Any, change: Change) -> Change:
    if change.count:
        user_id = getattr(user, "pk", user)
        _after_commit(
            signals.mailbox_changed, user_id=user_id, action=change.action, count=change.count
        )
    return change


def _after_commit(signal: Any, **arguments: Any) -> None:
    send = partial(signal.send_robust, sender=message_model(), **arguments)
    transaction.on_commit(send, using=_source(), robust=True)
