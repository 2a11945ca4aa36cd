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
def told(user):
    def told(topic="", text="Hello", level=INFO):
        send_message(user, level, text, topic=topic)
        return Message.objects.latest("pk").pk

    return told


def offered(page):
    """The topics of the filter menu: where each leads, and whether it is the one in force."""
    link = r'<a class="pm-option[^"]*" href="([^"]*)"( aria-current="true")?'
    found = [(unescape(href), current) for href, current in re.findall(link, page.text)]
    return {href: bool(now) for href, now in found if "topic=" in href and "newest" not in href}


def test_the_menu_offers_the_topics_that_the_folder_has(client, told):
    assert offered(client.get("/messages/")) == {}

    told("billing")
    page = client.get("/messages/")

    assert offered(page) == {"/messages/?topic=billing": False}
    assert "Billing &amp; plans" in page.text
    assert offered(client.get("/messages/?box=archive")) == {}
    unread = {"/messages/?box=unread&topic=billing": False}
    assert offered(client.get("/messages/?box=unread")) == unread


def test_a_topic_that_is_not_registered_is_not_offered(client, user, told):
    told("billing")
    Message.objects.update(topic="gone")

    page = client.get("/messages/")

    assert offered(page) == {}
    assert rows(client.get("/messages/?topic=gone")) == rows(page)


def test_an_address_shows_one_topic(client, told):
    bills = [told("billing") for _ in range(3)]
    told("storage")
    told()

    page = client.get(BILLING)

    assert rows(page) == bills[::-1]
    assert offered(page) == {"/messages/?topic=storage": False}
    assert re.search(r"pm-filtered.*?Billing &amp; plans", page.text, re.DOTALL)
    assert 'name="topic" value="billing"' in page.text


def test_rows_show_the_name_of_their_topic(client, told):
    told("billing")
    assert "Billing &amp; plans" in client.get("/messages/").text


def test_the_topic_in_force_leads_back_to_all(client, told):
    told("storage")

    page = client.get(BILLING)

    assert '<a class="pm-option" href="/messages/?" aria-current="true"' in page.text
    assert "No “Billing &amp; plans” messages" in page.text
    assert "Clear filter" in page.text


def test_a_level_and_a_topic_are_chosen_one_at_a_time(client, told):
    told("billing", level=ERROR)

    page = client.get("/messages/?topic=billing").text
    assert 'href="/messages/?level=error"' in page
    assert 'href="/messages/?topic=billing"' in client.get("/messages/?level=error").text


def test_an_address_may_have_level_topic_and_words(client, told):
    told("billing", "Alpha")
    wanted = told("billing", "Alpha", ERROR)
    told("billing", "Beta", ERROR)
    told("storage", "Alpha", ERROR)

    assert rows(client.get("/messages/?topic=billing&level=error&q=alpha")) == [wanted]


def test_the_folders_keep_the_topic(client, told):
    told("billing")
    page = client.get(BILLING).text

    for box in ("unread", "archive", "trash"):
        assert f'href="/messages/?box={box}&amp;topic=billing"' in page
    assert 'href="/messages/?box=sent"' in page


def test_further_pages_keep_the_topic(client, told, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    bills = [told("billing") for _ in range(5) if told("storage")]

    first = client.get(BILLING)
    (further,) = re.findall(r'href="(/messages/\?topic=billing&amp;before=[^"]*)"', first.text)
    second = client.get(further.replace("&amp;", "&"))

    assert rows(first) + rows(second) == bills[::-1][:4]


def test_a_topic_is_found_however_much_arrived_since(client, told, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 3}
    old = told("billing")
    for _ in range(5):
        told("storage")
    new = told("billing")

    page = client.get(BILLING)
    assert rows(page) == [new, old]
    assert "Search older messages" not in page.text


def test_of_a_level_it_looks_at_so_many_rows_and_offers_to_look_further(client, told, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 3}
    old = told(level=ERROR)
    for _ in range(3):
        told()
    new = told(level=ERROR)

    page = client.get("/messages/?level=error")
    assert rows(page) == [new]
    assert "Search older messages" in page.text

    (further,) = re.findall(r'href="(/messages/\?level=error&amp;before=[^"]*)"', page.text)
    page = client.get(further.replace("&amp;", "&"))
    assert rows(page) == [old]
    assert "Search older messages" not in page.text


@pytest.mark.parametrize("query", ["?topic=billing", "?level=error", "?topic=billing&level=error"])
def test_what_was_opened_page_by_page_is_shown_at_once(client, told, settings, query):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    bills = [told("billing", level=ERROR) for _ in range(6) if told("storage")]

    assert rows(client.get(f"/messages/{query}&until={bills[2]}")) == bills[:1:-1]


def test_the_menu_looks_for_levels_among_the_latest_rows_and_for_topics_everywhere(
    client, told, monkeypatch
):
    monkeypatch.setattr(querysets, "LEVEL_WINDOW", 2)
    monkeypatch.setattr(querysets.LATEST_LEVELS_QUERY, "compiled", {})
    told("billing", level=ERROR)
    told("storage")
    told(level=WARNING)

    page = client.get("/messages/")
    assert offered(page) == {"/messages/?topic=billing": False, "/messages/?topic=storage": False}
    assert re.findall(r'href="/messages/\?level=(\w+)"', page.text) == ["warning", "info"]


@pytest.mark.parametrize("folder", [Folder.INBOX, Folder.ARCHIVE, Folder.TRASH])
def test_all_topics_of_a_folder_are_found_and_no_others(user, other, folder):
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


def test_the_topics_come_with_the_levels_and_the_count(user, told):
    told("billing", level=ERROR)
    told("storage")

    with CaptureQueriesContext(connection) as queries:
        found = Message.objects.count_unread_and_kinds_of(
            user, 100, Folder.INBOX, ["billing", "other", "storage"]
        )

    assert len(queries) == 1
    assert found == (2, {ERROR, INFO}, {"billing", "storage"})


@pytest.mark.parametrize("address", ["/messages/", "/messages/?box=unread"])
def test_a_page_costs_no_query_for_its_topics(client, told, address, monkeypatch):
    told("billing")
    with CaptureQueriesContext(connection) as queries:
        client.get(address)
    for module in ("inbox.filters", "inbox.counter", "inbox.page"):
        monkeypatch.setattr(f"persistent_messages.{module}.topics", {})
    with CaptureQueriesContext(connection) as without:
        client.get(address)

    assert len(queries) == len(without)


# Actions keep the filter


@pytest.mark.parametrize("name", ["message_mark_all_read", "message_delete_all"])
def test_acting_on_all_acts_on_the_topic(client, told, name):
    bills, other = [told("billing"), told("billing")], told("storage")

    asked = {"newest": other, "pm-filter": "?topic=billing"}
    answer = client.post(reverse(name), asked, headers=HTMX)

    assert answer.status_code == 200
    if name == "message_delete_all":
        touched = Message.objects.in_folder(Folder.TRASH)
    else:
        touched = Message.objects.exclude(read_at=None)
    assert sorted(touched.values_list("pk", flat=True)) == bills


def test_the_page_that_asks_before_deleting_all_says_so(client, told):
    newest = told("billing")

    page = client.get(reverse("message_delete_all") + f"?topic=billing&newest={newest}")

    assert "under the filter “Billing &amp; plans”" in page.text


def test_an_action_in_steps_keeps_the_topic(user, told, monkeypatch):
    monkeypatch.setattr(bulk_actions, "MAX_ROWS", 2)
    bills = [told("billing") for _ in range(5) if told("storage")]
    task = BulkAction.of_list("read", Filter(topic="billing"), bills[-1])

    while task is not None:
        task = bulk_actions.read_token(user, bulk_actions.make_token(user, task))
        _, task = bulk_actions.run_step(user, task)

    read = Message.objects.exclude(read_at=None).order_by("pk")
    assert [*read.values_list("pk", flat=True)] == bills


def test_an_action_on_one_row_renews_the_list_of_its_topic(client, told):
    bill, other = told("billing"), told("storage")

    asked = {"pm-part": ["strip"], "pm-filter": "?topic=billing", "pm-from": "list"}
    answer = client.post(reverse("message_archive", args=[bill]), asked, headers=HTMX)

    assert answer.status_code == 200
    assert str(other) not in [str(key) for key in rows(answer)]


@pytest.mark.parametrize("said", ["", "nothing", "billing%00", "Billing", "x" * 200])
def test_a_topic_that_there_is_not_is_as_good_as_not_said(said):
    assert Filter.from_query(QueryDict(f"topic={said}")).topic == ""


def test_an_address_says_its_topic():
    assert Filter(topic="billing").query() == "?topic=billing"
    assert Filter.from_query(QueryDict("topic=billing")) == Filter(topic="billing")


def test_another_user_has_other_topics(client, told, other):
    send_message(other, INFO, "Hello", topic="storage")
    told("billing")

    assert offered(client.get("/messages/")) == {"/messages/?topic=billing": False}
    assert get_user_model().objects.count() == 2
