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
def no_queries_in_event_loop(monkeypatch):
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
def test_visitor_sees_cookie_messages_once(ask_as_visitor, url):
    ask_as_visitor("/add/?text=One&text=Two")
    assert "<b>One</b><b>Two</b>" in ask_as_visitor(url).text
    assert "<b>" not in ask_as_visitor(url).text


def test_session_messages_wait_for_page_that_can_read_session(ask_as_visitor):
    long = "".join(chr(0x4E00 + number * 7 % 20000) for number in range(3000))
    ask_as_visitor("/add/", query_params={"text": ["One", long]})
    shown = [ask_as_visitor("/loop/").text, ask_as_visitor("/in_a_thread/").text]
    assert "".join(shown).count("One") == "".join(shown).count(long) == 1
    assert ask_as_visitor("/in_a_thread/").text == ""


def test_visitor_sees_messages_of_same_request(ask_as_visitor):
    assert ask_as_visitor("/add_and_loop/").text == "<b>Added</b>"
    assert ask_as_visitor("/loop/").text == ""


def test_plain_pages_setting_may_access_user(ask_as_visitor, settings):
    settings.PERSISTENT_MESSAGES = {"PLAIN_PAGES": lambda request: request.user.is_staff}
    ask_as_visitor("/add/?text=One")
    assert "One" in ask_as_visitor("/parts/").text
    assert "One" not in ask_as_visitor("/parts/").text


def test_bool_and_len_consume_nothing(ask_as_visitor):
    ask_as_visitor("/add/?text=One")
    assert ask_as_visitor("/asked/").json() == {"bool": True, "len": 1, "used": False}
    assert ask_as_visitor("/loop/").text == "<b>One</b>"


# A user


@pytest.mark.parametrize("url", ["/loop/", "/getter/", "/parts/", "/known/"])
def test_database_messages_are_not_read_in_event_loop(ask, send, url):
    send("Kept")
    ask("/add/?text=Once")
    response = ask(url)
    assert response.status_code == 200
    assert "Kept" not in response.text
    assert "Once" not in response.text
    assert ask("/in_a_thread/").text == "<b>Once</b><b>Kept</b>"
    assert ask("/in_a_thread/").text == "<b>Kept</b>"


def test_user_sees_messages_of_same_request_once(ask, send):
    send("Kept")
    assert ask("/add_and_loop/").text == "<b>Added</b>"
    assert not Message.objects.filter(level=messages.INFO).exists()
    assert ask("/in_a_thread/").text == "<b>Kept</b>"


def test_messages_of_failed_page_are_shown_again(ask):
    ask("/add/?text=Once")
    ask("/failing/")
    assert ask("/in_a_thread/").text == "<b>Once</b>"


def test_counter_and_bell_are_omitted_without_aload(ask, send):
    send("Kept")
    response = ask("/parts/")
    assert "<h1>A page</h1>" in response.text
    assert soup(response).select(".pm-bell") == soup(response).select(".pm-unread") == []


def test_page_without_our_parts_takes_no_query(ask, send):
    send("Kept")
    with CaptureQueriesContext(connection) as queries:
        assert ask("/plain/").text == "<h1>A page</h1>/plain/"
    assert len(queries) == 0


def test_count_in_event_loop_raises_error(ask):
    with pytest.raises(SynchronousOnlyOperation):
        ask("/counted/")


def test_part_rendered_in_thread_has_all_messages(ask, send):
    send("Kept")
    ask("/add/?text=Once")
    first, second = ask("/both/").text.split("|")
    assert (first, second) == ("", "<b>Once</b><b>Kept</b>")
    assert ask("/in_a_thread/").text == "<b>Kept</b>"


# Loading in a view


def test_page_with_aload_has_counter_bell_and_strip(ask, send):
    send("Kept")
    ask("/add/?text=Once")
    response = ask("/loaded/")
    assert len(soup(response).select(".pm-bell")) == 1
    assert texts(response, ".pm-unread")
    assert "Kept" in response.text
    assert "Once" in response.text
    assert ask("/in_a_thread/").text == "<b>Kept</b>"


def test_get_nonpersistent_works_after_aload(ask, ask_as_visitor, send):
    send("Kept")
    ask("/add/?text=Once&text=Twice")
    assert ask("/loaded_getter/").text == "<b>Once</b><b>Twice</b><b>Added</b>"
    assert ask("/loaded_loop/").text == "<b>Kept</b>"
    ask_as_visitor("/add/?text=Once")
    assert ask_as_visitor("/loaded_getter/").text == "<b>Once</b><b>Added</b>"
    assert ask_as_visitor("/loaded_loop/").text == ""


def test_counts_work_after_aload(ask, ask_as_visitor, send):
    send("Kept")
    ask("/add/?text=Once")
    assert ask("/loaded_counts/").text == ("3 1 2, then <b>Once</b><b>Kept</b><b>Added</b>1 1 0")
    ask_as_visitor("/add/?text=Once")
    assert ask_as_visitor("/loaded_counts/").text == "2 0 2, then <b>Once</b><b>Added</b>0 0 0"


def test_get_nonpersistent_can_be_iterated_asynchronously(ask, send):
    send("Kept")
    ask("/add/?text=Once")
    assert ask("/getter_in_code/").text == "<b>Once</b>"
    assert ask("/loaded_loop/").text == "<b>Kept</b>"


def test_aload_consumes_nothing(ask, rf, user, send):
    send("Once", messages.INFO)
    request = rf.get("/")
    request.user = user
    async_to_sync(persistent_messages.aload)(request)  # without any storage
    ask("/add/?text=Twice")
    assert ask("/loaded_loop/").text == "<b>Once</b><b>Twice</b>"
    assert ask("/loaded_loop/").text == ""


def test_query_count_of_aload_equals_synchronous_page(ask, send):
    send("Kept")
    with CaptureQueriesContext(connection) as queries:
        ask("/loaded/")
    assert len(queries) == 4  # session, user, counter, strip


def test_deletions_are_tracked_per_request(ask, rf, user, send):
    PersistentMessageStorage(rf.get("/"))  # an earlier request of this thread
    remember_deleted(user)
    send("Kept")
    assert ask("/loaded_loop/").text == "<b>Kept</b>"


def test_aload_for_visitor_takes_no_query_of_ours(ask_as_visitor):
    ask_as_visitor("/add/?text=One")
    with CaptureQueriesContext(connection) as queries:
        assert ask_as_visitor("/loaded_loop/").text == "<b>One</b>"
    assert len(queries) == 1  # the session


# The async client, as sites test with it


def test_messages_added_by_async_view_can_be_asserted(ask):
    response = ask("/add/?text=One&text=Two")
    assert list(messages.get_messages(response.asgi_request)) == [
        ContribMessage(messages.INFO, "One"),
        ContribMessage(messages.INFO, "Two"),
    ]
    assert ask("/in_a_thread/").text == "<b>One</b><b>Two</b>"
    assert ask("/in_a_thread/").text == ""
