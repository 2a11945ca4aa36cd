"""Drafts: unsent text is restored until it is sent or its user logs out."""

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from persistent_messages import send_letter
from persistent_messages.models import Message

from .actions import log_in, log_out, posts, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)
STORED = "() => Object.keys(localStorage).filter(key => key.startsWith('pm-draft:'))"

ANOTHERS = """
  document.cookie = document.cookie.match(/pm_drafts=[^;]*/)[0].replace(/=./, '=z');
  localStorage[key.replace(/:./, ':z')] = localStorage[key];
  localStorage.removeItem(key);
"""
DENIED = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied') } })"
FULL = """
  for (let n = 22; n >= 0; n--) try { localStorage['full' + n] = 'x'.repeat(2 ** n) } catch {}
"""


@pytest.fixture
def letter(user, other):
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")
    return Message.objects.get(user=user, letter=sent.letter)


def reply_field(page):
    return page.get_by_label("Your reply")


@with_htmx
def test_reply_sent_by_keyboard_leaves_no_draft(page, letter, mode):
    page.goto(f"/messages/detail/{letter.pk}/")
    reply_field(page).press_sequentially("Yes, from nine.")
    page.keyboard.press("Control+Enter")
    expect(posts(page)).to_have_count(2)
    expect(reply_field(page)).to_have_value("")
    expect(page.get_by_text("Your unsent message was restored.")).to_be_hidden()
    assert page.evaluate(STORED) == []
    page.reload()
    expect(reply_field(page)).to_have_value("")


@with_htmx
def test_draft_is_restored_until_sent_or_discarded(page, letter, mode):
    url = f"/messages/detail/{letter.pk}/"
    page.goto(url)
    reply_field(page).fill("Half a")
    page.goto("/messages/write/")
    expect(page.get_by_label("Message", exact=True)).to_have_value("")
    page.get_by_label("To", exact=True).fill("harry")
    page.get_by_label("Subject").fill("Plan")
    page.goto(url)
    expect(reply_field(page)).to_have_value("Half a")
    expect(page.get_by_text("Your unsent message was restored.")).to_be_visible()
    reply_field(page).fill("Half a reply, whole.")
    page.get_by_role("button", name="Send").click()
    expect(posts(page)).to_have_count(2)
    expect(reply_field(page)).to_have_value("")
    page.reload()
    expect(reply_field(page)).to_have_value("")

    page.goto("/messages/write/?to=ida")  # for somebody else
    expect(page.get_by_label("Subject")).to_have_value("")
    page.goto("/messages/write/")
    expect(page.get_by_label("Subject")).to_have_value("Plan")
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_label("Subject")).to_have_value("")
    page.reload()
    expect(page.get_by_text("Your unsent message was restored.")).to_be_hidden()
    assert page.evaluate(STORED) == []


@with_htmx
def test_draft_survives_log_in(page, letter, mode):
    page.goto(f"/messages/detail/{letter.pk}/")
    reply_field(page).fill("I can.")
    Session.objects.all().delete()
    page.get_by_role("button", name="Send").click()
    log_in(page)
    expect(reply_field(page)).to_have_value("I can.")
    page.get_by_role("button", name="Send").click()
    expect(posts(page).last).to_have_text("I can.")
    page.reload()
    expect(reply_field(page)).to_have_value("")


def test_log_out_removes_drafts(page, letter):
    page.goto(f"/messages/detail/{letter.pk}/")
    reply_field(page).fill("Secret")
    log_out(page)
    assert page.evaluate(STORED) == []


@pytest.mark.parametrize(
    "change",
    [
        "localStorage[key] = '{no JSON'",
        "localStorage[key] = '[1]'",
        "localStorage[key] = '{\"message\": {}}'",
        "localStorage[key] = JSON.stringify({ message: 'x'.repeat(60000) })",
        ANOTHERS,
    ],
)
def test_invalid_or_foreign_draft_is_dropped(page, letter, change):
    url = f"/messages/detail/{letter.pk}/"
    page.goto(url)
    reply_field(page).fill("Half a")
    page.evaluate(f"{STORED.replace('() =>', 'const keys =')}; const [key] = keys; {change}")
    page.goto(url)
    expect(page.locator("[data-pm-offered]")).to_be_attached()
    expect(reply_field(page)).to_have_value("")
    expect(page.get_by_text("Your unsent message was restored.")).to_be_hidden()
    assert page.evaluate(STORED) == []


@pytest.mark.parametrize("fault", [DENIED, FULL])
def test_reply_can_be_sent_without_local_storage(page, letter, fault):
    page.add_init_script(fault)
    page.goto(f"/messages/detail/{letter.pk}/")
    reply_field(page).fill("I can.")
    page.get_by_role("button", name="Send").click()
    expect(posts(page).last).to_have_text("I can.")


@with_htmx
def test_reply_is_sent_after_log_in_in_another_tab(page, letter, mode, console_errors):
    """The token of the page has changed in the meantime."""
    page.goto(f"/messages/detail/{letter.pk}/")
    reply_field(page).fill("I can.")
    other_tab = page.context.new_page()
    page.context.clear_cookies()
    other_tab.goto(f"/log-in/?next=/messages/detail/{letter.pk}/")
    log_in(other_tab)
    page.get_by_role("button", name="Send").click()
    expect(posts(page).last).to_have_text("I can.")
    console_errors.lines[:] = [line for line in console_errors.lines if "403" not in line]
