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


def says(page):
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


def renew(browser, page, **changes):
    headers = {**HTMX, "HX-Current-URL": "http://testserver/project/"}
    return browser.get(NEWS, {**says(page), **changes}, headers=headers)


def change(user, write, message):
    write(user, Folder(message.folder), Message.objects.filter(pk=message.pk))


@pytest.fixture
def three(send):
    return [send("Look here.", subject=name) for name in ("First", "Second", "Third")]


# Current state


@pytest.mark.parametrize("path", [INBOX, "/", "/messages/?box=archive", "/messages/?q=look"])
def test_what_is_still_true_is_not_told_again(client, three, path):
    page = client.get(path)

    first = renew(client, page)
    again = renew(client, page, known=first[STATE])

    for response in (first, again):
        assert (response.status_code, response.content) == (204, b"")
        assert "no-store" in response["Cache-Control"]
        assert "private" in response["Cache-Control"]


def test_a_page_gets_the_parts_that_differ(client, user, three, send):
    home, inbox = client.get("/"), client.get(INBOX)
    _, second, third = three
    change(user, mailbox.mark_read, third)
    change(user, mailbox.delete, second)
    send("Look here.", subject="Fourth")

    told = renew(client, inbox)
    assert texts(told, ".pm-badge") == ["2"]
    assert texts(told, ".pm-unread-num") == ["2"]
    assert texts(told, ".pm-more") == ["1 new message"]
    assert rows(told) == [third.pk]
    assert not soup(told).select(".pm-row--unread")
    assert f"delete:[data-pm-message='{second.pk}']" in swaps(told)

    told = renew(client, home)
    assert texts(told, ".pm-badge") == ["2"]
    (notices,) = soup(told).select(".pm-notices")
    assert [text_of(e) for e in soup(notices).select(".pm-notice")] == [
        "Info: Fourth Look here.",
        "Info: First Look here.",
    ]
    assert all("hx-swap-oob" in part.attrs for part in outermost(told))
    # Its forms return to the page, not to the polled URL.
    assert set(values_of(told, "next")) == {"/project/"}


def test_a_notice_that_was_closed_takes_no_other_with_it(client, user, three):
    home = client.get("/")
    change(user, mailbox.mark_read, three[1])

    told = renew(client, home)

    assert f"delete:[data-pm-notice='{three[1].pk}']" in swaps(told)
    assert not soup(told).select(".pm-notice")


def test_other_unread_messages_of_the_same_number_are_a_change(client, user, three, send):
    page = client.get("/")
    known = renew(client, page)[STATE]
    change(user, mailbox.mark_read, three[0])
    send("Look here.", subject="Fourth")

    told = client.get(NEWS, {"pm-fragment": "part", "pm-part": "counter", "unread": "3"})
    assert (told.status_code, told[STATE] == known) == (204, False)
    told = renew(client, page, known=known)
    assert told.status_code == 200
    assert told[STATE] != known


def test_a_conversation_counts_once(client, user, other):
    first = send_letter(other, user, "Thursday", "Can you take it?")
    page = client.get(INBOX)
    send_letter(other, None, "", "Are you there?", first)

    told = renew(client, page)

    assert not soup(told).select(".pm-row--unread")
    assert [text_of(e) for e in soup(told).select(".pm-badge")] in ([], ["1"])


def test_news_are_counted_in_the_list_that_is_shown(client, other, send):
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


def test_news_are_counted_no_further_than_the_counter(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 3}
    fill(user, 9)

    told = client.get(NEWS, {"pm-fragment": "part", "after": 0})

    assert texts(told, ".pm-more") == ["3+ new messages"]


def test_news_that_are_gone_again_are_told_no_more(client, send):
    page = client.get(INBOX)
    Message.objects.filter(pk=send("Look here.").pk).delete()

    told = renew(client, page, news="1")

    assert swaps(told) == ["innerHTML:.pm-news"]
    assert not soup(told).select(".pm-more")


ABSURD = ["", "abc", "-1", "9" * 40, "\x00", "١٢", "1.5", "u", "1uu", "?", "%"]


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize("name", ["after", "pm-row", "pm-notice", "pm-filter", "known", "unread"])
def test_what_a_page_says_wrong_does_no_harm(client, three, name, value):
    query = {"pm-fragment": "part", "pm-part": ["strip", "counter", "list"], name: value}

    assert client.get(NEWS, query).status_code in {200, 204}


def test_more_rows_than_a_page_shows_are_not_looked_at(client, django_assert_num_queries):
    keys = [f"{key}u" for key in range(1, 900)]
    with django_assert_num_queries(4):  # session, user, unread, rows
        told = client.get(NEWS, {"pm-fragment": "part", "pm-row": keys})
    assert len(swaps(told)) == 200


def test_rows_of_another_user_are_gone_and_never_shown(client, other, send):
    his = send("Very secret", to=other)

    told = client.get(NEWS, {"pm-fragment": "part", "pm-row": f"{his.pk}", "pm-notice": his.pk})

    assert swaps(told) == [f"delete:[data-pm-message='{his.pk}']"]
    assert b"secret" not in told.content


# The user of the request


def test_who_is_logged_out_is_told_to_stop(visitor, client, three):
    page = client.get("/")

    told = renew(visitor, page)

    assert (told.status_code, told.content) == (286, b"")
    assert not told.has_header("HX-Redirect")
    assert not told.has_header(STATE)
    assert "no-store" in told["Cache-Control"]


def test_a_page_of_another_user_gets_nothing(client, other, three):
    page = client.get(INBOX)
    assert user_of(page) == user_of(client.get("/"))
    assert user_of(page) != user_of(browser_of(other).get(INBOX))

    told = renew(browser_of(other), page)

    assert (told.status_code, told.content) == (286, b"")


def test_the_name_of_the_tabs_does_not_tell_the_key_of_the_user(client, user, settings):
    name = user_of(client.get("/"))
    assert str(user.pk) not in (name, name.lstrip("0"))
    settings.SECRET_KEY = "another"
    browser = browser_of(user)
    assert user_of(browser.get("/")) != name


def test_nobody_is_led_to_the_log_in_where_all_pages_ask_for_it(visitor, settings):
    login_required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, login_required]

    assert visitor.get(NEWS, {"pm-fragment": "part"}).status_code == 286


def test_visitors_get_no_address_to_ask(visitor, client):
    assert b"data-pm-news" not in visitor.get("/").content
    assert b"data-pm-news" in client.get("/").content


def test_its_address_by_itself_is_the_inbox(client):
    for headers in ({}, HTMX):
        response = client.get(NEWS, {"after": "0"}, headers=headers)
        assert (response.status_code, response["Location"]) == (302, INBOX)


# Polling has no side effects


@pytest.mark.parametrize("engine", ENGINES)
def test_asking_keeps_no_session_alive(user, three, settings, engine):
    settings.SESSION_ENGINE = engine
    settings.SESSION_SAVE_EVERY_REQUEST = True
    browser = browser_of(user)
    page = browser.get("/")
    assert django_settings.SESSION_COOKIE_NAME in page.cookies
    before = list(Session.objects.values())
    change(user, mailbox.mark_read, three[0])

    for query in ({}, {"known": renew(browser, page)[STATE]}):
        told = renew(browser, page, **query)
        assert told.status_code == 200
        assert django_settings.SESSION_COOKIE_NAME not in told.cookies

    assert list(Session.objects.values()) == before
    # Other requests are not affected.
    assert django_settings.SESSION_COOKIE_NAME in browser.get("/").cookies


@pytest.mark.parametrize("engine", ENGINES)
def test_a_session_that_django_renews_meanwhile_is_not_lost(user, settings, engine):
    settings.SESSION_ENGINE = engine
    settings.SESSION_SAVE_EVERY_REQUEST = True
    browser = browser_of(user)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"

    assert browser.get(NEWS, {"pm-fragment": "part"}).status_code == 204
    assert browser.get(NEWS, {"pm-fragment": "part"}).status_code == 204


def test_asking_consumes_no_one_shot_message_and_marks_nothing_read(client, user, three, send):
    page = client.get("/")
    passing = send("Saved.", contrib_messages.SUCCESS)

    told = renew(client, page, unread="")

    assert b"Saved." not in told.content
    assert Message.objects.filter(pk=passing.pk).exists()
    assert Message.objects.inbox_of(user).unread().count() == 3
    assert b"Saved." in client.get("/").content


@pytest.mark.parametrize(
    ("path", "unchanged"), [("/", 2), (INBOX, 3), ("/messages/?level=info", 3)]
)
def test_asking_costs_a_query_for_each_part(
    client, user, three, django_assert_num_queries, path, unchanged
):
    page = client.get(path)
    with django_assert_num_queries(2 + unchanged):  # session and user first
        assert renew(client, page).status_code == 204

    change(user, mailbox.mark_read, three[0])
    with django_assert_num_queries(2 + unchanged + (path != "/") + 2 * ("level" in path)):
        assert renew(client, page).status_code == 200


def test_a_page_that_hides_the_notices_gets_none(client, three, settings):
    settings.PERSISTENT_MESSAGES = {"PLAIN_PAGES": "tests.views.test_polling.is_home"}
    page = client.get("/")
    assert not soup(page).select(".pm-notice")

    assert renew(client, page).status_code == 204


def is_home(request):
    return request.path == "/"


# The title


def test_the_title_says_folder_and_number(client, user, three):
    def title(path):
        page = client.get(path).text
        return page[page.index("<title>") + 7 : page.index("</title>")]

    assert title(INBOX) == "(3) Inbox · Northbank"
    assert title(INBOX + "?box=archive") == "(3) Archive · Northbank"
    change(user, mailbox.mark_read, three[0])
    assert title(INBOX + "?box=unread") == "(2) Unread · Northbank"
    Message.objects.all().delete()
    assert title(INBOX) == "Inbox · Northbank"
    fill(user, 120)
    assert title(INBOX) == "(99+) Inbox · Northbank"
    assert reverse("message_list") == INBOX
