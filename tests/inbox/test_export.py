"""The export of a mailbox."""

import json
from datetime import timedelta

import pytest
from django.contrib.messages import constants as contrib
from django.utils import timezone
from django.utils.safestring import mark_safe

from persistent_messages import Folder, export_mailbox, send_letter
from persistent_messages.inbox import export
from persistent_messages.letters import policy, reports
from persistent_messages.models import Message
from persistent_messages.preferences import choices
from tests.pages import fill


@pytest.fixture(autouse=True)
def letters(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}


def exported(user):
    return [json.loads(line) for line in export_mailbox(user)]


def test_line_separators_in_message_do_not_break_lines(user, send):
    """Programs such as Node.js begin a new line at these characters."""
    text = "One\u2028two\u2029three\x85four"
    send(text)

    (line,) = "".join(export_mailbox(user)).splitlines()

    assert json.loads(line)["message"] == text


def test_exported_message_has_all_fields(user, send):
    expires = timezone.now() + timedelta(days=1)
    row = send(
        mark_safe("<b>Look</b>"), subject="Disk “full”", url="/x/", key="disk", expires=expires
    )
    Message.objects.update(read_at=timezone.now())

    (line,) = export_mailbox(user)

    assert line.endswith("\n")
    assert line.count("\n") == 1
    found = json.loads(line)
    row.refresh_from_db()
    assert found | {"read": "", "moved": ""} == {
        "type": "message",
        "id": row.pk,
        "folder": "inbox",
        "level": "info",
        "subject": "Disk “full”",
        "message": "<b>Look</b>",
        "is_html": True,
        "from": "",
        "to": [],
        "conversation": None,
        "topic": "",
        "key": "disk",
        "times": 1,
        "url": "/x/",
        "action": "",
        "extra_tags": "",
        "created": row.created.isoformat(),
        "read": "",
        "moved": "",
        "expires": expires.isoformat(),
    }
    assert found["read"] == row.read_at.isoformat()


def test_exported_letters_have_names_but_no_email_addresses(user, other):
    send_letter(user, other, "Lunch?", "At noon.")
    send_letter(other, user, "Dinner?", "At eight.")

    text = "".join(export_mailbox(user))

    assert "harry@example.com" not in text
    found = {line["subject"]: line for line in exported(user)}
    assert (found["Lunch?"]["folder"], found["Lunch?"]["to"]) == ("sent", ["harry"])
    assert (found["Dinner?"]["folder"], found["Dinner?"]["from"]) == ("inbox", "harry")
    assert found["Lunch?"]["type"] == found["Dinner?"]["type"] == "letter"
    assert found["Lunch?"]["conversation"]


def test_export_has_each_folder_oldest_first_and_only_own_messages(user, other, send, monkeypatch):
    monkeypatch.setattr(export, "PAGE_SIZE", 2)
    send("Not hers", to=other)
    for folder in (Folder.INBOX, Folder.ARCHIVE, Folder.SENT, Folder.TRASH):
        fill(user, 5, folder=folder)
    fill(user, 1, folder=Folder.ONE_SHOT, level=contrib.INFO, message="Once")
    fill(user, 1, folder=Folder.TOMBSTONE)

    found = exported(user)

    numbers = [f"Number {number}" for number in range(5)]
    assert [(line["folder"], line["message"]) for line in found] == [
        ("one_shot", "Once"),
        *((name, text) for name in ("inbox", "sent", "archive", "trash") for text in numbers),
    ]


def test_export_has_blocks_and_reports(user, other):
    send_letter(other, user, "Buy!", "Now.")
    letter = Message.objects.get(user=user)
    reports.report(user, letter, "Spam")
    policy.block(user, other)

    found = {line["type"]: line for line in exported(user)}

    assert found["block"]["name"] == "harry"
    assert (found["report"]["name"], found["report"]["reason"]) == ("harry", "Spam")


def test_export_has_preferences(user):
    choices.save(user, {"_letters": choices.Choice(mail="never")})

    (found,) = exported(user)

    assert found["type"] == "preferences"
    assert found["topics"] == [{"topic": "letters", "in_inbox": True, "mail": "never"}]


def test_export_is_lazy_and_queries_once_per_page(user, django_assert_num_queries, monkeypatch):
    monkeypatch.setattr(export, "PAGE_SIZE", 10)
    fill(user, 25)
    lines = export_mailbox(user)
    with django_assert_num_queries(2):  # one-shot messages, the first page of the inbox
        next(lines)
    # Two pages and an empty one, three folders, blocks, reports, preferences.
    with django_assert_num_queries(9):
        list(lines)
