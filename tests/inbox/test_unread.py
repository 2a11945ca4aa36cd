"""The badge, the Unread folder and the API always have the same unread count."""

import re

import pytest
from django.template import RequestContext, Template
from django.urls import reverse

from persistent_messages import Folder, mailbox, send_letter
from persistent_messages.models import Message
from tests.pages import HTMX, browser_of, rows

SHOWN = {"pm-part": ["strip", "counter"], "pm-from": "row"}


@pytest.fixture
def letters(user, other):
    """Two unread letters of one conversation, the older one first."""
    first = send_letter(other, user, "Thursday", "Can you take it?")
    send_letter(other, None, "", "Are you there?", first)
    return list(Message.objects.owned_by(user).order_by("pk"))


def unread_state(user):
    """The badge, and the keys that the Unread folder lists."""
    page = browser_of(user).get("/messages/", {"box": "unread"})
    storage = page.wsgi_request._messages
    counter = RequestContext(page.wsgi_request)
    badge = Template("{% load persistent_messages %}{% unread_counter %}").render(counter)
    number = int((re.findall(r">(\d+)<", badge) or ["0"])[0])
    assert storage.count_persistent_unread() == len(storage.get_persistent_unread()) == number
    return number, rows(page)


def only(message):
    return Message.objects.filter(pk=message.pk)


def test_conversation_counts_once(user, letters):
    assert unread_state(user) == (1, [letters[1].pk])


def test_restored_letter_that_was_unread_is_unread(client, user, letters):
    older, newer = letters
    mailbox.delete(user, Folder.INBOX, only(older))
    client.get(reverse("message_detail", args=[newer.pk]))
    assert unread_state(user) == (0, [])

    client.post(reverse("message_restore", args=[older.pk]))

    assert unread_state(user) == (1, [newer.pk])
    client.get(reverse("message_detail", args=[newer.pk]))
    assert unread_state(user) == (0, [])


def test_undo_of_mark_read_counts_despite_newer_read_letter(client, user, other, letters):
    url = reverse("message_mark_read", args=[letters[1].pk])
    answer = client.post(url, SHOWN, headers=HTMX)
    undo = re.search(r"/messages/undo/[^/\"]+/", answer.text)[0]
    sent = Message.objects.owned_by(other).latest("pk")
    send_letter(other, None, "", "Never mind.", sent)
    newest = Message.objects.owned_by(user).latest("pk")
    client.get(reverse("message_detail", args=[newest.pk]))
    assert unread_state(user) == (0, [])

    client.post(undo)

    assert unread_state(user) == (1, [newest.pk])


@pytest.mark.parametrize("place", [Folder.ARCHIVE, Folder.TRASH])
def test_undo_of_move_counts_despite_newer_read_letter(user, other, letters, place):
    write = mailbox.archive if place == Folder.ARCHIVE else mailbox.delete
    change = write(user, Folder.INBOX, Message.objects.all())
    sent = Message.objects.owned_by(other).latest("pk")
    send_letter(other, None, "", "Never mind.", sent)
    newest = Message.objects.owned_by(user).latest("pk")
    mailbox.mark_read(user, Folder.INBOX, only(newest))
    assert unread_state(user) == (0, [])

    mailbox.undo(user, change)

    assert unread_state(user) == (1, [newest.pk])


def test_expired_unread_letter_does_not_make_conversation_unread(user, other, letters):
    older, newer = letters
    only(older).update(expires=older.created)
    mailbox.mark_read(user, Folder.INBOX, only(newer))
    change = mailbox.archive(user, Folder.INBOX, Message.objects.all())

    mailbox.undo(user, change)

    assert unread_state(user) == (0, [])
