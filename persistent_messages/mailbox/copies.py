"""The copies of one message in many mailboxes: what a broadcast left there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction

from persistent_messages import signals
from persistent_messages.constants import Folder
from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet

from . import threads
from .deadlocks import retry_on_deadlock
from .writes import primary_rows, send_after_commit

COPIED = (
    *("level", "subject", "message", "is_safe", "search_text", "url", "action", "topic", "expires"),
)
"""The columns that a copy has from the message."""


@retry_on_deadlock
def remove_copies(copies: Collection[tuple[Any, int]]) -> int:
    """Remove `copies`, keys of owners and of rows, from inboxes and archives; returns how many.

    Those in the trash stay there, and no undo moves them back. Three statements in a transaction.
    """
    rows = _rows(copies)
    with transaction.atomic(using=rows.db):
        threads.take_sqlite_lock(primary_rows())
        found = _lock(rows)
        removed = [(owner, pk) for pk, owner, folder in found if folder != Folder.TRASH]
        trashed = [pk for pk, _, folder in found if folder == Folder.TRASH]
        if trashed:
            # An undo finds rows by their time of moving.
            rows.filter(pk__in=trashed).update(moved_at=None)
        if removed:
            _rows(removed).delete()
        _signal_each("resolve", removed)
    return len(removed)


@retry_on_deadlock
def edit_copies(copies: Collection[tuple[Any, int]], message: Message) -> int:
    """Give `copies` what `message` says, but for those in the trash; returns how many.

    They stay where they are, read or unread. Two statements in a transaction.
    """
    message.prepare_text()
    rows = _rows(copies)
    with transaction.atomic(using=rows.db):
        threads.take_sqlite_lock(primary_rows())
        edited = [(owner, pk) for pk, owner, folder in _lock(rows) if folder != Folder.TRASH]
        if edited:
            _rows(edited).update(**{name: getattr(message, name) for name in COPIED})
        _signal_each("edit", edited)
    return len(edited)


def _rows(copies: Collection[tuple[Any, int]]) -> MessageQuerySet:
    # The owners, too: else each partition is asked.
    owners, keys = {owner for owner, _ in copies}, [pk for _, pk in copies]
    return primary_rows().filter(user__in=owners, pk__in=keys)


def _lock(rows: MessageQuerySet) -> list[tuple[int, Any, int]]:
    # In an order, so that two who lock the same rows never wait for each other.
    found = rows.select_for_update().order_by("user", "pk")
    return list(found.values_list("pk", "user_id", "folder"))


def _signal_each(action: str, copies: Collection[tuple[Any, int]]) -> None:
    for owner, _ in copies:
        send_after_commit(signals.mailbox_changed, user_id=owner, action=action, count=1)
