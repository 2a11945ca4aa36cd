"""Bulk actions: on selected messages, and on all messages of a page."""

import pytest
from django.contrib import messages as contrib_messages
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import persistent_messages
from persistent_messages import Folder
from persistent_messages.inbox import page as inbox_page
from persistent_messages.inbox.filters import Filter
from persistent_messages.inbox.page import InboxPage
from persistent_messages.models import Message
from persistent_messages.views import bulk
from tests.pages import (
    ABSURD,
    HTMX,
    MODES,
    ON_ALL,
    act,
    address,
    ask,
    browser_of,
    button_of,
    fields_of,
    fill,
    form_to,
    included_fields,
    is_changed,
    is_page,
    mailbox_rows,
    press,
    rows,
    soup,
    text_of,
    texts,
    values_of,
)

INBOX = "/messages/"
BULK = address("message_bulk")
READ_ALL = address("message_mark_all_read")
DELETE_ALL = address("message_delete_all")
NOW = timezone.now()
# The state before and after each action: folder, read, moved.
DO = {
    "read": ("?", {}, (Folder.INBOX, True, False)),
    "unread": ("?", {"read_at": NOW}, (Folder.INBOX, False, False)),
    "archive": ("?", {}, (Folder.ARCHIVE, False, True)),
    "restore": (
        "?box=archive",
        {"folder": Folder.ARCHIVE, "moved_at": NOW},
        (Folder.INBOX, False, False),
    ),
    "delete": ("?", {}, (Folder.TRASH, False, True)),
}
SAID = {
    "read": "2 messages marked as read.",
    "unread": "2 messages marked as unread.",
    "archive": "2 messages archived.",
    "delete": "2 messages deleted.",
}


def states(keys):
    found = Message.objects.in_bulk(keys)
    return [(m.folder, m.read, m.moved_at is not None) for m in (found[key] for key in keys)]


def post_selection(browser, do, keys, headers=None, **data):
    return browser.post(BULK, {"do": do, "ids": keys, **data}, headers=headers or {})


def heading(page):
    (question,) = texts(page, ".pm-thread-title")
    return question


def confirmed(browser, page):
    """Submit the form of a confirmation page."""
    (form,) = soup(page).select(".pm-form")
    return browser.post(form["action"], fields_of(form))


# Selected messages


@pytest.mark.parametrize("do", DO)
def test_form_changes_only_selected_messages(user, do):
    query, begin, end = DO[do]
    keys = fill(user, 4, **begin)
    before = states(keys)
    browser = browser_of(user, enforce_csrf_checks=True)
    (pane,) = soup(browser.get(INBOX + query)).select(".pm-pane")
    assert do in [e.get("value") for e in soup(pane).select("button")]

    answer = browser.post(BULK, {**fields_of(pane, tick=keys[1:3]), "do": do})

    assert answer.status_code == 302
    assert answer["Location"] == (INBOX if query == "?" else INBOX + query)
    assert states(keys) == [before[0], end, end, before[3]]
    (said,) = texts(browser.get("/"), ".pm-passing")
    assert SAID.get(do, "2 messages") in said


@pytest.mark.parametrize("do", DO)
def test_htmx_changes_selected_messages_and_refreshes_list(client, user, do):
    query, begin, end = DO[do]
    keys = fill(user, 4, **begin)
    before = states(keys)
    page = client.get(INBOX + query)

    answer = press(client, page, button_of(page, BULK, value=do), tick=keys[1:3])

    assert answer.status_code == 200
    assert states(keys) == [before[0], end, end, before[3]]
    assert rows(answer) == rows(client.get(INBOX + query))
    assert any(SAID.get(do, "2 messages") in said for said in texts(answer, ".pm-notice"))


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("do", DO)
def test_bulk_action_ignores_messages_of_other_users(client, user, other, do, headers):
    query, begin, end = DO[do]
    own, his = fill(user, 1, **begin), fill(other, 3, **begin)
    before = mailbox_rows(other)

    answer = post_selection(client, do, [*his, *own], headers, **{"pm-filter": query})

    assert answer.status_code == (200 if headers else 302)
    assert mailbox_rows(other) == before
    assert states(own) == [end]


def test_bulk_action_ignores_messages_in_other_folders(client, user):
    """A message that another tab has moved since it was selected is left alone."""
    kept = fill(user, 1), fill(user, 1, folder=Folder.TRASH), fill(user, 1, folder=Folder.ARCHIVE)
    keys = [key for keys in kept for key in keys]
    passing = fill(user, 1, folder=Folder.ONE_SHOT, level=20)

    for query, changed in (("?", 0), ("?box=trash", 1), ("?box=archive", 2)):
        post_selection(client, "read", [*keys, *passing], HTMX, **{"pm-filter": query})
        read = [m.read for m in map(Message.objects.in_bulk(keys).get, keys)]
        assert read == [number <= changed for number in range(3)]

    assert Message.objects.filter(read_at=None, folder=Folder.INBOX).count() == 0


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_empty_selection_changes_nothing(client, user, headers):
    fill(user, 3)
    before = mailbox_rows(user)

    for data in ({"do": "delete"}, {"do": "delete", "ids": ""}, {"do": "read", "ids": []}):
        assert client.post(BULK, data, headers=HTMX).status_code == 200
    answer = client.post(BULK, {"do": "archive"}, headers=headers)

    assert answer.status_code == (200 if headers else 302)
    assert [m for m in mailbox_rows(user) if m["folder"] != Folder.ONE_SHOT] == before


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_invalid_key_is_ignored_beside_valid_one(client, user, headers):
    (key, *_) = fill(user, 3)

    answer = post_selection(client, "read", [*ABSURD, "9" * 19, 2**63, 0, key], headers)

    assert answer.status_code == (200 if headers else 302)
    assert list(Message.objects.exclude(read_at=None).values_list("pk", flat=True)) == [key]


def test_duplicate_keys_count_once(client, user):
    (key,) = fill(user, 1)

    post_selection(client, "read", [key, key, f"0{key}"])

    assert "1 message marked as read." in texts(client.get("/"), ".pm-passing")[0]


@pytest.mark.parametrize("do", ["", "destroy", "READ", "delete ", "mark_read", "__class__", "\x00"])
@pytest.mark.parametrize("query", ["?", "?box=trash"])
def test_unknown_action_is_rejected_with_error_message(client, user, do, query):
    keys = fill(user, 2, folder=Folder.TRASH if "trash" in query else Folder.INBOX)
    before = mailbox_rows(user)

    for headers in MODES.values():
        answer = post_selection(client, do, keys, headers, **{"pm-filter": query})
        # htmx would not show the text of a 400 response.
        assert answer.status_code == (200 if headers == HTMX else 400)
        assert "Unknown action." in answer.text
        assert is_page(answer) is (headers != HTMX)
    assert client.post(BULK, {"ids": keys}).status_code == 400

    assert mailbox_rows(user) == before


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_too_many_keys_are_rejected_with_error_message(client, user, settings, headers):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = None
    keys = fill(user, 3)
    before = mailbox_rows(user)

    answer = post_selection(client, "delete", [*keys, *range(10**6, 10**6 + 10_000)], headers)

    assert answer.status_code == (200 if headers == HTMX else 400)
    assert f"Select at most {bulk.MAX_IDS} messages." in answer.text
    assert mailbox_rows(user) == before


def test_too_many_keys_exceed_default_django_limit(client, user):
    keys = fill(user, 3)
    before = mailbox_rows(user)

    assert (
        post_selection(client, "delete", [*keys, *range(10**6, 10**6 + 10_000)]).status_code == 400
    )

    assert mailbox_rows(user) == before


def test_largest_selection_is_within_default_django_limit(user):
    """DATA_UPLOAD_MAX_NUMBER_FIELDS is 1000, including the token and the other fields."""
    keys = fill(user, bulk.MAX_IDS)
    browser = browser_of(user, enforce_csrf_checks=True)
    page = browser.get(INBOX)
    (pane,) = soup(page).select(".pm-pane")
    button = button_of(page, BULK, value="archive")
    # Each row has only one field, its checkbox.
    shown = rows(page)
    assert len(fields_of(pane, tick=shown)["ids"]) == len(shown)
    assert set(fields_of(soup(page).select(".pm-list")[0], tick=shown)) == {"ids"}

    plain = browser.post(BULK, {**fields_of(pane), "ids": keys, "do": "read"})
    parts = included_fields(page, button["hx-include"])
    data = {**parts, **fields_of(pane), "ids": keys, "do": "archive"}
    swap = browser.post(BULK, data, headers=HTMX)

    assert (plain.status_code, swap.status_code) == (302, 200)
    assert states(keys) == [(Folder.ARCHIVE, True, True)] * bulk.MAX_IDS


def test_get_request_to_bulk_action_redirects_to_inbox(client, user):
    keys = fill(user, 1)
    before = mailbox_rows(user)

    answer = client.get(BULK, {"ids": keys, "do": "delete"})

    assert answer["Location"] == INBOX
    assert mailbox_rows(user) == before


# Selected messages in the trash


@pytest.mark.parametrize("mode", MODES)
def test_permanent_bulk_deletion_asks_for_confirmation(client, user, mode):
    keys = fill(user, 3, folder=Folder.TRASH, moved_at=NOW)
    before = mailbox_rows(user)
    (pane,) = soup(client.get(f"{INBOX}?box=trash")).select(".pm-pane")
    data = {**fields_of(pane, tick=keys[:2]), "do": "delete"}

    page = client.post(BULK, data, headers=MODES[mode])

    assert page.status_code == 200
    assert is_page(page) is (mode != "htmx")
    assert heading(page) == "Permanently delete 2 messages?"
    assert mailbox_rows(user) == before
    answer = confirmed(client, page)
    assert answer["Location"] == f"{INBOX}?box=trash"
    assert rows(client.get(f"{INBOX}?box=trash")) == keys[2:]
    assert not Message.objects.filter(pk__in=keys[:2]).exists()


@pytest.mark.parametrize("final", ["", "0", "true", "11"])
def test_unconfirmed_bulk_deletion_keeps_messages_in_trash(client, user, final):
    keys = fill(user, 2, folder=Folder.TRASH)
    before = mailbox_rows(user)

    for _ in range(2):
        page = post_selection(client, "delete", keys, **{"pm-filter": "?box=trash", "final": final})
        assert heading(page) == "Permanently delete 2 messages?"

    assert mailbox_rows(user) == before


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_repeated_bulk_deletion_only_moves_to_trash(client, user, headers):
    keys = fill(user, 2)

    for _ in range(3):
        post_selection(client, "delete", keys, headers, **{"pm-filter": "?"})

    assert states(keys) == [(Folder.TRASH, False, True)] * 2


def test_confirmation_is_ignored_outside_trash(client, user):
    keys = fill(user, 2)

    post_selection(client, "delete", keys, **{"pm-filter": "?", "final": "1"})

    assert states(keys) == [(Folder.TRASH, False, True)] * 2


def test_delete_button_of_trash_does_not_use_htmx(client, user):
    fill(user, 1, folder=Folder.TRASH)

    page = client.get(f"{INBOX}?box=trash")

    (button,) = [e for e in soup(page).select("button") if e.get("value") == "delete"]
    assert not [name for name in button.attrs if name.startswith("hx-")]


def test_confirmed_bulk_deletion_ignores_messages_of_other_users(client, user, other):
    his = fill(other, 2, folder=Folder.TRASH)
    before = mailbox_rows(other)

    page = post_selection(client, "delete", his, **{"pm-filter": "?box=trash"})
    confirmed(client, page)

    assert mailbox_rows(other) == before


# All, up to the newest one shown


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("name", ON_ALL)
def test_action_on_all_ignores_messages_newer_than_page(client, send, name, headers):
    shown = send("Shown")
    (pane,) = soup(client.get(INBOX)).select(".pm-pane")
    later = send("Came later")

    ask(client, "post", name, headers=headers, data=fields_of(pane))

    assert is_changed(shown, name)
    later.refresh_from_db()
    assert (later.read, later.folder) == (False, Folder.INBOX)


@pytest.mark.parametrize("name", ON_ALL)
def test_action_on_all_ignores_messages_newer_than_confirmation(client, send, name):
    shown = send("Shown")
    page = ask(client, "get", name)
    later = send("Came later")

    confirmed(client, page)

    assert is_changed(shown, name)
    later.refresh_from_db()
    assert (later.read, later.folder) == (False, Folder.INBOX)


@pytest.mark.parametrize("name", ON_ALL)
def test_confirmation_page_keeps_newest_of_previous_page(client, send, name):
    shown = send("Shown")
    send("Came before the question")

    page = ask(client, "get", name, newest=shown.pk)

    assert values_of(soup(page).select(".pm-form")[0], "newest") == [str(shown.pk)]


@pytest.mark.parametrize("name", ON_ALL)
def test_newest_of_zero_changes_nothing(client, user, send, name):
    """An empty page sends 0, so messages that arrive later are left alone."""
    send("Came later")
    before = mailbox_rows(user)

    response = ask(client, "post", name, headers=HTMX, data={"newest": "0"})

    assert response.status_code == 200
    assert mailbox_rows(user) == before


@pytest.mark.parametrize("name", ON_ALL)
def test_invalid_newest_means_all_current_messages(client, user, name):
    for newest in [*ABSURD, "9" * 19, str(2**63)]:
        (key,) = fill(user, 1)
        response = ask(client, "post", name, headers=HTMX, data={"newest": newest})
        assert response.status_code == 200
        assert is_changed(Message.objects.get(pk=key), name), newest


@pytest.mark.parametrize("name", ON_ALL)
def test_action_on_all_covers_all_pages_of_one_folder(client, user, send, name):
    send("Passing", contrib_messages.INFO)
    others = [
        *fill(user, 1, folder=Folder.ARCHIVE),
        *fill(user, 1, folder=Folder.SENT),
        *fill(user, 1, folder=Folder.TRASH),
    ]
    before = states(others)
    keys = fill(user, 60)

    ask(client, "post", name, headers=HTMX)

    assert all(is_changed(message, name) for message in Message.objects.filter(pk__in=keys))
    assert states(others) == before


FILTERS = {
    "?": {"folder": Folder.INBOX},
    "?box=unread": {"folder": Folder.INBOX, "read_at": None},
    "?level=error": {"folder": Folder.INBOX, "level": 140},
    "?box=unread&level=error": {"folder": Folder.INBOX, "level": 140, "read_at": None},
    "?box=archive": {"folder": Folder.ARCHIVE},
    "?box=archive&level=info": {"folder": Folder.ARCHIVE, "level": 120},
    "?box=sent": {"folder": Folder.SENT},
    "?box=trash&level=error": {"folder": Folder.TRASH, "level": 140},
}


@pytest.fixture
def messages_in_each_folder(user):
    """Create messages in each folder, of two levels, read and unread."""
    for folder in (Folder.INBOX, Folder.ARCHIVE, Folder.SENT, Folder.TRASH):
        for level in (120, 140):
            for read_at in (None, NOW):
                fill(user, 1, folder=folder, level=level, read_at=read_at)


def split_rows(chosen):
    """Return the rows in `chosen`, and all others."""
    inside = Message.objects.filter(**chosen)
    keys = list(inside.values_list("pk", flat=True))
    return keys, lambda: list(Message.objects.exclude(pk__in=keys).order_by("pk").values())


@pytest.mark.parametrize("query", FILTERS)
def test_mark_all_read_changes_only_filtered_messages(client, user, messages_in_each_folder, query):
    chosen, others = split_rows(FILTERS[query])
    before = others()
    (pane,) = soup(client.get(INBOX + query)).select(".pm-pane")

    answer = client.post(READ_ALL, fields_of(pane), headers=HTMX)

    assert answer.status_code == 200
    assert Message.objects.filter(pk__in=chosen).unread().count() == 0
    assert others() == before
    assert rows(answer) == rows(client.get(INBOX + query))


@pytest.mark.parametrize("query", FILTERS)
def test_delete_all_changes_only_filtered_messages_and_counts_them(
    client, messages_in_each_folder, query
):
    chosen, others = split_rows(FILTERS[query])
    before = others()
    (link,) = [
        e["href"]
        for e in soup(client.get(INBOX + query)).select("a")
        if e["href"].startswith(DELETE_ALL)
    ]

    page = client.get(link)
    count, name = (
        len(chosen),
        str(InboxPage(None, Filter.from_query(QueryDict(query[1:]))).box_name),
    )
    if "trash" in query:
        assert heading(page) in {f"Permanently delete {count} message{s}?" for s in ("", "s")}
        assert "You can’t undo this." in page.text
    else:
        what = "1 message" if count == 1 else f"all {count} messages"
        assert heading(page) == f"Delete {what} in “{name}”?"
        assert "You can undo this, or find them in the trash." in page.text
    assert ("Only messages under the filter “" in page.text) == ("level" in query)
    (button,) = soup(page).select(".pm-btn--danger")
    assert text_of(button) == ("Delete permanently" if "trash" in query else "Delete all")
    answer = confirmed(client, page)

    assert answer["Location"].removeprefix(INBOX) == query.removesuffix("?") or query == "?"
    left = {m.folder for m in Message.objects.filter(pk__in=chosen)}
    assert left == (set() if "trash" in query else {Folder.TRASH})
    assert [row for row in others() if row["folder"] != Folder.ONE_SHOT] == before


@pytest.mark.parametrize("name", ON_ALL)
@pytest.mark.parametrize("query", ["?q=Number", "?box=trash&q=Number", "?q=nothing"])
def test_action_on_all_is_rejected_after_search(client, user, messages_in_each_folder, name, query):
    before = mailbox_rows(user)
    (pane,) = soup(client.get(INBOX + query)).select(".pm-pane")

    swap = ask(client, "post", name, headers=HTMX, data=fields_of(pane))
    page = client.get(address(name) + query)
    confirm = confirmed(client, page)

    assert (swap.status_code, confirm.status_code) == (200, 302)
    assert [row for row in mailbox_rows(user) if row["folder"] != Folder.ONE_SHOT] == before


def test_confirmation_count_is_limited(client, user, monkeypatch):
    assert heading(client.get(DELETE_ALL)) == "Delete all 0 messages in “Inbox”?"
    (key, *_) = fill(user, 6)
    assert heading(client.get(DELETE_ALL)) == "Delete all 6 messages in “Inbox”?"
    oldest = Message.objects.order_by("pk").first()
    assert heading(client.get(DELETE_ALL, {"newest": oldest.pk})) == "Delete 1 message in “Inbox”?"

    monkeypatch.setattr(bulk, "COUNT_LIMIT", 5)
    monkeypatch.setattr(inbox_page, "COUNT_LIMIT", 5)

    question = "Delete all 5+ messages in “Inbox”?"
    assert heading(client.get(DELETE_ALL, {"newest": key})) == question


def test_repeated_delete_all_only_moves_to_trash(client, user):
    keys = fill(user, 3)
    (form,) = soup(client.get(DELETE_ALL)).select(".pm-form")

    for _ in range(3):
        client.post(DELETE_ALL, fields_of(form))

    assert states(keys) == [(Folder.TRASH, False, True)] * 3


def test_mark_all_button_shows_count(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5}

    def label(query=""):
        (found,) = texts(client.get(INBOX + query), ".pm-all")
        return found

    assert label() == "", "without words it is not shown"
    fill(user, 1)
    assert label() == "Mark 1 as read"
    fill(user, 2, level=140)
    fill(user, 3, folder=Folder.ARCHIVE)
    assert label() == label("?box=unread") == "Mark all 3 as read"
    assert label("?level=error") == "Mark all 2 as read"
    assert label("?box=archive") == ""
    fill(user, 3)
    assert label() == "Mark all as read"


# The strip and the list beside it


@pytest.mark.parametrize("query", ["?box=archive", "?level=error", "?q=Number", "?box=trash"])
def test_closing_all_notices_ignores_filter_of_list(client, user, messages_in_each_folder, query):
    chosen, others = split_rows({"folder": Folder.INBOX})
    before = others()
    newest = max(chosen)
    page = client.get(INBOX + query)
    (pane,) = soup(page).select(".pm-pane")
    # The button in the strip sends the state of the list, which the response updates.
    data = {"pm-filter": fields_of(pane)["pm-filter"], "newest": newest, "pm-from": "strip"}

    answer = act(client, "message_mark_all_read", None, "list", "strip", **data)

    assert answer.status_code == 200
    assert Message.objects.filter(pk__in=chosen).unread().count() == 0
    assert others() == before


@pytest.mark.parametrize("place", ["pm-notices", "pm-pane"])
@pytest.mark.parametrize("query", ["?", "?box=unread"])
def test_action_on_one_message_keeps_newest_of_page(client, user, query, place):
    keys = fill(user, 3)
    # A page of ours has no notices, but one of a site may have both.
    page = client.get("/").text + client.get(INBOX + query).text
    part = soup(page).select(f".{place}")[0]
    button = button_of(part, address("message_mark_read", Message(pk=keys[1])))
    fill(user, 1, message="Came later")

    answer = press(client, page, button)

    assert Message.objects.get(pk=keys[1]).read
    links = [e["href"] for e in [*soup(answer).select("a"), *soup(page).select("a")]]
    # The one in the response if it is updated, or else the one on the page.
    first = next(link for link in links if link.startswith(DELETE_ALL))
    assert f"newest={keys[0]}&" in first


# Cost


def cost(browser, url, data):
    with CaptureQueriesContext(connection) as queries:
        response = browser.post(url, data, headers=HTMX)
    assert response.status_code == 200
    return len(queries)


@pytest.mark.parametrize(
    "what",
    [
        "message_mark_read",
        "message_mark_unread",
        "message_archive",
        "message_restore",
        "message_delete",
        "message_undo",
        "message_mark_all_read",
        "message_delete_all",
        *DO,
    ],
)
def test_query_count_of_action_does_not_depend_on_mailbox_size(client, user, what):
    costs = []
    for size in (10, 1000):
        Message.objects.all().delete()
        query, begin, _ = DO.get(what, DO["read"])
        keys = fill(user, size, **begin)
        (message,) = Message.objects.filter(pk=keys[0])
        if what == "message_mark_unread":
            Message.objects.filter(pk=keys[0]).update(read_at=NOW)
        if what == "message_restore":
            Message.objects.filter(pk=keys[0]).update(folder=Folder.ARCHIVE, moved_at=NOW)
        data = {
            "pm-filter": query,
            "pm-part": ["list", "strip", "counter"],
            "pm-from": "row",
            "newest": keys[0],
        }
        if what in DO:
            url, data = BULK, {**data, "do": what, "ids": keys[: min(size, 500)]}
        elif what == "message_undo":
            Message.objects.filter(pk__in=keys).update(read_at=NOW)
            message.refresh_from_db()
            url = address(what, message)
        else:
            url = address(what, message)
        costs.append(cost(client, url, data))

    small, large = costs
    assert small == large
    # Session, user, message; the action; its row or list, the strip and the unread count.
    assert large <= 10


# All messages


def select_all(browser, do, newest, query="?", **data):
    shown = {"pm-part": "list", "pm-filter": query, "every": "1", "newest": newest, "do": do}
    return browser.post(BULK, {**shown, **data}, headers=HTMX)


def select_all_label(browser, newest, query="?"):
    url = f"{INBOX}{query}&newest={newest}&pm-fragment=every"
    return " ".join(texts(browser.get(url, headers=HTMX), ".pm-of"))


@pytest.mark.parametrize("do", ["read", "archive", "delete"])
def test_select_all_covers_messages_up_to_newest_shown(client, user, send, do):
    keys = fill(user, 60)
    warning = send("Look here.", persistent_messages.WARNING).pk
    late = fill(user, 1)[0]

    answer = select_all(client, do, keys[0], "?level=info", ids=keys[:25])

    assert answer.status_code == 200
    done = {
        "read": Message.objects.exclude(read_at=None),
        "archive": Message.objects.filter(folder=Folder.ARCHIVE),
        "delete": Message.objects.filter(folder=Folder.TRASH),
    }[do]
    assert set(done.values_list("pk", flat=True)) == set(keys)
    assert not done.filter(pk__in=[warning, late])


def test_select_all_excludes_other_users_and_searches(client, user, other):
    fill(other, 3)
    [newest, *_] = fill(user, 3)

    select_all(client, "archive", newest, "?q=hello")
    select_all(client, "archive", "")
    assert not Message.objects.filter(folder=Folder.ARCHIVE)
    select_all(client, "archive", newest + 99)
    assert set(Message.objects.filter(folder=Folder.ARCHIVE).values_list("user", flat=True)) == {
        user.pk
    }


def test_select_all_in_trash_is_deleted_after_confirmation(client, user):
    keys = fill(user, 30, folder=Folder.TRASH, moved_at=timezone.now(), trashed_at=timezone.now())
    data = {"pm-filter": "?box=trash", "every": "1", "newest": keys[0], "do": "delete"}

    page = client.post(BULK, data)
    assert "Permanently delete 30 messages?" in page.text
    assert Message.objects.count() == 30
    client.post(BULK, fields_of(form_to(page, BULK)))
    assert not Message.objects.filter(folder=Folder.TRASH)


def test_select_all_count_is_on_demand_and_limited(client, user, monkeypatch):
    newest = fill(user, 1121)[0]
    assert "1,121" not in client.get(INBOX).text

    assert "of 1,121 selected" in select_all_label(client, newest)
    monkeypatch.setattr("persistent_messages.inbox.page.COUNT_LIMIT", 1000)
    assert "of 1,000+ selected" in select_all_label(client, newest)


def test_select_all_count_consumes_no_one_shot_message(client, user, send):
    newest = fill(user, 3)[0]
    fill(user, 2)
    send("Once.", contrib_messages.INFO)

    assert "of 3 selected" in select_all_label(client, newest)
    assert Message.objects.filter(folder=Folder.ONE_SHOT).exists()
