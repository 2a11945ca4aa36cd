"""The removal of what nobody can see any more, from all mailboxes, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from . import threads as conversations
from .constants import Folder
from .drafts import message_model
from .retries import again

if TYPE_CHECKING:
    from .querysets import MessageQuerySet

BATCH = 1000


def prunable(trash_days: int) -> dict[str, MessageQuerySet]:
    """Return what pruning removes, by reason; nothing counts twice.

    Each in the order of an index: however much it is, the table is not read to find some of it.
    """
    rows, long_ago = message_model().objects.at_source(), timezone.now() - timedelta(trash_days)
    expired = rows.expired().order_by("expires")
    # The folder as well: a site that moves rows by itself may leave the time as it was.
    trash = rows.in_folder(Folder.TRASH).current()
    return {
        "expired": expired.exclude(folder=Folder.SPENT),
        "trash": trash.filter(trashed_at__lt=long_ago).order_by("trashed_at"),
        "spent": expired.in_folder(Folder.SPENT),
    }


def prune(messages: MessageQuerySet) -> Iterator[int]:
    """Delete `messages` in batches, each in a transaction of its own; yields the size of each.

    They have an order by one column.
    """
    (by,) = messages.query.order_by
    rest = keys = messages.values_list("pk", "user_id", "thread", by)
    while batch := list(rest[:BATCH]):
        # By their range as well: else each partition is asked for a thousand keys.
        place = {f"{by}__gte": batch[0][3], f"{by}__lte": batch[-1][3]}
        rows = messages.order_by().filter(pk__in=[pk for pk, *_ in batch], **place)
        letters = [(owner, thread) for _, owner, thread, _ in batch if thread is not None]
        yield _prune(rows, letters)
        # Where this batch ended: what is gone lies in the index until the database clears it.
        rest = keys.filter(**{f"{by}__gte": batch[-1][3]})


@again
def _prune(rows: MessageQuerySet, letters: list[tuple[Any, UUID]]) -> int:
    if not letters:
        return rows.delete()[0]
    owners, threads = {owner for owner, _ in letters}, {thread for _, thread in letters}
    mailboxes = message_model().objects.at_source()
    with transaction.atomic(using=rows.db):
        conversations.lock(mailboxes, owners)
        removed = rows.delete()[0]
        conversations.settle(mailboxes, owners, threads)
    return removed
