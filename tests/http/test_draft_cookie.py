"""The cookie with the names of drafts, and when names are removed."""

import re

import pytest
from django.urls import reverse

from persistent_messages import send_letter
from persistent_messages.http.draft_cookie import COOKIE, draft_name
from persistent_messages.models import Message
from tests.pages import HTMX, form_to, soup


@pytest.fixture
def letter(user, other):
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")
    return Message.objects.get(user=user, letter=sent.letter)


def draft_at(client, url):
    return form_to(client.get(url), url)["data-pm-draft"]


def reply(client, letter, headers, **given):
    url = reverse("message_reply", args=[letter.pk])
    form = form_to(client.get(url), url)
    (token,) = [e for e in soup(form).select("input") if e["name"] == "letter"]
    data = {"letter": token["value"], "message": "Yes.", **given}
    return client.post(url, data, headers=headers)


def test_draft_name_does_not_reveal_user(user, other):
    names = {draft_name(person, "new") for person in (user, other)}

    assert len(names) == 2
    assert all(re.fullmatch("[0-9a-f]{12}-new", name) for name in names)


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_sent_reply_removes_only_its_draft_name(client, letter, headers):
    name = draft_at(client, reverse("message_reply", args=[letter.pk]))
    client.cookies[COOKIE] = f"other-new.{name}.<b>.{'x' * 60}"

    response = reply(client, letter, headers, message=" ")
    assert COOKIE not in response.cookies
    response = reply(client, letter, headers)

    assert response.cookies[COOKIE].value == "other-new"
    assert not response.cookies[COOKIE]["httponly"]


def test_removing_last_draft_name_deletes_cookie(client, other, user):
    name = draft_at(client, "/messages/write/")
    client.cookies[COOKIE] = name
    form = form_to(client.get("/messages/write/"), "/messages/write/")
    (token,) = [e for e in soup(form).select("input") if e["name"] == "letter"]
    data = {"letter": token["value"], "to": "harry", "message": "Hello"}

    response = client.post("/messages/write/", data)

    assert (response.status_code, response.cookies[COOKIE]["max-age"]) == (302, 0)


def test_conversation_has_one_draft(client, user, letter):
    own = send_letter(user, None, "", "Yes.", letter)
    urls = [reverse("message_reply", args=[row.pk]) for row in (letter, own)]

    assert len({draft_at(client, url) for url in urls}) == 1


def test_log_out_deletes_cookie(client):
    client.cookies[COOKIE] = "any-new"

    assert client.post("/log-out/").cookies[COOKIE]["max-age"] == 0


def test_user_without_drafts_gets_no_cookie(client, letter):
    assert COOKIE not in reply(client, letter, {}).cookies
    assert COOKIE not in client.post("/log-out/").cookies
