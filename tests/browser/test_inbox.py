"""The inbox: folders, search, undo, selection, shortcuts, the bell and new messages."""

import re

import pytest
from django.contrib import messages as contrib_messages
from playwright.sync_api import expect

import persistent_messages
from persistent_messages.models import Message
from tests.databases import unreachable_database

from .actions import button, expect_subjects, in_all_modes, open_menu, with_and_without, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)

Folder = persistent_messages.Folder


def row(page, subject):
    return page.locator(".pm-inbox").get_by_role("article", name=subject, exact=True)


def folder_of(subject):
    return Folder(Message.objects.get(subject=subject).folder)


@in_all_modes
def test_folder_has_own_url_and_back_button_returns(page, three_messages, mode):
    page.goto("/messages/")
    button(page, "Archive “Second”").click()
    expect(row(page, "Second")).to_have_count(0)
    page.get_by_role("link", name="Archive", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Archive")
    expect(page).to_have_url(re.compile(r"\?box=archive$"))
    expect(row(page, "Second")).to_have_count(1)
    if mode != "without":
        expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.reload()
    expect(row(page, "Second")).to_have_count(1)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Inbox")
    expect_subjects(page, ["Third", "First"])


@with_and_without
def test_level_filter_narrows_folder_and_can_be_cleared(page, three_messages, send, mode):
    send("Look here.", subject="Broken", level=persistent_messages.ERROR)
    page.goto("/messages/")
    open_menu(page, "Filter")
    expect(page.get_by_role("link", name="Warnings")).to_have_count(0)
    page.get_by_role("link", name="Problems").click()
    expect(row(page, "First")).to_have_count(0)
    expect_subjects(page, ["Broken"])
    open_menu(page, "Problems")
    page.get_by_role("link", name="All messages").click()
    expect(row(page, "First")).to_have_count(1)


def test_menu_opens_above_list_and_closes(page, three_messages, send):
    send("Look here.", subject="Broken", level=persistent_messages.ERROR)
    page.goto("/messages/")
    for leave in (
        lambda: page.keyboard.press("Escape"),
        lambda: page.get_by_role("heading", level=1).click(),
    ):
        before = row(page, "First").bounding_box()
        open_menu(page, "Filter")
        link = page.get_by_role("link", name="Information")
        link.click(trial=True)  # nothing lies over it
        assert row(page, "First").bounding_box() == before
        leave()
        expect(link).to_be_hidden()


def test_printed_list_has_no_controls(page, three_messages):
    page.goto("/messages/")
    page.emulate_media(media="print")
    expect(row(page, "First")).to_be_visible()
    for css in (".pm-tools", ".pm-bar", ".pm-search", ".pm-row-actions", ".pm-btn"):
        for part in page.locator(f".pm-inbox {css}").all():
            expect(part).to_be_hidden()


@with_and_without
def test_missing_message_shows_error_page_with_link_to_inbox(
    page, three_messages, mode, console_errors
):
    page.goto("/messages/detail/4711/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Page not found")
    page.locator(".pm-frame").get_by_role("link", name="Inbox").click()
    expect(row(page, "First")).to_be_visible()
    assert all("404" in line for line in console_errors.lines)
    console_errors.lines.clear()


@with_htmx
def test_search_while_typing_keeps_focus_and_highlights_matches(page, three_messages):
    page.goto("/messages/")
    field = page.get_by_role("searchbox")
    field.press_sequentially("secon")
    expect(row(page, "First")).to_have_count(0)
    expect(row(page, "Second").locator("mark").first).to_have_text("Secon")
    expect(field).to_be_focused()
    expect(field).to_have_value("secon")
    expect(page).to_have_url(re.compile(r"\?q=secon$"))
    field.press_sequentially("xyz")
    expect(page.locator(".pm-empty").get_by_text("No match for “seconxyz”")).to_be_visible()


@with_htmx
def test_search_while_typing_announces_match_count(page, three_messages, settings, mode):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    page.goto("/messages/")
    field, said = page.get_by_role("searchbox"), page.locator(".pm-status")
    for typed, words in (
        ("text", "2+ matches"),
        ("secon", "1 match"),
        ("nothing", "No match for “nothing”"),
        ("", ""),
    ):
        field.fill(typed)
        expect(said).to_have_text(words)
    expect(field).to_be_focused()


@with_htmx
def test_search_while_typing_shows_waiting_one_shot_message(page, three_messages, send, mode):
    page.goto("/messages/")
    send("Settings were saved.", contrib_messages.SUCCESS)
    page.get_by_role("searchbox").press_sequentially("first")
    expect(row(page, "Second")).to_have_count(0)
    expect(page.locator(".pm-passing")).to_contain_text("Settings were saved.")


@pytest.mark.parametrize("mode", ["without"])
def test_search_works_without_javascript(page, three_messages):
    page.goto("/messages/")
    page.get_by_role("searchbox").fill("second")
    page.get_by_role("searchbox").press("Enter")
    expect_subjects(page, ["Second"])
    page.get_by_role("searchbox").fill("nothing")
    button(page, "Search").click()
    page.get_by_role("link", name="Clear search").click()
    expect_subjects(page, ["Third", "Second", "First"])


@in_all_modes
def test_undo_restores_only_its_own_deletion(page, three_messages, mode):
    page.goto("/messages/")
    button(page, "Delete “First”").click()
    expect(row(page, "First")).to_have_count(0)
    button(page, "Delete “Third”").click()
    expect(row(page, "Third")).to_have_count(0)
    button(page, "Undo").click()
    expect(row(page, "Third")).to_have_count(1)
    expect_subjects(page, ["Third", "Second"])
    assert folder_of("First") == Folder.TRASH


@in_all_modes
def test_undo_from_page_load_disappears_after_use(page, three_messages, mode):
    page.goto("/messages/")
    row(page, "Second").get_by_role("link", name="Second").click()
    button(page, "Archive").click()
    button(page, "Undo").click()
    expect(row(page, "Second")).to_have_count(1)
    expect(page.get_by_text("Undone.")).to_be_visible()
    expect(button(page, "Undo")).to_have_count(0)


@in_all_modes
def test_undo_of_mark_all_leaves_previously_read_messages_read(page, three_messages, mode):
    page.goto("/messages/")
    button(page, "Mark “First” as read").click()
    expect(button(page, "Mark “First” as unread")).to_have_count(1)
    button(page, "Mark all 2 as read").click()
    expect(button(page, "Mark “Third” as unread")).to_have_count(1)
    button(page, "Undo").click()
    expect(button(page, "Mark “Third” as read")).to_have_count(1)
    expect(button(page, "Mark “First” as unread")).to_have_count(1)


def test_mark_all_leaves_message_that_arrived_later_unread(page, three_messages, send):
    page.goto("/messages/")
    send("Look here.", subject="Late")
    button(page, "Mark all 3 as read").click()
    expect(row(page, "Late").get_by_text("Unread:")).to_have_count(1)
    expect(row(page, "Third").get_by_text("Unread:")).to_have_count(0)


@with_and_without
def test_deleting_from_trash_asks_for_confirmation_and_is_permanent(page, three_messages, mode):
    page.goto("/messages/")
    button(page, "Delete “Second”").click()
    expect(row(page, "Second")).to_have_count(0)
    page.get_by_role("link", name="Trash", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Trash")
    row(page, "Second").hover()
    page.get_by_role("link", name="Permanently delete “Second”").click()
    expect(page.get_by_role("heading", name="Permanently delete “Second”?")).to_be_visible()
    assert folder_of("Second") == Folder.TRASH
    button(page, "Delete permanently").click()
    expect(page.get_by_text("“Second” permanently deleted.")).to_be_visible()
    assert not Message.objects.filter(subject="Second").exists()


def test_double_click_on_delete_only_moves_to_trash(page, three_messages):
    page.goto("/messages/")
    button(page, "Delete “Second”").dblclick()
    expect(row(page, "Second")).to_have_count(0)
    expect(page.locator(".pm-said")).to_contain_text("“Second”")
    assert folder_of("Second") == Folder.TRASH


@in_all_modes
def test_selected_messages_are_archived_together(page, three_messages, mode):
    page.goto("/messages/")
    bar = page.get_by_role("group", name="Selected messages")
    expect(bar).to_be_hidden()
    page.get_by_label("Select “First”").check()
    page.get_by_label("Select “Third”").check()
    button(page, "Archive selected").click()
    expect(row(page, "Third")).to_have_count(0)
    expect_subjects(page, ["Second"])
    assert folder_of("First") == folder_of("Third") == Folder.ARCHIVE
    button(page, "Undo").click()
    expect(row(page, "Third")).to_have_count(1)
    expect_subjects(page, ["Third", "Second", "First"])


def test_shift_click_selects_range_and_select_all_selects_page(page, three_messages):
    page.goto("/messages/")
    page.get_by_label("Select “Third”").check()
    page.get_by_label("Select “First”").click(modifiers=["Shift"])
    expect(page.get_by_label("Select “Second”")).to_be_checked()
    button(page, "Clear selection").click()
    expect(page.get_by_label("Select “Second”")).not_to_be_checked()
    page.get_by_label("Select all").check()
    expect(page.locator(".pm-check:checked")).to_have_count(3)


@with_htmx
def test_next_page_loads_after_last_row_is_deleted(page, send, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 1}
    send("Older.", subject="Older")
    send("Newer.", subject="Newer")
    page.goto("/messages/")
    expect_subjects(page, ["Newer"])
    button(page, "Delete “Newer”").click()
    expect(row(page, "Older")).to_have_count(1)


@with_htmx
def test_new_message_is_announced_but_not_inserted(page, three_messages, send):
    page.goto("/messages/")
    send("Look here.", subject="Late")
    page.evaluate("document.body.dispatchEvent(new CustomEvent('pm:refresh', {bubbles: true}))")
    news = page.get_by_role("link", name="1 new message")
    expect(news).to_be_visible()
    expect_subjects(page, ["Third", "Second", "First"])
    news.click()
    expect(row(page, "Late")).to_have_count(1)


@with_htmx
def test_bell_shows_newest_messages_and_their_actions(page, send):
    for number in range(7):
        send("Look here.", subject=f"Number {number}")
    page.goto("/")
    bell = page.locator(".pm-bell")
    bell.click()
    pop = page.get_by_role("dialog", name="Messages")
    expect(pop.get_by_role("article")).to_have_count(5)
    pop.get_by_role("button", name="Mark “Number 6” as read", exact=True).click()
    expect(page.locator(".pm-badge")).to_have_text("6")
    pop.get_by_role("button", name="Mark all 6 as read").click()
    expect(page.locator(".pm-badge")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(pop).to_be_hidden()


@with_htmx
def test_bell_loads_next_messages_after_last_row_is_deleted(page, send, mode):
    for number in range(7):
        send("Look here.", subject=f"Number {number}")
    page.goto("/")
    page.locator(".pm-bell").click()
    pop = page.get_by_role("dialog", name="Messages")
    for number in range(6, 1, -1):
        pop.get_by_role("link", name=f"Number {number}").focus()
        page.keyboard.press("Delete")
        expect(pop.get_by_role("article", name=f"Number {number}")).to_have_count(0)
    expect(pop.get_by_role("article")).to_have_count(2)
    expect(pop).to_be_focused()
    for number in (1, 0):
        pop.get_by_role("link", name=f"Number {number}").focus()
        page.keyboard.press("e")
        expect(pop.get_by_role("article", name=f"Number {number}")).to_have_count(0)
    expect(pop.get_by_text("No messages")).to_be_visible()
    expect(pop).to_be_focused()


@with_htmx
def test_click_before_htmx_settles_stays_on_page(page, send, mode):
    """On a busy machine, swapped content is visible before htmx has processed it."""
    for number in range(3):
        send("Look here.", subject=f"Number {number}")
    page.goto("/")
    page.evaluate("htmx.config.defaultSettleDelay = 3000")
    page.locator(".pm-bell").click()
    pop = page.get_by_role("dialog", name="Messages")
    for number in (2, 1, 0):
        pop.get_by_role("link", name=f"Number {number}").focus()
        page.keyboard.press("e")
        expect(pop.get_by_role("article", name=f"Number {number}")).to_have_count(0)
        expect(pop).to_be_visible()
    expect(pop.get_by_text("No messages")).to_be_visible()


@with_htmx
def test_messages_cannot_be_selected_in_bell(page, three_messages, mode):
    page.goto("/")
    page.locator(".pm-bell").click()
    pop = page.get_by_role("dialog", name="Messages")
    pop.get_by_role("link", name="Third").focus()
    page.keyboard.press("x")
    assert pop.locator(":checked").count() == 0
    avatar = pop.locator(".pm-avatar").first.bounding_box()
    page.mouse.click(avatar["x"] + 8, avatar["y"] + 8)
    expect(page.get_by_role("heading", level=1)).to_have_text("Third")


@pytest.mark.parametrize("mode", ["without"])
def test_bell_is_link_without_javascript(page, three_messages):
    page.goto("/")
    page.locator(".pm-bell").click()
    expect(page).to_have_url(re.compile("/messages/$"))


@with_and_without
def test_opening_message_with_url_redirects_and_marks_as_read(page, user, mode):
    persistent_messages.send_message(user, 120, "See there.", subject="Report", url="/project/")
    page.goto("/messages/")
    button(page, "Open “Report”").click()
    expect(page.get_by_role("heading", name="Spring meetup")).to_be_visible()
    assert Message.objects.get().read


@with_htmx
def test_shortcut_keys_move_select_mark_archive_and_delete(page, three_messages):
    page.goto("/messages/")
    link = page.locator(".pm-row-link")
    link.nth(0).focus()
    page.keyboard.press("j")
    expect(link.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(link.nth(2)).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Home")
    expect(link.nth(0)).to_be_focused()
    page.keyboard.press("x")
    expect(page.get_by_label("Select “Third”")).to_be_checked()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Select “Third”")).not_to_be_checked()
    page.keyboard.press("u")
    expect(button(page, "Mark “Third” as unread")).to_have_count(1)
    expect(link.nth(0)).to_be_focused()
    page.keyboard.press("e")
    expect(row(page, "Third")).to_have_count(0)
    expect(link.nth(0)).to_be_focused()
    page.keyboard.press("Delete")
    expect(row(page, "Second")).to_have_count(0)
    expect(link.nth(0)).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    assert (folder_of("Third"), folder_of("Second")) == (Folder.ARCHIVE, Folder.TRASH)


@with_htmx
@pytest.mark.parametrize("query", ["?box=unread", "?level=info", "?box=unread&level=info&q=text"])
def test_slash_key_focuses_search_in_each_view(page, three_messages, mode, query):
    page.goto(f"/messages/{query}")
    page.locator(".pm-row-link").first.focus()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_shortcut_keys_are_plain_characters_in_search_field(page, three_messages):
    page.goto("/messages/")
    page.get_by_role("searchbox").press_sequentially("xue")
    expect(page.get_by_role("searchbox")).to_have_value("xue")
    assert set(Message.objects.values_list("folder", flat=True)) == {Folder.INBOX}


@pytest.mark.parametrize("what", ["server", "database"])
@with_htmx
def test_unreachable_server_or_database_shows_error(
    page, three_messages, console_errors, client, mode, what
):
    with unreachable_database():
        answer = client.post("/messages/archive/1/", headers={"HX-Request": "true"})
    page.goto("/messages/")
    page.route(
        "**/archive/**",
        lambda route: (
            route.abort()
            if what == "server"
            else route.fulfill(
                status=answer.status_code, headers=dict(answer.headers), body=answer.text
            )
        ),
    )
    button(page, "Archive “Second”").click()
    words = {"server": "Couldn’t reach the server.", "database": "The server reported an error."}
    expect(page.get_by_role("alert")).to_contain_text(f"Archive “Second”: {words[what]}")
    expect(row(page, "Second")).to_have_count(1)
    console_errors.lines.clear()  # the browser and htmx both log the failed request


def test_style_sheet_does_not_affect_site_elements(page, three_messages):
    page.goto("/bootstrap/")
    look = """() => ["h1", "p.card-text", "a.btn", ".card"].map(css => {
      const style = getComputedStyle(document.querySelector("main > .row " + css));
      return [style.font, style.color, style.margin, style.padding, style.backgroundColor].join();
    })"""
    with_ours = page.evaluate(look)
    page.evaluate(
        "document.querySelector('link[href*=\"persistent_messages.css\"]').disabled = true"
    )
    assert page.evaluate(look) == with_ours


@pytest.mark.parametrize("path", ["/messages/", "/messages/?box=trash", "/project/"])
def test_no_horizontal_scrolling_on_narrow_screen_or_with_large_text(page, three_messages, path):
    page.set_viewport_size({"width": 320, "height": 700})
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    page.goto(path)
    assert page.evaluate(overflow) <= 0
    # With the DOM, which the policy of the page allows.
    page.set_viewport_size({"width": 640, "height": 700})
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate(overflow) <= 0
