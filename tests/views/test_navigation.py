"""Places are kept: where a message was opened, how far a list is open, the search."""

from urllib.parse import urlencode

import pytest
from django.urls import reverse

import persistent_messages
from persistent_messages.inbox.filters import MAX_PAGES
from persistent_messages.models import Message
from persistent_messages.topics import Topic, topics
from tests.pages import (
    HTMX,
    canonical,
    fields_of,
    fill,
    form_to,
    is_page,
    older_link,
    press,
    rows,
    soup,
)

LIST = "/messages/"
UNREAD_ERRORS = f"{LIST}?box=unread&level=error"
PART = {"pm-fragment": "part"}


@pytest.fixture
def errors(send):
    """Three errors, and other messages between them."""
    found = []
    for number in range(3):
        found.append(send("It failed.", persistent_messages.ERROR, subject=f"Error {number}"))
        send("All is well.", subject=f"Note {number}")
    return found


def links(page):
    """Return the URLs of the rows."""
    return [link["href"] for link in soup(page).select(".pm-row-link")]


def link_of(page, relation):
    found = [e.attrs for e in soup(page).select("a") if e.get("rel") == relation]
    return found[0]["href"] if found else None


def htmx_headers_at(url):
    """Return the headers of an htmx request on the page at `url`."""
    return {**HTMX, "HX-Current-URL": f"http://testserver{url}"}


def load_older(client, link, here):
    """Request more rows as htmx does on the page at `here`."""
    url = link["hx-get"] + "&pm-fragment=part"
    return client.get(url, headers=htmx_headers_at(here))


# Back from a message


@pytest.mark.parametrize("name", ["message_mark_unread", "message_archive", "message_delete"])
@pytest.mark.parametrize("place", [UNREAD_ERRORS, f"{LIST}?level=error", f"{LIST}?q=failed"])
def test_action_on_detail_page_redirects_to_originating_list(client, errors, place, name):
    link = links(client.get(place))[0]

    page = client.get(link)
    action = reverse(name, args=[errors[2].pk])
    answer = client.post(action, fields_of(form_to(page, action)))

    assert canonical(answer["Location"]) == canonical(place)
    assert any(canonical(e.get("href", "")) == canonical(place) for e in soup(page).select("a"))


def test_action_on_detail_page_redirects_to_later_page(client, errors, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    place = older_link(client.get(f"{LIST}?level=error"))["href"]
    page = client.get(links(client.get(place))[0])

    action = reverse("message_archive", args=[errors[0].pk])
    answer = client.post(action, fields_of(form_to(page, action)))

    assert canonical(answer["Location"]) == canonical(place)


def test_row_of_unfiltered_inbox_links_to_plain_url(client, errors):
    assert links(client.get(LIST))[1] == reverse("message_detail", args=[errors[2].pk])


def test_permanent_deletion_redirects_to_originating_list(client, errors):
    for message in errors:
        client.post(reverse("message_delete", args=[message.pk]))
    place = f"{LIST}?box=trash&level=error"
    page = client.get(links(client.get(place))[0])

    [ask] = [e for e in soup(page).select(".pm-btn--danger") if e.name == "a"]
    question = client.get(ask["href"])
    action = reverse("message_delete", args=[errors[2].pk])
    answer = client.post(action, fields_of(form_to(question, action)))

    assert canonical(answer["Location"]) == canonical(place)


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example", "javascript:1", "\0"]
)
def test_detail_page_ignores_unsafe_next(client, errors, wanted):
    address = reverse("message_detail", args=[errors[0].pk])

    page = client.get(f"{address}?{urlencode({'next': wanted})}")

    assert page.status_code == 200
    assert wanted not in page.text
    action = reverse("message_archive", args=[errors[0].pk])
    assert fields_of(form_to(page, action))["next"] == [LIST]


def test_next_parameters_are_not_nested(client, errors):
    opened = f"{reverse('message_detail', args=[errors[0].pk])}?{urlencode({'next': '/project/'})}"

    bell = client.get(reverse("message_latest"), PART, headers=htmx_headers_at(opened))

    assert links(bell)[0].endswith(urlencode({"next": "/project/"}))


# The next message


def test_detail_page_links_to_neighbors_in_list(client, errors):
    newest, middle, oldest = links(client.get(f"{LIST}?level=error"))

    page = client.get(middle)
    assert canonical(link_of(page, "prev")) == canonical(newest)
    assert canonical(link_of(page, "next")) == canonical(oldest)
    assert link_of(client.get(newest), "prev") is None
    assert link_of(client.get(oldest), "next") is None


@pytest.fixture
def billing(monkeypatch):
    monkeypatch.setitem(topics, "billing", None)
    Topic("billing", "Billing")
    return f"{LIST}?topic=billing"


def test_detail_page_links_to_neighbors_in_topic(client, user, errors, billing):
    bills = [fill(user, 1, topic="billing")[0] for _ in range(3) if fill(user, 1)]
    shown = client.get(billing)
    newest, middle, oldest = links(shown)
    assert rows(shown) == bills[::-1]

    page = client.get(middle)
    assert canonical(link_of(page, "prev")) == canonical(newest)
    assert canonical(link_of(page, "next")) == canonical(oldest)
    assert link_of(client.get(newest), "prev") is None
    assert link_of(client.get(oldest), "next") is None


@pytest.mark.parametrize(
    "name",
    ["message_mark_unread", "message_archive", "message_delete"],
)
def test_action_on_detail_page_redirects_to_topic(client, user, billing, name):
    fill(user, 1, topic="billing")
    page = client.get(links(client.get(billing))[0])

    action = reverse(name, args=[Message.objects.get().pk])
    form = form_to(page, reverse("message_mark_unread", args=[Message.objects.get().pk]))
    answer = client.post(action, fields_of(form))

    assert canonical(answer["Location"]) == canonical(billing)


def test_next_links_lead_through_all_unread_messages(client, errors):
    link, seen = links(client.get(f"{LIST}?box=unread"))[0], 0
    while link:
        link, seen = link_of(client.get(link), "next"), seen + 1

    assert seen == 6
    assert not Message.objects.unread().exists()


def test_detail_page_does_not_link_to_messages_of_other_users(client, other, send):
    send("For Harry.", to=other)
    mine = send("For Sally.")
    send("For Harry.", to=other)

    page = client.get(reverse("message_detail", args=[mine.pk]))

    assert link_of(page, "prev") is link_of(page, "next") is None


# Lists that are open further


@pytest.mark.parametrize("query", ["", "?level=info", "?q=quota"])
def test_url_records_how_far_list_is_loaded(client, user, settings, query):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    keys = fill(user, 11, message="The quota was reached.")
    here, shown = f"{LIST}{query}", rows(client.get(f"{LIST}{query}"))
    link = older_link(client.get(here))
    for _ in range(2):
        part = load_older(client, link, here)
        shown += rows(part)
        here, link = part["HX-Replace-Url"], older_link(part)

    assert shown == keys[:9]
    fill(user, 1)  # arrives in the meantime
    page = client.get(here)
    assert [key for key in rows(page) if key in keys] == keys[:9]
    rest = client.get(older_link(page)["href"])
    assert rows(rest) == keys[9:]


def test_until_parameter_can_reach_end_of_list(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    keys = fill(user, 5)

    page = client.get(LIST, {"until": keys[-1]})

    assert rows(page) == keys
    assert older_link(page) is None


def test_list_keeps_its_length_after_bulk_action(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    keys = fill(user, 9)
    page = client.get(LIST, {"until": keys[5]})
    archive = next(e for e in soup(page).select("button") if e.get("value") == "archive")

    assert rows(press(client, page, archive, tick=[keys[0]])) == keys[1:7]


def test_until_parameter_is_limited(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    keys = fill(user, 2 * MAX_PAGES + 5)

    page = client.get(LIST, {"until": keys[-1]})

    assert rows(page) == keys[: 2 * MAX_PAGES]
    assert rows(client.get(older_link(page)["href"])) == keys[2 * MAX_PAGES :][:2]


@pytest.mark.parametrize("until", ["x", "-1", "9" * 30, "", str(2**63 - 1)])
def test_invalid_until_parameter_is_ignored(client, user, settings, until):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    keys = fill(user, 5)

    for query in ({}, {"q": "hello"}):
        assert len(rows(client.get(LIST, {**query, "until": until}))) == (0 if query else 2), keys


def test_until_parameter_adds_no_query(client, user, settings, django_assert_max_num_queries):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    keys = fill(user, 20)
    client.get(LIST)

    with django_assert_max_num_queries(5):  # with session and user
        client.get(LIST, {"until": keys[11]})


def test_folder_links_drop_until_parameter(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    keys = fill(user, 9)

    page = client.get(LIST, {"until": keys[5]})

    filters = [e for e in soup(page).select("a") if "box=" in e.get("href", "")]
    assert filters
    assert not [e for e in filters if "until" in e["href"]]


def test_embedded_list_does_not_replace_url(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    fill(user, 5)
    link = older_link(client.get(LIST))

    part = load_older(client, link, "/project/")

    assert rows(part)
    assert "HX-Replace-Url" not in part


# A search


def test_typed_search_adds_one_history_entry(client, errors):
    here, added = LIST, []
    for typed in ("f", "fa", "failed", "", "x"):
        answer = client.get(
            LIST, {"pm-fragment": "pane", "q": typed}, headers=htmx_headers_at(here)
        )
        here = answer.get("HX-Push-Url") or answer["HX-Replace-Url"]
        added += [here] if "HX-Push-Url" in answer else []

    assert added == [f"{LIST}?q=f", f"{LIST}?q=x"]


# The URL of a message


@pytest.mark.parametrize("where", ["list", "bell"])
@pytest.mark.parametrize("url", ["/project/?tab=2", "https://example.com/orders/7"])
def test_row_link_redirects_to_message_url_and_marks_as_read(client, send, url, where):
    message = send("Your order", url=url)
    address = LIST if where == "list" else reverse("message_latest")
    page = client.get(address, PART, headers=HTMX if where == "bell" else {})

    answer = client.get(links(page)[0])

    assert (answer.status_code, answer["Location"]) == (302, url)
    message.refresh_from_db()
    assert message.read


def test_text_of_message_with_url_has_link(client, send):
    message = send("Your order was sent by bike.", url="/project/")
    page, address = client.get(LIST), reverse("message_detail", args=[message.pk])

    assert address in [e.get("href") for e in soup(page).select("a")]
    assert is_page(client.get(address))


@pytest.mark.parametrize("how", [{"method": "HEAD"}, {"headers": {"Sec-Purpose": "prefetch"}}])
def test_prefetch_of_message_url_does_not_mark_as_read(client, send, how):
    message = send("Your order", url="/project/")
    address = reverse("message_detail", args=[message.pk])

    client.generic(how.get("method", "GET"), f"{address}?follow=1", headers=how.get("headers"))

    message.refresh_from_db()
    assert not message.read


@pytest.mark.parametrize("url", ["", "javascript:alert(1)"])
def test_follow_without_safe_url_does_not_redirect(client, send, url):
    message = send("Hello")
    Message.objects.filter(pk=message.pk).update(url=url)

    answer = client.get(f"{reverse('message_detail', args=[message.pk])}?follow=1")

    assert answer.status_code == (400 if url else 200)
