"""The most common actions: read, close, mark, delete, in each mode."""

import re

import pytest
from django.contrib.messages import constants as contrib
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

import persistent_messages
from persistent_messages.models import Message

from .actions import (
    close,
    expect_unread,
    is_same_page,
    log_in,
    main_modes,
    notice,
    open_menu,
    open_path,
    press,
    row,
    wait_until,
    with_and_without,
    with_htmx,
)

pytestmark = pytest.mark.django_db(transaction=True)
MARK_ALL = re.compile(r"^Mark (all )?\d+ as read$")


@with_and_without
def test_unread_count_is_shown_after_log_in(visitor_page, send):
    send("The disk is full.", subject="Export failed")
    send("All went well.", subject="Backup complete")
    visitor_page.goto("/messages/")
    log_in(visitor_page)
    expect(visitor_page.get_by_role("heading", name="Inbox")).to_be_visible()
    expect_unread(visitor_page, 2)


@main_modes
def test_closing_notice_updates_counter_strip_and_row(page, more_pages, send, mode):
    send("The disk is full.", subject="Export failed")
    send("All went well.", subject="Backup complete")
    open_path(page, "/both/")
    expect(row(page, "Export failed").get_by_text("Unread:")).to_be_attached()
    close(page, "Export failed")
    expect_unread(page, 1)
    expect(notice(page, "Export failed")).to_have_count(0)
    expect(notice(page, "Backup complete")).to_have_count(1)
    expect(row(page, "Export failed").get_by_text("Unread:")).to_have_count(0)
    expect(row(page, "Backup complete").get_by_text("Unread:")).to_be_attached()
    assert is_same_page(page) == (mode != "without")
    assert Message.objects.get(subject="Export failed").read


@with_htmx
def test_closing_last_notice_empties_counter_and_strip(page, send):
    send("All went well.", subject="Backup complete")
    page.goto("/")
    close(page, "Backup complete")
    expect_unread(page, 0)
    expect(page.locator(".pm-notices li")).to_have_count(0)


@main_modes
def test_row_is_marked_as_read_and_unread(page, more_pages, send, mode):
    send("All went well.", subject="Backup complete")
    open_path(page, "/both/")
    press(page, "Backup complete", "as read$")
    expect_unread(page, 0)
    expect(row(page, "Backup complete").get_by_text("Unread:")).to_have_count(0)
    expect(notice(page, "Backup complete")).to_have_count(0)
    assert Message.objects.get().read
    press(page, "Backup complete", "as unread$")
    expect_unread(page, 1)
    expect(row(page, "Backup complete").get_by_text("Unread:")).to_be_attached()
    expect(notice(page, "Backup complete")).to_have_count(1)
    assert not Message.objects.get().read
    assert is_same_page(page) == (mode != "without")


@main_modes
def test_deleting_row_keeps_other_rows(page, send, user, mode):
    send("The disk is full.", subject="Export failed")
    send("All went well.", subject="Backup complete")
    open_path(page, "/messages/")
    press(page, "Export failed", "^Delete")
    expect(row(page, "Export failed")).to_have_count(0)
    expect(row(page, "Backup complete")).to_be_visible()
    expect(notice(page, "Export failed")).to_have_count(0)
    expect_unread(page, 1)
    assert is_same_page(page) == (mode != "without")
    assert [message.subject for message in Message.objects.inbox_of(user)] == ["Backup complete"]


@main_modes
def test_empty_state_shows_after_last_row_is_deleted(page, send):
    send("All went well.", subject="Backup complete")
    page.goto("/messages/")
    expect(page.get_by_text("No messages")).to_be_hidden()
    press(page, "Backup complete", "^Delete")
    expect(page.get_by_text("No messages")).to_be_visible()
    expect(page.get_by_role("button", name=MARK_ALL)).to_be_hidden()
    expect_unread(page, 0)


@main_modes
def test_all_messages_are_marked_as_read_together(page, send, user, mode):
    for subject in ("Export failed", "Backup complete", "Contacts imported"):
        send("Look here.", subject=subject)
    open_path(page, "/messages/")
    page.get_by_role("button", name=MARK_ALL).click()
    expect_unread(page, 0)
    expect(page.locator(".pm-notices li")).to_have_count(0)
    expect(page.get_by_role("article")).to_have_count(3)
    expect(page.get_by_role("article").get_by_text("Unread:")).to_have_count(0)
    assert is_same_page(page) == (mode != "without")
    assert not Message.objects.inbox_of(user).unread().exists()


@with_and_without
def test_all_messages_are_deleted_after_confirmation(page, send, user):
    send("The disk is full.", subject="Export failed")
    send("All went well.", subject="Backup complete")
    page.goto("/messages/")
    open_menu(page, "More actions")
    page.get_by_role("link", name="Delete all").click()
    expect(page.get_by_role("heading", name="Delete all 2 messages in “Inbox”?")).to_be_visible()
    send("I came while the question was open.", subject="Latecomer")
    page.get_by_role("button", name="Delete all").click()
    expect(page.get_by_text("2 messages deleted.")).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(1)
    assert [message.subject for message in Message.objects.inbox_of(user)] == ["Latecomer"]


def test_cancelling_confirmation_deletes_nothing(page, send, user):
    send("All went well.", subject="Backup complete")
    page.goto("/messages/")
    open_menu(page, "More actions")
    page.get_by_role("link", name="Delete all").click()
    page.get_by_role("link", name="Cancel").click()
    expect(row(page, "Backup complete")).to_be_visible()
    assert Message.objects.inbox_of(user).unread().count() == 1


@with_and_without
def test_opening_message_marks_it_as_read(page, send):
    send("It ran for three hours,\nand then it stopped.", subject="Export failed")
    page.goto("/messages/")
    # The subject of the row, not that of the strip.
    row(page, "Export failed").get_by_role("link").click()
    expect(page.get_by_role("heading", name="Export failed")).to_be_visible()
    expect(page.get_by_text("and then it stopped.")).to_be_visible()
    expect_unread(page, 0)
    page.get_by_role("button", name="Mark as unread").click()
    expect(row(page, "Export failed").get_by_text("Unread:")).to_be_attached()
    expect_unread(page, 1)


def test_message_is_deleted_from_detail_page(page, send):
    sent = send("It ran for three hours.", subject="Export failed")
    page.goto(f"/messages/detail/{sent.pk}/")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    expect(page.get_by_text("“Export failed” deleted.")).to_be_visible()
    expect(page.get_by_text("No messages")).to_be_visible()


@main_modes
def test_older_messages_load_on_demand_until_none_are_left(page, send, settings, mode):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    for number in range(1, 6):
        send("Look here.", subject=f"Number {number}")
    open_path(page, "/messages/")
    expect(page.get_by_role("article")).to_have_count(2)
    page.get_by_role("link", name="Show older messages").click()
    expect(row(page, "Number 2")).to_be_visible()
    page.get_by_role("link", name="Show older messages").click()
    expect(row(page, "Number 1")).to_be_visible()
    expect(page.get_by_role("link", name="Show older messages")).to_have_count(0)
    # With HTMX they are added below; a link leads to them.
    expect(page.get_by_role("article")).to_have_count(1 if mode == "without" else 5)
    assert is_same_page(page) == (mode != "without")
    # One day has one heading, however many pages it came in.
    expect(page.locator(".pm-day:visible")).to_have_count(1)


@with_htmx
def test_rows_of_older_page_can_be_deleted(page, send, settings, user):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    for number in range(1, 4):
        send("Look here.", subject=f"Number {number}")
    page.goto("/messages/")
    page.get_by_role("link", name="Show older messages").click()
    press(page, "Number 1", "as read$")
    expect_unread(page, 2)
    expect(row(page, "Number 1").get_by_text("Unread:")).to_have_count(0)
    press(page, "Number 1", "^Delete")
    expect(row(page, "Number 1")).to_have_count(0)
    assert Message.objects.inbox_of(user).count() == 2


@main_modes
def test_one_shot_message_is_gone_on_next_page(page, mode):
    open_path(page, "/")
    page.get_by_role("button", name="one-shot").click()
    expect(page.get_by_text("Your changes were saved.")).to_be_visible()
    assert is_same_page(page) == (mode != "without")
    # The row is removed after the response has been sent, so the page may be a moment ahead.
    wait_until(page, lambda: not Message.objects.exists())
    page.goto("/")
    expect(page.get_by_role("heading", name="Good to see you")).to_be_visible()
    expect(page.get_by_text("Your changes were saved.")).to_have_count(0)


@with_and_without
def test_one_shot_message_can_be_closed(page, mode):
    open_path(page, "/")
    page.get_by_role("button", name="one-shot").click()
    page.locator(".pm-passing").get_by_role("button", name="Close").click()
    expect(page.get_by_text("Your changes were saved.")).to_have_count(0)
    assert is_same_page(page) == (mode != "without")


@with_htmx
def test_persistent_message_added_by_view_appears_in_strip(page, mode):
    open_path(page, "/")
    page.get_by_role("button", name="notice").click()
    expect(notice(page, "Maintenance on Sunday")).to_be_visible()
    assert is_same_page(page) == (mode != "without")


def test_visitor_sees_message_that_log_in_is_needed(visitor_page):
    visitor_page.goto("/")
    visitor_page.get_by_role("button", name="notice").click()
    expect(visitor_page.get_by_text("Log in first: this message needs a mailbox.")).to_be_visible()


@with_htmx
def test_notice_with_timeout_closes_and_is_marked_as_read(page, more_pages, send):
    """The timeout is in milliseconds."""
    send("It stays.", subject="Export failed")
    send("It goes.", subject="Contacts imported", close_timeout=400)
    open_path(page, "/both/")
    expect(notice(page, "Contacts imported")).to_have_count(0)
    expect_unread(page, 1)
    expect(row(page, "Contacts imported").get_by_text("Unread:")).to_have_count(0)
    expect(notice(page, "Export failed")).to_be_visible()
    assert is_same_page(page)
    assert Message.objects.get(subject="Contacts imported").read


@with_htmx
def test_one_shot_message_with_timeout_closes(page, user, send):
    send("Saved.", contrib.SUCCESS, close_timeout=400)
    open_path(page, "/")
    expect(page.get_by_text("Saved.")).to_have_count(0)
    assert is_same_page(page)


@main_modes
def test_embedded_inbox_works_in_site_page(page, send, mode):
    send("The disk is full.", subject="Export failed")
    send("All went well.", subject="Backup complete")
    send("Look here.", subject="News")
    open_path(page, "/project/")
    press(page, "Export failed", "as read$")
    expect_unread(page, 2)
    press(page, "Backup complete", "^Delete")
    expect(row(page, "Backup complete")).to_have_count(0)
    page.get_by_role("button", name=MARK_ALL).click()
    expect_unread(page, 0)
    assert page.url.endswith("/project/")
    expect(page.get_by_role("heading", name="Spring meetup")).to_be_visible()
    assert is_same_page(page) == (mode != "without")


def test_embedded_inbox_loads_older_messages(page, send, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    for number in range(1, 4):
        send("Look here.", subject=f"Number {number}")
    page.goto("/project/")
    page.get_by_role("link", name="Show older messages").click()
    expect(row(page, "Number 1")).to_be_visible()


@main_modes
def test_duplicated_parts_of_page_change_together(page, more_pages, send, mode):
    send("The disk is full.", subject="Export failed")
    send("All went well.", subject="Backup complete")
    send("1,284 people added.", subject="Contacts imported")
    open_path(page, "/twice/")
    expect(page.get_by_role("article")).to_have_count(6)
    expect(notice(page, "Export failed")).to_have_count(2)

    notice(page, "Export failed").first.get_by_role("button", name="Close").click()
    expect(notice(page, "Export failed")).to_have_count(0)
    expect(page.get_by_text("Unread:")).to_have_count(4)
    expect_unread(page, 2)
    expect(page.locator(".second")).to_have_text(re.compile("2 unread"))

    row(page, "Backup complete").last.get_by_role("button", name=re.compile("as read")).click()
    expect(page.get_by_text("Unread:")).to_have_count(2)
    expect(notice(page, "Backup complete")).to_have_count(0)
    expect_unread(page, 1)

    row(page, "Contacts imported").last.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("article")).to_have_count(4)
    expect_unread(page, 0)
    expect(page.locator(".second")).not_to_have_text(re.compile("unread"))

    row(page, "Backup complete").first.get_by_role("button", name=re.compile("unread")).click()
    expect(page.get_by_text("Unread:")).to_have_count(2)
    page.get_by_role("button", name=MARK_ALL).last.click()
    expect(page.get_by_text("Unread:")).to_have_count(0)
    expect(page.get_by_role("article")).to_have_count(4)
    assert is_same_page(page) == (mode != "without")


@main_modes
def test_stale_page_redirects_to_log_in_and_back(page, send, live_server, mode):
    send("All went well.", subject="Backup complete")
    page.goto("/messages/")
    Session.objects.all().delete()
    press(page, "Backup complete", "as read$")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    # The whole page, not a log-in page inside the list.
    expect(page.get_by_role("banner")).to_have_count(1)
    expect(page.get_by_role("article")).to_have_count(0)
    assert page.url.startswith(f"{live_server.url}/log-in/?next=/messages/")
    assert not Message.objects.get().read
    log_in(page)
    if mode == "without":
        # The browser requests the URL that it posted to.
        question = page.get_by_role("heading", name="Mark “Backup complete” as read?")
        expect(question).to_be_visible()
        page.get_by_role("button", name="Mark as read").click()
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    expect(row(page, "Backup complete")).to_be_visible()


@with_htmx
def test_strip_of_stale_page_redirects_to_log_in(page, send):
    send("All went well.", subject="Backup complete")
    page.goto("/")
    Session.objects.all().delete()
    close(page, "Backup complete")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.locator(".pm-notice")).to_have_count(0)


def test_user_text_is_escaped(page, send, other):
    send(
        "<img src=x onerror=alert(1)>",
        persistent_messages.WARNING,
        subject="<b>Bold</b> & co",
        from_user=other,
    )
    page.goto("/")
    expect(notice(page, "<b>Bold</b> & co")).to_contain_text("<img src=x onerror=alert(1)>")
    page.goto("/messages/")
    expect(row(page, "<b>Bold</b> & co")).to_be_visible()
    press(page, "<b>Bold</b> & co", "as read$")
    expect_unread(page, 0)
    row(page, "<b>Bold</b> & co").get_by_role("link").click()
    expect(page.locator(".pm-body")).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.locator("main img")).to_have_count(0)
