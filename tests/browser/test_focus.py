"""The focus after an action: the keyboard is enough, and the focus is never lost."""

import re

import pytest
from playwright.sync_api import expect

from .actions import button, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)

FOCUS = """
() => [document.activeElement].map(
  element => element.getAttribute("aria-label") || element.textContent.trim() || element.tagName
)[0]
"""


def focus(page):
    """Return the accessible name of the focused element."""
    return page.evaluate(FOCUS)


def row(page, subject):
    return page.get_by_role("article", name=subject, exact=True)


def tab_to(locator, *, keys="Tab", limit=60):
    """Press Tab until the focus is on an element, as keyboard users do."""
    for _ in range(limit):
        if locator.evaluate("element => element === document.activeElement"):
            return
        locator.page.keyboard.press(keys)
    raise AssertionError(f"{keys} does not lead to {locator}")


@pytest.fixture
def two_messages(send):
    send("The disk is full.", subject="Export failed")
    send("All went well.", subject="Backup complete")


@with_htmx
def test_row_can_be_marked_and_deleted_by_keyboard(page, two_messages):
    page.goto("/messages/")
    mark = button(page, "Mark “Backup complete” as read")
    tab_to(mark)
    # They are hidden until the pointer is near, but never while they have the focus.
    actions = row(page, "Backup complete").locator(".pm-row-actions")
    expect(actions).to_have_css("opacity", "1")
    page.keyboard.press("Enter")
    expect(button(page, "Mark “Backup complete” as unread")).to_be_focused()
    expect(actions).to_have_css("opacity", "1")
    page.keyboard.press("Tab")
    expect(button(page, "Archive “Backup complete”")).to_be_focused()
    page.keyboard.press("Tab")
    expect(button(page, "Delete “Backup complete”")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row(page, "Backup complete")).to_have_count(0)
    expect(row(page, "Export failed")).to_have_count(1)


@pytest.mark.parametrize("mode", ["without"])
def test_row_can_be_marked_by_keyboard_without_javascript(page, two_messages):
    page.goto("/messages/")
    tab_to(button(page, "Mark “Backup complete” as read"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("“Backup complete” marked as read.")).to_be_visible()
    expect(row(page, "Backup complete").get_by_text("Unread:")).to_have_count(0)


@with_htmx
def test_marked_row_keeps_focus(page, two_messages):
    page.goto("/messages/")
    button(page, "Mark “Export failed” as read").press("Enter")
    expect(button(page, "Mark “Export failed” as unread")).to_be_focused()
    button(page, "Mark “Export failed” as unread").press("Space")
    expect(button(page, "Mark “Export failed” as read")).to_be_focused()


@with_htmx
def test_deleting_row_moves_focus_within_inbox(page, two_messages):
    page.goto("/messages/")
    button(page, "Delete “Backup complete”").press("Enter")
    expect(row(page, "Backup complete")).to_have_count(0)
    expect(page.locator(".pm-inbox :focus")).to_have_count(1)


@with_htmx
def test_deleting_last_row_moves_focus_within_inbox(page, send):
    send("All went well.", subject="Backup complete")
    page.goto("/messages/")
    button(page, "Delete “Backup complete”").press("Enter")
    expect(page.get_by_text("No messages")).to_be_visible()
    expect(page.locator(".pm-inbox :focus")).to_have_count(1)


@with_htmx
def test_closing_notice_moves_focus_to_next_notice(page, two_messages):
    page.goto("/")
    button(page, "Close “Backup complete” and mark it as read").press("Enter")
    expect(button(page, "Close “Export failed” and mark it as read")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".pm-notices .pm-notice")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_focused()


@with_htmx
def test_closing_folded_notice_moves_focus_within_strip(page, send):
    for number in range(1, 6):
        send("Look here.", subject=f"Number {number}")
    page.goto("/")
    page.get_by_text("All notices").press("Enter")
    button(page, "Close “Number 1” and mark it as read").press("Enter")
    expect(button(page, "Close “Number 1” and mark it as read")).to_have_count(0)
    expect(page.locator(".pm-flash :focus")).to_have_count(1)


@with_htmx
def test_closing_one_shot_message_moves_focus_within_main(page):
    page.goto("/")
    button(page, "Add a message: one-shot").click()
    button(page, "Close “Your changes were saved.”").press("Enter")
    expect(page.locator(".pm-notice")).to_have_count(0)
    expect(page.locator("main :focus")).to_have_count(1)


@with_htmx
def test_notice_closing_by_timeout_does_not_move_focus(page, two_messages, send):
    send("It goes.", subject="Contacts imported", close_timeout=600)
    page.goto("/")
    button(page, "Close “Export failed” and mark it as read").focus()
    expect(page.get_by_role("button", name="Close “Contacts imported”")).to_have_count(0)
    expect(button(page, "Close “Export failed” and mark it as read")).to_be_focused()


@with_htmx
def test_marking_all_as_read_focuses_message_pane(page, two_messages):
    page.goto("/messages/")
    button(page, "Mark all 2 as read").press("Enter")
    expect(page.get_by_role("article").get_by_text("Unread:")).to_have_count(0)
    expect(page.locator(".pm-pane")).to_be_focused()


@with_htmx
def test_clearing_selection_keeps_focus_and_is_announced(page, two_messages):
    page.goto("/messages/")
    for name in ("Backup complete", "Export failed"):
        page.get_by_label(f"Select “{name}”").check()
    expect(page.locator(".pm-status")).to_have_text("2 selected")
    clear = button(page, "Clear selection")
    clear.focus()
    page.keyboard.press("Enter")
    expect(clear).to_be_hidden()
    expect(page.get_by_label("Select “Backup complete”")).to_be_focused()
    expect(page.locator(".pm-status")).to_have_text("0 selected")


@with_htmx
def test_loading_older_messages_focuses_first_of_them(page, send, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    for number in range(1, 5):
        send("Look here.", subject=f"Number {number}")
    page.goto("/messages/")
    page.get_by_role("link", name="Show older messages").press("Enter")
    expect(row(page, "Number 2").get_by_role("link")).to_be_focused()


@with_htmx
def test_result_is_announced_once_in_live_region(page, two_messages):
    page.goto("/messages/")
    said = page.locator(".pm-said")
    expect(said).to_have_attribute("aria-live", "polite")
    expect(said).to_have_text("")
    button(page, "Mark “Export failed” as read").click()
    expect(said.locator("li:last-child p bdi")).to_have_text("“Export failed” marked as read.")
    button(page, "Delete “Export failed”").click()
    expect(said.locator("li:last-child p bdi")).to_have_text("“Export failed” deleted.")
    button(page, "Mark 1 as read").click()
    expect(said.locator("li:last-child p bdi")).to_have_text("1 message marked as read.")


def test_first_tab_stop_is_skip_link(page):
    page.goto("/messages/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#.*main$"))
