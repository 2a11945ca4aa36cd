"""The field for recipients: suggestions by name, chips, and announcements."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from persistent_messages.models import Message

from .actions import in_all_modes, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def harriet(other):
    other.username, other.first_name, other.last_name = "harriet", "Harriet", "Quimby"
    other.save()
    return other


def chips(page):
    return page.locator(".pm-chip bdi")


@with_htmx
def test_chosen_recipient_is_chip_with_display_name(page, harriet, mode):
    page.goto("/messages/write/")
    field = page.get_by_role("combobox", name="To")
    field.press_sequentially("harriet q")
    page.get_by_role("option", name=re.compile("Harriet Quimby")).click()
    expect(chips(page)).to_have_text(["Harriet Quimby"])
    expect(field).to_have_value("")
    expect(field).to_be_focused()
    assert Axe().run(page).violations_count == 0

    # A chosen user is not suggested again. A chip can be removed with its button or a key.
    field.press_sequentially("har")
    expect(page.get_by_role("option", name="No one found.")).to_be_visible()
    expect(page.locator(".pm-found")).to_have_text("No one found.")
    field.fill("")
    page.get_by_role("button", name="Remove Harriet Quimby").click()
    expect(chips(page)).to_have_count(0)
    expect(field).to_be_focused()
    field.press_sequentially("har")
    page.get_by_role("option", name=re.compile("Harriet Quimby")).click()
    field.press("Backspace")
    expect(chips(page)).to_have_count(0)

    field.press_sequentially("har")
    page.get_by_role("option", name=re.compile("Harriet Quimby")).click()
    page.get_by_label("Message", exact=True).fill("Hello")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Sent to Harriet Quimby")).to_be_visible()
    assert Message.objects.filter(user=harriet).count() == 1


@in_all_modes
def test_typed_full_name_becomes_recipient(page, harriet, mode):
    page.goto("/messages/write/")
    page.get_by_label("To", exact=True).fill("Harriet Quimby")
    if mode != "without":
        page.get_by_label("Subject").focus()
        expect(chips(page)).to_have_text(["Harriet Quimby"])
    page.get_by_label("Message", exact=True).fill("Hello")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Sent to Harriet Quimby")).to_be_visible()


@with_htmx
def test_unknown_recipient_stays_text_beside_chips(page, harriet, mode):
    page.goto("/messages/write/")
    field = page.get_by_label("To", exact=True)
    field.fill("harriet, nobody")
    page.get_by_label("Subject").focus()
    expect(chips(page)).to_have_text(["Harriet Quimby"])
    expect(field).to_have_value("nobody")
    expect(page.get_by_text("can’t be delivered to “nobody”")).to_be_visible()

    # A draft has them, too.
    page.get_by_label("Message", exact=True).fill("Hello")
    page.goto("/messages/write/")
    expect(chips(page)).to_have_text(["Harriet Quimby"])
    expect(field).to_have_value("nobody")
