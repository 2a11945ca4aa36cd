"""The pages of a message: permissions, fragments, methods and redirects."""

import json
from datetime import datetime, timezone

import pytest
from django.contrib import messages as contrib_messages
from django.test import Client
from django.urls import resolve, reverse

import persistent_messages
from persistent_messages import Folder, send_message
from persistent_messages.models import Message
from persistent_messages.views.csrf import csrf_failure
from tests.pages import (
    ANYBODYS,
    ASKING,
    BOOSTED,
    CHANGING,
    HTMX,
    MODES,
    ON_ALL,
    ON_ONE,
    PAGES,
    READING,
    RESTORED,
    TAKES,
    address,
    announced_unread,
    ask,
    browser_of,
    fields_of,
    fill,
    form_to,
    is_page,
    log_in_of,
    mailbox_rows,
    prepare,
    rows,
    soup,
    text_of,
    texts,
    values_of,
)

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
OWN = [name for name in TAKES if name not in ANYBODYS]
# By name or key of a message, or by a token of its owner.
ON_A_MESSAGE = [name for name in OWN if TAKES[name]]
INBOX = "/messages/"


@pytest.fixture
def other_client(other):
    return browser_of(other)


# Each URL, user and kind of request


@pytest.mark.parametrize("mode", MODES)
def test_visitor_is_redirected_to_log_in_from_each_url(visitor, user, send, mode):
    """With `HX-Redirect` for HTMX."""
    message = send("Secret")
    before = mailbox_rows(user)
    here = {**MODES[mode], "HX-Current-URL": "http://testserver/project/?tab=2"}

    for name in OWN:
        url = address(name, message)
        for method in ("get", "head", *(["post"] if name in CHANGING else [])):
            response = getattr(visitor, method)(url, headers=here)
            by_htmx = mode not in {"plain", "restored"}
            assert response.status_code == (200 if by_htmx else 302), name
            assert response.has_header("HX-Redirect") is by_htmx, name
            assert log_in_of(response) == (url if mode == "plain" else "/project/?tab=2"), name

    assert mailbox_rows(user) == before


@pytest.mark.parametrize("mode", MODES)
def test_owner_gets_page_or_fragment_from_each_url(client, user, send, mode):
    message = send("Hello")
    prepare("message_open", message)  # else there is nothing to ask
    whole = mode in PAGES

    for name in OWN:
        if name == "message_detail":
            continue  # opening a message changes it; tested below
        response = ask(client, "get", name, message, MODES[mode])
        if name in {"message_bulk", "message_go_on", "message_news"} or (
            whole and name == "message_latest"
        ):
            assert (response.status_code, response["Location"]) == (302, INBOX)
        else:
            assert response.status_code == 200, name
            assert is_page(response) is whole, name
            assert soup(response).find_all(True)[1:], name
    assert not Message.objects.get().read

    response = ask(client, "get", "message_detail", message, MODES[mode])

    assert is_page(response) is whole
    assert b"Hello" in response.content


@pytest.mark.parametrize("mode", MODES)
def test_message_of_other_user_is_not_found(other_client, user, send, mode):
    message = send("Very secret text", subject="Very secret subject", url="/secret/")
    before = mailbox_rows(user)

    for name in ON_A_MESSAGE:
        for method in ("get", "head", "post"):
            response = ask(other_client, method, name, message, MODES[mode])
            # A token reveals that it belongs to another user, but not its content.
            found = {405} if (method, name) == ("post", "message_detail") else {404}
            refused = {200 if mode == "htmx" else 400}
            assert response.status_code in (refused if name == "message_undo" else found), name
            assert b"ecret" not in response.content

    assert mailbox_rows(user) == before


CLIENTS = {"visitor": "visitor", "owner": "client", "other user": "other_client"}
"""The fixtures with the clients of people."""


@pytest.mark.parametrize("mode", ["plain", "htmx", "boosted"])
@pytest.mark.parametrize("person", CLIENTS)
def test_pages_show_text_only_to_its_owner(request, user, other, client, send, person, mode):
    browser = request.getfixturevalue(CLIENTS[person])
    send("His own text", to=other)
    message = send("Very secret text", subject="Very secret subject", url="/very secret/")
    passing = send("Very secret passing", contrib_messages.INFO)
    before = mailbox_rows(user)
    seen = set()

    for name in TAKES:
        for method in METHODS:
            target = passing if person == "other user" and method == "get" else message
            data = prepare(name, message) if person == "owner" and method == "post" else None
            response = ask(browser, method, name, target, MODES[mode], data)
            assert response.status_code in {200, 204, 302, 400, 404, 405}, (name, method)
            headers = " ".join(response.headers.values())
            if b"ery secret" in response.content or "ery%20secret" in headers:
                seen.add(name)

    if person == "owner":
        assert seen >= {"message_list", "message_detail", "message_open", "message_delete"}
    else:
        assert seen == set()
        assert mailbox_rows(user) == before


def test_login_required_middleware_changes_no_response(send, settings):
    message = send("Secret")
    # A token differs each time.
    urls = [address(name, message) for name in TAKES if name != "message_token"]
    names = ("Location", "HX-Redirect", "Allow")

    def answers():
        visitor = Client()  # a client keeps the middleware of its first request
        return [
            (answer.status_code, [answer.get(name) for name in names], answer.content)
            for url in urls
            for headers in MODES.values()
            for answer in (visitor.get(url, headers=headers), visitor.post(url, headers=headers))
        ]

    without = answers()
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]

    assert answers() == without


@pytest.mark.parametrize("name", READING)
def test_history_restore_redirects_visitor_to_log_in(visitor, send, name):
    """htmx 2 reads no headers of such a response, so an empty one would leave an empty page."""
    url = address(name, send("Secret"))
    headers = {**RESTORED, "HX-Current-URL": f"http://testserver{url}"}

    first = visitor.get(url, headers=headers)

    assert log_in_of(first) == url
    assert is_page(visitor.get(first["Location"], headers=headers))


ELSEWHERE = ["http://evil.example/project/", "nonsense", "//evil/", "http://[evil", "//evil\u2100"]
ELSEWHERE += ["http://testserver//evil.example/x", "http://testserver/\\evil.example"]


@pytest.mark.parametrize("current", [None, *ELSEWHERE])
def test_log_in_does_not_return_to_foreign_url(visitor, current):
    headers = HTMX if current is None else {**HTMX, "HX-Current-URL": current}

    assert log_in_of(visitor.get(INBOX, headers=headers)) == "/"


@pytest.mark.parametrize("current", ELSEWHERE)
def test_foreign_current_url_is_ignored(client, send, current):
    message = send("Hello")
    headers = {**BOOSTED, "HX-Current-URL": current}

    page = client.get("/", headers=headers)

    assert rows(client.get(INBOX, headers=headers)) == [message.pk]
    assert set(values_of(page, "next")) == {"/"}


def test_long_url_is_not_repeated_in_rows(client, send):
    """A long URL would otherwise be repeated in every row."""
    for number in range(5):
        send(f"Hello {number}")
    long = "x" * 5000

    for url in (f"{INBOX}?{long}", f"{INBOX}?before=9&{long}", f"/?{long}"):
        assert long not in client.get(url).text
    assert len(client.get(f"{INBOX}?day={long}").content) < 100_000


@pytest.mark.parametrize("charset", ["utf-7", "utf-16", "latin-1"])
@pytest.mark.parametrize("name", TAKES)
def test_request_in_other_charset_than_utf_8_is_rejected(client, send, name, charset):
    """UTF-7 can express half a surrogate pair, which cannot be rendered."""
    message = send("Hello")
    url = address(name, message, q="+2AA-", to="+2AA-", next="+2AA-", subject="+2AA-")

    for kind in ("text/plain", "multipart/form-data; boundary=x"):
        answer = client.get(url, headers={"Content-Type": f"{kind}; charset={charset}"})
        assert answer.status_code == 400
        assert client.get(url, headers={"Content-Type": f"{kind}; charset=UTF-8"}).status_code < 400
    assert Message.objects.get() == message


def test_htmx_target_and_trigger_are_ignored(client, send):
    send("Hello")
    odd = {**HTMX, "HX-Target": "pm-main", "HX-Trigger": "pm-other", "HX-Trigger-Name": "x"}

    plain = client.get(INBOX, headers=HTMX)
    with_target = client.get(INBOX, headers=odd)

    assert rows(plain) == rows(with_target)
    assert not is_page(with_target)


def test_page_has_one_h1_and_one_main_element(client, send):
    message = send("Hello", url="/project/")

    for name in [*ASKING, "message_list", "message_detail"]:
        page = ask(client, "get", name, message)
        assert len(soup(page).select("h1")) == len(soup(page).select("main")) == 1, name


# The headers that htmx sets by itself, depending on the page.
SET_BY_HTMX = {mode: MODES[mode] for mode in ("htmx", "boosted", "full")}


def htmx_get_controls(client):
    """Return the attributes of the parts that send GET requests, on pages and in fragments."""
    pages = [client.get(INBOX), client.get("/")]
    pages.append(client.get(address("message_latest"), headers=HTMX))
    controls = [element.attrs for page in pages for element in soup(page).find_all(True)]
    return [control for control in controls if "hx-get" in control]


@pytest.mark.parametrize("mode", SET_BY_HTMX)
def test_htmx_get_returns_fragment_and_loses_no_one_shot_message(client, user, settings, mode):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    fill(user, 5)
    controls = htmx_get_controls(client)
    assert len(controls) > 10

    for number, control in enumerate(controls):
        text = f"Saved {number}."
        send_message(user, contrib_messages.INFO, text)
        values = json.loads(control.get("hx-vals") or "{}")
        response = client.get(control["hx-get"], values, headers=SET_BY_HTMX[mode])
        assert response.status_code in (200, 204), control
        assert not is_page(response), control
        assert "hx-select" not in control  # it would discard part of the response
        waits = Message.objects.filter(message=text).exists()
        assert (text in response.text) != waits, control


@pytest.mark.parametrize("mode", SET_BY_HTMX)
def test_htmx_action_returns_parts_in_each_mode(client, send, mode):
    message = send("Hello")

    response = client.post(
        address("message_archive", message),
        {"pm-part": ["list", "counter"], "pm-from": "row"},
        headers=SET_BY_HTMX[mode],
    )

    assert not is_page(response)
    assert announced_unread(response) == 0


@pytest.mark.parametrize("mode", SET_BY_HTMX)
@pytest.mark.parametrize(("asked", "heads"), [("view", 1), ("pane", 0)])
def test_pushed_url_omits_fragment_parameter(client, send, mode, asked, heads):
    message = send("Hello")
    query = {"pm-fragment": asked, "q": "hello", "box": "inbox"}

    response = client.get(INBOX, query, headers=SET_BY_HTMX[mode])

    assert response["HX-Push-Url"] == f"{INBOX}?q=hello&box=inbox"
    assert rows(response) == [message.pk]
    assert len(soup(response).select(".pm-head")) == heads
    assert "pm-fragment" not in values_of(response, "next")[0]


@pytest.mark.parametrize("mode", ["plain", "restored"])
def test_fragment_url_without_htmx_returns_page(client, send, mode):
    send("Hello")

    for asked in ("view", "pane", "part", "x"):
        response = client.get(INBOX, {"pm-fragment": asked}, headers=MODES[mode])
        assert is_page(response)
        assert not response.has_header("HX-Push-Url")
        assert values_of(response, "next")[0] == INBOX


@pytest.mark.parametrize("query", [{}, {"pm-fragment": "part"}])
def test_older_rows_fragment_pushes_no_url(client, user, query):
    keys = fill(user, 3)

    response = client.get(INBOX, {"before": keys[0], **query}, headers=HTMX)

    assert rows(response) == keys[1:]
    assert not response.has_header("HX-Push-Url")


# Caches


@pytest.mark.parametrize("mode", MODES)
def test_private_page_has_no_store_and_vary_headers(client, send, mode):
    message = send("Hello", url="/project/")

    for name in [*ASKING, *READING]:
        response = ask(client, "get", name, message, MODES[mode])
        if response.status_code != 200:
            continue
        vary = {header.strip().lower() for header in response["Vary"].split(",")}
        assert vary >= {"hx-request", "hx-boosted", "hx-history-restore-request"}, name
        assert "hx-request-type" in vary, name
        kept = {part.strip() for part in response["Cache-Control"].split(",")}
        assert {"no-store", "private"} <= kept, name


@pytest.mark.parametrize("mode", ["plain", "htmx"])
def test_response_to_visitor_has_vary_header(visitor, send, mode):
    message = send("Hello")

    for name in TAKES:
        response = ask(visitor, "get", name, message, MODES[mode])
        assert "hx-request" in response.get("Vary", "").lower(), name


def test_response_to_action_has_no_store_and_vary_headers(client, send):
    for name in CHANGING:
        message = send("Hello")
        response = ask(client, "post", name, message, HTMX, prepare(name, message))
        if name != "message_open":
            assert response.status_code == 200
            assert "no-store" in response["Cache-Control"], name
            assert "hx-request" in response["Vary"].lower(), name


# Keys


@pytest.mark.parametrize("key", [2**63 - 1, 2**63, 2**64, int("9" * 40)])
def test_message_id_beyond_64_bits_is_not_found(client, send, key):
    send("Hello")

    for name in [*ON_ONE, "message_detail"]:
        url = reverse(name, args=[key])
        assert client.get(url).status_code == 404, name
        posted = client.post(url, headers=HTMX).status_code
        assert posted == (405 if name == "message_detail" else 404), name


def test_one_shot_message_has_no_page_and_no_action(client, send):
    message = send("Passing", contrib_messages.INFO)
    assert message.folder == Folder.ONE_SHOT

    unseen = {"Sec-Fetch-Dest": "image"}  # a page in the frame of the site would show it
    for name in [*ON_ONE, "message_detail"]:
        assert ask(client, "get", name, message, headers=unseen).status_code == 404, name
        status = ask(client, "post", name, message, headers=unseen).status_code
        assert status in {404, 405}, name
    ask(client, "post", "message_bulk", data={"ids": message.pk, "do": "delete"})

    assert Message.objects.get(pk=message.pk).folder == Folder.ONE_SHOT


def test_action_on_all_changes_only_own_messages(other_client, user, other, send):
    for name in ON_ALL:
        send("Hers")
        his = send("His", to=other)
        before = mailbox_rows(user)

        answer = ask(other_client, "post", name, headers=HTMX, data={"newest": "9" * 18})

        assert mailbox_rows(user) == before
        his.refresh_from_db()
        assert his.read if name == "message_mark_all_read" else his.folder == Folder.TRASH
        assert json.loads(answer["HX-Trigger"])["pm:changed"] == {"unread": 0}


# Methods


@pytest.mark.parametrize("name", CHANGING)
def test_get_request_to_action_shows_confirmation_only(client, user, send, name):
    message = send("Hello")
    prepare(name, message)
    before = mailbox_rows(user)

    for mode, headers in MODES.items():
        assert ask(client, "head", name, message, headers).content == b""
        response = ask(client, "get", name, message, headers)
        if name in ASKING:
            assert response.status_code == 200, mode
            asked = [form["action"] for form in soup(response).select(".pm-form")]
            assert [url.split(":")[0] for url in asked] == [address(name, message).split(":")[0]]

    assert mailbox_rows(user) == before


@pytest.mark.parametrize("name", ASKING)
def test_confirmation_form_performs_action(user, send, name):
    message = send("Hello")
    prepare(name, message)
    before = mailbox_rows(user)
    browser = browser_of(user, enforce_csrf_checks=True)

    page = ask(browser, "get", name, message, next="/project/")
    (form,) = soup(page).select(".pm-form")
    response = browser.post(form["action"], fields_of(form))

    assert response.status_code == 302
    assert response["Location"] == "/project/"
    assert mailbox_rows(user) != before


@pytest.mark.parametrize("name", TAKES)
def test_other_methods_are_not_allowed(client, user, send, name):
    message = send("Hello")
    data = prepare(name, message)
    before = mailbox_rows(user)

    for method in ("put", "patch", "delete", "options"):
        assert ask(client, method, name, message).status_code == 405, method
    assert mailbox_rows(user) == before

    posted = ask(client, "post", name, message, data=data)
    assert posted.status_code == (302 if name in CHANGING else 405)


@pytest.mark.parametrize("installed", [True, False])
def test_post_without_csrf_token_is_rejected(user, send, settings, installed):
    # Without the middleware the views still ask for it.
    if not installed:
        csrf = "django.middleware.csrf.CsrfViewMiddleware"
        settings.MIDDLEWARE = [entry for entry in settings.MIDDLEWARE if entry != csrf]
    message = send("Hello")
    browser = browser_of(user, enforce_csrf_checks=True)

    for name in CHANGING:
        data = prepare(name, message)
        before = mailbox_rows(user)
        for headers in ({}, HTMX):
            response = ask(browser, "post", name, message, headers, data)
            assert response.status_code == 403, name
            assert mailbox_rows(user) == before, name


def test_post_forms_have_csrf_token_in_pages_and_fragments(user, send):
    browser = browser_of(user, enforce_csrf_checks=True)
    message = send("Hello", url="/project/")

    for name in [*ASKING, "message_list", "message_latest", "message_detail"]:
        for headers in (HTMX, *([] if name == "message_latest" else [{}])):
            page = ask(browser, "get", name, message, headers)
            forms = [e for e in soup(page).select("form") if e.get("method") == "post"]
            if name != "message_latest":
                assert forms, name
            for form in forms:
                assert values_of(form, "csrfmiddlewaretoken"), name


# Opening


@pytest.mark.parametrize("mode", MODES)
def test_opening_message_marks_it_as_read(client, send, mode):
    message = send("Hello")

    response = ask(client, "get", "message_detail", message, MODES[mode])

    assert b"Hello" in response.content
    message.refresh_from_db()
    assert message.read


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {**HTMX, "HX-Preloaded": "true"},
    ],
)
def test_prefetch_does_not_mark_as_read(client, send, headers):
    message = send("Hello")

    response = ask(client, "get", "message_detail", message, headers)

    assert b"Hello" in response.content
    message.refresh_from_db()
    assert not message.read


def test_head_request_does_not_mark_as_read(client, send):
    message = send("Hello")

    assert ask(client, "head", "message_detail", message).status_code == 200

    message.refresh_from_db()
    assert not message.read


def test_read_at_of_first_reading_is_kept(client, send):
    message = send("Hello", url="/project/")
    first = datetime(2020, 1, 2, 3, 4, tzinfo=timezone.utc)
    Message.objects.filter(pk=message.pk).update(read_at=first)

    ask(client, "get", "message_detail", message)
    ask(client, "post", "message_open", message)
    ask(client, "post", "message_mark_read", message, HTMX)
    ask(client, "post", "message_mark_all_read", headers=HTMX)
    ask(client, "post", "message_bulk", data={"ids": message.pk, "do": "read"})

    message.refresh_from_db()
    assert message.read_at == first


def test_detail_page_no_longer_counts_its_message(client, send):
    page = ask(client, "get", "message_detail", send("Hello"))

    assert soup(page).select(".pm-badge") == []
    assert soup(page).select(".pm-notice") == []


# Following the URL of a message


@pytest.mark.parametrize("headers", [{}, BOOSTED])
@pytest.mark.parametrize("url", ["/project/?tab=2", "https://example.com/orders/7"])
def test_open_redirects_to_message_url_and_marks_as_read(client, send, url, headers):
    message = send("Your order", url=url)

    response = ask(client, "post", "message_open", message, headers)

    assert (response.status_code, response["Location"]) == (302, url)
    message.refresh_from_db()
    assert message.read


def test_open_ignores_url_of_request(client, send):
    message = send("Your order", url="/project/")
    evil = {"next": "https://evil.example/", "url": "https://evil.example/"}

    response = ask(client, "post", "message_open", message, data=evil, **evil)

    assert response["Location"] == "/project/"


def test_open_confirmation_page_does_not_mark_as_read(client, send):
    message = send("Your order", url="/project/")

    page = ask(client, "get", "message_open", message)

    assert texts(page, ".pm-thread-title") == ["Open “Your order”?"]
    message.refresh_from_db()
    assert not message.read


@pytest.mark.parametrize("method", ["get", "post"])
def test_open_without_message_url_redirects_to_detail_page(client, send, method):
    message = send("Hello")

    response = ask(client, method, "message_open", message)

    assert response["Location"] == address("message_detail", message)
    message.refresh_from_db()
    assert not message.read, "opening that page will"


def test_open_rejects_unsafe_message_url(client, send):
    # The app does not store such a value, but a site's own import may.
    message = send("Your order")
    Message.objects.filter(pk=message.pk).update(url="javascript:alert(1)")

    response = ask(client, "post", "message_open", message)

    assert response.status_code == 400


def test_open_button_is_shown_only_for_message_with_url(client, send):
    leads, stays = send("Your order", url="/project/"), send("Hello")

    page = client.get(INBOX)

    posts = [e.get("formaction") for e in soup(page).select("button")]
    assert address("message_open", leads) in posts
    assert address("message_open", stays) not in posts
    assert form_to(ask(client, "get", "message_detail", leads), address("message_open", leads))
    detail = ask(client, "get", "message_detail", stays)
    assert address("message_open", stays) not in detail.text


# The bell and new messages


def test_bell_shows_five_newest_and_does_not_mark_as_read(client, send):
    for number in range(7):
        send(f"Number {number}")

    fragment = ask(client, "get", "message_latest", headers=HTMX)

    assert not is_page(fragment)
    found = texts(fragment, ".pm-subject")
    assert found == [f"Unread: Number {number}" for number in (6, 5, 4, 3, 2)]
    assert Message.objects.unread().count() == 7


def test_bell_links_to_inbox_and_marks_counted_messages_as_read(client, user, send):
    for _ in range(7):
        newest = send("Hello")
    send("Done with")
    Message.objects.filter(message="Done with").update(folder=Folder.ARCHIVE)
    browser = browser_of(user, enforce_csrf_checks=True)

    fragment = ask(browser, "get", "message_latest", headers=HTMX)
    form = form_to(fragment, address("message_mark_all_read"))
    fields = fields_of(form)
    later = send("Came later")
    answer = browser.post(form["action"], fields)

    assert INBOX in [e["href"] for e in soup(fragment).select("a")]
    assert "Mark all 7 as read" in [text_of(button) for button in soup(form).select("button")]
    assert fields["newest"] == [str(newest.pk)]
    assert answer.status_code == 302
    unread = Message.objects.exclude(folder=Folder.ONE_SHOT).unread()
    assert {message.message for message in unread} == {later.message, "Done with"}


def test_bell_of_empty_inbox_has_text(client):
    fragment = ask(client, "get", "message_latest", headers=HTMX)

    assert "No messages" in fragment.text
    # It is empty, so the style sheet hides it.
    assert [text_of(button) for button in soup(fragment).select("button")] == [""]


# One-shot messages


def test_dismissing_one_shot_message_changes_nothing(visitor, client, user, send):
    send("Stays")
    before = mailbox_rows(user)
    dismiss = address("message_dismiss")

    for browser in (visitor, client):
        fragment = browser.get(dismiss, headers=HTMX)
        assert (fragment.status_code, fragment.content) == (200, b"")
        assert browser.get(dismiss)["Location"] == INBOX
        assert browser.get(dismiss, {"next": "/project/"})["Location"] == "/project/"

    assert mailbox_rows(user) == before


# Redirects


EVIL = [
    "https://evil.example",
    "http://evil.example/messages/",
    "//evil.example/x",
    "///evil.example/x",
    "////evil.example/x",
    "\\\\evil.example",
    "/\\evil.example",
    "http:///evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    " javascript:alert(1)",
    "\x08//evil.example",
    "data:text/html,x",
    "http://testserver@evil.example/",
    "https:/\t/testserver/evil/",
    "/\n/testserver/evil/",
    "http://[evil",
]


@pytest.mark.parametrize("wanted", EVIL)
def test_unsafe_next_is_ignored(client, send, wanted):
    message = send("Hello")

    assert ask(client, "get", "message_dismiss", next=wanted)["Location"] == INBOX
    in_body = ask(client, "post", "message_mark_read", message, data={"next": wanted})
    in_query = ask(client, "post", "message_mark_read", message, next=wanted)
    assert in_body["Location"] == in_query["Location"] == INBOX

    page = ask(client, "get", "message_mark_read", message, next=wanted)
    (form,) = soup(page).select(".pm-form")
    assert INBOX in [e["href"] for e in soup(form).select("a")]
    assert "evil" not in str(form)
    assert "script" not in str(form)


@pytest.mark.parametrize("name", [name for name in CHANGING if name != "message_open"])
def test_each_action_ignores_unsafe_next(client, send, name):
    for wanted in ("//evil.example/x", "https://evil.example/"):
        message = send("Hello")
        data = prepare(name, message)
        assert ask(client, "post", name, message, data={**data, "next": wanted})["Location"] == (
            INBOX
        )
    for wanted in ("/project/?tab=2#x", "http://testserver/project/", "?before=7"):
        message = send("Hello")
        data = prepare(name, message)
        response = ask(client, "post", name, message, data={**data, "next": wanted})
        assert response["Location"] == wanted
    for wanted in ("//evil.example/x", "https://evil.example/") if name in ASKING else ():
        (form,) = soup(ask(client, "get", name, message, next=wanted)).select(".pm-form")
        assert "evil" not in str(form)


def test_referer_is_ignored(client, send):
    headers = {"Referer": "https://evil.example/x"}

    response = ask(client, "post", "message_mark_read", send("Hello"), headers)

    assert response["Location"] == INBOX


def test_https_request_does_not_redirect_to_http(client, send):
    wanted = "http://testserver/project/"

    response = client.post(
        address("message_mark_read", send("Hello")), {"next": wanted}, secure=True
    )

    assert response["Location"] == INBOX


# Names


def test_url_names_are_those_of_2011():
    """They have no namespace."""
    assert reverse("message_detail", args=[7]).endswith("/detail/7/")
    assert reverse("message_mark_read", kwargs={"message_id": 7}).endswith("/mark_read/7/")
    assert reverse("message_mark_all_read").endswith("/mark_read/all/")
    assert reverse("message_delete", kwargs={"message_id": 7}).endswith("/delete/message/7/")
    assert reverse("message_delete_all").endswith("/delete/all/")
    assert persistent_messages.INFO == 120


# Error pages


@pytest.mark.parametrize("name", ["message_detail", "message_delete", "message_reply"])
def test_unknown_and_foreign_message_get_same_error_page(client, other, send, name):
    theirs = send("Theirs", to=other)
    paths = [reverse(name, args=[key]) for key in (theirs.pk, theirs.pk + 1000)]

    foreign, unknown = (client.get(path) for path in paths)

    assert foreign.status_code == unknown.status_code == 404
    assert "Northbank" in foreign.text
    assert [text_of(e) for e in soup(foreign).select("h1")] == ["Page not found"]
    (inbox,) = [e for e in soup(foreign).select(".pm-btn") if text_of(e) == "Inbox"]
    assert inbox["href"] == reverse("message_list")
    assert soup(foreign).select(".pm-frame") == soup(unknown).select(".pm-frame")
    assert "no-store" in foreign["Cache-Control"]


def test_htmx_request_for_unknown_message_gets_no_page(client):
    answer = client.get(reverse("message_detail", args=[99]), headers=HTMX)

    assert answer.status_code == 404
    assert "pm-frame" not in answer.text


@pytest.mark.parametrize(
    ("path", "headers", "is_ours"),
    [("/messages/delete/all/", {}, True), ("/messages/delete/all/", HTMX, False)],
)
def test_expired_csrf_token_shows_error_page_with_retry(user, settings, path, headers, is_ours):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    answer = browser.post(path, headers=headers)

    assert answer.status_code == 403
    assert ("This form has expired." in answer.text) == ("Northbank" in answer.text) == is_ours
    if is_ours:
        (again,) = [e for e in soup(answer).select(".pm-btn") if text_of(e) == "Try again"]
        assert again["href"] == path


def test_other_pages_keep_csrf_failure_view_of_django(rf):
    request = rf.post("/log-in/")
    request.resolver_match = resolve("/log-in/")

    answer = csrf_failure(request)

    assert answer.status_code == 403
    assert "CSRF verification failed" in answer.text


def test_sentence_with_time_ends_with_one_full_stop(client, send):
    message = send("Look here.", expires=datetime(2999, 1, 1, 16, tzinfo=timezone.utc))
    page = client.get(reverse("message_detail", args=[message.pk]))
    assert "Expires on Jan. 1, 2999, 4 p.m.</p>" in page.text
