"""Several tabs of a browser stay up to date, and one of them polls for all."""

import re

import pytest
from playwright.sync_api import expect

from .actions import expect_unread, log_in, log_out, notice, press, row, with_htmx

pytestmark = pytest.mark.django_db(transaction=True)

NEWS = re.compile("/messages/news/")
MINUTE = 60_000


@pytest.fixture
def tab(page, console_errors):
    """Open another tab of the same browser."""

    def tab(path):
        other = page.context.new_page()
        console_errors.watch(other)
        other.goto(path)
        return other

    return tab


def record_polls(page):
    """Collect the polling requests of a page."""
    requests = []
    page.on("request", lambda it: requests.append(it) if NEWS.search(it.url) else None)
    return requests


@with_htmx
def test_action_in_one_tab_updates_other_tabs(page, send, tab):
    for subject in ("Export failed", "Backup complete", "Invoice paid"):
        send("Look here.", subject=subject)
    page.goto("/messages/")
    home, inbox = tab("/"), tab("/messages/")
    expect(page).to_have_title("(3) Inbox · Northbank")

    press(page, "Export failed", "^Delete")
    for other in (home, inbox):
        expect_unread(other, 2)
    expect(notice(home, "Export failed")).to_have_count(0)
    expect(notice(home, "Backup complete")).to_have_count(1)
    expect(row(inbox, "Export failed")).to_have_count(0)
    expect(inbox).to_have_title("(2) Inbox · Northbank")

    press(page, "Backup complete", "as read$")
    expect_unread(home, 1)
    expect(row(inbox, "Backup complete").get_by_text("Unread:")).to_have_count(0)

    page.get_by_role("button", name="Undo").last.click()
    expect_unread(home, 2)
    expect(notice(home, "Backup complete")).to_have_count(1)
    expect(row(inbox, "Backup complete").get_by_text("Unread:")).to_have_count(1)


@with_htmx
def test_one_tab_polls_for_all_tabs_every_30_seconds(page, send, tab):
    send("Look here.", subject="First")
    page.context.clock.install()  # of all tabs
    page.goto("/messages/")
    home = tab("/")
    of_inbox, of_home = record_polls(page), record_polls(home)

    for _ in range(3):
        with page.expect_response(NEWS) as told:
            page.clock.run_for(31_000)
        assert told.value.status == 204
    assert len(of_inbox) == 3
    assert of_home == []

    send("Look here.", subject="Late")
    with page.expect_response(NEWS):
        page.clock.run_for(31_000)
    for other in (page, home):
        expect_unread(other, 2)
    expect(notice(home, "Late")).to_have_count(1)
    expect(page.get_by_role("link", name="1 new message")).to_be_visible()
    expect(page).to_have_title("(2) Inbox · Northbank")

    # Another one takes over.
    page.close()
    with home.expect_response(NEWS):
        home.clock.run_for(31_000)


HIDE = """is => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => is});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
BACK = "dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))"


def test_hidden_tab_does_not_poll_and_refreshes_when_shown(page, send):
    page.clock.install()
    page.goto("/")
    requests = record_polls(page)
    page.evaluate(HIDE, True)
    send("Look here.", subject="Late")
    page.clock.run_for(5 * MINUTE)
    assert requests == []
    page.evaluate(HIDE, False)
    expect_unread(page, 1)

    send("Look here.", subject="Later")
    page.clock.run_for(2_000)
    page.evaluate(BACK)
    expect_unread(page, 2)


def test_polling_backs_off_after_failures(page, send, console_errors):
    page.clock.install()
    page.add_init_script("Math.random = () => .5")  # else each tab waits a little more or less
    page.goto("/")
    requests = record_polls(page)
    page.route(NEWS, lambda route: route.fulfill(status=503))
    for number, seconds in enumerate((30, 60, 120, 240)):
        page.clock.run_for((seconds - 15) * 1000)
        assert len(requests) == number
        with page.expect_event("requestfinished"):
            page.clock.run_for(16_000)
    page.unroute(NEWS)
    send("Look here.", subject="Late")
    with page.expect_response(NEWS):
        page.clock.run_for(8 * MINUTE)
    expect_unread(page, 1)
    assert all("503" in line for line in console_errors.lines)
    console_errors.lines.clear()
    expect(page.locator(".pm-toasts .pm-error")).to_have_count(0)


def test_polling_stops_after_log_out_without_redirect(page, send, tab):
    send("Look here.", subject="Backup complete")
    page.context.clock.install()
    page.goto("/")
    other = tab("/")
    log_out(other)
    requests = record_polls(page)
    with page.expect_response(NEWS) as told:
        page.clock.run_for(31_000)
    assert told.value.status == 286
    page.clock.run_for(10 * MINUTE)
    assert len(requests) == 1
    expect(page).to_have_url(re.compile("/$"))
    expect(notice(page, "Backup complete")).to_be_visible()


def test_other_users_tab_receives_no_broadcast(page, other, send, tab, live_server):
    send("Look here.", subject="Very secret")
    page.goto("/")
    requests = record_polls(page)
    # Harry logs in where Sally was.
    his = tab("/messages/")
    his.goto("/messages/")
    log_out(his)
    his.goto("/messages/")
    log_in(his, "harry")
    send("Look here.", subject="For Harry", to=other)
    his.reload()
    press(his, "For Harry", "^Delete")
    expect_unread(his, 0)
    assert requests == []
    with page.expect_response(NEWS) as told:
        page.evaluate(BACK)
    assert told.value.status == 286
    expect_unread(page, 1)


HOSTILE = """async name => {
    const channel = new BroadcastChannel(name);
    const hostile = [null, undefined, 7e99, {unread: 9}, ["<b>"], "<img src=x>", "9x", new Map()];
    for (const said of hostile)
        channel.postMessage(said);
    channel.postMessage("99");
}"""


def test_hostile_broadcast_messages_are_ignored(page, send, tab):
    send("Look here.", subject="Backup complete")
    page.goto("/")
    name = page.evaluate("'pm-' + document.querySelector('[data-pm-user]').dataset.pmUser")
    hostile = tab("/")
    with page.expect_response(NEWS) as told:
        hostile.evaluate(HOSTILE, name)
    assert told.value.status == 204
    expect_unread(page, 1)


FORBIDDEN = """
    const forbid = () => { throw new DOMException("", "SecurityError"); };
    for (const name of ["localStorage", "sessionStorage"])
        Object.defineProperty(window, name, {get: forbid});
    const locks = {request: async () => forbid()};
    Object.defineProperty(Navigator.prototype, "locks", {get: () => locks});
    window.BroadcastChannel = class { constructor() { forbid(); } };
"""
WITHOUT = {
    "locks": "delete Navigator.prototype.locks",
    "channel": "delete window.BroadcastChannel",
    "storage": FORBIDDEN,
}


@pytest.mark.parametrize("missing", WITHOUT)
def test_each_tab_polls_where_browser_lacks_feature(page, send, tab, missing):
    page.context.add_init_script(WITHOUT[missing])
    page.context.clock.install()
    page.goto("/")
    send("Look here.", subject="Late")
    with page.expect_response(NEWS):
        page.clock.run_for(31_000)
    expect_unread(page, 1)
    other = tab("/")
    send("Look here.", subject="Later")
    if missing != "channel":
        with other.expect_response(NEWS):
            other.clock.run_for(31_000)
    else:
        other.evaluate(BACK)
    expect_unread(other, 2)


def test_new_notice_waits_while_pointer_moves(page, user, send):
    """A new notice waits until the pointer stops."""
    page.clock.install(time=0)
    page.goto("/")
    page.clock.pause_at(20)
    requests = record_polls(page)
    send("Look here.", subject="Late")
    for step in range(20):
        page.mouse.move(200, 300 + step)
        page.clock.run_for(1_000)
    assert requests == []
    with page.expect_response(NEWS):
        page.clock.run_for(5_000)
    expect(notice(page, "Late")).to_have_count(1)


@with_htmx
def test_refreshed_row_keeps_selection(page, send, tab):
    for subject in ("First", "Second"):
        send("Look here.", subject=subject)
    page.goto("/messages/")
    other = tab("/messages/")
    row(page, "First").get_by_role("checkbox").check()
    press(other, "First", "as read$")
    expect(row(page, "First").get_by_text("Unread:")).to_have_count(0)
    expect(row(page, "First").get_by_role("checkbox")).to_be_checked()


@with_htmx
def test_empty_state_is_replaced_by_new_message(page, send, tab):
    send("Look here.", subject="Only")
    page.goto("/messages/?box=unread")
    send("Look here.", subject="Late")
    tab("/messages/").get_by_role("button", name="Delete “Only”").click()
    expect(row(page, "Late")).to_be_visible()
    expect(page.get_by_text("All read")).to_be_hidden()


@with_htmx
def test_title_follows_folder_and_unread_count(page, send):
    send("Look here.", subject="Only")
    page.goto("/messages/")
    page.get_by_role("link", name="Archive", exact=True).click()
    expect(page).to_have_title("(1) Archive · Northbank")
    page.get_by_role("link", name="Inbox", exact=True).last.click()
    expect(page).to_have_title("(1) Inbox · Northbank")
    press(page, "Only", "as read$")
    expect(page).to_have_title("Inbox · Northbank")


@with_htmx
def test_stale_row_offers_to_restore_message(page, send, tab):
    page.context.add_init_script(WITHOUT["channel"])
    send("Look here.", subject="Backup complete")
    send("Look here.", subject="Export failed")
    page.goto("/messages/")
    other = tab("/messages/")
    press(other, "Backup complete", "^Delete")
    expect(row(other, "Backup complete")).to_have_count(0)
    press(page, "Backup complete", "^Archive")
    said = page.locator(".pm-toasts .pm-notice", has_text="“Backup complete” is in the trash.")
    expect(said).to_be_visible()
    expect(row(page, "Backup complete")).to_have_count(0)
    said.get_by_role("button", name="Move to inbox").click()
    expect(row(page, "Backup complete")).to_be_visible()
    expect(page.get_by_text("“Backup complete” restored.")).to_be_visible()
