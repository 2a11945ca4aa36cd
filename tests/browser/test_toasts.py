"""Toasts: results, errors and one-shot messages in one region."""

import re

import pytest
from django.contrib import messages as contrib
from playwright.sync_api import expect

from persistent_messages.models import Message

from .actions import button, in_all_modes, row, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)

PARTS = {
    "strip": "{% include 'persistent_messages/message/includes/messages.html' %}",
    "bell": "{% include 'persistent_messages/message/includes/bell.html' %}",
}
# How often a text is in a live region.
SPOKEN = """words => [...document.querySelectorAll(
  "[aria-live=polite], [role=status], [role=alert]")].filter(
  region => region.textContent.includes(words)).length"""


def toasts(page):
    return page.locator(".pm-toasts li:visible")


def is_in_window(page, locator):
    box, size = locator.bounding_box(), page.viewport_size
    return box["y"] >= 0 and box["y"] + box["height"] <= size["height"]


@pytest.fixture
def many_messages(send):
    for number in range(1, 26):
        send("Look here.", subject=f"Number {number}")


@with_htmx
def test_toast_is_in_view_and_announced_once_when_scrolled(page, many_messages, mode):
    page.goto("/messages/")
    row(page, "Number 12").hover()
    before = page.evaluate("scrollY")
    assert before > 0
    button(page, "Delete “Number 12”").click()
    undo = button(page, "Undo")
    expect(undo).to_be_visible()
    assert is_in_window(page, undo)
    assert page.evaluate("scrollY") == before
    assert page.evaluate(SPOKEN, "“Number 12” deleted.") == 1
    undo.click()
    expect(row(page, "Number 12")).to_have_count(1)
    assert page.evaluate("scrollY") == before
    expect(page.locator(".pm-inbox :focus, .pm-pane:focus")).to_have_count(1)


@with_htmx
def test_at_most_three_toasts_are_shown_each_with_undo(page, many_messages, mode):
    page.goto("/messages/")
    for number in (25, 24, 23, 22):
        button(page, f"Archive “Number {number}”").click()
        expect(page.locator(".pm-said")).to_contain_text(f"“Number {number}” archived.")
        assert toasts(page).count() <= 3
    expect(toasts(page)).to_have_count(3)
    expect(page.locator(".pm-toasts")).not_to_contain_text("Number 25")
    page.get_by_role("button", name="Undo: “Number 23” archived.").click()
    expect(row(page, "Number 23")).to_have_count(1)
    expect(row(page, "Number 22")).to_have_count(0)


@with_htmx
def test_hovered_or_focused_toast_is_not_pushed_out(page, many_messages, mode):
    page.goto("/messages/")
    for number in (25, 24):
        button(page, f"Archive “Number {number}”").click()
        expect(page.locator(".pm-said")).to_contain_text(f"“Number {number}” archived.")
    page.get_by_role("button", name="Undo: “Number 25” archived.").hover()
    button(page, "Undo").focus()  # of Number 24
    for number in (23, 22, 21):
        button(page, f"Archive “Number {number}”").dispatch_event("click")
        expect(page.locator(".pm-said")).to_contain_text(f"“Number {number}” archived.")
    expect(toasts(page)).to_have_count(3)
    for number in (25, 24, 21):
        expect(toasts(page).filter(has_text=f"Number {number}")).to_have_count(1)


@with_htmx
def test_errors_and_unseen_toasts_are_not_pushed_out(page, send, mode):
    send("Broken.", contrib.ERROR)
    for number in range(1, 5):
        send(f"Saved {number}.", contrib.SUCCESS)
    page.goto("/")
    expect(toasts(page)).to_have_count(3)
    for _ in range(4):
        button(page, "Add a message: one-shot").click()
        expect(page.get_by_text("Your changes were saved.").last).to_be_visible()
        assert toasts(page).count() <= 3
    expect(page.get_by_role("alert")).to_have_text(re.compile("Broken."))
    expect(page.get_by_role("alert")).to_be_visible()
    # A waiting toast appears when there is space.
    button(page, "Close “Broken.”").click()
    expect(page.get_by_text("Saved 3.")).to_be_visible()
    button(page, "Close “Saved 3.”").click()
    expect(page.get_by_text("Saved 4.")).to_be_visible()


@with_htmx
@pytest.mark.parametrize("part", PARTS)
def test_page_with_any_part_has_toast_region(page, send, base_page, part, mode):
    send("Look here.", subject="News")
    base_page('{% include "persistent_messages/message/includes/messages.html" %}', "")
    base_page('{% include "persistent_messages/message/includes/bell.html" %}', PARTS[part])
    page.goto("/project/")
    button(page, "Delete “News”").first.click()
    expect(button(page, "Undo")).to_have_count(1)
    assert is_in_window(page, button(page, "Undo"))


@with_htmx
def test_page_with_two_strips_shows_toast_once(page, more_pages, send, mode):
    send("Saved.", contrib.SUCCESS)
    page.goto("/twice/")
    expect(toasts(page)).to_have_count(1)
    expect(page.get_by_text("Saved.")).to_have_count(1)


@pytest.mark.parametrize("mode", ["without"])
def test_toasts_without_javascript_are_in_page_flow(page, send):
    send("Look here.", subject="News")
    send("Saved.", contrib.SUCCESS)
    page.goto("/")
    saved = page.locator(".pm-passing .pm-notice")
    assert saved.evaluate("e => getComputedStyle(e.closest('.pm-toasts')).position") == "static"
    heading = page.get_by_role("heading", level=1)
    assert saved.bounding_box()["y"] + saved.bounding_box()["height"] <= heading.bounding_box()["y"]
    page.goto("/messages/")
    button(page, "Delete “News”").click()
    expect(page.locator(".pm-passing")).to_contain_text("“News” deleted.")
    assert page.locator(".pm-passing").bounding_box()["y"] < 300


@with_htmx
def test_toast_stays_while_hovered_or_focused(page, send, mode):
    send("Saved.", contrib.SUCCESS, close_timeout=60_000)
    page.clock.install()
    page.goto("/")
    toast = page.locator(".pm-toasts .pm-notice")
    toast.hover()
    page.clock.run_for(61_000)
    expect(toast).to_be_visible()
    button(page, "Close “Saved.”").focus()
    page.mouse.move(0, 0)
    page.clock.run_for(61_000)
    expect(toast).to_be_visible()
    page.get_by_role("link", name="Northbank").focus()
    page.clock.run_for(61_000)
    expect(toast).to_have_count(0)


@with_htmx
def test_error_toast_does_not_close_by_timeout(page, send, mode):
    send("Broken.", contrib.ERROR, close_timeout=60_000)
    send("Saved.", contrib.SUCCESS, close_timeout=60_000)
    page.clock.install()
    page.goto("/")
    page.clock.run_for(61_000)
    expect(page.get_by_text("Saved.")).to_have_count(0)
    expect(page.get_by_text("Broken.")).to_be_visible()


@with_htmx
def test_hovered_notice_stays_and_countdown_is_shown(page, send, mode):
    send("It goes.", subject="Contacts imported", close_timeout=60_000)
    page.clock.install()
    page.goto("/")
    notice = page.locator(".pm-notices .pm-notice")
    expect(notice.get_by_text(re.compile(r"^Closes in \d+ s$"))).to_be_visible()
    notice.hover()
    page.clock.run_for(61_000)
    expect(notice).to_be_visible()
    assert not Message.objects.get().read
    button(page, "Close “Contacts imported” and mark it as read").focus()
    page.mouse.move(0, 0)
    page.clock.run_for(61_000)
    expect(notice).to_be_visible()
    page.get_by_role("link", name="Northbank").focus()
    page.clock.run_for(61_000)
    expect(notice).to_have_count(0)
    expect(page.locator(".pm-badge")).to_have_count(0)
    assert Message.objects.get().read


@pytest.mark.parametrize("mode", ["htmx 2"])
def test_timeouts_are_ignored_without_script(page, send, mode):
    send("It goes.", subject="Contacts imported", close_timeout=100)
    page.route(
        "**/persistent_messages*.js",
        lambda route: route.fulfill(body="", content_type="text/javascript"),
    )
    page.goto("/")
    page.wait_for_timeout(700)
    expect(page.locator(".pm-notices .pm-notice")).to_be_visible()
    expect(page.get_by_text("Closes in")).to_be_hidden()
    assert not Message.objects.get().read


@in_all_modes
@pytest.mark.parametrize(
    "path", ["/messages/", "/messages/detail/{pk}/", "/messages/delete/all/", "/project/"]
)
def test_pages_with_inbox_show_no_notices(page, send, path, mode):
    send("Look here.", subject="News")
    message = send("Look there.", subject="More")
    send("Saved.", contrib.SUCCESS)
    page.goto(path.format(pk=message.pk))
    expect(page.locator(".pm-notices .pm-notice")).to_have_count(0)
    expect(page.get_by_text("Saved.")).to_be_visible()


@with_htmx
def test_response_adds_no_notices_to_page_without_strip(page, send, mode):
    send("Look here.", subject="News")
    page.goto("/messages/")
    button(page, "Mark “News” as read").click()
    button(page, "Mark “News” as unread").click()
    expect(button(page, "Mark “News” as read")).to_be_visible()
    expect(page.locator(".pm-notices .pm-notice:visible")).to_have_count(0)
