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
def listener_of_ann(listen, ann):
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
def test_stream_gets_change_for_each_new_message(listener_of_ann, ann, ben, happening):
    HAPPENINGS[happening](ann, ben)

    assert listener_of_ann.has("change")


CHANGES = {
    "read": lambda ann: mailbox.mark_read(ann, Folder.INBOX, mine(ann)),
    "archived": lambda ann: mailbox.archive(ann, Folder.INBOX, mine(ann)),
    "deleted": lambda ann: mailbox.delete(ann, Folder.INBOX, mine(ann)),
    "resolved": lambda ann: resolve(ann, "quota"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_stream_gets_change_for_each_mailbox_change(ann, listen, change):
    send_message(ann, INFO, "Hello", key="quota")
    listener = listen(ann)
    assert listener.has("change")
    listener.events.clear()

    CHANGES[change](ann)

    assert listener.has("change")


def test_stream_gets_no_event_of_other_users_or_rolled_back_changes(
    listener_of_ann, ann, ben, listen
):
    of_ben = listen(ben)
    with transaction.atomic():
        send_message(ann, INFO, "Hello")
        transaction.set_rollback(True)
    send_message(ben, INFO, "Hello")
    assert of_ben.has("change")

    # The next that Ann hears is what comes after that.
    assert listener_of_ann.events == []


def test_event_contains_no_data(ann, listen):
    send_message(ann, INFO, "A secret", subject="Another")
    listener = listen(ann)
    assert listener.has("change")

    assert listener.answer.headers["Content-Type"] == "text/event-stream"
    assert "no-store" in listener.answer.headers["Cache-Control"]
    assert {*listener.data} == {"."}


def test_log_out_ends_only_streams_of_that_session(ann, listen):
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
def test_invalid_session_ends_its_streams(ann, listen, monkeypatch, end):
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


def test_log_out_during_session_check_ends_stream(ann, listen, monkeypatch):
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


def test_number_of_streams_per_user_is_limited(ann, ben, listen, live):
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


def test_reconnecting_stream_gets_missed_change(ann, listen):
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
def test_invalid_last_event_id_is_harmless(ann, listen, last):
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


def test_new_stream_starts_with_change(ann, listener_of_ann, listen):
    send_message(ann, INFO, "Hello")
    assert listener_of_ann.has("change")

    late = listen(ann)
    assert late.has("change")
    assert late.events[0] == "change"


def test_stream_does_not_extend_session(ann, listen, settings):
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
def test_stream_holds_no_database_connection(ann, listen, live, atomic, monkeypatch):
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


def test_stream_is_not_compressed_by_middleware(ann, live, settings):
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


def test_stream_of_impersonated_user_continues(ann, ben, live, settings, monkeypatch):
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


def test_visitor_gets_no_stream(port, listen):
    assert listen(None, browser=Client()).answer.status == HTTPStatus.NO_CONTENT


def test_wsgi_server_offers_no_stream(live, ann):
    assert browser_of(ann).get(reverse("message_events")).status_code == HTTPStatus.NO_CONTENT


def test_site_without_live_setting_offers_no_stream(ann, listen, live):
    live("")
    send_message(ann, INFO, "Hello")
    page = browser_of(ann).get(reverse("message_list")).content.decode()

    assert listen(ann).answer.status == HTTPStatus.NO_CONTENT
    assert "data-pm-news" in page
    assert "data-pm-events" not in page


def test_page_has_url_of_stream(live, ann):
    page = browser_of(ann).get(reverse("message_list")).content.decode()

    assert re.findall(r'data-pm-events="(.*?)"', page)[0] == reverse("message_events")


def test_stream_rejects_post(live, ann):
    answer = browser_of(ann).post(reverse("message_events"))

    assert answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED
