"""The command that fills the demo."""

from functools import lru_cache
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client

from persistent_messages import Folder
from persistent_messages.models import Message


def fill_demo():
    out = StringIO()
    call_command("fill_demo", "--address", "http://127.0.0.1:8000/", stdout=out)
    return out.getvalue()


@lru_cache(1)
def output_and_rows():
    """Run the command, which takes seconds; return its output and all rows."""
    tables = (get_user_model(), Message)
    return fill_demo(), [(table, list(table.objects.order_by("pk"))) for table in tables]


@pytest.fixture
def demo(db):
    """Fill the database as the command does; return the output of the command."""
    output, tables = output_and_rows()
    for table, rows in tables:
        if not table.objects.exists():  # after the first test, which rolled them back
            table.objects.bulk_create(rows)
    return output


def test_second_run_changes_nothing(demo):
    people = get_user_model().objects.count()
    rows = list(Message.objects.order_by("pk").values())

    second = fill_demo()

    assert people >= 2
    assert len(rows) > 100
    assert get_user_model().objects.count() == people
    assert list(Message.objects.order_by("pk").values()) == rows
    assert f"{len(rows)} messages in {people} mailboxes." in demo
    assert f"{len(rows)} messages in {people} mailboxes." in second


def test_demo_users_can_log_in_and_see_inbox(demo):
    client = Client()

    assert client.login(username="priya", password="demo")
    page = client.get("/messages/")

    assert page.status_code == 200
    assert b"pm-item" in page.content


def test_mailbox_with_messages_is_left_alone(demo):
    mara = get_user_model().objects.get(username="mara")
    kept = Message.objects.filter(user=mara).earliest("pk")
    Message.objects.filter(user=mara).exclude(pk=kept.pk).delete()

    fill_demo()

    assert list(Message.objects.filter(user=mara)) == [kept]


def test_changed_password_is_kept(demo):
    mara = get_user_model().objects.get(username="mara")
    mara.set_password("another")
    mara.save()

    fill_demo()

    mara.refresh_from_db()
    assert mara.check_password("another")


def test_url_and_password_are_printed(demo):
    assert "Open http://127.0.0.1:8000/" in demo
    assert "Password: demo" in demo
    assert "mara is staff: http://127.0.0.1:8000/admin/" in demo


def test_demo_has_messages_of_each_kind(demo):
    rows = Message.objects.all()

    assert set(rows.values_list("level", flat=True)) == {110, 120, 125, 130, 140}
    assert rows.filter(read_at=None).exists()
    assert rows.exclude(read_at=None).exists()
    assert rows.exclude(expires=None).exists()
    assert rows.exclude(from_user=None).exists()
    assert not [row for row in rows if row.read_at and row.read_at < row.created]


def test_demo_has_conversations(demo):
    letters = Message.objects.exclude(thread=None)

    assert letters.filter(thread_position__gt=3).exists()
    assert {row.folder for row in letters} == {Folder.INBOX, Folder.SENT}
    assert letters.exclude(superseded_by=None).exists()
