"""An open conversation: where it starts, sending replies, and receiving them."""

import pytest
from playwright.sync_api import expect

from persistent_messages import send_letter
from persistent_messages.models import Message

from .actions import in_all_modes, posts, reply, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)
PHONE = {"viewport": {"width": 360, "height": 640}}


@pytest.fixture
def letter(user, other):
    """Return the latest of twelve letters from Harry in Sally's inbox, all of them read."""
    own = send_letter(other, user, "Rota", "Number 1")
    for number in range(2, 13):
        send_letter(other, None, "", f"Number {number}. " + "Much to read. " * 20, own)
    rows = Message.objects.owned_by(user)
    rows.update(read_at=own.created)
    return rows.latest("pk")


def reply_as(other, text):
    return send_letter(other, None, "", text, Message.objects.filter(user=other).latest("pk"))


def address(letter):
    return f"/messages/detail/{letter.pk}/"


@in_all_modes
def test_conversation_opens_at_first_unread_letter_or_at_end(open_page, user, other, letter, mode):
    page = open_page(user, **PHONE)
    page.goto(address(letter))
    expect(posts(page).last).to_be_in_viewport()
    expect(page.get_by_label("Your reply")).to_be_in_viewport(ratio=0.5)

    for number in range(6):
        reply_as(other, f"New {number}. " + "Much to read. " * 20)
    page.goto("/messages/")  # to the same address it would be a reload, which keeps its place
    page.goto(address(letter))
    expect(page.get_by_text("New 0.")).to_be_in_viewport()
    expect(page.get_by_text("New 5.")).not_to_be_in_viewport()


@with_htmx
def test_sent_reply_is_in_view_and_field_keeps_focus(open_page, user, letter, mode):
    page = open_page(user, **PHONE)
    page.goto(address(letter))
    for text in ("One", "Two", "Three"):
        reply(page, text)
        expect(posts(page).last).to_have_text(text)
        expect(posts(page).last).to_be_in_viewport()
        expect(page.get_by_label("Your reply")).to_be_focused()
        expect(page.get_by_label("Your reply")).to_be_in_viewport()
        expect(page.get_by_label("Your reply")).to_have_value("")


@with_htmx
def test_incoming_reply_appears_without_reload(open_page, user, other, letter, mode):
    page = open_page(user, **PHONE)
    page.clock.install()
    page.goto(address(letter))
    page.get_by_label("Your reply").fill("Half")
    reply_as(other, "At once")
    page.clock.run_for(11_000)
    expect(posts(page).last).to_have_text("At once")
    expect(posts(page).last).to_be_in_viewport()
    expect(page.get_by_label("Your reply")).to_be_focused()
    expect(page.get_by_label("Your reply")).to_have_value("Half")
    expect(page.get_by_text("1 new reply")).to_have_count(0)
    assert not Message.objects.owned_by(user).unread().exists()

    # A user who reads further up gets a notification, and is not scrolled.
    posts(page).first.scroll_into_view_if_needed()
    reply_as(other, "Later")
    page.clock.run_for(11_000)
    news = page.get_by_role("status").get_by_role("link", name="1 new reply")
    expect(news).to_be_in_viewport()
    expect(posts(page).first).to_be_in_viewport()
    assert Message.objects.owned_by(user).unread().count() == 1
    news.click()
    expect(posts(page).last).to_have_text("Later")
    expect(posts(page).last).to_be_in_viewport()
    expect(posts(page)).to_have_count(14)
    expect(news).to_have_count(0)


@in_all_modes
def test_quote_is_inserted_below_typed_text(page, letter, mode):
    page.goto(address(letter))
    page.get_by_label("Your reply").fill("I can.")
    page.get_by_role("button", name="Quote").click()
    field = page.get_by_label("Your reply")
    expect(field).to_have_value("I can.\n\n> Number 12. " + ("Much to read. " * 20).rstrip() + "\n")
    expect(field).to_be_focused()
    if mode != "without":
        page.keyboard.type("Below")
        assert field.input_value().endswith("\nBelow")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Sent to harry.")).to_be_attached()
    expect(posts(page)).to_have_count(13)


def test_text_is_beside_its_author_in_right_to_left_layout(open_page, user, letter):
    page = open_page(user, locale="ar")
    page.goto(address(letter))
    assert page.locator("html").get_attribute("dir") == "rtl"
    first = posts(page).first
    gap = first.evaluate("""text => {
      const range = document.createRange();
      // Of the text itself: a paragraph is as wide as its column.
      range.selectNodeContents(document.createTreeWalker(text, NodeFilter.SHOW_TEXT).nextNode());
      return text.getBoundingClientRect().right - range.getBoundingClientRect().right;
    }""")
    assert gap < 2
