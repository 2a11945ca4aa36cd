"""The pages of letters: write, reply, block, report; with htmx and without."""

import json
import re
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from persistent_messages import Folder, mailbox, send_letter
from persistent_messages.letters import policy
from persistent_messages.models import Block, Message, Report
from tests.pages import (
    ALL,
    HTMX,
    LETTERS,
    MODES,
    PAGES,
    WHOLE,
    browser_of,
    fields_of,
    form_to,
    is_page,
    log_in_of,
    rows,
    soup,
    text_of,
    texts,
    values_of,
)

WRITE = "/messages/write/"
READING = ("message_people", "message_blocked")
# The parts of a response to htmx that report an error.
ISSUES = "errorlist"


@pytest.fixture
def third(db):
    return get_user_model().objects.create_user("ida", "ida@example.com", "secret")


@pytest.fixture
def letter(user, other):
    """Return a letter from Harry in Sally's inbox."""
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")
    return Message.objects.get(user=user, letter=sent.letter)


def all_letters():
    """Return the rows of letters, without the toasts."""
    return Message.objects.exclude(letter=None)


def address(name, letter):
    given = {"message_id": letter.pk}
    if "block_id" in ALL[name]:
        given["block_id"] = policy.block(letter.user, letter.from_user).pk
    return reverse(name, kwargs={key: given[key] for key in ALL[name]})


def form_of(browser, url, **given):
    """Return the data of the form at a URL, with some values replaced."""
    page = browser.get(url)
    form = form_to(page, urlsplit(url).path)
    sent = {name: values[0] for name, values in fields_of(form).items()}
    for area in soup(form).select("textarea"):
        sent[area["name"]] = text_of(area)
    return {**sent, **given}


def write(browser, headers=None, url=WRITE, **given):
    given = {"to": "harry", "subject": "Rota", "message": "Hello", **given}
    return browser.post(url, form_of(browser, url, **given), headers=headers or {})


def reply(browser, letter, headers=None, /, **given):
    url = reverse("message_reply", args=[letter.pk])
    data = form_of(browser, url, **{"message": "Yes.", **given})
    return browser.post(url, data, headers=headers or {})


def field_errors(response):
    return texts(response, f".{ISSUES}")


# All of them


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("mode", MODES)
def test_visitor_is_redirected_to_log_in(visitor, letter, name, mode):
    response = visitor.get(address(name, letter), headers=MODES[mode])

    assert log_in_of(response)


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("mode", MODES)
def test_owner_gets_page_or_fragment(client, letter, name, mode):
    response = client.get(address(name, letter), {"to": "ha"}, headers=MODES[mode])

    assert response.status_code == 200
    assert is_page(response) == (mode in PAGES and name != "message_people")
    assert "no-store" in response["Cache-Control"]
    assert "HX-Request" in response["Vary"]


@pytest.mark.parametrize("name", [name for name in LETTERS if ALL[name]])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("headers", [{}, HTMX])
def test_letter_or_block_of_other_user_is_not_found(other, letter, name, method, headers):
    url = address(name, letter)
    blocks = Block.objects.count()

    response = getattr(browser_of(other), method)(url, {"message": "Mine"}, headers=headers)

    assert response.status_code == 404
    assert Message.objects.count() == 2
    assert Block.objects.count() == blocks


@pytest.mark.parametrize("name", LETTERS)
def test_letter_pages_are_not_found_if_letters_are_disabled(client, letter, name, settings):
    url = address(name, letter)
    settings.PERSISTENT_MESSAGES = {}

    assert (
        client.get(url).status_code
        == client.post(url).status_code
        == (404 if name not in READING else client.post(url).status_code)
        or client.get(url).status_code == 404
    )
    assert "New message" not in [text_of(e) for e in soup(client.get("/messages/")).select("a")]
    assert client.get(reverse("message_detail", args=[letter.pk])).status_code == 200


@pytest.mark.parametrize("name", [name for name in LETTERS if name not in READING])
def test_post_without_csrf_token_is_rejected(user, letter, name):
    url, browser = address(name, letter), Client(enforce_csrf_checks=True)
    browser.force_login(user)

    assert browser.post(url, {"to": "harry", "message": "Hello"}).status_code == 403


@pytest.mark.parametrize("name", LETTERS)
def test_get_request_changes_nothing(client, letter, name):
    url = address(name, letter)
    before = (list(Message.objects.values()), list(Block.objects.values()))

    client.get(url)

    assert (list(Message.objects.values()), list(Block.objects.values())) == before
    assert not Report.objects.exists()


# Writing


def test_plain_form_sends_and_redirects_to_letter(client, user, other):
    response = write(client)

    sent = all_letters().get(user=user)
    assert response.status_code == 302
    assert response["Location"] == reverse("message_detail", args=[sent.pk])
    page = client.get(response["Location"])
    assert "Sent to harry." in page.text
    assert Message.objects.get(user=other).message == "Hello"


def test_htmx_form_sends_and_redirects_to_letter(client, user, other):
    response = write(client, HTMX)

    sent = all_letters().get(user=user)
    assert response["HX-Redirect"] == reverse("message_detail", args=[sent.pk])
    assert response.content == b""


def test_sender_is_always_request_user(client, user, other, third):
    """The form cannot set another sender."""
    write(client, from_user=third.pk, user=third.pk, thread="0" * 32, folder=Folder.TRASH)

    assert {row.from_user for row in all_letters()} == {user}
    assert {row.user for row in all_letters()} == {user, other}


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_same_form_sent_twice_sends_once(client, other, headers):
    data = form_of(client, WRITE, to="harry", message="Hello")

    answers = [client.post(WRITE, data, headers=headers) for _ in range(2)]

    assert all_letters().count() == 2
    assert len({r.get("Location") or r["HX-Redirect"] for r in answers}) == 1


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize(
    "changed",
    [{"message": "Hello, Harry"}, {"message": "hello"}, {"subject": "Rota"}, {"to": "ida"}],
)
def test_corrected_form_is_sent_and_recipient_is_named(
    client, user, other, third, changed, headers
):
    """A user corrects a typo after a response was lost."""
    data = form_of(client, WRITE, to="harry", message="Hello")
    client.post(WRITE, data, headers=headers)
    client.get("/messages/")
    corrected = {**data, **changed}

    answers = [client.post(WRITE, corrected, headers=headers) for _ in range(2)]

    assert {r.status_code for r in answers} <= {200, 302}
    last = Message.objects.owned_by(user).in_folder(Folder.SENT).latest("pk")
    assert Message.objects.owned_by(user).in_folder(Folder.SENT).count() == 2
    assert (last.subject, last.message) == (corrected["subject"], corrected["message"])
    assert last.to_names == [corrected["to"]]
    got = Message.objects.filter(user__username=corrected["to"], letter=last.letter)
    assert got.count() == 1
    assert f"Sent to {corrected['to']}." in client.get("/messages/").text


def test_corrected_form_counts_towards_send_rate(client, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "1/h"}
    data = form_of(client, WRITE, to="harry", message="Hello")
    client.post(WRITE, data)

    page = client.post(WRITE, {**data, "message": "Hello, Harry"})

    assert "You’ve reached the sending limit." in " ".join(field_errors(page))
    assert ".." not in " ".join(field_errors(page))
    assert client.post(WRITE, data).status_code == 302
    assert all_letters().count() == 2


def test_added_recipient_gets_letter_and_others_no_duplicate(client, user, other, third):
    data = form_of(client, WRITE, to="harry", message="Hello")
    client.post(WRITE, data)
    client.get("/messages/")

    for _ in range(2):
        client.post(WRITE, {**data, "to": "harry, ida"})
        page = client.get("/messages/")
        assert "Sent to ida. Already sent to harry." in page.text

    assert [Message.objects.owned_by(person).count() for person in (other, third)] == [1, 1]


def test_form_resent_to_fewer_recipients_sends_nothing(client, user, other, third):
    data = form_of(client, WRITE, to="harry, ida", message="Hello")
    first = client.post(WRITE, data)
    client.get("/messages/")

    again = client.post(WRITE, {**data, "to": "ida"})

    assert again["Location"] == first["Location"]
    assert "Sent to ida." in client.get("/messages/").text
    assert all_letters().count() == 3


def test_second_form_with_same_content_sends_second_letter(client, user, other):
    for _ in range(2):
        write(client)

    assert Message.objects.owned_by(other).count() == 2


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_form_resent_after_letter_was_deleted_sends_nothing(client, user, other, headers):
    data = form_of(client, WRITE, to="harry", message="Hello")
    client.post(WRITE, data)
    client.get("/messages/")
    for folder in (Folder.SENT, Folder.TRASH):
        mailbox.delete(user, folder, Message.objects.all())

    answer = client.post(WRITE, data, headers=headers)

    address = answer.get("Location") or answer["HX-Redirect"]
    page = client.get(address)
    assert page.status_code == 200
    assert "Sent to harry." in page.text
    assert Message.objects.owned_by(other).count() == 1


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_corrected_reply_is_sent(client, user, other, letter, headers):
    url = reverse("message_reply", args=[letter.pk])
    data = form_of(client, url, message="Yes.")
    client.post(url, data, headers=headers)

    for _ in range(2):
        client.post(url, {**data, "message": "No."}, headers=headers)

    received = Message.objects.inbox_of(other).order_by("pk")
    assert [row.message for row in received] == ["Yes.", "No."]


def test_reply_form_token_is_bound_to_conversation(client, user, other, letter):
    sent = send_letter(other, user, "Party", "Can you come?")
    second = Message.objects.get(user=user, letter=sent.letter)
    data = form_of(client, reverse("message_reply", args=[letter.pk]), message="Yes.")
    for each in (letter, second):
        client.post(reverse("message_reply", args=[each.pk]), data)

    received = Message.objects.inbox_of(other)
    assert {row.thread for row in received} == {letter.thread, second.thread}


@pytest.mark.parametrize("token", ["", "forged", "0" * 32, "a:b:c", "\x00"])
def test_forged_or_expired_form_asks_to_send_again(client, other, token):
    data = form_of(client, WRITE, to="harry", message="Hello", letter=token)

    page = client.post(WRITE, data)

    assert "Please send it again." in page.text
    assert "Hello" in page.text
    assert not Message.objects.exists()
    again = {name: values[0] for name, values in fields_of(form_to(page, WRITE)).items()}
    assert client.post(WRITE, {**again, "message": "Hello"}).status_code == 302


def test_form_token_is_bound_to_user(client, user, other, third):
    """A token is valid only for the user it was made for."""
    data = form_of(browser_of(third), WRITE, to="harry", message="Hello")

    assert "Please send it again." in client.post(WRITE, data).text


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"to": ""}, "This field is required."),
        ({"to": " , ,"}, "This field is required."),
        ({"to": "sally"}, "You can’t send a message to yourself."),
        ({"to": "nobody"}, "Your message can’t be delivered to “nobody”."),
        ({"to": "harry, nobody"}, "Your message can’t be delivered to “nobody”."),
        ({"to": "<b>"}, "Your message can’t be delivered to “<b>”."),
        ({"to": "har\x00ry"}, "Null characters are not allowed."),
        (
            {"to": ", ".join(f"p{n}" for n in range(21))},
            "You can send a message to at most 20 people.",
        ),
        ({"subject": "s" * 256}, "at most 255 characters"),
        ({"subject": "s\x00"}, "Null characters are not allowed."),
        ({"message": ""}, "This field is required."),
        ({"message": "  \n "}, "This field is required."),
        ({"message": "\u202e"}, "Write a message first."),
        ({"message": "x" * 10_001}, "this one has 10001"),
        ({"message": "x\x00"}, "Null characters are not allowed."),
    ],
)
def test_invalid_form_shows_field_error_and_sends_nothing(client, other, given, words, headers):
    response = write(client, headers, **given)

    assert response.status_code == 200
    assert words in " ".join(field_errors(response))
    assert len(field_errors(response)) == 1
    assert not Message.objects.exists()
    (name,) = given
    typed = [*soup(response).select("input"), *soup(response).select("textarea")]
    (field,) = [e for e in typed if e.get("name") == name]
    assert field["aria-invalid"] == "true"
    assert field["aria-describedby"].endswith(f"pm-{name}_error")
    if "\x00" not in given[name]:
        kept = field.get("value") or text_of(field)
        assert kept.split() == given[name].split()


def test_form_over_send_rate_shows_error(client, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "1/h"}
    write(client)

    page = write(client)

    assert "You’ve reached the sending limit." in " ".join(field_errors(page))
    assert all_letters().count() == 2


def test_recipient_who_blocked_sender_gets_same_error_as_unknown(client, user, other):
    policy.block(other, user)

    response = write(client)

    assert field_errors(response) == ["Your message can’t be delivered to “harry”."]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("to", "nobody", "can’t be delivered"), ("subject", "s" * 256, "255")],
)
def test_single_field_is_validated(client, field, value, words):
    data = form_of(client, WRITE, **{field: value, "pm-field": field})

    response = client.post(WRITE, data, headers=HTMX)

    (said,) = field_errors(response)
    assert words in said
    assert not Message.objects.exists()


def test_single_field_of_reply_is_validated(client, user, letter):
    answers = [
        reply(client, letter, HTMX, **{"pm-field": "message", "message": text})
        for text in ("x" * 10_001, "Yes.")
    ]

    assert [len(field_errors(response)) for response in answers] == [1, 0]
    assert Message.objects.count() == 2


@pytest.mark.parametrize("headers", [HTMX, WHOLE], ids=["htmx 2", "htmx 4"])
def test_field_validation_consumes_no_one_shot_message(client, other, headers):
    """The toast is shown on the next page, not on the one that the user leaves."""
    data = form_of(client, WRITE, to="harry", message="Hello")
    client.post(WRITE, data, headers=HTMX)

    for check in (
        lambda: client.post(WRITE, {**data, "pm-field": "to"}, headers=headers),
        lambda: client.get("/messages/write/people/", {"to": "ha"}, headers=headers),
    ):
        assert "Sent to harry." not in check().text

    assert "Sent to harry." in client.get("/messages/").text


def test_field_validation_sends_nothing(client, other):
    write(client, HTMX, **{"pm-field": "to"})

    assert not Message.objects.exists()


def test_compose_form_is_filled_from_query_string(client):
    page = client.get(WRITE, {"to": "harry", "subject": 'A "quoted" <b>'})

    assert values_of(page, "to") == ["harry"]
    assert values_of(page, "subject") == ['A "quoted" <b>']


@pytest.mark.parametrize("query", [{"to": "\x00"}, {"subject": "\x00" * 9}, {"to": "x" * 9000}])
def test_compose_form_accepts_invalid_query_string(client, query):
    assert client.get(WRITE, query).status_code == 200


def test_sent_letter_to_several_lists_recipients(client, user, other, third):
    write(client, to="harry, ida")

    page = client.get("/messages/?box=sent")

    assert len(rows(page)) == 1
    assert "To harry, ida" in page.text
    (unfolded,) = soup(page).select(".pm-to")
    assert text_of(unfolded) == "2 recipients harry ida"
    assert texts(page, ".pm-avatar") == ["H"]


# Names


def test_recipients_are_autocompleted(client, other, third):
    page = client.get("/messages/write/people/", {"to": "ida, ha"}, headers=HTMX)

    (option,) = soup(page).select(".pm-option")
    assert option["data-pm-name"] == "harry"
    assert option["role"] == "option"
    assert option["id"].startswith("pm-")


@pytest.mark.parametrize(
    "typed", ["", "h", "harry, ", "sal", "harry, har", "\x00\x00", "%%", "x" * 5000]
)
def test_autocomplete_lists_nobody_without_match(client, other, typed):
    page = client.get("/messages/write/people/", {"to": typed}, headers=HTMX)

    assert page.status_code == 200
    assert soup(page).select(".pm-option") == []


# The conversation


def test_opening_letter_shows_conversation_oldest_first(client, user, other, letter):
    mine = send_letter(user, None, "", "Yes.", letter)
    send_letter(other, None, "", "Thanks.", Message.objects.get(user=other, letter=mine.letter))

    page = client.get(reverse("message_detail", args=[letter.pk]))

    found = [text_of(e) for e in soup(page).select(".pm-body")]
    assert found == ["Can you take Thursday?", "Yes.", "Thanks."]
    assert len(soup(page).select(".pm-post--mine")) == 1
    assert not Message.objects.owned_by(user).unread().exists()


@pytest.mark.parametrize("box", ["inbox", "unread"])
def test_row_shows_and_counts_own_reply(client, user, other, letter, box):
    send_letter(user, None, "", "Yes, <b>I</b> can.", letter)
    Message.objects.filter(pk=letter.pk).update(read_at=None)

    (row,) = soup(client.get(f"/messages/?box={box}")).select(".pm-row")

    (snippet,) = soup(row).select(".pm-snippet")
    assert text_of(snippet).split() == ["harry", "You:", "Yes,", "<b>I</b>", "can."]
    (count,) = soup(row).select(".pm-count")
    assert "2 messages" in text_of(count)
    # The suggestions match the typed text.
    (row,) = soup(client.get("/messages/?q=thursday")).select(".pm-row")
    assert "You:" not in text_of(row)


def test_row_of_letter_without_subject_shows_reply(client, user, other):
    sent = send_letter(other, user, "", "Can you?")
    send_letter(user, None, "", "Yes.", Message.objects.get(user=user, letter=sent.letter))

    (row,) = soup(client.get("/messages/")).select(".pm-row")

    assert [text_of(e) for e in soup(row).select(".pm-row-link")] == ["Unread: Can you?"]
    assert "You: Yes." in " ".join(text_of(soup(row).select(".pm-snippet")[0]).split())


def test_query_count_does_not_depend_on_conversation_length(client, user, other, letter):
    found = set()
    own = Message.objects.get(user=other, letter=letter.letter)
    for count in (0, 40):
        for number in range(count):
            send_letter(other, None, "", f"Number {number}", own)
        with CaptureQueriesContext(connection) as queries:
            client.get(reverse("message_detail", args=[letter.pk]))
        found.add(len([q for q in queries if "persistent_messages" in q["sql"]]))

    assert len(found) == 1
    assert found.pop() <= 8


def test_earlier_letters_use_keyset_pagination(client, user, other, letter, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "PAGE_SIZE": 3}
    own = Message.objects.get(user=other, letter=letter.letter)
    for number in range(7):
        send_letter(other, None, "", f"Number {number}", own)

    url, seen = reverse("message_detail", args=[letter.pk]), []
    for headers in ({}, HTMX):
        page, shown = client.get(url, headers=headers), []
        while True:
            shown = [text_of(e) for e in soup(page).select(".pm-body")] + shown
            (more,) = soup(page).select(".pm-more") or [None]
            if more is None:
                break
            page = client.get(more["href"], headers=headers)
        seen.append(shown)

    texts = ["Can you take Thursday?", *(f"Number {number}" for number in range(7))]
    assert seen == [texts, texts]


def test_conversation_omits_letters_in_trash(client, user, letter):
    mine = send_letter(user, None, "", "Yes.", letter)
    mailbox.delete(user, Folder.SENT, Message.objects.filter(pk=mine.pk))

    page = client.get(reverse("message_detail", args=[letter.pk]))
    trash = client.get(reverse("message_detail", args=[mine.pk]))

    assert "Yes." not in page.text
    assert [text_of(e) for e in soup(trash).select(".pm-body")] == ["Yes."]


@pytest.mark.parametrize("opened_in", [Folder.TRASH, Folder.INBOX])
def test_opening_marks_only_shown_letters_as_read(client, user, other, letter, opened_in):
    mailbox.delete(user, Folder.INBOX, Message.objects.filter(pk=letter.pk))
    mine = Message.objects.get(user=other, letter=letter.letter)
    send_letter(other, None, "", "And Friday?", mine)
    later = Message.objects.get(user=user, message="And Friday?")
    opened, beside = (letter, later) if opened_in == Folder.TRASH else (later, letter)

    page = client.get(reverse("message_detail", args=[opened.pk]))

    assert [text_of(e) for e in soup(page).select(".pm-body")] == [opened.message]
    opened.refresh_from_db()
    beside.refresh_from_db()
    assert opened.folder == opened_in
    assert opened.read
    assert not beside.read


def test_list_has_one_row_per_conversation_with_count(client, user, other, letter):
    mine = send_letter(user, None, "", "Yes.", letter)
    send_letter(other, None, "", "Thanks.", Message.objects.get(user=other, letter=mine.letter))

    page = client.get("/messages/")

    assert len(rows(page)) == 1
    assert texts(page, ".pm-count") == ["3 3 messages"]
    assert "Thanks." in page.text


def test_marking_row_as_read_marks_conversation(client, user, other, letter):
    own = Message.objects.get(user=other, letter=letter.letter)
    head = send_letter(other, None, "", "Or Friday?", own)
    key = Message.objects.get(user=user, letter=head.letter).pk

    response = client.post(reverse("message_mark_read", args=[key]), headers=HTMX)

    assert json.loads(response["HX-Trigger"])["pm:changed"]["unread"] == 0


@pytest.mark.parametrize("do", ["archive", "delete"])
def test_bulk_action_on_row_includes_conversation(client, user, other, letter, do):
    own = Message.objects.get(user=other, letter=letter.letter)
    head = send_letter(other, None, "", "Or Friday?", own)
    key = Message.objects.get(user=user, letter=head.letter).pk

    client.post(reverse("message_bulk"), {"ids": [key], "do": do})

    assert not Message.objects.inbox_of(user).exists()
    assert not Message.objects.owned_by(other).in_folder(Folder.TRASH).exists()


def test_search_finds_conversation_by_any_letter(client, user, other, letter):
    own = Message.objects.get(user=other, letter=letter.letter)
    head = send_letter(other, None, "", "Or Friday?", own)
    key = Message.objects.get(user=user, letter=head.letter).pk

    assert rows(client.get("/messages/", {"q": "thursday"})) == [key]
    assert rows(client.get("/messages/", {"q": "saturday"})) == []


# Replying


def test_plain_reply_is_sent_and_redirects_to_conversation(client, user, other, letter):
    response = reply(client, letter)

    assert response["Location"] == reverse("message_detail", args=[letter.pk])
    assert "Sent to harry." in client.get(response["Location"]).text
    assert Message.objects.get(user=other, folder=Folder.INBOX).message == "Yes."


def test_htmx_reply_is_appended_and_form_is_cleared(client, user, letter):
    response = reply(client, letter, HTMX)

    assert (response["HX-Retarget"], response["HX-Reswap"]) == (".pm-posts", "beforeend settle:0ms")
    assert [text_of(e) for e in soup(response).select(".pm-body")] == ["Yes."]
    (area,) = soup(response).select("textarea")
    assert text_of(area) == ""
    assert soup(response).select(".pm-letter")[0]["hx-swap-oob"]


def test_double_click_sends_one_reply(client, user, letter):
    url = reverse("message_reply", args=[letter.pk])
    data = form_of(client, url, message="Yes.")

    shown = [texts(client.post(url, data, headers=HTMX), ".pm-body") for _ in range(2)]

    assert Message.objects.owned_by(user).in_folder(Folder.SENT).count() == 1
    assert shown == [["Yes."], []]


def test_reply_response_includes_newly_received_letters(client, user, other, letter):
    own = Message.objects.get(user=other, letter=letter.letter)
    send_letter(other, None, "", "Or Friday?", own)

    response = reply(client, letter, HTMX, after=letter.pk)

    assert texts(response, ".pm-body") == ["Or Friday?", "Yes."]
    assert not Message.objects.owned_by(user).unread().exists()
    # The response was lost.
    again = reply(client, letter, HTMX, after=Message.objects.owned_by(user).latest("pk").pk)
    assert texts(again, ".pm-body") == ["Yes."]


def test_reply_from_reply_page_redirects_to_conversation(client, user, letter):
    url = reverse("message_reply", args=[letter.pk])
    headers = {**HTMX, "HX-Current-URL": f"http://testserver{url}?quote=1"}

    response = reply(client, letter, headers)

    assert response["HX-Redirect"] == reverse("message_detail", args=[letter.pk])
    assert "Sent to harry." in client.get(response["HX-Redirect"]).text


def test_reply_from_outdated_page_redirects_to_conversation(client, other, letter, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "PAGE_SIZE": 3}
    own = Message.objects.get(user=other, letter=letter.letter)
    for number in range(4):
        send_letter(other, None, "", f"Number {number}", own)

    response = reply(client, letter, HTMX, after=letter.pk)

    assert response["HX-Redirect"] == reverse("message_detail", args=[letter.pk])
    fragment = client.get(response["HX-Redirect"], {"after": letter.pk}, headers=HTMX)
    assert fragment["HX-Redirect"] == response["HX-Redirect"]


def test_inbox_links_to_blocked_users(client, settings):
    page = client.get("/messages/")
    assert 'href="/messages/blocked/"' in page.text
    settings.PERSISTENT_MESSAGES = {"LETTERS": False}
    assert "/messages/blocked/" not in client.get("/messages/").text


# Where it opens, and replies that arrive while it is open


def focused_letters(page):
    return [post for post in soup(page).select(".pm-post") if "autofocus" in post.attrs]


def test_conversation_opens_at_first_unread_letter_or_at_end(client, user, other, letter):
    own = Message.objects.get(user=other, letter=letter.letter)
    mine = send_letter(user, None, "", "Yes.", letter)
    Message.objects.filter(pk=letter.pk).update(read_at=mine.created)
    for number in range(3):
        send_letter(other, None, "", f"Number {number}", own)
    url = reverse("message_detail", args=[letter.pk])

    first, second = (
        [texts(post, ".pm-body") for post in focused_letters(client.get(url))] for _ in "ab"
    )

    assert (first, second) == ([["Number 0"]], [["Number 2"]])


def test_conversation_of_one_letter_opens_at_beginning(client, letter):
    url = reverse("message_detail", args=[letter.pk])

    assert [focused_letters(client.get(url)) for _ in "ab"] == [[], []]


def test_open_conversation_gets_number_of_new_letters(client, user, other, letter, send):
    own = Message.objects.get(user=other, letter=letter.letter)
    client.get(reverse("message_detail", args=[letter.pk]))
    news = {"of": letter.pk, "after": letter.pk, "pm-fragment": "part"}

    def ask(**given):
        return client.get("/messages/news/", {**news, **given}, headers=HTMX)

    assert ask().status_code == 204
    send("Elsewhere")
    assert ask().status_code == 204
    send_letter(other, None, "", "Or Friday?", own)
    assert texts(ask(), ".pm-btn") == ["1 new reply"]
    send_letter(other, None, "", "Or never?", own)
    assert texts(ask(), ".pm-btn") == ["2 new replies"]
    assert "Friday" not in ask().text
    assert Message.objects.owned_by(user).unread().count() == 3
    for wrong in ({"of": own.pk}, {"of": 0}, {"after": ""}, {"after": "x"}):
        assert ask(**wrong).status_code == 204

    url = reverse("message_detail", args=[letter.pk])
    part = client.get(url, {"after": letter.pk, "pm-fragment": "part"}, headers=HTMX)

    assert texts(part, ".pm-body") == ["Or Friday?", "Or never?"]
    focused = ["data-pm-focus" in post.attrs for post in soup(part).select(".pm-post")]
    assert focused == [True, False]
    assert Message.objects.owned_by(user).unread().count() == 1
    assert client.get(url, {"after": letter.pk}).text.count("Can you take Thursday?") == 1


def test_quote_is_inserted_below_typed_text(client, letter):
    url = reverse("message_reply", args=[letter.pk])
    for headers in ({}, HTMX):
        data = form_of(client, url, message="I can.\n", **{"pm-quote": "Quote"})

        response = client.post(url, data, headers=headers)

        assert "\nI can.\n\n&gt; Can you take Thursday?\n</textarea>" in response.text
        assert field_errors(response) == []
        assert is_page(response) != bool(headers)
    assert Message.objects.count() == 2


def test_forged_thread_or_recipient_is_ignored(client, user, other, third, letter):
    reply(client, letter, thread="0" * 32, reply_to=0, to="ida", to_user=third.pk)

    assert not Message.objects.owned_by(third).exists()
    assert {row.thread for row in all_letters()} == {letter.thread}


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_failed_reply_shows_error_and_keeps_text(client, user, other, letter, headers):
    url = reverse("message_reply", args=[letter.pk])
    data = form_of(client, url, message="A long answer")
    policy.block(other, user)

    response = client.post(url, data, headers=headers)

    assert "Your message can’t be delivered to “harry”." in field_errors(response)[0]
    assert "A long answer" in response.text
    assert Message.objects.count() == 2


def test_notice_cannot_be_replied_to(client, send):
    notice = send("Maintenance on Sunday.")
    page = client.get(reverse("message_detail", args=[notice.pk]))

    assert soup(page).select(".pm-letter") == []
    url = reverse("message_reply", args=[notice.pk])
    data = form_of(client, reverse("message_compose"), message="Hello")
    response = client.post(url, data)
    assert "You can’t reply to this message." in field_errors(response)[0]
    asked = client.get(url)
    assert asked.status_code == 400
    assert soup(asked).select_one("h1").text == "You can’t reply to this message."
    assert soup(asked).select("textarea") == []


def test_reply_page_of_deleted_account_shows_reason(client, other, letter):
    other.delete()
    asked = client.get(reverse("message_reply", args=[letter.pk]))
    assert asked.status_code == 400
    assert "This account no longer exists" in soup(asked).select_one("h1").text


@pytest.mark.parametrize("gone", ["deleted", "expired"])
def test_reply_to_deleted_or_expired_letter_is_not_found(client, user, letter, gone):
    url = reverse("message_reply", args=[letter.pk])
    data = form_of(client, url, message="Yes.")
    row = Message.objects.filter(pk=letter.pk)
    if gone == "deleted":
        mailbox.delete(user, Folder.INBOX, row)
        assert "Restore it to reply." in field_errors(client.post(url, data))[0]
    else:
        row.update(expires=letter.created)
        assert client.post(url, data).status_code == 404
    assert Message.objects.count() == 2


def test_reply_form_quotes_on_request(client, letter):
    url = reverse("message_reply", args=[letter.pk])

    (area,) = soup(client.get(url, {"quote": 1})).select("textarea")
    (plain,) = soup(client.get(url)).select("textarea")

    assert text_of(area) == "> Can you take Thursday?"
    assert text_of(plain) == ""


def test_deleted_account_keeps_name_and_cannot_be_replied_to(client, user, other, letter):
    send_letter(user, None, "", "Yes.", letter)
    other.delete()

    for url in ("/messages/", "/messages/?box=sent", reverse("message_detail", args=[letter.pk])):
        assert "harry" in client.get(url).text
    page = client.get(reverse("message_detail", args=[letter.pk]))
    assert "This account no longer exists" in page.text
    assert soup(page).select(".pm-letter") == []


# Texts of users


PAYLOAD = "<script>alert(1)</script> javascript:alert(1) https://example.com/?a=1&b=2"


def test_user_text_is_escaped_and_links_are_nofollow(client, user, other):
    other.first_name = "<i>Harry</i>"
    other.save()
    sent = send_letter(other, user, PAYLOAD, PAYLOAD)
    key = Message.objects.get(user=user, letter=sent.letter).pk

    for url in ("/messages/", reverse("message_detail", args=[key]), "/"):
        page = client.get(url)
        assert "<script>alert" not in page.text
        assert "<i>Harry" not in page.text
    page = client.get(reverse("message_detail", args=[key]))
    (link,) = [e for e in soup(page).select("a") if "example.com" in e["href"]]
    assert link["rel"] == "nofollow"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** and ~~gone~~", "<p><strong>bold</strong> and "),
        ("- one\n- two", "<ul>\n<li>one</li>"),
        ("one\ntwo", "one<br>\ntwo"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("# Heading", "Heading"),
        ("[x](https://example.com)", 'rel="nofollow noopener"'),
    ],
)
def test_markdown_is_rendered_if_enabled(client, user, other, settings, text, html):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "MARKDOWN": True}
    sent = send_letter(other, user, "", text)
    key = Message.objects.get(user=user, letter=sent.letter).pk

    assert html in client.get(reverse("message_detail", args=[key])).text


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "![x](https://example.com/pixel.png)",
        "<img src=x onerror=alert(1)>",
        "# <b onclick=x>",
        "<https://example.com> <javascript:alert(1)>",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        '<a href="https://example.com" style="position:fixed">x</a>',
    ],
)
def test_markdown_renders_no_unsafe_markup(client, user, other, settings, text):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "MARKDOWN": True}
    sent = send_letter(other, user, "", text)
    key = Message.objects.get(user=user, letter=sent.letter).pk

    page = client.get(reverse("message_detail", args=[key]))
    (body,) = soup(page).select(".pm-body")
    inside = [e for name in ("img", "script", "b", "h1") for e in soup(body).select(name)]
    assert inside == []
    for link in soup(body).select("a"):
        assert set(link.attrs) == {"href", "rel"}
        assert link["href"] == "https://example.com"


# Blocking and reporting


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_sender_can_be_blocked_listed_and_unblocked(client, user, other, letter, headers):
    response = client.post(reverse("message_block", args=[letter.pk]), headers=headers)
    assert response.status_code in {200, 302}
    (block,) = policy.blocks_of(user)

    assert "harry" in client.get(reverse("message_blocked")).text
    page = client.get(reverse("message_detail", args=[letter.pk]))
    assert "You’ve blocked harry." in page.text
    assert soup(page).select(".pm-letter") == []

    client.post(reverse("message_unblock", args=[block.pk]), headers=headers)
    assert not Block.objects.exists()
    assert soup(client.get(reverse("message_detail", args=[letter.pk]))).select(".pm-letter")


def test_sender_of_notice_cannot_be_blocked(client, send):
    response = client.post(reverse("message_block", args=[send("Hello").pk]))

    assert response.status_code == 400
    assert not Block.objects.exists()


def test_letter_is_reported_with_reason(client, user, letter):
    url = reverse("message_report", args=[letter.pk])

    response = client.post(url, {"reason": "Rude."})

    assert response.status_code == 302
    report = Report.objects.get()
    assert (report.reporter, report.reason, report.accused_name) == (user, "Rude.", "harry")


def test_report_reason_has_maximum_length(client, letter):
    url = reverse("message_report", args=[letter.pk])

    assert field_errors(client.post(url, {"reason": "x" * 1001}))
    assert not Report.objects.exists()


def test_own_letter_cannot_be_reported(user, other, letter):
    own = Message.objects.get(user=other, letter=letter.letter)

    url = reverse("message_report", args=[own.pk])

    assert browser_of(other).post(url).status_code == 400


# The look of a site


@pytest.mark.parametrize(
    ("pack", "marks"),
    [
        (None, ["pm-field", "pm-btn--primary"]),
        ("bootstrap5", ["form-control", "form-label"]),
        ("tailwind", ["rounded-lg", "text-gray-700"]),
    ],
)
def test_forms_use_crispy_template_pack_of_site(client, other, settings, pack, marks):
    if pack:
        app = {"bootstrap5": "crispy_bootstrap5", "tailwind": "crispy_tailwind"}[pack]
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "crispy_forms", app]
        settings.CRISPY_TEMPLATE_PACK = pack
        settings.CRISPY_ALLOWED_TEMPLATE_PACKS = [pack]

    for page in (client.get(WRITE), write(client, to="nobody")):
        found = {name for e in soup(page).select("form") for name in re.findall(r"[\w-]+", str(e))}
        assert set(marks) <= found
        (box,) = soup(page).select(".pm-letter")
        assert ("pm" in box["class"].split()) == (pack is None)
        for name in ("to", "subject"):
            assert f'id="div_pm-{name}"' in page.text
    assert "can’t be delivered" in page.text
    assert write(client).status_code == 302
