"""Places are kept: the list of a message, its open pages, its search, and links back."""

import re

import pytest
from playwright.sync_api import expect

import persistent_messages
from persistent_messages.models import Message

from .actions import expect_subjects, subjects, wait_until, with_and_without, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def many_messages(send, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 10}
    for number in range(30):
        send("Look here.", subject=f"Number {number}", level=persistent_messages.ERROR)


@with_and_without
def test_action_on_detail_page_returns_to_originating_list(page, send, mode):
    for subject in ("First", "Second"):
        send("It failed.", persistent_messages.ERROR, subject=subject)
        send("All is well.", subject=f"No {subject}")
    page.goto("/messages/?box=unread&level=error")
    page.locator(".pm-row-link", has_text="Second").click()
    page.get_by_role("link", name="Next message: “First”").click()
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page).to_have_url(re.compile(r"\?box=unread&level=error$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Unread")


@with_htmx
def test_back_button_restores_loaded_rows_and_scroll_position(page, many_messages, mode):
    page.goto("/messages/?level=error")
    for last in (10, 0):
        page.get_by_role("link", name="Show older messages").click()
        expect(page.locator(".pm-item")).to_have_count(30 - last)
    before = subjects(page).all_inner_texts()
    row = page.locator(".pm-row-link", has_text="Number 3").last
    row.scroll_into_view_if_needed()
    top = row.bounding_box()["y"]
    row.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Number 3")
    page.go_back()
    expect(page.locator(".pm-item")).to_have_count(30)
    expect_subjects(page, before)
    # The browser scrolls after the layout of the page.
    wait_until(page, lambda: abs(row.bounding_box()["y"] - top) < 2)
    page.get_by_role("link", name="Trash", exact=True).click()
    expect(page.locator(".pm-item")).to_have_count(0)
    page.go_back()
    expect(page.locator(".pm-item")).to_have_count(30)


@with_htmx
def test_typed_search_adds_one_history_entry(page, many_messages, mode):
    page.goto("/messages/")
    entries = page.evaluate("history.length")
    page.get_by_role("searchbox").press_sequentially("number 2", delay=400)
    expect(page).to_have_url(re.compile(r"\?q=number\+2$"))
    assert page.evaluate("history.length") == entries + 1
    page.go_back()
    expect(page).to_have_url(re.compile(r"/messages/$"))
    expect(page.locator(".pm-item mark")).to_have_count(0)


@pytest.mark.parametrize(
    ("mode", "where"), [("htmx 2", "list"), ("htmx 2", "bell"), ("without", "list")]
)
def test_click_on_message_with_url_opens_its_target(page, send, mode, where):
    send("See there.", subject="Report", url="/project/")
    page.goto("/messages/" if where == "list" else "/")
    if where == "bell":
        page.locator(".pm-bell").click()
    page.locator(".pm-row-link", has_text="Report").click()
    expect(page.get_by_role("heading", name="Spring meetup")).to_be_visible()
    assert Message.objects.get().read
