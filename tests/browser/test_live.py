"""Live updates under ASGI, and polling without them or while they fail."""

import re

import pytest
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.backends.signals import connection_created
from django.test import override_settings
from django.urls import reverse
from playwright.sync_api import expect

from persistent_messages.live import events, streams
from persistent_messages.models import Message
from tests.live.server import served

from .actions import expect_unread, notice, press, row, wait_until, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)


def read_without_locks(connection, **_kwargs):
    """Let an SQLite database in memory be read while another connection writes, as a file can be.

    Connections share its cache, where a read fails at once if the table is locked.
    """
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA read_uncommitted = 1")


@pytest.fixture(scope="session")
def asgi_port(django_db_setup, django_db_blocker):
    middleware = [*django_settings.MIDDLEWARE, "tests.browser.site.strict_policy"]
    connection_created.connect(read_without_locks)
    with django_db_blocker.unblock(), override_settings(MIDDLEWARE=middleware), served() as port:
        read_without_locks(connection)
        yield port
    connection_created.disconnect(read_without_locks)


@pytest.fixture(autouse=True)
def _live(settings):
    settings.PERSISTENT_MESSAGES = {**django_settings.PERSISTENT_MESSAGES, "LIVE": "memory"}


@pytest.fixture
def site_url(asgi_port):
    return f"http://localhost:{asgi_port}"


def streams_of(user):
    return events.link().hub().count(events.user_name(user.pk))


def connect(page, user, path):
    """Open a page, and wait until it listens."""
    page.goto(path)
    wait_until(page, lambda: streams_of(user) == 1)


@with_htmx
def test_letter_and_reply_appear_immediately(page, other_page, user, other):
    connect(page, user, "/")
    connect(other_page, other, "/messages/write/")

    other_page.get_by_label("To", exact=True).fill("sally")
    other_page.get_by_label("Subject").fill("Lunch")
    other_page.get_by_label("Message", exact=True).fill("At noon?")
    other_page.get_by_role("button", name="Send").click()
    expect_unread(page, 1)

    for each, person in ((page, user), (other_page, other)):
        each.goto(reverse("message_detail", args=[Message.objects.owned_by(person).get().pk]))
    wait_until(page, lambda: streams_of(user) == streams_of(other) == 1)
    page.get_by_label("Your reply").fill("At one.")
    page.get_by_role("button", name="Send").click()

    expect(other_page.locator(".pm-posts")).to_contain_text("At one.")


def test_notice_appears_immediately_in_each_tab(page, user, send):
    connect(page, user, "/")
    home = page.context.new_page()
    home.goto("/")

    send("Look here.", subject="Export failed")

    for tab in (page, home):
        expect_unread(tab, 1)
        expect(notice(tab, "Export failed")).to_have_count(1)


def test_change_appears_in_another_browser(open_page, user, send):
    send("Look here.", subject="Export failed")
    here, there = open_page(user), open_page(user)
    here.goto("/messages/")
    there.goto("/messages/")
    wait_until(here, lambda: streams_of(user) == 2)

    press(here, "Export failed", "^Delete")

    expect(row(there, "Export failed")).to_have_count(0)
    expect_unread(there, 0)


def test_browser_opens_one_stream_for_all_tabs(page, user):
    connect(page, user, "/")
    for _ in range(7):  # more than the connections that a browser opens to a site
        tab = page.context.new_page()
        tab.goto("/")
        expect(tab.get_by_role("heading", level=1)).to_be_visible()

    assert streams_of(user) == 1


def test_page_without_stream_polls_at_usual_interval(page, user, send):
    page.context.clock.install()
    page.route(re.compile("/messages/events/"), lambda route: route.fulfill(status=204))
    page.goto("/")
    page.wait_for_load_state("networkidle")
    send("Look here.", subject="Late")

    page.clock.run_for(31_000)

    expect_unread(page, 1)
    assert streams_of(user) == 0


def test_log_out_closes_stream(page, user):
    connect(page, user, "/")

    page.get_by_role("button", name="Log out").click()

    wait_until(page, lambda: streams_of(user) == 0)


def test_page_reconnects_after_session_key_changes(page, user):
    """The stream of the old key ends, and the user is still logged in."""
    page.context.clock.install()
    answers = [{"content_type": "text/event-stream", "body": "event: end\ndata: .\n\n"}]
    page.route(
        re.compile("/messages/events/"),
        lambda route: route.fulfill(**answers.pop()) if answers else route.continue_(),
    )
    with page.expect_response(re.compile("/messages/news/")):
        page.goto("/")

    page.context.clock.run_for(91_000)

    wait_until(page, lambda: streams_of(user) == 1)


def test_expired_session_closes_stream(page, user):
    page.context.clock.install()
    connect(page, user, "/")
    Session.objects.all().delete()

    page.context.clock.run_for(61_000)

    wait_until(page, lambda: streams_of(user) == 0)


def test_silent_stream_is_reopened(page, user, monkeypatch):
    page.context.clock.install()
    monkeypatch.setattr(streams, "HEARTBEAT", 1000)
    connect(page, user, "/")
    page.wait_for_load_state("networkidle")

    with page.expect_request(re.compile("/messages/events/")):
        page.context.clock.run_for(41_000)
