"""Remove messages that no user can see any more from all mailboxes, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from persistent_messages.constants import Folder
from persistent_messages.models import Broadcast, Message, Receipt
from persistent_messages.querysets import MessageQuerySet

from . import locks, outbox, threads
from .deadlocks import retry_on_deadlock
from .writes import primary_database

BATCH_SIZE = 1000
UNSEEN_DAYS = 90
"""Days after which a one-shot message is removed even if it was never shown."""
MAX_DAYS = 36500
"""The age of the oldest rows that are looked for; earlier times may be out of range."""
RECEIPT_DAYS = 90
"""Days after the end of a broadcast until its receipts are removed."""
MAILBOX_BATCH_SIZE = 500
"""Mailboxes that one query covers."""


def prunable(trash_days: int) -> dict[str, MessageQuerySet]:
    """Return the rows to prune by reason; no row has two reasons.

    Each queryset is in the order of an index, so a batch is found without reading the table.
    """
    rows, long_ago = Message.objects.on_primary(), _days_ago(trash_days)
    expired = rows.expired().order_by("expires")
    # Check the folder as well: a site that moves rows itself may not clear `trashed_at`.
    trash = rows.in_folder(Folder.TRASH).current()
    return {
        "expired": expired.exclude(folder=Folder.TOMBSTONE),
        "trash": trash.filter(trashed_at__lt=long_ago).order_by("trashed_at"),
        "tombstones": expired.in_folder(Folder.TOMBSTONE),
    }


def unseen_one_shots() -> Iterator[MessageQuerySet]:
    """Yield the one-shot messages older than `UNSEEN_DAYS`, for one batch of users at a time.

    For each user this reads an index range that is nearly always empty. An index of all users'
    one-shot messages would cost a write for each message, and would be read once a night.
    """
    long_ago = timezone.now() - timedelta(UNSEEN_DAYS)
    waiting = Message.objects.on_primary().in_folder(Folder.ONE_SHOT).filter(created__lt=long_ago)
    for owners in _owners(waiting.db):
        yield waiting.current().filter(user__in=owners).order_by("created")


def long_read(days: int) -> Iterator[MessageQuerySet]:
    """Yield inbox messages read more than `days` ago, for one batch of users at a time.

    Archived messages are not among them: a user archives what is to be kept.
    """
    long_ago = _days_ago(days)
    read = Message.objects.on_primary().in_folder(Folder.INBOX).filter(read_at__lt=long_ago)
    for owners in _owners(read.db):
        # The index begins with the user.
        yield read.filter(user__in=owners).order_by("user")


def _days_ago(days: int) -> datetime:
    return timezone.now() - timedelta(min(days, MAX_DAYS))


def old_receipts() -> Iterator[QuerySet[Receipt]]:
    """Yield the receipts of each broadcast that ended more than `RECEIPT_DAYS` ago."""
    ended = _long_ended().filter(Exists(Receipt.objects.filter(broadcast=OuterRef("pk"))))
    for pk in list(ended.order_by("pk").values_list("pk", flat=True)):
        # The index begins with the broadcast.
        yield Receipt.objects.using(ended.db).filter(broadcast=pk).order_by("user")


def _long_ended() -> QuerySet[Broadcast]:
    long_ago = timezone.now() - timedelta(RECEIPT_DAYS)
    rows = Broadcast.objects.using(primary_database())
    return rows.filter(Q(withdrawn_at__lt=long_ago) | Q(expires__lt=long_ago))


def _owners(using: str) -> Iterator[list[Any]]:
    """Yield the keys of all users, `MAILBOX_BATCH_SIZE` at a time; one query for each batch."""
    people = get_user_model()._base_manager.using(using).order_by("pk")
    rest = keys = people.values_list("pk", flat=True)
    while batch := list(rest[:MAILBOX_BATCH_SIZE]):
        yield batch
        rest = keys.filter(pk__gt=batch[-1])


def prune_all(trash_days: int, read_days: int | None = None) -> Iterator[tuple[str, int]]:
    """Delete the rows of `all_sources` in batches; yield the reason and size of each batch."""
    outbox.bring_forward()
    for reason, sources in all_sources(trash_days, read_days).items():
        for source in sources:
            for removed in prune(source):
                yield reason, removed


def all_sources(
    trash_days: int, read_days: int | None = None
) -> dict[str, Iterable[QuerySet[Any]]]:
    """Return the querysets to prune by reason: read messages only if `read_days` is given.

    Raises `ValueError` if `read_days` is not a number of days.
    """
    if read_days is not None and (type(read_days) is not int or read_days < 0):
        raise ValueError(f"read_older_than must be a number of days, 0 or more, not {read_days!r}.")
    sources: dict[str, Iterable[QuerySet[Any]]] = {
        reason: [messages] for reason, messages in prunable(trash_days).items()
    }
    sources["expired"] = chain(sources["expired"], unseen_one_shots())
    sources["unsent mail"] = [outbox.unsent()]
    sources["receipts"] = old_receipts()
    if read_days is not None:
        sources["read"] = long_read(read_days)
    return sources


def prune(found: QuerySet[Any]) -> Iterator[int]:
    """Delete `found`, ordered by one column, in batches; yield the size of each batch.

    Each batch has its own transaction.
    """
    if found.model is Receipt:
        yield from _prune_receipts(found)
        return
    (by,) = found.query.order_by
    rest = keys = found.values_list("pk", "user_id", "thread", by)
    while batch := list(rest[:BATCH_SIZE]):
        # Filter by the range as well, or the database looks for the keys in every partition.
        place = {f"{by}__gte": batch[0][3], f"{by}__lte": batch[-1][3]}
        rows = found.order_by().filter(pk__in=[pk for pk, *_ in batch], **place)
        letters = [(owner, thread) for _, owner, thread, _ in batch if thread is not None]
        if found.model is not Message:  # mail that is due: nothing of a conversation goes
            letters = []
        yield _prune_batch(rows, letters)
        # Continue where this batch ended: deleted rows stay in the index until a vacuum.
        rest = keys.filter(**{f"{by}__gte": batch[-1][3]})


@retry_on_deadlock
def _prune_batch(rows: QuerySet[Any], letters: list[tuple[Any, UUID]]) -> int:
    if not letters:
        return rows.delete()[0]
    owners = {owner for owner, _ in letters}
    conversations = {thread for _, thread in letters}
    mailboxes = Message.objects.on_primary()
    with transaction.atomic(using=rows.db):
        locks.lock_mailboxes(mailboxes, owners)
        removed = rows.delete()[0]
        threads.update_thread_heads(mailboxes, owners, conversations)
    return removed


def _prune_receipts(receipts: QuerySet[Receipt]) -> Iterator[int]:
    """Delete `receipts`, those of one broadcast, in batches; yield the size of each batch."""
    rest = found = receipts.values_list("pk", "broadcast_id", "user_id")
    while batch := list(rest[:BATCH_SIZE]):
        removed = _prune_receipt_batch(batch[0][1], [pk for pk, *_ in batch])
        if not removed:
            return  # it was edited in the meantime, and has not ended
        yield removed
        rest = found.filter(user__gt=batch[-1][2])


@retry_on_deadlock
def _prune_receipt_batch(broadcast: int, keys: list[int]) -> int:
    receipts = Receipt.objects.using(primary_database()).filter(broadcast=broadcast)
    with transaction.atomic(using=receipts.db):
        locks.take_sqlite_lock(Message.objects.on_primary())
        # An edit also locks the broadcast. If it waits for this, it is refused afterwards.
        ended = _long_ended().filter(pk=broadcast).select_for_update().first()
        if ended is None:
            return 0
        if ended.receipt_count is None:
            ended.receipt_count = receipts.exclude(message_id=None).count()
            ended.save(update_fields=["receipt_count"], using=receipts.db)
        return receipts.filter(pk__in=keys).delete()[0]
