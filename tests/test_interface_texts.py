"""The texts of the interface are plain and true."""

import re

import pytest
from django.urls import reverse

from persistent_messages import mailbox
from persistent_messages.constants import Folder
from persistent_messages.models import Message
from persistent_messages.rendering.toasts import bulk_result_text

from .catalogs import strings_of_the_sources
from .pages import fill, texts

# Words of the code or of an earlier interface, which no user searches for.
UNUSUAL = r"letters?|answer(s|ed)?|for good|staff|tick(s|ed)?|settled?|user names?|whoever"


def test_strings_avoid_unusual_words():
    strings = {text for key in strings_of_the_sources() for text in (key.text, key.plural) if text}
    assert [text for text in strings if re.search(rf"\b({UNUSUAL})\b", text, re.IGNORECASE)] == []


def test_strings_use_typographic_apostrophe():
    assert [key.text for key in strings_of_the_sources() if "'" in key.text] == []


@pytest.mark.parametrize(
    ("name", "folder", "expected_text"),
    [
        ("message_archive", Folder.ARCHIVE, "was already archived."),
        ("message_archive", Folder.TRASH, "is in the trash."),
        ("message_archive", Folder.SENT, "is in your sent messages."),
        ("message_restore", Folder.INBOX, "is in the inbox."),
    ],
)
def test_repeated_move_names_folder_of_message(client, send, name, folder, expected_text):
    message = send("Hello")
    Message.objects.filter(pk=message.pk).update(folder=folder)

    answer = client.post(reverse(name, args=[message.pk]), follow=True)

    assert f"“Hello” {expected_text}" in answer.text


@pytest.mark.parametrize("read", [True, False])
def test_repeated_mark_reports_state(client, user, send, read):
    message = send("Hello")
    if read:
        mailbox.mark_read(user, Folder.INBOX, Message.objects.all())

    name = "message_mark_read" if read else "message_mark_unread"
    answer = client.post(reverse(name, args=[message.pk]), follow=True)

    assert f"“Hello” was already marked as {'read' if read else 'unread'}." in answer.text


def test_undo_reports_result(user):
    fill(user, 2)
    change = mailbox.mark_read(user, Folder.INBOX, Message.objects.all())
    there, nothing = (mailbox.Change("undo", change.folder, change.at, count) for count in (2, 0))

    assert bulk_result_text(there) == "Undone."
    assert bulk_result_text(nothing) == "There is nothing left to undo."
    assert bulk_result_text(there, goes_on=True) == "Undoing…"


def test_inexact_number_is_not_shown(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 2}
    fill(user, 2)
    assert texts(client.get(reverse("message_list")), ".pm-all") == ["Mark all 2 as read"]
    fill(user, 1)
    assert texts(client.get(reverse("message_list")), ".pm-all") == ["Mark all as read"]


def test_level_without_messages_is_named(client, send):
    send("Hello")

    page = client.get(reverse("message_list", query={"level": "error"}))

    assert "No “Problems” messages" in page.text
    assert "Clear the filter to see all messages." in page.text
