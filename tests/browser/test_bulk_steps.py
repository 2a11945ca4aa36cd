"""Bulk actions on more messages than one request changes, in a browser."""

import pytest
from playwright.sync_api import expect

from persistent_messages import Folder
from persistent_messages.inbox import bulk_actions
from persistent_messages.models import Message
from tests.pages import fill

from .actions import button, open_menu, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)
without = pytest.mark.parametrize("mode", ["without"])


@pytest.fixture(autouse=True)
def step(monkeypatch):
    monkeypatch.setattr(bulk_actions, "MAX_ROWS", 4)


def count_trash():
    return Message.objects.in_folder(Folder.TRASH).count()


@with_htmx
def test_bulk_action_continues_by_itself_and_undo_reverts_all_steps(page, user, mode):
    fill(user, 30)
    page.goto("/messages/")

    page.locator(".pm-actions").get_by_role("button").filter(has_text="30").click()

    expect(page.locator("body")).to_contain_text("30 messages marked as read.")
    expect(page.locator("progress")).to_have_count(0)
    assert not Message.objects.filter(read_at=None).exists()
    button(page, "Undo").click()
    expect(page.locator(".pm-badge").first).to_have_text("30")
    expect(page.locator("progress")).to_have_count(0)
    assert Message.objects.filter(read_at=None).count() == 30


@with_htmx
def test_bulk_action_continues_by_button_after_error(page, user, console_errors, mode):
    fill(user, 10)
    page.goto("/messages/")
    page.route("**/messages/go_on/", lambda route: route.abort())
    page.locator(".pm-actions").get_by_role("button").filter(has_text="10").click()
    expect(page.locator(".pm-error").first).to_be_visible()
    expect(page.locator("progress")).to_have_count(1)
    page.unroute("**/messages/go_on/")

    button(page, "Continue").click()

    expect(page.locator("body")).to_contain_text("10 messages marked as read.")
    assert not Message.objects.filter(read_at=None).exists()
    assert console_errors.lines
    console_errors.lines.clear()


@without
def test_bulk_action_continues_by_button_without_javascript(page, user, mode):
    fill(user, 10)
    page.goto("/messages/")
    open_menu(page, "More actions")
    page.get_by_role("link", name="Delete all").click()
    button(page, "Delete all").click()
    expect(page.locator("body")).to_contain_text("4 messages deleted.")
    assert count_trash() == 4
    button(page, "Continue").click()
    expect(page.locator("body")).to_contain_text("8 messages deleted.")
    button(page, "Continue").click()
    expect(page.locator("body")).to_contain_text("10 messages deleted.")
    assert count_trash() == 10
