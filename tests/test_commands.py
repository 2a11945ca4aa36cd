"""`prune_messages` removes what nobody can see any more; `fill_demo` fills the demo once."""

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib import messages as contrib_messages
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from persistent_messages import Folder, mailbox, pruning
from persistent_messages.models import Message


def run(name, *arguments, **options):
    out = StringIO()
    call_command(name, *arguments, stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def fill(user):
    """Rows of Sally's, so many days ago in the trash, or expired that long ago."""

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


def test_what_is_expired_or_long_in_the_trash_goes_and_the_rest_stays(fill):
    """Promise: a gap to close: a view or command that clears expired messages."""
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
    assert out.splitlines() == ["expired: 3 removed", "trash: 1 removed", "spent: 0 removed"]


def test_a_dry_run_counts_the_same_and_removes_nothing(fill):
    fill("expired", 2, expired=1)
    fill("trash", 3, trashed=31)
    fill("both", 4, trashed=31, expired=1)

    before = left()
    with CaptureQueriesContext(connection) as queries:
        out = run("prune_messages", "--dry-run")

    assert out.splitlines() == [
        "expired: 6 would be removed",
        "trash: 3 would be removed",
        "spent: 0 would be removed",
    ]
    assert left() == before
    assert not [query for query in queries if query["sql"].startswith("DELETE")]
    assert run("prune_messages").splitlines() == [
        "expired: 6 removed",
        "trash: 3 removed",
        "spent: 0 removed",
    ]


def test_there_may_be_nothing_to_remove(db):
    assert run("prune_messages").splitlines() == [
        "expired: 0 removed",
        "trash: 0 removed",
        "spent: 0 removed",
    ]


def test_running_it_again_removes_nothing_more(fill):
    fill("expired", 5, expired=1)
    run("prune_messages")

    assert run("prune_messages").splitlines() == [
        "expired: 0 removed",
        "trash: 0 removed",
        "spent: 0 removed",
    ]


def test_the_site_says_how_long_the_trash_is_kept(fill, settings):
    settings.PERSISTENT_MESSAGES = {"TRASH_DAYS": 2}
    fill("kept", trashed=1)
    fill("gone", trashed=3)

    run("prune_messages")

    assert left() == ["kept"]


def test_a_wrong_setting_stops_it_before_it_removes_anything(fill, settings):
    settings.PERSISTENT_MESSAGES = {"TRASH_DAYS": 0}
    fill("expired", expired=1)

    with pytest.raises(ImproperlyConfigured, match="TRASH_DAYS"):
        run("prune_messages")

    assert left() == ["expired"]


def test_it_removes_in_batches(fill):
    count = 2 * pruning.BATCH + 1
    fill("expired", count, expired=1)

    with CaptureQueriesContext(connection) as queries:
        out = run("prune_messages", verbosity=2)

    assert left() == []
    assert out.splitlines() == [
        f"expired: {pruning.BATCH} so far",
        f"expired: {2 * pruning.BATCH} so far",
        f"expired: {count} so far",
        f"expired: {count} removed",
        "trash: 0 removed",
        "spent: 0 removed",
    ]
    deletes = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    assert len(deletes) >= 3
    # No statement takes more than a batch.
    assert max(sql.count(",") for sql in deletes) < pruning.BATCH


@pytest.mark.django_db(transaction=True)
def test_it_can_be_stopped_and_what_went_before_is_gone_for_good(fill):
    fill("expired", pruning.BATCH + 1, expired=1)

    batches = pruning.prune(pruning.prunable(30)["expired"])
    assert next(batches) == pruning.BATCH
    assert not connection.in_atomic_block
    batches.close()

    assert left() == ["expired"]
    assert run("prune_messages", verbosity=0) == ""
    assert left() == []


def test_a_message_that_somebody_takes_out_of_the_trash_meanwhile_stays(user, fill):
    fill("back in the inbox", 2, trashed=31)
    chosen = pruning.prunable(30)["trash"]
    assert len(chosen) == 2
    mailbox.restore(user, Folder.TRASH, Message.objects.all())

    assert list(pruning.prune(chosen)) == []
    assert left() == ["back in the inbox"] * 2


@pytest.mark.parametrize(("verbosity", "lines"), [(0, 0), (1, 3), (2, 4)])
def test_it_says_as_much_as_one_wants_to_hear(fill, verbosity, lines):
    fill("expired", expired=1)

    assert len(run("prune_messages", verbosity=verbosity).splitlines()) == lines


def test_a_quiet_dry_run_says_nothing(fill):
    fill("expired", expired=1)

    assert run("prune_messages", "--dry-run", verbosity=0) == ""
    assert left() == ["expired"]


# The demo


def test_the_demo_is_filled_once(db):
    first = run("fill_demo")
    people = get_user_model().objects.count()
    rows = list(Message.objects.order_by("pk").values())

    second = run("fill_demo")

    assert people >= 2
    assert len(rows) > 100
    assert get_user_model().objects.count() == people
    assert list(Message.objects.order_by("pk").values()) == rows
    assert f"{len(rows)} messages in {people} mailboxes." in first
    assert f"{len(rows)} messages in {people} mailboxes." in second


def test_the_people_of_the_demo_can_log_in_and_see_their_inbox(client, db):
    run("fill_demo")
    client.logout()

    assert client.login(username="priya", password="demo")
    page = client.get("/messages/")

    assert page.status_code == 200
    assert b"pm-item" in page.content


def test_a_mailbox_that_has_messages_is_left_alone(db):
    run("fill_demo")
    mara = get_user_model().objects.get(username="mara")
    kept = Message.objects.filter(user=mara).earliest("pk")
    Message.objects.filter(user=mara).exclude(pk=kept.pk).delete()

    run("fill_demo")

    assert list(Message.objects.filter(user=mara)) == [kept]


def test_a_password_that_somebody_changed_stays(db):
    run("fill_demo")
    mara = get_user_model().objects.get(username="mara")
    mara.set_password("another")
    mara.save()

    run("fill_demo")

    mara.refresh_from_db()
    assert mara.check_password("another")


def test_the_demo_says_where_it_is_and_how_to_log_in(db):
    out = run("fill_demo", "--address", "http://127.0.0.1:8000/")

    assert "Open http://127.0.0.1:8000/" in out
    assert "Password: demo" in out
    assert "mara is staff: http://127.0.0.1:8000/admin/" in out


def test_the_demo_has_messages_of_every_kind(db):
    run("fill_demo")
    rows = Message.objects.all()

    assert set(rows.values_list("level", flat=True)) == {110, 120, 125, 130, 140}
    assert rows.filter(read_at=None).exists()
    assert rows.exclude(read_at=None).exists()
    assert rows.exclude(expires=None).exists()
    assert rows.exclude(from_user=None).exists()
    assert not [row for row in rows if row.read_at and row.read_at < row.created]


def test_the_demo_has_conversations(db):
    run("fill_demo")

    letters = Message.objects.exclude(thread=None)
    assert letters.filter(thread_position__gt=3).exists()
    assert {row.folder for row in letters} == {Folder.INBOX, Folder.SENT}
    assert letters.exclude(followed_by=None).exists()


# Tried in tests/test_partitions.py where there are partitions.
REFUSALS = {
    "sqlite3": "SQLite has no partitions",
    # Its driver is there for its own tests only.
    **({"mysql": "cannot have foreign keys"} if connection.vendor == "mysql" else {}),
}


@pytest.mark.parametrize("engine", REFUSALS)
def test_partitions_are_refused_where_there_are_none(monkeypatch, engine):
    elsewhere = {**connection.settings_dict, "ENGINE": f"django.db.backends.{engine}"}
    monkeypatch.setitem(connections.settings, engine, elsewhere)

    with pytest.raises(CommandError, match=REFUSALS[engine]):
        run("partition_messages", database=engine)
