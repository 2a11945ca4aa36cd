"""Deliver messages to mailboxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

from django.db import transaction

from persistent_messages import signals
from persistent_messages.constants import Folder, is_persistent
from persistent_messages.db.copies import insert_copies, lock_keys
from persistent_messages.models import Message
from persistent_messages.preferences.choices import topic_of, users_who_chose
from persistent_messages.topics import OTHERS

from . import keyed, locks
from .deadlocks import retry_on_deadlock
from .outbox import Posting, is_mailed
from .recipients import Batch, check_all_there, key_list, recipient_batches
from .validation import check_progress
from .writes import primary_database, primary_rows, send_after_commit

MAX_BATCH_SIZE = 1000
"""Rows held in memory at a time."""
BATCH_SIZE = 2000
"""Users whose keys one statement lists."""
RANGE_SIZE = 10_000
"""Users covered by one `INSERT ... SELECT`."""

Write: TypeAlias = Callable[[Batch], int]
Batches: TypeAlias = Callable[..., Iterator[Batch]]
Progress: TypeAlias = Callable[[int], object]


@retry_on_deadlock
def deliver(
    messages: list[Message], *, email: bool = False, min_interval: timedelta | None = None
) -> None:
    """Insert new messages whose owner is set; send `messages_delivered` and `mail_due`.

    A message with a key replaces the one in the inbox. If that one is younger than `min_interval`,
    only its text changes. Messages of a topic that their owner does not want in the inbox go to
    the archive.

    One statement for all messages without a key, and a few for each with a key. One more query
    reads the owners' preferences if the topic has any, and one statement stores the due mail.
    """
    if not messages:
        return
    posting = Posting(messages, email=email)
    for message in messages:
        message.folder = posting.folder_of(message)
    with posting.transaction():
        messages = _insert(messages, min_interval)
        posting.add_due_mail(messages)
    if messages:
        send_after_commit(signals.messages_delivered, messages=messages, email=email)


def _insert(messages: list[Message], min_interval: timedelta | None) -> list[Message]:
    if any(message.key is not None for message in messages):
        return _insert_some_with_keys(messages, min_interval)
    if len(messages) == 1:
        # Unlike `bulk_create()`, `save()` opens no transaction, and it sends Django's own signals.
        messages[0].save(force_insert=True, using=primary_database())
    else:
        primary_rows().bulk_create(messages)
    return messages


def _insert_some_with_keys(
    messages: list[Message], min_interval: timedelta | None
) -> list[Message]:
    plain = [message for message in messages if message.key is None]
    inserted = list(plain)
    for message in messages:
        message.pk = None  # may be set by an attempt that was rolled back
    with transaction.atomic(using=primary_database()):
        if plain:
            primary_rows().bulk_create(plain)
        for message in messages:
            if message.key is not None:  # one by one: a mailbox may get several with one key
                inserted += keyed.send_keyed([message], min_interval)
    return inserted


def deliver_to(
    users: Any,
    message: Message,
    *,
    email: bool = False,
    min_interval: timedelta | None = None,
    progress: Progress | None = None,
    atomic: bool = True,
) -> int:
    """Insert a copy of `message` for each of `users`; return how many.

    Users are streamed in batches. If a receiver of `messages_delivered` wants the rows, or the
    message is mailed, each batch takes one insert and sends one signal. Otherwise the database
    copies the message itself, except for users with preferences for its topic. A message with a key
    replaces the one in the inbox. If that one is younger than `min_interval`, only its text
    changes.

    With `atomic`, all copies are inserted in one transaction, or none. Otherwise each batch has its
    own transaction, and an error keeps the earlier batches; this raises `RuntimeError` inside a
    transaction. `progress` is called after each batch with the number delivered so far.
    """
    check_progress(progress)
    message.prepare_text()
    _address(message)
    using = primary_database()
    is_wanted = signals.messages_delivered.is_wanted(Message, message=message, email=email)
    write: Write = partial(_write_rows, message=message, email=email, min_interval=min_interval)
    size, range_size = MAX_BATCH_SIZE, 0
    if not is_wanted and not is_mailed(message, email=email):
        size, range_size = BATCH_SIZE, RANGE_SIZE if message.key is None else 0
        copy = partial(_copy, message=message, min_interval=min_interval)
        write = partial(_copy_or_write, message=message, copy=copy, write=write)
    batches = partial(recipient_batches, using=using, size=size, range_size=range_size)
    deliver_all = _deliver_all if atomic else _deliver_step_by_step
    return deliver_all(users, write, batches, progress)


@retry_on_deadlock
def _deliver_all(users: Any, write: Write, batches: Batches, progress: Progress | None) -> int:
    delivered = 0
    with transaction.atomic(using=primary_database()):
        locks.take_sqlite_lock(primary_rows())  # before users are read
        # In order, so that two transactions that send to the same users do not deadlock.
        for batch in batches(users, in_order=True):
            delivered += (count := write(batch))
            if count and progress is not None:
                progress(delivered)
    return delivered


def _deliver_step_by_step(
    users: Any, write: Write, batches: Batches, progress: Progress | None
) -> int:
    delivered = 0
    for batch in batches(users):
        delivered += (count := _deliver_step(batch, write))
        if count and progress is not None:
            progress(delivered)
    return delivered


@retry_on_deadlock
def _deliver_step(batch: Batch, write: Write) -> int:
    with transaction.atomic(using=primary_database(), durable=True):
        locks.take_sqlite_lock(primary_rows())
        return write(batch)


def _write_rows(
    batch: Batch, message: Message, *, email: bool, min_interval: timedelta | None
) -> int:
    """Insert a batch of rows made in Python, as receivers, mail and preferences need them."""
    values = {
        field.attname: getattr(message, field.attname)
        for field in message._meta.concrete_fields
        if field.attname not in ("id", "user_id")
    }
    if message.key is not None:
        # Before the weaker lock, or two senders on MariaDB would wait for each other.
        keyed.lock(primary_rows(), batch.keys or [])
    model, keys = Message, _lock(batch)
    # Mail to all users of a step shares a connection, also if Django has to divide the insert.
    for start in range(0, len(keys), MAX_BATCH_SIZE):
        step = keys[start : start + MAX_BATCH_SIZE]
        messages = [model(user_id=key, **values) for key in step]
        if message.key is None:
            deliver(messages, email=email)
        else:
            _deliver_keyed(messages, email=email, min_interval=min_interval)
    return len(keys)


def _lock(batch: Batch) -> list[Any]:
    """Lock the users of a batch against deletion; return the keys of those who are still there.

    Raises `ValueError` if the caller named one who is not.
    """
    keys = batch.keys or []
    count = lock_keys(batch.people.values_list("pk"), primary_database())
    if count == len(keys):
        return keys
    check_all_there(batch, count)
    return list(batch.people.values_list("pk", flat=True))


def _deliver_keyed(messages: list[Message], *, email: bool, min_interval: timedelta | None) -> None:
    posting = Posting(messages, email=email)
    for message in messages:
        message.folder = posting.folder_of(message)
    if inserted := keyed.send_keyed(messages, min_interval):
        posting.add_due_mail(inserted)
        send_after_commit(signals.messages_delivered, messages=inserted, email=email)


def _copy_or_write(batch: Batch, message: Message, copy: Write, write: Write) -> int:
    """Have the database copy the message; only users with preferences for its topic get rows.

    One query for each batch reads who they are, or none without a topic.
    """
    if message.key is None and batch.is_named and len(batch.keys or ()) == 1:
        return write(batch)
    chose = {*_users_who_chose(batch, message)}
    if not chose:
        return copy(batch)
    theirs = batch.people.filter(pk__in=key_list(chose))
    count = write(Batch(theirs, sorted(chose), batch.is_named))
    others = None if batch.keys is None else [key for key in batch.keys if key not in chose]
    if others != []:
        rest = batch.people.exclude(pk__in=key_list(chose))
        count += copy(Batch(rest, others, batch.is_named))
    return count


def _users_who_chose(batch: Batch, message: Message) -> list[Any]:
    topic = topic_of(message)
    if topic == OTHERS or not is_persistent(message.level):
        return []
    chose = batch.people.filter(pk__in=users_who_chose(topic, primary_database()))
    return list(chose.values_list("pk", flat=True))


def _copy(batch: Batch, message: Message, min_interval: timedelta | None) -> int:
    if message.key is None:
        count = insert_copies(message, ["user"], batch.people.values_list("pk"), primary_database())
    else:
        count = keyed.copy_keyed(message, batch.keys or [], min_interval)
    send_after_commit(signals.messages_copied, user_ids=batch.keys)
    check_all_there(batch, count)
    return count


def _address(message: Message) -> None:
    message.folder = Folder.INBOX if is_persistent(message.level) else Folder.ONE_SHOT
