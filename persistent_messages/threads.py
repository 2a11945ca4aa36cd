"""Conversations in the table: which letter stands for its conversation in the list of a folder.

Settled whenever letters are written, moved or deleted, so that no list is grouped when it is read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Exists, OuterRef, Subquery

if TYPE_CHECKING:
    from .querysets import MessageQuerySet

MANY = 500
"""Above so many conversations all of a mailbox are settled, rather than these by name."""


def lock(rows: MessageQuerySet, users: Collection[Any]) -> None:
    """Have whoever else writes letters of `users` wait until this transaction ends. One statement.

    In the order of their keys, so that two who lock the same people never wait for each other.
    """
    features = connections[rows.db].features
    if not features.has_select_for_update:
        # SQLite has one lock for all, which any write takes.
        rows.filter(user__in=users, pk=0).update(folder=0)
        return
    people = get_user_model()._base_manager.using(rows.db).filter(pk__in=users).order_by("pk")
    no_key = features.has_select_for_no_key_update  # new rows may refer to these people meanwhile
    list(people.select_for_update(no_key=no_key).values_list("pk", flat=True))


def settle(rows: MessageQuerySet, users: Collection[Any], threads: Collection[UUID]) -> None:
    """Make the newest letter of each folder, and no other, the head of its conversation there.

    For these conversations in the mailboxes of `users`; if there are `MANY`, for all. Two
    statements, which visit the letters of these conversations.
    """
    letters = rows.filter(user__in=users)
    letters = letters.in_threads(threads) if len(threads) <= MANY else letters.letters()
    newer = rows.filter(
        user=OuterRef("user"),
        user__in=users,  # so that the partitions of others are not even planned
        thread=OuterRef("thread"),
        folder=OuterRef("folder"),
        pk__gt=OuterRef("pk"),
    ).order_by("-pk")
    newest = Subquery(newer.values("pk")[:1])
    letters.filter(Exists(newer), followed_by=None).update(followed_by=newest)
    letters.filter(~Exists(newer), followed_by__gt=0).update(followed_by=None)
