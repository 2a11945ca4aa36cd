"""Two users who write to each other, in each mode."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from persistent_messages import send_letter
from persistent_messages.models import Message

from .accessibility import examine
from .actions import expect_unread, in_all_modes, posts, reply, row, with_htmx, write

pytestmark = pytest.mark.django_db(transaction=True)


@in_all_modes
def test_two_users_hold_conversation(page, other_page, mode):
    # Sally writes.
    write(page, "harry", "Rota", "Can you take Thursday?")
    expect(page.get_by_text("Sent to harry.")).to_be_visible()
    expect(posts(page)).to_have_text(["Can you take Thursday?"])

    # It arrives, and the counter shows it. Harry replies.
    other_page.goto("/messages/")
    expect_unread(other_page, 1)
    row(other_page, "Rota").get_by_role("link").click()
    expect(posts(other_page)).to_have_text(["Can you take Thursday?"])
    expect_unread(other_page, 0)
    reply(other_page, "I can.")
    expect(posts(other_page)).to_have_text(["Can you take Thursday?", "I can."])
    expect(other_page.get_by_label("Your reply")).to_have_value("")

    # Sally replies, in the single row of the conversation.
    page.goto("/messages/")
    expect_unread(page, 1)
    expect(page.locator(".pm-inbox .pm-item")).to_have_count(1)
    expect(row(page, "Rota")).to_contain_text("I can.")
    row(page, "Rota").get_by_role("link").click()
    reply(page, "Thank you!")
    expect(posts(page)).to_have_text(["Can you take Thursday?", "I can.", "Thank you!"])

    # Harry deletes it on his side: Sally keeps hers.
    other_page.goto("/messages/")
    expect_unread(other_page, 1)
    row(other_page, "Rota").get_by_role("link").click()
    other_page.get_by_role("button", name="Delete").click()
    expect(other_page.get_by_role("button", name="Undo")).to_be_visible()
    expect(row(other_page, "Rota")).to_have_count(0)
    page.reload()
    expect(posts(page)).to_have_count(3)

    # Harry blocks Sally, who is not told.
    other_page.goto("/messages/?box=trash")
    row(other_page, "Rota").locator(".pm-row-link").click()
    other_page.get_by_role("button", name="Move to inbox").click()
    expect(other_page.get_by_text("“Rota” restored.")).to_be_visible()
    other_page.goto("/messages/")
    row(other_page, "Rota").get_by_role("link").click()
    other_page.get_by_role("link", name="Block Sally Ride").click()
    other_page.get_by_role("button", name="Block").click()
    expect(other_page.get_by_text("Sally Ride is blocked.")).to_be_visible()
    reply(page, "Are you there?")
    expect(page.get_by_text("Your message can’t be delivered to “harry”.")).to_be_visible()
    expect(page.get_by_label("Your reply")).to_have_value("Are you there?")
    other_page.goto("/messages/blocked/")
    other_page.get_by_role("button", name="Unblock Sally Ride").click()
    expect(other_page.get_by_text("You haven’t blocked anyone.")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(posts(page)).to_have_count(4)


@with_htmx
def test_recipient_is_autocompleted_by_keyboard(page, other, mode):
    other.first_name, other.last_name = "Harriet", "Quimby"
    other.save()
    page.goto("/messages/write/")
    field = page.get_by_role("combobox", name="To")
    expect(field).to_have_attribute("aria-expanded", "false")
    field.press_sequentially("har")
    option = page.get_by_role("option", name=re.compile("Harriet Quimby"))
    expect(option).to_be_visible()
    expect(field).to_have_attribute("aria-expanded", "true")
    field.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    expect(field).to_have_attribute("aria-activedescendant", option.get_attribute("id"))
    assert Axe().run(page).violations_count == 0
    field.press("Enter")
    expect(page.locator(".pm-chip input")).to_have_value("harry")
    expect(field).to_have_value("")
    expect(field).to_be_focused()
    expect(page.get_by_role("listbox")).to_have_count(0)
    assert not Message.objects.exists()


def test_recipient_is_chosen_by_click_and_escape_closes_suggestions(page, other):
    page.goto("/messages/write/")
    field = page.get_by_role("combobox", name="To")
    field.press_sequentially("har")
    page.get_by_role("option").click()
    expect(page.locator(".pm-chip input")).to_have_value("harry")
    expect(field).to_have_value("")
    page.get_by_role("button", name="Remove harry").click()
    field.press_sequentially("ha")
    expect(page.get_by_role("option")).to_be_visible()
    field.press("Escape")
    expect(page.get_by_role("option")).to_have_count(0)
    expect(field).to_have_value("ha")


@with_htmx
def test_recipient_field_is_validated_on_blur(page, other, mode):
    page.goto("/messages/write/")
    page.get_by_label("Message", exact=True).fill("Kept")
    page.get_by_label("To", exact=True).fill("nobody")
    page.get_by_label("Subject").focus()
    expect(page.get_by_text("Your message can’t be delivered to “nobody”.")).to_be_visible()
    expect(page.get_by_label("To", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Message", exact=True)).to_have_value("Kept")
    page.get_by_label("To", exact=True).fill("harry")
    page.get_by_label("Subject").focus()
    expect(page.get_by_text("can’t be delivered")).to_have_count(0)


@in_all_modes
def test_rejected_letter_keeps_typed_text(page, other, mode):
    write(page, "nobody", "Rota", "A long letter")
    expect(page.get_by_text("Your message can’t be delivered to “nobody”.")).to_be_visible()
    expect(page.get_by_label("Message", exact=True)).to_have_value("A long letter")
    expect(page.get_by_label("Subject")).to_have_value("Rota")
    if mode != "without":
        expect(page.get_by_label("To", exact=True)).to_be_focused()
    page.get_by_label("To", exact=True).fill("harry")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Sent to harry.")).to_be_visible()


def test_control_enter_sends_and_characters_are_counted(page, other):
    page.goto("/messages/write/?to=harry&subject=Rota")
    page.get_by_label("Message", exact=True).press_sequentially("Hello 👍")
    expect(page.get_by_text("7 / 10000")).to_be_visible()
    page.get_by_label("Message", exact=True).press("Control+Enter")
    expect(page.get_by_text("Sent to harry.")).to_be_visible()


@with_htmx
def test_earlier_letters_are_inserted_above(page, user, other, settings, mode):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "PAGE_SIZE": 3}
    own = send_letter(other, user, "Rota", "Number 1")
    for number in range(2, 6):
        send_letter(other, None, "", f"Number {number}", own)
    page.goto("/messages/")
    row(page, "Rota").get_by_role("link").click()
    expect(posts(page)).to_have_text(["Number 3", "Number 4", "Number 5"])
    page.get_by_role("link", name="Show earlier messages").click()
    expect(posts(page)).to_have_text([f"Number {number}" for number in range(1, 6)])
    if mode != "without":
        expect(page.locator(".pm-post").first).to_be_focused()


def test_letter_pages_are_accessible(page, user, other):
    own = send_letter(other, user, "Rota", "Can you take Thursday? https://example.com/")
    copy = Message.objects.get(user=user, letter=own.letter)
    send_letter(user, None, "", "I can.", copy)
    for path in (
        "/messages/",
        "/messages/?box=sent",
        f"/messages/detail/{copy.pk}/",
        "/messages/write/",
        f"/messages/reply/{copy.pk}/?quote=1",
        f"/messages/block/{copy.pk}/",
        "/messages/blocked/",
        f"/messages/report/{copy.pk}/",
    ):
        page.goto(path)
        assert examine(page, path) == []
    page.goto("/messages/write/")
    page.get_by_role("button", name="Send").evaluate("button => button.form.noValidate = true")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".errorlist")).to_have_count(2)
    assert examine(page, "what is wrong") == []
