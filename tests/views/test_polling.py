"""Polling returns the parts of a page that have changed, and nothing else."""

import pytest
from django.conf import settings as django_settings
from django.contrib import messages as contrib_messages
from django.contrib.sessions.models import Session
from django.urls import reverse

import persistent_messages
from persistent_messages import Folder, mailbox, send_letter
from persistent_messages.models import Message
from tests.pages import (
    HTMX,
    browser_of,
    fill,
    outermost,
    rows,
    soup,
    swaps,
    text_of,
    texts,
    values_of,
)

NEWS = "/messages/news/"
INBOX = "/messages/"
STATE = "PM-State"
ENGINES = [f"django.contrib.sessions.backends.{name}" for name in ("db", "signed_cookies")]


def user_of(page):
    """Return the name of the user in a poll."""
    return next(value for e in soup(page).find_all(True) if (value := e.get("data-pm-user")))


def page_state(page):
    """Return the state that the script sends: the outputs and the hidden fields of the parts."""
    badge = [*texts(page, ".pm-badge"), *texts(page, ".pm-unread-num"), ""][0]
    said = {"pm-fragment": ["part"], "user": [user_of(page)], "unread": [badge]}

    def gather(element, mark):
        if element.name == "template" or isinstance(element, str):
            return
        if "pm-item" in element.get("class", "").split():
            mark = "u" if soup(element).select(".pm-row--unread") else ""
        if element.name == "output" or "pm-part" in element.get("class", "").split():
            value = element.get("value") or "".join(map(str, element.children)).strip()
            said.setdefault(element["name"], []).append(value + mark)
        for child in element.children:
            gather(child, mark) if not isinstance(child, str) else None

    gather(soup(page), "")
    return said


def poll(browser, page, **changes):
    headers = {**HTMX, "HX-Current-URL": "http://testserver/project/"}
    return browser.get(NEWS, {**page_state(page), **changes}, headers=headers)


def change(user, write, message):
    write(user, Folder(message.folder), Message.objects.filter(pk=message.pk))


@pytest.fixture
def three_messages(send):
    return [send("Look here.", subject=name) for name in ("First", "Second", "Third")]


# Current state


@pytest.mark.parametrize("path", [INBOX, "/", "/messages/?box=archive", "/messages/?q=look"])
def test_unchanged_page_gets_empty_response(client, three_messages, path):
    page = client.get(path)

    first = poll(client, page)
    again = poll(client, page, known=first[STATE])

    for response in (first, again):
        assert (response.status_code, response.content) == (204, b"")
        assert "no-store" in response["Cache-Control"]
        assert "private" in response["Cache-Control"]


def test_poll_returns_only_changed_parts(client, user, three_messages, send):
    home, inbox = client.get("/"), client.get(INBOX)
    _, second, third = three_messages
    change(user, mailbox.mark_read, third)
    change(user, mailbox.delete, second)
    send("Look here.", subject="Fourth")

    told = poll(client, inbox)
    assert texts(told, ".pm-badge") == ["2"]
    assert texts(told, ".pm-unread-num") == ["2"]
    assert texts(told, ".pm-more") == ["1 new message"]
    assert rows(told) == [third.pk]
    assert not soup(told).select(".pm-row--unread")
    assert f"delete:[data-pm-message='{second.pk}']" in swaps(told)

    told = poll(client, home)
    assert texts(told, ".pm-badge") == ["2"]
    (notices,) = soup(told).select(".pm-notices")
    assert [text_of(e) for e in soup(notices).select(".pm-notice")] == [
        "Info: Fourth Look here.",
        "Info: First Look here.",
    ]
    assert all("hx-swap-oob" in part.attrs for part in outermost(told))
    # Its forms return to the page, not to the polled URL.
    assert set(values_of(told, "next")) == {"/project/"}


def test_closed_notice_is_removed_alone(client, user, three_messages):
    home = client.get("/")
    change(user, mailbox.mark_read, three_messages[1])

    told = poll(client, home)

    assert f"delete:[data-pm-notice='{three_messages[1].pk}']" in swaps(told)
    assert not soup(told).select(".pm-notice")


def test_same_count_of_other_unread_messages_is_change(client, user, three_messages, send):
    page = client.get("/")
    known = poll(client, page)[STATE]
    change(user, mailbox.mark_read, three_messages[0])
    send("Look here.", subject="Fourth")

    told = client.get(NEWS, {"pm-fragment": "part", "pm-part": "counter", "unread": "3"})
    assert (told.status_code, told[STATE] == known) == (204, False)
    told = poll(client, page, known=known)
    assert told.status_code == 200
    assert told[STATE] != known


def test_conversation_counts_once(client, user, other):
    first = send_letter(other, user, "Thursday", "Can you take it?")
    page = client.get(INBOX)
    send_letter(other, None, "", "Are you there?", first)

    told = poll(client, page)

    assert not soup(told).select(".pm-row--unread")
    assert [text_of(e) for e in soup(told).select(".pm-badge")] in ([], ["1"])


def test_new_messages_are_counted_in_shown_list(client, other, send):
    shown = send("Shown")
    send("Later")
    send("Later", persistent_messages.ERROR)
    send("His", to=other)
    send("Passing", contrib_messages.INFO)
    Message.objects.filter(pk=send("Done with").pk).update(folder=Folder.ARCHIVE)

    def told(shown_filter, **more):
        query = {"pm-fragment": "part", "after": shown.pk, "pm-filter": shown_filter, **more}
        (link,) = soup(client.get(NEWS, query)).select(".pm-more")
        assert link.get("hx-get") == (link["href"] if more else None)
        return text_of(link), link["href"]

    assert told("?", **{"pm-page": "1"}) == ("2 new messages", "/messages/?")
    assert told("?level=error") == ("1 new message", "/messages/?level=error")
    assert told("?box=archive") == ("1 new message", "/messages/?box=archive")


def test_count_of_new_messages_is_limited(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 3}
    fill(user, 9)

    told = client.get(NEWS, {"pm-fragment": "part", "after": 0})

    assert texts(told, ".pm-more") == ["3+ new messages"]


def test_deleted_new_message_is_no_longer_announced(client, send):
    page = client.get(INBOX)
    Message.objects.filter(pk=send("Look here.").pk).delete()

    told = poll(client, page, news="1")

    assert swaps(told) == ["innerHTML:.pm-news"]
    assert not soup(told).select(".pm-more")


ABSURD = ["", "abc", "-1", "9" * 40, "\x00", "١٢", "1.5", "u", "1uu", "?", "%"]


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize("name", ["after", "pm-row", "pm-notice", "pm-filter", "known", "unread"])
def test_invalid_poll_parameters_are_harmless(client, three_messages, name, value):
    query = {"pm-fragment": "part", "pm-part": ["strip", "counter", "list"], name: value}

    assert client.get(NEWS, query).status_code in {200, 204}


def test_number_of_polled_rows_is_limited(client, django_assert_num_queries):
    keys = [f"{key}u" for key in range(1, 900)]
    with django_assert_num_queries(4):  # session, user, unread, rows
        told = client.get(NEWS, {"pm-fragment": "part", "pm-row": keys})
    assert len(swaps(told)) == 200


def test_rows_of_other_user_are_removed_and_never_shown(client, other, send):
    his = send("Very secret", to=other)

    told = client.get(NEWS, {"pm-fragment": "part", "pm-row": f"{his.pk}", "pm-notice": his.pk})

    assert swaps(told) == [f"delete:[data-pm-message='{his.pk}']"]
    assert b"secret" not in told.content


# The user of the request


def test_poll_after_log_out_stops_polling(visitor, client, three_messages):
    page = client.get("/")

    told = poll(visitor, page)

    assert (told.status_code, told.content) == (286, b"")
    assert not told.has_header("HX-Redirect")
    assert not told.has_header(STATE)
    assert "no-store" in told["Cache-Control"]


def test_poll_from_page_of_other_user_stops_polling(client, other, three_messages):
    page = client.get(INBOX)
    assert user_of(page) == user_of(client.get("/"))
    assert user_of(page) != user_of(browser_of(other).get(INBOX))

    told = poll(browser_of(other), page)

    assert (told.status_code, told.content) == (286, b"")


def test_channel_name_does_not_reveal_user_id(client, user, settings):
    name = user_of(client.get("/"))
    assert str(user.pk) not in (name, name.lstrip("0"))
    settings.SECRET_KEY = "another"
    browser = browser_of(user)
    assert user_of(browser.get("/")) != name


def test_poll_is_not_redirected_by_login_required_middleware(visitor, settings):
    login_required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, login_required]

    assert visitor.get(NEWS, {"pm-fragment": "part"}).status_code == 286


def test_page_of_visitor_has_no_poll_url(visitor, client):
    assert b"data-pm-news" not in visitor.get("/").content
    assert b"data-pm-news" in client.get("/").content


def test_poll_url_without_fragment_redirects_to_inbox(client):
    for headers in ({}, HTMX):
        response = client.get(NEWS, {"after": "0"}, headers=headers)
        assert (response.status_code, response["Location"]) == (302, INBOX)


# Polling has no side effects


@pytest.mark.parametrize("engine", ENGINES)
def test_poll_does_not_extend_session(user, three_messages, settings, engine):
    settings.SESSION_ENGINE = engine
    settings.SESSION_SAVE_EVERY_REQUEST = True
    browser = browser_of(user)
    page = browser.get("/")
    assert django_settings.SESSION_COOKIE_NAME in page.cookies
    before = list(Session.objects.values())
    change(user, mailbox.mark_read, three_messages[0])

    for query in ({}, {"known": poll(browser, page)[STATE]}):
        told = poll(browser, page, **query)
        assert told.status_code == 200
        assert django_settings.SESSION_COOKIE_NAME not in told.cookies

    assert list(Session.objects.values()) == before
    # Other requests are not affected.
    assert django_settings.SESSION_COOKIE_NAME in browser.get("/").cookies


@pytest.mark.parametrize("engine", ENGINES)
def test_session_hash_upgraded_during_poll_is_kept(user, settings, engine):
    settings.SESSION_ENGINE = engine
    settings.SESSION_SAVE_EVERY_REQUEST = True
    browser = browser_of(user)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"

    assert browser.get(NEWS, {"pm-fragment": "part"}).status_code == 204
    assert browser.get(NEWS, {"pm-fragment": "part"}).status_code == 204


def test_poll_consumes_no_one_shot_message_and_marks_none_as_read(
    client, user, three_messages, send
):
    page = client.get("/")
    passing = send("Saved.", contrib_messages.SUCCESS)

    told = poll(client, page, unread="")

    assert b"Saved." not in told.content
    assert Message.objects.filter(pk=passing.pk).exists()
    assert Message.objects.inbox_of(user).unread().count() == 3
    assert b"Saved." in client.get("/").content


@pytest.mark.parametrize(
    ("path", "unchanged"), [("/", 2), (INBOX, 3), ("/messages/?level=info", 3)]
)
def test_poll_takes_one_query_per_part(
    client, user, three_messages, django_assert_num_queries, path, unchanged
):
    page = client.get(path)
    with django_assert_num_queries(2 + unchanged):  # session and user first
        assert poll(client, page).status_code == 204

    change(user, mailbox.mark_read, three_messages[0])
    with django_assert_num_queries(2 + unchanged + (path != "/") + 2 * ("level" in path)):
        assert poll(client, page).status_code == 200


def test_poll_from_plain_page_gets_no_notices(client, three_messages, settings):
    settings.PERSISTENT_MESSAGES = {"PLAIN_PAGES": "tests.views.test_polling.is_home"}
    page = client.get("/")
    assert not soup(page).select(".pm-notice")

    assert poll(client, page).status_code == 204


def is_home(request):
    return request.path == "/"


# The title


def test_title_has_folder_and_unread_count(client, user, three_messages):
    def title(path):
        page = client.get(path).text
        return page[page.index("<title>") + 7 : page.index("</title>")]

    assert title(INBOX) == "(3) Inbox · Northbank"
    assert title(INBOX + "?box=archive") == "(3) Archive · Northbank"
    change(user, mailbox.mark_read, three_messages[0])
    assert title(INBOX + "?box=unread") == "(2) Unread · Northbank"
    Message.objects.all().delete()
    assert title(INBOX) == "Inbox · Northbank"
    fill(user, 120)
    assert title(INBOX) == "(99+) Inbox · Northbank"
    assert reverse("message_list") == INBOX
