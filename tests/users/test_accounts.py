"""Accounts that are deleted or deactivated during a request are treated as visitors."""

import pytest
from django.contrib import admin, auth, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.test import Client, RequestFactory
from django.urls import include, path

import persistent_messages
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage

VISITOR_ERROR = "Persistent message levels cannot be used for anonymous users."


def row_of(request):
    return get_user_model().objects.filter(pk=request.user.pk)


def deactivate(request):
    request.user.is_active = False
    request.user.save()


def delete_another_object(request):
    get_user_model().objects.get(pk=request.user.pk).delete()


def delete_many(request):
    get_user_model().objects.all().delete()


# Ways in which an account is deleted or deactivated during a request.
WAYS = {
    "itself": lambda request: request.user.delete(),
    "another object": delete_another_object,
    "a queryset": lambda request: row_of(request).delete(),
    "all": delete_many,
    "deactivated": deactivate,
    "logged out": lambda request: (request.user.delete(), auth.logout(request)),
}


def deactivate_another_object(request):
    person = row_of(request).get()
    person.is_active = False
    person.save()


def deactivate_row(request):
    row_of(request).update(is_active=False)


# Ways that only the next request notices, because no object of this request changes.
HIDDEN_WAYS = {"another object": deactivate_another_object, "a queryset": deactivate_row}


def close(request, way):
    HIDDEN_WAYS[way](request)
    messages.success(request, "Bye")
    return HttpResponseRedirect("/show/")


def leave(request, way):
    if "before" in request.GET:
        messages.info(request, request.GET["before"])
    WAYS[way](request)
    messages.success(request, "Bye")
    return HttpResponseRedirect("/show/")


def leave_after(request, way):
    """Delete the account when the message is already queued."""
    messages.success(request, "Bye")
    WAYS[way](request)
    return HttpResponseRedirect("/show/")


def leave_showing(request, way):
    WAYS[way](request)
    messages.success(request, "Bye")
    storage = request._messages
    return JsonResponse(
        {
            "shown": [str(message) for message in storage],
            "counts": [storage.count_unread(), storage.count_persistent_unread()],
            "persistent": list(storage.get_persistent()),
            "once": [str(message) for message in storage.get_nonpersistent()],
        }
    )


def leave_keeping(request, way):
    WAYS[way](request)
    try:
        persistent_messages.success(request, "Bye")
    except NotImplementedError as error:
        return HttpResponse(str(error))
    return HttpResponse("kept")


def fail_to_leave(request):
    try:
        with transaction.atomic():
            row_of(request).delete()
            raise IntegrityError("has orders")
    except IntegrityError:
        messages.error(request, "Not deleted")
        persistent_messages.error(request, "Still here")
    return HttpResponseRedirect("/show/")


def switch(request, name):
    messages.info(request, "Queued")
    other = get_user_model().objects.get(username=name)
    if "before" in request.GET:
        list(request._messages)
    request.user = other
    messages.info(request, "As somebody else")
    return HttpResponse("switched")


def show(request):
    return JsonResponse({"shown": [str(message) for message in request._messages]})


def getter(request):
    storage = request._messages
    before = storage.count_nonpersistent()
    shown = [str(message) for message in storage.get_nonpersistent()]
    return JsonResponse({"shown": shown, "counts": [before, storage.count_nonpersistent()]})


urlpatterns = [
    path("leave/<way>/", leave),
    path("close/<way>/", close),
    path("after/<way>/", leave_after),
    path("showing/<way>/", leave_showing),
    path("keeping/<way>/", leave_keeping),
    path("fail/", fail_to_leave),
    path("switch/<name>/", switch),
    path("show/", show),
    path("getter/", getter),
    path("messages/", include("persistent_messages.urls")),
    path("admin/", admin.site.urls),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]
EACH_WAY = pytest.mark.parametrize("way", WAYS)


@EACH_WAY
@pytest.mark.parametrize("view", ["leave", "after"])
def test_user_who_closes_account_sees_message_once(client, view, way):
    assert client.get(f"/{view}/{way}/").status_code == 302
    assert client.get("/show/").json() == {"shown": ["Bye"]}
    assert client.get("/show/").json() == {"shown": []}
    assert not Message.objects.exists()


@EACH_WAY
def test_messages_queued_before_closing_account_are_shown(client, way):
    client.get(f"/leave/{way}/?before=Hello")
    shown = client.get("/show/").json()["shown"]
    assert shown == ["Hello", "Bye"]


@EACH_WAY
def test_deleted_user_is_treated_as_visitor(client, send, way):
    send("Hers")
    send("Once", messages.INFO)
    assert client.get(f"/showing/{way}/").json() == {
        "shown": ["Bye"],
        "counts": [0, 0],
        "persistent": [],
        "once": ["Bye"],
    }
    assert client.get("/show/").json() == {"shown": []}


@EACH_WAY
def test_persistent_message_for_deleted_user_is_refused(client, way):
    assert client.get(f"/keeping/{way}/").text == VISITOR_ERROR
    assert not Message.objects.exists()


def test_rolled_back_deletion_is_ignored(client):
    client.get("/fail/")
    assert client.get("/show/").json() == {"shown": ["Not deleted", "Still here"]}
    assert client.get("/show/").json() == {"shown": ["Still here"]}


def test_reused_primary_key_belongs_to_new_user(client, user):
    """SQLite reuses keys, and a site may restore an account."""
    client.get("/leave/a queryset/")
    again = get_user_model().objects.create_user("sue", pk=user.pk or 1)
    request = RequestFactory().get("/")
    request.session, request.user = {}, again
    storage = PersistentMessageStorage(request)
    assert storage.add(persistent_messages.INFO, "Kept").user_id == again.pk


@pytest.mark.parametrize("way", HIDDEN_WAYS)
def test_user_deactivated_by_other_instance_sees_message_in_same_browser(client, send, way):
    """The form of the admin has its own instance of the user."""
    send("Once", messages.INFO)  # by code without a request: for the account alone
    client.get(f"/close/{way}/")
    assert Client().get("/show/").json() == {"shown": []}
    assert client.get("/show/").json() == {"shown": ["Bye"]}
    assert client.get("/show/").json() == {"shown": []}


@pytest.mark.parametrize("way", HIDDEN_WAYS)
def test_get_nonpersistent_returns_messages_of_closed_account(client, way):
    client.get(f"/close/{way}/")
    assert client.get("/getter/").json() == {"shown": ["Bye"], "counts": [1, 0]}
    assert client.get("/getter/").json() == {"shown": [], "counts": [0, 0]}


def test_messages_of_closed_account_are_not_shown_to_others(client, user, other):
    """Neither for the next user of the browser, nor without the browser's cookie."""
    client.get("/close/a queryset/")
    stranger = Client()
    stranger.cookies["sessionid"] = client.cookies["sessionid"].value
    assert stranger.get("/show/").json() == {"shown": []}
    client.force_login(other)
    assert client.get("/show/").json() == {"shown": []}


def test_user_deleted_between_requests_is_treated_as_visitor(client, user, send):
    send("Hers", messages.INFO)
    user.delete()
    assert client.get("/show/").json() == {"shown": []}


def test_existing_account_takes_no_extra_query(user, django_assert_num_queries):
    get_user_model().objects.create_user("tom").delete()
    request = RequestFactory().get("/")
    request.session, request.user = {}, user
    storage = PersistentMessageStorage(request)
    get_user_model().objects.create_user("tim").delete()
    with django_assert_num_queries(1):
        storage.add(persistent_messages.INFO, "Kept")
    with django_assert_num_queries(1):
        storage.add(messages.INFO, "Once")
        storage.update(HttpResponse())


def test_inactive_user_with_permitted_log_in_has_messages(client, user, settings):
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    client.force_login(user)
    get_user_model().objects.update(is_active=False)
    persistent_messages.send_message(user, persistent_messages.INFO, "Kept")
    assert client.get("/show/").json() == {"shown": ["Kept"]}
    assert client.get("/messages/").status_code == 200


def test_superuser_who_deletes_own_account_is_redirected_to_log_in(client, user):
    get_user_model().objects.update(is_superuser=True, is_staff=True)
    response = client.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"})
    assert response.status_code == 302
    assert not Message.objects.exists()
    assert len(client.get("/show/").json()["shown"]) == 1


@pytest.mark.parametrize("before", ["", "?before=1"])
def test_queued_messages_go_to_final_user_of_request(client, user, other, before):
    client.get(f"/switch/harry/{before}")
    assert client.get("/show/").json() == {"shown": []}
    client.force_login(other)
    expected = ["As somebody else"] if before else ["Queued", "As somebody else"]
    assert client.get("/show/").json() == {"shown": expected}


@pytest.mark.parametrize("kind", ["once", "kept"])
@pytest.mark.django_db(transaction=True)
def test_user_deleted_during_request_is_treated_as_visitor(user, kind):
    """No signal is sent; the database reports it when the message is stored."""
    request = RequestFactory().get("/")
    request.session, request.user = {}, user
    storage, response = PersistentMessageStorage(request), HttpResponse()
    if kind == "once":
        storage.add(messages.INFO, "Bye")
    with connection.cursor() as cursor:
        table, name = user._meta.db_table, connection.ops.quote_name
        cursor.execute(f"DELETE FROM {name(table)} WHERE id = %s", [user.pk])
    if kind == "kept":
        with pytest.raises(NotImplementedError, match=VISITOR_ERROR):
            storage.add(persistent_messages.INFO, "Kept")
        storage.add(messages.INFO, "Bye")
    assert storage.update(response) == []
    request.COOKIES["messages"], request.user = response.cookies["messages"].value, AnonymousUser()
    assert [str(message) for message in PersistentMessageStorage(request)] == ["Bye"]
    assert not Message.objects.exists()
