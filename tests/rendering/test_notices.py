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
def send_notice(user):
    def send_notice(times=1, **kwargs):
        for _ in range(times):
            send_message(user, WARNING, "Uploads stop.", **{**TEXTS, **kwargs})
        return Message.objects.latest("pk")

    return send_notice


def strip(client):
    return client.get("/strip/").text


@pytest.mark.parametrize("address", ["/messages/", "/messages/latest/", "/strip/"])
def test_repeat_count_is_shown_and_read_out(client, send_notice, address):
    send_notice(3, key="quota")

    (count,) = soup(client.get(address, headers=PART).text).select(".pm-count")

    shown, heard = count.find_all(recursive=False)
    assert (text_of(shown), shown["aria-hidden"]) == ("×3", "true")
    assert text_of(heard) == "3 times"


@pytest.mark.parametrize("address", ["/messages/", "/messages/latest/", "/strip/"])
def test_notice_sent_once_has_no_count(client, send_notice, address):
    send_notice(1, key="quota")

    assert soup(client.get(address, headers=PART).text).select(".pm-count") == []


def test_repeat_count_is_translated(client, send_notice):
    send_notice(3, key="quota")

    page = client.get("/messages/", headers={"Accept-Language": "ja"}).text

    (count,) = soup(page).select(".pm-count")
    assert text_of(count) == "×3 3回"


def test_row_and_page_show_topic(client, send_notice):
    message = send_notice(topic="storage")

    row = client.get("/messages/").text
    page = client.get(f"/messages/detail/{message.pk}/").text

    assert "Storage &amp; more" in row
    assert "Storage &amp; more" in page


def test_unregistered_topic_is_shown_by_name(client, send_notice):
    send_notice(topic="storage")
    Message.objects.update(topic="gone")

    assert "gone" in text_of(soup(client.get("/messages/").text).select(".pm-row")[0])


def test_action_label_is_shown_on_button(client, send_notice):
    message = send_notice(action="Upgrade <now>")
    opens = f"/messages/open/{message.pk}/"

    (button,) = [b for b in soup(strip(client)).select("button") if "Upgrade" in text_of(b)]
    assert text_of(button) == "Upgrade <now>"
    row = client.get("/messages/").text
    (icon,) = [b for b in soup(row).select("button") if b.get("formaction") == opens]
    assert icon["title"] == "Upgrade <now>"
    assert icon["aria-label"] == "Upgrade <now>, Storage is 90 % full"
    page = client.get(f"/messages/detail/{message.pk}/").text
    assert "Upgrade <now>" in [text_of(b).strip() for b in soup(page).select("button")]


def test_action_button_of_strip_redirects_and_marks_as_read(client, send_notice):
    message = send_notice(action="Upgrade")
    forms = soup(strip(client)).select("form")
    (form,) = [f for f in forms if f.get("action", "").endswith(f"/{message.pk}/")][:1]

    answer = client.post(form["action"])

    assert answer.status_code == 302
    assert answer["Location"] == "/storage/"
    assert Message.objects.get().read


def test_strip_without_action_has_no_action_button(client, send_notice):
    message = send_notice()

    forms = soup(strip(client)).select("form")
    assert not [f for f in forms if "/open/" in f.get("action", "")]
    assert message.url


def test_strip_without_urls_of_app_has_no_action_button(client, send_notice, settings):
    send_notice(action="Upgrade")
    settings.ROOT_URLCONF = tuple(urlpatterns[:1])

    page = strip(client)

    assert "Uploads stop." in page
    assert "Upgrade" not in page
