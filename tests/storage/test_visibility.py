"""One-shot messages are shown to a person, in the browser that queued them."""

import copy
import pickle
from datetime import timedelta
from unittest.mock import MagicMock

import pytest
from django.contrib import auth, messages
from django.contrib.auth import get_user_model
from django.db import connection
from django.http import (
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.test import Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import timezone

import persistent_messages
from persistent_messages.http.visibility import is_shown_to_person
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage
from tests.databases import close_response


def add(request):
    messages.info(request, request.GET.get("text", "Once"))
    return HttpResponseRedirect("/show/")


def show(request):
    return JsonResponse({"shown": [str(message) for message in request._messages]})


def missing(request):
    """Show messages on the page that says that there is none, as sites do."""
    return JsonResponse({"shown": [str(m) for m in request._messages]}, status=404)


def getter(request):
    return JsonResponse({"shown": [str(m) for m in request._messages.get_nonpersistent()]})


def count(request):
    return JsonResponse({"count": request._messages.count_nonpersistent()})


def swapped(request):
    """Answer htmx with messages, and with what the test asks for."""
    response = show(request)
    response.status_code = int(request.GET.get("status", 200))
    for name in request.GET.getlist("header"):
        response[name] = "/show/"
    return response


def add_for_oneself(request):
    request._messages.add(messages.INFO, "Mine", user=request.user)
    return HttpResponse()


def add_and_show(request):
    messages.info(request, "Added")
    return show(request)


def stream(request):
    shown = [str(message) for message in request._messages]
    return StreamingHttpResponse(iter(shown))


def impersonate(request, name):
    """Sign staff in as a customer, as django-loginas does."""
    messages.warning(request, f"Your login is now switched to {name}")
    assert request.user.is_authenticated
    if "log_out" in request.GET:
        auth.logout(request)
    auth.login(request, get_user_model().objects.get(username=name))
    return HttpResponseRedirect("/show/")


def impersonate_as_packages_do(request, key, name):
    """Take the place of a user as django-hijack, django-loginas or django-impersonate do."""
    if key == "_impersonate":
        request.session[key] = name
    else:
        auth.login(request, get_user_model().objects.get(username=name))
        request.session[key] = "harry"
    return HttpResponse()


def swap_user(get_response):
    """Replace the user of the session, as the middleware of django-impersonate does."""

    def middleware(request):
        if name := request.session.get("_impersonate"):
            request.user = get_user_model().objects.get(username=name)
        return get_response(request)

    return middleware


def leave(request):
    auth.logout(request)
    return HttpResponse("out")


VIEWS = [show, swapped, add_for_oneself, add, missing, getter, count, add_and_show, stream, leave]
urlpatterns = [
    *(path(f"{view.__name__}/", view) for view in VIEWS),
    path("impersonate/<name>/", impersonate),
    path("impersonate/<key>/<name>/", impersonate_as_packages_do),
    path("messages/", include("persistent_messages.urls")),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]

# The headers with which browsers and htmx mark requests whose response nobody sees.
UNSEEN = {
    "prefetch": {"Sec-Purpose": "prefetch"},
    "prerender": {"Sec-Purpose": "prefetch;prerender"},
    "private prefetch": {"Sec-Purpose": "prefetch;anonymous-client-ip"},
    "Safari": {"Purpose": "prefetch"},
    "capitals": {"Purpose": "Prefetch"},
    "Firefox of old": {"X-Moz": "prefetch"},
    "preview": {"X-Purpose": "preview"},
    "preloaded": {"HX-Request": "true", "HX-Preloaded": "true"},
    "image": {"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors"},
    "script": {"Sec-Fetch-Dest": "script"},
    "style": {"Sec-Fetch-Dest": "style"},
    "font": {"Sec-Fetch-Dest": "font"},
    "video": {"Sec-Fetch-Dest": "video"},
    "worker": {"Sec-Fetch-Dest": "serviceworker"},
    "manifest": {"Sec-Fetch-Dest": "manifest"},
    "beacon": {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "no-cors"},
    "image, browser of old": {"Sec-Fetch-Mode": "no-cors"},
    "image, plain HTTP": {"Accept": "image/avif,image/webp,image/apng,image/*,*/*;q=0.8"},
    "style, plain HTTP": {"Accept": "text/css,*/*;q=0.1"},
    "forged": {"Sec-Fetch-Dest": "\x7f;document"},
}
SEEN = {
    "no header": {},
    "page": {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"},
    "page, plain HTTP": {"Accept": "text/html,application/xhtml+xml,image/avif,*/*;q=0.8"},
    "image as a page": {"Accept": "image/avif,*/*;q=0.8", "Sec-Fetch-Dest": "document"},
    "any client": {"Accept": "*/*"},
    "frame": {"Sec-Fetch-Dest": "iframe"},
    "swap": {
        "Sec-Fetch-Dest": "empty",
        "Sec-Fetch-Mode": "cors",
        "HX-Request": "true",
        "HX-Request-Type": "partial",
    },
    "script that asks": {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "same-origin"},
    "capitals": {"Sec-Fetch-Dest": "Document"},
    "empty header": {"Sec-Fetch-Dest": "", "Sec-Purpose": ""},
    "other purpose": {"Purpose": "navigation"},
    "not preloaded": {"HX-Preloaded": "false"},
}
UNSEEN_ONES = pytest.mark.parametrize("headers", UNSEEN.values(), ids=UNSEEN)


@pytest.fixture(params=["visitor", "client"])
def web(request):
    """The test client, once with nobody and once with Sally logged in."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def second_browser(user):
    """Another browser in which Sally is logged in."""
    browser = Client()
    browser.force_login(user)
    return browser


def shown_to(browser, url="/show/", **kwargs):
    return browser.get(url, **kwargs).json()["shown"]


def age_messages(minutes):
    """Have so much time pass for what waits."""
    Message.objects.update(created=timezone.now() - timedelta(minutes=minutes))


# Responses that a person sees


@pytest.mark.parametrize("headers", SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("url", ["/show/", "/getter/", "/missing/"])
def test_request_seen_by_person_shows_messages(web, headers, url):
    web.get("/add/")
    assert shown_to(web, url, headers=headers) == ["Once"]
    assert shown_to(web) == []


@UNSEEN_ONES
@pytest.mark.parametrize("url", ["/show/", "/getter/", "/missing/"])
def test_unseen_request_shows_and_consumes_no_message(web, headers, url):
    web.get("/add/")
    assert shown_to(web, url, headers=headers) == []
    assert shown_to(web) == ["Once"]
    assert shown_to(web) == []


@pytest.mark.parametrize("url", ["/show/", "/getter/", "/add_and_show/"])
def test_head_request_consumes_no_message(web, url):
    web.get("/add/")
    assert web.head(url).status_code == 200
    added = ["Added"] if "add" in url else []
    assert shown_to(web) == ["Once", *added]
    assert shown_to(web) == []


@UNSEEN_ONES
def test_message_added_in_unseen_request_waits(web, headers):
    assert shown_to(web, "/add_and_show/", headers=headers) == []
    assert shown_to(web) == ["Added"]
    assert shown_to(web) == []


@UNSEEN_ONES
def test_unseen_request_has_persistent_messages(client, send, headers):
    send("Kept")
    assert shown_to(client, headers=headers) == ["Kept"]


@UNSEEN_ONES
def test_counts_are_same_in_unseen_request(web, headers):
    web.get("/add/")
    assert web.get("/count/", headers=headers).json() == {"count": 1}


@UNSEEN_ONES
def test_detail_page_in_unseen_request_does_not_mark_as_read(client, send, headers, settings):
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]
    message = send("Kept")
    client.get(f"/messages/detail/{message.pk}/", headers=headers)
    message.refresh_from_db()
    assert message.read_at is None


def test_message_of_unseen_response_can_be_asserted(web):
    response = web.head("/add/")
    assert [str(message) for message in response.wsgi_request._messages] == ["Once"]
    assert shown_to(web) == ["Once"]


@pytest.mark.parametrize("header", ["HX-Redirect", "HX-Refresh", "HX-Location"])
def test_htmx_redirect_consumes_no_message(web, header):
    """htmx discards the body; the page that it loads next shows the messages."""
    web.get("/add/")
    answer = web.get("/swapped/", {"header": header}, headers={"HX-Request": "true"})
    assert answer.json() == {"shown": ["Once"]}
    assert shown_to(web) == ["Once"]
    assert shown_to(web) == []
    web.get("/add/")
    shown_to(web, "/swapped/", data={"header": header})  # without htmx, the header has no meaning
    assert shown_to(web) == []


@pytest.mark.parametrize("status", [400, 403, 404, 409, 500])
def test_error_discarded_by_htmx_2_consumes_no_message(web, status):
    web.get("/add/")
    web.get("/swapped/", {"status": status}, headers={"HX-Request": "true"})
    assert shown_to(web) == ["Once"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"HX-Request": "true"}),
        (422, {"HX-Request": "true"}),
        (404, {"HX-Request": "true", "HX-Request-Type": "partial"}),
        (404, {}),
    ],
)
def test_error_swapped_in_consumes_messages(web, status, headers):
    web.get("/add/")
    web.get("/swapped/", {"status": status}, headers=headers)
    assert shown_to(web) == []


@pytest.mark.parametrize("headers", UNSEEN.values(), ids=UNSEEN)
def test_is_shown_to_person_decides_by_headers(headers):
    assert not is_shown_to_person(RequestFactory().get("/", headers=headers))
    assert is_shown_to_person(RequestFactory().post("/"))


# Which browser


def test_message_is_shown_in_browser_that_queued_it(client, second_browser):
    client.get("/add/")
    assert shown_to(second_browser) == []
    assert shown_to(second_browser, "/getter/") == []
    assert second_browser.get("/count/").json() == {"count": 0}
    assert shown_to(client) == ["Once"]


def test_two_browsers_have_separate_messages(client, second_browser):
    for _ in range(2):
        client.get("/add/?text=Here")
        second_browser.get("/add/?text=There")
    assert client.get("/count/").json() == {"count": 2}
    assert shown_to(client) == ["Here", "Here"]
    assert shown_to(second_browser, "/getter/") == ["There", "There"]
    assert not Message.objects.exists()


def test_message_to_request_user_by_argument_is_shown_in_same_browser(client, second_browser):
    client.get("/add_for_oneself/")
    assert shown_to(second_browser) == []
    assert shown_to(client) == ["Mine"]


@pytest.mark.parametrize("url", ["/show/", "/getter/"])
def test_message_is_shown_in_other_browser_after_timeout(client, second_browser, url):
    client.get("/add/")
    age_messages(minutes=9)
    assert shown_to(second_browser, url) == []
    age_messages(minutes=11)
    assert shown_to(second_browser, url) == ["Once"]
    assert shown_to(client) == []


def test_message_sent_without_request_is_shown_in_any_browser(client, second_browser, other, user):
    persistent_messages.send_message(user, messages.INFO, "Sent")
    assert shown_to(second_browser) == ["Sent"]
    his = Client()
    his.force_login(other)
    request = his.get("/show/").wsgi_request
    request._messages.add(messages.INFO, "From Harry", user=user)
    assert shown_to(second_browser) == ["From Harry"]


def test_browser_is_recognized_after_log_out_and_log_in(client, user):
    client.get("/add/")
    client.get("/leave/")
    assert shown_to(client) == []
    client.force_login(user)
    assert shown_to(client) == ["Once"]


@pytest.mark.parametrize("engine", ["db", "cache", "cached_db", "file", "signed_cookies"])
def test_browser_is_recognized_with_each_session_engine(user, settings, engine, tmp_path):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    here, there = Client(), Client()
    here.force_login(user)
    there.force_login(user)
    here.get("/add/")
    assert shown_to(there) == []
    assert shown_to(here) == ["Once"]


def test_deleted_session_loses_no_message(client, user):
    client.get("/add/")
    client.session.delete()
    assert shown_to(client) == []
    client.force_login(user)
    assert shown_to(client) == ["Once"]


@pytest.mark.parametrize("forged", ["", "x", "-1", "²", "9" * 19, "1.5", "NaN", "'; --"])
def test_forged_browser_cookie_is_harmless(client, second_browser, forged):
    client.get("/add/")
    second_browser.cookies["pm_browser"] = forged
    assert shown_to(second_browser) == []
    second_browser.get("/add/?text=There")
    assert shown_to(second_browser) == ["There"]
    assert shown_to(client) == ["Once"]


def test_browser_cookie_is_set_only_for_waiting_message(visitor, client, send):
    visitor.get("/add/")
    send("Kept")
    client.get("/show/")
    client.get("/add_and_show/")
    assert "pm_browser" not in {**visitor.cookies, **client.cookies}
    response = client.get("/add/")
    assert response.cookies["pm_browser"]["httponly"]
    assert "pm_browser" not in client.get("/add/").cookies


def test_impersonator_sees_messages_and_customer_does_not(user, other):
    staff, customer = Client(), Client()
    staff.force_login(other)
    customer.force_login(user)
    staff.get("/impersonate/sally/")
    staff.get("/add/?text=Noted")
    assert shown_to(customer) == []
    assert shown_to(staff) == ["Your login is now switched to sally", "Noted"]


@pytest.mark.parametrize("address", ["/impersonate/{}/", "/impersonate/{}/?log_out"])
def test_unseen_messages_of_impersonator_never_reach_customer(user, other, address, client):
    staff = Client()
    staff.force_login(other)
    staff.get(address.format("sally"))
    staff.get("/add/?text=Noted")
    staff.get("/add_for_oneself/")
    assert not Message.objects.exists()
    assert staff.get("/count/").json()["count"] == 3
    assert shown_to(staff) == ["Your login is now switched to sally", "Noted", "Mine"]
    staff.get("/add/?text=Late")
    assert shown_to(staff, "/getter/") == ["Late"]
    staff.get("/add/?text=Later")
    staff.get(address.format(other.username))
    # The sessions that follow are marked, too: staff read it all in their browser.
    assert shown_to(staff) == ["Later", f"Your login is now switched to {other.username}"]
    assert shown_to(client) == []


@pytest.mark.parametrize("key", ["hijack_history", "loginas_from_user", "_impersonate"])
@pytest.mark.parametrize("address", ["/show/", "/getter/"])
def test_messages_of_customer_wait_for_customer(user, other, send, key, address, settings):
    """Whoever impersonates takes none of them, and reads what the site says to the impersonator."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.swap_user"]
    staff, customer = Client(), Client()
    staff.force_login(other)
    customer.force_login(user)
    staff.get(f"/impersonate/{key}/sally/")
    send("Order 17 was paid.", messages.SUCCESS)
    customer.get("/add/?text=Saved")
    Message.objects.filter(message="Saved").update(created=timezone.now() - timedelta(days=1))
    staff.get("/add/?text=Noted")
    assert staff.get("/count/").json()["count"] == 1
    assert shown_to(staff, address) == ["Noted"]
    assert shown_to(staff, address) == []
    assert shown_to(customer, address) == ["Order 17 was paid.", "Saved"]
    assert shown_to(customer, address) == []


@pytest.mark.parametrize(
    "session", ["session", None, {}, object(), MagicMock()], ids=lambda it: type(it).__name__
)
def test_request_of_test_may_have_any_session(rf, user, session):
    """Tests of sites often write `request.session = "session"`."""
    request = rf.get("/")
    request.user, request.session = user, session
    storage = PersistentMessageStorage(request)
    storage.add(messages.INFO, "Once")
    storage.add(persistent_messages.INFO, "Kept")
    assert storage.count_unread() == 2
    assert [str(message) for message in storage.get_nonpersistent()] == ["Once"]
    assert [str(message) for message in storage] == ["Kept", "Once"]
    assert not storage.update(HttpResponse())


def test_messages_are_stored_after_log_out_and_log_in(user, client):
    client.get("/leave/")
    client.force_login(user)
    client.get("/add/?text=Once")
    assert Message.objects.count() == 1


@pytest.mark.parametrize("address", ["/impersonate/sally/", "/impersonate/sally/?log_out"])
def test_log_in_as_same_user_is_not_impersonation(client, address):
    client.get(address)
    client.get("/add/?text=Once")
    assert Message.objects.filter(message="Once").count() == 1


def test_session_key_is_not_stored(client):
    client.get("/add/")
    key = client.cookies["sessionid"].value
    assert key not in {str(value) for value in Message.objects.values_list()[0]}


def test_choosing_browser_takes_no_extra_query(client, django_assert_num_queries):
    client.get("/add/")
    client.get("/show/")
    client.get("/add/")
    with django_assert_num_queries(4):  # session, user, waiting messages, removal
        assert shown_to(client) == ["Once"]


# When they are removed


def test_rows_are_removed_after_response_is_closed(client, user, send):
    send("Once", messages.INFO)
    request = RequestFactory().get("/")
    request.session, request.user = {}, user
    storage, response = PersistentMessageStorage(request), HttpResponse()
    list(storage)
    storage.update(response)
    assert Message.objects.count() == 1  # if the server is killed here, the message is shown again
    with CaptureQueriesContext(connection) as queries:
        close_response(response)
    assert [row["sql"].split()[0] for row in queries] == ["DELETE"]
    assert not Message.objects.exists()


def test_replaced_response_consumes_nothing(client, user, send, settings):
    send("Once", messages.INFO)
    browser = Client()
    browser.force_login(user)
    with override_settings(MIDDLEWARE=[f"{__name__}.Replaces", *settings.MIDDLEWARE]):
        assert browser.get("/show/").text == "Down for maintenance"
    assert shown_to(client) == ["Once"]


class Replaces:
    """A middleware that sends something else."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        self.get_response(request)
        return HttpResponse("Down for maintenance")


def test_response_turned_into_error_consumes_nothing(client, user, send, settings):
    send("Once", messages.INFO)
    browser = Client()
    browser.force_login(user)
    with override_settings(MIDDLEWARE=[f"{__name__}.Fails", *settings.MIDDLEWARE]):
        assert browser.get("/show/").status_code == 503
    assert shown_to(client) == ["Once"]


class Fails(Replaces):
    """A middleware that finds out that the server failed."""

    def __call__(self, request):
        response = self.get_response(request)
        response.status_code = 503
        return response


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_copied_response_removes_nothing(client, user, send, twin):
    """Caches pickle responses with all their attributes."""
    send("Once", messages.INFO)
    request = RequestFactory().get("/")
    request.session, request.user = {}, user
    storage, response = PersistentMessageStorage(request), HttpResponse("Once")
    list(storage)
    storage.update(response)
    kept = twin(response)
    if twin is not copy.copy:
        close_response(kept)
        assert Message.objects.count() == 1
    close_response(response)
    assert not Message.objects.exists()


def test_streaming_response_removes_rows_at_end(client, send):
    send("Once", messages.INFO)
    response = client.get("/stream/")
    assert Message.objects.count() == 1
    assert b"".join(response) == b"Once"
    assert not Message.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_failed_removal_is_logged_and_message_is_shown_again(client, send, caplog, monkeypatch):
    send("Once", messages.INFO)
    with connection.execute_wrapper(refuse_to_delete):
        assert shown_to(client) == ["Once"]
    assert "could not be removed" in caplog.text
    assert shown_to(client) == ["Once"]


def refuse_to_delete(execute, sql, params, many, context):
    if sql.startswith("DELETE"):
        raise RuntimeError("no")
    return execute(sql, params, many, context)
