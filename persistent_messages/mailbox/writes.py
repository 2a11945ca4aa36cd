"""Shared by all writes: rows of the primary database, and signals after commit."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import router, transaction

from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet


def primary_rows() -> MessageQuerySet:
    """Return all rows of the primary database, because a replica may lag."""
    return Message.objects.on_primary()


def primary_database() -> str:
    """Return the alias of the database that messages are written to."""
    return router.db_for_write(Message)


def send_after_commit(signal: Any, **arguments: Any) -> None:
    """Send `signal` after the transaction commits; log receivers that fail."""
    send = partial(signal.send_robust, sender=Message, **arguments)
    transaction.on_commit(send, using=primary_database(), robust=True)
