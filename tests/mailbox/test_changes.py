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


def act(action, user, keys):
    """Run a change on the rows with these keys, in a folder where it has an effect."""
    return act_on(action, user, Message.objects.filter(pk__in=keys))


def act_on(action, user, messages):
    write, folder, _ = WRITES[action]
    return write(user, folder, messages)


def rows_of(*messages):
    return Message.objects.filter(pk__in=[message.pk for message in messages])


def all_of(user, newest):
    """Return the messages in the inbox up to `newest`."""
    return Filter().messages_of(user).up_to(newest.pk)


@pytest.fixture
def told():
    """Record the arguments of `mailbox_changed`, in order."""
    heard = []

    def receive(sender, user_id, action, count, **kwargs):
        assert sender is Message
        heard.append((user_id, action, count))

    persistent_messages.mailbox_changed.connect(receive)
    yield heard
    persistent_messages.mailbox_changed.disconnect(receive)


@pytest.fixture
def delivered():
    """Record the arguments of `messages_delivered`: the keys, and whether to mail the rows."""
    heard = []

    def receive(sender, messages, email, **kwargs):
        assert sender is Message
        heard.append(([message.pk for message in messages], email))

    persistent_messages.messages_delivered.connect(receive)
    yield heard
    persistent_messages.messages_delivered.disconnect(receive)


@pytest.fixture
def ready(user, send):
    """Create rows that a write changes; return their keys."""

    def ready(action, count=3, to=None):
        keys = [send(f"Number {number}", to=to).pk for number in range(count)]
        rows = Message.objects.filter(pk__in=keys)
        if action == "unread":
            rows.update(read_at=timezone.now())
        if WRITES[action][1] == Folder.TRASH:
            now = timezone.now()
            rows.update(folder=Folder.TRASH, moved_at=now, trashed_at=now)
        return keys

    return ready


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


def test_delivery_chooses_the_folder_by_the_level(user):
    mailbox.deliver([Message(user=user, level=level, message="x") for level in (20, 120, 100, 199)])
    folders = Message.objects.order_by("pk").values_list("level", "folder")
    assert list(folders) == [
        (20, Folder.ONE_SHOT),
        (120, Folder.INBOX),
        (100, Folder.ONE_SHOT),
        (199, Folder.INBOX),
    ]


@pytest.mark.parametrize("count", [1, 2, 20])
def test_delivery_is_one_statement(user, count):
    rows = [Message(user=user, level=120, message="x") for _ in range(count)]
    with CaptureQueriesContext(connection) as queries:
        mailbox.deliver(rows)
    assert statements(queries) == ["INSERT"]
    assert all(row.pk for row in rows)
    assert Message.objects.count() == count


def test_delivery_of_nothing_is_nothing(delivered, django_capture_on_commit_callbacks):
    with (
        django_capture_on_commit_callbacks(execute=True),
        CaptureQueriesContext(connection) as queries,
    ):
        mailbox.deliver([])
    assert len(queries) == 0
    assert delivered == []


@pytest.mark.parametrize("email", [False, True])
def test_delivery_is_told_after_commit(user, delivered, email, django_capture_on_commit_callbacks):
    rows = [Message(user=user, level=120, message="x") for _ in range(2)]
    with django_capture_on_commit_callbacks(execute=True):
        mailbox.deliver(rows, email=email)
        assert delivered == []
    assert delivered == [([row.pk for row in rows], email)]


def test_a_delivery_that_is_rolled_back_is_not_told(
    user, delivered, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        mailbox.deliver([Message(user=user, level=120, message="x")])
        transaction.set_rollback(True)
    assert delivered == []
    assert not Message.objects.exists()


def test_a_receiver_that_raises_stops_no_other(
    user, delivered, caplog, django_capture_on_commit_callbacks
):
    def broken(**kwargs):
        raise RuntimeError("receiver is down")

    persistent_messages.messages_delivered.connect(broken)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            mailbox.deliver([Message(user=user, level=120, message="x")])
    finally:
        persistent_messages.messages_delivered.disconnect(broken)
    assert len(delivered) == 1
    assert "receiver is down" in caplog.text


# Rules for all actions: read, unread, archive, trash, restore, delete


@pytest.mark.parametrize("action", WRITES)
def test_a_write_changes_the_rows_named_and_no_others(user, ready, action):
    keys = ready(action)
    before = {row["pk"]: row for row in state()}
    assert act(action, user, keys[:2]).count == 2
    after = {row["pk"]: row for row in state()}
    assert after[keys[2]] == before[keys[2]]
    assert all(after.get(key) != before[key] for key in keys[:2])


@pytest.mark.parametrize("action", WRITES)
def test_a_write_changes_only_the_owners_rows(
    user, other, ready, action, told, django_capture_on_commit_callbacks
):
    keys = ready(action, to=other)
    before = state()
    with django_capture_on_commit_callbacks(execute=True):
        assert act(action, user, keys).count == 0
        assert act_on(action, user, Message.objects.all()).count == 0
    assert state() == before
    assert told == []


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize("who", [AnonymousUser(), None])
def test_a_write_for_nobody_changes_nothing(ready, action, who, django_assert_num_queries):
    keys = ready(action)
    before = state()
    with django_assert_num_queries(0):
        assert act(action, who, keys).count == 0
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_an_empty_selection_is_nothing(user, ready, action, django_assert_num_queries):
    """An empty selection must not mean all messages."""
    ready(action)
    before = state()
    with django_assert_num_queries(0):
        assert act(action, user, []).count == 0
        assert act_on(action, user, Message.objects.none()).count == 0
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_what_is_meant_must_be_said(user, ready, action):
    """An empty selection must not mean all messages."""
    ready(action)
    before = state()
    write, folder, _ = WRITES[action]
    with pytest.raises(TypeError, match="messages"):
        write(user, folder)
    with pytest.raises(TypeError, match="folder"):
        write(user, messages=Message.objects.all())
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_unknown_keys_are_no_error(user, ready, action):
    [key] = ready(action, 1)
    assert act(action, user, [key, key + 1000]).count == 1
    assert act(action, user, [key + 1000]).count == 0


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize("count", [1, 50])
def test_a_write_is_one_statement_once_it_is_known_what_it_moves(user, ready, action, count):
    keys = ready(action, count)
    with CaptureQueriesContext(connection) as queries:
        assert act(action, user, keys).count == count
    looking = ["SELECT"] if WRITES[action][0] in MOVES else []
    assert statements(queries) == [*looking, "DELETE" if action == "delete" else "UPDATE"]


@pytest.mark.parametrize("action", WRITES)
def test_a_write_sorts_nothing(user, ready, action):
    keys = ready(action)
    with CaptureQueriesContext(connection) as queries:
        act_on(action, user, Message.objects.filter(pk__in=keys).newest_first())
    assert "ORDER BY" not in queries[0]["sql"]


@pytest.mark.parametrize("action", WRITES)
def test_doing_it_twice_is_no_error_and_counts_nothing(user, ready, action):
    keys = ready(action)
    assert act(action, user, keys).count == 3
    before = state()
    assert act(action, user, keys).count == 0
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_the_owner_may_be_given_by_key(user, ready, action):
    assert act(action, user.pk, ready(action)).count == 3


@pytest.mark.parametrize("action", WRITES)
def test_a_write_is_told_after_commit(
    user, ready, action, told, django_capture_on_commit_callbacks
):
    keys = ready(action)
    with django_capture_on_commit_callbacks(execute=True):
        act(action, user, keys)
        assert told == []
    assert told == [(user.pk, WRITES[action][2], 3)]


@pytest.mark.parametrize("action", WRITES)
def test_a_write_that_is_rolled_back_is_not_told(
    user, ready, action, told, django_capture_on_commit_callbacks
):
    keys = ready(action)
    before = state()
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        act(action, user, keys)
        transaction.set_rollback(True)
    assert told == []
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_a_write_that_changed_nothing_is_not_told(
    user, ready, action, told, django_capture_on_commit_callbacks
):
    keys = ready(action)
    with django_capture_on_commit_callbacks(execute=True):
        act(action, user, [])
        act(action, user, [keys[-1] + 1000])
    assert told == []


@pytest.mark.parametrize("action", WRITES)
def test_a_write_leaves_other_folders(user, ready, action):
    """Rows that were moved in the meantime, for example in another tab, are left alone."""
    others = [folder for folder in Folder if folder != WRITES[action][1]]
    keys = ready(action, len(others))
    for key, folder in zip(keys, others, strict=True):
        Message.objects.filter(pk=key).update(folder=folder)
    before = state()
    assert act(action, user, keys).count == 0
    assert state() == before


@pytest.mark.parametrize("action", WRITES)
def test_a_write_says_what_it_did(user, ready, action):
    keys = ready(action)
    before = timezone.now()
    change = act(action, user, keys)
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
def test_what_lies_in_any_folder_is_marked_there(user, send, folder):
    row = send()
    rows_of(row).update(folder=folder)
    assert mailbox.mark_read(user, folder, rows_of(row)).count == 1
    assert Message.objects.get().read
    assert mailbox.mark_unread(user, folder, rows_of(row)).count == 1
    assert not Message.objects.get().read
    assert Message.objects.get().folder == folder


@pytest.mark.parametrize("folder", [folder for folder in Folder if folder != Folder.INBOX])
def test_only_the_inbox_is_archived(user, send, folder, django_assert_num_queries):
    row = send()
    rows_of(row).update(folder=folder)
    before = state()
    with django_assert_num_queries(0):
        assert mailbox.archive(user, folder, rows_of(row)).count == 0
    assert state() == before


@pytest.mark.parametrize("folder", [Folder.ARCHIVE, Folder.TRASH])
def test_what_was_put_away_comes_back_as_it_was(user, send, folder):
    row, read_at = send(), timezone.now()
    rows_of(row).update(read_at=read_at)
    before = state()
    act("archive" if folder == Folder.ARCHIVE else "trash", user, [row.pk])
    assert state() != before
    assert mailbox.restore(user, folder, rows_of(row)).count == 1
    assert state() == before


@pytest.mark.parametrize("folder", [Folder.ONE_SHOT, Folder.INBOX, Folder.SENT])
def test_what_was_not_put_away_does_not_come_back(user, send, folder, django_assert_num_queries):
    row = send()
    rows_of(row).update(folder=folder)
    before = state()
    with django_assert_num_queries(0):
        assert mailbox.restore(user, folder, rows_of(row)).count == 0
    assert state() == before


def test_a_copy_of_what_was_sent_comes_back_among_the_sent(user, other, send):
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
def test_what_is_deleted_goes_to_the_trash_first_and_from_there_for_good(
    user, send, folder, told, django_capture_on_commit_callbacks
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
    assert told == [(user.pk, "move", 1), (user.pk, "delete", 1)]


def test_what_waits_to_be_shown_once_goes_for_good(user, send):
    """Restored from the trash, it would be in the inbox, where nobody could close it."""
    gone, kept = send("Gone", 20), send("Kept", 20)
    change = mailbox.delete(user, Folder.ONE_SHOT, rows_of(gone))
    assert (change.action, change.count, change.target) == ("delete", 1, None)
    assert not change.can_be_undone
    assert list(Message.objects.all()) == [kept]
    assert mailbox.restore(user, Folder.TRASH, rows_of(gone, kept)).count == 0
    assert not Message.objects.inbox_of(user).exists()


# Each action


def test_the_first_time_of_reading_stays(user, send):
    """A check followed by `save()` would overwrite `read_at` in a race."""
    row = send()
    act("read", user, [row.pk])
    first = Message.objects.get().read_at
    act("read", user, [row.pk])
    act_on("read", user, all_of(user, row))
    assert Message.objects.get().read_at == first


def test_the_time_of_reading_is_now(user, send):
    """The default of `read_at` must not be evaluated at import."""
    row = send()
    before = timezone.now()
    change = act("read", user, [row.pk])
    read_at = Message.objects.get().read_at
    assert before <= read_at <= timezone.now()
    assert change.at == read_at


def test_marking_counts_only_what_was_unread(user, ready, told, django_capture_on_commit_callbacks):
    keys = ready("read")
    with django_capture_on_commit_callbacks(execute=True):
        assert act("read", user, keys[:1]).count == 1
        assert act("read", user, keys).count == 2
    assert told == [(user.pk, "read", 1), (user.pk, "read", 2)]


def test_a_message_may_become_unread_again(user, send):
    row = send()
    act("read", user, [row.pk])
    assert act("unread", user, [row.pk]).count == 1
    assert Message.objects.get().read_at is None


@pytest.mark.parametrize(
    ("action", "folder"), [("archive", Folder.ARCHIVE), ("trash", Folder.TRASH)]
)
def test_what_moves_keeps_its_state_and_has_its_time(user, send, action, folder):
    row = send()
    act("read", user, [row.pk])
    read_at = Message.objects.get().read_at
    before = timezone.now()
    change = act(action, user, [row.pk])
    row = Message.objects.get()
    assert (row.folder, row.read_at) == (folder, read_at)
    assert before <= row.moved_at <= timezone.now()
    assert change.at == row.moved_at
    assert row.trashed_at == (row.moved_at if folder == Folder.TRASH else None)


def test_what_goes_from_the_archive_to_the_trash_lies_there_from_then_on(user, send):
    row = send()
    act("archive", user, [row.pk])
    age(rows_of(row), days=90)
    mailbox.delete(user, Folder.ARCHIVE, rows_of(row))
    assert prune_all() == {"expired": 0, "trash": 0}
    assert list(Message.objects.in_folder(Folder.TRASH)) == [row]


# All of a list


@pytest.mark.parametrize("action", OF_ALL)
def test_all_means_what_was_there_up_to_the_newest(user, other, send, action):
    """Messages that arrive in the meantime stay as they are."""
    seen = [send("One"), send("Two")]
    later = send("Meanwhile")
    send("Harry's", to=other)
    before = {row["pk"]: row for row in state()}
    with CaptureQueriesContext(connection) as queries:
        assert act_on(action, user, all_of(user, seen[-1])).count == 2
    assert statements(queries)[-1:] == ["UPDATE"]
    assert len(queries) <= 2
    after = {row["pk"]: row for row in state()}
    changed = {key for key in before if after[key] != before[key]}
    assert changed == {row.pk for row in seen}
    assert later.pk not in changed


@pytest.mark.parametrize("action", OF_ALL)
def test_all_is_told_once(user, send, action, told, django_capture_on_commit_callbacks):
    newest = [send(f"Number {number}") for number in range(5)][-1]
    with django_capture_on_commit_callbacks(execute=True):
        act_on(action, user, all_of(user, newest))
        act_on(action, user, all_of(user, newest))
    assert told == [(user.pk, WRITES[action][2], 5)]


@pytest.mark.parametrize("action", OF_ALL)
def test_all_leaves_what_has_expired(user, send, action):
    row = send("Late", expires=timezone.now() - timedelta(seconds=1))
    before = state()
    assert act_on(action, user, all_of(user, row)).count == 0
    assert state() == before


@pytest.mark.parametrize("action", OF_ALL)
def test_all_for_nobody_is_nothing(send, action):
    row = send()
    before = state()
    assert act_on(action, AnonymousUser(), all_of(AnonymousUser(), row)).count == 0
    assert state() == before


@pytest.mark.parametrize("action", OF_ALL)
def test_all_of_another_is_nothing(user, other, send, action):
    row = send(to=other)
    before = state()
    assert act_on(action, user, all_of(other, row)).count == 0
    assert state() == before


@pytest.mark.parametrize("action", OF_ALL)
def test_all_of_one_level_is_no_other(user, send, action):
    row, error = send("Hello"), send("Down", persistent_messages.ERROR)
    before = state()
    messages = Filter(level="error").messages_of(user).up_to(error.pk)
    assert act_on(action, user, messages).count == 1
    assert state()[0] == before[0]
    assert state()[1] != before[1]
    assert before[0]["pk"] == row.pk


# One-shot messages


def test_shown_rows_are_removed_by_key(user, other, send):
    """Rows that arrive in the meantime are not removed."""
    shown, later = send("Shown", 20), send("Later", 20)
    kept, foreign = send("Kept"), send("His", 20, to=other)
    with CaptureQueriesContext(connection) as queries:
        mailbox.remove_one_shots(user, [shown.pk, kept.pk, foreign.pk])
    assert statements(queries) == ["DELETE"]
    assert set(Message.objects.all()) == {later, kept, foreign}


def test_removing_nothing_is_no_statement(user, send):
    send("Waits", 20)
    with CaptureQueriesContext(connection) as queries:
        mailbox.remove_one_shots(user, [])
    assert len(queries) == 0
    assert Message.objects.count() == 1


# Pruning


def prune_all(days=30):
    reasons = pruning.prunable(days)
    return {reason: sum(pruning.prune(reasons[reason])) for reason in ("expired", "trash")}


def test_pruning_removes_expired_messages_of_any_folder(user, other, send):
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


def test_pruning_removes_what_lay_long_in_the_trash(user, send):
    old, new, inbox = send("Old"), send("New"), send("Inbox")
    act("trash", user, [old.pk, new.pk])
    age(Message.objects.filter(pk=old.pk), days=30, minutes=1)
    age(Message.objects.filter(pk=new.pk), days=29, hours=23)
    assert prune_all(30) == {"expired": 0, "trash": 1}
    assert set(Message.objects.all()) == {new, inbox}


@pytest.mark.parametrize("back", ["restore", "undo"])
def test_what_came_back_from_the_trash_is_not_pruned(user, send, back):
    row, gone = send("Back"), send("Gone")
    change = act("trash", user, [row.pk])
    act("trash", user, [gone.pk])
    if back == "undo":
        assert mailbox.undo(user, change) == 1
    else:
        assert mailbox.restore(user, Folder.TRASH, rows_of(row)).count == 1
    row.refresh_from_db()
    assert (row.folder, row.moved_at, row.trashed_at) == (Folder.INBOX, None, None)
    assert prune_all(days=-1) == {"expired": 0, "trash": 1}
    assert list(Message.objects.all()) == [row]


def test_what_left_the_trash_is_not_pruned(user, send):
    row = send()
    act("trash", user, [row.pk])
    age(Message.objects.all(), days=90)
    Message.objects.update(folder=Folder.INBOX)  # by the site itself, and no more
    assert prune_all() == {"expired": 0, "trash": 0}


@pytest.mark.parametrize("folder", [folder for folder in Folder if folder != Folder.TRASH])
def test_what_lies_long_elsewhere_is_not_pruned(user, send, folder):
    row = send()
    rows_of(row).update(folder=folder, moved_at=timezone.now() - timedelta(days=90))
    assert prune_all() == {"expired": 0, "trash": 0}
    assert Message.objects.get() == row


def test_pruning_goes_in_batches(user, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH_SIZE", 10)
    past = timezone.now() - timedelta(days=1)
    Message.objects.bulk_create(
        Message(user=user, level=120, message="Late", expires=past) for _ in range(25)
    )
    with CaptureQueriesContext(connection) as queries:
        assert list(pruning.prune(pruning.prunable(30)["expired"])) == [10, 10, 5]
    assert statements(queries) == ["SELECT", "DELETE"] * 3 + ["SELECT"]
    assert not Message.objects.exists()


def test_pruning_begins_each_batch_where_the_last_one_ended(user, monkeypatch):
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


def test_pruning_may_be_stopped_and_goes_on_where_it_was(user, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH_SIZE", 10)
    past = timezone.now() - timedelta(days=1)
    Message.objects.bulk_create(
        Message(user=user, level=120, message="Late", expires=past) for _ in range(25)
    )
    assert next(pruning.prune(pruning.prunable(30)["expired"])) == 10
    assert Message.objects.count() == 15
    assert prune_all() == {"expired": 15, "trash": 0}


def test_looking_for_what_may_go_removes_nothing(user, send, django_assert_num_queries):
    send("Late", expires=timezone.now() - timedelta(days=1))
    with django_assert_num_queries(0):
        found = pruning.prunable(30)
    assert {reason: rows.count() for reason, rows in found.items()} == {
        "expired": 1,
        "trash": 0,
        "tombstones": 0,
    }
    assert Message.objects.count() == 1
