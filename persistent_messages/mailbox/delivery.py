"""Deliver messages to mailboxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

from django.db import connections, transaction

from persistent_messages import signals
from persistent_messages.constants import Folder, is_persistent
from persistent_messages.db.copies import insert_copies
from persistent_messages.models import Message

from . import keyed, locks
from .deadlocks import retry_on_deadlock
from .outbox import Posting, has_choices
from .recipients import Batch, check_all_there, recipient_batches
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

    Users are streamed in batches. If a receiver of `messages_delivered` wants the rows, or users
    have preferences for the topic, each batch takes one insert and sends one signal. Otherwise the
    database copies the message itself. A message with a key replaces the one in the inbox. If that
    one is younger than `min_interval`, only its text changes.

    With `atomic`, all copies are inserted in one transaction, or none. Otherwise each batch has its
    own transaction, and an error keeps the earlier batches; this raises `RuntimeError` inside a
    transaction. `progress` is called after each batch with the number delivered so far.
    """
    check_progress(progress)
    message.prepare_text()
    _address(message)
    using = primary_database()
    is_wanted = signals.messages_delivered.is_wanted(Message, message=message, email=email)
    if is_wanted or has_choices(message, email=email):
        write = partial(_write_rows, message=message, email=email, min_interval=min_interval)
        batches = partial(recipient_batches, using=using, size=MAX_BATCH_SIZE)
    elif message.key is not None:
        write = partial(_copy_keyed, message=message, min_interval=min_interval)
        batches = partial(recipient_batches, using=using, size=BATCH_SIZE)
    else:
        write = partial(_copy, message=message)
        batches = partial(recipient_batches, using=using, size=BATCH_SIZE, range_size=RANGE_SIZE)
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
    """Insert a batch of rows made in Python, as receivers and preferences need them."""
    values = {
        field.attname: getattr(message, field.attname)
        for field in message._meta.concrete_fields
        if field.attname not in ("id", "user_id")
    }
    model, keys = Message, batch.keys or []
    size = _insert_size(message)
    for start in range(0, len(keys), size):
        messages = [model(user_id=key, **values) for key in keys[start : start + size]]
        if message.key is None:
            deliver(messages, email=email)
        else:
            _deliver_keyed(messages, email=email, min_interval=min_interval)
    return len(keys)


def _deliver_keyed(messages: list[Message], *, email: bool, min_interval: timedelta | None) -> None:
    posting = Posting(messages, email=email)
    for message in messages:
        message.folder = posting.folder_of(message)
    if inserted := keyed.send_keyed(messages, min_interval):
        posting.add_due_mail(inserted)
        send_after_commit(signals.messages_delivered, messages=inserted, email=email)


def _copy(batch: Batch, message: Message) -> int:
    if batch.is_named and len(batch.keys or ()) == 1:
        return _write_rows(batch, message, email=False, min_interval=None)
    owners = batch.people.values_list("pk")
    count = insert_copies(message, ["user"], owners, primary_database())
    send_after_commit(signals.messages_copied, user_ids=batch.keys)
    return _checked(count, batch)


def _copy_keyed(batch: Batch, message: Message, min_interval: timedelta | None) -> int:
    count = keyed.copy_keyed(message, batch.keys or [], min_interval)
    send_after_commit(signals.messages_copied, user_ids=batch.keys)
    return _checked(count, batch)


def _checked(count: int, batch: Batch) -> int:
    if batch.is_named and count < len(batch.keys or ()):
        check_all_there(batch)
    return count


def _address(message: Message) -> None:
    message.folder = Folder.INBOX if is_persistent(message.level) else Folder.ONE_SHOT


def _insert_size(message: Message) -> int:
    # SQLite limits the parameters of a statement.
    fields = [field for field in message._meta.concrete_fields if not field.primary_key]
    ops = connections[primary_database()].ops
    return min(MAX_BATCH_SIZE, ops.bulk_batch_size(fields, [message] * MAX_BATCH_SIZE))
