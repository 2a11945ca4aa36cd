"""A signed-in user who is not an instance of the user model."""

import uuid

import pytest
from django.contrib import messages as contrib_messages
from django.contrib.auth.models import Group
from django.contrib.messages.storage import default_storage
from django.http import HttpResponse
from django.test import RequestFactory

import persistent_messages


@pytest.fixture
def request_of():
    def request_of(key):
        request = RequestFactory().get("/")
        request.session = {}
        request.user = Group(pk=key)
        request.user.is_authenticated = True
        request._messages = default_storage(request)
        return request

    return request_of


@pytest.mark.parametrize("same", [True, False])
def test_request_user_of_other_class_is_treated_as_visitor(request_of, user, send, same):
    send("For Sally", contrib_messages.INFO)
    send("For Sally, too")
    # An existing user's key, and one that does not fit the column.
    request = request_of(user.pk if same else uuid.uuid4().int)

    contrib_messages.info(request, "Hello")

    assert [str(message) for message in request._messages] == ["Hello"]
    assert request._messages.update(HttpResponse()) == []
    assert user.persistent_messages.count() == 2
    with pytest.raises(NotImplementedError):
        persistent_messages.info(request, "Kept")
