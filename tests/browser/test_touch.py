"""Touch screens: rows stay low, overflow is visible, and messages are in view."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from persistent_messages import Folder, send_letter
from persistent_messages.models import Message

from .accessibility import examine
from .actions import in_all_modes, row

pytestmark = pytest.mark.django_db(transaction=True)

PHONE = {"is_mobile": True, "has_touch": True, "viewport": {"width": 360, "height": 640}}


@pytest.fixture
def phone(open_page, user, other, send):
    """Open a mailbox with very long rows on a phone."""
    words = "Something that needs many words to be told in a subject, and some more"
    send("Look here. " * 20, subject=words)
    send("Look here. " * 20, 140, subject=words, expires=timezone.now() + timedelta(days=3))
    send("Only a text. " * 20, url="/project/")
    letter = send_letter(other, user, words, "Can you take Thursday? " * 9)
    here = Message.objects.get(user=user, letter=letter.letter)
    send_letter(other, user, "", "Or Friday?", Message.objects.get(pk=letter.pk))
    send_letter(user, None, "", "Yes.", here)
    Message.objects.create(
        user=user,
        folder=Folder.SENT,
        level=120,
        subject=words,
        message="It took three hours. " * 9,
        to_name="\n".join(f"Recipient {number}" for number in range(20)),
    )
    return open_page(user, **PHONE)


def test_row_with_every_part_is_at_most_72_pixels_high(open_page, user, send):
    """A notice that was repeated, leads somewhere, has a topic and expires, in long languages."""
    until = timezone.now() + timedelta(days=400)
    for _ in range(12):
        send("It is full.", subject="Storage", key="storage", url="/project/", expires=until)
    for language in ("en", "fr", "es", "pt-br"):
        for width in (320, 360):
            phone = {**PHONE, "viewport": {"width": width, "height": 640}, "locale": language}
            page = open_page(user, **phone)
            page.goto("/messages/")
            assert page.locator(".pm-row").bounding_box()["height"] <= 72
            page.context.close()


@in_all_modes
@pytest.mark.parametrize("box", ["inbox", "sent"])
def test_rows_are_at_most_72_pixels_high(phone, box, mode):
    # The time of day with the widest text.
    Message.objects.update(created=timezone.now().replace(hour=22, minute=48) - timedelta(days=1))
    phone.goto(f"/messages/?box={box}")
    heights = [item.bounding_box()["height"] for item in phone.locator(".pm-row").all()]
    assert heights
    assert max(heights) <= 72


@in_all_modes
def test_first_message_is_in_view_without_scrolling(phone, mode):
    phone.goto("/messages/")
    box = phone.locator(".pm-row").first.bounding_box()
    assert box["y"] + box["height"] <= 640


@in_all_modes
def test_row_actions_are_in_menu(phone, send, mode):
    send("All went well.", subject="Backup complete")
    phone.goto("/messages/")
    archive = phone.get_by_role("button", name="Archive “Backup complete”")
    expect(archive).to_be_hidden()
    row(phone, "Backup complete").locator("summary").tap()
    expect(archive).to_be_visible()
    box = archive.bounding_box()
    assert min(box["width"], box["height"]) >= 44
    # One at a time.
    phone.locator(".pm-menu summary").nth(2).tap()
    expect(archive).to_be_hidden()
    row(phone, "Backup complete").locator("summary").tap()
    archive.tap()
    expect(row(phone, "Backup complete")).to_have_count(0)


@in_all_modes
def test_overflowing_filters_have_shadow(phone, mode):
    phone.goto("/messages/")
    nav = phone.locator(".pm-filters")
    assert nav.evaluate("e => e.scrollWidth > e.clientWidth")
    style = "getComputedStyle(e)"
    look = nav.evaluate(f"e => [{style}.backgroundImage, {style}.backgroundAttachment]")
    assert look[0].count("gradient") == 4
    assert look[1] == "local, local, scroll, scroll"


def test_open_row_menu_is_accessible(phone):
    phone.goto("/messages/")
    phone.locator(".pm-menu summary").first.tap()
    expect(phone.locator(".pm-row-actions").first).to_be_visible()
    assert examine(phone, "menu") == []
