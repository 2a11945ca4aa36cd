"""Notices of the site in rows, in the strip, in the bell and on their page."""

import pytest
from django.http import HttpResponse
from django.template import engines
from django.urls import include, path

from persistent_messages import WARNING, Topic, send_message
from persistent_messages.models import Message
from persistent_messages.topics import topics
from tests.pages import soup, text_of

pytestmark = pytest.mark.django_db

PART = {"HX-Request": "true"}
TEXTS = {"subject": "Storage is 90 % full", "url": "/storage/"}


def show_strip(request):
    code = "{% include 'persistent_messages/message/includes/messages.html' %}"
    return HttpResponse(engines["django"].from_string(code).render({}, request))


urlpatterns = [
    path("strip/", show_strip),
    path("messages/", include("persistent_messages.urls")),
]


@pytest.fixture(autouse=True)
def site(settings):
    settings.ROOT_URLCONF = __name__
    # Without the frame of the demo.
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]


@pytest.fixture(autouse=True)
def storage_topic(monkeypatch):
    monkeypatch.setitem(topics, "storage", None)  # which goes after the test
    Topic("storage", "Storage & more")


@pytest.fixture
def told(user):
    def told(times=1, **kwargs):
        for _ in range(times):
            send_message(user, WARNING, "Uploads stop.", **{**TEXTS, **kwargs})
        return Message.objects.latest("pk")

    return told


def strip(client):
    return client.get("/strip/").text


@pytest.mark.parametrize("address", ["/messages/", "/messages/latest/", "/strip/"])
def test_how_often_it_was_sent_is_seen_and_heard(client, told, address):
    told(3, key="quota")

    (count,) = soup(client.get(address, headers=PART).text).select(".pm-count")

    shown, heard = count.find_all(recursive=False)
    assert (text_of(shown), shown["aria-hidden"]) == ("×3", "true")
    assert text_of(heard) == "3 times"


@pytest.mark.parametrize("address", ["/messages/", "/messages/latest/", "/strip/"])
def test_what_was_sent_once_has_no_number(client, told, address):
    told(1, key="quota")

    assert soup(client.get(address, headers=PART).text).select(".pm-count") == []


def test_the_number_is_in_the_language_of_the_page(client, told):
    told(3, key="quota")

    page = client.get("/messages/", headers={"Accept-Language": "ja"}).text

    (count,) = soup(page).select(".pm-count")
    assert text_of(count) == "×3 3回"


def test_a_row_and_a_page_show_the_topic(client, told):
    message = told(topic="storage")

    row = client.get("/messages/").text
    page = client.get(f"/messages/detail/{message.pk}/").text

    assert "Storage &amp; more" in row
    assert "Storage &amp; more" in page


def test_a_topic_that_is_no_longer_registered_is_shown_by_its_name(client, told):
    told(topic="storage")
    Message.objects.update(topic="gone")

    assert "gone" in text_of(soup(client.get("/messages/").text).select(".pm-row")[0])


def test_the_button_says_where_it_leads(client, told):
    message = told(action="Upgrade <now>")
    opens = f"/messages/open/{message.pk}/"

    (button,) = [b for b in soup(strip(client)).select("button") if "Upgrade" in text_of(b)]
    assert text_of(button) == "Upgrade <now>"
    row = client.get("/messages/").text
    (icon,) = [b for b in soup(row).select("button") if b.get("formaction") == opens]
    assert icon["title"] == "Upgrade <now>"
    assert icon["aria-label"] == "Upgrade <now>, Storage is 90 % full"
    page = client.get(f"/messages/detail/{message.pk}/").text
    assert "Upgrade <now>" in [text_of(b).strip() for b in soup(page).select("button")]


def test_the_button_of_the_strip_goes_there_and_marks_it_read(client, told):
    message = told(action="Upgrade")
    forms = soup(strip(client)).select("form")
    (form,) = [f for f in forms if f.get("action", "").endswith(f"/{message.pk}/")][:1]

    answer = client.post(form["action"])

    assert answer.status_code == 302
    assert answer["Location"] == "/storage/"
    assert Message.objects.get().read


def test_without_an_action_the_strip_has_no_such_button(client, told):
    message = told()

    forms = soup(strip(client)).select("form")
    assert not [f for f in forms if "/open/" in f.get("action", "")]
    assert message.url


def test_without_the_pages_of_the_app_the_strip_has_no_button(client, told, settings):
    told(action="Upgrade")
    settings.ROOT_URLCONF = tuple(urlpatterns[:1])

    page = strip(client)

    assert "Uploads stop." in page
    assert "Upgrade" not in page
