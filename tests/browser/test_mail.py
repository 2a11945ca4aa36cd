"""Mail in the demo: preferences, sending, reading in time, unsubscribing."""

import django
import pytest
from django.utils import timezone
from playwright.sync_api import expect

from persistent_messages.models import DueMail

from .accessibility import examine

pytestmark = pytest.mark.django_db(transaction=True)

CARD = "Your card ending 4242 expires soon"


@pytest.fixture(autouse=True)
def _mail(settings, monkeypatch, tmp_path, live_server):
    monkeypatch.setattr("demo.mail.FOLDER", tmp_path)
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SITE_URL": live_server.url}
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": "demo.mail.FolderBackend"}}
    else:
        settings.EMAIL_BACKEND = "demo.mail.FolderBackend"


def add(page, kind):
    page.goto("/")
    page.get_by_role("button", name=f"Add a message: {kind}").click()
    expect(page.get_by_text("Added.")).to_be_visible()


def send_due_mail(page):
    """Have all that waits be due, and see what was mailed."""
    DueMail.objects.update(due=timezone.now())
    page.goto("/mail/")


def test_unread_message_is_mailed_as_preferred(page):
    page.goto("/messages/preferences/")
    page.get_by_label("Maintenance: Mail").select_option("unread")
    expect(page.get_by_text("Saved.")).to_be_visible()

    add(page, "notice")
    send_due_mail(page)

    expect(page.get_by_role("heading", name="Maintenance on Sunday")).to_be_visible()


def test_message_read_in_time_is_not_mailed(page):
    add(page, "warning")
    page.goto("/messages/")
    page.get_by_role("link", name=CARD).first.click()
    expect(page.get_by_role("heading", name=CARD)).to_be_visible()

    send_due_mail(page)

    expect(page.get_by_text("No mail yet.")).to_be_visible()


def test_unsubscribe_link_works_without_log_in(page, visitor_page):
    add(page, "warning")
    send_due_mail(page)
    link = page.get_by_role("link", name="Unsubscribe").get_attribute("href")

    visitor_page.goto(link)
    visitor_page.get_by_role("button", name="Unsubscribe").click()
    expect(visitor_page.get_by_text("You won’t get any more mail about “Billing”.")).to_be_visible()
    assert examine(visitor_page, "unsubscribed") == []

    add(page, "warning")
    assert not DueMail.objects.exists()
