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
from .mailbox import MAX_RATE_PERIOD
from .retries import again

if TYPE_CHECKING:
    from .querysets import MessageQuerySet

BATCH = 1000


def prunable(trash_days: int) -> dict[str, MessageQuerySet]:
    """Return what pruning removes, by reason; what is expired does not count as trash too.

    Each in the order of an index: however much it is, the table is not read to find some of it.
    """
    now, rows = timezone.now(), message_model().objects.at_source()
    trash, spent = rows.in_folder(Folder.TRASH).current(), rows.in_folder(Folder.SPENT)
    return {
        "expired": rows.expired().order_by("expires"),
        "trash": trash.filter(moved_at__lt=now - timedelta(days=trash_days)).order_by("moved_at"),
        "spent": spent.filter(moved_at__lt=now - MAX_RATE_PERIOD).order_by("moved_at"),
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
