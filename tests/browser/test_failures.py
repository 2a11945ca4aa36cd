"""Loading is shown at once, and errors can be tried again."""

import re
from contextlib import contextmanager

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from persistent_messages.models import Message

from .accessibility import examine
from .actions import button, log_in, row, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)

BUSY = """element => {
  const { content, height, position } = getComputedStyle(element, "::after");
  return content !== "none" && position === "absolute" && parseFloat(height) >= 2;
}"""


def alert(page):
    return page.get_by_role("alert")


@contextmanager
def held_responses(page, pattern):
    """Hold back the responses to `pattern` until the block ends."""
    held = []
    page.route(pattern, lambda route: held.append(route))
    yield
    for route in held:
        route.continue_()
    page.unroute(pattern)


def fail(route, status):
    if status:
        route.fulfill(status=status, body="<h1>Broken</h1>", content_type="text/html")
    else:
        route.abort()


@pytest.fixture
def older_messages(send, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    for subject in ("First", "Second", "Third"):
        send(f"The text of {subject}.", subject=subject)


LOADING = {
    "a folder": ("/messages/", "**/*box=archive*", "link", "Archive"),
    "older ones": ("/messages/", "**/*before=*", "link", "Show older messages"),
    "the search": ("/messages/", "**/*q=third*", "search", None),
    "the bell": ("/", "**/latest/**", "bell", None),
}


@with_htmx
@pytest.mark.parametrize("what", LOADING)
def test_loading_indicator_shows_within_150_ms_without_layout_shift(
    page, older_messages, what, mode
):
    path, pattern, kind, name = LOADING[what]
    page.clock.install(time=0)
    page.goto(path)
    page.clock.pause_at(60_000)
    if kind == "link":
        pressed = page.get_by_role("link", name=name, exact=True)
    else:
        pressed = page.locator(".pm-search" if kind == "search" else ".pm-bell")
    before = pressed.bounding_box()
    with held_responses(page, pattern):
        if kind == "search":
            page.get_by_role("searchbox").fill("third")
            page.get_by_role("searchbox").press("Enter")
        else:
            pressed.click()
        # The time of the page, however busy the machine is.
        page.clock.run_for(150)
        expect(page.locator(".htmx-request")).not_to_have_count(0)
        assert pressed.evaluate(BUSY)
        assert pressed.bounding_box() == before
        if kind == "bell":
            pop = page.get_by_role("dialog", name="Messages")
            expect(pop).to_contain_text("Loading")
            assert pop.bounding_box()["height"] > 60
    page.clock.resume()
    expect(page.locator(".htmx-request")).to_have_count(0)
    if kind == "bell":
        expect(page.get_by_role("dialog").get_by_role("article")).to_have_count(2)


@with_htmx
@pytest.mark.parametrize(("status", "words"), [(0, "reach the server"), (500, "reported an error")])
@pytest.mark.parametrize("what", LOADING)
def test_failed_load_shows_error_and_can_be_retried(
    page, older_messages, console_errors, what, status, words, mode
):
    path, pattern, kind, name = LOADING[what]
    page.goto(path)
    page.route(pattern, lambda route: fail(route, status))
    if kind == "link":
        page.get_by_role("link", name=name, exact=True).click()
    elif kind == "search":
        page.get_by_role("searchbox").fill("third")
    else:
        page.locator(".pm-bell").click()
    expect(alert(page)).to_contain_text(words)
    said = {"link": name, "search": "Search", "bell": "Messages"}[kind]
    expect(alert(page).locator("bdi")).to_have_text(re.compile(f"^{said}.*:$"))
    expect(page.get_by_text("Broken")).to_have_count(0)
    if kind == "bell":
        assert page.get_by_role("dialog").bounding_box()["height"] > 40
    page.unroute(pattern)
    button(page, "Try again").click()
    expect(alert(page)).to_have_count(0)
    if kind == "bell":
        expect(page.get_by_role("dialog").get_by_role("article")).to_have_count(2)
    elif what == "a folder":
        expect(page.get_by_role("heading", level=1)).to_have_text("Archive")
    elif what == "older ones":
        expect(row(page, "First")).to_be_visible()
    else:
        expect(row(page, "Second")).to_have_count(0)
    console_errors.lines.clear()  # the browser and htmx both tell of the failed request


@with_htmx
@pytest.mark.parametrize("status", [0, 500])
def test_failed_action_is_named_and_can_be_retried(page, send, console_errors, status, mode):
    send("Look here.", subject="News")
    page.goto("/")
    page.route("**/mark_read/**", lambda route: fail(route, status))
    button(page, "Close “News” and mark it as read").click()
    expect(alert(page)).to_contain_text("Close “News” and mark it as read:")
    expect(page.locator(".pm-notices .pm-notice")).to_have_count(1)
    # The same error twice is shown once.
    button(page, "Close “News” and mark it as read").click()
    page.wait_for_function("!document.querySelector('.htmx-request')")
    expect(alert(page)).to_have_count(1)
    page.unroute("**/mark_read/**")
    button(page, "Try again").click()
    expect(page.locator(".pm-notices .pm-notice")).to_have_count(0)
    assert Message.objects.get().read
    console_errors.lines.clear()


@with_htmx
@pytest.mark.parametrize("keeps", ["cookie", "hidden cookie", "session"])
def test_csrf_token_renewed_in_another_tab_is_fetched(
    page, send, settings, console_errors, keeps, mode
):
    settings.CSRF_USE_SESSIONS = keeps == "session"
    settings.CSRF_COOKIE_HTTPONLY = keeps == "hidden cookie"
    send("Look here.", subject="News")
    send("Look there.", subject="More")
    page.goto("/messages/")
    # A log-in in another tab has the same effect.
    if keeps == "session":
        for session in Session.objects.all():
            store = session.get_session_store_class()(session.session_key)
            store["_csrftoken"] = "A" * 32
            store.save()
    else:
        cookie = {"name": "csrftoken", "value": "A" * 32, "domain": "localhost", "path": "/"}
        page.context.add_cookies([cookie])
    button(page, "Archive “News”").click()
    expect(row(page, "News")).to_have_count(0)
    expect(alert(page)).to_have_count(0)
    button(page, "Archive “More”").click()
    expect(row(page, "More")).to_have_count(0)
    refusals = [line for line in console_errors.lines if "403" in line]
    assert 1 <= len(refusals) <= 2, "the second one has the new token"
    console_errors.lines.clear()


@with_htmx
def test_repeated_csrf_refusal_says_page_is_out_of_date(page, send, console_errors, mode):
    send("Look here.", subject="News")
    page.goto("/messages/")
    page.route("**/archive/**", lambda route: fail(route, 403))
    button(page, "Archive “News”").click()
    expect(alert(page)).to_contain_text("out of date")
    page.unroute("**/archive/**")
    button(page, "Reload the page").click()
    expect(alert(page)).to_have_count(0)
    button(page, "Archive “News”").click()
    expect(row(page, "News")).to_have_count(0)
    console_errors.lines.clear()


@with_htmx
def test_action_lost_to_expired_session_is_offered_after_log_in(page, send, mode):
    send("Look here.", subject="News")
    page.goto("/messages/")
    Session.objects.all().delete()
    button(page, "Archive “News”").click()
    log_in(page)
    expect(alert(page)).to_contain_text("Archive “News”: You were logged out")
    button(page, "Try again").click()
    expect(row(page, "News")).to_have_count(0)
    page.reload()
    expect(alert(page)).to_have_count(0)


@with_htmx
def test_failed_poll_shows_no_error(page, send, console_errors, mode):
    page.goto("/messages/")
    page.route("**/news/**", lambda route: route.abort())
    with page.expect_event("requestfailed"):
        page.evaluate("document.body.dispatchEvent(new Event('pm:refresh', {bubbles: true}))")
    page.wait_for_function("!document.querySelector('.htmx-request')")
    expect(alert(page)).to_have_count(0)
    console_errors.lines.clear()


def test_error_messages_are_accessible(page, send, console_errors):
    send("Look here.", subject="News")
    page.goto("/messages/")
    page.route("**/archive/**", lambda route: route.abort())
    button(page, "Archive “News”").click()
    expect(alert(page)).to_be_visible()
    assert examine(page, "failure") == []
    page.goto("/")
    page.route("**/latest/**", lambda route: route.abort())
    page.locator(".pm-bell").click()
    expect(alert(page)).to_be_visible()
    assert examine(page, "bell that failed") == []
    console_errors.lines.clear()
