"""Every page has a strict policy, and is accessible in light and dark on any screen."""

import re
from datetime import timedelta

import pytest
from django.contrib.messages import constants as contrib
from django.utils import timezone
from playwright.sync_api import expect

import persistent_messages

from .accessibility import examine, open_all
from .actions import is_same_page, open_path, press, row, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def mailbox(send, other):
    """A message of each kind; returns the latest."""
    send("Settings were saved.", contrib.SUCCESS)
    send("Settings were not saved.", contrib.ERROR)
    for level in persistent_messages.PERSISTENT_MESSAGE_LEVELS:
        send("It took three hours.", level, subject="Export of everything")
    send("A notice without a subject.")
    send("x" * 300, subject="worker-17.queue.imports.2026-11-22T14:51:07Z.retry.exhausted")
    send("هل أدفع العربون الآن؟", subject="موعد لقاء الربيع", from_user=other)
    return send(
        "Read https://example.com/ soon.",
        persistent_messages.WARNING,
        subject="Your card expires",
        from_user=other,
        expires=timezone.now() + timedelta(days=8),
    )


@pytest.fixture
def paths(mailbox):
    """Each kind of page, by name; the inbox last, since opening a message marks it read."""
    return {
        "home": "/",
        "detail": f"/messages/detail/{mailbox.pk}/",
        "confirm": "/messages/delete/all/",
        "project": "/project/",
        "list": "/messages/",
    }


@pytest.mark.parametrize("name", ["home", "detail", "confirm", "project", "list"])
def test_pages_are_accessible(page, paths, name):
    page.goto(paths[name])
    open_all(page)
    assert examine(page, name) == []


def test_empty_inbox_is_accessible(page):
    page.goto("/messages/")
    expect(page.get_by_text("No messages")).to_be_visible()
    assert examine(page, "empty") == []


def test_log_in_page_is_accessible(visitor_page):
    visitor_page.goto("/log-in/")
    assert examine(visitor_page, "log in") == []


def test_bundled_base_page_is_accessible(page, paths, settings):
    """The bundled frame of a site that overrides nothing."""
    [engine] = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": []}]
    # The app has no icon of its own, and this site has none at the default URL.
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.goto("/messages/")
    expect(page.get_by_role("heading", name="Inbox", level=1)).to_be_visible()
    open_all(page)
    assert examine(page, "bundled") == []


def test_bundled_base_page_loads_htmx_and_script(page, send, settings):
    [engine] = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": []}]
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    for subject in ("First", "Second"):
        send("Look here.", subject=subject)
    open_path(page, "/messages/")
    press(page, "First", "as read$")
    expect(row(page, "First").get_by_text("Unread:")).to_have_count(0)
    press(page, "Second", "^Delete")
    expect(row(page, "Second")).to_have_count(0)
    # The script shows the result as a toast, and puts the number into the title.
    expect(page.locator(".pm-toasts").get_by_role("button", name="Undo").last).to_be_visible()
    expect(page).to_have_title("Inbox")
    assert is_same_page(page)


def test_page_is_accessible_after_actions(page, mailbox):
    """The fragments that actions return are as accessible as the first page."""
    page.goto("/messages/")
    page.get_by_role("button", name="Mark “Your card expires” as read").click()
    expect(page.get_by_role("button", name="Mark “Your card expires” as unread")).to_be_focused()
    page.get_by_role("button", name=re.compile("^Mark (all )?[0-9]+ as read$")).click()
    expect(page.locator(".pm-notices li")).to_have_count(0)
    assert examine(page, "changed") == []


def test_selection_and_shortcut_dialog_are_accessible(page, mailbox, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    page.goto("/messages/")
    page.get_by_label("Select all", exact=True).check()
    expect(page.locator(".pm-every")).to_contain_text("2 of")
    assert examine(page, "selected") == []
    page.locator(".pm-row-link").first.focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    assert examine(page, "keys") == []


@with_htmx
def test_pages_work_under_strict_content_security_policy(page, paths):
    """All pages of these tests are served under it; here each of them is opened once."""
    for path in paths.values():
        answer = page.goto(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        # htmx has done its work at the start.
        page.wait_for_function("window.htmx")


def test_policy_violation_is_recorded(visitor_page, base_page, console_errors):
    base_page("<title>", '<style>h1 { color: red }</style><script src="data:,1"></script><title>')
    visitor_page.goto("/")
    console_errors.expect("policy: style-src")
    console_errors.expect("policy: script-src")
    # The browser logs the same errors.
    console_errors.expect("inline style")
    console_errors.expect("data:")


def test_script_error_is_recorded(visitor_page, console_errors):
    visitor_page.goto("/")
    visitor_page.evaluate("setTimeout(() => { throw Error('broken') })")
    visitor_page.wait_for_timeout(0)
    visitor_page.evaluate("console.error('said so')")
    console_errors.expect("broken")
    console_errors.expect("said so")
