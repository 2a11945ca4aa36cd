"""Compatibility with the packages of 2011, where no other test covers it."""

import re
from pathlib import Path

import pytest
from django.conf import settings as site
from django.contrib import messages
from django.contrib.messages.storage import default_storage
from django.template import Context, Template
from django.template.loader import get_template
from django.test import RequestFactory
from django.urls import reverse

import persistent_messages
from persistent_messages.models import Message

ROOT = Path(__file__).parent.parent


def test_app_works_with_contrib_middleware(client, user):
    assert "persistent_messages" in site.INSTALLED_APPS
    assert "django.contrib.messages.middleware.MessageMiddleware" in site.MIDDLEWARE
    client.post(reverse("add"), {"kind": "notice"})
    assert Message.objects.get().user == user


def test_storage_path_of_2011_works(settings):
    settings.MESSAGE_STORAGE = "persistent_messages.storage.PersistentMessageStorage"
    request = RequestFactory().get("/")
    request.session = {}
    assert type(default_storage(request)).__name__ == "PersistentMessageStorage"


def test_subject_is_stored_and_shown(client, send):
    message = send("The text", subject="The subject")
    assert Message.objects.get().subject == "The subject"
    for url in (reverse("home"), reverse("message_list"), message_url(message)):
        assert "The subject" in client.get(url).content.decode()


def message_url(message):
    return reverse("message_detail", args=[message.pk])


def test_message_has_documented_attributes_in_templates(send, other):
    message = send("Text", subject="Subject", extra_tags="x", from_user=other, close_timeout=9)
    names = "tags subject message is_persistent pk read level extra_tags from_user expires"
    source = "|".join(f"{{{{ message.{name} }}}}" for name in [*names.split(), "close_timeout"])
    shown = Template(source + "|{{ message }}").render(Context({"message": message}))
    assert shown == (
        f"x info unread|Subject|Text|True|{message.pk}|False|120|x|harry|None|9|Subject: Text"
    )
    assert message.created is not None


def test_detail_page_uses_its_template_and_marks_as_read(client, send):
    message = send("Hello")
    response = client.get(message_url(message))
    assert "persistent_messages/message/detail.html" in [t.name for t in response.templates]
    assert response.context["message"] == message
    assert Message.objects.get().read


@pytest.mark.parametrize("name", ["message_mark_all_read", "message_delete_all"])
def test_action_on_all_affects_only_logged_in_user(client, send, other, name):
    send("Mine")
    send("His", to=other)
    client.post(reverse(name))
    his = Message.objects.get(user=other)
    assert (his.read, his.folder) == (False, persistent_messages.Folder.INBOX)
    mine = Message.objects.get(message="Mine")
    assert mine.read or mine.folder == persistent_messages.Folder.TRASH


@pytest.mark.parametrize(
    "name",
    [
        "list.html",
        "detail.html",
        "includes/messages.html",
        "includes/messages.jquery.html",
        "includes/message_li.html",
        "includes/inbox.html",
    ],
)
def test_template_paths_are_kept(name):
    assert get_template(f"persistent_messages/message/{name}")


def test_inbox_needs_no_jquery(client, send):
    message = send("Hello")
    for url in (reverse("message_list"), message_url(message)):
        assert "jquery" not in client.get(url).content.decode().lower()
    client.post(reverse("message_mark_read", args=[message.pk]))
    client.post(reverse("message_delete", args=[message.pk]))
    message.refresh_from_db()
    assert (message.read, message.folder) == (True, persistent_messages.Folder.TRASH)


def test_dependencies_are_the_documented_ones():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (needed,) = re.findall(r"^dependencies = \[(.*?)\]", project, re.DOTALL | re.MULTILINE)
    assert all(name in needed for name in ("django>=", "django-htmx", "django-template-partials"))
    (tested,) = re.findall(r"^test = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    assert "pytest-django" in tested


def test_contrib_levels_work_with_both_functions(client, user):
    request = RequestFactory().get("/")
    request.session, request.user = client.session, user
    request._messages = default_storage(request)
    messages.add_message(request, messages.INFO, "Hello world.")
    assert [str(message) for message in request._messages] == ["Hello world."]


def test_url_patterns_of_readme_work():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    [written] = [block for block in blocks if "persistent_messages.urls" in block]
    names = {}
    exec(written, names)
    [pattern] = names["urlpatterns"]
    assert pattern.resolve("messages/").url_name == "message_list"
