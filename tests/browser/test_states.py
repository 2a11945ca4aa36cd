"""Every folder and state is accessible on any screen, in any colors."""

import re
from datetime import timedelta

import pytest
from django.contrib import messages as contrib_messages
from django.contrib.auth import get_user_model
from django.utils import timezone
from playwright.sync_api import expect

from persistent_messages import DEBUG, INFO, Folder, send_letter, send_message
from persistent_messages.models import Message

from .accessibility import examine
from .actions import row

pytestmark = pytest.mark.django_db(transaction=True)

LEVELS = (110, 120, 125, 130, 140)
FOLDERS = {"archive": Folder.ARCHIVE, "sent": Folder.SENT, "trash": Folder.TRASH}
LIST = "/messages/"


@pytest.fixture
def filled_folders(user, other, send):
    """Create messages of each level in each folder; return the first letter of a conversation."""
    now = timezone.now()
    for folder in FOLDERS.values():
        for level in LEVELS[1:]:
            Message.objects.create(
                user=user,
                folder=folder,
                level=level,
                subject=f"Level {level}",
                message="It took three hours.",
                moved_at=now,
                trashed_at=now if folder == Folder.TRASH else None,
                to_name="Harry\nIda" if folder == Folder.SENT else "",
            )
    for level in LEVELS[1:]:
        send("It took three hours.", level, subject=f"Level {level}", url="/project/")
    send("Soon gone.", subject="Expires", expires=now + timedelta(days=3))
    own = send_letter(other, user, "Rota", "Can you take Thursday?")
    here = Message.objects.get(user=user, letter=own.letter)
    send_letter(user, None, "", "Yes.", here)
    return here


def mark_slow_except(cases, *quick):
    """Mark `cases` as slow, except for representative ones."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]


PAGES = {
    "home": "/",
    **{box: f"{LIST}?box={box}" for box in ("unread", "archive", "sent", "trash")},
    "a level": f"{LIST}?level=error",
    "a search": f"{LIST}?q=three",
    "Bootstrap": "/bootstrap/",
    "no error in the archive": f"{LIST}?box=archive&level=debug",
    "nothing in sent": f"{LIST}?box=sent&level=debug",
    "nothing in the trash": f"{LIST}?box=trash&level=debug",
    "nothing unread": f"{LIST}?box=unread&level=debug",
    "no hit": f"{LIST}?q=unheard-of",
    "delete all": f"{LIST}delete/all/?box=trash",
}


@pytest.mark.parametrize("name", mark_slow_except(PAGES, "sent", "a search", "no hit"))
def test_folder_page_is_accessible(page, filled_folders, name):
    page.goto(PAGES[name])
    assert examine(page, name) == []


def test_avatar_colors_have_contrast_in_other_site_style(page, send):
    people = get_user_model().objects
    for name in "ABCDEF":
        # With two initials, because axe ignores single letters.
        send("Hello", from_user=people.create(username=name, first_name="Ida", last_name=name))
    page.goto("/bootstrap/")
    colors = page.locator(".pm-inbox .pm-avatar").evaluate_all("all => all.map(e => e.className)")
    assert len(set(colors)) == 6
    assert examine(page, "people") == []


def open_bell(page):
    page.goto("/")
    page.locator("[data-pm-opens]").click()
    expect(page.get_by_role("dialog").get_by_role("link", name="Open the inbox")).to_be_visible()


def select_row(page):
    row(page, "Level 140").hover()
    row(page, "Level 140").get_by_role("checkbox").check()
    expect(page.get_by_role("group", name="Selected messages")).to_be_visible()


def delete_row(page):
    row(page, "Level 140").get_by_role("button", name=re.compile("^Delete")).click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()


def receive_new_message(page):
    send_message(get_user_model().objects.get(username="sally"), INFO, "News")
    with page.expect_response(re.compile("/news/")):
        page.evaluate("document.body.dispatchEvent(new Event('pm:refresh', {bubbles: true}))")
    expect(page.get_by_role("link", name="1 new message")).to_be_visible()


STATES = {
    "bell": open_bell,
    "selection": select_row,
    "undo": delete_row,
    "news": receive_new_message,
}


@pytest.mark.parametrize("name", mark_slow_except(STATES, "selection"))
def test_page_state_is_accessible(page, filled_folders, name):
    page.goto(LIST)
    STATES[name](page)
    assert examine(page, name) == []


def test_bell_keeps_style_in_site_navigation(page, filled_folders):
    open_bell(page)
    link = page.get_by_role("dialog").get_by_role("link", name="Open the inbox")
    expect(link).to_have_css("padding-top", link.evaluate("e => getComputedStyle(e).fontSize"))


@pytest.fixture
def arabic(page, live_server):
    page.context.add_cookies([{"name": "django_language", "value": "ar", "url": live_server.url}])


def test_right_to_left_page_is_accessible_and_mirrored(page, filled_folders, arabic):
    page.goto(LIST)
    assert page.locator("html").get_attribute("dir") == "rtl"
    assert examine(page, "Arabic") == []
    page.set_viewport_size({"width": 1280, "height": 900})
    item = page.locator(".pm-row").first
    avatar, time = (item.locator(css).bounding_box() for css in (".pm-avatar", "time"))
    assert avatar["x"] > time["x"]


# Reachable controls


TARGETS = """() => [...document.querySelectorAll(
  'main a, main button, main summary, main input:not([type=hidden]), main select, main textarea')]
  .filter((e) => e.checkVisibility({ opacityProperty: false }))
  .filter((e) => !e.closest('.pm-vh, p, .pm-check'))
  .map((e) => [e, (e.closest('label') ?? e.closest('.pm-row-link')?.closest('.pm-row') ?? e)])
  .map(([e, target]) => [e, target.getBoundingClientRect()])
  .filter(([e, box]) => box.width > 1 && (box.width < 24 || box.height < 24))
  .map(([e, box]) => `${e.outerHTML.slice(0, 120)} ${box.width} x ${box.height}`)"""


@pytest.mark.parametrize("width", [360, 1280])
def test_targets_are_at_least_24_pixels(page, filled_folders, width):
    """WCAG 2.2, 2.5.8: target size; links in a sentence excepted."""
    page.set_viewport_size({"width": width, "height": 900})
    for path in (LIST, f"{LIST}?box=sent", f"{LIST}?box=trash", f"{LIST}write/"):
        page.goto(path)
        assert page.evaluate(TARGETS) == [], path


@pytest.mark.parametrize("size", mark_slow_except(["100%", "200%"], "100%"))
def test_no_horizontal_scrolling_at_320_pixels_or_with_large_text(page, filled_folders, size):
    page.set_viewport_size({"width": 320 if size == "100%" else 640, "height": 800})
    paths = [*PAGES.values(), LIST, f"{LIST}write/", f"{LIST}detail/{filled_folders.pk}/"]
    for path in paths:
        if path == "/bootstrap/":
            continue  # its navigation is not ours
        page.goto(path)
        page.evaluate("size => (document.documentElement.style.fontSize = size)", size)
        room = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert room <= 0, path


def test_long_notice_is_clipped_and_one_shot_message_is_whole(page, send):
    page.set_viewport_size({"width": 360, "height": 740})
    send("It took three hours. " * 100, subject="Long")
    send("It took three hours. " * 100)
    send("It took three hours. " * 30, contrib_messages.INFO)
    page.goto("/")
    for notice in page.locator(".pm-notices .pm-notice").all():
        assert notice.bounding_box()["height"] < 100
    whole = page.locator(".pm-passing p")
    assert whole.evaluate("p => p.scrollHeight - p.clientHeight") <= 0


def test_row_actions_are_in_menu_on_touch_screen(open_page, user, filled_folders):
    page = open_page(user, is_mobile=True, has_touch=True, viewport={"width": 390, "height": 844})
    page.goto(LIST)
    actions = row(page, "Level 140").locator(".pm-row-actions")
    expect(actions).to_be_hidden()
    row(page, "Level 140").locator("summary").tap()
    assert actions.evaluate("element => getComputedStyle(element).opacity") == "1"
    button = actions.get_by_role("button", name=re.compile("^Delete"))
    box = button.bounding_box()
    assert min(box["width"], box["height"]) >= 44
    page.keyboard.press("Escape")
    expect(actions).to_be_hidden()
    # The avatar ticks the row.
    row(page, "Level 140").locator(".pm-pick").click()
    expect(row(page, "Level 140").get_by_role("checkbox")).to_be_checked()


# Not by color alone


def test_unread_row_is_labelled_and_bold(page, send):
    send("Read soon.", subject="Unread one")
    Message.objects.filter(pk=send("Old.", subject="Read one").pk).update(read_at=timezone.now())
    page.goto(LIST)
    weights = {}
    for subject in ("Unread one", "Read one"):
        link = row(page, subject).locator(".pm-subject")
        weights[subject] = int(link.evaluate("element => getComputedStyle(element).fontWeight"))
    assert weights["Unread one"] >= weights["Read one"] + 200
    expect(row(page, "Unread one").get_by_text("Unread:")).to_be_attached()
    expect(row(page, "Unread one").locator(".pm-dot")).to_be_visible()
    expect(row(page, "Read one").locator(".pm-dot")).to_have_count(0)


def test_forced_colors_keep_indicators_visible(page, filled_folders):
    page.emulate_media(forced_colors="active")
    page.goto(LIST)
    # The dot and the badge are drawn by borders, which keep a color of the system.
    for css in (".pm-dot", ".pm-badge", ".pm-input"):
        width = page.locator(css).first.evaluate("e => getComputedStyle(e).borderTopWidth")
        assert float(width.removesuffix("px")) >= 1, css
    link = row(page, "Level 140").locator(".pm-row-link")
    link.focus()
    page.keyboard.press("j")
    outline = page.evaluate("getComputedStyle(document.activeElement, '::after').outlineStyle")
    assert outline == "solid"
    current = page.locator(".pm-filters [aria-current]")
    assert current.evaluate("e => getComputedStyle(e).borderBlockEndWidth") == "2px"
    color = "all => all.map((e) => getComputedStyle(e).borderBlockEndColor)"
    [line] = current.evaluate_all(color)
    assert line not in page.locator(".pm-filters a:not([aria-current])").evaluate_all(color)
    select_row(page)
    check = row(page, "Level 140").get_by_role("checkbox")
    assert check.evaluate("e => getComputedStyle(e).opacity") == "1"


def test_reduced_motion_disables_animations(page, filled_folders):
    page.emulate_media(reduced_motion="reduce")
    page.goto(LIST)
    moving = page.evaluate(
        """() => [...document.querySelectorAll(".pm, .pm *")].filter((e) => {
          const style = getComputedStyle(e);
          return style.animationName !== "none" || /[1-9]/.test(style.transitionDuration);
        }).map((e) => e.className)"""
    )
    assert moving == []


def test_row_buttons_name_their_message(page, filled_folders):
    page.goto(LIST)
    for item in page.locator(".pm-item").all():
        subject = item.get_by_role("article").get_attribute("aria-label")
        for button in item.get_by_role("button").all():
            assert subject in button.get_attribute("aria-label")


# Loading indicators


def test_debug_message_shows_its_level(page, send):
    send("Rebuilt.", DEBUG, subject="Search index")
    page.goto(f"{LIST}?level=debug")
    expect(row(page, "Search index")).to_contain_text("Debug")
