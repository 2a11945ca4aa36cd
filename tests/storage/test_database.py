"""Features of the storage beyond `django.contrib.messages`."""

import sqlite3
import sys
from contextlib import contextmanager
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib import auth, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages import Message as ContribMessage
from django.core.exceptions import FieldError
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.http import HttpResponse, JsonResponse
from django.template import engines
from django.test import AsyncClient, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeData, mark_safe

import persistent_messages
from persistent_messages import mailbox
from persistent_messages.constants import Folder
from persistent_messages.inbox.counter import reset_unread_count, unread_count
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage
from tests.databases import close_response

VISITOR_ERROR = "Persistent message levels cannot be used for anonymous users."


# A small site


def add(request):
    messages.info(request, request.GET["text"])
    return HttpResponse("added")


def add_and_log_in(request):
    messages.info(request, "Before")
    auth.login(request, get_user_model().objects.get(username=request.GET["who"]))
    messages.info(request, "After")
    return HttpResponse("in")


def show_and_log_in(request):
    shown = [str(message) for message in request._messages]
    auth.login(request, get_user_model().objects.get(username=request.GET["who"]))
    return JsonResponse({"before": shown, "after": [str(m) for m in request._messages]})


def add_and_log_out(request):
    messages.info(request, "Before")
    auth.logout(request)
    messages.info(request, "After")
    return HttpResponse("out")


def show_and_log_out(request):
    shown = [str(message) for message in request._messages]
    auth.logout(request)
    return JsonResponse({"before": shown, "after": [str(m) for m in request._messages]})


def show(request):
    return JsonResponse({"shown": [str(message) for message in request._messages]})


def quiet(request):
    return HttpResponse("quiet")


def only_counted(request):
    return HttpResponse(str(bool(request._messages)))


def fail_after_showing(request):
    if "text" in request.GET:
        messages.info(request, request.GET["text"])
    list(request._messages)
    raise RuntimeError("down")


def unavailable(request):
    list(request._messages)
    return HttpResponse(status=503)


def refused(request):
    return JsonResponse({"shown": [str(message) for message in request._messages]}, status=404)


async def add_async(request):
    answers = [
        messages.success(request, "Once"),
        persistent_messages.warning(request, "Kept"),
    ]
    return HttpResponse(repr(answers))


async def fail_async(request):
    persistent_messages.warning(request, "Kept")
    raise RuntimeError("down")


def roll_back(request):
    try:
        with transaction.atomic():
            persistent_messages.info(request, "Ordered")
            raise RuntimeError("no money")
    except RuntimeError:
        messages.error(request, "Not ordered")
    return HttpResponse("rolled back")


def page(request):
    template = engines["django"].from_string(
        "{% if messages %}{% for message in messages %}{{ message }}, {% endfor %}{% endif %}"
    )
    return HttpResponse(template.render(request=request))


def nav(request):
    template = engines["django"].from_string(
        "{% if messages.count_persistent_unread > 0 %}"
        "({{ messages.count_persistent_unread }}){% endif %}"
    )
    return HttpResponse(template.render(request=request))


def page_of_2011(request):
    if "text" in request.GET:
        messages.info(request, request.GET["text"])
    template = engines["django"].from_string(
        "{% if messages.count_nonpersistent %}"
        "{% for m in messages.get_nonpersistent %}{{ m }}, {% endfor %}{% endif %}"
    )
    return HttpResponse(template.render(request=request))


def source(request):
    return HttpResponse(engines["django"].from_string(request.GET["source"]).render({}, request))


def read_one(request):
    storage = request._messages
    read = texts(storage.get_nonpersistent().filter(message=request.GET["text"]))
    return JsonResponse({"read": read, "left": storage.count_nonpersistent()})


def read_and_reset_used(request):
    storage = request._messages
    read = texts(storage.get_nonpersistent())
    storage.used = False
    return JsonResponse({"read": read, "left": storage.count_nonpersistent()})


VIEWS = [
    page_of_2011,
    source,
    read_one,
    read_and_reset_used,
    add,
    add_and_log_in,
    show_and_log_in,
    add_and_log_out,
    show_and_log_out,
    show,
    quiet,
    only_counted,
    fail_after_showing,
    unavailable,
    refused,
    add_async,
    fail_async,
    roll_back,
    page,
    nav,
]
urlpatterns = [path(f"{view.__name__}/", view) for view in VIEWS]

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture
def storage(user):
    """What a request of Sally sees."""
    return storage_of(user)


@pytest.fixture
def visitor_storage(db):
    return storage_of(AnonymousUser())


def storage_of(user):
    request = RequestFactory().get("/")
    request.session = {}
    request.user = user
    request._messages = PersistentMessageStorage(request)
    return request._messages


def answer(storage, status=200):
    """Send a response, as a server does; returns what could not be stored."""
    response = HttpResponse(status=status)
    left = storage.update(response)
    close_response(response)
    return left


def texts(shown):
    return [message.message for message in shown]


def rows_of(message):
    return Message.objects.filter(pk=message.pk)


def shown_to(client):
    return client.get("/show/").json()["shown"]


def fill(user, count, level, **values):
    """Put many rows into a mailbox at once."""
    folder = Folder.INBOX if level > 100 else Folder.ONE_SHOT
    Message.objects.bulk_create(
        Message(user=user, level=level, folder=folder, message=f"Number {number}", **values)
        for number in range(count)
    )


def writes(queries):
    return [row["sql"].split()[0] for row in queries if not row["sql"].startswith("SELECT")]


# Where messages are stored


def test_one_shot_message_is_stored_until_shown(client, user):
    client.get("/add/", {"text": "Once"})
    [row] = Message.objects.all()
    assert (row.user, row.folder, row.level, row.read) == (user, Folder.ONE_SHOT, 20, False)
    assert "messages" not in client.cookies
    assert shown_to(client) == ["Once"]
    assert not Message.objects.exists()


def test_persistent_messages_are_kept(client, send):
    send("Kept")
    assert shown_to(client) == ["Kept"]
    assert shown_to(client) == ["Kept"]
    assert Message.objects.get().read_at is None


def test_persistent_message_is_saved_immediately(storage, user, django_assert_num_queries):
    with django_assert_num_queries(1):
        row = storage.add(persistent_messages.WARNING, "Kept", subject="Note", extra_tags="x")
    stored = Message.objects.get()
    assert stored.pk == row.pk
    assert (stored.user, stored.folder, stored.level) == (user, Folder.INBOX, 130)
    assert (stored.subject, stored.message, stored.extra_tags) == ("Note", "Kept", "x")
    with django_assert_num_queries(0):
        answer(storage)


def test_contrib_add_message_adds_persistent_message(storage):
    messages.add_message(storage.request, persistent_messages.WARNING, "Kept")
    persistent_messages.add_message(storage.request, persistent_messages.WARNING, "Kept")
    first, second = Message.objects.order_by("pk")
    for field in ("user_id", "folder", "level", "message", "subject", "extra_tags", "read_at"):
        assert getattr(first, field) == getattr(second, field)


def test_levels_from_101_to_199_are_persistent(storage):
    storage.level = 0
    kept = [storage.add(level, f"Level {level}") for level in (101, 129, 199)]
    assert [row.folder for row in kept] == [Folder.INBOX] * 3
    assert all(row.is_persistent for row in kept)
    assert storage.add(100, "Queued") is None
    assert storage.add(200, "Queued") is None
    answer(storage)
    assert [row.level for row in Message.objects.filter(folder=Folder.ONE_SHOT)] == [100, 200]


def test_iterating_gives_one_shot_and_unread_persistent_messages(user, send):
    send("Older")
    read = send("Read")
    mailbox.mark_read(user, Folder.INBOX, rows_of(read))
    send("First", messages.INFO)
    send("Newer")
    send("Second", messages.INFO)
    assert texts(storage_of(user)) == ["First", "Second", "Newer", "Older"]


@pytest.mark.parametrize("move", [mailbox.archive, mailbox.delete])
def test_message_moved_out_of_inbox_is_not_shown(user, send, move):
    assert move(user, Folder.INBOX, rows_of(send("Moved"))).count == 1
    storage = storage_of(user)
    assert texts(storage) == []
    assert list(storage.get_persistent()) == []
    assert storage.count_unread() == 0


def test_persistent_message_added_after_iteration_is_shown_again(storage, send):
    send("Waits")
    list(storage)
    storage.add(persistent_messages.INFO, "Added")
    assert texts(storage) == ["Waits", "Added"]


def test_strip_has_only_newest_persistent_messages(user, settings):
    settings.PERSISTENT_MESSAGES = {"STRIP_LIMIT": 3}
    fill(user, 5, persistent_messages.INFO)
    assert texts(storage_of(user)) == ["Number 4", "Number 3", "Number 2"]


def test_strip_limit_does_not_apply_to_one_shot_messages(user, settings):
    settings.PERSISTENT_MESSAGES = {"STRIP_LIMIT": 3}
    fill(user, 5, messages.INFO)
    fill(user, 5, persistent_messages.INFO)
    assert len(list(storage_of(user))) == 8


# Who the user is


def test_messages_queued_before_log_in_are_shown_after(visitor, user):
    visitor.get("/add/", {"text": "Before"})
    visitor.force_login(user)
    assert shown_to(visitor) == ["Before"]
    assert shown_to(visitor) == []
    assert "messages" not in {k for k, morsel in visitor.cookies.items() if morsel.value}


def test_messages_queued_before_log_in_wait_for_page_showing_them(visitor, user):
    visitor.get("/add/", {"text": "Before"})
    visitor.force_login(user)
    visitor.get("/add/", {"text": "After"})
    visitor.get("/quiet/")
    visitor.get("/only_counted/")
    assert shown_to(visitor) == ["Before", "After"]
    assert shown_to(visitor) == []


def test_messages_queued_before_log_in_survive_failed_page(visitor, user):
    visitor.get("/add/", {"text": "Before"})
    visitor.force_login(user)
    visitor.get("/unavailable/")
    assert shown_to(visitor) == ["Before"]


def test_messages_queued_before_log_in_survive_get_nonpersistent(user, send):
    # The getter is a QuerySet, so it cannot return the messages in the cookie.
    send("Row", messages.INFO)
    request = RequestFactory().get("/")
    request.session, request.user = {}, AnonymousUser()
    first = PersistentMessageStorage(request)
    first.add(messages.INFO, "Before")
    response = HttpResponse()
    first.update(response)
    cookie = response.cookies["messages"].value

    request = RequestFactory().get("/")
    request.COOKIES["messages"] = cookie
    request.session, request.user = {}, user
    second = PersistentMessageStorage(request)
    assert second  # {% if messages %}
    assert texts(second.get_nonpersistent()) == ["Row"]
    response = HttpResponse()
    second.update(response)
    assert "messages" not in response.cookies


def test_messages_queued_in_session_are_shown_after_log_in(visitor, user):
    text = "".join(chr(0x4E00 + number * 7 % 20000) for number in range(3000))
    visitor.post("/add/?" + "text=" + text)
    visitor.force_login(user)
    assert shown_to(visitor) == [text]
    assert shown_to(visitor) == []


def test_messages_queued_before_log_in_in_same_request_are_shown(visitor, user):
    visitor.get("/add_and_log_in/", {"who": "sally"})
    assert texts(Message.objects.order_by("pk")) == ["Before", "After"]
    assert shown_to(visitor) == ["Before", "After"]
    assert shown_to(visitor) == []


def test_log_in_during_request_shows_messages_of_user(visitor, send):
    send("Hers", messages.INFO)
    visitor.get("/add/", {"text": "Before"})
    seen = visitor.get("/show_and_log_in/", {"who": "sally"}).json()
    assert seen["before"] == ["Before"]
    assert "Hers" in seen["after"]
    assert shown_to(visitor) == []


def test_log_out_during_request_keeps_queued_messages_for_visitor(client, user):
    client.get("/add_and_log_out/")
    assert not Message.objects.exists()
    assert shown_to(client) == ["Before", "After"]
    assert shown_to(client) == []


def test_no_message_of_user_is_shown_after_log_out(client, send):
    send("Hers", messages.INFO)
    send("Hers too")
    assert client.get("/show_and_log_out/").json() == {
        "before": ["Hers", "Hers too"],
        "after": [],
    }
    # Shown to her before she left: gone; the persistent one is kept.
    assert texts(Message.objects.all()) == ["Hers too"]
    assert shown_to(client) == []


def test_second_user_of_browser_sees_no_message_of_first(client, other, send):
    send("Sally's", messages.INFO)
    send("Sally's too")
    send("Harry's", messages.INFO, to=other)
    assert client.get("/show_and_log_in/", {"who": "harry"}).json() == {
        "before": ["Sally's", "Sally's too"],
        "after": ["Harry's"],
    }
    assert texts(Message.objects.all()) == ["Sally's too"]


def test_changing_request_user_reads_other_mailbox(user, other, send):
    send("Sally's", messages.INFO)
    send("Harry's", to=other)
    storage = storage_of(user)
    assert len(storage) == 1
    storage.request.user = other
    assert texts(storage) == ["Harry's"]
    assert ContribMessage(messages.INFO, "Sally's") not in storage
    answer(storage)
    assert texts(storage_of(user)) == ["Sally's"]


def test_message_to_other_user_reaches_only_that_user(storage, user, other):
    once = storage.add(messages.INFO, "Once", user=other)
    kept = storage.add(persistent_messages.INFO, "Kept", user=other)
    assert (once.user_id, kept.user_id) == (other.pk, other.pk)
    assert texts(storage) == []
    answer(storage)
    assert texts(storage_of(user)) == []
    assert texts(storage_of(other)) == ["Once", "Kept"]


def test_visitor_can_send_message_to_user(visitor_storage, user):
    row = visitor_storage.add(persistent_messages.INFO, "A form was sent", user=user)
    assert row.user_id == user.pk
    assert answer(visitor_storage) is None
    assert texts(storage_of(user)) == ["A form was sent"]


# Removal


def test_shown_rows_are_deleted_in_one_statement(user, other, send):
    fill(user, 20, messages.INFO)
    send("Kept")
    send("Harry's", messages.INFO, to=other)
    storage = storage_of(user)
    list(storage)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer(storage)
    assert writes(queries) == ["DELETE"]
    assert len(queries) == 1
    assert sorted(texts(Message.objects.all())) == ["Harry's", "Kept"]


def test_message_arriving_during_rendering_is_kept(user, send):
    """Only the messages that were iterated over are removed."""
    send("Shown", messages.INFO)
    storage = storage_of(user)
    list(storage)
    send("Meanwhile", messages.INFO)
    answer(storage)
    assert texts(storage_of(user)) == ["Meanwhile"]


def test_counted_message_is_not_consumed(client, send):
    send("Waits", messages.INFO)
    assert client.get("/only_counted/").content == b"True"
    assert shown_to(client) == ["Waits"]


@pytest.mark.parametrize("options", [{"user": "self"}, {"email": True}], ids=["user", "email"])
def test_row_saved_after_iteration_waits_for_next_page(storage, user, options):
    if "user" in options:
        options = {"user": user}
    list(storage)
    storage.add(messages.INFO, "Later", **options)
    answer(storage)
    assert texts(storage_of(user)) == ["Later"]


def test_row_saved_between_iterations_is_shown_once(storage, user):
    list(storage)
    storage.add(messages.INFO, "Between", user=user)
    assert texts(storage) == ["Between"]
    answer(storage)
    assert texts(storage_of(user)) == []


@pytest.mark.parametrize("status", [500, 503])
def test_server_error_removes_no_rows(user, send, status):
    send("Row", messages.INFO)
    storage = storage_of(user)
    storage.add(messages.INFO, "Queued")
    assert texts(storage) == ["Row", "Queued"]
    assert answer(storage, status) == []
    assert texts(storage_of(user)) == ["Row", "Queued"]


@pytest.mark.parametrize("status", [200, 302, 404])
def test_shown_rows_are_removed_with_any_response_below_500(user, send, status):
    send("Row", messages.INFO)
    storage = storage_of(user)
    storage.add(messages.INFO, "Queued")
    list(storage)
    answer(storage, status)
    assert texts(storage_of(user)) == []
    assert not Message.objects.exists()


def test_messages_of_crashed_page_are_shown_on_next(client, send):
    send("Row", messages.INFO)
    client.raise_request_exception = False
    assert client.get("/fail_after_showing/", {"text": "Queued"}).status_code == 500
    assert shown_to(client) == ["Row", "Queued"]
    assert shown_to(client) == []


def test_not_found_page_shows_and_removes_messages(client, send):
    send("Row", messages.INFO)
    assert client.get("/refused/").json() == {"shown": ["Row"]}
    assert shown_to(client) == []


def test_queued_messages_that_were_shown_are_not_stored(storage, django_assert_num_queries):
    storage.add(messages.INFO, "Queued")
    assert texts(storage) == ["Queued"]
    with django_assert_num_queries(0):
        answer(storage)
    assert not Message.objects.exists()


# Costs


def test_unused_storage_does_not_evaluate_user(user, send, django_assert_num_queries):
    send("Waits")

    def evaluate():
        raise AssertionError("request.user was evaluated")

    storage = storage_of(SimpleLazyObject(evaluate))
    with django_assert_num_queries(0):
        assert storage.update(HttpResponse()) is None


def test_page_without_messages_takes_no_query(client, send, django_assert_num_queries):
    send("Waits")
    with django_assert_num_queries(0):
        client.get("/quiet/")


def test_creating_getters_takes_no_query(storage, django_assert_num_queries):
    with django_assert_num_queries(0):
        storage.get_persistent()
        storage.get_persistent_unread()
        storage.get_nonpersistent()


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_query_count_of_strip_does_not_depend_on_mailbox_size(user, other, count):
    for owner in (user, other):
        fill(owner, count, persistent_messages.INFO)
        fill(owner, count, persistent_messages.INFO, read_at=timezone.now())
    fill(user, min(count, 10), messages.INFO)
    storage = storage_of(user)
    with CaptureQueriesContext(connection) as reading:
        assert bool(storage)
        assert len(list(storage)) == 2 * min(count, 10)
        list(storage)
        [(message.tags, str(message), message.title) for message in storage]
    with CaptureQueriesContext(connection) as ending:
        answer(storage)
    assert len(reading) == 1
    assert [row["sql"].split()[0] for row in ending] == ["DELETE"]


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_page_with_only_persistent_messages_takes_one_query(user, count):
    fill(user, count, persistent_messages.INFO)
    storage = storage_of(user)
    with CaptureQueriesContext(connection) as queries:
        list(storage)
        answer(storage)
    assert len(queries) == 1


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_query_count_of_counts_does_not_depend_on_mailbox_size(user, count):
    fill(user, count, persistent_messages.INFO)
    fill(user, count, messages.INFO)
    storage = storage_of(user)
    costs = []
    for method in ("count_persistent_unread", "count_nonpersistent", "count_unread"):
        with CaptureQueriesContext(connection) as queries:
            getattr(storage, method)()
        costs.append(len(queries))
    assert costs == [1, 1, 2]


def test_queued_messages_are_stored_in_one_statement(storage):
    for number in range(10):
        storage.add(messages.INFO, f"Number {number}")
    with CaptureQueriesContext(connection) as queries:
        answer(storage)
    assert [row["sql"].split()[0] for row in queries] == ["INSERT"]
    assert Message.objects.count() == 10


def test_shown_page_is_deleted_in_one_statement(user):
    fill(user, 1000, messages.INFO)
    storage = storage_of(user)
    assert texts(storage) == [f"Number {number}" for number in range(50)]
    with CaptureQueriesContext(connection) as queries:
        answer(storage)
    assert len(queries) == 1
    assert Message.objects.count() == 950
    assert texts(storage_of(user))[0] == "Number 50"


def test_page_shows_fifty_messages_and_next_pages_the_rest(user):
    fill(user, 120, messages.INFO)
    shown = []
    for count, has_more in ((50, True), (50, True), (20, False), (0, False)):
        storage = storage_of(user)
        here = texts(storage)
        assert (len(here), storage.has_more) == (count, has_more)
        assert texts(storage) == here
        answer(storage)
        shown += here
    assert shown == [f"Number {number}" for number in range(120)]


def test_page_shows_fifty_of_its_own_messages(user, send):
    send("Waits", messages.INFO)
    send("Kept")
    storage = storage_of(user)
    for number in range(60):
        storage.add(messages.INFO, f"Number {number}")
    assert texts(storage) == ["Waits", "Kept", *(f"Number {number}" for number in range(49))]
    assert storage.has_more
    answer(storage)
    assert texts(storage_of(user)) == [*(f"Number {number}" for number in range(49, 60)), "Kept"]


@pytest.mark.parametrize("count", [50, 51])
def test_has_more_is_false_if_all_messages_are_shown(user, count):
    fill(user, count, messages.INFO)
    storage = storage_of(user)
    list(storage)
    assert storage.has_more is (count > 50)


def test_get_nonpersistent_returns_fifty_at_a_time(user):
    fill(user, 60, messages.INFO)
    storage = storage_of(user)
    assert storage.get_nonpersistent().count() == 60
    assert len(list(storage.get_nonpersistent())) == 50
    assert len(list(storage.get_nonpersistent().filter(message="Number 55"))) == 1
    answer(storage)
    assert Message.objects.count() == 9


def test_visitor_sees_all_messages_of_session(visitor_storage):
    for number in range(60):
        visitor_storage.add(messages.INFO, f"Number {number}")
    assert len(texts(visitor_storage)) == 60
    assert not visitor_storage.has_more


@contextmanager
def parameter_limit(limit):
    """Limit the parameters of a statement on SQLite, as some of its builds do."""
    if connection.vendor != "sqlite" or sys.version_info < (3, 11):
        yield
        return
    number = sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER
    before = connection.connection.setlimit(number, limit)
    yield
    connection.connection.setlimit(number, before)


def test_any_number_of_shown_rows_is_removed(user):
    fill(user, 2000, messages.INFO)
    storage = storage_of(user)
    assert len(storage.get_nonpersistent()[:2000]) == 2000
    with parameter_limit(999):
        answer(storage)
    assert not Message.objects.exists()


@pytest.mark.parametrize("whose", ["storage", "visitor_storage"])
@pytest.mark.parametrize("length", [129, 10_000])
def test_extra_tags_of_one_shot_message_may_have_any_length(request, whose, length):
    storage = request.getfixturevalue(whose)
    storage.add(messages.INFO, "Once", extra_tags="x" * length)
    response = HttpResponse()
    storage.update(response)
    following = storage_of(storage.request.user)
    if "messages" in response.cookies:
        following.request.COOKIES["messages"] = response.cookies["messages"].value
    following.request.session = storage.request.session
    assert [message.extra_tags for message in following] == ["x" * length]


def test_extra_tags_of_persistent_message_have_maximum_length(storage):
    with pytest.raises(ValueError, match=r"^extra_tags may have 128 "):
        storage.add(persistent_messages.INFO, "Kept", extra_tags="x" * 129)


# Getters and counts


@pytest.fixture
def mixed_storage(user, other, send):
    """A mailbox with some of everything."""
    send("Unread")
    mailbox.mark_read(user, Folder.INBOX, rows_of(send("Read")))
    mailbox.delete(user, Folder.INBOX, rows_of(send("Trash")))
    mailbox.archive(user, Folder.INBOX, rows_of(send("Archived")))
    send("Newest", persistent_messages.ERROR)
    send("Once", messages.INFO)
    send("Twice", messages.ERROR)
    send("Harry's", to=other)
    send("Harry's once", messages.INFO, to=other)
    past = timezone.now() - timedelta(seconds=1)
    send("Expired", expires=past)
    send("Expired once", messages.INFO, expires=past)
    return storage_of(user)


def test_get_persistent_has_read_and_unread_messages(mixed_storage):
    """Newest first."""
    assert isinstance(mixed_storage.get_persistent(), QuerySet)
    assert texts(mixed_storage.get_persistent()) == ["Newest", "Read", "Unread"]
    assert texts(mixed_storage.get_persistent().filter(level=140)) == ["Newest"]


def test_get_persistent_unread_has_unread_messages(mixed_storage):
    assert isinstance(mixed_storage.get_persistent_unread(), QuerySet)
    assert texts(mixed_storage.get_persistent_unread()) == ["Newest", "Unread"]


def test_get_nonpersistent_has_one_shot_messages(mixed_storage):
    assert isinstance(mixed_storage.get_nonpersistent(), QuerySet)
    assert texts(mixed_storage.get_nonpersistent()) == ["Once", "Twice"]


def test_counts_equal_number_of_messages_of_getters(mixed_storage):
    assert mixed_storage.count_persistent_unread() == 2
    assert mixed_storage.count_nonpersistent() == 2
    assert mixed_storage.count_unread() == 4


def test_persistent_getters_and_counts_consume_nothing(mixed_storage, user):
    list(mixed_storage.get_persistent())
    list(mixed_storage.get_persistent_unread())
    mixed_storage.count_unread()
    mixed_storage.count_nonpersistent()
    assert answer(mixed_storage) is None
    assert mixed_storage.used is False
    assert storage_of(user).count_unread() == 4


def test_iterating_get_nonpersistent_consumes(mixed_storage, user):
    list(mixed_storage.get_nonpersistent())
    assert mixed_storage.count_nonpersistent() == 0
    with CaptureQueriesContext(connection) as queries:
        answer(mixed_storage)
    assert writes(queries) == ["DELETE"]
    assert len(queries) == 1
    assert texts(storage_of(user)) == ["Newest", "Unread"]


def test_get_nonpersistent_consumes_nothing_until_iterated(mixed_storage, user):
    waiting = mixed_storage.get_nonpersistent()
    assert waiting.count() == 2
    assert waiting.exists()
    assert waiting.filter(level=20).count() == 1
    answer(mixed_storage)
    assert texts(storage_of(user).get_nonpersistent()) == ["Once", "Twice"]


def test_get_nonpersistent_consumes_only_iterated_messages(mixed_storage, user):
    assert texts(mixed_storage.get_nonpersistent().filter(level=messages.ERROR)) == ["Twice"]
    assert mixed_storage.count_nonpersistent() == 1
    answer(mixed_storage)
    assert texts(storage_of(user).get_nonpersistent()) == ["Once"]


def test_get_nonpersistent_keeps_rows_after_server_error(mixed_storage, user):
    list(mixed_storage.get_nonpersistent())
    answer(mixed_storage, 500)
    assert texts(storage_of(user).get_nonpersistent()) == ["Once", "Twice"]


def test_get_nonpersistent_includes_messages_of_same_request(storage, user):
    storage.add(messages.INFO, "Added")
    assert storage.count_nonpersistent() == 1
    assert texts(storage.get_nonpersistent()) == ["Added"]
    answer(storage)
    assert texts(storage_of(user)) == []


def test_get_nonpersistent_takes_one_query(mixed_storage, django_assert_num_queries):
    with django_assert_num_queries(1):
        waiting = mixed_storage.get_nonpersistent()
        list(waiting)
        list(waiting)


def test_message_expired_since_is_not_included(user, send):
    send("Kept", expires=timezone.now() + timedelta(hours=1))
    send("Once", messages.INFO, expires=timezone.now() + timedelta(hours=1))
    storage = storage_of(user)
    assert storage.count_unread() == 2
    Message.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert storage.count_unread() == 0
    assert list(storage.get_persistent()) == []
    assert list(storage.get_persistent_unread()) == []
    assert list(storage.get_nonpersistent()) == []
    assert list(storage_of(user)) == []


def test_expired_messages_do_not_count_towards_strip_limit(user, send, settings):
    settings.PERSISTENT_MESSAGES = {"STRIP_LIMIT": 2}
    send("Current")
    fill(user, 5, persistent_messages.INFO, expires=timezone.now() - timedelta(seconds=1))
    assert texts(storage_of(user)) == ["Current"]


def test_getters_and_counts_work_for_visitor(visitor_storage, mixed_storage):
    visitor_storage.add(messages.INFO, "Once")
    for name in ("get_persistent", "get_persistent_unread"):
        result = getattr(visitor_storage, name)()
        assert isinstance(result, QuerySet)
        assert list(result) == []
    assert visitor_storage.count_persistent_unread() == 0
    assert visitor_storage.count_nonpersistent() == 1
    assert visitor_storage.count_unread() == 1
    assert visitor_storage.used is False
    assert texts(visitor_storage) == ["Once"]


def test_loop_of_2011_shows_visitor_messages_once(visitor):
    visitor.get("/add/", {"text": "One"})
    visitor.get("/add/", {"text": "Two"})
    assert visitor.get("/page_of_2011/").text == "One, Two, "
    assert visitor.get("/page_of_2011/").text == ""
    assert shown_to(visitor) == []


def test_loop_of_2011_shows_visitor_messages_of_session(visitor):
    texts = ["".join(chr(0x4E00 + n * 7 % 20000) for n in range(start, 3000)) for start in (0, 9)]
    for text in texts:
        visitor.post("/add/?text=" + text)
    assert visitor.get("/page_of_2011/").text == "".join(f"{text}, " for text in texts)
    assert visitor.get("/page_of_2011/").text == ""


def test_loop_of_2011_shows_messages_of_same_request(web):
    assert web.get("/page_of_2011/", {"text": "Added"}).text == "Added, "
    assert web.get("/page_of_2011/").text == ""


@pytest.fixture(params=["visitor", "client"])
def web(request):
    """The test client, once with nobody and once with Sally logged in."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["storage", "visitor_storage"])
def storage_with_messages(request):
    """What a request sees, of a user and of a visitor, after two messages were added."""
    storage = request.getfixturevalue(request.param)
    storage.add(messages.INFO, "One")
    storage.add(messages.ERROR, "Two")
    return storage


READ = {
    "a loop": (lambda waiting: texts(waiting), ["One", "Two"]),
    "a list twice": (lambda waiting: [list(waiting), texts(waiting)][1], ["One", "Two"]),
    "a filter": (lambda waiting: texts(waiting.filter(level=messages.ERROR)), ["Two"]),
    "a range": (lambda waiting: texts(waiting.filter(level__lt=messages.ERROR)), ["One"]),
    "some": (lambda waiting: texts(waiting.exclude(level__in=[messages.INFO])), ["Two"]),
    "a slice": (lambda waiting: texts(waiting[:2]), ["One", "Two"]),
    "the first": (lambda waiting: [waiting.first().message], ["One"]),
    "the last": (lambda waiting: [waiting.last().message], ["Two"]),
    "the latest": (lambda waiting: [waiting.latest("created").message], ["Two"]),
    "one by its place": (lambda waiting: [waiting[1].message], ["Two"]),
    "one by its text": (lambda waiting: [waiting.get(message="One").message], ["One"]),
    "from behind": (lambda waiting: texts(waiting.reverse()), ["Two", "One"]),
    "in an order": (lambda waiting: texts(waiting.order_by("-level", "pk")), ["Two", "One"]),
    "a part of a text": (lambda waiting: texts(waiting.filter(message__icontains="tw")), ["Two"]),
    "what is empty": (lambda waiting: texts(waiting.filter(read_at=None)), ["One", "Two"]),
    "either": (
        lambda waiting: texts(waiting.filter(Q(level=messages.INFO) | Q(message="Two"))),
        ["One", "Two"],
    ),
    "an iterator": (lambda waiting: texts(waiting.iterator()), ["One", "Two"]),
}


@pytest.mark.parametrize(("read", "expected"), READ.values(), ids=READ)
def test_visitor_getter_behaves_like_queryset(storage_with_messages, read, expected):
    waiting = storage_with_messages.get_nonpersistent()
    assert isinstance(waiting, QuerySet)
    assert (waiting.count(), waiting.exists()) == (2, True)
    assert waiting.filter(level=messages.DEBUG).exists() is False
    assert list(waiting.exclude(expires__isnull=True)) == []
    assert storage_with_messages.used is False
    assert storage_with_messages.count_nonpersistent() == 2
    assert read(waiting) == expected
    assert storage_with_messages.used is True


def test_filtered_getter_consumes_only_iterated_messages(web):
    web.get("/add/", {"text": "One"})
    web.get("/add/", {"text": "Two"})
    response = web.get("/read_one/", {"text": "Two"})
    assert response.json() == {"read": ["Two"], "left": 1}
    assert shown_to(web) == ["One"]
    assert shown_to(web) == []


def test_values_and_none_of_the_getter_count_nothing_as_shown(storage_with_messages):
    waiting = storage_with_messages.get_nonpersistent().filter(message="Two")
    assert list(waiting.values_list("message", flat=True)) == ["Two"]
    assert list(waiting.values_list("message", "subject")) == [("Two", "")]
    assert list(waiting.values("level", "message")) == [{"level": messages.ERROR, "message": "Two"}]
    assert list(waiting.none()) == []
    assert waiting[:0].count() == 0
    assert storage_with_messages.used is False


@pytest.mark.parametrize(
    "source", ["messages.get_nonpersistent.first", "messages.get_nonpersistent.0"]
)
def test_template_index_consumes_only_shown_message(web, source):
    for text in ("One", "Two", "Three"):
        web.get("/add/", {"text": text})
    assert web.get("/source/", {"source": f"{{{{ {source} }}}}"}).text == "One"
    assert shown_to(web) == ["Two", "Three"]


def test_template_slice_consumes_only_shown_messages(web):
    for text in ("One", "Two", "Three"):
        web.get("/add/", {"text": text})
    loop = '{% for m in messages.get_nonpersistent|slice:"1:" %}{{ m }}, {% endfor %}'
    assert web.get("/source/", {"source": loop}).text == "Two, Three, "
    assert shown_to(web) == ["One"]


def test_unsupported_lookup_of_visitor_getter_raises_field_error(visitor_storage):
    with pytest.raises(FieldError, match="from_user__username"):
        visitor_storage.get_nonpersistent().filter(from_user__username="harry")


def test_getter_with_used_reset_consumes_nothing(web):
    web.get("/add/", {"text": "One"})
    assert web.get("/read_and_reset_used/").json() == {"read": ["One"], "left": 1}
    assert shown_to(web) == ["One"]


def test_visitor_counts_consume_nothing(visitor):
    visitor.get("/add/", {"text": "Once"})
    visitor.get("/nav/")
    assert shown_to(visitor) == ["Once"]


def test_documented_navigation_example_works(client, visitor, user, send):
    assert client.get("/nav/").content == b""
    send("One")
    send("Two")
    assert client.get("/nav/").content == b"(2)"
    assert visitor.get("/nav/").content == b""
    mailbox.mark_read(user, Folder.INBOX, rows_of(send("Three")))
    assert client.get("/nav/").content == b"(2)"


def test_example_of_django_documentation_works(client, send):
    assert client.get("/page/").content == b""
    send("Kept", subject="Note")
    client.get("/add/", {"text": "Once"})
    assert client.get("/page/").content == b"Once, Note: Kept, "
    assert client.get("/page/").content == b"Note: Kept, "


def test_unread_count_takes_one_query_per_request(user, send, django_assert_num_queries):
    send("One")
    send("Two")
    request = storage_of(user).request
    with django_assert_num_queries(1):
        assert [unread_count(request), unread_count(request)] == [2, 2]
    send("Three")
    reset_unread_count(request)
    assert unread_count(request) == 3


def test_unread_count_stops_above_limit(user, settings):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 3}
    fill(user, 10, persistent_messages.INFO)
    assert unread_count(storage_of(user).request) == 4


def test_unread_count_of_visitor_takes_no_query(visitor_storage, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert unread_count(visitor_storage.request) == 0


# Event loop, transactions, visitors


@pytest.fixture
def async_client_of_user(user, monkeypatch):
    """A client for async views in which Sally is logged in."""
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)
    browser = AsyncClient()
    browser.force_login(user)
    return browser


def test_persistent_message_added_in_async_view_is_stored(async_client_of_user, user):
    """It must neither make a blocking query in the event loop nor be lost."""
    response = async_to_sync(async_client_of_user.get)("/add_async/")
    assert response.content == b"[None, None]"  # nothing is stored yet
    assert {(row.message, row.folder) for row in Message.objects.filter(user=user)} == {
        ("Once", Folder.ONE_SHOT),
        ("Kept", Folder.INBOX),
    }


def test_persistent_message_of_failed_async_view_is_stored(async_client_of_user, user):
    async_client_of_user.raise_request_exception = False
    response = async_to_sync(async_client_of_user.get)("/fail_async/")
    assert response.status_code == 500
    assert texts(Message.objects.filter(user=user)) == ["Kept"]


def test_persistent_message_in_event_loop_takes_no_query(storage, user, other, monkeypatch):
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)

    async def view():
        assert storage.add(persistent_messages.INFO, "Hers") is None
        assert storage.add(persistent_messages.INFO, "His", user=other) is None
        assert storage.add(messages.INFO, "His once", user=other) is None

    with CaptureQueriesContext(connection) as queries:
        async_to_sync(view)()
    assert len(queries) == 0
    answer(storage)
    assert texts(storage_of(user)) == ["Hers"]
    assert texts(storage_of(other)) == ["His once", "His"]


def test_messages_of_async_view_are_stored_in_one_statement(storage, monkeypatch):
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)

    async def view():
        for number in range(5):
            storage.add(persistent_messages.INFO, f"Number {number}")

    async_to_sync(view)()
    with CaptureQueriesContext(connection) as queries:
        answer(storage)
    assert writes(queries) == ["INSERT"]
    assert Message.objects.count() == 5


def test_persistent_message_for_visitor_in_async_view_is_refused(db, monkeypatch):
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)
    with pytest.raises(NotImplementedError, match=VISITOR_ERROR):
        async_to_sync(AsyncClient().get)("/add_async/")
    assert not Message.objects.exists()


@pytest.mark.parametrize("level", [*persistent_messages.PERSISTENT_MESSAGE_LEVELS, 129])
def test_persistent_message_for_visitor_is_refused(visitor_storage, settings, level):
    settings.MESSAGE_LEVEL = messages.DEBUG
    for add_message in (messages.add_message, persistent_messages.add_message):
        with pytest.raises(NotImplementedError) as refused:
            add_message(visitor_storage.request, level, "Kept")
        assert str(refused.value) == VISITOR_ERROR
    assert len(visitor_storage) == 0


def test_refused_message_for_visitor_keeps_others(visitor_storage):
    visitor_storage.add(messages.INFO, "Once")
    with pytest.raises(NotImplementedError):
        visitor_storage.add(persistent_messages.INFO, "Kept")
    answer(visitor_storage)
    assert texts(visitor_storage) == ["Once"]


def test_email_without_user_is_refused(visitor_storage, mailoutbox):
    with pytest.raises(ValueError, match="email"):
        visitor_storage.add(messages.INFO, "Hello", email=True)
    assert mailoutbox == []
    assert not Message.objects.exists()


def test_rolled_back_transaction_discards_message(client):
    client.get("/roll_back/")
    assert texts(Message.objects.all()) == ["Not ordered"]
    assert shown_to(client) == ["Not ordered"]


def test_subject_for_visitor_is_part_of_text(visitor_storage):
    visitor_storage.add(messages.INFO, "Text", subject="Subject", extra_tags="x")
    [message] = visitor_storage
    assert type(message) is ContribMessage
    assert (message.message, message.tags) == ("Subject: Text", "x info")
    assert not isinstance(message.message, SafeData)


def test_subject_for_visitor_is_escaped_before_safe_text(visitor_storage):
    visitor_storage.add(messages.INFO, mark_safe("<b>Text</b>"), subject="<i>Subject</i>")
    [message] = visitor_storage
    assert isinstance(message.message, SafeData)
    assert message.message == "&lt;i&gt;Subject&lt;/i&gt;: <b>Text</b>"


@pytest.mark.parametrize("whose", ["storage", "visitor_storage"])
def test_unencodable_characters_are_dropped_on_same_page(whose, request):
    """Half of a surrogate pair, which the next page could not show either."""
    storage = request.getfixturevalue(whose)
    storage.add(messages.INFO, "a\x00\ud800b", subject="\udfffc", extra_tags="d\x00")
    [message] = storage
    assert (str(message), message.extra_tags) == ("c: ab", "d")


def test_unencodable_characters_are_dropped_from_cookie(db):
    request = RequestFactory().get("/")
    request.session, request.user = {}, AnonymousUser()
    storage = PersistentMessageStorage(request)
    storage.add(messages.INFO, "a\ud800b")
    response = HttpResponse()
    storage.update(response)
    request.COOKIES["messages"] = response.cookies["messages"].value
    assert texts(PersistentMessageStorage(request)) == ["ab"]


def test_subject_for_visitor_is_kept_until_next_page(db):
    request = RequestFactory().get("/")
    request.session, request.user = {}, AnonymousUser()
    storage = PersistentMessageStorage(request)
    storage.add(messages.INFO, "Text", subject="Subject")
    response = HttpResponse()
    storage.update(response)
    request.COOKIES["messages"] = response.cookies["messages"].value
    assert texts(PersistentMessageStorage(request)) == ["Subject: Text"]


# A message from the storage


def test_levels_are_compared_by_base_level(storage, settings):
    settings.MESSAGE_LEVEL = messages.WARNING
    assert storage.add(persistent_messages.SUCCESS, "Low") is None
    assert storage.add(persistent_messages.WARNING, "High").level == 130
    storage.level = messages.DEBUG
    assert storage.add(persistent_messages.DEBUG, "All").level == 110
    storage.level = persistent_messages.ERROR
    assert storage.add(persistent_messages.WARNING, "Low") is None
    storage.add(messages.ERROR, "Enough")
    assert len(storage._queued_messages) == 1


def test_persistent_debug_is_below_the_default_level(storage):
    assert storage.add(persistent_messages.DEBUG, "Low") is None
    assert not Message.objects.exists()


def test_base_level_is_level_of_contrib(storage):
    """`level >= messages.ERROR` would be true for a persistent INFO."""
    levels = [*persistent_messages.PERSISTENT_MESSAGE_LEVELS, 129]
    storage.level = messages.DEBUG
    rows = [storage.add(level, "Text") for level in levels]
    assert [row.base_level for row in rows] == [10, 20, 25, 30, 40, 29]


def test_message_tags_of_base_level_apply_to_persistent_level(storage, settings):
    """`MESSAGE_TAGS = {messages.ERROR: "danger"}` applies to level 140, too."""
    row = storage.add(persistent_messages.ERROR, "Wrong", extra_tags="x")
    assert row.tags == "x error unread"
    settings.MESSAGE_TAGS = {messages.ERROR: "danger"}
    assert row.level_tag == "danger"
    assert row.tags == "x danger unread"
    settings.MESSAGE_TAGS = {messages.ERROR: "danger", persistent_messages.ERROR: "own"}
    assert row.tags == "x own unread"


def test_custom_level_has_tag_of_base_level(storage, settings):
    settings.MESSAGE_TAGS = {29: "custom"}
    assert storage.add(129, "Text").tags == "custom unread"


def test_only_persistent_messages_have_read_or_unread_tag(user, send):
    send("Once", messages.INFO, extra_tags="x")
    kept = send("Kept", extra_tags="y")
    assert [message.tags for message in storage_of(user)] == ["x info", "y info unread"]
    mailbox.mark_read(user, Folder.INBOX, rows_of(kept))
    assert [row.tags for row in storage_of(user).get_persistent()] == ["y info read"]


def test_characters_no_database_stores_are_dropped(storage, user):
    storage.add(messages.INFO, "o\x00n\ud800ce", subject="\x00s", extra_tags="t\udfff")
    storage.add(persistent_messages.INFO, "k\x00ep\ud834t", subject="s\x00", extra_tags="\x00")
    answer(storage)
    assert [(m.message, m.subject, m.tags) for m in storage_of(user)] == [
        ("once", "s", "t info"),
        ("kept", "s", "info unread"),
    ]


def test_safe_text_stays_safe_after_dropping_characters(storage, user):
    storage.add(persistent_messages.INFO, mark_safe("<b>\x00</b>"))
    [message] = storage_of(user)
    assert isinstance(message.message, SafeData)
    assert message.message == "<b></b>"


def test_message_equals_contrib_message(storage, send):
    send("Once", messages.INFO)
    storage.add(messages.INFO, "Queued")
    expected = [ContribMessage(messages.INFO, "Once"), ContribMessage(messages.INFO, "Queued")]
    assert list(storage) == expected
    assert expected == list(storage)
    assert next(iter(storage)) != ContribMessage(messages.ERROR, "Once")


def test_rows_with_same_text_are_distinct_and_hashable(user, send):
    send("Same")
    send("Same")
    first, second = storage_of(user)
    assert first != second
    assert len({first, second}) == 2


def test_contrib_names_are_unchanged():
    assert messages.add_message.__module__ == "django.contrib.messages.api"
    assert messages.constants.DEFAULT_TAGS == {
        10: "debug",
        20: "info",
        25: "success",
        30: "warning",
        40: "error",
    }
    assert (messages.DEBUG, messages.INFO, messages.ERROR) == (10, 20, 40)
