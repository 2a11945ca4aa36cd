"""A site while its database cannot be reached: its pages, its messages and its logs.

The tests use real connections that cannot be opened, or break during a request. On SQLite, the file
is missing. Sessions are not in the database, unless a test says so.
"""

import re
from contextlib import nullcontext

import pytest
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.messages import SUCCESS
from django.db import (
    DatabaseError,
    Error,
    InterfaceError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.http import HttpResponse, JsonResponse
from django.template import engines
from django.test import RequestFactory
from django.urls import include, path, reverse

import persistent_messages
from persistent_messages.db import outage
from persistent_messages.models import Message
from tests.databases import break_connection, replaced_database, unreachable_database
from tests.pages import ALL, ANYBODYS, HTMX, MODES, browser_of, fill, soup, text_of

LOGGER = "persistent_messages.db.outage"
HEADING = "The inbox is temporarily unavailable"
PAGE = """{% load persistent_messages %}<h1>A page</h1>
{% include "persistent_messages/message/includes/bell.html" %}
<p>{% unread_counter %}</p>
{% include "persistent_messages/message/includes/messages.html" %}"""


# A small site


def show(request, status=200):
    template = engines["django"].from_string(PAGE)
    return HttpResponse(template.render(request=request), status=status)


def page(request):
    """Show messages, after adding what is asked for."""
    say(request)
    return show(request)


def say(request):
    """Add a message, and show none."""
    for text in request.GET.getlist("say"):
        messages.success(request, text, extra_tags=request.GET.get("tags", ""))
    return HttpResponse("Said.")


def tags(request):
    """Show messages by text and tags."""
    return JsonResponse([[str(m), m.tags] for m in request._messages], safe=False)


def failing(request):
    """Show what is said with an answer that says that the server failed."""
    say(request)
    return show(request, status=500)


def loop(request):
    """Show messages as the manual of Django does."""
    say(request)
    template = engines["django"].from_string(
        "{% if messages %}{% for message in messages %}<b>{{ message }}</b>{% endfor %}{% endif %}"
    )
    return HttpResponse(template.render(request=request))


def keep(request):
    """Add a persistent message; say why it could not be."""
    try:
        persistent_messages.info(request, "Kept")
    except (OperationalError, InterfaceError):
        return HttpResponse("not kept")
    return HttpResponse("kept")


def count(request):
    return HttpResponse(str(request._messages.count_persistent_unread()))


def listing(request):
    return HttpResponse(str(list(request._messages.get_persistent())))


def listing_once(request):
    return HttpResponse(str(list(request._messages.get_nonpersistent())))


def in_transaction(request):
    with transaction.atomic():
        request.user.get_username()
        break_connection(connections["default"])
        return show(request)


def cut_before(view):
    """Lose the database when it has said who the user is, and before the rest."""

    def wrapped(request):
        request.user.get_username()
        break_connection(connections["default"])
        return view(request)

    return wrapped


def cut_after(view):
    """Lose the database when the page is made, and before the end of the response."""

    def wrapped(request):
        response = view(request)
        break_connection(connections["default"])
        return response

    return wrapped


VIEWS = [page, say, tags, failing, loop, keep, count, listing, listing_once, in_transaction]
urlpatterns = [
    *(path(f"{view.__name__}/", view) for view in VIEWS),
    *(path(f"before/{view.__name__}/", cut_before(view)) for view in VIEWS),
    *(path(f"after/{view.__name__}/", cut_after(view)) for view in VIEWS),
    path("log-in/", page, name="login"),
    path("messages/", include("persistent_messages.urls")),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def site(settings):
    """A site that gets along without the database."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]


@pytest.fixture
def logged(caplog):
    """What our log says, warnings and above."""
    return lambda: [r.getMessage() for r in caplog.records if r.name.startswith("persistent")]


def during_outage(browser, url, when="all along", **kwargs):
    """The answer to a request that loses the database before the view, or at its end."""
    if when == "all along":
        with unreachable_database():
            return browser.get(f"/{url}", **kwargs)
    with replaced_database():
        return browser.get(f"/{when}/{url}", **kwargs)


def shown_on(response):
    """What a page says this once, in its order."""
    return re.findall("<bdi>(Saved|Sent|Waiting)</bdi>", response.text)


WHEN = pytest.mark.parametrize("when", ["all along", "before"])


# Pages that still work


@WHEN
@pytest.mark.parametrize("engine", ["signed_cookies", "db"])
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_page_is_rendered_without_counter_and_strip(user, when, headers, engine, settings, logged):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    browser = browser_of(user)
    fill(user, 3)

    response = during_outage(browser, "page/", when, headers=headers)

    assert response.status_code == 200
    assert "<h1>A page</h1>" in response.text
    assert "Number" not in response.text
    # The counter is empty, rather than 0.
    assert soup(response).select(".pm-unread") == []
    assert logged() == [f"The database does not answer at {response.wsgi_request.path}."]


@WHEN
def test_bell_is_shown_if_user_is_known(client, when):
    bells = soup(during_outage(client, "page/", when)).select(".pm-bell")

    assert len(bells) == (when == "before")


@WHEN
def test_message_loop_shows_messages_of_same_request(client, user, when):
    fill(user, 3)

    response = during_outage(client, "loop/?say=Saved", when)

    assert response.text == "<b>Saved</b>"


def test_visitor_is_not_affected(visitor, logged):
    with unreachable_database():
        visitor.get("/say/?say=Saved")
        response = visitor.get("/page/")

    assert shown_on(response) == ["Saved"]
    assert shown_on(visitor.get("/page/")) == []
    assert logged() == []


def test_outage_is_logged_with_exception(client, caplog):
    during_outage(client, "page/")

    (record,) = [r for r in caplog.records if r.name == LOGGER]
    assert record.levelname == "ERROR"
    assert isinstance(record.exc_info[1], OperationalError)


# Nothing that was queued is lost


@WHEN
@pytest.mark.parametrize("engine", ["signed_cookies", "cache", "db"])
def test_unstored_message_is_shown_once_on_next_page(user, when, engine, settings, logged):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    browser = browser_of(user)

    assert during_outage(browser, "say/?say=Saved", when).status_code == 200

    assert len(logged()) == 1
    assert shown_on(browser.get("/page/")) == ["Saved"]
    assert shown_on(browser.get("/page/")) == []
    assert not Message.objects.exists()
    assert "messages" not in {k for k, morsel in browser.cookies.items() if morsel.value}


@WHEN
def test_unstored_message_too_long_for_cookie_goes_to_session(user, when, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    browser = browser_of(user)
    text = "".join(chr(0x4E00 + number * 7 % 20000) for number in range(3000))

    with unreachable_database() if when == "all along" else replaced_database():
        browser.post("/say/" if when == "all along" else "/before/say/", query_params={"say": text})

    assert text in browser.get("/page/").text
    assert text not in browser.get("/page/").text


@WHEN
def test_unstored_messages_of_several_requests_accumulate(client, user, when):
    fill(user, 1, level=SUCCESS, folder=0, message="Waiting")
    during_outage(client, "say/?say=Saved", when)
    during_outage(client, "say/?say=Sent", when)

    assert shown_on(client.get("/page/")) == ["Saved", "Sent", "Waiting"]
    assert shown_on(client.get("/page/")) == []


def test_unstored_message_shown_during_outage_is_gone(client):
    during_outage(client, "say/?say=Saved", "before")

    assert shown_on(during_outage(client, "page/?say=Sent", "before")) == ["Saved", "Sent"]
    assert shown_on(client.get("/page/")) == []


def test_unstored_message_waits_until_user_is_known(client):
    during_outage(client, "say/?say=Saved")

    assert shown_on(during_outage(client, "page/?say=Sent")) == ["Sent"]
    assert shown_on(client.get("/page/")) == ["Saved"]
    assert shown_on(client.get("/page/")) == []


@WHEN
def test_unstored_message_of_error_response_is_shown_again(client, when):
    during_outage(client, "say/?say=Saved", when)
    during_outage(client, "failing/?say=Sent", when)

    assert shown_on(client.get("/page/")) == ["Saved", "Sent"]


def test_shown_message_that_could_not_be_removed_is_shown_again(client, user, logged):
    fill(user, 1, level=SUCCESS, folder=0, message="Waiting")

    response = during_outage(client, "page/", "after")

    assert response.status_code == 200
    assert shown_on(response) == ["Waiting"]
    assert len(logged()) == 1
    assert shown_on(client.get("/page/")) == ["Waiting"]
    assert shown_on(client.get("/page/")) == []


@pytest.mark.parametrize("url", ["keep/", "before/keep/"])
def test_unstorable_persistent_message_raises_error(client, url):
    with unreachable_database() if url == "keep/" else replaced_database():
        response = client.get(f"/{url}")

    assert response.text == "not kept"


# Nothing is shown to other users


@WHEN
def test_unstored_message_is_not_shown_to_next_user(client, user, other, when):
    during_outage(client, "say/?say=Saved", when)

    client.force_login(other)
    assert shown_on(client.get("/page/?say=Sent")) == ["Sent"]
    assert shown_on(client.get("/loop/")) == []
    client.force_login(user)

    assert shown_on(client.get("/page/")) == ["Saved"]
    assert shown_on(client.get("/page/")) == []


@WHEN
def test_unstored_message_is_not_shown_to_visitor(client, user, when):
    during_outage(client, "say/?say=Saved", when)

    del client.cookies["sessionid"]
    client.get("/say/?say=Sent")
    assert shown_on(client.get("/page/")) == ["Sent"]
    assert shown_on(client.get("/page/")) == []
    client.force_login(user)

    assert shown_on(client.get("/page/")) == ["Saved"]


def test_unstored_message_keeps_its_tags(client):
    during_outage(client, "say/?say=Saved&tags=big", "before")

    (message,) = client.get("/tags/").json()
    assert message == ["Saved", "big success"]


# Errors that are not ignored


@pytest.mark.parametrize("url", ["count/", "listing/", "listing_once/"])
@WHEN
def test_getters_and_counts_raise_database_error(client, url, when):
    with pytest.raises((OperationalError, InterfaceError)):
        during_outage(client, url, when)


def test_outage_in_transaction_of_caller_is_raised(client, logged):
    with pytest.raises(Error), replaced_database():
        client.get("/in_transaction/")

    assert logged() == []


@pytest.mark.parametrize("url", ["/page/", "/say/?say=Saved"])
def test_other_database_error_is_raised(client, url, logged):
    table = Message._meta.db_table
    with connection.schema_editor() as editor:
        editor.alter_db_table(Message, table, "elsewhere")
    try:
        with pytest.raises(DatabaseError):
            client.get(url)
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(Message, "elsewhere", table)

    assert logged() == []


# The pages of the inbox

PLACES = {"message_id": 1, "block_id": 1, "token": "x"}
ADDRESSES = {name: {key: PLACES[key] for key in takes} for name, takes in ALL.items()}


@pytest.mark.django_db
def test_error_page_uses_base_template_of_site(client, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    client.force_login(get_user_model().objects.create(username="with a cookie"))
    with unreachable_database():
        response = client.get("/messages/?box=archive")

    assert response.status_code == 503
    assert "Skip to content" in response.text
    (again,) = [link for link in soup(response).select("a") if text_of(link) == "Try again"]
    assert again["href"] == "/messages/?box=archive"


@pytest.mark.django_db  # no second connection needs to see the rows
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [name for name in ADDRESSES if name not in ANYBODYS])
def test_each_inbox_url_returns_503_page(client, name, mode, logged):
    url = reverse(name, kwargs=ADDRESSES[name])
    with unreachable_database():
        response = client.get(url, headers=MODES[mode])

    assert response.status_code == 503
    assert [text_of(heading) for heading in soup(response).select("h1")] == [HEADING]
    # No version of htmx swaps it into a part of the page.
    assert response["HX-Reswap"] == "none"
    assert "no-store" in response["Cache-Control"]
    assert logged() == [f"The database does not answer at {url}."]


@pytest.mark.parametrize(
    ("name", "headers"), [("message_list", {}), ("message_list", HTMX), ("message_news", HTMX)]
)
def test_outage_during_view_returns_503(client, name, headers, settings, logged):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.cut_before"]

    with replaced_database():
        response = client.get(f"{reverse(name)}?after=1&pm-fragment=part", headers=headers)

    assert response.status_code == 503
    assert len(logged()) == 1


@pytest.mark.parametrize("name", [name for name in ANYBODYS if not ALL[name]])
def test_url_without_query_is_not_affected(client, name):
    with unreachable_database():
        # 204 is the answer of a site without live updates.
        assert client.get(reverse(name), headers=HTMX).status_code in {200, 204}


def test_failed_action_changes_nothing(client, user):
    (key,) = fill(user, 1)
    with unreachable_database():
        response = client.post(reverse("message_delete", args=[key]))

    assert response.status_code == 503
    assert Message.objects.get(pk=key).folder == Message._meta.get_field("folder").default


# The errors that each driver raises in an outage


def outcome_of(error, answers=(OperationalError, InterfaceError), around=nullcontext):
    """Return "lost" if a page continues after a query raised `error`, and "raised" if not."""

    def query():
        with connections["default"].cursor(), connections["default"].wrap_database_errors:
            raise error

    with replaced_database(), around():
        try:
            return outage.fallback_if_unreachable(RequestFactory().get("/"), "x", query, "lost")
        except answers:
            return "raised"


SQLITE = {
    "unable to open database file": "lost",
    "database is locked": "lost",
    "database or disk is full": "lost",
    "disk I/O error": "lost",
    "attempt to write a readonly database": "lost",
    "no such table: persistent_messages_message": "raised",
    "too many SQL variables": "raised",
}
MYSQL = {1053: "lost", 1927: "lost", 2006: "lost", 2013: "lost", 4031: "lost", 1146: "raised"}


def test_only_connection_errors_count_as_outage():
    wrapped = connection.Database.OperationalError
    cases = {
        "sqlite": [(wrapped(words), result) for words, result in SQLITE.items()],
        "mysql": [(wrapped(code, "x"), result) for code, result in MYSQL.items()],
        # The connection is checked, and is still usable.
        "postgresql": [(wrapped("column does not exist"), "raised")],
    }[connection.vendor]

    assert [(error.args, outcome_of(error)) for error, _ in cases] == [
        (error.args, result) for error, result in cases
    ]


def test_error_in_transaction_does_not_count_as_outage():
    arguments = {"sqlite": ["database is locked"], "mysql": [2006, "x"], "postgresql": ["x"]}
    error = connection.Database.OperationalError(*arguments[connection.vendor])

    assert outcome_of(error, around=transaction.atomic) == "raised"
