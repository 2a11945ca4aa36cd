"""The bell: a button that opens a popover with the current messages."""

import re

import pytest
from playwright.sync_api import expect

from persistent_messages.models import Message

from .actions import row, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)

LATEST = re.compile("/messages/latest/")


def bell(page):
    return page.get_by_role("button", name=re.compile("^Inbox"))


@with_htmx
def test_bell_closes_on_second_click_escape_or_click_outside(page, send):
    send("Look here.", subject="Backup complete")
    page.goto("/")
    requests = []
    page.on("request", lambda it: requests.append(it) if LATEST.search(it.url) else None)
    pop = page.get_by_role("dialog", name="Messages")
    for _ in range(2):
        expect(bell(page)).to_have_attribute("aria-expanded", "false")
        bell(page).click()
        expect(bell(page)).to_have_attribute("aria-expanded", "true")
        expect(row(page, "Backup complete")).to_be_visible()
        bell(page).click()
        expect(bell(page)).to_have_attribute("aria-expanded", "false")
        expect(pop).to_be_hidden()
    assert len(requests) == 2, "closing asks for nothing"

    bell(page).press("Enter")
    expect(pop).to_be_visible()
    page.keyboard.press("Escape")
    expect(pop).to_be_hidden()
    expect(bell(page)).to_be_focused()
    bell(page).click()
    page.mouse.click(10, 400)
    expect(pop).to_be_hidden()
    expect(bell(page)).to_have_attribute("aria-expanded", "false")


@with_htmx
def test_bell_in_stale_tab_shows_current_messages(page, send):
    send("Look here.", subject="Was")
    page.goto("/")
    bell(page).click()
    expect(row(page, "Was")).to_be_visible()
    bell(page).click()
    expect(row(page, "Was")).to_be_hidden()
    Message.objects.all().delete()
    send("Look here.", subject="Is")
    waiting = []
    page.route(LATEST, lambda route: waiting.append(route))
    bell(page).click()
    # No old messages, not even until the response arrives.
    expect(page.get_by_role("dialog").get_by_text("Loading…")).to_be_visible()
    expect(row(page, "Was")).to_have_count(0)
    waiting[0].continue_()
    expect(row(page, "Is")).to_be_visible()


@with_htmx
def test_open_bell_updates_after_change_in_another_tab(page, send, console_errors):
    send("Look here.", subject="Backup complete")
    page.goto("/")
    other = page.context.new_page()
    console_errors.watch(other)
    other.goto("/")
    bell(page).click()
    expect(row(page, "Backup complete")).to_be_visible()
    page.mouse.move(10, 500)
    bell(other).click()
    other.get_by_role("button", name="Delete “Backup complete”").click()
    expect(row(page, "Backup complete")).to_have_count(0)


@pytest.mark.parametrize("count", [1, 25, 120])
@pytest.mark.parametrize("language", ["en", "ar"])
def test_bell_icon_is_centered_and_badge_overlaps_nothing(page, user, live_server, count, language):
    page.context.add_cookies(
        [{"name": "django_language", "value": language, "url": live_server.url}]
    )
    Message.objects.bulk_create(Message(user=user, level=120, message="x") for _ in range(count))
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto("/")
    box, icon, badge, after = (
        page.locator(css).bounding_box()
        for css in (".pm-bell", ".pm-bell .pm-icon", ".pm-bell .pm-badge", "header form")
    )
    for start, size in (("x", "width"), ("y", "height")):
        assert abs(box[start] + box[size] / 2 - icon[start] - icon[size] / 2) < 1
    for one, two in ((badge, icon), (badge, after)):
        beside = one["x"] + one["width"] <= two["x"] or two["x"] + two["width"] <= one["x"]
        assert beside or one["y"] + one["height"] <= two["y"]


def test_unread_badge_does_not_shift_navigation(page, send):
    page.goto("/")
    before = page.locator("header a.messages").bounding_box()
    send("Look here.")
    page.evaluate("document.dispatchEvent(new Event('pm:refresh'))")
    expect(page.locator(".pm-badge")).to_have_text("1")
    assert page.locator("header a.messages").bounding_box() == before


@pytest.mark.parametrize("mode", ["without"])
def test_bell_without_javascript_is_link_to_inbox(page, send):
    page.goto("/")
    page.locator("a.pm-bell").click()
    expect(page).to_have_url(re.compile("/messages/$"))
    expect(page.locator("a.pm-bell")).to_have_attribute("aria-current", "page")


def test_bell_without_htmx_is_link_to_inbox(page, send, base_page):
    """Also where a page of the site does not load htmx, or could not."""
    base_page("{% htmx_script %}", "")
    send("Look here.", subject="Backup complete")
    page.goto("/")
    page.get_by_role("link", name=re.compile("^Inbox .*unread")).click()
    expect(row(page, "Backup complete")).to_be_visible()


@pytest.mark.parametrize("when", ["defer", "async"])
def test_bell_opens_where_htmx_is_loaded_after_the_script(page, send, base_page, when):
    ours = (
        "<script src=\"{% static 'persistent_messages/persistent_messages.js' %}\" defer></script>"
    )
    htmx = f"<script src=\"{{% static 'django_htmx/htmx-2.min.js' %}}\" {when}></script>"
    base_page(f"{{% htmx_script %}}\n  {ours}", f"{ours}\n  {htmx}")
    send("Look here.", subject="Backup complete")
    page.goto("/")
    bell(page).click()
    expect(row(page, "Backup complete")).to_be_visible()
