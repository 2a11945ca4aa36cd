"""Keyboard shortcuts in lists and messages: they act on the selection and keep the focus."""

import re

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import expect

import persistent_messages
from persistent_messages.models import Message

from .actions import with_htmx

pytestmark = pytest.mark.django_db(transaction=True)

Folder = persistent_messages.Folder


def link(page, subject):
    return page.locator(".pm-row-link", has_text=subject)


def folders():
    return {m.subject: Folder(m.folder) for m in Message.objects.all()}


@with_htmx
def test_shortcut_keys_act_on_selection_and_can_be_undone(page, three_messages, mode):
    page.goto("/messages/")
    link(page, "Third").focus()
    for key in ("x", "j", "x", "j", "e"):
        page.keyboard.press(key)
    expect(page.locator(".pm-item")).to_have_count(1)
    expect(link(page, "First")).to_be_focused()
    assert folders() == {"First": Folder.INBOX, "Second": Folder.ARCHIVE, "Third": Folder.ARCHIVE}
    page.keyboard.press("z")
    expect(page.locator(".pm-item")).to_have_count(3)
    expect(link(page, "First")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("k")
    page.keyboard.press("x")
    page.keyboard.press("u")
    expect(page.locator(".pm-row--unread")).to_have_count(1)
    expect(link(page, "Second")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("Delete")
    expect(page.locator(".pm-item")).to_have_count(2)
    assert folders()["Second"] == Folder.TRASH
    expect(link(page, "First")).to_be_focused()


@with_htmx
def test_marking_by_key_keeps_focus_on_row(page, three_messages, mode):
    page.goto("/messages/")
    link(page, "Second").focus()
    for unread in (2, 3):
        page.keyboard.press("u")
        expect(page.locator(".pm-row--unread")).to_have_count(unread)
        expect(link(page, "Second")).to_be_focused()
    page.keyboard.press("j")
    expect(link(page, "First")).to_be_focused()


def test_selection_actions_are_next_tab_stop_without_focus_trap(page, three_messages):
    page.goto("/messages/")
    bar = page.get_by_role("group", name="Selected messages")
    link(page, "Second").focus()
    page.keyboard.press("x")
    page.keyboard.press("Tab")
    expect(bar.get_by_role("button").first).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(link(page, "Second")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("x")
    page.keyboard.press("Tab")
    for _ in range(bar.get_by_role("button").count()):
        page.keyboard.press("Tab")
    expect(page.locator(".pm-row:has(:focus)")).to_have_attribute("aria-label", "Second")
    for _ in range(20):
        page.keyboard.press("Tab")
    expect(page.locator(".pm-list :focus")).to_have_count(0)


@with_htmx
def test_select_all_can_extend_to_all_pages(page, send, settings, mode):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    for number in range(8):
        send("Look here.", subject=f"Number {number}")
    page.goto("/messages/")
    every = page.get_by_label("Select all", exact=True)
    every.check()
    expect(page.locator(".pm-every")).to_contain_text("3 of 8 selected")
    page.get_by_label("Select “Number 7”").uncheck()
    expect(every).not_to_be_checked()
    expect(page.locator(".pm-every")).to_be_empty()
    page.get_by_label("Select “Number 7”").check()
    expect(every).to_be_checked()
    send("Look here.", subject="Late")
    page.get_by_role("button", name="Select all 8", exact=True).click()
    expect(page.locator(".pm-every")).to_have_text(re.compile("All 8 selected"))
    expect(page.get_by_role("button", name="Mark selected as read")).to_be_focused()
    page.get_by_role("button", name="Archive selected").click()
    expect(page.locator(".pm-item")).to_have_count(1)
    expect(page.locator(".pm-said")).to_contain_text("8 messages archived.")
    assert folders()["Late"] == Folder.INBOX
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".pm-item")).to_have_count(3)


def test_question_mark_key_lists_shortcuts(page, three_messages):
    page.goto("/messages/")
    link(page, "Third").focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    for words in ("Reply", "New message", "Undo", "Archive", "Search"):
        expect(dialog.get_by_text(words, exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(link(page, "Third")).to_be_focused()


def test_shortcut_keys_move_between_messages_and_back_to_list(page, three_messages):
    page.goto("/messages/")
    link(page, "Second").focus()
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", level=1)
    for key, subject in (("j", "First"), ("[", "Second"), ("k", "Third"), ("]", "Second")):
        expect(heading).to_be_focused()
        page.keyboard.press(key)
        expect(heading).to_have_text(subject)
    page.go_back()
    expect(heading).to_have_text("Third")
    page.get_by_role("navigation", name="Messages").get_by_role("link", name="Inbox").click()
    expect(link(page, "Second")).to_be_focused()


@with_htmx
def test_shortcut_key_undoes_action_from_message(page, three_messages, mode):
    """The result is shown on the page of the list, after a redirect."""
    page.goto("/messages/")
    link(page, "Second").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.keyboard.press("e")
    expect(page.locator(".pm-toasts")).to_contain_text("“Second” archived.")
    expect(link(page, "First")).to_be_focused()
    page.keyboard.press("z")
    expect(link(page, "Second")).to_be_visible()
    expect(page.locator(".pm-toasts")).to_contain_text("Undone.")


def test_shortcut_keys_open_reply_and_compose(page, user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    persistent_messages.send_message(
        user, persistent_messages.INFO, "Hello", subject="Letter", from_user=other
    )
    page.goto("/messages/")
    link(page, "Letter").focus()
    page.keyboard.press("r")
    expect(page).to_have_url(re.compile("/detail/"))
    expect(page.locator(".pm-letter textarea")).to_be_focused()
    page.keyboard.type("cuez?")
    expect(page.locator(".pm-letter textarea")).to_have_value("cuez?")
    page.locator("h1").focus()
    page.keyboard.press("r")
    expect(page.locator(".pm-letter textarea")).to_be_focused()
    page.locator("h1").focus()
    page.keyboard.press("c")
    expect(page).to_have_url(re.compile("/write/$"))
    assert get_user_model().objects.count() == 2


def test_row_link_names_state_level_and_sender(page, user, other, send):
    send("It failed.", persistent_messages.ERROR, subject="Export")
    persistent_messages.send_message(
        user, persistent_messages.INFO, "Hello", subject="Letter", from_user=other
    )
    Message.objects.filter(subject="Letter").update(read_at="2020-01-01T00:00Z")
    page.goto("/messages/")
    for name in ("Unread: Error, Export, now", "harry, Letter, now"):
        expect(page.get_by_role("link", name=name, exact=True)).to_have_count(1)


def test_shortcut_keys_are_ignored_outside_list(page, three_messages):
    page.goto("/messages/")
    page.locator("body").press("e")
    page.get_by_role("searchbox").press_sequentially("xuecz?")
    expect(page.get_by_role("searchbox")).to_have_value("xuecz?")
    page.goto("/messages/")
    link(page, "Third").focus()
    page.keyboard.press("Control+u")
    expect(page.locator(".pm-row--unread")).to_have_count(3)
    assert set(folders().values()) == {Folder.INBOX}
