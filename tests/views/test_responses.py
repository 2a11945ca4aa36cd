"""Responses to actions: their texts, the parts they update, and the focus."""

import gzip

import pytest

from persistent_messages import Folder
from persistent_messages.models import Message
from tests.pages import (
    BOOSTED,
    CHANGING,
    HTMX,
    ON_ALL,
    RESTORED,
    act,
    announced_unread,
    ask,
    fill,
    is_changed,
    is_page,
    outermost,
    prepare,
    rows,
    soup,
    swaps,
    text_of,
    texts,
)

INBOX = "/messages/"
# Opening a message leaves the page, so it has no such response.
ACTIONS = [name for name in CHANGING if name != "message_open"]
SAID = {
    "message_mark_read": "“Lunch at noon” marked as read.",
    "message_mark_unread": "“Lunch at noon” marked as unread.",
    "message_archive": "“Lunch at noon” archived.",
    "message_restore": "“Lunch at noon” restored.",
    "message_delete": "“Lunch at noon” deleted.",
    "message_mark_all_read": "1 message marked as read.",
    "message_delete_all": "1 message deleted.",
    "message_bulk": "1 message marked as read.",
    "message_undo": "Undone.",
    "message_go_on": "1 message marked as read.",
}


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("headers", [{}, BOOSTED, RESTORED])
def test_plain_form_acts_redirects_and_shows_result_once(client, send, name, headers):
    message = send("Lunch at noon")
    data = prepare(name, message)

    response = ask(client, "post", name, message, headers, data)

    assert response.status_code == 302
    assert response["Location"] == INBOX
    assert is_changed(message, name)
    (said,) = texts(client.get("/"), ".pm-passing")
    assert SAID[name] in said
    assert texts(client.get("/"), ".pm-passing") == [""], "said once"


@pytest.mark.parametrize("name", ACTIONS)
def test_htmx_action_returns_unread_count(client, send, name):
    before = send("Came before")
    message = send("Lunch at noon")
    data = prepare(name, message)

    response = ask(client, "post", name, message, HTMX, data)

    assert response.status_code == 200
    assert not is_page(response)
    assert is_changed(message, name)
    before.refresh_from_db()
    left = [m for m in (before, message) if m.folder == Folder.INBOX and not m.read]
    assert announced_unread(response) == len(left)
    assert texts(client.get("/"), ".pm-passing") == [""], "a swap leaves nothing behind"


@pytest.mark.parametrize("name", ACTIONS)
def test_htmx_action_announces_result(client, send, name):
    message = send("Lunch at noon")
    data = prepare(name, message)
    data.setdefault("pm-from", "row")

    by_strip = act(client, name, message, "list", "strip", **data)
    assert [said.removeprefix("Success: ").removesuffix(" Undo") for said in notices(by_strip)] == [
        SAID[name]
    ]

    data = prepare(name, message)
    by_line = act(client, name, message, "list", **{**data, "pm-from": "row"})
    (line,) = [e for e in outermost(by_line) if "pm-status" in str(e.attrs)]
    assert text_of(line)


def notices(answer):
    """Return the text that the response announces."""
    (said,) = [e for e in outermost(answer) if swap_of(e) == "beforeend:.pm-said"]
    return texts(said, ".pm-notice")


def swap_of(element):
    return element.get("hx-swap-oob")


def test_status_line_announces_result(client, send):
    answer = act(client, "message_delete", send("Lunch at noon"), "list", **{"pm-from": "row"})

    (line,) = [e for e in outermost(answer) if swap_of(e) == "innerHTML:.pm-status"]
    assert text_of(line) == SAID["message_delete"]


def test_closing_notice_announces_nothing(client, send):
    # Its timer posts without a button. The focus stays on another notice.
    message = send("Lunch at noon")

    notice = {"pm-notice": message.pk}
    answer = act(client, "message_mark_read", message, "list", "strip", "counter", **notice)

    assert "Lunch" not in answer.text
    went = [f"delete:[data-pm-notice='{message.pk}']"]
    assert sorted(swaps(answer)) == places("totals", "notice", "counter", notice=went)
    assert not soup(answer).select("[data-pm-focus]")


def test_unread_count_of_event_is_limited(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5}
    newest, *_ = fill(user, 20)

    response = act(client, "message_mark_read", Message.objects.get(pk=newest))

    assert announced_unread(response) == 6


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("name", ["message_mark_read", "message_archive", "message_delete"])
def test_repeated_action_changes_nothing(client, send, headers, name):
    message = send("Hello")

    first = ask(client, "post", name, message, headers)
    message.refresh_from_db()
    state = (message.folder, message.read_at, message.moved_at)
    second = ask(client, "post", name, message, headers)

    assert first.status_code == second.status_code == (200 if headers else 302)
    message.refresh_from_db()
    assert (message.folder, message.read_at, message.moved_at) == state


@pytest.mark.parametrize("name", ["message_mark_read", "message_mark_unread"])
def test_marking_message_in_trash_does_not_restore_it(client, send, name):
    message = send("Hello")
    act(client, "message_delete", message)

    response = act(client, name, message)

    assert response.status_code == 200
    assert rows(response) == []
    message.refresh_from_db()
    assert message.folder == Folder.TRASH


# The parts of a response


@pytest.mark.parametrize("name", ["message_mark_read", "message_mark_unread"])
def test_mark_request_without_parts_returns_row(client, send, name):
    message = send("Hello")

    response = act(client, name, message)

    assert rows(response) == [message.pk]
    assert swaps(response) == []


@pytest.mark.parametrize("name", ["message_delete", "message_archive"])
def test_move_request_without_parts_returns_nothing(client, send, name):
    assert act(client, name, send("Hello")).content.strip() == b""


@pytest.mark.parametrize("name", [*ON_ALL, "message_bulk", "message_undo"])
def test_bulk_request_without_parts_returns_list(client, send, name):
    message = send("Hello")

    response = act(client, name, message, **prepare(name, message))

    assert len(soup(response).select(".pm-pane")) == 1
    assert "outerHTML:.pm-pane" not in swaps(response)


WHERE = {
    "status": ["innerHTML:.pm-status"],
    "said": ["beforeend:.pm-said"],
    "strip": ["outerHTML:.pm-notices"],
    "counter": ["outerHTML:.pm-unread"],
    "pane": ["outerHTML:.pm-pane"],
    # The unread count in the list.
    "totals": ["outerHTML:.pm-all", "outerHTML:.pm-unread-num"],
}


def places(*parts, **more):
    return sorted(place for part in parts for place in {**WHERE, **more}[part])


@pytest.mark.parametrize(
    ("parts", "row", "expected"),
    [
        ((), "own", {"row"}),
        (("list",), None, {"status", "totals"}),
        (("strip",), None, {"notice", "said"}),
        (("counter",), None, {"counter"}),
        (
            ("list", "strip", "counter"),
            "own",
            {"row", "totals", "notice", "said", "counter"},
        ),
        (("list", "list"), "own", {"status", "totals", "row"}),
        (("counter",), "another", {"counter"}),
        (("<script>",), "<script>", set()),
    ],
)
def test_response_for_one_message_has_parts_of_page(client, send, parts, row, expected):
    another = send("Another")
    message = send("Hello")
    shown = {"own": message.pk, "another": another.pk, None: ""}.get(row, row)
    own = {
        "row": [f"outerHTML:[data-pm-message='{message.pk}']"],
        "notice": [f"delete:[data-pm-notice='{message.pk}']"],
    }
    # A page of the app with a row has either the list, or the bell with the unread count.
    data = {"pm-part": parts or ["bell"], "pm-row": [shown], "pm-from": "strip"}
    data["pm-notice"] = [message.pk]

    response = ask(client, "post", "message_mark_read", message, HTMX, data)

    assert sorted(swaps(response)) == places(*expected, **own)
    assert rows(response) == ([message.pk] if "row" in expected else [])
    outside = outermost(response)
    assert all("hx-swap-oob" in e.attrs for e in outside), "nothing but out of band"


def test_message_marked_as_unread_returns_to_strip(client, send):
    message = send("Hello")
    act(client, "message_mark_read", message)

    response = act(client, "message_mark_unread", message, "strip", **{"pm-from": "page"})

    assert sorted(swaps(response)) == places("strip", "said")
    (strip,) = texts(response, ".pm-notices")
    assert "Hello" in strip


@pytest.mark.parametrize("name", [*ON_ALL, "message_bulk", "message_undo"])
def test_response_for_many_messages_has_parts_of_page(client, send, name):
    message = send("Hello")

    def answer(*parts):
        data = prepare(name, message)
        return act(client, name, message, *parts, **data, **{"pm-from": "list"})

    shown = answer("list", "counter")
    assert sorted(swaps(shown)) == places("status", "pane", "counter")
    assert all("hx-swap-oob" in e.attrs for e in outermost(shown))
    assert swaps(answer("counter")) == places("counter")
    assert sorted(swaps(answer("strip", "list"))) == places("said", "strip", "pane")


@pytest.mark.parametrize("name", ["message_delete", "message_archive"])
def test_removed_row_is_deleted_out_of_band(client, send, name):
    message = send("Hello")

    response = act(client, name, message, "list", row=True)

    went = [f"delete:[data-pm-message='{message.pk}']"]
    assert sorted(swaps(response)) == places("row", "status", "totals", row=went)


def test_row_marked_as_read_stays_in_unread_folder(client, send):
    message = send("Hello")

    response = act(
        client, "message_mark_read", message, "list", row=True, **{"pm-filter": "?box=unread"}
    )

    assert rows(response) == [message.pk]


def test_counter_and_strip_of_response_reflect_action(client, send):
    send("Stays")
    message = send("Goes")

    parts = ("list", "strip", "counter")
    response = act(client, "message_mark_read", message, *parts, row=True, **{"pm-from": "row"})

    assert texts(response, ".pm-badge") == ["1"]
    assert texts(response, ".pm-unread-num") == ["1"]
    assert texts(response, ".pm-all") == ["Mark 1 as read"]
    act(client, "message_mark_read", Message.objects.get(message="Stays"))
    many = act(client, "message_bulk", None, "strip", "counter", do="unread", ids=message.pk)
    (strip,) = texts(many, ".pm-notices")
    assert "Goes" in strip
    assert "Stays" not in strip
    assert texts(many, ".pm-badge") == ["1"]


def test_response_focuses_opposite_button_or_refreshed_list(client, send):
    message = send("Hello")

    def focused(name, target, *parts, came_from, **data):
        answer = act(client, name, target, *parts, **data, **{"pm-from": came_from})
        return soup(answer).select("[data-pm-focus]")

    (row,) = focused("message_mark_read", message, "list", came_from="row", row=True)
    assert "Mark “Hello” as unread" in row["aria-label"]
    (pane,) = focused("message_mark_all_read", None, "list", came_from="list")
    assert "pm-pane" in pane.get("class", "").split()
    assert pane["tabindex"] == "-1"
    (bell,) = focused("message_mark_all_read", None, "counter", came_from="bell")
    assert "pm-latest" in bell.get("class", "").split()
    assert bell["tabindex"] == "-1"
    # When an element is removed, the script moves the focus to the next one.
    assert focused("message_mark_read", message, "strip", came_from="strip") == []
    assert focused("message_delete", message, "list", came_from="row", row=True) == []


def test_page_lists_its_parts(client, send):
    message = send("Hello")

    def told(page, name):
        return {text_of(e) for e in soup(page).select("output") if e["name"] == name}

    inbox, home = client.get(INBOX), client.get("/")

    assert told(inbox, "pm-part") == {"list", "said", "counter"}, "the list has the notices"
    assert told(inbox, "pm-row") == {str(message.pk)}
    assert told(home, "pm-part") == {"strip", "counter"}


def test_part_list_is_not_submitted_with_site_forms(client, send):
    """Browsers do not submit an `<output>`, so `hx-include` adds it."""
    send("Hello")

    page = client.get(INBOX)

    fields = {e.get("name") for e in soup(page).select("input")}
    assert not fields & {"pm-part", "pm-row"}


@pytest.mark.parametrize(
    "name", ["message_mark_read", "message_mark_unread", "message_archive", "message_delete"]
)
def test_response_to_action_on_row_is_small(client, user, send, name):
    """Under 2 KB as it travels, compressed, even where it brings the ten notices of the strip.

    As it is: a row or what takes its place, what was said and some numbers, under 6 KB.
    """
    text = "The disk quota was reached. Nothing was lost; the next run is at 02:00."
    fill(user, 40, subject="The nightly export failed", message=text)
    message = send(text, subject="The nightly export failed")
    prepare(name, message)
    data = {"pm-from": "row", "pm-filter": "?", "pm-page": "1"}

    answer = act(client, name, message, "list", "strip", "counter", row=True, **data)

    brings_the_strip = name == "message_mark_unread"
    assert len(gzip.compress(answer.content)) < 2048
    assert len(answer.content) < (18 if brings_the_strip else 6) * 1024
