"""The erasure of a whole mailbox, for a user who asks for it."""

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
    """Delete all messages of `user`, whatever folder they are in; yields the size of each batch.

    Then the list of those whom `user` has blocked, and the mail that is due. What `user` chose
    stays, or whoever has unsubscribed would be mailed again. What `user` wrote to others is theirs
    and stays; so do receipts of broadcasts, or these would come again. Batches of 1,000, each in a
    transaction of its own: it can be stopped, and started again. Sends `mailbox_changed` for each.
    Raises `TypeError` or `ValueError` for something that is no saved user.
    """
    key = clean_user_key("user", user)
    # Oldest first: a conversation is in the list until its last letter goes.
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
