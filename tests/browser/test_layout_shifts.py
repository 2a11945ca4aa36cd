"""Nothing moves: a response leaves the content below the pointer in place."""

import re

import pytest
from playwright.sync_api import expect

from persistent_messages import INFO, send_message

from .actions import button, row, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)

WIDTHS = pytest.mark.parametrize("width", [360, 768, 1280])
# All layout shifts that the browser reports, including those just after an input.
WATCH = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => window.shifts.push(
    // What was out of sight before has no place that it moved from.
    ...entry.sources.filter((source) => source.previousRect.width).map((source) => ({
      name: source.node?.outerHTML?.slice(0, 80) ?? source.node?.textContent,
      from: source.previousRect.top, to: source.currentRect.top })))))
    .observe({ type: "layout-shift", buffered: false });
}"""
PLACES = """() => Object.fromEntries([...document.querySelectorAll(
  ".pm-inbox .pm-row, .pm-title, .pm-filters a, .pm-search, .pm-tools, .pm-pick-all"
)].map((e) => [
  e.getAttribute("aria-label") ?? e.className + e.firstChild.textContent.trim(),
  e.getBoundingClientRect().top + scrollY]))"""
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture
def list_page(page, send, width):
    for number in range(1, 13):
        send(f"The text of number {number}.", subject=f"Number {number}")
    page.set_viewport_size({"width": width, "height": 700})
    page.goto("/messages/")
    page.evaluate(WATCH)
    return page


def positions(page):
    page.evaluate(TWO_FRAMES)
    return page.evaluate(PLACES)


def movements(page, before):
    """Return the distance that each element has moved."""
    now = positions(page)
    return {name: now[name] - top for name, top in before.items() if name in now}


def layout_shifts(page):
    """Return the layout shifts since the last call."""
    page.evaluate(TWO_FRAMES)
    return page.evaluate("() => window.shifts.splice(0)")


def expect_still(page, before):
    assert {name: by for name, by in movements(page, before).items() if by} == {}
    assert layout_shifts(page) == []


def press_by_keyboard(page, name):
    """Press a button of a row with the keyboard, so that no pointer moves the focus or the page."""
    button(page, name).dispatch_event("click")


@with_htmx
@WIDTHS
def test_marking_row_causes_no_layout_shift(list_page, mode, width):
    before = positions(list_page)
    for words in ("read", "unread"):
        press_by_keyboard(list_page, f"Mark “Number 9” as {words}")
        expect(list_page.locator(".pm-said li").last).to_contain_text(f"marked as {words}")
        expect_still(list_page, before)


@with_htmx
@WIDTHS
@pytest.mark.parametrize("action", ["Archive", "Delete"])
def test_removed_row_moves_only_rows_below_it(list_page, action, mode, width):
    before = positions(list_page)
    height = row(list_page, "Number 8").bounding_box()["height"]
    press_by_keyboard(list_page, f"{action} “Number 8”")
    expect(row(list_page, "Number 8")).to_have_count(0)
    for name, by in movements(list_page, before).items():
        assert by == (-height if before[name] > before["Number 8"] else 0), name
    top = before["Number 8"] - list_page.evaluate("scrollY")
    assert [shift for shift in layout_shifts(list_page) if shift["from"] < top] == []
    # Undo puts it back where it was, and all others, too.
    button(list_page, "Undo").click()
    expect(row(list_page, "Number 8")).to_have_count(1)
    assert set(movements(list_page, before).values()) == {0}


@with_htmx
@WIDTHS
def test_marking_all_as_read_and_undo_cause_no_layout_shift(list_page, mode, width):
    list_page.evaluate("scrollTo(0, 250)")
    before = positions(list_page)
    button(list_page, "Mark all 12 as read").dispatch_event("click")
    expect(row(list_page, "Number 9").get_by_text("Unread:")).to_have_count(0)
    expect_still(list_page, before)
    assert list_page.evaluate("scrollY") == 250
    button(list_page, "Undo").click()
    expect(row(list_page, "Number 9").get_by_text("Unread:")).to_have_count(1)
    expect_still(list_page, before)
    assert list_page.evaluate("scrollY") == 250


@with_htmx
@WIDTHS
def test_new_message_link_causes_no_layout_shift(list_page, user, mode, width):
    before = positions(list_page)
    send_message(user, INFO, "Look here.", subject="Late")
    list_page.evaluate("document.body.dispatchEvent(new Event('pm:refresh', {bubbles: true}))")
    news = list_page.get_by_role("link", name="1 new message")
    expect(news).to_be_visible()
    expect_still(list_page, before)
    # It covers no row.
    box, first = news.bounding_box(), row(list_page, "Number 12").bounding_box()
    assert box["y"] + box["height"] <= first["y"]


@with_htmx
@WIDTHS
def test_selection_causes_no_layout_shift(list_page, mode, width):
    before = positions(list_page)
    list_page.get_by_label("Select “Number 9”").dispatch_event("click")
    expect(list_page.get_by_role("group", name="Selected messages")).to_be_visible()
    expect(list_page.locator(".pm-picked")).to_have_attribute("data-pm-count", "1")
    expect_still(list_page, before)
    # It is in view wherever the list is scrolled.
    list_page.evaluate("scrollTo(0, 400)")
    bar = list_page.get_by_role("group", name="Selected messages").bounding_box()
    assert 0 <= bar["y"] < 100
    button(list_page, "Clear selection").dispatch_event("click")
    expect(list_page.get_by_role("group", name="Selected messages")).to_be_hidden()
    list_page.evaluate("scrollTo(0, 0)")
    assert set(movements(list_page, before).values()) == {0}


@with_htmx
@WIDTHS
def test_older_messages_do_not_move_rows_above(page, send, settings, mode, width):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 6}
    for number in range(1, 13):
        send("Look here.", subject=f"Number {number}")
    page.set_viewport_size({"width": width, "height": 600})
    page.goto("/messages/")
    page.evaluate(WATCH)
    more = page.get_by_role("link", name="Show older messages")
    more.scroll_into_view_if_needed()
    before, scrolled = positions(page), page.evaluate("scrollY")
    more.dispatch_event("click")
    expect(row(page, "Number 1")).to_have_count(1)
    assert set(movements(page, before).values()) == {0}
    assert page.evaluate("scrollY") == scrolled


@with_htmx
def test_closing_notice_does_not_move_notices_above(page, send, mode):
    for number in range(1, 4):
        send("Look here.", subject=f"Number {number}")
    page.goto("/")
    notices = page.locator(".pm-notices .pm-notice")
    tops = [notice.bounding_box()["y"] for notice in notices.all()]
    button(page, "Close “Number 2” and mark it as read").click()
    expect(notices).to_have_count(2)
    expect(button(page, "Undo")).to_be_visible()
    assert [notice.bounding_box()["y"] for notice in notices.all()] == tops[:2]


@with_htmx
def test_toolbar_height_is_same_without_unread_messages(page, send, mode):
    send("Look here.", subject="News")
    page.goto("/messages/")
    tops = page.locator(".pm-list").bounding_box()["y"]
    button(page, "Mark 1 as read").click()
    expect(page.get_by_role("button", name=re.compile("^Mark 1 as read$"))).to_have_count(0)
    assert page.locator(".pm-list").bounding_box()["y"] == tops
    press_by_keyboard(page, "Delete “News”")
    expect(page.get_by_text("No messages")).to_be_visible()
    assert page.locator(".pm-list").bounding_box()["y"] == tops


@with_htmx
def test_refreshed_list_keeps_loaded_older_messages(page, send, settings, mode):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 6}
    for number in range(1, 21):
        send("Look here.", subject=f"Number {number}")
    page.set_viewport_size({"width": 768, "height": 600})
    page.goto("/messages/")
    for number in (9, 3):
        page.get_by_role("link", name="Show older messages").click()
        expect(row(page, f"Number {number}")).to_have_count(1)
    page.evaluate("scrollTo(0, 600)")
    scrolled, before = page.evaluate("scrollY"), positions(page)
    button(page, "Mark all 20 as read").dispatch_event("click")
    expect(row(page, "Number 4").get_by_text("Unread:")).to_have_count(0)
    assert set(movements(page, before).values()) == {0}
    assert len(movements(page, before)) == len(before)
    press_by_keyboard(page, "Delete “Number 6”")
    expect(row(page, "Number 6")).to_have_count(0)
    button(page, "Undo").click()
    expect(row(page, "Number 6")).to_have_count(1)
    assert set(movements(page, before).values()) == {0}
    assert page.evaluate("scrollY") == scrolled
    page.get_by_role("link", name="Show older messages").click()
    expect(row(page, "Number 1")).to_have_count(1)
