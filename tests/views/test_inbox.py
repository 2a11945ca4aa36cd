"""The list of messages: pages, days and texts, which are escaped."""

from datetime import datetime, timedelta, timezone

import pytest
from bs4 import Tag
from django.contrib import messages as contrib_messages
from django.utils import timezone as django_timezone
from django.utils.safestring import mark_safe

from persistent_messages.models import Message
from tests.pages import (
    ABSURD,
    HTMX,
    ON_ALL,
    ON_ONE,
    TAKES,
    act,
    address,
    ask,
    fill,
    mailbox_rows,
    older_link,
    outermost,
    prepare,
    rows,
    soup,
    swaps,
    text_of,
    texts,
    values_of,
)

INBOX = "/messages/"


def headings(page):
    return texts(page, ".pm-day")


# Pages


def walk_pages(browser, headers=None):
    """Follow "Show older messages" to the end; yield the keys of each page."""
    url = INBOX
    while url:
        page = browser.get(url, headers=headers or {})
        yield rows(page)
        link = older_link(page)
        url = link["hx-get" if headers else "href"] if link else None


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_pages_have_no_gap_or_duplicate(client, user, settings, count, headers):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    keys = fill(user, count)

    pages = list(walk_pages(client, headers))

    assert [key for page in pages for key in page] == keys
    assert len(pages) == max(1, -(-count // 3))


def test_pages_stay_complete_when_messages_arrive_and_go(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    keys = fill(user, 9)
    seen = []

    for number, page in enumerate(walk_pages(client, HTMX)):
        seen += page
        fill(user, 2)
        if number == 0:
            # The row that the next page starts after has been deleted.
            for key in (page[-1], page[0]):
                act(client, "message_delete", Message.objects.get(pk=key))

    assert seen == keys


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_invalid_cursor_gives_first_page(client, user, headers):
    keys = fill(user, 3)

    for cursor in ABSURD:
        page = client.get(INBOX, {"before": cursor}, headers=headers)
        assert page.status_code == 200, cursor
        assert rows(page) == keys, cursor
        assert soup(page).select(".pm-pane"), cursor


@pytest.mark.parametrize("cursor", ["9" * 19, str(2**63 - 1), str(2**63)])
def test_cursor_beyond_64_bits_gives_first_page(client, user, cursor):
    keys = fill(user, 3)

    assert rows(client.get(INBOX, {"before": cursor})) == keys


@pytest.mark.parametrize("cursor", ["0", "1"])
def test_page_beyond_oldest_message_is_empty(client, user, cursor):
    fill(user, 3)
    Message.objects.filter(pk=1).delete()

    page = client.get(INBOX, {"before": cursor})

    assert page.status_code == 200
    assert rows(page) == []


def test_older_rows_fragment_has_only_rows(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    keys = fill(user, 9)

    fragment = client.get(INBOX, {"before": keys[2]}, headers=HTMX)

    assert rows(fragment) == keys[3:6]
    assert soup(fragment).select(".pm-pane") == []
    assert {element.name for element in outermost(fragment)} == {"li"}


def test_older_rows_fragment_focuses_first_row(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    keys = fill(user, 9)

    fragment = client.get(INBOX, {"before": keys[2]}, headers=HTMX)

    (focused,) = soup(fragment).select("[data-pm-focus]")
    assert focused["href"] == f"/messages/detail/{keys[3]}/"


def test_later_page_links_to_newest_messages(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    keys = fill(user, 9)

    page = client.get(INBOX, {"before": keys[2]})

    links = {text_of(e): e["href"] for e in soup(page).select(".pm-btn") if e.name == "a"}
    assert rows(client.get(INBOX + links["Newest messages"].removeprefix(INBOX))) == keys[:3]
    assert "Newest messages" not in client.get(INBOX).text


def test_forms_redirect_to_their_page(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    keys = fill(user, 6)
    url = f"{INBOX}?before={keys[1]}"

    page = client.get(url)

    assert set(values_of(page, "next")) == {url}


def test_forms_of_fragment_redirect_to_surrounding_page(client, send):
    # A new view of the inbox, in contrast, changes the address of the page: see test_folders.
    message = send("Hello")
    headers = {**HTMX, "HX-Current-URL": "http://testserver/project/?tab=2"}

    answer = client.post(address("message_mark_all_read"), {"pm-part": "list"}, headers=headers)
    latest = ask(client, "get", "message_latest", headers=headers)
    confirm = ask(client, "get", "message_delete", message, headers, next="/project/?tab=2")

    for page in (answer, latest, confirm):
        assert set(values_of(page, "next")) == {"/project/?tab=2"}


# Days


@pytest.fixture
def messages_over_three_days(user):
    """Create three messages on each of three days; return the keys, newest first."""
    keys = fill(user, 9)
    for number, key in enumerate(keys):
        created = datetime(2020, 5, 20 - number // 3, 12, 30 - number, tzinfo=timezone.utc)
        Message.objects.filter(pk=key).update(created=created)
    return keys


def test_each_day_has_single_heading(client, messages_over_three_days):
    assert headings(client.get(INBOX)) == ["May 20, 2020", "May 19, 2020", "May 18, 2020"]


def test_older_rows_fragment_does_not_repeat_day_heading(
    client, messages_over_three_days, settings
):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 4}
    found, url = [], INBOX
    while url:
        page = client.get(url, headers=HTMX)
        found.append(headings(page))
        link = older_link(page)
        url = link["hx-get"] if link else None

    assert found == [["May 20, 2020", "May 19, 2020"], ["May 18, 2020"], []]


def test_later_page_starts_with_day_heading(client, messages_over_three_days, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 4}

    page = client.get(INBOX, {"before": messages_over_three_days[3]})

    assert headings(page) == ["May 19, 2020", "May 18, 2020"]


def test_day_headings_use_current_time_zone(client, messages_over_three_days, settings):
    settings.TIME_ZONE = "Pacific/Kiritimati"  # 14 hours ahead: past noon it is tomorrow

    assert headings(client.get(INBOX)) == ["May 21, 2020", "May 20, 2020", "May 19, 2020"]


def test_today_and_yesterday_have_names(client, user):
    now = django_timezone.now()
    for number, key in enumerate(fill(user, 2)):
        Message.objects.filter(pk=key).update(created=now - timedelta(days=number))

    assert headings(client.get(INBOX)) == ["Today", "Yesterday"]


@pytest.mark.parametrize("day", ["<script>alert(1)</script>", "\x00", "2020-05-20" * 500])
def test_invalid_day_parameter_is_harmless(client, messages_over_three_days, day):
    query = {"before": messages_over_three_days[0], "day": day}

    page = client.get(INBOX, query, headers=HTMX)

    assert rows(page) == messages_over_three_days[1:]
    assert headings(page)[0] == "May 20, 2020"
    assert b"<script>" not in page.content


# Texts


NASTY = "<script>alert(1)</script>\"' onmouseover=alert(1) x='"


def is_harmless(response):
    found = soup(response).find_all(True)
    assert not [e for e in found if e.name == "script" and "src" not in e.attrs]
    for element in found:
        assert not [name for name in element.attrs if name.startswith("on")], element
    return True


def test_user_text_is_escaped_on_all_pages(client, other, send):
    other.first_name = NASTY[:150]
    other.save()
    message = send(NASTY, subject=NASTY, from_user=other, extra_tags=NASTY, url="/x?" + NASTY)
    bare = send(NASTY)
    sent = send(NASTY)
    Message.objects.filter(pk=sent.pk).update(to_name=NASTY)

    for target in (message, bare, sent):
        for headers in (HTMX, {}):
            for name in TAKES:
                assert is_harmless(ask(client, "get", name, target, headers)), name
        for name in ("message_mark_unread", "message_mark_read", "message_archive"):
            assert is_harmless(act(client, name, target))
            prepare("message_restore", target)
            assert is_harmless(act(client, name, target, "list", "strip", "counter", row=True))
    send(mark_safe("") + NASTY, contrib_messages.INFO)
    assert is_harmless(client.get("/"))
    for name in ("message_restore", "message_delete", "message_undo"):
        answer = act(client, name, message, "list", "strip", **{"pm-from": "row"})
        assert is_harmless(answer)
        assert soup(answer).select(".pm-notice")


def test_quotes_in_attributes_are_escaped(client, send):
    message = send("text", subject='" autofocus="" data-evil="1')

    page = client.get(INBOX)

    assert not soup(page).select("[data-evil]")
    (row,) = soup(page).select(".pm-row")
    assert row["aria-label"] == message.subject


def test_safe_markup_of_site_is_kept(client, send):
    message = send(mark_safe('Read <a href="/terms/">the terms</a> &amp; more'))

    for page in (client.get("/"), ask(client, "get", "message_detail", message)):
        assert "/terms/" in [e.get("href") for e in soup(page).find_all(True)]


def test_safe_markup_from_user_is_removed(client, other, send):
    message = send(mark_safe('<a href="/evil/">x</a>'), from_user=other)

    for page in (client.get("/"), ask(client, "get", "message_detail", message)):
        assert "/evil/" not in [e.get("href") for e in soup(page).find_all(True)]


def test_title_of_safe_markup_is_plain_text(client, send):
    send(mark_safe("<b>Tom &amp; Jerry</b> &lt;live&gt;"))

    (row,) = soup(client.get(INBOX)).select(".pm-row")

    assert row["aria-label"] in {
        "Tom & Jerry <live>",
        # django.test.html keeps references as they are
        "Tom &amp; Jerry &lt;live&gt;",
    }


def test_bidirectional_text_is_isolated(client, other, send):
    turned = "\u202eabc \u0645\u0648\u0639\u062f"
    other.first_name = turned
    other.save()
    message = send(turned, subject=turned, from_user=other)
    pages = [
        ask(client, "get", "message_delete", message),
        client.get(INBOX),
        ask(client, "get", "message_latest", headers=HTMX),
        ask(client, "get", "message_detail", message, {"Purpose": "prefetch"}),
        client.get("/"),
    ]

    def outside(element):
        # Text that is neither in `bdi` nor in an element with dir="auto". Text for screen readers
        # only is not part of a visible line.
        if element.name in {"bdi", "title", "svg"} or element.get("dir") == "auto":
            return []
        if "pm-vh" in element.get("class", "").split():
            return []
        found = [child for child in element.children if isinstance(child, str)]
        for child in element.children:
            if isinstance(child, Tag):
                found += outside(child)
        return found

    for page in pages:
        assert turned in page.text
        assert not [text for text in outside(soup(page)) if "\u202e" in text]


# Expired


def test_expired_message_is_in_no_list(client, send):
    past = django_timezone.now() - timedelta(seconds=1)
    message = send("Too late", expires=past)
    passing = send("Too late as well", contrib_messages.INFO, expires=past)

    page = client.get(INBOX)

    assert b"Too late" not in page.content
    assert soup(page).select(".pm-badge") == []
    assert ask(client, "get", "message_detail", message).status_code == 404
    assert Message.objects.filter(pk=passing.pk).exists()


def test_expiring_message_is_shown_with_days_left(client, send):
    message = send("In time", expires=django_timezone.now() + timedelta(days=2))

    page = client.get(INBOX)

    assert rows(page) == [message.pk]
    assert texts(page, ".pm-due") == ["2 days left"]
    assert ask(client, "get", "message_detail", message).status_code == 200


@pytest.mark.parametrize("name", ON_ONE)
@pytest.mark.parametrize("headers", [{}, HTMX])
def test_expired_message_in_open_tab_can_be_acted_on(client, send, name, headers):
    message = send("Was in time")
    prepare(name, message)
    Message.objects.filter(pk=message.pk).update(
        expires=django_timezone.now() - timedelta(seconds=1)
    )
    data = {"pm-part": ["list"], "pm-row": [message.pk]}

    response = ask(client, "post", name, message, headers, data)

    by_swap = headers and name != "message_open"
    assert response.status_code == (200 if by_swap else 302)
    if by_swap:
        assert f"delete:[data-pm-message='{message.pk}']" in swaps(response), "the row goes"
        assert rows(response) == []


@pytest.mark.parametrize("name", ON_ALL)
def test_action_on_all_ignores_expired_message(client, user, send, name):
    send("Too late", expires=django_timezone.now() - timedelta(seconds=1))
    before = mailbox_rows(user)

    ask(client, "post", name, headers=HTMX)

    assert mailbox_rows(user) == before


# Words


def test_empty_inbox_has_text(client):
    page = client.get(INBOX)

    assert rows(page) == []
    (empty,) = texts(page, ".pm-empty")
    assert empty.startswith("No messages")


def test_unread_row_has_text_label(client, send):
    read = send("Old")
    send("New")
    Message.objects.filter(pk=read.pk).update(read_at=django_timezone.now())

    page = client.get(INBOX)

    assert texts(page, ".pm-subject") == ["Unread: New", "Old"]


def test_row_controls_name_their_message(client, send):
    send("Lunch at noon", url="/project/")

    (row,) = soup(client.get(INBOX)).select(".pm-row")

    names = [button["aria-label"] for button in soup(row).select("button")]
    assert len(names) == len(set(names)) == 4
    assert all("“Lunch at noon”" in name for name in names)
    (label,) = soup(row).select("label")
    assert "“Lunch at noon”" in text_of(label)
