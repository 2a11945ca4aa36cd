"""The removal of what nobody can see any more, from all mailboxes, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from persistent_messages.constants import Folder
from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet

from . import threads
from .deadlocks import retry_on_deadlock

BATCH_SIZE = 1000
UNSEEN_DAYS = 90
"""Days after which a one-shot message that nobody came for is removed."""
MAILBOX_BATCH_SIZE = 500
"""Mailboxes that one query looks through for such messages."""


def prunable(trash_days: int) -> dict[str, MessageQuerySet]:
    """Return what pruning removes, by reason; nothing counts twice.

    Each in the order of an index: however much it is, the table is not read to find some of it.
    """
    rows, long_ago = Message.objects.on_primary(), timezone.now() - timedelta(trash_days)
    expired = rows.expired().order_by("expires")
    # The folder as well: a site that moves rows by itself may leave the time as it was.
    trash = rows.in_folder(Folder.TRASH).current()
    return {
        "expired": expired.exclude(folder=Folder.TOMBSTONE),
        "trash": trash.filter(trashed_at__lt=long_ago).order_by("trashed_at"),
        "tombstones": expired.in_folder(Folder.TOMBSTONE),
    }


def unseen_one_shots() -> Iterator[MessageQuerySet]:
    """Yield the one-shot messages older than `UNSEEN_DAYS`, of a batch of users at a time.

    By their owners, each an index range that is empty for nearly all: no index has the one-shot
    messages of everybody, which would be written for each of them and read once a night.
    """
    long_ago = timezone.now() - timedelta(UNSEEN_DAYS)
    waiting = Message.objects.on_primary().in_folder(Folder.ONE_SHOT).filter(created__lt=long_ago)
    for owners in _owners(waiting.db):
        yield waiting.current().filter(user__in=owners).order_by("created")


def long_read(days: int) -> Iterator[MessageQuerySet]:
    """Yield what was read in the inbox more than `days` ago, of a batch of users at a time.

    What a user archived was put away to be kept.
    """
    long_ago = timezone.now() - timedelta(days)
    read = Message.objects.on_primary().in_folder(Folder.INBOX).filter(read_at__lt=long_ago)
    for owners in _owners(read.db):
        # In the order of the index, which the user begins.
        yield read.filter(user__in=owners).order_by("user")


def _owners(using: str) -> Iterator[list[Any]]:
    """Yield the keys of all users, `MAILBOX_BATCH_SIZE` at a time; one query for each batch."""
    people = get_user_model()._base_manager.using(using).order_by("pk")
    rest = keys = people.values_list("pk", flat=True)
    while batch := list(rest[:MAILBOX_BATCH_SIZE]):
        yield batch
        rest = keys.filter(pk__gt=batch[-1])


def prune_all(trash_days: int, read_days: int | None = None) -> Iterator[tuple[str, int]]:
    """Remove what `prunable` has, and with `read_days` what `long_read` has, in batches.

    Yields the reason and the size of each batch.
    """
    for reason, sources in all_sources(trash_days, read_days).items():
        for source in sources:
            for removed in prune(source):
                yield reason, removed


def all_sources(
    trash_days: int, read_days: int | None = None
) -> dict[str, Iterable[MessageQuerySet]]:
    """Return what is to be removed by reason, as `prune` takes it, one after the other.

    Raises `ValueError` for a number of days below 0.
    """
    if read_days is not None and read_days < 0:
        raise ValueError(f"read_older_than must be a number of days, 0 or more, not {read_days}.")
    sources: dict[str, Iterable[MessageQuerySet]] = {
        reason: [messages] for reason, messages in prunable(trash_days).items()
    }
    sources["expired"] = chain(sources["expired"], unseen_one_shots())
    if read_days is not None:
        sources["read"] = long_read(read_days)
    return sources


def prune(messages: MessageQuerySet) -> Iterator[int]:
    """Delete `messages` in batches, each in a transaction of its own; yields the size of each.

    They have an order by one column.
    """
    (by,) = messages.query.order_by
    rest = keys = messages.values_list("pk", "user_id", "thread", by)
    while batch := list(rest[:BATCH_SIZE]):
        # By their range as well: else each partition is asked for a thousand keys.
        place = {f"{by}__gte": batch[0][3], f"{by}__lte": batch[-1][3]}
        rows = messages.order_by().filter(pk__in=[pk for pk, *_ in batch], **place)
        letters = [(owner, thread) for _, owner, thread, _ in batch if thread is not None]
        yield _prune_batch(rows, letters)
        # Where this batch ended: what is gone lies in the index until the database clears it.
        rest = keys.filter(**{f"{by}__gte": batch[-1][3]})


@retry_on_deadlock
def _prune_batch(rows: MessageQuerySet, letters: list[tuple[Any, UUID]]) -> int:
    if not letters:
        return rows.delete()[0]
    owners = {owner for owner, _ in letters}
    conversations = {thread for _, thread in letters}
    mailboxes = Message.objects.on_primary()
    with transaction.atomic(using=rows.db):
        threads.lock_mailboxes(mailboxes, owners)
        removed = rows.delete()[0]
        threads.update_thread_heads(mailboxes, owners, conversations)
    return removed
