"""The stream of events: who gets which events, and when it ends."""

import re
from http import HTTPStatus

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from persistent_messages import INFO, Folder, mailbox, resolve, send_letter, send_message
from persistent_messages.live import events, streams
from persistent_messages.models import Message
from tests.pages import browser_of

from .server import Listener, served, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann_hears(listen, ann):
    """What Ann hears once her stream is there: `change` events since then."""
    listener = listen(ann)
    assert listener.is_there()
    listener.events.clear()
    return listener


def mine(ann):
    return Message.objects.owned_by(ann)


HAPPENINGS = {
    "a message": lambda ann, ben: send_message(ann, INFO, "Hello"),
    "one of many": lambda ann, ben: send_message([ann, ben], INFO, "Hello"),
    "everybody": lambda ann, ben: send_message(get_user_model().objects.all(), INFO, "Hello"),
    "one that is renewed": lambda ann, ben: send_message([ann, ben], INFO, "Hello", key="quota"),
    "a letter": lambda ann, ben: send_letter(ben, [ann], "Hello", "How are you?"),
    "a letter of hers": lambda ann, ben: send_letter(ann, [ben], "Hello", "How are you?"),
}


@pytest.mark.parametrize("happening", HAPPENINGS)
def test_a_page_hears_of_what_its_user_gets(ann_hears, ann, ben, happening):
    HAPPENINGS[happening](ann, ben)

    assert ann_hears.has("change")


CHANGES = {
    "read": lambda ann: mailbox.mark_read(ann, Folder.INBOX, mine(ann)),
    "archived": lambda ann: mailbox.archive(ann, Folder.INBOX, mine(ann)),
    "deleted": lambda ann: mailbox.delete(ann, Folder.INBOX, mine(ann)),
    "resolved": lambda ann: resolve(ann, "quota"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_page_hears_of_what_is_done_elsewhere(ann, listen, change):
    send_message(ann, INFO, "Hello", key="quota")
    listener = listen(ann)
    assert listener.has("change")
    listener.events.clear()

    CHANGES[change](ann)

    assert listener.has("change")


def test_nobody_hears_of_others_nor_of_what_was_rolled_back(ann_hears, ann, ben, listen):
    of_ben = listen(ben)
    with transaction.atomic():
        send_message(ann, INFO, "Hello")
        transaction.set_rollback(True)
    send_message(ben, INFO, "Hello")
    assert of_ben.has("change")

    # The next that Ann hears is what comes after that.
    assert ann_hears.events == []


def test_an_event_says_nothing(ann, listen):
    send_message(ann, INFO, "A secret", subject="Another")
    listener = listen(ann)
    assert listener.has("change")

    assert listener.answer.headers["Content-Type"] == "text/event-stream"
    assert "no-store" in listener.answer.headers["Cache-Control"]
    assert {*listener.data} == {"."}


def test_log_out_ends_the_streams_of_that_session_only(ann, listen):
    here, there = browser_of(ann), browser_of(ann)
    of_here, too, of_there = listen(ann, here), listen(ann, here), listen(ann, there)

    here.logout()

    assert of_here.is_over()
    assert too.is_over()
    assert of_here.events[-1] == too.events[-1] == "end"
    send_message(ann, INFO, "Hello")
    assert of_there.has("change")
    assert not of_there.ended


@pytest.mark.parametrize("end", ["the session", "the account", "its activity"])
def test_a_session_that_is_no_more_ends_its_streams(ann, listen, monkeypatch, end):
    monkeypatch.setattr(streams, "HEARTBEAT", 0.1)
    monkeypatch.setattr(streams, "CHECK", 0)
    browser = browser_of(ann)
    listener = listen(ann, browser)
    assert listener.has("beat", times=2)

    if end == "the session":
        browser.session.flush()
    elif end == "the account":
        ann.delete()
    else:
        get_user_model().objects.filter(pk=ann.pk).update(is_active=False)

    assert listener.is_over()
    assert listener.events[-1] == "end"


def test_a_log_out_while_the_session_is_looked_up_ends_the_stream(ann, listen, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT", 0.1)
    monkeypatch.setattr(streams, "CHECK", 0)
    browser = browser_of(ann)
    key, load, logged_out = browser.session.session_key, SessionStore.load, []
    listener = listen(ann, browser)
    assert listener.is_there()

    def load_and_log_out(store):
        data = load(store)
        if not logged_out:
            logged_out.append(key)
            events.publish_end(key)
        return data

    # Django sends `user_logged_out` before it deletes the session.
    monkeypatch.setattr(SessionStore, "load", load_and_log_out)

    assert listener.is_over()
    assert listener.events[-1] == "end"


def test_nobody_has_more_streams_than_the_site_allows(ann, ben, listen, live):
    live(LIVE_CONNECTIONS=2)
    first, second = listen(ann), listen(ann)
    assert first.is_there()
    assert second.is_there()

    assert listen(ann).answer.status == HTTPStatus.TOO_MANY_REQUESTS
    assert listen(ben).answer.status == HTTPStatus.OK

    first.close()
    listener = listen(ann)
    while listener.answer.status != HTTPStatus.OK:  # the server notices it a moment later
        listener = listen(ann)


def test_whoever_reconnects_hears_of_what_happened_meanwhile(ann, listen):
    listener = listen(ann)
    assert listener.is_there()
    listener.close()
    last = {"Last-Event-ID": listener.ids[-1]}

    again = listen(ann, **last)
    assert again.has("beat")
    again.close()

    send_message(ann, INFO, "Hello")
    late = listen(ann, **last)
    assert late.has("change")
    assert late.events[0] == "change"


@pytest.mark.parametrize(
    "last", ["x", "-", "-1", "0" * 5000, "{id}" + "9" * 4000, "{id}.5", "²", "' OR 1=1 --"]
)
def test_what_a_browser_claims_to_have_heard_last_does_no_harm(ann, listen, last):
    listener = listen(ann)
    assert listener.is_there()
    identity = listener.ids[-1].partition("-")[0]
    header = last.replace("{id}", f"{identity}-").encode().decode("latin-1")

    again = listen(ann, **{"Last-Event-ID": header})

    assert again.answer.status == HTTPStatus.OK
    assert again.is_there()
    send_message(ann, INFO, "Hello")
    again.events.clear()
    send_message(ann, INFO, "Hello")
    assert again.has("change")


def test_what_came_before_the_stream_was_there_is_told(ann, ann_hears, listen):
    send_message(ann, INFO, "Hello")
    assert ann_hears.has("change")

    late = listen(ann)
    assert late.has("change")
    assert late.events[0] == "change"


def test_listening_keeps_no_session_alive(ann, listen, settings):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    listener = listen(ann)

    assert listener.answer.status == HTTPStatus.OK
    assert listener.answer.headers["Set-Cookie"] is None


SESSIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database()",
    "sqlite": "SELECT count(*) FROM pragma_database_list",
}


@pytest.mark.parametrize("atomic", [False, True])
def test_a_stream_holds_no_connection_to_the_database(ann, listen, live, atomic, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)

    def sessions():
        with connection.cursor() as cursor:
            cursor.execute(SESSIONS[connection.vendor])
            return cursor.fetchone()[0]

    live(LIVE_CONNECTIONS=40)
    before = sessions()
    listeners = [listen(ann) for _ in range(30)]

    assert all(listener.is_there() for listener in listeners)
    wait_until(lambda: sessions() <= before)


def test_no_middleware_compresses_the_stream(ann, live, settings):
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
    with served() as port:
        listener = Listener(port, browser_of(ann), **{"Accept-Encoding": "gzip"})
        assert listener.is_there()
        assert listener.answer.headers["Content-Encoding"] is None
        send_message(ann, INFO, "Hello")
        assert listener.has("change")
        listener.close()


def impersonate_ben(get_response):
    def middleware(request):
        request.user = get_user_model().objects.get(username="ben")
        return get_response(request)

    return middleware


def test_a_user_who_is_not_the_one_of_the_session_hears_on(ann, ben, live, settings, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT", 0.1)
    monkeypatch.setattr(streams, "CHECK", 0)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.impersonate_ben"]
    with served() as port:
        listener = Listener(port, browser_of(ann))
        assert listener.has("beat", times=3)
        send_message(ben, INFO, "Hello")
        assert listener.has("change")
        assert "end" not in listener.events
        listener.close()


def test_a_visitor_is_sent_away_for_good(port, listen):
    assert listen(None, browser=Client()).answer.status == HTTPStatus.NO_CONTENT


def test_under_wsgi_there_is_no_stream(live, ann):
    assert browser_of(ann).get(reverse("message_events")).status_code == HTTPStatus.NO_CONTENT


def test_a_site_without_live_events_has_no_stream(ann, listen, live):
    live("")
    send_message(ann, INFO, "Hello")
    page = browser_of(ann).get(reverse("message_list")).content.decode()

    assert listen(ann).answer.status == HTTPStatus.NO_CONTENT
    assert "data-pm-news" in page
    assert "data-pm-events" not in page


def test_a_page_says_where_its_events_are(live, ann):
    page = browser_of(ann).get(reverse("message_list")).content.decode()

    assert re.findall(r'data-pm-events="(.*?)"', page)[0] == reverse("message_events")


def test_a_stream_is_only_read(live, ann):
    answer = browser_of(ann).post(reverse("message_events"))

    assert answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED
