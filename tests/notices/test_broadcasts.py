"""Broadcasts: one row for all, a copy for each visiting user; edits and withdrawals."""

import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.messages import SUCCESS
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.http import HttpResponse
from django.template import engines
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone, translation
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from demo.urls import urlpatterns as demo_pages
from persistent_messages import (
    ERROR,
    INFO,
    WARNING,
    Folder,
    Notice,
    Topic,
    audience,
    broadcast,
    mailbox,
    mailbox_changed,
    messages_delivered,
    prune_messages,
    resolve,
    send_message,
)
from persistent_messages.http import visits
from persistent_messages.mailbox import pruning
from persistent_messages.models import Broadcast, Message, Receipt
from persistent_messages.notices import arrivals, audiences, kinds, running
from persistent_messages.storage import PersistentMessageStorage
from persistent_messages.topics import topics

User = get_user_model()
HOUR = timedelta(hours=1)
COUNTER = "{% load persistent_messages %}{% unread_counter %}"
STRIP = "{% include 'persistent_messages/message/includes/messages.html' %}"


def shows(code):
    def view(request):
        return HttpResponse(engines["django"].from_string(code).render({}, request))

    return view


def rolls_back(request):
    """A page that shows the unread count in a transaction that it gives up."""
    with transaction.atomic():
        response = shows(COUNTER)(request)
        transaction.set_rollback(True)
    return response


urlpatterns = [
    path("nothing/", shows("Nothing.")),
    path("counter/", shows(COUNTER)),
    path("strip/", shows(STRIP)),
    path("given-up/", rolls_back),
    *demo_pages,
]
pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture(autouse=True)
def _own_names(monkeypatch):
    monkeypatch.setattr(audiences, "registered", {})
    monkeypatch.setattr(kinds, "classes", [])
    monkeypatch.setitem(topics, "status", Topic("status", "Status"))


def mailbox_of(user):
    """What a mailbox has, oldest first: where, and what."""
    rows = Message.objects.filter(user=user).order_by("pk")
    return [(Folder(row.folder).name, row.message) for row in rows]


def texts_of(user):
    return [text for _, text in mailbox_of(user)]


def browser_of(user):
    browser = Client()
    browser.force_login(user)
    return browser


def visit_as(*users):
    """Each of `users` opens a page, in another browser each time."""
    for user in users:
        browser_of(user).get("/counter/")


def app_queries(client, address):
    """What a page asks the database, but for who is there."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    apart = ("django_session", "auth_user", "SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    ours = ("persistent_messages_",)
    return [
        query["sql"]
        for query in queries
        if any(name in query["sql"] for name in ours)
        or not any(name in query["sql"] for name in apart)
    ]


# Sending


def test_broadcast_takes_one_query_and_creates_no_messages(user, other):
    with CaptureQueriesContext(connection) as queries:
        sent = broadcast(INFO, "Sunday")

    assert len(queries) == 1
    assert Broadcast.objects.get() == sent
    assert (sent.level, sent.message, sent.audience) == (INFO, "Sunday", "everybody")
    assert not Message.objects.exists()


def test_broadcast_is_copied_when_user_opens_inbox(client, user, other):
    broadcast(
        WARNING, "Sunday", subject="Maintenance", topic="status", url="/status/", action="See it"
    )

    page = client.get("/messages/")

    (copy,) = Message.objects.filter(user=user)
    assert (copy.subject, copy.message, copy.level) == ("Maintenance", "Sunday", WARNING)
    assert (copy.topic, copy.url, copy.action) == ("status", "/status/", "See it")
    assert (copy.folder, copy.read) == (Folder.INBOX, False)
    assert "Maintenance" in page.text
    assert not Message.objects.filter(user=other).exists()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("/counter/", "1 unread"),
        ("/strip/", "Sunday"),
        ("/messages/", "Sunday"),
        ("/messages/?box=unread", "Sunday"),
        ("/messages/?box=archive", "1 unread"),
    ],
)
def test_page_that_copies_broadcast_shows_it(client, user, address, shown):
    broadcast(INFO, "Sunday")

    assert shown in client.get(address).text
    assert mailbox_of(user) == [("INBOX", "Sunday")]


def test_poll_shows_broadcast(client, user):
    client.get("/messages/")
    broadcast(INFO, "Sunday")

    asked = {"pm-fragment": "part", "pm-part": "strip", "unread": ""}
    answer = client.get(reverse("message_news"), asked, headers={"HX-Request": "true"})

    assert "Sunday" in answer.text
    assert mailbox_of(user) == [("INBOX", "Sunday")]


@pytest.mark.parametrize(
    "read",
    [
        lambda storage: list(storage.get_persistent()),
        lambda storage: list(storage.get_persistent_unread()),
        lambda storage: storage.count_persistent_unread(),
        list,
    ],
)
def test_storage_access_copies_broadcast(user, read):
    broadcast(INFO, "Sunday")
    request = RequestFactory().get("/")
    request.user, request.session = user, SessionStore()

    read(PersistentMessageStorage(request))

    assert mailbox_of(user) == [("INBOX", "Sunday")]


def test_page_without_messages_copies_no_broadcast(client, user):
    broadcast(INFO, "Sunday")

    assert app_queries(client, "/nothing/") == []
    assert mailbox_of(user) == []


def test_admin_page_copies_no_broadcast(admin_client, admin_user):
    broadcast(INFO, "Sunday")

    admin_client.get("/admin/")

    assert mailbox_of(admin_user) == []


def test_visitor_gets_no_broadcast(visitor):
    broadcast(INFO, "Sunday")

    assert visitor.get("/strip/").status_code == 200
    assert not Message.objects.exists()


def test_broadcast_is_copied_once_across_browsers(user):
    broadcast(INFO, "Sunday")

    visit_as(user, user, user)

    assert mailbox_of(user) == [("INBOX", "Sunday")]


def test_later_user_gets_broadcast(user):
    broadcast(INFO, "Sunday")
    visit_as(user)

    later = User.objects.create(username="later")
    visit_as(later)

    assert texts_of(later) == ["Sunday"]


def test_broadcasts_arrive_in_order(client, user):
    for text in ("One", "Two", "Three"):
        broadcast(INFO, text)

    client.get("/counter/")

    assert texts_of(user) == ["One", "Two", "Three"]


def test_permanently_deleted_broadcast_is_not_copied_again(client, user):
    broadcast(INFO, "Sunday")
    visit_as(user)
    for folder in (Folder.INBOX, Folder.TRASH):
        mailbox.delete(user, folder, Message.objects.all())

    visit_as(user)

    assert mailbox_of(user) == []


def test_copy_can_be_read_archived_and_undone(client, user):
    broadcast(INFO, "Sunday")
    visit_as(user)
    rows = Message.objects.all()

    mailbox.mark_read(user, Folder.INBOX, rows)
    change = mailbox.archive(user, Folder.INBOX, rows)
    assert mailbox_of(user) == [("ARCHIVE", "Sunday")]
    mailbox.undo(user, change)

    visit_as(user)
    assert mailbox_of(user) == [("INBOX", "Sunday")]
    assert Message.objects.get().read


def test_each_copy_sends_messages_delivered(client, user, django_capture_on_commit_callbacks):
    heard = []

    def hear(messages, email, **_):
        heard.extend((message.user_id, message.message, email) for message in messages)

    messages_delivered.connect(hear)
    try:
        broadcast(INFO, "Sunday")
        with django_capture_on_commit_callbacks(execute=True):
            client.get("/counter/")
    finally:
        messages_delivered.disconnect(hear)

    assert heard == [(user.pk, "Sunday", False)]


# Times


def test_broadcast_is_copied_only_between_start_and_end(user, other):
    now = timezone.now()
    sent = broadcast(INFO, "Sunday", starts=now + HOUR, expires=now + 2 * HOUR)
    assert not sent.is_running
    visit_as(user)
    assert mailbox_of(user) == []

    Broadcast.objects.update(starts=now - HOUR)
    running.forget()
    visit_as(user)
    Broadcast.objects.update(expires=now)
    running.forget()
    visit_as(other)

    assert texts_of(user) == ["Sunday"]
    assert mailbox_of(other) == []


def test_broadcast_starts_on_time_despite_cached_list(user, monkeypatch):
    now = timezone.now()
    broadcast(INFO, "Sunday", starts=now + timedelta(seconds=5))
    visit_as(user)

    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(seconds=6))
    visit_as(user)

    assert texts_of(user) == ["Sunday"]


def test_copy_expires_with_broadcast(user):
    expires = timezone.now() + HOUR
    broadcast(INFO, "Sunday", expires=expires)
    visit_as(user)

    assert Message.objects.get().expires == expires


@pytest.mark.parametrize("use_tz", [True, False])
def test_naive_times_use_time_zone_of_site(user, settings, use_tz):
    settings.USE_TZ = use_tz
    now = timezone.make_naive(timezone.now()) if use_tz else timezone.now()

    broadcast(INFO, "Sunday", starts=now - HOUR, expires=now + HOUR)
    visit_as(user)

    assert texts_of(user) == ["Sunday"]


# Costs


@pytest.mark.parametrize("address", ["/counter/", "/strip/", "/messages/"])
def test_received_broadcast_adds_no_query_to_page(client, address):
    before = len(app_queries(client, address))
    broadcast(INFO, "Sunday")
    broadcast(INFO, "Monday")
    client.get("/counter/")

    assert len(app_queries(client, address)) == before


def test_copying_takes_one_query_and_two_inserts(client, user):
    plain = app_queries(client, "/counter/")
    broadcast(INFO, "Sunday")
    broadcast(INFO, "Monday")
    running.running()

    statements = app_queries(client, "/counter/")

    assert len(statements) == len(plain) + 3
    asked, copies, receipts = (sql.split("(")[0] for sql in statements[:3])
    assert asked.startswith("SELECT")
    assert re.match("INSERT INTO .persistent_messages_message", copies)
    assert re.match("INSERT INTO .persistent_messages_receipt", receipts)
    assert texts_of(user) == ["Sunday", "Monday"]


def test_new_session_of_recipient_takes_one_extra_query(client, user):
    plain = app_queries(client, "/counter/")
    broadcast(INFO, "Sunday")
    visit_as(user)

    assert len(app_queries(client, "/counter/")) == len(plain) + 1
    assert len(app_queries(client, "/counter/")) == len(plain)


def test_list_of_running_broadcasts_is_shared_through_cache(user, monkeypatch):
    broadcast(INFO, "Sunday")
    running.uncommitted.clear()  # as if it were committed
    monkeypatch.setattr(running._Process, "listed", None)
    with CaptureQueriesContext(connection) as first:
        assert [each.audience for each in running.running()] == ["everybody"]
    monkeypatch.setattr(running._Process, "listed", None)  # another process
    with CaptureQueriesContext(connection) as second:
        assert [each.audience for each in running.running()] == ["everybody"]

    assert (len(first), len(second)) == (1, 0)


def test_list_of_running_broadcasts_is_refreshed_after_setting(settings, monkeypatch):
    settings.PERSISTENT_MESSAGES = {"BROADCAST_REFRESH": 60}
    monkeypatch.setattr(running._Process, "listed", None)
    clock = running.time.time()
    monkeypatch.setattr(running.time, "time", lambda: clock)
    assert running.running() == []
    Broadcast.objects.create(level=INFO, message="By another process")

    clock += 59
    assert running.running() == []
    clock += 2
    assert len(running.running()) == 1


def test_failing_cache_is_logged_and_database_is_queried(user, monkeypatch, caplog):
    def fails(*args, **kwargs):
        raise ConnectionError("No cache.")

    for name in ("get", "set", "delete"):
        monkeypatch.setattr(running.cache, name, fails, raising=False)
    running._forget_cached()
    broadcast(INFO, "Sunday")
    running.uncommitted.clear()

    visit_as(user)

    assert texts_of(user) == ["Sunday"]
    assert "The cache does not answer." in caplog.messages


def test_session_state_is_ignored_for_other_user(client, user, other):
    broadcast(INFO, "Sunday")
    client.get("/counter/")
    session = client.session
    session["_auth_user_id"] = str(other.pk)  # as packages for impersonation do
    session["_auth_user_hash"] = other.get_session_auth_hash()
    session.save()

    client.get("/counter/")

    assert texts_of(other) == ["Sunday"]


def test_session_forgets_ended_broadcasts(client):
    first = broadcast(INFO, "Sunday")
    client.get("/counter/")
    first.withdraw()
    second = broadcast(INFO, "Monday")
    client.get("/counter/")

    (_, known) = client.session[arrivals.SESSION_KEY]
    assert known == {f"{second.pk}.1": 0}


# Audiences


def test_staff_and_groups_get_their_broadcasts(user, other):
    staff = User.objects.create(username="boss", is_staff=True)
    team = Group.objects.create(name="Team Nord")
    other.groups.add(team)
    broadcast(INFO, "Staff", audience="staff")
    broadcast(INFO, "Team", audience="group:Team Nord")

    visit_as(user, other, staff)

    assert [texts_of(each) for each in (user, other, staff)] == [[], ["Team"], ["Staff"]]


def test_group_membership_is_rechecked_after_while(client, user, monkeypatch):
    team = Group.objects.create(name="team")
    plain = len(app_queries(client, "/counter/"))
    broadcast(INFO, "Team", audience="group:team")
    running.running()
    client.get("/counter/")
    user.groups.add(team)

    assert len(app_queries(client, "/counter/")) == plain
    now = timezone.now()
    later = now + timedelta(seconds=arrivals.REFUSAL_SECONDS + 1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    client.get("/counter/")
    assert texts_of(user) == ["Team"]


def test_audience_function_is_called_once_per_user_and_broadcast(user, other):
    asked = []

    @audience("trial", gettext_lazy("Trial users"))
    def on_trial(person):
        asked.append(person)
        return person == other

    for text in ("One", "Two"):
        broadcast(INFO, text, audience="trial")
    visit_as(user, other, user, other)

    assert asked == [user, user, other, other]
    assert (texts_of(user), texts_of(other)) == ([], ["One", "Two"])


@pytest.mark.parametrize("error", [RuntimeError("No."), DatabaseError("No."), KeyError()])
def test_failing_audience_function_is_logged_and_excludes_user(client, user, error, caplog):
    @audience("trial", "Trial users")
    def fails(person):
        raise error

    broadcast(INFO, "Trial", audience="trial")
    broadcast(INFO, "All")

    page = client.get("/strip/")

    assert "All" in page.text
    assert texts_of(user) == ["All"]
    assert [record.getMessage() for record in caplog.records] == [
        f"The audience 'trial' failed for the user {user.pk}."
    ]


def test_audience_function_with_failing_query_leaves_page_intact(client, user, caplog):
    @audience("trial", "Trial users")
    def fails(person):
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    broadcast(INFO, "Trial", audience="trial")

    assert client.get("/strip/").status_code == 200
    assert texts_of(user) == []
    assert "The audience 'trial' failed" in caplog.text


def test_removed_audience_reaches_nobody(client, user):
    audience("trial", "Trial users")(lambda person: True)
    broadcast(INFO, "Trial", audience="trial")
    audiences.registered.clear()

    assert client.get("/strip/").status_code == 200
    assert texts_of(user) == []


def test_later_audience_function_replaces_earlier(user):
    audience("trial", "Trial users")(lambda person: False)
    audience("trial", "Trial users")(lambda person: True)
    broadcast(INFO, "Trial", audience="trial")

    visit_as(user)

    assert texts_of(user) == ["Trial"]


@pytest.mark.parametrize(
    ("name", "label", "error"),
    [
        ("everybody", "All", ValueError),
        ("staff", "Staff", ValueError),
        ("group:x", "Group", ValueError),
        ("Trial", "Trial", ValueError),
        ("", "Trial", ValueError),
        ("x" * 201, "Trial", ValueError),
        ("trial", "", ValueError),
        (7, "Trial", TypeError),
    ],
)
def test_audience_requires_unique_name_and_label(name, label, error):
    with pytest.raises(error):
        audience(name, label)
    assert audiences.registered == {}


def test_audience_must_be_function():
    with pytest.raises(TypeError, match="must be a function"):
        audience("trial", "Trial users")("on_trial")


# Languages


def test_copy_is_in_language_of_user(user, other):
    broadcast(INFO, gettext_lazy("Inbox"), subject="Name")
    germans = browser_of(user)

    germans.get("/counter/", headers={"Accept-Language": "de"})
    visit_as(other)

    assert texts_of(user) == ["Posteingang"]
    assert texts_of(other) == ["Inbox"]
    assert {row.subject for row in Message.objects.all()} == {"Name"}


def test_language_of_setting_chooses_language_of_copy(user, settings):
    settings.PERSISTENT_MESSAGES = {"LANGUAGE_OF": lambda person: "de"}
    broadcast(INFO, gettext_lazy("Inbox"))

    visit_as(user)

    assert texts_of(user) == ["Posteingang"]


def test_failing_language_of_setting_is_logged_and_active_language_is_used(
    client, user, settings, caplog
):
    settings.PERSISTENT_MESSAGES = {"LANGUAGE_OF": lambda person: person.profile.language}
    broadcast(INFO, gettext_lazy("Inbox"))

    page = client.get("/messages/", headers={"Accept-Language": "de"})

    assert page.status_code == 200
    assert texts_of(user) == ["Posteingang"]
    assert f"LANGUAGE_OF failed for the user {user.pk}" in caplog.text


@pytest.mark.parametrize(
    ("code", "text"), [("de-at", "Posteingang"), ("en-gb", "Inbox"), ("xx", "Inbox")]
)
def test_language_variant_falls_back_to_nearest_language(user, settings, code, text):
    settings.PERSISTENT_MESSAGES = {"LANGUAGE_OF": lambda person: code}
    broadcast(INFO, gettext_lazy("Inbox"))

    visit_as(user)

    assert texts_of(user) == [text]


def test_broadcast_ignores_active_language_of_sender(user):
    with translation.override("de"):
        sent = broadcast(INFO, gettext_lazy("Inbox"))

    assert sent.message == "Inbox"
    assert sent.translations["de"] == {"message": "Posteingang"}


def test_only_differing_translations_are_stored(user):
    assert broadcast(INFO, "Sunday").translations == {}
    assert broadcast(INFO, lazystr("Sunday")).translations == {}


def test_safe_text_is_html_and_other_text_is_escaped(client, user):
    broadcast(INFO, mark_safe("<b>Sunday</b>"))
    broadcast(INFO, "<b>Monday</b>")

    page = client.get("/strip/").text

    assert "<b>Sunday</b>" in page
    assert "&lt;b&gt;Monday&lt;/b&gt;" in page


def test_notice_class_is_broadcast_in_each_language(user, other):
    class Maintenance(Notice):
        topic = "status"
        level = WARNING
        subject = gettext_lazy("Inbox")
        message = "On %(day)s"
        key = "maintenance"

        def url(self, day):
            return f"/status/{day}/"

    expires = timezone.now() + HOUR
    sent = Maintenance(day="Sunday").broadcast(audience="everybody", expires=expires)
    browser_of(user).get("/counter/", headers={"Accept-Language": "de"})
    visit_as(other)

    assert (sent.level, sent.topic, sent.key, sent.expires) == (
        WARNING,
        "status",
        "maintenance",
        expires,
    )
    rows = Message.objects.order_by("pk")
    assert [row.subject for row in rows] == ["Posteingang", "Inbox"]
    assert {row.message for row in rows} == {"On Sunday"}
    assert {row.url for row in rows} == {"/status/Sunday/"}


# Keys


def test_keyed_copy_replaces_notice_in_inbox(client, user):
    send_message(user, INFO, "Before", key="maintenance")
    broadcast(INFO, "Sunday", key="maintenance")
    client.get("/counter/")

    assert mailbox_of(user) == [("INBOX", "Sunday")]
    assert Message.objects.get().times == 2
    broadcast(INFO, "Monday", key="maintenance")
    client.get("/counter/")
    assert mailbox_of(user) == [("INBOX", "Monday")]
    assert Message.objects.get().times == 3


def test_late_user_gets_one_notice_per_key(user):
    broadcast(INFO, "Sunday", key="maintenance")
    broadcast(INFO, "Monday", key="maintenance")

    visit_as(user)

    assert mailbox_of(user) == [("INBOX", "Monday")]


def test_resolve_removes_copies_from_inboxes(user, other):
    broadcast(INFO, "Sunday", key="maintenance")
    visit_as(user, other)

    assert resolve([user, other], "maintenance") == 2
    visit_as(user)
    assert mailbox_of(user) == []


def test_withdraw_keeps_later_notice_with_same_key(user):
    first = broadcast(INFO, "Sunday", key="maintenance")
    visit_as(user)
    send_message(user, INFO, "Later", key="maintenance")

    assert first.withdraw() == 0
    assert mailbox_of(user) == [("INBOX", "Later")]


# Withdrawing


def test_withdraw_removes_copies_from_inbox_and_archive(user, other):
    third = User.objects.create(username="third")
    sent = broadcast(INFO, "Sunday")
    send_message([user, other], INFO, "Other")
    visit_as(user, other, third)
    copies = Message.objects.filter(message="Sunday")
    mailbox.archive(user, Folder.INBOX, copies)
    trashed = mailbox.delete(other, Folder.INBOX, copies)

    assert sent.withdraw() == 2

    assert mailbox_of(user) == [("INBOX", "Other")]
    assert mailbox_of(other) == [("INBOX", "Other"), ("TRASH", "Sunday")]
    assert mailbox_of(third) == []
    assert mailbox.undo(other, trashed) == 0
    assert sent.withdrawn_at is not None
    assert not sent.is_running


def test_withdrawn_broadcast_is_not_copied(user):
    sent = broadcast(INFO, "Sunday")

    sent.withdraw()
    visit_as(user)

    assert mailbox_of(user) == []


def test_repeated_withdraw_does_nothing(user):
    sent = broadcast(INFO, "Sunday")
    visit_as(user)

    assert [sent.withdraw(), sent.withdraw()] == [1, 0]
    first = sent.withdrawn_at
    Broadcast.objects.get().withdraw()
    assert Broadcast.objects.get().withdrawn_at == first


def test_withdraw_sends_signal_for_each_mailbox(user, other, django_capture_on_commit_callbacks):
    sent, heard = broadcast(INFO, "Sunday"), []
    visit_as(user, other)

    def hear(user_id, action, count, **_):
        heard.append((user_id, action, count))

    mailbox_changed.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            sent.withdraw()
    finally:
        mailbox_changed.disconnect(hear)

    assert sorted(heard) == sorted([(user.pk, "resolve", 1), (other.pk, "resolve", 1)])


@pytest.mark.parametrize("what", ["withdraw", "edit"])
def test_copies_are_changed_in_batches(what, monkeypatch):
    monkeypatch.setattr(Broadcast.changes, "BATCH_SIZE", 3)
    people = User.objects.bulk_create(User(username=f"u{n}") for n in range(8))
    sent = broadcast(INFO, "Sunday")
    for person in people:
        assert arrivals.arrive(person, [sent.pk])

    with CaptureQueriesContext(connection) as queries:
        assert (sent.withdraw() if what == "withdraw" else sent.edit(message="Monday")) == 8

    verb = "DELETE FROM .persistent_messages_message"
    if what == "edit":
        verb = "UPDATE .persistent_messages_message. SET .level"
    assert sum(bool(re.match(verb, query["sql"])) for query in queries) == 3
    left = {text for person in people for text in texts_of(person)}
    assert left == (set() if what == "withdraw" else {"Monday"})


# Editing


def test_edit_changes_copies_outside_trash(user, other):
    third = User.objects.create(username="third")
    sent = broadcast(INFO, "Sunday", url="/a/")
    visit_as(user, other, third)
    rows = Message.objects.all()
    mailbox.mark_read(user, Folder.INBOX, rows)
    mailbox.archive(user, Folder.INBOX, rows)
    mailbox.delete(other, Folder.INBOX, rows)
    expires = timezone.now() + HOUR

    count = sent.edit(
        message="Monday",
        subject="Maintenance",
        level=ERROR,
        topic="status",
        url="/b/",
        action="Look",
        expires=expires,
    )

    assert count == 2
    assert texts_of(other) == ["Sunday"]
    for row in Message.objects.exclude(user=other):
        assert (row.message, row.subject, row.level) == ("Monday", "Maintenance", ERROR)
        assert (row.topic, row.url, row.action, row.expires) == ("status", "/b/", "Look", expires)
        assert row.search_text == "" or "monday" in row.search_text
    assert Message.objects.get(user=user).read
    assert Message.objects.get(user=user).folder == Folder.ARCHIVE
    assert not Message.objects.get(user=third).read


def test_later_user_gets_edited_text(client, user, other):
    sent = broadcast(INFO, "Sunday")
    visit_as(other)

    sent.edit(message="Monday")
    client.get("/counter/")

    assert (texts_of(user), texts_of(other)) == (["Monday"], ["Monday"])
    assert sent.message == "Monday"


def test_edit_translates_each_copy(user, other):
    sent = broadcast(INFO, gettext_lazy("Inbox"))
    browser_of(user).get("/counter/", headers={"Accept-Language": "de"})
    visit_as(other)

    sent.edit(message=gettext_lazy("Archive"))
    assert (texts_of(user), texts_of(other)) == (["Archiv"], ["Archive"])

    sent.edit(subject="Name")
    assert (texts_of(user), texts_of(other)) == (["Archiv"], ["Archive"])
    sent.edit(message="Plain")
    assert (texts_of(user), texts_of(other)) == (["Plain"], ["Plain"])
    sent.edit(message=gettext_lazy("Trash"))
    assert (texts_of(user), texts_of(other)) == (["Papierkorb"], ["Trash"])
    assert {row.subject for row in Message.objects.all()} == {"Name"}


def test_edited_text_is_safe_only_if_marked_safe(user):
    sent = broadcast(INFO, mark_safe("<b>Sunday</b>"))
    visit_as(user)

    sent.edit(subject="Maintenance")
    assert Message.objects.get().is_safe
    sent.edit(message="<b>Monday</b>")
    assert not Message.objects.get().is_safe
    assert not Broadcast.objects.get().is_safe


def test_edited_audience_is_evaluated_again(client, user):
    audience("trial", "Trial users")(lambda person: False)
    sent = broadcast(INFO, "Sunday", audience="trial")
    client.get("/counter/")
    assert texts_of(user) == []

    assert sent.edit(audience="everybody") == 0
    client.get("/counter/")

    assert texts_of(user) == ["Sunday"]


def test_recipient_keeps_copy_after_audience_changes(user):
    sent = broadcast(INFO, "Sunday")
    visit_as(user)

    sent.edit(audience="staff")
    visit_as(user)

    assert texts_of(user) == ["Sunday"]


def test_edit_of_stale_instance_keeps_other_changes(user):
    sent = broadcast(INFO, "Sunday")
    old = Broadcast.objects.get()
    sent.edit(subject="Maintenance")

    old.edit(message="Monday")

    assert (old.subject, old.message) == ("Maintenance", "Monday")


# Transactions


def test_rolled_back_broadcast_is_not_copied(client, user):
    with transaction.atomic():
        broadcast(INFO, "Sunday")
        transaction.set_rollback(True)

    client.get("/counter/")

    assert mailbox_of(user) == []


@pytest.mark.django_db(transaction=True)
def test_rolled_back_copy_is_made_on_next_page(client, user):
    broadcast(INFO, "Sunday")

    assert "1 unread" in client.get("/given-up/").text
    assert mailbox_of(user) == []

    client.get("/counter/")
    assert texts_of(user) == ["Sunday"]


@pytest.mark.django_db(transaction=True)
def test_other_processes_see_broadcast_after_commit(monkeypatch):
    monkeypatch.setattr(running._Process, "listed", None)
    with transaction.atomic():
        broadcast(INFO, "Sunday")
        assert len(running.running()) == 1
        assert running._Process.listed is None
    assert len(running.running()) == 1
    assert running._Process.listed is not None


# Concurrency with a single connection; tests/test_concurrency.py has more


@pytest.fixture
def before_copy(monkeypatch):
    """Do something after a request has read what the user is to get, and before it copies that."""

    def before_copy(do):
        copy = arrivals._copy

        def copy_later(*args):
            monkeypatch.setattr(arrivals, "_copy", copy)
            do()
            copy(*args)

        monkeypatch.setattr(arrivals, "_copy", copy_later)

    return before_copy


def test_concurrent_requests_create_one_copy(client, user, before_copy):
    broadcast(INFO, "Sunday")
    before_copy(lambda: visit_as(user))

    assert "1 unread" in client.get("/counter/").text
    assert texts_of(user) == ["Sunday"]


def test_concurrent_requests_call_audience_function_once(client, user, before_copy):
    asked = []
    audience("trial", "Trial users")(lambda person: asked.append(person) or True)
    broadcast(INFO, "Sunday", audience="trial")
    before_copy(lambda: visit_as(user))

    client.get("/counter/")

    assert asked == [user]
    assert texts_of(user) == ["Sunday"]


@pytest.mark.parametrize("key", [None, "maintenance"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda: Broadcast.objects.get().edit(message="Monday"), ["Monday"]),
        (lambda: Broadcast.objects.get().withdraw(), []),
    ],
    ids=["edited", "withdrawn"],
)
def test_broadcast_changed_during_copy_arrives_changed(
    client, user, before_copy, change, expected, key
):
    broadcast(INFO, "Sunday", key=key)
    before_copy(change)

    client.get("/counter/")

    assert texts_of(user) == expected


def test_deleting_user_deletes_copies_and_receipts(user):
    sent = broadcast(INFO, "Sunday")
    visit_as(user)

    user.delete()

    assert not Receipt.objects.exists()
    assert sent.withdraw() == 0


# Bad input


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"message": ""}, ValueError, "message"),
        ({"message": None}, ValueError, "message"),
        ({"subject": None}, TypeError, "subject"),
        ({"url": None}, TypeError, "url"),
        ({"action": None, "url": "/status/"}, TypeError, "action"),
        ({"level": "high"}, TypeError, "level"),
        ({"level": SUCCESS}, ValueError, "level must be persistent"),
        ({"subject": "x" * 256}, ValueError, "subject"),
        ({"audience": "nobody"}, ValueError, "audience"),
        ({"audience": "group:nobody"}, ValueError, "audience"),
        ({"audience": "group:editors"}, ValueError, "audience"),
        ({"audience": "group:Editors "}, ValueError, "audience"),
        ({"audience": None}, TypeError, "audience"),
        ({"topic": "unknown"}, ValueError, "topic"),
        ({"url": "javascript:alert(1)"}, ValueError, "url"),
        ({"action": "Look"}, ValueError, "action"),
        ({"key": "x" * 101}, ValueError, "key"),
        ({"starts": "today"}, TypeError, "starts"),
        ({"expires": 7}, TypeError, "expires"),
    ],
)
def test_invalid_argument_is_named_and_nothing_is_stored(arguments, error, match):
    Group.objects.create(name="Editors")
    given = {"level": INFO, "message": "Sunday", **arguments}
    with pytest.raises(error, match=match):
        broadcast(given.pop("level"), given.pop("message"), **given)
    assert not Broadcast.objects.exists()


@pytest.mark.parametrize(
    "name", ["message_mark_read", "message_mark_unread", "message_archive", "message_delete"]
)
def test_action_on_withdrawn_copy_reports_it(client, user, name):
    sent = broadcast(INFO, "Sunday", url="/messages/")
    visit_as(user)
    copy = Message.objects.get()
    assert client.get(reverse("message_detail", args=[copy.pk])).status_code == 200
    sent.withdraw()

    address = reverse(name, args=[copy.pk])
    asked = {"pm-from": "row", "pm-part": ["strip"]}
    row = client.post(address, asked, headers={"HX-Request": "true"})

    assert row.status_code == 200
    assert "This message no longer exists." in row.text
    assert client.post(address).status_code == 404
    assert client.get(reverse("message_detail", args=[copy.pk])).status_code == 404
    assert client.post(reverse("message_open", args=[copy.pk])).status_code == 404
    visit_as(user)
    assert texts_of(user) == []


@pytest.mark.parametrize("after", [timedelta(), -HOUR])
def test_expires_must_be_later_than_starts(after):
    starts = timezone.now() + HOUR
    with pytest.raises(ValueError, match="expires must be later than starts"):
        broadcast(INFO, "Sunday", starts=starts, expires=starts + after)
    sent = broadcast(INFO, "Sunday", starts=starts)
    with pytest.raises(ValueError, match="expires must be later than starts"):
        sent.edit(expires=starts + after)
    assert Broadcast.objects.get().expires is None


def test_notice_with_failing_template_stores_nothing():
    class Weekly(Notice):
        template_name = "shop/missing.html"

    with pytest.raises(Exception, match=r"shop/missing\.html"):
        Weekly().broadcast()
    assert not Broadcast.objects.exists()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"message": ""}, ValueError),
        ({"message": None}, ValueError),
        ({"url": None}, TypeError),
        ({"audience": "nobody"}, ValueError),
        ({"level": SUCCESS}, ValueError),
        ({"key": "other"}, TypeError),
        ({"words": "other"}, TypeError),
    ],
)
def test_invalid_edit_changes_nothing(user, changes, error):
    sent = broadcast(INFO, "Sunday")
    visit_as(user)

    with pytest.raises(error):
        sent.edit(**{"subject": "Maintenance", **changes})

    assert Message.objects.get().subject == Broadcast.objects.get().subject == ""


def test_withdrawn_broadcast_cannot_be_edited():
    sent = broadcast(INFO, "Sunday")
    sent.withdraw()

    with pytest.raises(ValueError, match="withdrawn"):
        sent.edit(message="Monday")


def test_edit_without_changes_takes_no_query(user, django_assert_num_queries):
    sent = broadcast(INFO, "Sunday")

    with django_assert_num_queries(0):
        assert sent.edit() == 0


def test_unsaved_user_gets_no_copy(user):
    broadcast(INFO, "Sunday")
    request = RequestFactory().get("/")
    request.user = User(username="unsaved")

    arrivals.receive(request, request.user)

    assert not Message.objects.exists()


def test_str_is_title():
    assert str(broadcast(INFO, "Sunday", subject="Maintenance")) == "Maintenance"
    assert str(broadcast(INFO, mark_safe("<b>Sunday</b>"))) == "Sunday"


def test_mailbox_visited_is_sent_once_per_request(user):
    heard = []

    def hear(user, **_):
        heard.append(user)

    visits.mailbox_visited.connect(hear)
    try:
        visit_as(user)
        browser_of(user).get("/messages/")
    finally:
        visits.mailbox_visited.disconnect(hear)

    assert heard == [user, user]


def test_later_of_two_concurrent_edits_wins(user, other, monkeypatch):
    sent = broadcast(INFO, "Sunday")
    visit_as(user, other)
    copies_of = Broadcast.changes._copies

    def copies_later(edited):
        monkeypatch.setattr(Broadcast.changes, "_copies", copies_of)
        Broadcast.objects.get().edit(message="Tuesday")
        return copies_of(edited)

    monkeypatch.setattr(Broadcast.changes, "_copies", copies_later)
    sent.edit(message="Monday")

    assert (texts_of(user), texts_of(other)) == (["Tuesday"], ["Tuesday"])


# Receipts


@pytest.fixture
def make_ended(user, other):
    """A function that broadcasts to Sally and Harry what ended so many days ago."""

    def make_ended(days, *people, withdrawn=False, **fields):
        sent = broadcast(INFO, f"Ended {days} days ago", **fields)
        visit_as(*(people or (user, other)))
        ago = timezone.now() - timedelta(days=days)
        times = {"withdrawn_at": ago} if withdrawn else {"expires": ago}
        Broadcast.objects.filter(pk=sent.pk).update(**times)
        running.forget()
        return Broadcast.objects.get(pk=sent.pk)

    return make_ended


@pytest.mark.parametrize("withdrawn", [False, True])
def test_receipts_of_old_broadcasts_are_pruned(make_ended, user, other, withdrawn):
    old = make_ended(91, withdrawn=withdrawn)
    lately, endless = make_ended(89, withdrawn=withdrawn), broadcast(INFO, "For ever")
    visit_as(user, other)

    assert prune_messages() == 2

    assert {*Receipt.objects.values_list("broadcast", flat=True)} == {lately.pk, endless.pk}
    counts = dict(Broadcast.objects.values_list("pk", "receipt_count"))
    assert counts == {old.pk: 2, lately.pk: None, endless.pk: None}
    assert prune_messages() == 0


def test_receipts_are_counted_before_they_are_pruned(make_ended, user, other, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH_SIZE", 2)
    audience("harrys", "Harrys")(lambda person: person == other)
    people = [User.objects.create_user(f"person-{number}") for number in range(3)]
    old = make_ended(91, user, other, *people, audience="harrys")
    assert Receipt.objects.count() == 5

    batches = list(pruning.prune_all(30))

    assert batches == [("receipts", 2), ("receipts", 2), ("receipts", 1)]
    old.refresh_from_db()
    assert old.receipt_count == 1


@pytest.mark.parametrize("deletes", [False, True])
def test_broadcast_without_receipts_cannot_be_extended(make_ended, user, other, deletes):
    old = make_ended(91)
    if deletes:
        Message.objects.all().delete()
    prune_messages()
    had = texts_of(user)

    for changes in ({"expires": None}, {"message": "New"}):
        with pytest.raises(ValueError, match="ended long ago and cannot be edited"):
            old.edit(**changes)
    visit_as(user, other)

    assert texts_of(user) == had
    assert old.withdraw() == 0


def test_broadcast_extended_during_prune_keeps_remaining_receipts(
    make_ended, user, other, monkeypatch
):
    (old,) = [make_ended(91)]
    (receipts,) = pruning.old_receipts()
    old.edit(expires=None)

    assert list(pruning.prune(receipts)) == []
    assert Receipt.objects.count() == 2
    visit_as(user, other)
    assert texts_of(user) == ["Ended 91 days ago"]


def test_dry_run_counts_receipts_and_removes_none(make_ended, user):
    make_ended(91)
    out = StringIO()

    call_command("prune_messages", "--dry-run", stdout=out)

    assert "receipts: 2 would be removed" in out.getvalue().splitlines()
    assert Receipt.objects.count() == 2
    assert Broadcast.objects.get().receipt_count is None
