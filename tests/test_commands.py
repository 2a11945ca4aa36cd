"""The management commands."""

import json
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.contrib import messages as contrib_messages
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.safestring import mark_safe

from persistent_messages import (
    INFO,
    Folder,
    Topic,
    mailbox,
    prune_messages,
    send_letter,
    send_message,
)
from persistent_messages.letters import policy, reports
from persistent_messages.mailbox import pruning
from persistent_messages.models import Block, DueMail, Message, Report
from persistent_messages.preferences import choices
from persistent_messages.topics import topics


def run(name, *arguments, **options):
    out = StringIO()
    call_command(name, *arguments, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def fill(user):
    """Create rows that were trashed, or have expired, some days ago."""

    def fill(text, count=1, *, trashed=None, expired=None, **fields):
        now = timezone.now()
        if trashed is not None:
            fields |= {"folder": Folder.TRASH, "trashed_at": now - timedelta(days=trashed)}
        if expired is not None:
            fields["expires"] = now - timedelta(days=expired)
        fields = {"user": user, "level": 120, "folder": Folder.INBOX, "message": text, **fields}
        Message.objects.bulk_create(Message(**fields) for _ in range(count))

    return fill


def left():
    return sorted(Message.objects.values_list("message", flat=True))


def test_prune_removes_expired_and_old_trashed_messages_only(fill):
    fill("kept")
    fill("kept: will expire", expired=-1)
    fill("kept: not long in the trash", trashed=29)
    fill("kept: passing", folder=Folder.ONE_SHOT, level=contrib_messages.INFO)
    fill("gone: expired", expired=1)
    fill("gone: passing and expired", expired=1, folder=Folder.ONE_SHOT, level=20)
    fill("gone: long in the trash", trashed=31)
    fill("gone: both", trashed=31, expired=1)

    out = run("prune_messages")

    assert left() == [
        "kept",
        "kept: not long in the trash",
        "kept: passing",
        "kept: will expire",
    ]
    assert out.splitlines() == [
        "expired: 3 removed",
        "trash: 1 removed",
        "tombstones: 0 removed",
        "unsent mail: 0 removed",
        "receipts: 0 removed",
    ]


def test_dry_run_counts_and_removes_nothing(fill):
    fill("expired", 2, expired=1)
    fill("trash", 3, trashed=31)
    fill("both", 4, trashed=31, expired=1)

    before = left()
    with CaptureQueriesContext(connection) as queries:
        out = run("prune_messages", "--dry-run")

    assert out.splitlines() == [
        "expired: 6 would be removed",
        "trash: 3 would be removed",
        "tombstones: 0 would be removed",
        "unsent mail: 0 would be removed",
        "receipts: 0 would be removed",
    ]
    assert left() == before
    assert not [query for query in queries if query["sql"].startswith("DELETE")]
    assert run("prune_messages").splitlines() == [
        "expired: 6 removed",
        "trash: 3 removed",
        "tombstones: 0 removed",
        "unsent mail: 0 removed",
        "receipts: 0 removed",
    ]


def test_read_older_than_removes_messages_read_before(fill, user, other):
    def read(text, days, **fields):
        then = timezone.now() - timedelta(days=days)
        fill(text, read_at=then, created=then - timedelta(days=1), **fields)

    read("kept: read lately", 29)
    read("kept: archived", 31, folder=Folder.ARCHIVE)
    read("kept: sent", 31, folder=Folder.SENT)
    read("gone: read", 31)
    read("gone: of another user", 31, user=other)
    fill("kept: unread", created=timezone.now() - timedelta(days=400))
    assert "read" not in run("prune_messages", "--dry-run")

    counted = run("prune_messages", "--dry-run", "--read-older-than", "30").splitlines()
    assert counted[-1] == "read: 2 would be removed"
    assert run("prune_messages", "--read-older-than", "30").splitlines()[-1] == "read: 2 removed"

    assert left() == ["kept: archived", "kept: read lately", "kept: sent", "kept: unread"]


def test_read_older_than_keeps_unread_letters_of_conversation(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    first = send_letter(other, user, "Lunch?", "At noon.")
    Message.objects.filter(user=user).update(read_at=timezone.now() - timedelta(days=31))
    send_letter(other, None, "", "At one.", first)

    assert prune_messages(read_older_than=30) == 1

    (head,) = Message.objects.inbox_of(user).unread_thread_heads()
    assert head.message == "At one."


@pytest.fixture
def make_due_mail(user, monkeypatch):
    """Create mail that has been due for some days."""
    monkeypatch.setitem(topics, "news", Topic("news", "News", mail="unread"))

    def make_due_mail(days, to=None, **fields):
        send_message(to or user, INFO, f"{days} days", topic="news")
        due = timezone.now() - timedelta(days)
        DueMail.objects.filter(pk=DueMail.objects.latest("pk").pk).update(due=due, **fields)

    return make_due_mail


def days_due():
    """Return how many days mail has been due."""
    return sorted((timezone.now() - row.due).days for row in DueMail.objects.all())


def test_prune_removes_long_overdue_mail(make_due_mail, user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    for days in (-1, 0, 29, 31, 400):
        make_due_mail(days)
    make_due_mail(31, other)
    send_letter(other, user, "Lunch?", "At noon.")
    DueMail.objects.filter(thread__isnull=False).update(due=timezone.now() - timedelta(31))
    assert "unsent mail: 4 would be removed" in run("prune_messages", "--dry-run")

    assert "unsent mail: 4 removed" in run("prune_messages")

    assert days_due() == [-1, 0, 29]
    assert Message.objects.exclude(folder=Folder.SENT).count() == 7  # all are still in the inbox
    assert prune_messages() == 0


@pytest.mark.parametrize("claim", [None, uuid4()])
def test_prune_makes_mail_with_date_far_ahead_due(make_due_mail, other, claim):
    """Mail that a killed process with a wrong clock has claimed is sent in the end."""
    make_due_mail(-3650, claim=claim)
    make_due_mail(-7)
    make_due_mail(-100, other)
    choices.pause([other.pk], timezone.now() + timedelta(100))

    run("prune_messages", "--dry-run")
    assert days_due() == [-3650, -100, -7]
    run("prune_messages")

    assert days_due() == [-100, -7, 0]


def test_negative_days_are_rejected(db):
    with pytest.raises(CommandError, match="0 or more"):
        run("prune_messages", "--read-older-than", "-1")
    with pytest.raises(ValueError, match="read_older_than"):
        prune_messages(read_older_than=-1)


@pytest.mark.parametrize("days", ["30", True, 1.5])
def test_days_that_are_no_whole_number_are_rejected(db, days):
    with pytest.raises(ValueError, match="read_older_than"):
        prune_messages(read_older_than=days)


@pytest.mark.parametrize("days", [1_000_000, 10**12])
def test_any_number_of_days_is_accepted(fill, settings, days):
    settings.PERSISTENT_MESSAGES = {"TRASH_DAYS": days}
    fill("Read", 2, read_at=timezone.now())

    assert run("prune_messages", "--read-older-than", str(days)).endswith("read: 0 removed\n")

    assert Message.objects.count() == 2


def test_prune_messages_function_removes_same_rows(fill):
    fill("expired", 2, expired=1)
    fill("trash", 3, trashed=31)
    fill("kept")

    assert prune_messages() == 5

    assert left() == ["kept"]


def test_mailbox_is_exported_and_erased_by_username(user, send):
    send("Hello")

    (line,) = run("export_mailbox", "sally").splitlines()
    assert json.loads(line)["message"] == "Hello"
    assert run("erase_mailbox", "sally", "--no-input") == "1 erased\n"

    assert left() == []


def test_erase_requires_confirmation(user, send, monkeypatch):
    send("Hello")
    monkeypatch.setattr("builtins.input", lambda question: "y")

    with pytest.raises(CommandError, match="Nothing was erased"):
        run("erase_mailbox", "sally")

    assert left() == ["Hello"]


@pytest.mark.parametrize("command", ["export_mailbox", "erase_mailbox"])
def test_unknown_username_is_error(db, command):
    with pytest.raises(CommandError, match="no user named 'nobody'"):
        run(command, "nobody")


def test_prune_reports_zero_for_empty_tables(db):
    assert run("prune_messages").splitlines() == [
        "expired: 0 removed",
        "trash: 0 removed",
        "tombstones: 0 removed",
        "unsent mail: 0 removed",
        "receipts: 0 removed",
    ]


def test_repeated_prune_removes_nothing(fill):
    fill("expired", 5, expired=1)
    run("prune_messages")

    assert run("prune_messages").splitlines() == [
        "expired: 0 removed",
        "trash: 0 removed",
        "tombstones: 0 removed",
        "unsent mail: 0 removed",
        "receipts: 0 removed",
    ]


def test_trash_days_setting_is_used(fill, settings):
    settings.PERSISTENT_MESSAGES = {"TRASH_DAYS": 2}
    fill("kept", trashed=1)
    fill("gone", trashed=3)

    run("prune_messages")

    assert left() == ["kept"]


def test_invalid_setting_stops_prune_before_deletion(fill, settings):
    settings.PERSISTENT_MESSAGES = {"TRASH_DAYS": 0}
    fill("expired", expired=1)

    with pytest.raises(ImproperlyConfigured, match="TRASH_DAYS"):
        run("prune_messages")

    assert left() == ["expired"]


def test_prune_deletes_in_batches(fill):
    count = 2 * pruning.BATCH_SIZE + 1
    fill("expired", count, expired=1)

    with CaptureQueriesContext(connection) as queries:
        out = run("prune_messages", verbosity=2)

    assert left() == []
    assert out.splitlines() == [
        f"expired: {pruning.BATCH_SIZE} so far",
        f"expired: {2 * pruning.BATCH_SIZE} so far",
        f"expired: {count} so far",
        f"expired: {count} removed",
        "trash: 0 removed",
        "tombstones: 0 removed",
        "unsent mail: 0 removed",
        "receipts: 0 removed",
    ]
    deletes = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    assert len(deletes) >= 3
    # No statement takes more than a batch.
    assert max(sql.count(",") for sql in deletes) < pruning.BATCH_SIZE


@pytest.mark.django_db(transaction=True)
def test_interrupted_prune_keeps_finished_batches(fill):
    fill("expired", pruning.BATCH_SIZE + 1, expired=1)

    batches = pruning.prune(pruning.prunable(30)["expired"])
    assert next(batches) == pruning.BATCH_SIZE
    assert not connection.in_atomic_block
    batches.close()

    assert left() == ["expired"]
    assert run("prune_messages", verbosity=0) == ""
    assert left() == []


def test_prune_keeps_message_restored_during_run(user, fill):
    fill("back in the inbox", 2, trashed=31)
    chosen = pruning.prunable(30)["trash"]
    assert len(chosen) == 2
    mailbox.restore(user, Folder.TRASH, Message.objects.all())

    assert list(pruning.prune(chosen)) == []
    assert left() == ["back in the inbox"] * 2


@pytest.mark.parametrize(("verbosity", "lines"), [(0, 0), (1, 5), (2, 6)])
def test_output_follows_verbosity(fill, verbosity, lines):
    fill("expired", expired=1)

    assert len(run("prune_messages", verbosity=verbosity).splitlines()) == lines


def test_dry_run_with_verbosity_0_prints_nothing(fill):
    fill("expired", expired=1)

    assert run("prune_messages", "--dry-run", verbosity=0) == ""
    assert left() == ["expired"]


# tests/test_partitions.py tests it, on databases with partitions.
REFUSALS = {
    "sqlite3": "SQLite has no partitions",
    # The driver is only installed for tests on that database.
    **({"mysql": "cannot have foreign keys"} if connection.vendor == "mysql" else {}),
}


@pytest.mark.parametrize("engine", REFUSALS)
def test_partition_command_rejects_unsupported_database(monkeypatch, engine):
    elsewhere = {**connection.settings_dict, "ENGINE": f"django.db.backends.{engine}"}
    monkeypatch.setitem(connections.settings, engine, elsewhere)

    with pytest.raises(CommandError, match=REFUSALS[engine]):
        run("partition_messages", database=engine)


# Unseen one-shot messages


@pytest.mark.parametrize("at_a_time", [1, 2, 500])
def test_unseen_one_shot_messages_are_pruned_after_90_days(
    fill, user, other, monkeypatch, at_a_time
):
    monkeypatch.setattr(pruning, "MAILBOX_BATCH_SIZE", at_a_time)
    now = timezone.now()
    old, young = now - timedelta(days=91), now - timedelta(days=89)
    for owner in (user, other):
        fill("gone", 2, user=owner, folder=Folder.ONE_SHOT, level=20, created=old)
        fill("kept", user=owner, folder=Folder.ONE_SHOT, level=20, created=young)
        fill("kept: persistent", user=owner, created=old)
    fill("gone", folder=Folder.ONE_SHOT, level=20, created=old, expired=1)

    dry = run("prune_messages", "--dry-run").splitlines()

    assert dry[0] == "expired: 5 would be removed"
    assert run("prune_messages").splitlines()[0] == "expired: 5 removed"
    assert left() == ["kept", "kept", "kept: persistent", "kept: persistent"]
    assert run("prune_messages").splitlines()[0] == "expired: 0 removed"


def test_unseen_one_shot_messages_are_pruned_in_batches(fill, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH_SIZE", 3)
    old = timezone.now() - timedelta(days=91)
    fill("gone", 7, folder=Folder.ONE_SHOT, level=20, created=old)

    out = run("prune_messages", verbosity=2).splitlines()

    assert out[:4] == [
        "expired: 3 so far",
        "expired: 6 so far",
        "expired: 7 so far",
        "expired: 7 removed",
    ]
    assert left() == []


# Dumps


@pytest.mark.parametrize(
    "odd", ["", "\x1b[31m", "a\x00b\x0bc\x0cd\x1fe", "\ufffe\uffff", "\ud800", "]]>&<\t\n"]
)
def test_xml_dump_can_be_loaded(user, other, tmp_path, odd):
    text = f"Hello{odd} there"
    user.first_name, user.last_name = "Sal\x0cly", "Ride\x1b"
    send_message(user, INFO, text, subject=text, extra_tags=text, from_user=user)
    send_message(user, INFO, mark_safe(f"<b>{text}</b>"))
    sent = send_letter(user, other, text, text)
    received = Message.objects.get(user=other, letter=sent.letter)
    reports.report(other, received, text)
    policy.block(other, user)
    models = (Message, Block, Report)
    before = [list(model.objects.order_by("pk").values()) for model in models]
    dump = tmp_path / "dump.xml"

    run("dumpdata", "persistent_messages", format="xml", output=str(dump), verbosity=0)
    for model in models:
        model.objects.all().delete()
    run("loaddata", str(dump), verbosity=0)

    assert [list(model.objects.order_by("pk").values()) for model in models] == before


@pytest.mark.parametrize("url", ["/a\x0bb", "\x1f/", "/a\ufffe"])
def test_url_with_control_characters_is_rejected(user, url):
    with pytest.raises(ValueError, match="url must hold no control characters"):
        send_message(user, INFO, "Hello", url=url)
