"""Changes of rows: which rows, how many statements, and which signals."""

from dataclasses import FrozenInstanceError
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import persistent_messages
from persistent_messages import mailbox
from persistent_messages.constants import Folder
from persistent_messages.inbox.filters import Filter
from persistent_messages.mailbox import pruning
from persistent_messages.models import Message

pytestmark = pytest.mark.django_db

# Each write, the folder of its rows, and its name in the signal.
WRITES = {
    "read": (mailbox.mark_read, Folder.INBOX, "read"),
    "unread": (mailbox.mark_unread, Folder.INBOX, "unread"),
    "archive": (mailbox.archive, Folder.INBOX, "move"),
    "trash": (mailbox.delete, Folder.INBOX, "move"),
    "restore": (mailbox.restore, Folder.TRASH, "restore"),
    "delete": (mailbox.delete, Folder.TRASH, "delete"),
}
UPDATES = [action for action in WRITES if action != "delete"]
# These first check whether there are letters among the rows.
MOVES = {mailbox.archive, mailbox.delete, mailbox.restore}
# The actions of a page on its whole list.
OF_ALL = ["read", "trash"]


def change_keys(action, user, keys):
    """Run a change on the rows with these keys, in a folder where it has an effect."""
    return change_rows(action, user, Message.objects.filter(pk__in=keys))


def change_rows(action, user, messages):
    write, folder, _ = WRITES[action]
    return write(user, folder, messages)


def rows_of(*messages):
    return Message.objects.filter(pk__in=[message.pk for message in messages])


def all_of(user, newest):
    """Return the messages in the inbox up to `newest`."""
    return Filter().messages_of(user).up_to(newest.pk)


@pytest.fixture
def changes_signalled():
    """Record the arguments of `mailbox_changed`, in order."""
    heard = []

    def receive(sender, user_id, action, count, **kwargs):
        assert sender is Message
        heard.append((user_id, action, count))

    persistent_messages.mailbox_changed.connect(receive)
    yield heard
    persistent_messages.mailbox_changed.disconnect(receive)


@pytest.fixture
def deliveries_signalled():
    """Record the arguments of `messages_delivered`: the keys, and whether to mail the rows."""
    heard = []

    def receive(sender, messages, email, **kwargs):
        assert sender is Message
        heard.append(([message.pk for message in messages], email))

    persistent_messages.messages_delivered.connect(receive)
    yield heard
    persistent_messages.messages_delivered.disconnect(receive)


@pytest.fixture
def make_changeable(user, send):
    """Create rows that a write changes; return their keys."""

    def make_changeable(action, count=3, to=None):
        keys = [send(f"Number {number}", to=to).pk for number in range(count)]
        rows = Message.objects.filter(pk__in=keys)
        if action == "unread":
            rows.update(read_at=timezone.now())
        if WRITES[action][1] == Folder.TRASH:
            now = timezone.now()
            rows.update(folder=Folder.TRASH, moved_at=now, trashed_at=now)
        return keys

    return make_changeable


def state():
    columns = ("pk", "folder", "read_at", "moved_at", "trashed_at")
    return list(Message.objects.order_by("pk").values(*columns))


def statements(queries):
    return [row["sql"].split()[0] for row in queries]


def age(rows, **delta):
    long_ago = timezone.now() - timedelta(**delta)
    rows.update(moved_at=long_ago)
    rows.exclude(trashed_at=None).update(trashed_at=long_ago)


# Arrivals


def test_deliver_chooses_folder_by_level(user):
    mailbox.deliver([Message(user=user, level=level, message="x") for level in (20, 120, 100, 199)])
    folders = Message.objects.order_by("pk").values_list("level", "folder")
    assert list(folders) == [
        (20, Folder.ONE_SHOT),
        (120, Folder.INBOX),
        (100, Folder.ONE_SHOT),
        (199, Folder.INBOX),
    ]


@pytest.mark.parametrize("count", [1, 2, 20])
def test_deliver_takes_one_insert(user, count):
    rows = [Message(user=user, level=120, message="x") for _ in range(count)]
    with CaptureQueriesContext(connection) as queries:
        mailbox.deliver(rows)
    assert statements(queries) == ["INSERT"]
    assert all(row.pk for row in rows)
    assert Message.objects.count() == count


def test_deliver_without_rows_does_nothing(
    deliveries_signalled, django_capture_on_commit_callbacks
):
    with (
        django_capture_on_commit_callbacks(execute=True),
        CaptureQueriesContext(connection) as queries,
    ):
        mailbox.deliver([])
    assert len(queries) == 0
    assert deliveries_signalled == []


@pytest.mark.parametrize("email", [False, True])
def test_deliver_sends_signal_after_commit(
    user, deliveries_signalled, email, django_capture_on_commit_callbacks
):
    rows = [Message(user=user, level=120, message="x") for _ in range(2)]
    with django_capture_on_commit_callbacks(execute=True):
        mailbox.deliver(rows, email=email)
        assert deliveries_signalled == []
    assert deliveries_signalled == [([row.pk for row in rows], email)]


def test_rolled_back_delivery_sends_no_signal(
    user, deliveries_signalled, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        mailbox.deliver([Message(user=user, level=120, message="x")])
        transaction.set_rollback(True)
    assert deliveries_signalled == []
    assert not Message.objects.exists()


def test_failing_receiver_does_not_stop_other_receivers(
    user, deliveries_signalled, caplog, django_capture_on_commit_callbacks
):
    def broken(**kwargs):
        raise RuntimeError("receiver is down")

    persistent_messages.messages_delivered.connect(broken)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            mailbox.deliver([Message(user=user, level=120, message="x")])
    finally:
        persistent_messages.messages_delivered.disconnect(broken)
    assert len(deliveries_signalled) == 1
    assert "receiver is down" in caplog.text


# Rules for all actions: read, unread, archive, trash, restore, delete


@pytest.mark.parametrize("action", WRITES)
def test_change_affects_only_given_rows(user, make_changeable, action):
    keys = make_changeable(action)
    before = {row["pk"]: row for row in state()}
    assert change_keys(action, user, keys[:2]).count == 2
    after = {row["pk"]: row for row in state()}
    assert after[keys[2]] == before[keys[2]]
    assert all(after.get(key) != before[key] for key in keys[:2])


@pytest.mark.parametrize("action", WRITES)
def test_change_affects_only_rows_of_owner(
    user, other, make_changeable, action, changes_signalled, django_capture_on_commit_callbacks
):
    keys = make_changeable(action, to=other)
    before = state()
    with django_capture_on_commit_callbacks(execute=True):
        assert change_keys(action, user, keys).count == 0
        assert change_rows(action, user, Message.objects.all()).count == 0
    assert state() == before
    assert changes_signalled == []


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize("who", [AnonymousUser(), None])
def test_change_without_user_does_nothing(make_changeable, action, who, django_assert_num_queries):
    keys = make_changeable(action)
    before = state()
    with django_assert_num_queries(0):
        assert change_keys(action, who, keys).count == 0
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_empty_selection_changes_nothing(user, make_changeable, action, django_assert_num_queries):
    """An empty selection must not mean all messages."""
    make_changeable(action)
    before = state()
    with django_assert_num_queries(0):
        assert change_keys(action, user, []).count == 0
        assert change_rows(action, user, Message.objects.none()).count == 0
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_change_requires_folder_and_messages(user, make_changeable, action):
    """An empty selection must not mean all messages."""
    make_changeable(action)
    before = state()
    write, folder, _ = WRITES[action]
    with pytest.raises(TypeError, match="messages"):
        write(user, folder)
    with pytest.raises(TypeError, match="folder"):
        write(user, messages=Message.objects.all())
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_unknown_keys_are_ignored(user, make_changeable, action):
    [key] = make_changeable(action, 1)
    assert change_keys(action, user, [key, key + 1000]).count == 1
    assert change_keys(action, user, [key + 1000]).count == 0


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize("count", [1, 50])
def test_change_takes_one_write_statement(user, make_changeable, action, count):
    keys = make_changeable(action, count)
    with CaptureQueriesContext(connection) as queries:
        assert change_keys(action, user, keys).count == count
    looking = ["SELECT"] if WRITES[action][0] in MOVES else []
    assert statements(queries) == [*looking, "DELETE" if action == "delete" else "UPDATE"]


@pytest.mark.parametrize("action", WRITES)
def test_change_does_not_sort(user, make_changeable, action):
    keys = make_changeable(action)
    with CaptureQueriesContext(connection) as queries:
        change_rows(action, user, Message.objects.filter(pk__in=keys).newest_first())
    assert "ORDER BY" not in queries[0]["sql"]


@pytest.mark.parametrize("action", WRITES)
def test_repeated_change_counts_nothing(user, make_changeable, action):
    keys = make_changeable(action)
    assert change_keys(action, user, keys).count == 3
    before = state()
    assert change_keys(action, user, keys).count == 0
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_owner_may_be_primary_key(user, make_changeable, action):
    assert change_keys(action, user.pk, make_changeable(action)).count == 3


@pytest.mark.parametrize("action", WRITES)
def test_change_sends_signal_after_commit(
    user, make_changeable, action, changes_signalled, django_capture_on_commit_callbacks
):
    keys = make_changeable(action)
    with django_capture_on_commit_callbacks(execute=True):
        change_keys(action, user, keys)
        assert changes_signalled == []
    assert changes_signalled == [(user.pk, WRITES[action][2], 3)]


@pytest.mark.parametrize("action", WRITES)
def test_rolled_back_change_sends_no_signal(
    user, make_changeable, action, changes_signalled, django_capture_on_commit_callbacks
):
    keys = make_changeable(action)
    before = state()
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        change_keys(action, user, keys)
        transaction.set_rollback(True)
    assert changes_signalled == []
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_change_without_effect_sends_no_signal(
    user, make_changeable, action, changes_signalled, django_capture_on_commit_callbacks
):
    keys = make_changeable(action)
    with django_capture_on_commit_callbacks(execute=True):
        change_keys(action, user, [])
        change_keys(action, user, [keys[-1] + 1000])
    assert changes_signalled == []


@pytest.mark.parametrize("action", WRITES)
def test_change_ignores_rows_in_other_folders(user, make_changeable, action):
    """Rows that were moved in the meantime, for example in another tab, are left alone."""
    others = [folder for folder in Folder if folder != WRITES[action][1]]
    keys = make_changeable(action, len(others))
    for key, folder in zip(keys, others, strict=True):
        Message.objects.filter(pk=key).update(folder=folder)
    before = state()
    assert change_keys(action, user, keys).count == 0
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_change_is_described_by_return_value(user, make_changeable, action):
    keys = make_changeable(action)
    before = timezone.now()
    change = change_keys(action, user, keys)
    targets = {"archive": Folder.ARCHIVE, "trash": Folder.TRASH}
    assert (change.action, change.folder, change.count, change.target) == (
        WRITES[action][2],
        WRITES[action][1],
        3,
        targets.get(action),
    )
    assert before <= change.at <= timezone.now()
    with pytest.raises(FrozenInstanceError):
        change.count = 4


# Folders in which each action has an effect


@pytest.mark.parametrize("folder", [Folder.INBOX, Folder.SENT, Folder.ARCHIVE, Folder.TRASH])
def test_message_is_marked_in_any_folder(user, send, folder):
    row = send()
    rows_of(row).update(folder=folder)
    assert mailbox.mark_read(user, folder, rows_of(row)).count == 1
    assert Message.objects.get().read
    assert mailbox.mark_unread(user, folder, rows_of(row)).count == 1
    assert not Message.objects.get().read
    assert Message.objects.get().folder == folder


@pytest.mark.parametrize("folder", [folder for folder in Folder if folder != Folder.INBOX])
def test_only_inbox_messages_are_archived(user, send, folder, django_assert_num_queries):
    row = send()
    rows_of(row).update(folder=folder)
    before = state()
    with django_assert_num_queries(0):
        assert mailbox.archive(user, folder, rows_of(row)).count == 0
    assert state() == before


@pytest.mark.parametrize("folder", [Folder.ARCHIVE, Folder.TRASH])
def test_restored_message_has_previous_state(user, send, folder):
    row, read_at = send(), timezone.now()
    rows_of(row).update(read_at=read_at)
    before = state()
    change_keys("archive" if folder == Folder.ARCHIVE else "trash", user, [row.pk])
    assert state() != before
    assert mailbox.restore(user, folder, rows_of(row)).count == 1
    assert state() == before


@pytest.mark.parametrize("folder", [Folder.ONE_SHOT, Folder.INBOX, Folder.SENT])
def test_restore_ignores_one_shot_inbox_and_sent_messages(
    user, send, folder, django_assert_num_queries
):
    row = send()
    rows_of(row).update(folder=folder)
    before = state()
    with django_assert_num_queries(0):
        assert mailbox.restore(user, folder, rows_of(row)).count == 0
    assert state() == before


def test_sent_copy_is_restored_to_sent_folder(user, other, send):
    copy, letter = send("To Harry"), send("From Harry", from_user=other)
    rows_of(copy).update(folder=Folder.SENT, from_user=user, letter=uuid4())
    for row, folder in ((copy, Folder.SENT), (letter, Folder.INBOX)):
        assert mailbox.delete(user, folder, rows_of(row)).target == Folder.TRASH
    other.delete()
    assert mailbox.restore(user, Folder.TRASH, rows_of(copy, letter)).count == 2
    assert dict(Message.objects.values_list("message", "folder")) == {
        "To Harry": Folder.SENT,
        "From Harry": Folder.INBOX,
    }


@pytest.mark.parametrize("folder", [Folder.INBOX, Folder.SENT, Folder.ARCHIVE])
def test_delete_moves_to_trash_and_deletes_permanently_from_there(
    user, send, folder, changes_signalled, django_capture_on_commit_callbacks
):
    gone, kept = send("Gone"), send("Kept")
    Message.objects.update(folder=folder)
    with django_capture_on_commit_callbacks(execute=True):
        first = mailbox.delete(user, folder, rows_of(gone))
        assert Message.objects.get(pk=gone.pk).folder == Folder.TRASH
        second = mailbox.delete(user, Folder.TRASH, rows_of(gone, kept))
    assert (first.action, second.action) == ("move", "delete")
    assert (first.target, second.target) == (Folder.TRASH, None)
    assert list(Message.objects.all()) == [kept]
    assert changes_signalled == [(user.pk, "move", 1), (user.pk, "delete", 1)]


def test_one_shot_message_is_deleted_permanently(user, send):
    """Restored from the trash, it would be in the inbox, where nobody could close it."""
    gone, kept = send("Gone", 20), send("Kept", 20)
    change = mailbox.delete(user, Folder.ONE_SHOT, rows_of(gone))
    assert (change.action, change.count, change.target) == ("delete", 1, None)
    assert not change.can_be_undone
    assert list(Message.objects.all()) == [kept]
    assert mailbox.restore(user, Folder.TRASH, rows_of(gone, kept)).count == 0
    assert not Message.objects.inbox_of(user).exists()


# Each action


def test_mark_read_keeps_first_read_at(user, send):
    """A check followed by `save()` would overwrite `read_at` in a race."""
    row = send()
    change_keys("read", user, [row.pk])
    first = Message.objects.get().read_at
    change_keys("read", user, [row.pk])
    change_rows("read", user, all_of(user, row))
    assert Message.objects.get().read_at == first


def test_mark_read_sets_read_at_to_now(user, send):
    """The default of `read_at` must not be evaluated at import."""
    row = send()
    before = timezone.now()
    change = change_keys("read", user, [row.pk])
    read_at = Message.objects.get().read_at
    assert before <= read_at <= timezone.now()
    assert change.at == read_at


def test_mark_read_counts_only_unread_messages(
    user, make_changeable, changes_signalled, django_capture_on_commit_callbacks
):
    keys = make_changeable("read")
    with django_capture_on_commit_callbacks(execute=True):
        assert change_keys("read", user, keys[:1]).count == 1
        assert change_keys("read", user, keys).count == 2
    assert changes_signalled == [(user.pk, "read", 1), (user.pk, "read", 2)]


def test_mark_unread_clears_read_at(user, send):
    row = send()
    change_keys("read", user, [row.pk])
    assert change_keys("unread", user, [row.pk]).count == 1
    assert Message.objects.get().read_at is None


@pytest.mark.parametrize(
    ("action", "folder"), [("archive", Folder.ARCHIVE), ("trash", Folder.TRASH)]
)
def test_move_keeps_read_at_and_sets_moved_at(user, send, action, folder):
    row = send()
    change_keys("read", user, [row.pk])
    read_at = Message.objects.get().read_at
    before = timezone.now()
    change = change_keys(action, user, [row.pk])
    row = Message.objects.get()
    assert (row.folder, row.read_at) == (folder, read_at)
    assert before <= row.moved_at <= timezone.now()
    assert change.at == row.moved_at
    assert row.trashed_at == (row.moved_at if folder == Folder.TRASH else None)


def test_trashed_at_starts_when_archived_message_is_trashed(user, send):
    row = send()
    change_keys("archive", user, [row.pk])
    age(rows_of(row), days=90)
    mailbox.delete(user, Folder.ARCHIVE, rows_of(row))
    assert prune_all() == {"expired": 0, "trash": 0}
    assert list(Message.objects.in_folder(Folder.TRASH)) == [row]


# All of a list


@pytest.mark.parametrize("action", OF_ALL)
def test_change_of_all_ignores_messages_newer_than_newest(user, other, send, action):
    """Messages that arrive in the meantime stay as they are."""
    seen = [send("One"), send("Two")]
    later = send("Meanwhile")
    send("Harry's", to=other)
    before = {row["pk"]: row for row in state()}
    with CaptureQueriesContext(connection) as queries:
        assert change_rows(action, user, all_of(user, seen[-1])).count == 2
    assert statements(queries)[-1:] == ["UPDATE"]
    assert len(queries) <= 2
    after = {row["pk"]: row for row in state()}
    changed = {key for key in before if after[key] != before[key]}
    assert changed == {row.pk for row in seen}
    assert later.pk not in changed


@pytest.mark.parametrize("action", OF_ALL)
def test_change_of_all_sends_one_signal(
    user, send, action, changes_signalled, django_capture_on_commit_callbacks
):
    newest = [send(f"Number {number}") for number in range(5)][-1]
    with django_capture_on_commit_callbacks(execute=True):
        change_rows(action, user, all_of(user, newest))
        change_rows(action, user, all_of(user, newest))
    assert changes_signalled == [(user.pk, WRITES[action][2], 5)]


@pytest.mark.parametrize("action", OF_ALL)
def test_change_of_all_ignores_expired_messages(user, send, action):
    row = send("Late", expires=timezone.now() - timedelta(seconds=1))
    before = state()
    assert change_rows(action, user, all_of(user, row)).count == 0
    assert state() == before


@pytest.mark.parametrize("action", OF_ALL)
def test_change_of_all_for_visitor_does_nothing(send, action):
    row = send()
    before = state()
    assert change_rows(action, AnonymousUser(), all_of(AnonymousUser(), row)).count == 0
    assert state() == before


@pytest.mark.parametrize("action", OF_ALL)
def test_change_of_all_ignores_messages_of_other_user(user, other, send, action):
    row = send(to=other)
    before = state()
    assert change_rows(action, user, all_of(other, row)).count == 0
    assert state() == before


@pytest.mark.parametrize("action", OF_ALL)
def test_change_of_all_in_level_ignores_other_levels(user, send, action):
    row, error = send("Hello"), send("Down", persistent_messages.ERROR)
    before = state()
    messages = Filter(level="error").messages_of(user).up_to(error.pk)
    assert change_rows(action, user, messages).count == 1
    assert state()[0] == before[0]
    assert state()[1] != before[1]
    assert before[0]["pk"] == row.pk


# One-shot messages


def test_shown_one_shot_rows_are_removed_by_key(user, other, send):
    """Rows that arrive in the meantime are not removed."""
    shown, later = send("Shown", 20), send("Later", 20)
    kept, foreign = send("Kept"), send("His", 20, to=other)
    with CaptureQueriesContext(connection) as queries:
        mailbox.remove_one_shots(user, [shown.pk, kept.pk, foreign.pk])
    assert statements(queries) == ["DELETE"]
    assert set(Message.objects.all()) == {later, kept, foreign}


def test_removing_no_rows_takes_no_statement(user, send):
    send("Waits", 20)
    with CaptureQueriesContext(connection) as queries:
        mailbox.remove_one_shots(user, [])
    assert len(queries) == 0
    assert Message.objects.count() == 1


# Pruning


def prune_all(days=30):
    reasons = pruning.prunable(days)
    return {reason: sum(pruning.prune(reasons[reason])) for reason in ("expired", "trash")}


def test_prune_removes_expired_messages_of_any_folder(user, other, send):
    past, future = timezone.now() - timedelta(days=1), timezone.now() + timedelta(days=1)
    send("Late", expires=past)
    send("Late once", 20, expires=past)
    send("Late, his", to=other, expires=past)
    trashed = send("Late in the trash", expires=past)
    Message.objects.filter(pk=trashed.pk).update(
        folder=Folder.TRASH, trashed_at=timezone.now() - timedelta(days=90)
    )
    kept = {send("Current"), send("Soon", expires=future), send("Once", 20)}
    assert prune_all() == {"expired": 4, "trash": 0}
    assert set(Message.objects.all()) == kept


def test_prune_removes_old_messages_from_trash(user, send):
    old, new, inbox = send("Old"), send("New"), send("Inbox")
    change_keys("trash", user, [old.pk, new.pk])
    age(Message.objects.filter(pk=old.pk), days=30, minutes=1)
    age(Message.objects.filter(pk=new.pk), days=29, hours=23)
    assert prune_all(30) == {"expired": 0, "trash": 1}
    assert set(Message.objects.all()) == {new, inbox}


@pytest.mark.parametrize("back", ["restore", "undo"])
def test_prune_keeps_message_restored_from_trash(user, send, back):
    row, gone = send("Back"), send("Gone")
    change = change_keys("trash", user, [row.pk])
    change_keys("trash", user, [gone.pk])
    if back == "undo":
        assert mailbox.undo(user, change) == 1
    else:
        assert mailbox.restore(user, Folder.TRASH, rows_of(row)).count == 1
    row.refresh_from_db()
    assert (row.folder, row.moved_at, row.trashed_at) == (Folder.INBOX, None, None)
    assert prune_all(days=-1) == {"expired": 0, "trash": 1}
    assert list(Message.objects.all()) == [row]


def test_prune_keeps_message_moved_out_of_trash(user, send):
    row = send()
    change_keys("trash", user, [row.pk])
    age(Message.objects.all(), days=90)
    Message.objects.update(folder=Folder.INBOX)  # by the site itself, and no more
    assert prune_all() == {"expired": 0, "trash": 0}


@pytest.mark.parametrize("folder", [folder for folder in Folder if folder != Folder.TRASH])
def test_prune_keeps_old_messages_in_other_folders(user, send, folder):
    row = send()
    rows_of(row).update(folder=folder, moved_at=timezone.now() - timedelta(days=90))
    assert prune_all() == {"expired": 0, "trash": 0}
    assert Message.objects.get() == row


def test_prune_works_in_batches(user, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH_SIZE", 10)
    past = timezone.now() - timedelta(days=1)
    Message.objects.bulk_create(
        Message(user=user, level=120, message="Late", expires=past) for _ in range(25)
    )
    with CaptureQueriesContext(connection) as queries:
        assert list(pruning.prune(pruning.prunable(30)["expired"])) == [10, 10, 5]
    assert statements(queries) == ["SELECT", "DELETE"] * 3 + ["SELECT"]
    assert not Message.objects.exists()


def test_prune_starts_each_batch_at_last_deleted_key(user, monkeypatch):
    """Deleted rows stay in the index for a while, and scanning them again takes ever longer."""
    monkeypatch.setattr(pruning, "BATCH_SIZE", 10)
    past = timezone.now() - timedelta(days=1)
    Message.objects.bulk_create(
        Message(user=user, level=120, message="Late", expires=past + timedelta(hours=number % 5))
        for number in range(25)
    )
    with CaptureQueriesContext(connection) as queries:
        assert list(pruning.prune(pruning.prunable(30)["expired"])) == [10, 10, 5]
    looks = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert [">=" in sql for sql in looks] == [False, True, True, True]
    assert not Message.objects.exists()


def test_prune_can_be_interrupted_and_resumed(user, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH_SIZE", 10)
    past = timezone.now() - timedelta(days=1)
    Message.objects.bulk_create(
        Message(user=user, level=120, message="Late", expires=past) for _ in range(25)
    )
    assert next(pruning.prune(pruning.prunable(30)["expired"])) == 10
    assert Message.objects.count() == 15
    assert prune_all() == {"expired": 15, "trash": 0}


def test_prunable_removes_nothing(user, send, django_assert_num_queries):
    send("Late", expires=timezone.now() - timedelta(days=1))
    with django_assert_num_queries(0):
        found = pruning.prunable(30)
    assert {reason: rows.count() for reason, rows in found.items()} == {
        "expired": 1,
        "trash": 0,
        "tombstones": 0,
    }
    assert Message.objects.count() == 1
