"""Edit or remove the copies of one message in many mailboxes, such as those of a broadcast."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction

from persistent_messages import signals
from persistent_messages.constants import Folder
from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet

from . import locks
from .deadlocks import retry_on_deadlock
from .writes import primary_rows, send_after_commit

COPIED = (
    *("level", "subject", "message", "is_safe", "search_text", "url", "action", "topic", "expires"),
)
"""The columns that a copy takes from the message."""


@retry_on_deadlock
def remove_copies(copies: Collection[tuple[Any, int]]) -> int:
    """Remove `copies`, pairs of owner key and row key, from inboxes and archives; return how many.

    Copies in the trash stay there, and no undo moves them back. Three statements in a transaction.
    """
    rows = _rows(copies)
    with transaction.atomic(using=rows.db):
        locks.take_sqlite_lock(primary_rows())
        found = _lock(rows)
        removed = [(owner, pk) for pk, owner, folder in found if folder != Folder.TRASH]
        trashed = [pk for pk, _, folder in found if folder == Folder.TRASH]
        if trashed:
            # Undo finds rows by `moved_at`.
            rows.filter(pk__in=trashed).update(moved_at=None)
        if removed:
            _rows(removed).delete()
        _signal_each("resolve", removed)
    return len(removed)


@retry_on_deadlock
def edit_copies(copies: Collection[tuple[Any, int]], message: Message) -> int:
    """Update `copies` with the content of `message`, except in the trash; return how many.

    They stay in their folder, and stay read or unread. Two statements in a transaction.
    """
    message.prepare_text()
    rows = _rows(copies)
    with transaction.atomic(using=rows.db):
        locks.take_sqlite_lock(primary_rows())
        edited = [(owner, pk) for pk, owner, folder in _lock(rows) if folder != Folder.TRASH]
        if edited:
            _rows(edited).update(**{name: getattr(message, name) for name in COPIED})
        _signal_each("edit", edited)
    return len(edited)


def _rows(copies: Collection[tuple[Any, int]]) -> MessageQuerySet:
    # Name the owners, too, or the database looks into every partition.
    owners, keys = {owner for owner, _ in copies}, [pk for _, pk in copies]
    return primary_rows().filter(user__in=owners, pk__in=keys)


def _lock(rows: MessageQuerySet) -> list[tuple[int, Any, int]]:
    # A fixed order, so that two transactions that lock the same rows do not deadlock.
    found = rows.select_for_update().order_by("user", "pk")
    return list(found.values_list("pk", "user_id", "folder"))


def _signal_each(action: str, copies: Collection[tuple[Any, int]]) -> None:
    for owner, _ in copies:
        send_after_commit(signals.mailbox_changed, user_id=owner, action=action, count=1)
