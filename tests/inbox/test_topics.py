"""Topics in the inbox: in the filter menu, in rows, and kept by actions on the list."""

import re
from html import unescape

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from persistent_messages import ERROR, INFO, WARNING, Folder, Topic, querysets, send_message, topics
from persistent_messages.inbox import bulk_actions
from persistent_messages.inbox.bulk_actions import BulkAction
from persistent_messages.inbox.filters import Filter
from persistent_messages.models import Message
from tests.pages import HTMX, rows

BILLING = "/messages/?topic=billing"


@pytest.fixture(autouse=True)
def _topics(monkeypatch):
    monkeypatch.setattr(topics, "topics", known := {})
    for module in ("inbox.filters", "inbox.counter", "inbox.page", "mailbox.validation"):
        monkeypatch.setattr(f"persistent_messages.{module}.topics", known)
    for name, label in {"billing": "Billing & plans", "storage": "Storage"}.items():
        Topic(name, label)


@pytest.fixture
def send_notice(user):
    def send_notice(topic="", text="Hello", level=INFO):
        send_message(user, level, text, topic=topic)
        return Message.objects.latest("pk").pk

    return send_notice


def offered_topics(page):
    """The topics of the filter menu: where each leads, and whether it is the one in force."""
    link = r'<a class="pm-option[^"]*" href="([^"]*)"( aria-current="true")?'
    found = [(unescape(href), current) for href, current in re.findall(link, page.text)]
    return {href: bool(now) for href, now in found if "topic=" in href and "newest" not in href}


def test_filter_menu_offers_topics_of_folder(client, send_notice):
    assert offered_topics(client.get("/messages/")) == {}

    send_notice("billing")
    page = client.get("/messages/")

    assert offered_topics(page) == {"/messages/?topic=billing": False}
    assert "Billing &amp; plans" in page.text
    assert offered_topics(client.get("/messages/?box=archive")) == {}
    unread = {"/messages/?box=unread&topic=billing": False}
    assert offered_topics(client.get("/messages/?box=unread")) == unread


def test_unregistered_topic_is_not_offered(client, user, send_notice):
    send_notice("billing")
    Message.objects.update(topic="gone")

    page = client.get("/messages/")

    assert offered_topics(page) == {}
    assert rows(client.get("/messages/?topic=gone")) == rows(page)


def test_topic_parameter_filters_list(client, send_notice):
    bills = [send_notice("billing") for _ in range(3)]
    send_notice("storage")
    send_notice()

    page = client.get(BILLING)

    assert rows(page) == bills[::-1]
    assert offered_topics(page) == {"/messages/?topic=storage": False}
    assert re.search(r"pm-filtered.*?Billing &amp; plans", page.text, re.DOTALL)
    assert 'name="topic" value="billing"' in page.text


def test_row_shows_topic_label(client, send_notice):
    send_notice("billing")
    assert "Billing &amp; plans" in client.get("/messages/").text


def test_current_topic_link_clears_filter(client, send_notice):
    send_notice("storage")

    page = client.get(BILLING)

    assert '<a class="pm-option" href="/messages/?" aria-current="true"' in page.text
    assert "No “Billing &amp; plans” messages" in page.text
    assert "Clear filter" in page.text


def test_choosing_level_replaces_topic(client, send_notice):
    send_notice("billing", level=ERROR)

    page = client.get("/messages/?topic=billing").text
    assert 'href="/messages/?level=error"' in page
    assert 'href="/messages/?topic=billing"' in client.get("/messages/?level=error").text


def test_level_topic_and_search_can_be_combined_in_url(client, send_notice):
    send_notice("billing", "Alpha")
    wanted = send_notice("billing", "Alpha", ERROR)
    send_notice("billing", "Beta", ERROR)
    send_notice("storage", "Alpha", ERROR)

    assert rows(client.get("/messages/?topic=billing&level=error&q=alpha")) == [wanted]


def test_folder_links_keep_topic(client, send_notice):
    send_notice("billing")
    page = client.get(BILLING).text

    for box in ("unread", "archive", "trash"):
        assert f'href="/messages/?box={box}&amp;topic=billing"' in page
    assert 'href="/messages/?box=sent"' in page


def test_older_pages_keep_topic(client, send_notice, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    bills = [send_notice("billing") for _ in range(5) if send_notice("storage")]

    first = client.get(BILLING)
    (further,) = re.findall(r'href="(/messages/\?topic=billing&amp;before=[^"]*)"', first.text)
    second = client.get(further.replace("&amp;", "&"))

    assert rows(first) + rows(second) == bills[::-1][:4]


def test_topic_filter_finds_message_older_than_search_window(client, send_notice, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 3}
    old = send_notice("billing")
    for _ in range(5):
        send_notice("storage")
    new = send_notice("billing")

    page = client.get(BILLING)
    assert rows(page) == [new, old]
    assert "Search older messages" not in page.text


def test_level_filter_is_limited_to_search_window(client, send_notice, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 3}
    old = send_notice(level=ERROR)
    for _ in range(3):
        send_notice()
    new = send_notice(level=ERROR)

    page = client.get("/messages/?level=error")
    assert rows(page) == [new]
    assert "Search older messages" in page.text

    (further,) = re.findall(r'href="(/messages/\?level=error&amp;before=[^"]*)"', page.text)
    page = client.get(further.replace("&amp;", "&"))
    assert rows(page) == [old]
    assert "Search older messages" not in page.text


def test_empty_list_of_level_and_topic_names_both(client, send):
    send("Failed.", ERROR)
    page = client.get("/messages/?topic=billing&level=error")
    assert "No “Problems, Billing &amp; plans” messages" in page.text


@pytest.mark.parametrize("query", ["?topic=billing", "?level=error", "?topic=billing&level=error"])
def test_until_parameter_shows_all_loaded_pages(client, send_notice, settings, query):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    bills = [send_notice("billing", level=ERROR) for _ in range(6) if send_notice("storage")]

    assert rows(client.get(f"/messages/{query}&until={bills[2]}")) == bills[:1:-1]


def test_filter_menu_has_levels_of_latest_rows_and_all_topics(client, send_notice, monkeypatch):
    monkeypatch.setattr(querysets, "LEVEL_WINDOW", 2)
    monkeypatch.setattr(querysets.LATEST_LEVELS_QUERY, "compiled", {})
    send_notice("billing", level=ERROR)
    send_notice("storage")
    send_notice(level=WARNING)

    page = client.get("/messages/")
    assert offered_topics(page) == {
        "/messages/?topic=billing": False,
        "/messages/?topic=storage": False,
    }
    assert re.findall(r'href="/messages/\?level=(\w+)"', page.text) == ["warning", "info"]


@pytest.mark.parametrize("folder", [Folder.INBOX, Folder.ARCHIVE, Folder.TRASH])
def test_only_topics_of_folder_are_found(user, other, folder):
    def put(owner, topic, folder, **fields):
        Message.objects.create(
            user=owner, topic=topic, folder=folder, level=INFO, message="Hello", **fields
        )

    names = [f"topic-{number}" for number in range(30)]
    for name in names:
        put(user, name, folder)
        put(user, name, folder)
    put(user, "", folder)
    put(user, "elsewhere", Folder.SENT)
    put(user, "a-part-of-a-conversation", folder, superseded_by=1)
    put(other, "others", folder)

    asked = [*names, "elsewhere", "a-part-of-a-conversation", "others"]
    *_, found = Message.objects.count_unread_and_kinds_of(user, 100, folder, asked)
    assert found == {*names}
    *_, found = Message.objects.count_unread_and_kinds_of(user, 100, Folder.TOMBSTONE, asked)
    assert found == set()


def test_topics_levels_and_unread_count_take_one_query(user, send_notice):
    send_notice("billing", level=ERROR)
    send_notice("storage")

    with CaptureQueriesContext(connection) as queries:
        found = Message.objects.count_unread_and_kinds_of(
            user, 100, Folder.INBOX, ["billing", "other", "storage"]
        )

    assert len(queries) == 1
    assert found == (2, {ERROR, INFO}, {"billing", "storage"})


@pytest.mark.parametrize("address", ["/messages/", "/messages/?box=unread"])
def test_topics_add_no_query_to_page(client, send_notice, address, monkeypatch):
    send_notice("billing")
    with CaptureQueriesContext(connection) as queries:
        client.get(address)
    for module in ("inbox.filters", "inbox.counter", "inbox.page"):
        monkeypatch.setattr(f"persistent_messages.{module}.topics", {})
    with CaptureQueriesContext(connection) as without:
        client.get(address)

    assert len(queries) == len(without)


# Actions keep the filter


@pytest.mark.parametrize("name", ["message_mark_all_read", "message_delete_all"])
def test_action_on_all_changes_only_topic(client, send_notice, name):
    bills, other = [send_notice("billing"), send_notice("billing")], send_notice("storage")

    asked = {"newest": other, "pm-filter": "?topic=billing"}
    answer = client.post(reverse(name), asked, headers=HTMX)

    assert answer.status_code == 200
    if name == "message_delete_all":
        touched = Message.objects.in_folder(Folder.TRASH)
    else:
        touched = Message.objects.exclude(read_at=None)
    assert sorted(touched.values_list("pk", flat=True)) == bills


def test_delete_all_confirmation_names_topic(client, send_notice):
    newest = send_notice("billing")

    page = client.get(reverse("message_delete_all") + f"?topic=billing&newest={newest}")

    assert "under the filter “Billing &amp; plans”" in page.text


def test_stepped_action_keeps_topic(user, send_notice, monkeypatch):
    monkeypatch.setattr(bulk_actions, "MAX_ROWS", 2)
    bills = [send_notice("billing") for _ in range(5) if send_notice("storage")]
    task = BulkAction.of_list("read", Filter(topic="billing"), bills[-1])

    while task is not None:
        task = bulk_actions.read_token(user, bulk_actions.make_token(user, task))
        _, task = bulk_actions.run_step(user, task)

    read = Message.objects.exclude(read_at=None).order_by("pk")
    assert [*read.values_list("pk", flat=True)] == bills


def test_action_on_row_refreshes_list_of_topic(client, send_notice):
    bill, other = send_notice("billing"), send_notice("storage")

    asked = {"pm-part": ["strip"], "pm-filter": "?topic=billing", "pm-from": "list"}
    answer = client.post(reverse("message_archive", args=[bill]), asked, headers=HTMX)

    assert answer.status_code == 200
    assert str(other) not in [str(key) for key in rows(answer)]


@pytest.mark.parametrize("topic", ["", "nothing", "billing%00", "Billing", "x" * 200])
def test_unknown_topic_is_ignored(topic):
    assert Filter.from_query(QueryDict(f"topic={topic}")).topic == ""


def test_topic_round_trips_through_query_string():
    assert Filter(topic="billing").query() == "?topic=billing"
    assert Filter.from_query(QueryDict("topic=billing")) == Filter(topic="billing")


def test_topics_of_other_users_are_not_offered(client, send_notice, other):
    send_message(other, INFO, "Hello", topic="storage")
    send_notice("billing")

    assert offered_topics(client.get("/messages/")) == {"/messages/?topic=billing": False}
    assert get_user_model().objects.count() == 2
