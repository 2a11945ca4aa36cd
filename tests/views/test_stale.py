"""Actions on an outdated page: what the response says and offers."""

import pytest
from django.urls import reverse

from persistent_messages import Folder
from persistent_messages.models import Message
from tests.pages import HTMX, act, ask, fields_of, fill, form_to, soup, swaps, text_of, texts

INBOX = "/messages/"
SHOWN = {"pm-part": ["list", "said", "counter"], "pm-filter": "?", "pm-from": "row", "pm-page": "1"}


def move_to(message, folder):
    moved = {"folder": folder, "moved_at": message.created}
    Message.objects.filter(pk=message.pk).update(
        **moved, trashed_at=message.created if folder == Folder.TRASH else None
    )


def press(client, name, message):
    return ask(client, "post", name, message, HTMX, {**SHOWN, "pm-row": [message.pk]})


@pytest.mark.parametrize("name", ["message_archive", "message_mark_read", "message_mark_unread"])
@pytest.mark.parametrize(
    ("folder", "words"),
    [
        (Folder.TRASH, "“Backup” is in the trash."),
        (Folder.ARCHIVE, "“Backup” was already archived."),
    ],
)
def test_stale_row_names_folder_and_offers_to_restore_message(client, send, name, folder, words):
    message = send("Look here.", subject="Backup")
    move_to(message, folder)

    told = press(client, name, message)

    (toast,) = soup(told).select(".pm-notice")
    assert words in text_of(toast)
    assert f"delete:[data-pm-message='{message.pk}']" in swaps(told)
    restore = reverse("message_restore", args=[message.pk])
    assert "Move to inbox" in text_of(form_to(told, restore))

    shown = {**SHOWN, **fields_of(form_to(told, restore)), "pm-from": "list"}
    told = client.post(restore, shown, headers=HTMX)

    assert "outerHTML:.pm-pane" in swaps(told)
    assert "“Backup” restored." in text_of(soup(told).select(".pm-notice")[0])
    assert Message.objects.get().folder == Folder.INBOX


def test_stale_page_without_javascript_names_folder(client, send):
    message = send("Look here.", subject="Backup")
    move_to(message, Folder.TRASH)

    page = client.post(reverse("message_archive", args=[message.pk]), follow=True)

    assert any("“Backup” is in the trash." in text for text in texts(page, ".pm-notice"))
    form_to(page, reverse("message_restore", args=[message.pk]))


@pytest.mark.parametrize("name", ["message_archive", "message_mark_read", "message_delete"])
def test_permanently_deleted_row_is_removed(client, other, send, name):
    gone, his = send("Look here."), send("Very secret", to=other)
    Message.objects.filter(pk=gone.pk).delete()

    answers = [press(client, name, message) for message in (gone, his)]

    for told, message in zip(answers, (gone, his), strict=True):
        assert told.status_code == 200
        assert "This message no longer exists." in text_of(soup(told).select(".pm-notice")[0])
        assert f"delete:[data-pm-message='{message.pk}']" in swaps(told)
        assert b"secret" not in told.content
    assert ask(client, "post", name, gone).status_code == 404
    assert Message.objects.get(pk=his.pk).folder == Folder.INBOX


def test_selection_without_remaining_messages_is_reported(client, send):
    message = send("Look here.")
    Message.objects.all().delete()

    told = act(client, "message_bulk", None, "list", "said", ids=[message.pk], do="archive")

    assert "There was nothing left to change." in told.text


def empty_state_of(client, query):
    (state,) = soup(client.get(INBOX + query)).select(".pm-empty")
    return text_of(state)


def test_empty_state_text_matches_folder(client, user):
    fill(user, 9)

    assert empty_state_of(client, "?box=unread&level=warning") == (
        "No unread “Warnings” messages There are other unread messages. Clear filter"
    )
    fill(user, 1, folder=Folder.ARCHIVE)
    for box in ("inbox", "archive", "sent", "trash"):
        assert empty_state_of(client, f"?box={box}&level=warning").startswith(
            "No “Warnings” messages"
        )
    assert empty_state_of(client, "?before=1") == "No older messages Newest messages"

    Message.objects.all().delete()
    nothing = "No unread “Warnings” messages Clear filter"
    assert empty_state_of(client, "?box=unread&level=warning") == nothing
    assert empty_state_of(client, "?box=unread").startswith("All read")
    assert empty_state_of(client, "?box=archive").startswith("Nothing archived")
