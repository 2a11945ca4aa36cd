"""Delivering a message to one mailbox: the stored row, and the signals."""

from contextlib import contextmanager
from datetime import datetime, timedelta
from datetime import timezone as time_zones

import pytest
from django.contrib import messages as contrib_messages
from django.db import IntegrityError, connection, connections, transaction
from django.db.models.signals import post_save, pre_save
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy

from persistent_messages import INFO, mailbox, messages_delivered
from persistent_messages.mailbox.validation import new_message
from persistent_messages.models import Message

pytestmark = pytest.mark.django_db

ARGUMENTS = {
    "only a text": {},
    "shown once": {"level": contrib_messages.WARNING},
    "lazy": {"message": gettext_lazy("Messages"), "subject": gettext_lazy("Search")},
    "safe": {"message": mark_safe("<b>Bold</b>"), "subject": mark_safe("<i>Never</i>")},
    "not to be stored": {"message": "a\x00b\ud800c", "extra_tags": "x\x00y"},
    "beyond the plane": {"message": "🎉 %s %% ' \" \\", "subject": "ü" * 255},
    "long": {"message": "x" * 100_000},
    "url": {"url": "https://example.com/?a=1&b=%20"},
    "expires": {"expires": datetime(2199, 12, 31, 23, 59, 59, 999_999, time_zones.utc)},
    "expires there": {
        "expires": datetime(2199, 1, 1, tzinfo=time_zones(timedelta(hours=-11, minutes=30)))
    },
    "expires here": {"expires": datetime(2199, 7, 1, 12)},  # noqa: DTZ001 (naive on purpose)
    "closes": {"close_timeout": 0},
    "closes late": {"close_timeout": 2**31 - 1},
    "tags": {"extra_tags": "one two"},
}


def message_to(owner, message="Hello", level=INFO, **arguments):
    new = new_message(level, message, **arguments)
    new.user_id = owner.pk
    new.prepare_text()
    return new


@contextmanager
def statements(using="default"):
    """Record the first word of each statement."""
    found = []

    def note(execute, sql, params, many, context):
        found.append(sql.split()[0])
        return execute(sql, params, many, context)

    with connections[using].execute_wrapper(note):
        yield found


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_row_is_stored_with_given_values(user, arguments):
    with timezone.override("Asia/Kolkata"):
        message = message_to(user, **arguments)

    with statements() as found:
        mailbox.deliver([message])

    assert found == ["INSERT"]
    stored = Message.objects.get()
    assert stored.pk == message.pk
    for field in Message._meta.concrete_fields:
        assert getattr(stored, field.attname) == getattr(message, field.attname), field.name
    assert isinstance(stored.message, SafeString) == isinstance(message.message, SafeString)
    assert (message._state.db, message._state.adding) == ("default", False)


def test_database_router_is_used(user, other_database, settings):
    other_database("old")
    settings.DATABASE_ROUTERS = [f"{__name__}.OldDatabaseRouter"]
    message = message_to(user)

    with statements("old") as found:
        mailbox.deliver([message])

    assert found == ["INSERT"]
    assert message._state.db == "old"
    assert Message.objects.using("old").get().user_id == user.pk
    assert not Message.objects.using("default").exists()


class OldDatabaseRouter:
    """The router of the test above."""

    def db_for_write(self, model, **hints):
        return "old" if model is Message else None


def test_database_error_breaks_transaction_of_caller(user):
    message = message_to(user)
    message.user_id = None

    with transaction.atomic():
        with pytest.raises(IntegrityError):
            mailbox.deliver([message])
        assert connection.needs_rollback

    assert (message.pk, message._state.adding) == (None, True)
    mailbox.deliver([message_to(user)])
    assert Message.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_delivery_outside_transaction_is_committed(user):
    wrong = message_to(user)
    wrong.user_id = None
    with pytest.raises(IntegrityError):
        mailbox.deliver([wrong])
    with statements() as found:
        mailbox.deliver([message_to(user)])
    connection.rollback()  # nothing to undo

    assert found == ["INSERT"]
    assert Message.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_unknown_user_key_raises_integrity_error(user):
    message = message_to(user)
    message.user_id += 1

    with pytest.raises(IntegrityError), transaction.atomic():
        mailbox.deliver([message])

    assert not Message.objects.exists()


def test_delivery_sends_signal_after_commit(user, django_capture_on_commit_callbacks):
    told = []

    def note(messages, **kwargs):
        told.extend((message.pk, message._state.adding) for message in messages)

    message = message_to(user)
    messages_delivered.connect(note)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            mailbox.deliver([message])
            assert told == []
    finally:
        messages_delivered.disconnect(note)

    assert told == [(message.pk, False)]


@pytest.mark.parametrize("signal", [pre_save, post_save])
def test_pre_save_and_post_save_receivers_are_called(user, signal):
    told = []

    def note(sender, instance, raw, using, update_fields, **kwargs):
        told.append((sender, instance, raw, using, update_fields, kwargs.get("created")))

    message = message_to(user)
    signal.connect(note, sender=Message)
    try:
        mailbox.deliver([message])
    finally:
        signal.disconnect(note, sender=Message)

    created = True if signal is post_save else None
    assert told == [(Message, message, False, "default", None, created)]
