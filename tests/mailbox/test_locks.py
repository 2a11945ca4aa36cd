"""Locks on mailboxes: a transaction that writes letters of a user makes others wait."""

from contextlib import closing

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, transaction

from persistent_messages.mailbox.locks import lock_before_deletion, lock_mailboxes
from persistent_messages.models import Message

pytestmark = pytest.mark.django_db(transaction=True)


def is_locked(user):
    """Return whether another connection would have to wait."""
    people, rows = get_user_model()._meta.db_table, Message._meta.db_table
    sql = f"SELECT id FROM {people} WHERE id = {user.pk} FOR UPDATE NOWAIT"
    if connection.vendor == "sqlite":  # one lock for all
        sql = f"UPDATE {rows} SET folder = 0 WHERE id = 0"
    with closing(connection.copy()) as other:
        try:
            with other.cursor() as cursor:
                cursor.execute(sql)
        except OperationalError:
            return True
    return False


def test_lock_mailboxes_blocks_other_connections(user, other):
    with transaction.atomic():
        assert lock_mailboxes(Message.objects.all(), [user.pk, other.pk]) == {user.pk, other.pk}
        assert is_locked(user)
        assert is_locked(other)
    assert not is_locked(user)


def test_lock_before_deletion_blocks_other_connections(user):
    with transaction.atomic():
        lock_before_deletion(user, "default")
        if connection.vendor == "sqlite":  # on SQLite, the first deletion takes the lock
            Message.objects.filter(user=user).delete()
        assert is_locked(user)
    assert not is_locked(user)


def test_lock_mailboxes_omits_deleted_account(user):
    key = user.pk
    user.delete()
    with transaction.atomic():
        assert lock_mailboxes(Message.objects.all(), [key]) == set()
