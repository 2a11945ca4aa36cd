"""Locks on mailboxes, so that concurrent writes and deletions of users do not conflict."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models.signals import pre_delete

from persistent_messages.querysets import MessageQuerySet


def take_sqlite_lock(rows: MessageQuerySet) -> None:
    """Take SQLite's write lock at the beginning of a transaction; do nothing on other databases.

    In SQLite, a transaction that has read fails at once if it writes after another one has written,
    whatever its timeout. A transaction that begins with a write waits.
    """
    if connections[rows.db].vendor == "sqlite":
        rows.filter(pk=0).update(folder=0)


def lock_mailboxes(rows: MessageQuerySet, users: Collection[Any]) -> set[Any]:
    """Lock `users`, so that other transactions that write their letters wait for this one.

    Returns the keys of the users that exist; none of them can be deleted in the meantime. The locks
    are taken in the order of the keys, so that two transactions do not deadlock. One statement, or
    two on SQLite.
    """
    features = connections[rows.db].features
    people = get_user_model()._base_manager.using(rows.db).filter(pk__in=users).order_by("pk")
    if features.has_select_for_update:
        # `no_key` still lets other transactions insert rows that refer to these users.
        people = people.select_for_update(no_key=features.has_select_for_no_key_update)
    else:
        take_sqlite_lock(rows.filter(user__in=users))  # SQLite has one lock for all
    return set(people.values_list("pk", flat=True))


def lock_before_deletion(instance: Any, using: str, **_kwargs: Any) -> None:
    """Make writers of a user's messages wait until the user is deleted. One statement.

    A receiver of `pre_delete`. A message that arrives after the user's messages have been deleted,
    but before the user is, would violate the foreign key. On SQLite the first deletion locks.
    """
    if connections[using].features.has_select_for_update:
        people = get_user_model()._base_manager.using(using).filter(pk=instance.pk)
        list(people.select_for_update().values_list("pk", flat=True))


def connect_deletion_lock() -> None:
    """Lock users before they are deleted, also through a proxy of the user model."""
    for model in apps.get_models():
        if model._meta.concrete_model is get_user_model()._meta.concrete_model:
            pre_delete.connect(
                lock_before_deletion, sender=model, dispatch_uid="persistent_messages.lock_deleted"
            )
