"""Pending messages are shown with any htmx response of a site, and never lost."""

import json

import pytest
from asgiref.sync import async_to_sync
from django.contrib import messages as contrib_messages
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render
from django.template import engines
from django.test import AsyncClient, Client
from django.urls import include, path

import persistent_messages
from persistent_messages.models import Message

from .pages import soup

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/"}
STRIP = "{% include 'persistent_messages/message/includes/messages.html' %}"
TEXT = "Your changes were saved."


def answer_with(headers=None, content="<p>Answer</p>", **kwargs):
    def answer():
        return HttpResponse(content, headers=headers, **kwargs)

    return answer


def with_length():
    response = HttpResponse("<p>Answer</p>")
    response["Content-Length"] = str(len(response.content))
    return response


async def trickle():
    yield b"<p>Answer</p>"


# The responses that the page would not swap in, and why.
EXCLUDED = {
    "redirect": lambda: HttpResponseRedirect("/quiet/"),
    "not found": answer_with(status=404),
    "invalid": answer_with(status=422),
    "failed": answer_with(status=503),
    "no content": answer_with(status=204, content=""),
    "reset content": answer_with(status=205, content=""),
    "stop polling": answer_with(status=286),
    "redirect by htmx": answer_with({"HX-Redirect": "/"}),
    "refresh by htmx": answer_with({"HX-Refresh": "true"}),
    "location by htmx": answer_with({"HX-Location": "/"}),
    "json": lambda: JsonResponse({"answer": 1}),
    "plain text": answer_with({"Content-Type": "text/plain"}),
    "document": answer_with(content="<!DOCTYPE html><title>Answer</title><p>Answer</p>"),
    "compressed": answer_with({"Content-Encoding": "gzip"}),
    "stream": lambda: StreamingHttpResponse([b"<p>Answer</p>"]),
    "file": lambda: FileResponse([b"<p>Answer</p>"], content_type="text/html"),
}
ANSWERS = {
    **EXCLUDED,
    "html": answer_with(),
    "created": answer_with(status=201),
    "with length": with_length,
    "empty": answer_with(content=""),
    "latin": answer_with({"Content-Type": "text/html; charset=iso-8859-1"}, content=b"<p>\xe9</p>"),
}


def add_by(request):
    """Add the messages that the request asks for."""
    if "one-shot" in request.GET:
        contrib_messages.success(request, request.GET["one-shot"])
    if "persistent" in request.GET:
        persistent_messages.info(request, request.GET["persistent"])


def answer(request, name):
    add_by(request)
    return ANSWERS[name]()


async def async_answer(request, name):
    await request.auser()
    add_by(request)
    return ANSWERS[name]()


def broken(request):
    add_by(request)
    raise RuntimeError("broken")


def showing(request):
    """A view that shows the messages itself."""
    add_by(request)
    return HttpResponse(engines["django"].from_string(STRIP).render({}, request))


def page(request):
    return render(request, "persistent_messages/base.html")


urlpatterns = [
    path("", page, name="home"),
    path("answer/<str:name>/", answer),
    path("async/<str:name>/", async_answer),
    path("broken/", broken),
    path("showing/", showing),
    path("log-in/", page, name="login"),
    path("messages/", include("persistent_messages.urls")),
]


@pytest.fixture(autouse=True)
def site(settings):
    """Configure a site with the app's base template and the views above."""
    settings.ROOT_URLCONF = __name__
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]
    return settings


@pytest.fixture(params=["visitor", "client"])
def reader(request):
    return request.getfixturevalue(request.param)


def swaps(response):
    html = response.content.decode(response.charset)
    found = [element.get("hx-swap-oob") for element in soup(html).find_all(True)]
    return [swap for swap in found if swap]


def body(response):
    return b"".join(response.streaming_content) if response.streaming else response.content


def count_on(reader, text=TEXT, address="/"):
    return reader.get(address).content.decode().count(text)


# Effects


@pytest.mark.parametrize("name", ["html", "created", "empty"])
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_one_shot_message_is_added_to_htmx_response_once(reader, method, name):
    response = getattr(reader, method)(f"/answer/{name}/?one-shot={TEXT}", headers=HTMX)

    assert response.content.startswith(ANSWERS[name]().content)
    assert response.content.decode().count(f"<bdi>{TEXT}</bdi>") == 1
    assert sorted(swaps(response)) == ["beforeend:.pm-passing", "outerHTML:.pm-notices"]
    assert count_on(reader) == 0


def test_waiting_message_is_added_to_next_htmx_response(reader):
    reader.get(f"/answer/html/?one-shot={TEXT}")

    response = reader.get("/answer/html/", headers=HTMX)

    assert f"<bdi>{TEXT}</bdi>" in response.content.decode()
    assert count_on(reader) == 0


def test_persistent_message_is_added_to_htmx_response_and_kept(client):
    response = client.post(f"/answer/html/?persistent={TEXT}", headers=HTMX)

    assert f"<bdi>{TEXT}</bdi>" in response.content.decode()
    assert count_on(client) > 0
    assert not Message.objects.get().read


def test_unread_persistent_messages_alone_are_not_added(client, send):
    send(TEXT)

    response = client.get("/answer/html/", headers=HTMX)

    assert response.content == b"<p>Answer</p>"


def test_response_without_messages_is_unchanged(reader):
    response = reader.get("/answer/html/", headers=HTMX)

    assert response.content == b"<p>Answer</p>"


def test_added_strip_includes_unread_notices(client, send):
    # It replaces the notices on the page.
    send("Waits since yesterday")

    response = client.get(f"/answer/html/?one-shot={TEXT}", headers=HTMX)

    assert "<bdi>Waits since yesterday</bdi>" in response.content.decode()


@pytest.mark.parametrize("added", ["one-shot", "persistent"])
def test_content_length_is_updated(client, added):
    response = client.get(f"/answer/with length/?{added}={TEXT}", headers=HTMX)

    assert len(response.content) > len(b"<p>Answer</p>")
    assert response["Content-Length"] == str(len(response.content))


def test_content_length_is_set_by_django(client):
    response = client.get(f"/answer/html/?one-shot={TEXT}", headers=HTMX)

    assert response["Content-Length"] == str(len(response.content))


def test_charset_of_response_is_kept(client):
    response = client.get("/answer/latin/?one-shot=Déjà vu", headers=HTMX)

    assert response.content.startswith(b"<p>\xe9</p>")
    assert "Déjà vu".encode("latin-1") in response.content


def test_message_not_encodable_in_charset_causes_no_error(client):
    response = client.get("/answer/latin/?one-shot=موعد", headers=HTMX)

    assert response.status_code == 200
    assert response.content.startswith(b"<p>\xe9</p>")


def test_outer_gzip_middleware_compresses_messages(site, client):
    site.MIDDLEWARE = [f"{GZipMiddleware.__module__}.GZipMiddleware", *site.MIDDLEWARE]

    response = client.get(
        f"/answer/html/?one-shot={TEXT}", headers={**HTMX, "Accept-Encoding": "gzip"}
    )

    assert response["Content-Encoding"] == "gzip"
    assert count_on(client) == 0


def test_message_text_is_escaped(reader):
    response = reader.get("/answer/html/?one-shot=<script>x</script>", headers=HTMX)

    assert b"<script>" not in response.content
    assert b"&lt;script&gt;" in response.content


# Unchanged responses


@pytest.mark.parametrize("name", EXCLUDED)
def test_response_not_swapped_in_consumes_no_message(reader, name):
    response = reader.post(f"/answer/{name}/?one-shot={TEXT}", headers=HTMX)

    assert body(response) == body(ANSWERS[name]())
    assert count_on(reader) > 0, "shown by the next page"
    assert count_on(reader) == 0, "and by no other"


@pytest.mark.parametrize("name", EXCLUDED)
def test_waiting_message_is_kept_for_page_that_shows_it(reader, name):
    reader.get(f"/answer/html/?one-shot={TEXT}")

    reader.get(f"/answer/{name}/", headers=HTMX)

    assert count_on(reader) > 0


@pytest.mark.parametrize("name", EXCLUDED)
def test_persistent_message_is_kept_with_any_response(client, name):
    client.post(f"/answer/{name}/?persistent={TEXT}", headers=HTMX)

    assert not Message.objects.get().read
    assert count_on(client) > 0


def test_request_without_htmx_is_unchanged(reader):
    response = reader.get(f"/answer/html/?one-shot={TEXT}")

    assert response.content == b"<p>Answer</p>"
    assert count_on(reader) > 0


def test_head_request_consumes_no_message(reader):
    reader.get(f"/answer/html/?one-shot={TEXT}")

    response = reader.head("/answer/html/", headers=HTMX)

    assert response.content == b""
    assert count_on(reader) > 0


def test_failing_view_consumes_no_message(reader):
    reader.raise_request_exception = False

    response = reader.get(f"/broken/?one-shot={TEXT}", headers=HTMX)

    assert response.status_code == 500
    assert TEXT.encode() not in response.content
    assert count_on(reader) > 0


def test_messages_shown_by_view_are_not_added_again(reader):
    response = reader.get(f"/showing/?one-shot={TEXT}", headers=HTMX)

    assert response.content.decode().count(f"<bdi>{TEXT}</bdi>") == 1
    assert swaps(response) == []
    assert count_on(reader) == 0


def test_messages_shown_by_boosted_page_are_not_added_again(reader):
    reader.get(f"/answer/html/?one-shot={TEXT}")

    response = reader.get("/", headers={**HTMX, "HX-Boosted": "true"})

    assert response.content.decode().count(f"<bdi>{TEXT}</bdi>") == 1


def test_site_without_message_middleware_is_unchanged(site, client):
    site.MIDDLEWARE = [
        entry for entry in site.MIDDLEWARE if not entry.endswith("MessageMiddleware")
    ]

    assert client.get("/answer/html/", headers=HTMX).content == b"<p>Answer</p>"


def test_site_without_htmx_middleware_is_unchanged(site, reader):
    site.MIDDLEWARE = [entry for entry in site.MIDDLEWARE if not entry.endswith("HtmxMiddleware")]

    response = reader.get(f"/answer/html/?one-shot={TEXT}", headers=HTMX)

    assert response.content == b"<p>Answer</p>"
    assert count_on(reader) > 0


def test_messages_of_contrib_storage_are_added(site, reader):
    site.MESSAGE_STORAGE = "django.contrib.messages.storage.fallback.FallbackStorage"

    response = reader.get(f"/answer/html/?one-shot={TEXT}", headers=HTMX)

    assert f"<bdi>{TEXT}</bdi>" in response.content.decode()
    assert count_on(reader) == 0


def test_hx_trigger_of_view_is_kept(client):
    response = client.post("/messages/mark_read/all/", headers=HTMX)

    assert json.loads(response["HX-Trigger"]) == {"pm:changed": {"unread": 0}}


def test_action_response_includes_waiting_message(client, send):
    message = send("Hello")
    client.get(f"/answer/html/?one-shot={TEXT}")

    response = client.post(f"/messages/mark_read/{message.pk}/", headers=HTMX)

    assert f"<bdi>{TEXT}</bdi>" in response.content.decode()
    assert count_on(client) == 0


def test_htmx_response_without_messages_takes_one_query(client, django_assert_num_queries):
    with django_assert_num_queries(3):  # session, user, strip
        client.get("/answer/html/", headers=HTMX)


def test_response_not_swapped_in_takes_no_query(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        client.get("/answer/html/")
        client.get("/answer/json/", headers=HTMX)
        client.get("/answer/no content/", headers=HTMX)


# Under ASGI


class AsyncBrowser:
    """A client of the async site, used from sync code, with the cookies of another client."""

    def __init__(self, reader):
        self.client = AsyncClient()
        self.client.cookies = reader.cookies

    def get(self, address, headers=None):
        return async_to_sync(self.client.get)(address, headers=headers or {})


def test_middleware_works_in_event_loop(reader):
    response = AsyncBrowser(reader).get(f"/async/html/?one-shot={TEXT}", headers=HTMX)

    assert response.content.startswith(b"<p>Answer</p>")
    assert response.content.decode().count(f"<bdi>{TEXT}</bdi>") == 1
    assert response["Content-Length"] == str(len(response.content))
    assert count_on(reader) == 0


def test_sync_view_under_asgi_gets_messages(reader):
    response = AsyncBrowser(reader).get(f"/answer/html/?one-shot={TEXT}", headers=HTMX)

    assert response.content.decode().count(f"<bdi>{TEXT}</bdi>") == 1
    assert count_on(reader) == 0


def test_persistent_message_of_async_view_is_added_and_kept(client):
    response = AsyncBrowser(client).get(f"/async/html/?persistent={TEXT}", headers=HTMX)

    assert not Message.objects.get().read
    assert f"<bdi>{TEXT}</bdi>" in response.content.decode()
    assert count_on(client) > 0


@pytest.mark.parametrize("name", [name for name in EXCLUDED if name not in {"stream", "file"}])
def test_async_response_not_swapped_in_consumes_no_message(reader, name):
    response = AsyncBrowser(reader).get(f"/async/{name}/?one-shot={TEXT}", headers=HTMX)

    assert response.content == ANSWERS[name]().content
    assert count_on(reader) > 0
    assert count_on(reader) == 0


def test_async_stream_is_unchanged(client, site):
    ANSWERS["async stream"] = lambda: StreamingHttpResponse(trickle())

    async def read():
        reader = AsyncClient()
        reader.cookies = client.cookies
        response = await reader.get(f"/async/async stream/?one-shot={TEXT}", headers=HTMX)
        return b"".join([part async for part in response.streaming_content])

    assert async_to_sync(read)() == b"<p>Answer</p>"
    assert count_on(client) > 0


def test_visitor_and_user_share_no_messages(user, visitor, client):
    assert isinstance(visitor, Client)
    client.get(f"/answer/html/?one-shot={TEXT}")

    assert visitor.get("/answer/html/", headers=HTMX).content == b"<p>Answer</p>"
    assert count_on(visitor) == 0
    assert count_on(client) > 0
