"""Folders and filters have URLs; archiving, restoring, deleting and undo."""

import re
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from bs4 import Tag
from django.core import signing
from django.urls import reverse
from django.utils import timezone

from persistent_messages import Folder
from persistent_messages.mailbox import Change, undo_tokens
from persistent_messages.models import Message
from tests.pages import (
    HTMX,
    PAGES,
    act,
    address,
    ask,
    browser_of,
    canonical,
    fields_of,
    fill,
    fill_every_folder,
    form_to,
    is_page,
    mailbox_rows,
    messages_on,
    outermost,
    rows,
    soup,
    swaps,
    text_of,
    texts,
    values_of,
)

INBOX = "/messages/"
BOXES = {
    "Inbox": ("", Folder.INBOX),
    "Unread": ("?box=unread", Folder.INBOX),
    "Archive": ("?box=archive", Folder.ARCHIVE),
    "Sent": ("?box=sent", Folder.SENT),
    "Trash": ("?box=trash", Folder.TRASH),
}
LEVELS = {"Problems": 140, "Warnings": 130, "Done": 125, "Information": 120, "Debug": 110}
ADDRESSES = [
    INBOX,
    f"{INBOX}?box=unread",
    f"{INBOX}?box=archive",
    f"{INBOX}?level=error",
    f"{INBOX}?box=trash&level=error",
    f"{INBOX}?q=quota",
    f"{INBOX}?box=archive&q=quota+disk",
]


@pytest.fixture
def full_mailbox(user):
    fill_every_folder(user, LEVELS.values())


def links(page):
    """Return the filters of a page by name, without counts."""
    nav = next(iter(soup(page).select(".pm-bar")))
    return {re.sub(r" \d+\+?$", "", text_of(e)): e.attrs for e in soup(nav).select("a")}


def undo_url(page):
    """Return the URL of the only undo button, or None."""
    found = [e["action"] for e in soup(page).select("form")]
    found = [action for action in found if action.startswith("/messages/undo/")]
    assert len(found) <= 1
    return found[0] if found else None


# A URL for each folder


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_each_folder_has_link_with_own_url(client, user, full_mailbox, headers):
    for name, (query, folder) in BOXES.items():
        link = links(client.get(INBOX, headers=headers))[name]
        assert canonical(link["href"]) == canonical(INBOX + query)

        page = client.get(link["href"], headers=headers)

        kept = Message.objects.owned_by(user).in_folder(folder)
        expected = kept.unread() if name == "Unread" else kept
        assert set(messages_on(page)) == set(expected)
        assert rows(page) == sorted(rows(page), reverse=True)
        current = [n for n, link in links(page).items() if link.get("aria-current") == "page"]
        assert current == texts(page, ".pm-title") == [name]


def test_current_level_link_clears_filter(client, full_mailbox, settings):
    settings.DEBUG = True
    for query, folder in (BOXES[name] for name in ("Inbox", "Archive", "Trash")):
        before = client.get(INBOX + query)
        for name, level in LEVELS.items():
            page = client.get(links(before)[name]["href"])
            found = messages_on(page)
            assert {(m.level, m.folder) for m in found} == {(level, folder)}
            assert len(found) == 2
            current = [n for n, a in links(page).items() if a.get("aria-current") == "true"]
            assert current == [name]
            for back in (name, "All messages"):
                assert canonical(links(page)[back]["href"]) == canonical(INBOX + query)


def offered_levels(client, query=""):
    return [name for name in links(client.get(INBOX + query)) if name in LEVELS]


def test_filter_menu_offers_levels_of_folder(client, user, settings):
    assert offered_levels(client) == []
    fill(user, 1, level=130)
    fill(user, 1, level=110, folder=Folder.INBOX)
    fill(user, 1, level=140, folder=Folder.ARCHIVE)
    fill(user, 1, level=120, folder=Folder.SENT)

    assert offered_levels(client) == offered_levels(client, "?box=unread") == ["Warnings"]
    assert offered_levels(client, "?box=archive") == ["Problems"]
    assert offered_levels(client, "?box=archive&level=success") == ["Problems", "Done"]
    assert offered_levels(client, "?box=sent") == offered_levels(client, "?box=trash") == []
    settings.DEBUG = True  # debug messages are for developers
    assert offered_levels(client) == ["Warnings", "Debug"]


def test_sent_link_drops_level(client, full_mailbox):
    sent = links(client.get(f"{INBOX}?level=error"))["Sent"]["href"]
    assert canonical(sent) == canonical(f"{INBOX}?box=sent")


def test_filter_on_inbox_page_pushes_url(client, full_mailbox):
    for link in links(client.get(INBOX)).values():
        assert link["hx-get"] == link["href"]
        assert link["hx-push-url"] == "true"


def test_filter_of_embedded_inbox_links_to_inbox_page(client, full_mailbox):
    for link in links(client.get("/project/")).values():
        assert not [name for name in link if name.startswith("hx-")]
        assert urlsplit(link["href"]).path == INBOX


def test_folder_links_drop_search_and_level_links_keep_it(client, full_mailbox):
    found = links(client.get(f"{INBOX}?box=archive&level=error&q=quota&before=7"))

    assert canonical(found["Trash"]["href"]) == canonical(f"{INBOX}?box=trash&level=error")
    assert canonical(found["Inbox"]["href"]) == canonical(f"{INBOX}?level=error")
    assert canonical(found["Information"]["href"]) == canonical(
        f"{INBOX}?box=archive&level=info&q=quota"
    )


@pytest.mark.parametrize("query", ["box=nowhere", "box=", "level=loud", "box=INBOX&level=120"])
def test_invalid_query_parameters_are_ignored(client, full_mailbox, query):
    assert rows(client.get(f"{INBOX}?{query}")) == rows(client.get(INBOX))


@pytest.mark.parametrize("mode", PAGES)
def test_filter_restored_from_history_is_full_page(client, full_mailbox, mode):
    page = client.get(f"{INBOX}?box=archive&level=error", headers=PAGES[mode])

    assert is_page(page)
    assert {(m.folder, m.level) for m in messages_on(page)} == {(Folder.ARCHIVE, 140)}


def test_empty_folder_has_own_text(client):
    words = {
        "Inbox": "No messages",
        "Unread": "All read",
        "Archive": "Nothing archived",
        "Sent": "Nothing sent",
        "Trash": "The trash is empty",
    }

    for name, (query, _) in BOXES.items():
        (empty,) = texts(client.get(INBOX + query), ".pm-empty")
        assert empty.startswith(words[name])


def test_empty_trash_states_retention_period(client, settings):
    settings.PERSISTENT_MESSAGES = {"TRASH_DAYS": 7}

    (empty,) = texts(client.get(f"{INBOX}?box=trash"), ".pm-empty")

    assert "for 7 days" in empty


# Actions keep the folder


@pytest.mark.parametrize("url", ADDRESSES)
def test_plain_form_redirects_to_filtered_list(client, full_mailbox, url):
    page = client.get(url)
    (pane,) = soup(page).select(".pm-pane")
    fields, (key, *_) = fields_of(pane), rows(page)
    assert set(values_of(page, "next")) == {url}
    assert canonical(fields["pm-filter"][0]) == canonical(urlsplit(url)._replace(path="").geturl())

    for name in ("message_mark_unread", "message_mark_read"):
        answer = ask(client, "post", name, Message(pk=key), data=fields)
        assert answer["Location"] == url
    answer = client.post(address("message_bulk"), {**fields, "ids": key, "do": "read"})
    assert answer["Location"] == url


@pytest.mark.parametrize("url", ADDRESSES)
def test_htmx_action_refreshes_filtered_list(client, full_mailbox, url):
    page = client.get(url)
    (pane,) = soup(page).select(".pm-pane")
    data = {**fields_of(pane), "do": "unread", "ids": rows(page), "pm-part": ["list", "strip"]}
    headers = {**HTMX, "HX-Current-URL": f"http://testserver{url}"}

    answer = client.post(address("message_bulk"), data, headers=headers)

    (renewed,) = [e for e in outermost(answer) if "pm-pane" in e.get("class", "").split()]
    assert rows(renewed) == rows(client.get(url))
    assert values_of(renewed, "pm-filter") == fields_of(pane)["pm-filter"]
    assert values_of(renewed, "pm-page") == ["1"]
    assert set(values_of(answer, "next")) == {url}
    before, after = links(page), links(renewed)
    assert after == before, "the same links, the same one in force"


def test_htmx_action_on_later_page_returns_first_page(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    keys = fill(user, 9, folder=Folder.ARCHIVE)
    url = f"{INBOX}?box=archive&before={keys[2]}"
    (pane,) = soup(client.get(url)).select(".pm-pane")

    data = {**fields_of(pane), "do": "read", "ids": keys[4], "pm-part": "list"}
    answer = client.post(address("message_bulk"), data, headers=HTMX)

    assert rows(answer) == keys[:3]


@pytest.mark.parametrize(
    "absurd",
    ["", "?", "x", "?box=nowhere", "?before=x", "?box=archive;", "\x00", "?q=\x00", "?&&="],
)
def test_invalid_filter_of_acting_page_means_inbox(client, full_mailbox, absurd):
    (message, *_) = messages_on(client.get(INBOX))
    data = {"pm-filter": absurd, "do": "delete", "ids": message.pk}

    answer = client.post(address("message_bulk"), data, headers=HTMX)

    assert answer.status_code == 200
    message.refresh_from_db()
    assert message.folder == Folder.TRASH


# Archiving and restoring


def folder_of(message):
    message.refresh_from_db()
    return message.folder


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_archived_message_leaves_inbox_and_can_be_restored(client, send, headers):
    message = send("Hello")

    ask(client, "post", "message_archive", message, headers)
    assert folder_of(message) == Folder.ARCHIVE
    assert message.moved_at is not None
    assert not message.read, "archiving is not reading"
    assert rows(client.get(INBOX)) == []
    assert rows(client.get(f"{INBOX}?box=archive")) == [message.pk]

    ask(client, "post", "message_restore", message, headers)
    assert folder_of(message) == Folder.INBOX
    assert message.moved_at is None
    assert rows(client.get(INBOX)) == [message.pk]


@pytest.mark.parametrize("away", [Folder.ARCHIVE, Folder.TRASH])
@pytest.mark.parametrize("by", ["message_restore", "message_bulk"])
def test_sent_copy_is_restored_to_sent_folder(client, user, away, by):
    fill(user, 1, folder=away, moved_at=timezone.now(), from_user=user, letter=uuid4())
    message = Message.objects.get()
    data = {"ids": message.pk, "do": "restore", "pm-filter": f"?box={away.name.lower()}"}

    answer = ask(client, "post", by, message, data=data)

    assert answer.status_code == 302
    assert folder_of(message) == Folder.SENT
    (said,) = texts(client.get("/"), ".pm-passing")
    assert "1" in said or "Number 0" in said
    assert "inbox" not in said, "it is not there"


@pytest.mark.parametrize("folder", [Folder.SENT, Folder.TRASH, Folder.ARCHIVE])
def test_only_inbox_messages_can_be_archived(client, user, folder):
    sent = {"from_user": user, "letter": uuid4()} if folder == Folder.SENT else {}
    fill(user, 1, folder=folder, **sent)
    message = Message.objects.get()
    before = mailbox_rows(user)

    answer = act(client, "message_archive", message, "strip", **{"pm-from": "row"})

    assert answer.status_code == 200
    assert mailbox_rows(user) == before
    assert undo_url(answer) is None


@pytest.mark.parametrize("folder", [Folder.INBOX, Folder.SENT])
def test_restore_ignores_inbox_and_sent_messages(client, user, folder):
    fill(user, 1, folder=folder)
    before = mailbox_rows(user)

    answer = act(client, "message_restore", Message.objects.get(), "list")

    assert answer.status_code == 200
    assert mailbox_rows(user) == before


def test_each_folder_offers_its_actions(client, full_mailbox):
    offered = {}
    for name, (query, _) in BOXES.items():
        page = client.get(INBOX + query)
        row = soup(page).select(".pm-row")[0]
        key = rows(page)[0]
        posts = [e.get("formaction") or "" for e in soup(row).select("button")]
        for action in ("archive", "restore", "delete/message"):
            if f"/messages/{action}/{key}/" in posts:
                offered.setdefault(name, set()).add(action)
        bulk = {e["value"] for e in soup(page).select("button") if is_bulk(e)}
        offered[name] = (offered.get(name, set()), bulk - {"read", "unread"})

    assert offered == {
        "Inbox": ({"archive", "delete/message"}, {"archive", "delete"}),
        "Unread": ({"archive", "delete/message"}, {"archive", "delete"}),
        "Archive": ({"restore", "delete/message"}, {"restore", "delete"}),
        "Sent": ({"delete/message"}, {"delete"}),
        "Trash": ({"restore"}, {"restore", "delete"}),
    }


def is_bulk(button):
    return button.get("name") == "do"


# Deleted


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_repeated_delete_only_moves_to_trash(client, send, headers):
    message = send("Hello")

    for _ in range(4):
        answer = ask(client, "post", "message_delete", message, headers, {"final": "0"})
        assert answer.status_code == (200 if headers else 302)

    assert folder_of(message) == Folder.TRASH


def test_undo_works_after_repeated_delete(client, send):
    message = send("Hello")

    first = undo_url(act(client, "message_delete", message, "strip", **{"pm-from": "row"}))
    act(client, "message_delete", message, "strip", **{"pm-from": "row"})
    client.post(first)

    assert folder_of(message) == Folder.INBOX


@pytest.mark.parametrize("final", ["", "0", "yes", "11", " 1", "true"])
@pytest.mark.parametrize("headers", [{}, HTMX])
def test_unconfirmed_deletion_keeps_message_in_trash(client, send, headers, final):
    message = send("Hello")
    ask(client, "post", "message_delete", message)

    ask(client, "post", "message_delete", message, headers, {"final": final})

    assert folder_of(message) == Folder.TRASH


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_confirmed_deletion_from_trash_is_permanent(client, send, headers):
    message, other = send("Lunch at noon"), send("Stays")
    for one in (message, other):
        ask(client, "post", "message_delete", one)
    page = client.get(f"{INBOX}?box=trash")
    (link,) = [
        e["href"]
        for e in soup(page).select("a")
        if e["href"].startswith(address("message_delete", message))
    ]

    confirm = client.get(link, headers=headers)
    (form,) = soup(confirm).select(".pm-form")
    assert texts(form, ".pm-thread-title") == ["Permanently delete “Lunch at noon”?"]
    answer = client.post(form["action"], fields_of(form))

    assert answer["Location"] == f"{INBOX}?box=trash"
    assert list(Message.objects.in_folder(Folder.TRASH)) == [other]
    shown = client.get("/")
    assert "“Lunch at noon” permanently deleted." in texts(shown, ".pm-passing")[0]
    assert undo_url(shown) is None


def test_confirmation_is_ignored_outside_trash(client, send):
    # If another tab has restored it, it is only moved to the trash.
    message = send("Hello")

    ask(client, "post", "message_delete", message, data={"final": "1"})

    assert folder_of(message) == Folder.TRASH


def test_detail_page_in_trash_offers_deletion_and_restore(client, send):
    message = send("Hello")
    ask(client, "post", "message_delete", message)

    page = ask(client, "get", "message_detail", message)

    assert form_to(page, address("message_restore", message))
    (link,) = [e for e in soup(page).select(".pm-btn--danger") if e.name == "a"]
    assert text_of(link) == "Delete permanently"
    ask(client, "get", "message_detail", message)
    assert soup(client.get(link["href"])).select(".pm-form")
    assert folder_of(message) == Folder.TRASH


def test_emptying_trash_asks_with_count_and_keeps_other_messages(client, user, other, full_mailbox):
    fill(other, 3, folder=Folder.TRASH)
    kept = Message.objects.exclude(user=user, folder=Folder.TRASH)
    before = list(kept.order_by("pk").values())
    page = client.get(f"{INBOX}?box=trash")
    (link,) = [e for e in soup(page).select("a") if text_of(e) == "Empty trash"]

    confirm = client.get(link["href"])
    (form,) = soup(confirm).select(".pm-form")
    assert texts(form, ".pm-thread-title") == ["Permanently delete 10 messages?"]
    fill(user, 1, folder=Folder.TRASH, message="Deleted meanwhile")
    answer = client.post(form["action"], fields_of(form))

    assert answer["Location"] == f"{INBOX}?box=trash"
    (left,) = Message.objects.owned_by(user).in_folder(Folder.TRASH)
    assert left.message == "Deleted meanwhile"
    shown = client.get("/")
    assert "10 messages permanently deleted." in texts(shown, ".pm-passing")[0]
    assert undo_url(shown) is None
    fill(user, 1, folder=Folder.TRASH)
    assert list(kept.order_by("pk").values()) == before


# Undo


UNDOABLE = {
    "read": ("message_mark_read", {}),
    "archived": ("message_archive", {}),
    "deleted": ("message_delete", {}),
    "all read": ("message_mark_all_read", {}),
    "all deleted": ("message_delete_all", {}),
    "ticked read": ("message_bulk", {"do": "read"}),
    "ticked archived": ("message_bulk", {"do": "archive"}),
    "ticked deleted": ("message_bulk", {"do": "delete"}),
}


@pytest.mark.parametrize("what", UNDOABLE)
def test_htmx_undo_restores_previous_state(user, send, what):
    name, data = UNDOABLE[what]
    message = send("Lunch at noon")
    before = mailbox_rows(user)
    browser = browser_of(user, enforce_csrf_checks=True)
    browser.get(INBOX)
    token = browser.cookies["csrftoken"].value
    headers = {**HTMX, "X-CSRFToken": token, "HX-Current-URL": "http://testserver/project/?a=1"}
    data = {**data, "ids": message.pk, "pm-part": ["list", "strip"], "pm-from": "row"}

    answer = browser.post(address(name, message), data, headers=headers)
    assert mailbox_rows(user) != before
    (said,) = [e for e in outermost(answer) if "pm-said" in str(e.attrs)]
    form = form_to(said, undo_url(answer))
    assert form["hx-post"] == form["action"]
    plain = browser.post(form["action"], fields_of(form))

    assert plain["Location"] == "/project/?a=1"
    assert mailbox_rows(user)[: len(before)] == before


@pytest.mark.parametrize("what", UNDOABLE)
def test_plain_form_offers_undo_once_on_next_page(user, send, what):
    name, data = UNDOABLE[what]
    message = send("Lunch at noon")
    before = mailbox_rows(user)
    browser = browser_of(user, enforce_csrf_checks=True)
    (pane,) = soup(browser.get(INBOX)).select(".pm-pane")

    browser.post(address(name, message), {**fields_of(pane), **data, "ids": message.pk})
    page = browser.get("/project/?tab=2")
    form = form_to(page, undo_url(page))
    assert values_of(form, "csrfmiddlewaretoken")
    assert undo_url(browser.get("/project/")) is None, "offered once"
    answer = browser.post(form["action"], fields_of(form))

    assert answer["Location"] == "/project/?tab=2"
    assert [m for m in mailbox_rows(user) if m["id"] == message.pk] == before
    assert "Undone." in texts(browser.get("/"), ".pm-passing")[0]


def test_irreversible_action_offers_no_undo(client, user, send):
    message = send("Hello")

    def offered_levels(name, **data):
        answer = act(client, name, message, "list", "strip", **{"pm-from": "row", **data})
        assert answer.status_code == 200
        return undo_url(answer)

    assert offered_levels("message_mark_read")
    assert offered_levels("message_mark_read") is None, "it was so already"
    assert offered_levels("message_mark_unread") is None
    assert offered_levels("message_archive")
    assert offered_levels("message_restore") is None
    assert offered_levels("message_bulk", do="archive") is None, "nothing was ticked"
    assert offered_levels("message_delete")
    assert offered_levels("message_delete") is None
    assert offered_levels("message_delete", final=1) is None
    assert not Message.objects.exists()


def test_repeated_undo_changes_nothing(client, user, send):
    message = send("Hello")
    url = undo_url(act(client, "message_delete", message, "strip", **{"pm-from": "row"}))
    client.post(url)
    Message.objects.in_folder(Folder.ONE_SHOT).delete()
    before = mailbox_rows(user)

    answer = client.post(url, {"pm-part": ["list", "strip"], "pm-from": "list"}, headers=HTMX)

    assert answer.status_code == 200
    assert "There is nothing left to undo." in answer.text
    assert mailbox_rows(user) == before


def test_undo_changes_only_rows_of_its_action(client, send):
    first = send("Archived before")
    act(client, "message_archive", first)
    read = send("Read before")
    act(client, "message_mark_read", read)
    message = send("Hello")

    all_read = act(client, "message_mark_all_read", None, "strip", **{"pm-from": "list"})
    client.post(undo_url(all_read))
    archived = act(client, "message_archive", message, "strip", **{"pm-from": "row"})
    client.post(undo_url(archived))

    assert folder_of(first) == Folder.ARCHIVE
    read.refresh_from_db()
    assert read.read
    message.refresh_from_db()
    assert (message.folder, message.read) == (Folder.INBOX, False)


def test_undo_skips_message_moved_since(client, send):
    message = send("Hello")
    url = undo_url(act(client, "message_archive", message, "strip", **{"pm-from": "row"}))
    ask(client, "post", "message_delete", message)

    client.post(url)

    assert folder_of(message) == Folder.TRASH


def test_undo_refreshes_list_and_counter_and_announces_result(client, send):
    message = send("Hello")
    answer = act(client, "message_delete", message, "strip", "list", **{"pm-from": "row"})

    url = undo_url(answer)
    data = {"pm-part": ["list", "strip", "counter"], "pm-from": "list", "pm-filter": "?"}
    undone = client.post(url, data, headers=HTMX)

    assert rows(undone) == [message.pk]
    assert texts(undone, ".pm-badge") == ["1"]
    assert "Undone." in undone.text
    assert "beforeend:.pm-said" in swaps(undone)


def test_undo_confirmation_page_changes_nothing(client, send):
    message = send("Hello")
    url = undo_url(act(client, "message_delete", message, "strip", **{"pm-from": "row"}))

    page = client.get(url)

    assert texts(page, ".pm-thread-title") == ["Undo the last change?"]
    assert folder_of(message) == Folder.TRASH


FORGED = ["x", "x:y", "a:b:c", "é", "W10", "::", "." * 3000, "null", "%00", "..%2f"]


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("method", ["get", "post"])
def test_forged_undo_token_is_rejected_with_error_message(client, user, send, method, headers):
    ask(client, "post", "message_delete", send("Hello"), HTMX)
    before = mailbox_rows(user)
    real = undo_tokens.make_token(
        user, Change("move", Folder.INBOX, timezone.now(), 1, Folder.TRASH)
    )
    content, stamp, signature = real.split(":")
    forged = [
        *FORGED,
        real[:-1],
        real + "x",
        real.upper(),
        f"{content}x:{stamp}:{signature}",
        f"{content}:{stamp}x:{signature}",
        signing.dumps(["1", "move"], salt="of another"),
    ]

    for token in forged:
        url = reverse("message_undo", args=[token])
        answer = getattr(client, method)(url, headers=headers)
        assert answer.status_code == (200 if headers == HTMX else 400), token
        assert "This can no longer be undone." in answer.text
        assert is_page(answer) is not bool(headers)

    assert mailbox_rows(user) == before


@pytest.mark.parametrize("content", [[], ["1"], {}, None, "text", 7, [1, 2, 3, 4, 5, 6]])
def test_undo_token_with_invalid_content_is_rejected(client, content):
    token = signing.dumps(content, salt=undo_tokens.SALT)

    assert client.post(reverse("message_undo", args=[token])).status_code == 400


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_undo_token_of_other_user_is_rejected_with_error_message(
    client, user, other, send, headers
):
    message = send("Hello")
    url = undo_url(act(client, "message_delete", message, "strip", **{"pm-from": "row"}))
    before = mailbox_rows(user)

    for method in ("get", "post"):
        answer = getattr(browser_of(other), method)(url, headers=headers)
        assert answer.status_code == (200 if headers == HTMX else 400)
        assert "This can no longer be undone." in answer.text

    assert mailbox_rows(user) == before


@pytest.mark.parametrize(("hours", "status", "folder"), [(23, 302, 1), (25, 400, 4)])
def test_undo_expires_after_one_day(client, send, monkeypatch, hours, status, folder):
    message = send("Hello")
    url = undo_url(act(client, "message_delete", message, "strip", **{"pm-from": "row"}))
    later = (timezone.now() + timedelta(hours=hours)).timestamp()
    monkeypatch.setattr(signing, "time", SimpleNamespace(time=lambda: later))

    assert client.post(url).status_code == status

    assert folder_of(message) == folder


# All folders


def test_forms_are_not_nested(client, full_mailbox):
    # A browser would ignore it.
    def nested(element, inside=False):
        found = []
        for child in element.children:
            if isinstance(child, Tag):
                is_form = child.name == "form"
                found += [child] if is_form and inside else []
                found += nested(child, inside or is_form)
        return found

    for url in [*ADDRESSES, f"{INBOX}?box=sent", "/project/", "/"]:
        page = client.get(url)
        assert nested(soup(page)) == [], url
    latest = ask(client, "get", "message_latest", headers=HTMX)
    assert nested(soup(latest)) == []
