"""Erase a whole mailbox when its user asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import transaction

from persistent_messages import signals
from persistent_messages.models import Block, DueMail

from .deadlocks import retry_on_deadlock
from .validation import clean_user_key
from .writes import primary_database, primary_rows, send_after_commit

BATCH_SIZE = 1000


def erase(user: Any) -> Iterator[int]:
    """Delete all messages of `user` in every folder; yield the size of each batch.

    Then deletes the list of blocked users and the due mail. Preferences stay, because a user who
    has unsubscribed must not be mailed again. Receipts stay, because broadcasts would arrive again.
    Letters that `user` sent to others belong to their recipients and stay.

    Each batch of 1,000 has its own transaction, so the work can be stopped and started again. Sends
    `mailbox_changed` for each batch. Raises `TypeError` or `ValueError` if `user` is not a saved
    user.
    """
    key = clean_user_key("user", user)
    # Oldest first, so that a conversation stays in the list until its last letter is deleted.
    keys = primary_rows().owned_by(key).order_by("folder", "pk").values_list("pk", flat=True)
    while batch := list(keys[:BATCH_SIZE]):
        if removed := _erase_batch(key, batch):
            yield removed
    for model in (Block, DueMail):
        model._base_manager.using(primary_database()).filter(user=key).delete()


@retry_on_deadlock
def _erase_batch(key: Any, batch: list[int]) -> int:
    with transaction.atomic(using=primary_database()):
        removed = primary_rows().owned_by(key).filter(pk__in=batch).delete()[0]
        if removed:
            send_after_commit(signals.mailbox_changed, user_id=key, action="erase", count=removed)
    return removed
