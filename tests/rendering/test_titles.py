"""The title of a message is never empty, whatever its text."""

import uuid

import pytest
from django.contrib.messages.storage.base import Message as ContribMessage
from django.urls import reverse
from django.utils.safestring import mark_safe

from persistent_messages import INFO, SUCCESS, send_message
from persistent_messages.models import Message
from persistent_messages.rendering.rows import plain_title
from persistent_messages.text.plain import has_visible_text
from tests.pages import HTMX, soup, text_of

BLANK = [
    " ",
    "\n\t",
    "\u200b",
    "\u00ad\u2060",
    "\u3164",
    mark_safe("<br>"),
    mark_safe("&nbsp;<b> </b>"),
]
BLANK += [
    mark_safe('<img src="/static/x.png">'),
    mark_safe("<!-- note -->"),
    mark_safe("<hr>" * 5000),
]


def letter(**fields):
    return Message(level=INFO, thread=uuid.uuid4(), **fields)


@pytest.mark.parametrize("blank", BLANK)
def test_title_is_never_blank(blank):
    subject = "" + blank[:255]
    assert Message(level=SUCCESS, message=blank).title == "Success"
    assert Message(level=155, message=blank).title == "Info"
    assert letter(message=blank).title == "(no subject)"
    assert plain_title(ContribMessage(40, blank)) == "Error"
    if blank == subject and "<" not in blank:
        assert Message(level=INFO, subject=subject, message="The text").title == "The text"
        assert not Message(level=INFO, subject=subject, message="The text").has_subject


def test_title_is_found_behind_much_markup():
    assert Message(level=INFO, message=mark_safe("<br>" * 1000 + "Hello")).title == "Hello"


def test_title_excludes_scripts_and_styles():
    text = mark_safe("<style>p { color: red }</style><script>go()</script><p>One</p><p>Two</p>")

    assert Message(level=INFO, message=text).title == "One Two"


def unnamed_elements(page):
    """The links, buttons and headings of a page that say nothing."""
    return [
        element
        for element in soup(page).find_all(True)
        if element.name in ("a", "button", "h1", "h2", "title")
        and element.get("aria-hidden") != "true"
        and not has_visible_text(element.get("aria-label") or text_of(element))
    ]


@pytest.mark.parametrize("blank", BLANK[:-1])
@pytest.mark.parametrize("headers", [{}, HTMX])
def test_links_and_buttons_have_accessible_names(client, user, blank, headers):
    send_message(user, INFO, blank, subject="\u200b", url="/reports/", close_timeout=5000)
    key = Message.objects.get().pk
    actions = ("open", "mark_read", "archive", "delete", "detail")
    urls = ["/", reverse("message_list"), reverse("message_latest")]
    urls += [reverse(f"message_{action}", args=[key]) for action in actions]

    for url in urls:
        page = client.get(url, headers=headers)
        if page.status_code == 200:
            assert unnamed_elements(page) == []
            assert "“\u200b”" not in page.text
            assert "“”" not in page.text
    assert "“Info”" in client.get(reverse("message_delete", args=[key]), headers=headers).text


@pytest.mark.parametrize("blank", BLANK[:-1])
def test_blank_message_has_link_in_admin(admin_client, user, blank):
    send_message(user, INFO, blank)

    page = admin_client.get(reverse("admin:persistent_messages_message_changelist"))
    (cell,) = soup(page).select(".field-title")
    (link,) = soup(cell).select("a")
    assert text_of(link) == "Info"


@pytest.mark.parametrize("blank", BLANK[:-1])
def test_mail_of_blank_message_has_subject(
    user, mailoutbox, django_capture_on_commit_callbacks, blank
):
    with django_capture_on_commit_callbacks(execute=True):
        send_message(user, INFO, blank, email=True)

    assert [mail.subject for mail in mailoutbox] == ["Info"]
