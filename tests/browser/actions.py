"""User actions on the pages, and the modes of the browser tests."""

import re

import pytest
from playwright.sync_api import expect

PATIENCE = 15_000
"""How long to wait for what must happen, in milliseconds; a busy machine may take seconds."""

NEWER = [pytest.param(mode, marks=pytest.mark.slow) for mode in ("htmx 4", "htmx 4 final")]
main_modes = pytest.mark.parametrize("mode", ["htmx 2", "htmx 4 final", "without", NEWER[0]])
in_all_modes = pytest.mark.parametrize("mode", ["htmx 2", "without", *NEWER])
with_htmx = pytest.mark.parametrize("mode", ["htmx 2", *NEWER])
with_and_without = pytest.mark.parametrize("mode", ["htmx 2", "without"])


def open_path(page, path):
    page.goto(path)
    page.evaluate("window.arrived = true")


def is_same_page(page):
    """Return whether the page has not been reloaded since `arrive`."""
    return page.evaluate("window.arrived === true")


def log_in(page, name="sally"):
    """Fill in and send the log-in form, and wait for the page after it."""
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_label("Password")).to_have_count(0)
    page.wait_for_load_state()


def log_out(page):
    """Log out, and wait for the page after it."""
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    page.wait_for_load_state()


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def row(page, subject):
    return page.get_by_role("article", name=subject, exact=True)


def wait_until(page, condition):
    """Wait until a condition on the server is true, for at most `PATIENCE`."""
    for _ in range(PATIENCE // 100):
        if condition():
            return
        page.wait_for_timeout(100)
    assert condition()


def subjects(page):
    return page.locator(".pm-inbox .pm-row-link bdi")


def expect_subjects(page, expected):
    """Wait until the list shows exactly these messages."""
    expect(subjects(page)).to_have_text(expected)


def open_menu(page, name):
    """Open "Filter" or "More actions", below the folders."""
    shown = page.locator(".pm-drop > summary:visible")
    shown.filter(has=page.get_by_text(name)).or_(
        page.locator(f".pm-drop > summary[aria-label='{name}']")
    ).click()


def notice(page, subject):
    return page.locator(".pm-notices .pm-notice", has_text=subject)


def close(page, subject):
    notice(page, subject).get_by_role("button", name="Close").click()


def press(page, subject, words):
    """Press the button of a row that says "Mark … as read", "Delete …"."""
    row(page, subject).get_by_role("button", name=re.compile(words)).click()


def expect_unread(page, number):
    # The badge is a bare number; its meaning is in hidden text beside it.
    counter = page.locator("header .pm-unread")
    expect(counter.locator(".pm-badge")).to_have_text([str(number)] if number else [])
    expect(counter.locator(".pm-vh")).to_have_text([f"{number} unread"] if number else [])


def write(page, to, subject, text):
    page.goto("/messages/")
    page.get_by_role("link", name="New message", exact=True).click()
    page.get_by_label("To", exact=True).fill(to)
    page.get_by_label("Subject").fill(subject)
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def posts(page):
    return page.locator(".pm-post .pm-body")


def reply(page, text):
    page.get_by_label("Your reply").fill(text)
    page.get_by_role("button", name="Send").click()
