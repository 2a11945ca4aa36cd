"""Notices with a key: one in an inbox, renewed when sent again, removed when resolved."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core import mail
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from persistent_messages import (
    INFO,
    WARNING,
    Folder,
    add_message,
    mailbox_changed,
    messages_delivered,
    resolve,
    send_letter,
    send_message,
)
from persistent_messages import mailbox as mailbox_module
from persistent_messages.mailbox import keyed
from persistent_messages.mailbox.validation import new_message
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage

pytestmark = pytest.mark.django_db


def send_keyed(users, text="Hello", key="quota", **kwargs):
    return send_message(users, WARNING, text, key=key, **kwargs)


def renew_within(users, text, min_interval):
    new = new_message(WARNING, text, key="quota")
    return mailbox_module.deliver_to(users, new, min_interval=min_interval, email=True)


def mailbox_of(user):
    """Return the folder, text and count of the rows in a mailbox, oldest first."""
    rows = Message.objects.filter(user=user).order_by("pk")
    return [(Folder(row.folder).name, row.message, row.times) for row in rows]


def inbox(user):
    return Message.objects.inbox_of(user)


@pytest.fixture
def request_of_user(visitor, user):
    request = visitor.get("/").wsgi_request
    request.user = user
    request._messages = PersistentMessageStorage(request)
    return request


@pytest.fixture
def signals_of():
    """Record the arguments of a signal."""
    connected = []

    def signals_of(signal):
        noted = []

        def note(**kwargs):
            noted.append(kwargs)

        signal.connect(note)
        connected.append((signal, note))
        return noted

    yield signals_of
    for signal, note in connected:
        signal.disconnect(note)


# Sending again


def test_sending_again_replaces_keyed_notice_in_inbox(user):
    send_keyed(user, "90 %")
    first = Message.objects.get()
    send_message(user, INFO, "Something else")

    assert send_keyed(user, "95 %") == 1

    assert mailbox_of(user) == [("INBOX", "Something else", 1), ("INBOX", "95 %", 2)]
    renewed = Message.objects.latest("pk")
    assert renewed.pk > first.pk
    assert renewed.created > first.created


def test_keyed_notice_sent_three_times_counts_three(user):
    for _ in range(3):
        send_keyed(user)

    assert mailbox_of(user) == [("INBOX", "Hello", 3)]


def test_sending_again_makes_read_notice_unread(user):
    send_keyed(user)
    mailbox_module.mark_read(user, Folder.INBOX, Message.objects.all())

    send_keyed(user)

    assert not Message.objects.get().read
    assert Message.objects.count_unread_of(user, 99) == 1


@pytest.mark.parametrize("put_away", [mailbox_module.archive, mailbox_module.delete])
def test_sending_after_archive_or_delete_creates_new_notice(user, put_away):
    send_keyed(user, "Old")
    send_keyed(user, "Old")
    put_away(user, Folder.INBOX, Message.objects.all())

    send_keyed(user, "New")
    send_keyed(user, "New")

    (old, new) = mailbox_of(user)
    assert old[0] in {"ARCHIVE", "TRASH"}
    assert old[1:] == ("Old", 2)
    assert new == ("INBOX", "New", 2)


def test_each_user_has_one_live_notice_per_key(user, other):
    send_keyed([user, other], key="a")
    send_keyed(user, key="b")
    send_keyed([other, user], key="a")

    assert sorted(mailbox_of(user)) == [("INBOX", "Hello", 1), ("INBOX", "Hello", 2)]
    assert mailbox_of(other) == [("INBOX", "Hello", 2)]


@pytest.mark.parametrize(("one", "another"), [("quota", "Quota"), ("a", "á"), ("ss", "ß")])
def test_keys_are_compared_exactly(user, one, another):
    send_keyed(user, key=one)
    send_keyed(user, key=another)

    assert [times for *_, times in mailbox_of(user)] == [1, 1]


def test_whitespace_around_key_is_stripped(user):
    send_keyed(user, key="quota")
    send_keyed(user, key=" quota ")

    assert [row.key for row in Message.objects.all()] == ["quota"]


def test_renewed_notice_has_fields_of_last_call(user):
    send_keyed(user, "Old", subject="A", url="/a/", action="Look", expires=None)
    later = timezone.now() + timedelta(days=1)
    send_message(user, INFO, "New", key="quota", subject="B", url="/b/", expires=later)

    row = Message.objects.get()
    said = (row.level, row.subject, row.message, row.url, row.action, row.expires)
    assert said == (INFO, "B", "New", "/b/", "", later)
    assert list(inbox(user).search(user, ["old"], 10, 100).messages) == []


def test_sending_after_expiry_creates_new_notice(user):
    send_keyed(user, expires=timezone.now() - timedelta(days=1))

    send_keyed(user)

    assert mailbox_of(user) == [("INBOX", "Hello", 1)]


def test_keyed_notice_counts_once_as_unread(user):
    for _ in range(5):
        send_keyed(user)

    assert Message.objects.count_unread_of(user, 99) == 1


def test_receivers_get_renewed_row(user, signals_of, django_capture_on_commit_callbacks):
    send_keyed(user)
    delivered = signals_of(messages_delivered)

    with django_capture_on_commit_callbacks(execute=True):
        send_keyed(user)

    assert [[row.times for row in sent["messages"]] for sent in delivered] == [[2]]
    assert delivered[0]["messages"][0].pk == Message.objects.get().pk


def test_group_and_queryset_get_keyed_notice_once_per_call(user, other):
    people = Group.objects.create(name="people")
    people.user_set.add(user, other)

    assert send_keyed(people) == 2
    assert send_keyed(get_user_model().objects.filter(groups=people)) == 2

    assert mailbox_of(user) == mailbox_of(other) == [("INBOX", "Hello", 2)]


def test_keyed_notice_reaches_more_users_than_batch_size(user, monkeypatch):
    people = [get_user_model().objects.create(username=f"u{n}") for n in range(7)]
    monkeypatch.setattr("persistent_messages.mailbox.delivery.MAX_BATCH_SIZE", 3)

    send_keyed(people[2:5])
    assert send_keyed(people) == 7

    told = Message.objects.order_by("user").values_list("times", flat=True)
    assert list(told) == [1, 1, 2, 2, 2, 1, 1]


def test_nobody_gets_keyed_notice_if_one_user_is_unknown(user):
    with pytest.raises(ValueError, match="no user with the key"):
        send_keyed([user, user.pk + 1000])

    assert mailbox_of(user) == []


def test_rolled_back_renewal_keeps_previous_notice(user):
    send_keyed(user, "Before")
    before = Message.objects.get()

    with transaction.atomic():
        send_keyed(user, "After")
        transaction.set_rollback(True)

    assert Message.objects.get().pk == before.pk
    assert mailbox_of(user) == [("INBOX", "Before", 1)]


def test_repeated_notice_does_not_grow_table(user):
    for _ in range(20):
        send_keyed(user)

    assert Message.objects.count() == 1


def test_query_count_of_keyed_send_does_not_depend_on_users(user, other):
    found = []
    for count in (2, 20):
        people = [get_user_model().objects.create(username=f"{count}.{n}") for n in range(count)]
        send_keyed(people)
        with CaptureQueriesContext(connection) as queries:
            send_keyed(people)
        found.append([query["sql"].split()[0] for query in queries])

    assert found[0] == found[1]
    assert len([verb for verb in found[0] if verb not in {"SAVEPOINT", "RELEASE"}]) <= 7


# In a request


def test_add_message_renews_keyed_notice_of_user(request_of_user, user):
    send_keyed(user, "Before")

    row = add_message(request_of_user, WARNING, "After", key="quota")

    assert row.pk == Message.objects.get().pk
    assert row.times == 2


def test_loaded_storage_shows_renewed_notice_only(request_of_user, user):
    send_keyed(user, "Before")
    send_message(user, INFO, "Something else")
    request_of_user._messages.load()

    add_message(request_of_user, WARNING, "After", key="quota")

    assert [row.message for row in request_of_user._messages] == ["Something else", "After"]


def test_key_requires_persistent_level(request_of_user, user):
    with pytest.raises(ValueError, match="key needs a persistent level, not 20"):
        add_message(request_of_user, 20, "Hello", key="quota")
    with pytest.raises(ValueError, match="key needs a persistent level, not 20"):
        send_message(user, 20, "Hello", key="quota")


@pytest.mark.parametrize(
    ("key", "error", "match"),
    [
        ("k" * 101, ValueError, "key may have 100 characters at most, not 101"),
        (17, TypeError, "key must be a str, not 17"),
        ("a\0b", ValueError, "key must hold no control characters"),
    ],
)
def test_invalid_key_is_rejected(user, key, error, match):
    with pytest.raises(error, match=match):
        send_keyed(user, key=key)
    with pytest.raises(error, match=match):
        resolve(user, key)


def test_empty_key_means_no_key(user):
    send_keyed(user, key="")
    send_keyed(user, key="")

    assert mailbox_of(user) == [("INBOX", "Hello", 1)] * 2


# Within the interval


def test_renewal_within_interval_changes_only_text_and_count(user):
    send_keyed(user, "90 %")
    before = Message.objects.get()
    mailbox_module.mark_read(user, Folder.INBOX, Message.objects.all())
    send_message(user, INFO, "Something else")

    assert renew_within(user, "95 %", timedelta(hours=1)) == 1

    assert mailbox_of(user) == [("INBOX", "95 %", 2), ("INBOX", "Something else", 1)]
    after = Message.objects.get(pk=before.pk)
    assert (after.created, after.read) == (before.created, True)
    assert Message.objects.inbox_of(user).search(user, ["95"], 10, 100).messages == [after]


def test_renewal_within_interval_sends_no_mail_or_signal(
    user, signals_of, django_capture_on_commit_callbacks
):
    send_keyed(user)
    delivered = signals_of(messages_delivered)

    with django_capture_on_commit_callbacks(execute=True):
        renew_within(user, "Again", timedelta(hours=1))

    assert delivered == []
    assert mail.outbox == []


def test_notice_is_renewed_after_interval(user, django_capture_on_commit_callbacks):
    send_keyed(user)
    Message.objects.update(created=timezone.now() - timedelta(hours=2))
    before = Message.objects.get()

    with django_capture_on_commit_callbacks(execute=True):
        renew_within(user, "Again", timedelta(hours=1))

    assert Message.objects.get().pk > before.pk
    assert len(mail.outbox) == 1


def test_interval_is_applied_per_user(user, other):
    send_keyed([user, other])
    Message.objects.filter(user=other).update(created=timezone.now() - timedelta(hours=2))
    mailbox_module.mark_read(user, Folder.INBOX, Message.objects.all())
    mailbox_module.mark_read(other, Folder.INBOX, Message.objects.all())

    assert renew_within([user, other], "Again", timedelta(hours=1)) == 2

    assert mailbox_of(user) == mailbox_of(other) == [("INBOX", "Again", 2)]
    assert Message.objects.get(user=user).read
    assert not Message.objects.get(user=other).read


# Resolving


def test_resolved_notice_is_removed_from_inboxes(user, other, request_of_user):
    send_keyed([user, other])
    send_keyed(user, key="another")

    assert resolve([user, other], "quota") == 2

    assert [row.key for row in Message.objects.all()] == ["another"]
    assert Message.objects.count_unread_of(user, 99) == 1
    assert [row.key for row in request_of_user._messages] == ["another"]


def test_resolve_affects_only_given_users(user, other):
    send_keyed([user, other])

    assert resolve(user, "quota") == 1
    assert resolve(user, "quota") == 0

    assert list(Message.objects.values_list("user", flat=True)) == [other.pk]


@pytest.mark.parametrize("put_away", [mailbox_module.archive, mailbox_module.delete])
def test_resolve_keeps_archived_notice_and_disables_its_undo(user, put_away):
    send_keyed(user)
    change = put_away(user, Folder.INBOX, Message.objects.all())

    assert resolve(user, "quota") == 0

    assert mailbox_module.undo(user, change) == 0
    ((folder, *_),) = mailbox_of(user)
    assert folder == change.target.name
    # Users can move it back; it is then a message like any other.
    mailbox_module.restore(user, change.target, Message.objects.all())
    assert mailbox_of(user) == [("INBOX", "Hello", 1)]
    send_keyed(user, "New")
    assert len(mailbox_of(user)) == 2


def test_other_messages_of_same_move_can_be_undone_after_resolve(user):
    send_keyed(user)
    send_message(user, INFO, "Something else")
    change = mailbox_module.archive(user, Folder.INBOX, Message.objects.all())

    resolve(user, "quota")

    assert mailbox_module.undo(user, change) == 1
    assert mailbox_of(user) == [("ARCHIVE", "Hello", 1), ("INBOX", "Something else", 1)]


def test_undo_of_mark_read_does_not_restore_resolved_notice(user):
    send_keyed(user)
    change = mailbox_module.mark_read(user, Folder.INBOX, Message.objects.all())
    resolve(user, "quota")

    assert mailbox_module.undo(user, change) == 0
    assert mailbox_of(user) == []


def test_resolve_sends_signal_for_affected_users_only(
    user, other, signals_of, django_capture_on_commit_callbacks
):
    send_keyed(user)
    changed = signals_of(mailbox_changed)

    with django_capture_on_commit_callbacks(execute=True):
        resolve([user, other], "quota")

    found = [(each["user_id"], each["action"], each["count"]) for each in changed]
    assert found == [(user.pk, "resolve", 1)]


def test_resolve_handles_queryset_in_batches(user, other, monkeypatch):
    monkeypatch.setattr(keyed, "BATCH_SIZE", 1)
    send_keyed([user, other])

    assert resolve(get_user_model().objects.all(), "quota") == 2
    assert not Message.objects.exists()


def test_resolve_requires_key(user):
    with pytest.raises(ValueError, match="key must not be empty"):
        resolve(user, "")


# Actions of the owner


@pytest.mark.parametrize("put_away", [mailbox_module.archive, mailbox_module.delete])
def test_undone_notice_is_live_again(user, put_away):
    send_keyed(user)
    change = put_away(user, Folder.INBOX, Message.objects.all())
    mailbox_module.undo(user, change)

    send_keyed(user, "Again")
    assert mailbox_of(user) == [("INBOX", "Again", 2)]
    assert resolve(user, "quota") == 1


def test_undone_notice_beside_live_one_stays_until_next_send(user):
    send_keyed(user, "Old")
    change = mailbox_module.archive(user, Folder.INBOX, Message.objects.all())
    send_keyed(user, "New")

    assert mailbox_module.undo(user, change) == 1
    assert mailbox_of(user) == [("INBOX", "Old", 1), ("INBOX", "New", 1)]

    send_keyed(user, "Newer")
    assert mailbox_of(user) == [("INBOX", "Newer", 2)]


def test_resolve_removes_live_and_undone_notice(user):
    send_keyed(user, "Old")
    change = mailbox_module.archive(user, Folder.INBOX, Message.objects.all())
    send_keyed(user, "New")
    mailbox_module.undo(user, change)

    assert resolve(user, "quota") == 1
    assert mailbox_of(user) == []


def test_several_archived_notices_can_all_be_restored(user):
    for _ in range(3):
        send_keyed(user)
        mailbox_module.archive(user, Folder.INBOX, Message.objects.filter(folder=Folder.INBOX))

    mailbox_module.restore(user, Folder.ARCHIVE, Message.objects.all())

    assert inbox(user).count() == 3


def test_notice_moved_by_queryset_update_is_no_longer_live(user):
    send_keyed(user, "Old")
    Message.objects.update(folder=Folder.ARCHIVE)

    send_keyed(user, "New")

    assert mailbox_of(user) == [("ARCHIVE", "Old", 1), ("INBOX", "New", 1)]


def test_replied_notice_is_no_longer_renewed(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    send_keyed(user, "Welcome", from_user=other)
    send_letter(user, None, "", "Thanks", reply_to=Message.objects.get())

    send_keyed(user, "Welcome again", from_user=other)
    assert resolve(user, "quota") == 1

    assert [row[1] for row in mailbox_of(user)] == ["Welcome", "Thanks"]
