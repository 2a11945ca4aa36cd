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


def tell(users, text="Hello", key="quota", **kwargs):
    return send_message(users, WARNING, text, key=key, **kwargs)


def tell_again(users, text, min_interval):
    new = new_message(WARNING, text, key="quota")
    return mailbox_module.deliver_to(users, new, min_interval=min_interval, email=True)


def mailbox_of(user):
    """Return the folder, text and count of the rows in a mailbox, oldest first."""
    rows = Message.objects.filter(user=user).order_by("pk")
    return [(Folder(row.folder).name, row.message, row.times) for row in rows]


def inbox(user):
    return Message.objects.inbox_of(user)


@pytest.fixture
def requested(visitor, user):
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


def test_sending_again_renews_the_one_in_the_inbox(user):
    tell(user, "90 %")
    first = Message.objects.get()
    send_message(user, INFO, "Something else")

    assert tell(user, "95 %") == 1

    assert mailbox_of(user) == [("INBOX", "Something else", 1), ("INBOX", "95 %", 2)]
    renewed = Message.objects.latest("pk")
    assert renewed.pk > first.pk
    assert renewed.created > first.created


def test_a_third_time_it_counts_three(user):
    for _ in range(3):
        tell(user)

    assert mailbox_of(user) == [("INBOX", "Hello", 3)]


def test_what_was_read_is_unread_again(user):
    tell(user)
    mailbox_module.mark_read(user, Folder.INBOX, Message.objects.all())

    tell(user)

    assert not Message.objects.get().read
    assert Message.objects.count_unread_of(user, 99) == 1


@pytest.mark.parametrize("put_away", [mailbox_module.archive, mailbox_module.delete])
def test_what_was_put_away_is_done_with_and_the_next_is_new(user, put_away):
    tell(user, "Old")
    tell(user, "Old")
    put_away(user, Folder.INBOX, Message.objects.all())

    tell(user, "New")
    tell(user, "New")

    (old, new) = mailbox_of(user)
    assert old[0] in {"ARCHIVE", "TRASH"}
    assert old[1:] == ("Old", 2)
    assert new == ("INBOX", "New", 2)


def test_each_user_has_one_of_each_key(user, other):
    tell([user, other], key="a")
    tell(user, key="b")
    tell([other, user], key="a")

    assert sorted(mailbox_of(user)) == [("INBOX", "Hello", 1), ("INBOX", "Hello", 2)]
    assert mailbox_of(other) == [("INBOX", "Hello", 2)]


@pytest.mark.parametrize(("one", "another"), [("quota", "Quota"), ("a", "á"), ("ss", "ß")])
def test_keys_are_the_same_only_where_all_their_characters_are(user, one, another):
    tell(user, key=one)
    tell(user, key=another)

    assert [times for *_, times in mailbox_of(user)] == [1, 1]


def test_white_space_around_a_key_does_not_count(user):
    tell(user, key="quota")
    tell(user, key=" quota ")

    assert [row.key for row in Message.objects.all()] == ["quota"]


def test_a_renewal_has_all_that_was_said_the_last_time(user):
    tell(user, "Old", subject="A", url="/a/", action="Look", expires=None)
    later = timezone.now() + timedelta(days=1)
    send_message(user, INFO, "New", key="quota", subject="B", url="/b/", expires=later)

    row = Message.objects.get()
    said = (row.level, row.subject, row.message, row.url, row.action, row.expires)
    assert said == (INFO, "B", "New", "/b/", "", later)
    assert list(inbox(user).search(user, ["old"], 10, 100).messages) == []


def test_an_expired_one_is_gone_and_the_next_is_new(user):
    tell(user, expires=timezone.now() - timedelta(days=1))

    tell(user)

    assert mailbox_of(user) == [("INBOX", "Hello", 1)]


def test_it_counts_once_among_the_unread(user):
    for _ in range(5):
        tell(user)

    assert Message.objects.count_unread_of(user, 99) == 1


def test_receivers_get_the_renewed_row(user, signals_of, django_capture_on_commit_callbacks):
    tell(user)
    delivered = signals_of(messages_delivered)

    with django_capture_on_commit_callbacks(execute=True):
        tell(user)

    assert [[row.times for row in sent["messages"]] for sent in delivered] == [[2]]
    assert delivered[0]["messages"][0].pk == Message.objects.get().pk


def test_a_group_and_a_queryset_are_told_once_each(user, other):
    people = Group.objects.create(name="people")
    people.user_set.add(user, other)

    assert tell(people) == 2
    assert tell(get_user_model().objects.filter(groups=people)) == 2

    assert mailbox_of(user) == mailbox_of(other) == [("INBOX", "Hello", 2)]


def test_more_users_than_a_batch_are_told(user, monkeypatch):
    people = [get_user_model().objects.create(username=f"u{n}") for n in range(7)]
    monkeypatch.setattr("persistent_messages.mailbox.delivery.MAX_BATCH_SIZE", 3)

    tell(people[2:5])
    assert tell(people) == 7

    told = Message.objects.order_by("user").values_list("times", flat=True)
    assert list(told) == [1, 1, 2, 2, 2, 1, 1]


def test_no_one_is_told_if_one_of_them_is_wrong(user):
    with pytest.raises(ValueError, match="no user with the key"):
        tell([user, user.pk + 1000])

    assert mailbox_of(user) == []


def test_a_rolled_back_transaction_leaves_the_one_before(user):
    tell(user, "Before")
    before = Message.objects.get()

    with transaction.atomic():
        tell(user, "After")
        transaction.set_rollback(True)

    assert Message.objects.get().pk == before.pk
    assert mailbox_of(user) == [("INBOX", "Before", 1)]


def test_the_table_does_not_grow_with_repetitions(user):
    for _ in range(20):
        tell(user)

    assert Message.objects.count() == 1


def test_the_number_of_statements_does_not_depend_on_that_of_the_users(user, other):
    found = []
    for count in (2, 20):
        people = [get_user_model().objects.create(username=f"{count}.{n}") for n in range(count)]
        tell(people)
        with CaptureQueriesContext(connection) as queries:
            tell(people)
        found.append([query["sql"].split()[0] for query in queries])

    assert found[0] == found[1]
    assert len([verb for verb in found[0] if verb not in {"SAVEPOINT", "RELEASE"}]) <= 7


# In a request


def test_a_request_renews_what_its_user_has(requested, user):
    tell(user, "Before")

    row = add_message(requested, WARNING, "After", key="quota")

    assert row.pk == Message.objects.get().pk
    assert row.times == 2


def test_a_page_that_had_read_the_one_before_shows_the_new_one_only(requested, user):
    tell(user, "Before")
    send_message(user, INFO, "Something else")
    requested._messages.load()

    add_message(requested, WARNING, "After", key="quota")

    assert [row.message for row in requested._messages] == ["Something else", "After"]


def test_a_key_needs_a_level_that_stays(requested, user):
    with pytest.raises(ValueError, match="key needs a persistent level, not 20"):
        add_message(requested, 20, "Hello", key="quota")
    with pytest.raises(ValueError, match="key needs a persistent level, not 20"):
        send_message(user, 20, "Hello", key="quota")


@pytest.mark.parametrize(
    ("key", "error", "said"),
    [
        ("k" * 101, ValueError, "key may have 100 characters at most, not 101"),
        (17, TypeError, "key must be a str, not 17"),
        ("a\0b", ValueError, "key must hold no control characters"),
    ],
)
def test_what_is_no_key_is_refused(user, key, error, said):
    with pytest.raises(error, match=said):
        tell(user, key=key)
    with pytest.raises(error, match=said):
        resolve(user, key)


def test_an_empty_key_is_none(user):
    tell(user, key="")
    tell(user, key="")

    assert mailbox_of(user) == [("INBOX", "Hello", 1)] * 2


# Within the interval


def test_within_the_interval_only_text_and_number_change(user):
    tell(user, "90 %")
    before = Message.objects.get()
    mailbox_module.mark_read(user, Folder.INBOX, Message.objects.all())
    send_message(user, INFO, "Something else")

    assert tell_again(user, "95 %", timedelta(hours=1)) == 1

    assert mailbox_of(user) == [("INBOX", "95 %", 2), ("INBOX", "Something else", 1)]
    after = Message.objects.get(pk=before.pk)
    assert (after.created, after.read) == (before.created, True)
    assert Message.objects.inbox_of(user).search(user, ["95"], 10, 100).messages == [after]


def test_within_the_interval_nothing_is_mailed_or_signalled(
    user, signals_of, django_capture_on_commit_callbacks
):
    tell(user)
    delivered = signals_of(messages_delivered)

    with django_capture_on_commit_callbacks(execute=True):
        tell_again(user, "Again", timedelta(hours=1))

    assert delivered == []
    assert mail.outbox == []


def test_after_the_interval_it_is_renewed(user, django_capture_on_commit_callbacks):
    tell(user)
    Message.objects.update(created=timezone.now() - timedelta(hours=2))
    before = Message.objects.get()

    with django_capture_on_commit_callbacks(execute=True):
        tell_again(user, "Again", timedelta(hours=1))

    assert Message.objects.get().pk > before.pk
    assert len(mail.outbox) == 1


def test_the_interval_is_that_of_each_user(user, other):
    tell([user, other])
    Message.objects.filter(user=other).update(created=timezone.now() - timedelta(hours=2))
    mailbox_module.mark_read(user, Folder.INBOX, Message.objects.all())
    mailbox_module.mark_read(other, Folder.INBOX, Message.objects.all())

    assert tell_again([user, other], "Again", timedelta(hours=1)) == 2

    assert mailbox_of(user) == mailbox_of(other) == [("INBOX", "Again", 2)]
    assert Message.objects.get(user=user).read
    assert not Message.objects.get(user=other).read


# Resolving


def test_what_is_resolved_is_in_no_inbox(user, other, requested):
    tell([user, other])
    tell(user, key="another")

    assert resolve([user, other], "quota") == 2

    assert [row.key for row in Message.objects.all()] == ["another"]
    assert Message.objects.count_unread_of(user, 99) == 1
    assert [row.key for row in requested._messages] == ["another"]


def test_only_those_users_are_resolved(user, other):
    tell([user, other])

    assert resolve(user, "quota") == 1
    assert resolve(user, "quota") == 0

    assert list(Message.objects.values_list("user", flat=True)) == [other.pk]


@pytest.mark.parametrize("put_away", [mailbox_module.archive, mailbox_module.delete])
def test_what_was_put_away_stays_and_no_undo_brings_it_back(user, put_away):
    tell(user)
    change = put_away(user, Folder.INBOX, Message.objects.all())

    assert resolve(user, "quota") == 0

    assert mailbox_module.undo(user, change) == 0
    ((folder, *_),) = mailbox_of(user)
    assert folder == change.target.name
    # Users can move it back; it is then a message like any other.
    mailbox_module.restore(user, change.target, Message.objects.all())
    assert mailbox_of(user) == [("INBOX", "Hello", 1)]
    tell(user, "New")
    assert len(mailbox_of(user)) == 2


def test_what_is_moved_in_the_same_step_can_still_be_taken_back(user):
    tell(user)
    send_message(user, INFO, "Something else")
    change = mailbox_module.archive(user, Folder.INBOX, Message.objects.all())

    resolve(user, "quota")

    assert mailbox_module.undo(user, change) == 1
    assert mailbox_of(user) == [("ARCHIVE", "Hello", 1), ("INBOX", "Something else", 1)]


def test_an_undo_of_reading_does_not_bring_back_what_was_resolved(user):
    tell(user)
    change = mailbox_module.mark_read(user, Folder.INBOX, Message.objects.all())
    resolve(user, "quota")

    assert mailbox_module.undo(user, change) == 0
    assert mailbox_of(user) == []


def test_who_had_it_hears_of_it(user, other, signals_of, django_capture_on_commit_callbacks):
    tell(user)
    changed = signals_of(mailbox_changed)

    with django_capture_on_commit_callbacks(execute=True):
        resolve([user, other], "quota")

    found = [(each["user_id"], each["action"], each["count"]) for each in changed]
    assert found == [(user.pk, "resolve", 1)]


def test_a_queryset_of_users_is_resolved_in_batches(user, other, monkeypatch):
    monkeypatch.setattr(keyed, "BATCH_SIZE", 1)
    tell([user, other])

    assert resolve(get_user_model().objects.all(), "quota") == 2
    assert not Message.objects.exists()


def test_there_is_nothing_to_resolve_without_a_key(user):
    with pytest.raises(ValueError, match="key must not be empty"):
        resolve(user, "")


# Actions of the owner


@pytest.mark.parametrize("put_away", [mailbox_module.archive, mailbox_module.delete])
def test_one_that_is_taken_back_is_the_one_in_the_inbox_again(user, put_away):
    tell(user)
    change = put_away(user, Folder.INBOX, Message.objects.all())
    mailbox_module.undo(user, change)

    tell(user, "Again")
    assert mailbox_of(user) == [("INBOX", "Again", 2)]
    assert resolve(user, "quota") == 1


def test_one_that_is_taken_back_beside_a_new_one_stays_until_the_next(user):
    tell(user, "Old")
    change = mailbox_module.archive(user, Folder.INBOX, Message.objects.all())
    tell(user, "New")

    assert mailbox_module.undo(user, change) == 1
    assert mailbox_of(user) == [("INBOX", "Old", 1), ("INBOX", "New", 1)]

    tell(user, "Newer")
    assert mailbox_of(user) == [("INBOX", "Newer", 2)]


def test_both_are_resolved(user):
    tell(user, "Old")
    change = mailbox_module.archive(user, Folder.INBOX, Message.objects.all())
    tell(user, "New")
    mailbox_module.undo(user, change)

    assert resolve(user, "quota") == 1
    assert mailbox_of(user) == []


def test_several_put_away_can_all_be_restored(user):
    for _ in range(3):
        tell(user)
        mailbox_module.archive(user, Folder.INBOX, Message.objects.filter(folder=Folder.INBOX))

    mailbox_module.restore(user, Folder.ARCHIVE, Message.objects.all())

    assert inbox(user).count() == 3


def test_one_that_a_site_moved_by_itself_is_no_longer_in_the_way(user):
    tell(user, "Old")
    Message.objects.update(folder=Folder.ARCHIVE)

    tell(user, "New")

    assert mailbox_of(user) == [("ARCHIVE", "Old", 1), ("INBOX", "New", 1)]


def test_one_that_is_answered_is_a_conversation_and_no_longer_renewed(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    tell(user, "Welcome", from_user=other)
    send_letter(user, None, "", "Thanks", reply_to=Message.objects.get())

    tell(user, "Welcome again", from_user=other)
    assert resolve(user, "quota") == 1

    assert [row[1] for row in mailbox_of(user)] == ["Welcome", "Thanks"]
