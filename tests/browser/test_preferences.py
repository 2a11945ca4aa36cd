"""The page of preferences in a browser: with htmx 2 and 4, and without JavaScript."""

import pytest
from playwright.sync_api import expect

from persistent_messages import wants
from persistent_messages.models import Preference

from .accessibility import examine

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _topics(register):
    register(billing={}, alerts={"mandatory": True, "mail": "now"})


def open_preferences(page):
    page.goto("/messages/")
    page.get_by_role("link", name="Preferences").click()
    expect(page.get_by_role("heading", name="Preferences")).to_be_visible()


@pytest.mark.parametrize("mode", ["htmx 2", "htmx 4"])
def test_preference_is_saved_on_change(page, user):
    open_preferences(page)
    page.evaluate("window.pmSame = true")
    place = page.get_by_label("Billing: Inbox")

    place.focus()
    place.select_option("Archive at once")
    expect(page.get_by_text("Saved.")).to_be_visible()

    assert not wants(user, "billing", "inbox")
    expect(place).to_be_focused()
    assert page.evaluate("window.pmSame")
    page.reload()
    expect(place).to_have_value("archive")


def test_invalid_pause_date_shows_error_beside_field(page, user):
    open_preferences(page)
    day = page.get_by_label("Pause all mail until")
    day.fill("2020-01-01")
    expect(page.get_by_text("Choose a day after today.")).to_be_visible()
    day.fill("2099-01-01")
    expect(page.get_by_text("Choose a day after today.")).not_to_be_visible()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert not wants(user, "alerts", "mail")


@pytest.mark.parametrize("mode", ["without"])
def test_preferences_are_saved_without_javascript(page, user):
    open_preferences(page)
    page.get_by_label("Billing: Mail").select_option("No mail")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert Preference.objects.values_list("topic", "mail").get() == ("billing", "never")
    expect(page.get_by_label("Billing: Mail")).to_have_value("never")


@pytest.mark.parametrize(("width", "columns"), [(360, 1), (1100, 2)])
def test_preference_fields_are_aligned_in_columns(open_page, user, width, columns):
    page = open_page(user, viewport={"width": width, "height": 700})
    open_preferences(page)

    boxes = [field.bounding_box() for field in page.locator(".pm-choices .pm-input").all()]

    assert len({round(box["x"]) for box in boxes}) == columns
    assert len({round(box["width"]) for box in boxes}) == 1
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_preferences_page_is_accessible(page):
    open_preferences(page)
    assert examine(page, "preferences") == []
