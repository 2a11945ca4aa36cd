"""Pages that an async view renders in the event loop, where queries are not allowed."""

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib import messages
from django.contrib.messages import Message as ContribMessage
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.template import engines
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

import persistent_messages
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage
from persistent_messages.users.accounts import remember_deleted
from tests.pages import soup, texts

LOOP = "{% if messages %}{% for message in messages %}<b>{{ message }}</b>{% endfor %}{% endif %}"
PARTS = """{% load persistent_messages %}<h1>A page</h1>
{% include "persistent_messages/message/includes/bell.html" %}
<p>{% unread_counter %}</p>
{% include "persistent_messages/message/includes/messages.html" %}"""
GETTER = "{% for message in messages.get_nonpersistent %}<b>{{ message }}</b>{% endfor %}"
PLAIN = "<h1>A page</h1>{{ request.path }}"


def rendered(request, source):
    return HttpResponse(engines["django"].from_string(source).render(request=request))


async def add(request):
    for text in request.GET.getlist("text"):
        messages.info(request, text)
    return HttpResponseRedirect("/loop/")


async def loop(request):
    return rendered(request, LOOP)


async def add_and_loop(request):
    messages.info(request, "Added")
    return rendered(request, LOOP)


async def parts(request):
    return rendered(request, PARTS)


async def getter(request):
    return rendered(request, GETTER)


async def plain(request):
    return rendered(request, PLAIN)


async def loaded(request):
    await persistent_messages.aload(request)
    return rendered(request, PARTS)


async def loaded_getter(request):
    await persistent_messages.aload(request)
    messages.info(request, "Added")
    return rendered(request, GETTER)


async def getter_in_code(request):
    """Iterate as an async view iterates over a QuerySet."""
    await request.auser()
    return HttpResponse(
        "".join([f"<b>{m}</b>" async for m in request._messages.get_nonpersistent()])
    )


COUNTS = (
    "{{ messages.count_unread }} {{ messages.count_persistent_unread }} "
    "{{ messages.count_nonpersistent }}"
)


async def loaded_counts(request):
    await persistent_messages.aload(request)
    messages.info(request, "Added")
    before = rendered(request, COUNTS).text
    return HttpResponse(f"{before}, then {rendered(request, LOOP + COUNTS).text}")


async def loaded_loop(request):
    await persistent_messages.aload(request)
    return rendered(request, LOOP)


async def known(request):
    """A view that has loaded its user, as Django's documentation recommends."""
    user = await request.auser()
    return rendered(request, f"{user.get_username()}: {LOOP}")


async def asked(request):
    storage = request._messages
    return JsonResponse({"bool": bool(storage), "len": len(storage), "used": storage.used})


async def counted(request):
    return HttpResponse(str(request._messages.count_persistent_unread()))


def in_a_thread(request):
    return rendered(request, LOOP)


async def both(request):
    """Render a part in the loop, and one in a thread."""
    first = rendered(request, LOOP)
    second = await sync_to_async(rendered)(request, LOOP)
    return HttpResponse(f"{first.text}|{second.text}")


async def failing(request):
    rendered(request, LOOP)
    return HttpResponse(status=503)


VIEWS = [
    *(add, loop, add_and_loop, parts, getter, plain, loaded, loaded_loop, known, asked, counted),
    *(in_a_thread, both, failing, loaded_getter, getter_in_code, loaded_counts),
]
urlpatterns = [
    *(path(f"{view.__name__}/", view) for view in VIEWS),
    path("messages/", include("persistent_messages.urls")),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture(autouse=True)
def no_query_in_the_loop(monkeypatch):
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)


@pytest.fixture
def ask(user):
    """Get a page in a browser in which Sally is logged in."""
    browser = AsyncClient()
    browser.force_login(user)
    return lambda url, **kwargs: async_to_sync(browser.get)(url, **kwargs)


@pytest.fixture
def ask_as_visitor(db):
    """Get a page in a browser of a visitor that has a session."""
    browser = AsyncClient()
    session = browser.session
    session["cart"] = 1
    session.save()
    return lambda url, **kwargs: async_to_sync(browser.get)(url, **kwargs)


# A visitor


@pytest.mark.parametrize("url", ["/loop/", "/getter/", "/known/", "/loaded_loop/"])
def test_a_visitor_sees_what_the_cookie_has_once(ask_as_visitor, url):
    ask_as_visitor("/add/?text=One&text=Two")
    assert "<b>One</b><b>Two</b>" in ask_as_visitor(url).text
    assert "<b>" not in ask_as_visitor(url).text


def test_what_a_visitors_session_holds_waits_for_a_page_that_can_read_it(ask_as_visitor):
    long = "".join(chr(0x4E00 + number * 7 % 20000) for number in range(3000))
    ask_as_visitor("/add/", query_params={"text": ["One", long]})
    shown = [ask_as_visitor("/loop/").text, ask_as_visitor("/in_a_thread/").text]
    assert "".join(shown).count("One") == "".join(shown).count(long) == 1
    assert ask_as_visitor("/in_a_thread/").text == ""


def test_a_visitor_sees_what_is_added(ask_as_visitor):
    assert ask_as_visitor("/add_and_loop/").text == "<b>Added</b>"
    assert ask_as_visitor("/loop/").text == ""


def test_a_site_may_ask_for_the_user_to_know_a_plain_page(ask_as_visitor, settings):
    settings.PERSISTENT_MESSAGES = {"PLAIN_PAGES": lambda request: request.user.is_staff}
    ask_as_visitor("/add/?text=One")
    assert "One" in ask_as_visitor("/parts/").text
    assert "One" not in ask_as_visitor("/parts/").text


def test_asking_consumes_nothing(ask_as_visitor):
    ask_as_visitor("/add/?text=One")
    assert ask_as_visitor("/asked/").json() == {"bool": True, "len": 1, "used": False}
    assert ask_as_visitor("/loop/").text == "<b>One</b>"


# A user


@pytest.mark.parametrize("url", ["/loop/", "/getter/", "/parts/", "/known/"])
def test_what_waits_in_the_database_stays_there(ask, send, url):
    send("Kept")
    ask("/add/?text=Once")
    response = ask(url)
    assert response.status_code == 200
    assert "Kept" not in response.text
    assert "Once" not in response.text
    assert ask("/in_a_thread/").text == "<b>Once</b><b>Kept</b>"
    assert ask("/in_a_thread/").text == "<b>Kept</b>"


def test_a_user_sees_what_is_added_and_sees_it_once(ask, send):
    send("Kept")
    assert ask("/add_and_loop/").text == "<b>Added</b>"
    assert not Message.objects.filter(level=messages.INFO).exists()
    assert ask("/in_a_thread/").text == "<b>Kept</b>"


def test_what_a_failed_page_showed_is_shown_again(ask):
    ask("/add/?text=Once")
    ask("/failing/")
    assert ask("/in_a_thread/").text == "<b>Once</b>"


def test_counter_and_bell_are_left_out_where_nobody_is_loaded(ask, send):
    send("Kept")
    response = ask("/parts/")
    assert "<h1>A page</h1>" in response.text
    assert soup(response).select(".pm-bell") == soup(response).select(".pm-unread") == []


def test_a_page_without_our_parts_costs_nothing(ask, send):
    send("Kept")
    with CaptureQueriesContext(connection) as queries:
        assert ask("/plain/").text == "<h1>A page</h1>/plain/"
    assert len(queries) == 0


def test_who_asks_in_code_gets_an_error_and_not_none(ask):
    with pytest.raises(SynchronousOnlyOperation):
        ask("/counted/")


def test_a_part_that_a_thread_renders_has_all(ask, send):
    send("Kept")
    ask("/add/?text=Once")
    first, second = ask("/both/").text.split("|")
    assert (first, second) == ("", "<b>Once</b><b>Kept</b>")
    assert ask("/in_a_thread/").text == "<b>Kept</b>"


# Loading in a view


def test_a_page_that_loads_has_counter_bell_and_strip(ask, send):
    send("Kept")
    ask("/add/?text=Once")
    response = ask("/loaded/")
    assert len(soup(response).select(".pm-bell")) == 1
    assert texts(response, ".pm-unread")
    assert "Kept" in response.text
    assert "Once" in response.text
    assert ask("/in_a_thread/").text == "<b>Kept</b>"


def test_a_page_that_loads_has_the_getter_of_2011(ask, ask_as_visitor, send):
    send("Kept")
    ask("/add/?text=Once&text=Twice")
    assert ask("/loaded_getter/").text == "<b>Once</b><b>Twice</b><b>Added</b>"
    assert ask("/loaded_loop/").text == "<b>Kept</b>"
    ask_as_visitor("/add/?text=Once")
    assert ask_as_visitor("/loaded_getter/").text == "<b>Once</b><b>Added</b>"
    assert ask_as_visitor("/loaded_loop/").text == ""


def test_a_page_that_loads_has_the_counts_of_the_storage(ask, ask_as_visitor, send):
    send("Kept")
    ask("/add/?text=Once")
    assert ask("/loaded_counts/").text == ("3 1 2, then <b>Once</b><b>Kept</b><b>Added</b>1 1 0")
    ask_as_visitor("/add/?text=Once")
    assert ask_as_visitor("/loaded_counts/").text == "2 0 2, then <b>Once</b><b>Added</b>0 0 0"


def test_a_view_reads_the_getter_without_loading(ask, send):
    send("Kept")
    ask("/add/?text=Once")
    assert ask("/getter_in_code/").text == "<b>Once</b>"
    assert ask("/loaded_loop/").text == "<b>Kept</b>"


def test_loading_hands_nothing_out(ask, rf, user, send):
    send("Once", messages.INFO)
    request = rf.get("/")
    request.user = user
    async_to_sync(persistent_messages.aload)(request)  # without any storage
    ask("/add/?text=Twice")
    assert ask("/loaded_loop/").text == "<b>Once</b><b>Twice</b>"
    assert ask("/loaded_loop/").text == ""


def test_loading_costs_what_a_page_costs(ask, send):
    send("Kept")
    with CaptureQueriesContext(connection) as queries:
        ask("/loaded/")
    assert len(queries) == 4  # session, user, counter, strip


def test_each_request_has_its_own_deletions(ask, rf, user, send):
    PersistentMessageStorage(rf.get("/"))  # an earlier request of this thread
    remember_deleted(user)
    send("Kept")
    assert ask("/loaded_loop/").text == "<b>Kept</b>"


def test_a_visitor_who_loads_costs_no_query_of_ours(ask_as_visitor):
    ask_as_visitor("/add/?text=One")
    with CaptureQueriesContext(connection) as queries:
        assert ask_as_visitor("/loaded_loop/").text == "<b>One</b>"
    assert len(queries) == 1  # the session


# The async client, as sites test with it


def test_what_an_async_view_added_can_be_asserted(ask):
    response = ask("/add/?text=One&text=Two")
    assert list(messages.get_messages(response.asgi_request)) == [
        ContribMessage(messages.INFO, "One"),
        ContribMessage(messages.INFO, "Two"),
    ]
    assert ask("/in_a_thread/").text == "<b>One</b><b>Two</b>"
    assert ask("/in_a_thread/").text == ""
