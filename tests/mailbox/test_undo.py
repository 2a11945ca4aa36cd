"""Undo: who may do it, for how long, and for exactly which rows."""

import time
from datetime import datetime, timedelta
from datetime import timezone as time_zones

import pytest
from django.core import signing
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext, freeze_time
from django.urls import reverse
from django.utils import timezone

import persistent_messages
from persistent_messages import mailbox
from persistent_messages.constants import Folder
from persistent_messages.inbox.filters import Filter
from persistent_messages.mailbox import Change, undo_tokens
from persistent_messages.models import Message

pytestmark = pytest.mark.django_db

# What can be undone: the write, the folder of its rows, and their folder afterwards.
ACTIONS = {
    "read": (mailbox.mark_read, Folder.INBOX, Folder.INBOX),
    "read in the archive": (mailbox.mark_read, Folder.ARCHIVE, Folder.ARCHIVE),
    "read in the trash": (mailbox.mark_read, Folder.TRASH, Folder.TRASH),
    "archive": (mailbox.archive, Folder.INBOX, Folder.ARCHIVE),
    "delete": (mailbox.delete, Folder.INBOX, Folder.TRASH),
    "delete from the archive": (mailbox.delete, Folder.ARCHIVE, Folder.TRASH),
    "delete what was sent": (mailbox.delete, Folder.SENT, Folder.TRASH),
}
DAY = 24 * 60 * 60


def rows_of(*messages):
    return Message.objects.filter(pk__in=[message.pk for message in messages])


def state():
    rows = Message.objects.order_by("pk")
    columns = ("pk", "folder", "read_at", "moved_at", "trashed_at", "user_id")
    return {row["pk"]: row for row in rows.values(*columns)}


def undo_by_token(user, change):
    """Undo `change` with its token, as the button does; return the number of rows."""
    return mailbox.undo(user, undo_tokens.read_token(user, undo_tokens.make_token(user, change)))


@pytest.fixture
def messages_in(send):
    """Create messages of Sally in a folder; return them."""

    def messages_in(folder=Folder.INBOX, count=3, **kwargs):
        sent = [send(f"Number {number}", **kwargs) for number in range(count)]
        trashed_at = timezone.now() if folder == Folder.TRASH else None
        rows_of(*sent).update(folder=folder, trashed_at=trashed_at)
        return list(rows_of(*sent).order_by("pk"))

    return messages_in


@pytest.fixture
def changes_signalled():
    """Record the arguments of `mailbox_changed`, in order."""
    heard = []

    def receive(sender, user_id, action, count, **kwargs):
        heard.append((user_id, action, count))

    persistent_messages.mailbox_changed.connect(receive)
    yield heard
    persistent_messages.mailbox_changed.disconnect(receive)


# The token


CHANGES = [
    Change("read", Folder.INBOX, datetime(2030, 1, 2, 3, 4, 5, 678901, time_zones.utc), 3),
    Change("read", Folder.TRASH, datetime(2030, 1, 2, 3, 4, 5, 0, time_zones.utc), 3),
    Change("move", Folder.INBOX, datetime(2030, 1, 2, tzinfo=time_zones.utc), 1, Folder.ARCHIVE),
    Change("move", Folder.SENT, datetime(2030, 1, 2, 3, 4, 5, 1, time_zones.utc), 9, Folder.TRASH),
]


@pytest.mark.parametrize("change", CHANGES)
def test_token_round_trips_change(user, change):
    back = undo_tokens.read_token(user, undo_tokens.make_token(user, change))
    assert (back.action, back.folder, back.at, back.target) == (
        change.action,
        change.folder,
        change.at,
        change.target,
    )
    assert type(back.folder) is Folder
    assert back.at.tzinfo == change.at.tzinfo


@pytest.mark.parametrize("change", CHANGES)
def test_token_fits_into_url(user, client, change):
    token = undo_tokens.make_token(user, change)
    assert client.get(reverse("message_undo", args=[token])).status_code == 200
    assert len(token) < 300


def test_token_takes_no_query(user, django_assert_num_queries):
    with django_assert_num_queries(0):
        undo_tokens.read_token(user, undo_tokens.make_token(user, CHANGES[0]))


def test_token_is_bound_to_user(user, other, messages_in):
    change = mailbox.mark_read(user, Folder.INBOX, rows_of(*messages_in()))
    assert undo_tokens.read_token(other, undo_tokens.make_token(user, change)) is None
    assert undo_tokens.read_token(user, undo_tokens.make_token(other, change)) is None


def test_modified_token_is_rejected(user):
    token = undo_tokens.make_token(user, CHANGES[0])
    payload, stamp, signature = token.split(":")
    other_payload, _, other_signature = undo_tokens.make_token(user, CHANGES[2]).split(":")
    forged = [
        "",
        ":",
        "::",
        "x",
        payload,
        f"{payload}:{stamp}",
        f"{other_payload}:{stamp}:{signature}",
        f"{payload}:{stamp}:{other_signature}",
        f"{payload}:zzzzzz:{signature}",
        f"{payload}:{stamp}:{signature}x",
        f".{token}",
        token[:-1] + ("a" if token[-1] != "a" else "b"),
        token.swapcase(),
        "\x00" + token,
        "ä" * 100,
        "a" * 100_000,
    ]
    assert [text for text in forged if undo_tokens.read_token(user, text) is not None] == []
    assert undo_tokens.read_token(user, token) is not None


def test_token_with_any_changed_character_is_rejected(user):
    token = undo_tokens.make_token(user, CHANGES[0])
    for place, letter in enumerate(token):
        changed = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        # The last character of a part has unused bits, but the signature covers it as text.
        assert undo_tokens.read_token(user, changed) is None, place


def test_token_signed_with_other_secret_key_is_rejected(user, settings):
    token = undo_tokens.make_token(user, CHANGES[0])
    settings.SECRET_KEY = "another"
    assert undo_tokens.read_token(user, token) is None


def test_token_with_other_salt_is_rejected(user):
    token = undo_tokens.make_token(user, CHANGES[0])
    values = signing.loads(token, salt=f"{undo_tokens.SALT}.{user.pk}")
    assert undo_tokens.read_token(user, signing.dumps(values)) is None
    assert undo_tokens.read_token(user, signing.dumps(values, salt="another")) is None
    assert undo_tokens.read_token(user, signing.dumps(values, salt=undo_tokens.SALT)) is None
    assert (
        undo_tokens.read_token(user, signing.dumps(values, salt=f"{undo_tokens.SALT}.{user.pk}"))
        is not None
    )


@pytest.mark.parametrize("payload", [None, 5, "", "abc", [], [1, 2], [1] * 9, {}])
def test_token_with_unknown_payload_is_rejected(user, payload):
    assert (
        undo_tokens.read_token(user, signing.dumps(payload, salt=f"{undo_tokens.SALT}.{user.pk}"))
        is None
    )


@pytest.mark.parametrize(("age", "holds"), [(0, True), (DAY - 60, True), (DAY + 60, False)])
def test_token_expires_after_one_day(user, age, holds):
    with freeze_time(time.time() - age):
        token = undo_tokens.make_token(user, CHANGES[0])
    assert (undo_tokens.read_token(user, token) is not None) is holds


def test_can_be_undone_requires_timestamped_effect(user, messages_in):
    def can(change):
        return change.can_be_undone

    rows = rows_of(*messages_in())
    assert can(mailbox.mark_read(user, Folder.INBOX, rows))
    assert not can(mailbox.mark_read(user, Folder.INBOX, rows)), "nothing was unread any more"
    assert not can(mailbox.mark_unread(user, Folder.INBOX, rows))
    assert can(mailbox.archive(user, Folder.INBOX, rows))
    assert not can(mailbox.archive(user, Folder.INBOX, rows))
    assert not can(mailbox.restore(user, Folder.ARCHIVE, rows))
    assert can(mailbox.delete(user, Folder.INBOX, rows))
    assert not can(mailbox.delete(user, Folder.TRASH, rows))
    assert not Message.objects.exists()


# What it undoes


@pytest.mark.parametrize("action", ACTIONS)
def test_undo_restores_previous_state(user, messages_in, action):
    write, folder, target = ACTIONS[action]
    touched = messages_in(folder)
    messages_in(folder)
    before = state()
    change = write(user, folder, rows_of(*touched))
    assert change.count == 3
    assert {row["folder"] for key, row in state().items() if key <= touched[-1].pk} == {target}
    assert undo_by_token(user, change) == 3
    assert state() == before


@pytest.mark.parametrize("action", ACTIONS)
def test_undo_takes_one_update(user, messages_in, action):
    write, folder, _ = ACTIONS[action]
    change = write(user, folder, rows_of(*messages_in(folder, 50)))
    with CaptureQueriesContext(connection) as queries:
        assert undo_by_token(user, change) == 50
    # One query checks whether there are letters, whose thread heads would be updated.
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "UPDATE"]


@pytest.mark.parametrize("action", ACTIONS)
def test_repeated_undo_does_nothing(user, messages_in, action):
    write, folder, _ = ACTIONS[action]
    change = write(user, folder, rows_of(*messages_in(folder)))
    assert undo_by_token(user, change) == 3
    before = state()
    assert undo_by_token(user, change) == 0
    assert state() == before


@pytest.mark.parametrize("action", ACTIONS)
def test_undo_of_first_change_does_not_undo_second(user, messages_in, action):
    write, folder, _ = ACTIONS[action]
    rows = rows_of(*messages_in(folder))
    first = write(user, folder, rows)
    assert undo_by_token(user, first) == 3
    second = write(user, folder, rows)
    assert second.at != first.at
    before = state()
    assert undo_by_token(user, first) == 0
    assert state() == before
    assert undo_by_token(user, second) == 3


@pytest.mark.parametrize("action", ACTIONS)
def test_undo_affects_only_rows_of_its_change(user, other, messages_in, action):
    """Messages that arrived or were changed in the same way before and after are left alone."""
    write, folder, _ = ACTIONS[action]
    earlier, touched, later = messages_in(folder), messages_in(folder), messages_in(folder)
    his = messages_in(folder, to=other)
    write(user, folder, rows_of(*earlier))
    between = state()
    change = write(user, folder, rows_of(*touched))
    write(user, folder, rows_of(*later))
    write(other, folder, rows_of(*his))
    arrived = messages_in(folder, 1)
    after = state()

    assert undo_by_token(user, change) == 3

    now = state()
    mine = {row.pk for row in touched}
    assert {key: row for key, row in now.items() if key in mine} == {
        key: row for key, row in between.items() if key in mine
    }
    assert {key: row for key, row in now.items() if key not in mine} == {
        key: row for key, row in after.items() if key not in mine
    }
    assert arrived[0].pk in now


@pytest.mark.parametrize("action", ACTIONS)
def test_undo_by_other_user_does_nothing(user, other, messages_in, action):
    write, folder, _ = ACTIONS[action]
    change = write(user, folder, rows_of(*messages_in(folder)))
    before = state()
    assert mailbox.undo(other, change) == 0
    assert mailbox.undo(None, change) == 0
    assert state() == before


def test_undo_ignores_rows_of_other_user_with_same_timestamp(user, other, messages_in):
    hers, his = messages_in(), messages_in(to=other)
    change = mailbox.mark_read(user, Folder.INBOX, rows_of(*hers))
    rows_of(*his).update(read_at=change.at)
    assert undo_by_token(user, change) == 3
    assert all(row.read for row in rows_of(*his))


@pytest.mark.parametrize("action", ACTIONS)
def test_undo_does_not_restore_permanently_deleted_rows(user, messages_in, action):
    write, folder, _ = ACTIONS[action]
    gone, *kept = messages_in(folder)
    change = write(user, folder, rows_of(gone, *kept))
    gone.delete()
    assert undo_by_token(user, change) == 2
    assert set(Message.objects.all()) == set(kept)


def test_undo_of_mark_read_keeps_earlier_read_rows(user, messages_in):
    old, new = messages_in(), messages_in()
    mailbox.mark_read(user, Folder.INBOX, rows_of(*old))
    before = state()
    everything = Filter().messages_of(user).up_to(new[-1].pk)
    change = mailbox.mark_read(user, Folder.INBOX, everything)
    assert change.count == 3
    assert undo_by_token(user, change) == 3
    assert state() == before
    assert set(Message.objects.unread()) == set(new)


def test_undo_of_mark_read_ignores_rows_moved_since(user, messages_in):
    moved, kept = messages_in(count=2)
    change = mailbox.mark_read(user, Folder.INBOX, rows_of(moved, kept))
    mailbox.archive(user, Folder.INBOX, rows_of(moved))
    assert undo_by_token(user, change) == 1
    assert set(Message.objects.unread()) == {kept}
    assert Message.objects.get(pk=moved.pk).folder == Folder.ARCHIVE


def test_undo_of_mark_read_ignores_rows_marked_again(user, messages_in):
    again, kept = messages_in(count=2)
    change = mailbox.mark_read(user, Folder.INBOX, rows_of(again, kept))
    mailbox.mark_unread(user, Folder.INBOX, rows_of(again))
    mailbox.mark_read(user, Folder.INBOX, rows_of(again))
    assert undo_by_token(user, change) == 1
    assert set(Message.objects.unread()) == {kept}


def test_undo_of_move_keeps_rows_read_since(user, messages_in):
    read, unread = messages_in(count=2)
    change = mailbox.archive(user, Folder.INBOX, rows_of(read, unread))
    mailbox.mark_read(user, Folder.ARCHIVE, rows_of(read))
    assert undo_by_token(user, change) == 2
    assert set(Message.objects.inbox_of(user)) == {read, unread}
    assert set(Message.objects.unread()) == {unread}


@pytest.mark.parametrize("write", [mailbox.archive, mailbox.delete])
def test_undo_of_move_ignores_rows_restored_since(user, messages_in, write):
    out, kept = messages_in(count=2)
    change = write(user, Folder.INBOX, rows_of(out, kept))
    mailbox.restore(user, change.target, rows_of(out))
    before = state()[out.pk]
    assert undo_by_token(user, change) == 1
    assert state()[out.pk] == before
    assert set(Message.objects.inbox_of(user)) == {out, kept}


def test_undo_of_archive_ignores_rows_deleted_since(user, messages_in):
    deleted, kept = messages_in(count=2)
    first = mailbox.archive(user, Folder.INBOX, rows_of(deleted, kept))
    second = mailbox.delete(user, Folder.ARCHIVE, rows_of(deleted))
    assert undo_by_token(user, first) == 1
    assert set(Message.objects.inbox_of(user)) == {kept}
    assert undo_by_token(user, second) == 1
    assert Message.objects.get(pk=deleted.pk).folder == Folder.ARCHIVE


def test_row_deleted_twice_is_restored_only_by_second_undo(user, messages_in):
    (row,) = messages_in(count=1)
    first = mailbox.delete(user, Folder.INBOX, rows_of(row))
    mailbox.restore(user, Folder.TRASH, rows_of(row))
    second = mailbox.delete(user, Folder.INBOX, rows_of(row))
    assert undo_by_token(user, first) == 0
    assert Message.objects.get().folder == Folder.TRASH
    assert undo_by_token(user, second) == 1
    assert Message.objects.get().folder == Folder.INBOX


def test_two_changes_can_be_undone_in_any_order(user, messages_in):
    for order in (slice(None), slice(None, None, -1)):
        Message.objects.all().delete()
        one, two = messages_in(count=2)
        before = state()
        changes = [mailbox.delete(user, Folder.INBOX, rows_of(row)) for row in (one, two)]
        assert [undo_by_token(user, change) for change in changes[order]] == [1, 1]
        assert state() == before


def test_undo_returns_sent_messages_to_sent_folder(user, messages_in):
    rows = messages_in(Folder.SENT)
    change = mailbox.delete(user, Folder.SENT, rows_of(*rows))
    assert undo_by_token(user, change) == 3
    assert {row["folder"] for row in state().values()} == {Folder.SENT}


def test_undo_restores_rows_expired_since(user, messages_in):
    change = mailbox.delete(user, Folder.INBOX, rows_of(*messages_in()))
    Message.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert undo_by_token(user, change) == 3
    assert not Message.objects.in_folder(Folder.TRASH).exists()


@pytest.mark.parametrize("action", ["unread", "restore", "delete", "undo", "", "nonsense"])
def test_undo_of_irreversible_action_does_nothing(
    user, messages_in, action, django_assert_num_queries
):
    messages_in()
    before = state()
    change = Change(action, Folder.INBOX, timezone.now(), 3, Folder.TRASH)
    with django_assert_num_queries(0):
        assert mailbox.undo(user, change) == 0
    assert state() == before


def test_undo_without_target_or_matching_time_does_nothing(user, messages_in):
    """A move without a target, or at a time when nothing was moved."""
    messages_in()
    before = state()
    assert mailbox.undo(user, Change("move", Folder.INBOX, timezone.now(), 3)) == 0
    assert mailbox.undo(user, Change("move", Folder.TRASH, timezone.now(), 3, Folder.INBOX)) == 0
    assert mailbox.undo(user, Change("read", Folder.INBOX, timezone.now(), 3)) == 0
    assert state() == before


# Signals


@pytest.mark.parametrize("action", ACTIONS)
def test_undo_sends_signal_after_commit_only_if_effective(
    user, messages_in, action, changes_signalled, django_capture_on_commit_callbacks
):
    write, folder, _ = ACTIONS[action]
    change = write(user, folder, rows_of(*messages_in(folder)))
    with django_capture_on_commit_callbacks(execute=True):
        undo_by_token(user, change)
        undo_by_token(user, change)
        assert changes_signalled == []
    assert changes_signalled == [(user.pk, "undo", 3)]


def test_rolled_back_undo_sends_no_signal(
    user, messages_in, changes_signalled, django_capture_on_commit_callbacks
):
    change = mailbox.delete(user, Folder.INBOX, rows_of(*messages_in()))
    before = state()
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        undo_by_token(user, change)
        transaction.set_rollback(True)
    assert changes_signalled == []
    assert state() == before


# The button


@pytest.mark.parametrize("name", ["message_mark_read", "message_archive", "message_delete"])
def test_result_message_links_to_undo(user, client, send, name):
    row = send("Hello")
    before = state()
    client.post(reverse(name, args=[row.pk]))
    assert state() != before
    said = Message.objects.one_shot_of(user).get()
    token = said.url.split("/")[-2]
    assert undo_tokens.read_token(user, token) is not None

    assert client.get(said.url).status_code == 200
    assert state()[row.pk] != before[row.pk], "asking changes nothing"
    assert client.post(said.url).status_code == 302
    assert state()[row.pk] == before[row.pk]


@pytest.mark.parametrize("asks", ["get", "post"])
def test_forged_or_foreign_undo_url_is_rejected(user, other, client, messages_in, asks):
    rows = messages_in()
    his = messages_in(to=other)
    forged = undo_tokens.make_token(user, mailbox.delete(user, Folder.INBOX, rows_of(*rows)))[:-1]
    theirs = undo_tokens.make_token(other, mailbox.delete(other, Folder.INBOX, rows_of(*his)))
    with freeze_time(time.time() - DAY - 60):
        late = undo_tokens.make_token(user, CHANGES[0])
    before = state()
    for token in (forged, theirs, late, "x"):
        response = getattr(client, asks)(reverse("message_undo", args=[token]))
        assert response.status_code == 400
    assert state() == before
