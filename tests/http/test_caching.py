"""Cache headers: for the site's own caches, CDNs and proxies, and the browser."""

import pytest
from django.contrib import messages as contrib_messages
from django.core.cache import cache
from django.http import HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import Client
from django.urls import include, path
from django.views.decorators.cache import cache_page
from django.views.decorators.http import condition

from persistent_messages import send_message
from persistent_messages.models import Message

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/"}
TAG = "{% load persistent_messages %}"
SHOWING = {
    "strip": "{% include 'persistent_messages/message/includes/messages.html' %}",
    "loop": "{% for message in messages %}{{ message }}{% endfor %}",
    "one-shot": "{% for message in messages.get_nonpersistent %}{{ message }}{% endfor %}",
}
TELLING = {
    "if": "{% if messages %}Something waits.{% endif %}",
    "count": "{{ messages.count_unread }}",
    "unread": "{% for message in messages.get_persistent_unread %}{{ message }}{% endfor %}",
    "counter": TAG + "{% unread_counter %}",
    "bell": "{% include 'persistent_messages/message/includes/bell.html' %}",
    "inbox": "{% include 'persistent_messages/message/includes/inbox.html' %}",
}
PARTS = {**SHOWING, **TELLING, "nothing": "<p>The same for all.</p>"}
TEXT = "Order 17 paid."
# The headers of pages that a site considers the same for all users.
PUBLIC = {
    "Cache-Control": "public, max-age=3600, s-maxage=3600",
    "CDN-Cache-Control": "max-age=3600",
    "Surrogate-Control": "max-age=3600",
    "X-Accel-Expires": "3600",
    "Expires": "Fri, 01 Jan 2100 00:00:00 GMT",
}
UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"


def shown(request, part):
    template = engines["django"].from_string(PARTS[part])
    return HttpResponse(template.render({}, request), headers=PUBLIC)


def later(request, part):
    """A response that is rendered after the decorators of its view."""
    return TemplateResponse(request, engines["django"].from_string(PARTS[part]), headers=PUBLIC)


def add(request):
    contrib_messages.success(request, TEXT)
    return HttpResponse(headers=PUBLIC)


urlpatterns = [
    path("shown/<str:part>/", shown),
    path("kept/<str:part>/", cache_page(600)(shown)),
    path("kept-later/<str:part>/", cache_page(600)(later)),
    path("same/<str:part>/", condition(etag_func=lambda *_, **__: '"same"')(shown)),
    path("add/", add),
    path("messages/", include("persistent_messages.urls")),
]


@pytest.fixture(autouse=True)
def site(settings):
    settings.ROOT_URLCONF = __name__
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    yield settings
    cache.clear()


@pytest.fixture(params=["Django's", "inside", "inmost"])
def cached_site(site, request):
    """Configure the site's cache middleware at different positions."""
    middleware = site.MIDDLEWARE
    ours = middleware.index("persistent_messages.middleware.HtmxMessagesMiddleware")
    site.MIDDLEWARE = {
        "Django's": [UPDATE, *middleware, FETCH],
        "inside": [*middleware[:ours], UPDATE, FETCH, *middleware[ours:]],
        "inmost": [*middleware, UPDATE, FETCH],
    }[request.param]
    return site


def control(response):
    return {part.strip() for part in response.get("Cache-Control", "").split(",")}


def is_private(response):
    overridden = [name for name in PUBLIC if name in response and name not in KNOWN]
    return "private" in control(response) and "public" not in control(response) and not overridden


KNOWN = ("Cache-Control", "Expires")


@pytest.mark.parametrize("view", ["shown", "kept", "kept-later"])
@pytest.mark.parametrize("part", SHOWING)
def test_shown_message_is_never_cached(cached_site, client, view, part):
    client.get("/add/")
    pages = [client.get(f"/{view}/{part}/") for _ in range(3)]

    assert [TEXT in page.text for page in pages] == [True, False, False]
    assert is_private(pages[0])
    assert {"no-store", "max-age=0"} <= control(pages[0])
    assert pages[0].get("Expires") != PUBLIC["Expires"]


@pytest.mark.parametrize("view", ["shown", "kept"])
def test_message_of_visitor_is_shown_once_and_to_nobody_else(cached_site, visitor, view):
    visitor.get("/add/")
    page = visitor.get(f"/{view}/strip/")

    assert TEXT in page.text
    assert is_private(page)
    for browser in (visitor, Client()):
        assert TEXT not in browser.get(f"/{view}/strip/").text


@pytest.mark.parametrize("view", ["shown", "kept", "kept-later"])
@pytest.mark.parametrize("part", TELLING)
def test_private_page_is_not_served_to_other_user(cached_site, client, other, user, view, part):
    """Every response with the strip or the unread count is private."""
    send_message(user, 120, "Secret", subject="Only Sally's")
    harry = Client()
    harry.force_login(other)

    page = client.get(f"/{view}/{part}/")
    others = [browser.get(f"/{view}/{part}/") for browser in (harry, Client())]

    assert is_private(page)
    assert all(page.text != found.text and "Only Sally's" not in found.text for found in others)
    Message.objects.all().delete()
    assert client.get(f"/{view}/{part}/").text != page.text


def test_removed_notice_is_not_served_from_cache(cached_site, client, send):
    message = send("The disk is full.")
    assert "The disk is full." in client.get("/shown/strip/").text
    Message.objects.filter(pk=message.pk).delete()
    assert "The disk is full." not in client.get("/shown/strip/").text


@pytest.mark.parametrize("reader", ["visitor", "client"])
def test_response_without_messages_keeps_its_cache_headers(site, reader, request, send):
    send("Hello")
    send("Saved", level=contrib_messages.INFO)

    page = request.getfixturevalue(reader).get("/shown/nothing/")

    assert {name: page[name] for name in PUBLIC} == PUBLIC


@pytest.mark.parametrize("part", PARTS)
def test_page_without_messages_for_visitor_stays_public(site, visitor, part):
    page = visitor.get(f"/shown/{part}/")

    assert {name: page[name] for name in PUBLIC} == PUBLIC


def test_response_that_only_queues_message_stays_public(site, client):
    assert {"public", "max-age=3600"} <= control(client.get("/add/"))


def test_page_with_message_has_no_etag(site, client):
    client.get("/add/")
    page = client.get("/same/strip/")
    assert TEXT in page.text
    assert "ETag" not in page


# HTMX


@pytest.mark.parametrize("view", ["shown", "kept", "kept-later"])
def test_htmx_response_with_added_messages_is_not_cached(cached_site, client, view):
    client.get("/add/")
    fragment = client.get(f"/{view}/nothing/", headers=HTMX)
    plain = client.get(f"/{view}/nothing/")
    again = client.get(f"/{view}/nothing/", headers=HTMX)

    assert TEXT in fragment.text
    assert TEXT not in plain.text + again.text
    assert is_private(fragment)
    assert "no-store" in control(fragment)
    assert {"HX-Request", "HX-Boosted"} <= {name.strip() for name in fragment["Vary"].split(",")}
    assert "public" in control(plain)
    assert "public" in control(again)


def test_messages_added_to_cached_response_are_not_cached(cached_site, client):
    client.get("/shown/nothing/")
    client.get("/add/")

    fragment = client.get("/shown/nothing/", headers=HTMX)
    # If the cache responds before the app's middleware runs, the message waits.
    waits = Message.objects.filter(message=TEXT).exists()
    assert (TEXT in fragment.text) != waits
    assert client.get("/shown/nothing/").text == PARTS["nothing"]


@pytest.mark.parametrize("outside", [True, False])
def test_htmx_response_with_message_has_no_validators(site, client, outside):
    middleware = site.MIDDLEWARE
    site.MIDDLEWARE = [CONDITIONAL, *middleware] if outside else [*middleware, CONDITIONAL]
    before = client.get("/shown/nothing/", headers=HTMX)
    client.get("/add/")

    # The browser's copy is still valid, so it is used, and the message waits.
    asking = {**HTMX, "If-None-Match": before["ETag"]}
    unchanged = client.get("/shown/nothing/", headers=asking)
    fragment = unchanged if outside else client.get("/shown/nothing/", headers=HTMX)
    page = client.get("/same/nothing/", headers=HTMX)

    assert unchanged.status_code == (200 if outside else 304)
    assert TEXT in fragment.text
    assert not {"ETag", "Last-Modified"} & set(fragment.headers)
    assert page["ETag"] == '"same"'


@pytest.mark.parametrize("part", ["counter", "bell", "inbox"])
def test_caching_works_with_fallback_storage(site, client, send, part):
    site.MESSAGE_STORAGE = "django.contrib.messages.storage.fallback.FallbackStorage"
    send("Hello")

    assert is_private(client.get(f"/shown/{part}/"))
    client.get("/add/")
    fragment = client.get("/shown/nothing/", headers=HTMX)
    assert TEXT in fragment.text
    assert is_private(fragment)


def test_caching_works_without_our_middleware(site, client, send):
    site.MIDDLEWARE = [name for name in site.MIDDLEWARE if "persistent_messages" not in name]
    send("Hello")

    for part in (*SHOWING, *TELLING):
        send("Saved", level=contrib_messages.INFO)
        assert is_private(client.get(f"/shown/{part}/")), part
