"""The strip shows notices, up to a limit, and no letters."""

import pytest
from django.contrib import messages as contrib_messages
from django.http import HttpResponse
from django.template import engines
from django.urls import include, path
from django.utils.safestring import mark_safe

from persistent_messages.letters.sending import send_letter
from persistent_messages.models import Message
from tests.pages import HTMX, is_page, soup, text_of, texts

STRIP = "{% include 'persistent_messages/message/includes/messages.html' with close_all=True %}"
LOOP = "{% for message in messages %}<p>{{ message }}</p>{% endfor %}"
COUNTER = "{% load persistent_messages %}{% unread_counter %}"
MEGABYTE = 10**6


def shows(code):
    def view(request):
        return HttpResponse(engines["django"].from_string(code).render({}, request))

    return view


urlpatterns = [
    path("strip/", shows(COUNTER + STRIP)),
    path("loop/", shows(LOOP)),
    path("messages/", include("persistent_messages.urls")),
]


@pytest.fixture(autouse=True)
def site(settings):
    settings.ROOT_URLCONF = __name__
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]
    return settings


@pytest.fixture
def letter(user, other):
    return send_letter(other, user, "Rota", "Can we swap?")


@pytest.mark.parametrize("address", ["/strip/", "/loop/"])
def test_strip_omits_letters_and_counter_includes_them(client, letter, send, address):
    send("The disk is full.")
    page = client.get(address)

    assert "The disk is full." in page.text
    assert "Can we swap?" not in page.text
    assert "Can we swap?" in client.get("/messages/").text
    assert texts(client.get("/strip/"), ".pm-badge") == ["2"]


@pytest.mark.parametrize("address", ["/strip/", "/loop/"])
def test_strip_letters_setting_shows_letters(client, site, letter, address):
    site.PERSISTENT_MESSAGES = {"LETTERS": True, "STRIP_LETTERS": True}
    assert "Can we swap?" in client.get(address).text


def test_strip_in_htmx_response_omits_letters(client, letter, send):
    send("The disk is full.")
    send("Saved.", contrib_messages.INFO)
    fragment = client.get("/messages/latest/", headers=HTMX)

    assert not is_page(fragment)
    (notices,) = texts(fragment, ".pm-notices")
    assert "The disk is full." in notices
    assert "Can we swap?" not in notices


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize(("strip_letters", "unread"), [(False, 1), (True, 0)])
def test_close_all_marks_only_shown_messages_as_read(
    client, site, letter, send, user, headers, strip_letters, unread
):
    site.PERSISTENT_MESSAGES = {"LETTERS": True, "STRIP_LETTERS": strip_letters}
    send("The disk is full.")
    data = {"pm-from": "strip", "newest": Message.objects.latest("pk").pk, "pm-part": "strip"}
    client.post("/messages/mark_read/all/", data, headers=headers)

    left = Message.objects.inbox_of(user).unread()
    assert [message.is_letter for message in left] == [True] * unread


@pytest.mark.parametrize("address", ["/strip/", "/loop/"])
def test_strip_shows_notice_from_user(client, other, send, address):
    other.first_name, other.last_name = "Harriet", "Quimby"
    send("Your report is ready.", from_user=other)
    assert "Your report is ready." in client.get(address).text


def test_strip_names_sender_of_notice(client, other, send):
    other.first_name, other.last_name = "<b>Harriet</b>", "Quimby"
    send("Your report is ready.", from_user=other)
    send("The disk is full.")
    found = [text_of(notice) for notice in soup(client.get("/strip/")).select(".pm-notice")]

    assert "From <b>Harriet</b> Quimby" in found[1]
    assert "From" not in found[0]


# The length of a notice


def notice(client):
    (found,) = soup(client.get("/strip/")).select(".pm-notice")
    return found


def links(element):
    return {text_of(link): link["href"] for link in soup(element).select("a")}


@pytest.mark.parametrize("subject", ["", "Export"])
@pytest.mark.parametrize("mark", [str, mark_safe])
def test_long_notice_is_truncated_and_links_to_detail_page(client, send, mark, subject):
    message = send(mark("word " * 200 + "END"), subject=subject)
    page = client.get("/strip/")

    assert "word " * 99 in page.text
    assert "word " * 101 not in page.text
    assert "END" not in page.text
    assert links(notice(client))["Read more"] == f"/messages/detail/{message.pk}/"
    assert "END" in client.get(f"/messages/detail/{message.pk}/").text


@pytest.mark.parametrize("mark", [str, mark_safe])
def test_notice_of_500_characters_is_not_truncated(client, send, mark):
    send(mark("x" * 499 + "y"))
    assert "x" * 499 + "y" in client.get("/strip/").text
    assert "Read more" not in links(notice(client))


@pytest.mark.parametrize(
    "text",
    ["x" * MEGABYTE, mark_safe("<p>x" * (MEGABYTE // 4)), mark_safe("<b></b>" * MEGABYTE)],
    ids=["plain", "paragraphs", "markup"],
)
def test_text_of_one_megabyte_is_truncated(client, send, text):
    for _ in range(3):
        send(text)
    page = client.get("/strip/")
    assert len(soup(page).select(".pm-notice")) == 3
    assert len(page.content) < 80_000


def test_one_shot_message_is_not_truncated(client, send):
    """A one-shot message has no page with the rest of the text."""
    send("word " * 200 + "END", contrib_messages.INFO)
    assert "END" in client.get("/strip/").text
