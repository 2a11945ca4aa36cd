"""A site without the URLs of the app: its parts work or are empty."""

import pytest
from django.contrib import messages as contrib_messages
from django.http import HttpResponse
from django.template import engines
from django.urls import path

import persistent_messages
from persistent_messages import send_letter
from persistent_messages.checks import check_site

INCLUDES = "persistent_messages/message/includes"
PARTS = {
    "bell": f"{{% include '{INCLUDES}/bell.html' %}}",
    "inbox": f"{{% include '{INCLUDES}/inbox.html' %}}",
    "strip": f"{{% include '{INCLUDES}/messages.html' with close_all=True %}}",
    "counter": "{% load persistent_messages %}{% unread_counter %}",
}


def page(request, part):
    if request.method == "POST":
        contrib_messages.success(request, "Saved.")
        persistent_messages.info(request, "Kept.")
    return HttpResponse(engines["django"].from_string(PARTS[part]).render({}, request))


urlpatterns = [path("<str:part>/", page)]


@pytest.fixture(autouse=True)
def site(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [
        name for name in settings.MIDDLEWARE if not name.startswith(("demo.", "tests."))
    ]


@pytest.mark.parametrize("part", ["bell", "inbox"])
def test_bell_and_inbox_render_nothing(client, user, other, send, part):
    send("Hello", url="/somewhere/")
    send_letter(other, user, "Rota", "Can you take Thursday?")

    response = client.get(f"/{part}/")

    assert response.status_code == 200
    assert response.text.strip() == ""


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_strip_shows_messages_without_links(client, user, other, send, headers):
    send("Hello", url="/somewhere/")
    send_letter(other, user, "Rota", "Can you take Thursday?")

    response = client.post("/strip/", headers=headers)

    assert response.status_code == 200
    for text in ("Hello", "Saved.", "Kept."):
        assert text in response.text
    assert "/messages/" not in response.text


def test_counter_shows_unread_count(client, send):
    send("Hello")

    assert "1" in client.get("/counter/").text


@pytest.mark.parametrize("part", PARTS)
def test_page_works_for_visitor(visitor, part):
    assert visitor.get(f"/{part}/").status_code == 200


@pytest.mark.parametrize("part", PARTS)
def test_htmx_response_has_messages(client, part):
    response = client.post(f"/{part}/", headers={"HX-Request": "true"})

    assert response.status_code == 200
    assert "Saved." in response.text


@pytest.mark.parametrize("part", PARTS)
def test_django_htmx_is_optional(client, settings, user, send, part):
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_htmx"]
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "htmx" not in name.lower()]
    settings.PERSISTENT_MESSAGES = {"SITE_URL": "https://example.org"}
    send("Hello")

    assert check_site() == []
    assert client.get(f"/{part}/").status_code == 200
    assert client.post(f"/{part}/").status_code == 200
