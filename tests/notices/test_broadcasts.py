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


def come(*users):
    """Each of `users` opens a page, in another browser each time."""
    for user in users:
        browser_of(user).get("/counter/")


def sql_of(client, address):
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


def test_a_broadcast_is_one_row_whatever_the_number_of_users(user, other):
    with CaptureQueriesContext(connection) as queries:
        sent = broadcast(INFO, "Sunday")

    assert len(queries) == 1
    assert Broadcast.objects.get() == sent
    assert (sent.level, sent.message, sent.audience) == (INFO, "Sunday", "everybody")
    assert not Message.objects.exists()


def test_a_user_gets_it_when_they_come(client, user, other):
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
def test_the_page_that_copies_it_shows_it(client, user, address, shown):
    broadcast(INFO, "Sunday")

    assert shown in client.get(address).text
    assert mailbox_of(user) == [("INBOX", "Sunday")]


def test_an_open_page_that_polls_shows_it(client, user):
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
def test_a_site_that_asks_the_storage_gets_it(user, read):
    broadcast(INFO, "Sunday")
    request = RequestFactory().get("/")
    request.user, request.session = user, SessionStore()

    read(PersistentMessageStorage(request))

    assert mailbox_of(user) == [("INBOX", "Sunday")]


def test_a_page_that_asks_for_nothing_copies_nothing(client, user):
    broadcast(INFO, "Sunday")

    assert sql_of(client, "/nothing/") == []
    assert mailbox_of(user) == []


def test_pages_of_the_admin_copy_nothing(admin_client, admin_user):
    broadcast(INFO, "Sunday")

    admin_client.get("/admin/")

    assert mailbox_of(admin_user) == []


def test_a_visitor_gets_nothing(visitor):
    broadcast(INFO, "Sunday")

    assert visitor.get("/strip/").status_code == 200
    assert not Message.objects.exists()


def test_it_arrives_once_in_any_browser(user):
    broadcast(INFO, "Sunday")

    come(user, user, user)

    assert mailbox_of(user) == [("INBOX", "Sunday")]


def test_who_joins_later_gets_it(user):
    broadcast(INFO, "Sunday")
    come(user)

    later = User.objects.create(username="later")
    come(later)

    assert texts_of(later) == ["Sunday"]


def test_several_arrive_in_their_order(client, user):
    for text in ("One", "Two", "Three"):
        broadcast(INFO, text)

    client.get("/counter/")

    assert texts_of(user) == ["One", "Two", "Three"]


def test_who_deletes_it_for_good_does_not_get_it_again(client, user):
    broadcast(INFO, "Sunday")
    come(user)
    for folder in (Folder.INBOX, Folder.TRASH):
        mailbox.delete(user, folder, Message.objects.all())

    come(user)

    assert mailbox_of(user) == []


def test_a_copy_is_read_archived_and_taken_back(client, user):
    broadcast(INFO, "Sunday")
    come(user)
    rows = Message.objects.all()

    mailbox.mark_read(user, Folder.INBOX, rows)
    change = mailbox.archive(user, Folder.INBOX, rows)
    assert mailbox_of(user) == [("ARCHIVE", "Sunday")]
    mailbox.undo(user, change)

    come(user)
    assert mailbox_of(user) == [("INBOX", "Sunday")]
    assert Message.objects.get().read


def test_a_delivery_is_signalled_for_each_copy(client, user, django_capture_on_commit_callbacks):
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


def test_nobody_gets_it_before_it_starts_or_after_it_ends(user, other):
    now = timezone.now()
    sent = broadcast(INFO, "Sunday", starts=now + HOUR, expires=now + 2 * HOUR)
    assert not sent.is_running
    come(user)
    assert mailbox_of(user) == []

    Broadcast.objects.update(starts=now - HOUR)
    running.forget()
    come(user)
    Broadcast.objects.update(expires=now)
    running.forget()
    come(other)

    assert texts_of(user) == ["Sunday"]
    assert mailbox_of(other) == []


def test_it_starts_on_time_while_the_list_is_cached(user, monkeypatch):
    now = timezone.now()
    broadcast(INFO, "Sunday", starts=now + timedelta(seconds=5))
    come(user)

    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(seconds=6))
    come(user)

    assert texts_of(user) == ["Sunday"]


def test_a_copy_ends_with_its_broadcast(user):
    expires = timezone.now() + HOUR
    broadcast(INFO, "Sunday", expires=expires)
    come(user)

    assert Message.objects.get().expires == expires


@pytest.mark.parametrize("use_tz", [True, False])
def test_naive_times_are_those_of_the_site(user, settings, use_tz):
    settings.USE_TZ = use_tz
    now = timezone.make_naive(timezone.now()) if use_tz else timezone.now()

    broadcast(INFO, "Sunday", starts=now - HOUR, expires=now + HOUR)
    come(user)

    assert texts_of(user) == ["Sunday"]


# Costs


@pytest.mark.parametrize("address", ["/counter/", "/strip/", "/messages/"])
def test_a_page_costs_no_query_more_once_the_user_has_it(client, address):
    before = len(sql_of(client, address))
    broadcast(INFO, "Sunday")
    broadcast(INFO, "Monday")
    client.get("/counter/")

    assert len(sql_of(client, address)) == before


def test_the_page_that_copies_costs_a_query_and_an_insert_and_that_of_the_receipts(client, user):
    plain = sql_of(client, "/counter/")
    broadcast(INFO, "Sunday")
    broadcast(INFO, "Monday")
    running.running()

    statements = sql_of(client, "/counter/")

    assert len(statements) == len(plain) + 3
    asked, copies, receipts = (sql.split("(")[0] for sql in statements[:3])
    assert asked.startswith("SELECT")
    assert re.match("INSERT INTO .persistent_messages_message", copies)
    assert re.match("INSERT INTO .persistent_messages_receipt", receipts)
    assert texts_of(user) == ["Sunday", "Monday"]


def test_a_new_session_of_a_user_who_has_it_costs_one_query(client, user):
    plain = sql_of(client, "/counter/")
    broadcast(INFO, "Sunday")
    come(user)

    assert len(sql_of(client, "/counter/")) == len(plain) + 1
    assert len(sql_of(client, "/counter/")) == len(plain)


def test_the_list_is_read_once_for_all_processes(user, monkeypatch):
    broadcast(INFO, "Sunday")
    running.uncommitted.clear()  # as if it were committed
    monkeypatch.setattr(running._Process, "listed", None)
    with CaptureQueriesContext(connection) as first:
        assert [each.audience for each in running.running()] == ["everybody"]
    monkeypatch.setattr(running._Process, "listed", None)  # another process
    with CaptureQueriesContext(connection) as second:
        assert [each.audience for each in running.running()] == ["everybody"]

    assert (len(first), len(second)) == (1, 0)


def test_the_list_is_read_again_after_broadcast_refresh_seconds(settings, monkeypatch):
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


def test_a_cache_that_does_not_answer_costs_a_query_and_is_logged(user, monkeypatch, caplog):
    def fails(*args, **kwargs):
        raise ConnectionError("No cache.")

    for name in ("get", "set", "delete"):
        monkeypatch.setattr(running.cache, name, fails, raising=False)
    running._forget_cached()
    broadcast(INFO, "Sunday")
    running.uncommitted.clear()

    come(user)

    assert texts_of(user) == ["Sunday"]
    assert "The cache does not answer." in caplog.messages


def test_a_session_of_another_user_knows_nothing(client, user, other):
    broadcast(INFO, "Sunday")
    client.get("/counter/")
    session = client.session
    session["_auth_user_id"] = str(other.pk)  # as packages for impersonation do
    session["_auth_user_hash"] = other.get_session_auth_hash()
    session.save()

    client.get("/counter/")

    assert texts_of(other) == ["Sunday"]


def test_a_session_forgets_what_does_not_run_any_more(client):
    first = broadcast(INFO, "Sunday")
    client.get("/counter/")
    first.withdraw()
    second = broadcast(INFO, "Monday")
    client.get("/counter/")

    (_, known) = client.session[arrivals.SESSION_KEY]
    assert known == {f"{second.pk}.1": 0}


# Audiences


def test_staff_and_groups_get_what_is_for_them(user, other):
    staff = User.objects.create(username="boss", is_staff=True)
    team = Group.objects.create(name="Team Nord")
    other.groups.add(team)
    broadcast(INFO, "Staff", audience="staff")
    broadcast(INFO, "Team", audience="group:Team Nord")

    come(user, other, staff)

    assert [texts_of(each) for each in (user, other, staff)] == [[], ["Team"], ["Staff"]]


def test_who_is_in_no_group_costs_one_query_in_a_while(client, user, monkeypatch):
    team = Group.objects.create(name="team")
    plain = len(sql_of(client, "/counter/"))
    broadcast(INFO, "Team", audience="group:team")
    running.running()
    client.get("/counter/")
    user.groups.add(team)

    assert len(sql_of(client, "/counter/")) == plain
    now = timezone.now()
    later = now + timedelta(seconds=arrivals.REFUSAL_SECONDS + 1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    client.get("/counter/")
    assert texts_of(user) == ["Team"]


def test_a_function_of_the_site_is_asked_once_for_each_user_and_broadcast(user, other):
    asked = []

    @audience("trial", gettext_lazy("Trial users"))
    def on_trial(person):
        asked.append(person)
        return person == other

    for text in ("One", "Two"):
        broadcast(INFO, text, audience="trial")
    come(user, other, user, other)

    assert asked == [user, user, other, other]
    assert (texts_of(user), texts_of(other)) == ([], ["One", "Two"])


@pytest.mark.parametrize("error", [RuntimeError("No."), DatabaseError("No."), KeyError()])
def test_a_function_that_fails_is_logged_and_means_no(client, user, error, caplog):
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


def test_a_function_whose_query_fails_leaves_the_page_intact(client, user, caplog):
    @audience("trial", "Trial users")
    def fails(person):
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    broadcast(INFO, "Trial", audience="trial")

    assert client.get("/strip/").status_code == 200
    assert texts_of(user) == []
    assert "The audience 'trial' failed" in caplog.text


def test_an_audience_that_the_site_has_no_more_reaches_nobody(client, user):
    audience("trial", "Trial users")(lambda person: True)
    broadcast(INFO, "Trial", audience="trial")
    audiences.registered.clear()

    assert client.get("/strip/").status_code == 200
    assert texts_of(user) == []


def test_the_later_function_of_a_name_counts(user):
    audience("trial", "Trial users")(lambda person: False)
    audience("trial", "Trial users")(lambda person: True)
    broadcast(INFO, "Trial", audience="trial")

    come(user)

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
def test_an_audience_needs_a_name_of_its_own_and_a_label(name, label, error):
    with pytest.raises(error):
        audience(name, label)
    assert audiences.registered == {}


def test_an_audience_is_a_function():
    with pytest.raises(TypeError, match="must be a function"):
        audience("trial", "Trial users")("on_trial")


# Languages


def test_each_user_gets_the_text_in_their_language(user, other):
    broadcast(INFO, gettext_lazy("Inbox"), subject="Name")
    germans = browser_of(user)

    germans.get("/counter/", headers={"Accept-Language": "de"})
    come(other)

    assert texts_of(user) == ["Posteingang"]
    assert texts_of(other) == ["Inbox"]
    assert {row.subject for row in Message.objects.all()} == {"Name"}


def test_language_of_says_which_that_is(user, settings):
    settings.PERSISTENT_MESSAGES = {"LANGUAGE_OF": lambda person: "de"}
    broadcast(INFO, gettext_lazy("Inbox"))

    come(user)

    assert texts_of(user) == ["Posteingang"]


@pytest.mark.parametrize(
    ("code", "text"), [("de-at", "Posteingang"), ("en-gb", "Inbox"), ("xx", "Inbox")]
)
def test_a_variant_of_a_language_gets_what_is_nearest(user, settings, code, text):
    settings.PERSISTENT_MESSAGES = {"LANGUAGE_OF": lambda person: code}
    broadcast(INFO, gettext_lazy("Inbox"))

    come(user)

    assert texts_of(user) == [text]


def test_the_languages_of_the_sender_do_not_count(user):
    with translation.override("de"):
        sent = broadcast(INFO, gettext_lazy("Inbox"))

    assert sent.message == "Inbox"
    assert sent.translations["de"] == {"message": "Posteingang"}


def test_only_what_differs_is_stored_for_a_language(user):
    assert broadcast(INFO, "Sunday").translations == {}
    assert broadcast(INFO, lazystr("Sunday")).translations == {}


def test_safe_text_stays_html_and_other_text_does_not(client, user):
    broadcast(INFO, mark_safe("<b>Sunday</b>"))
    broadcast(INFO, "<b>Monday</b>")

    page = client.get("/strip/").text

    assert "<b>Sunday</b>" in page
    assert "&lt;b&gt;Monday&lt;/b&gt;" in page


def test_a_kind_of_notice_is_broadcast_in_each_language(user, other):
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
    come(other)

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


def test_a_copy_with_a_key_takes_the_place_of_the_one_in_the_inbox(client, user):
    send_message(user, INFO, "Before", key="maintenance")
    broadcast(INFO, "Sunday", key="maintenance")
    client.get("/counter/")

    assert mailbox_of(user) == [("INBOX", "Sunday")]
    assert Message.objects.get().times == 2
    broadcast(INFO, "Monday", key="maintenance")
    client.get("/counter/")
    assert mailbox_of(user) == [("INBOX", "Monday")]
    assert Message.objects.get().times == 3


def test_who_comes_late_has_one_notice_of_the_key(user):
    broadcast(INFO, "Sunday", key="maintenance")
    broadcast(INFO, "Monday", key="maintenance")

    come(user)

    assert mailbox_of(user) == [("INBOX", "Monday")]


def test_resolve_removes_it_from_the_inboxes(user, other):
    broadcast(INFO, "Sunday", key="maintenance")
    come(user, other)

    assert resolve([user, other], "maintenance") == 2
    come(user)
    assert mailbox_of(user) == []


def test_withdrawing_one_leaves_a_later_notice_of_its_key(user):
    first = broadcast(INFO, "Sunday", key="maintenance")
    come(user)
    send_message(user, INFO, "Later", key="maintenance")

    assert first.withdraw() == 0
    assert mailbox_of(user) == [("INBOX", "Later")]


# Withdrawing


def test_withdraw_removes_it_from_inboxes_and_archives(user, other):
    third = User.objects.create(username="third")
    sent = broadcast(INFO, "Sunday")
    send_message([user, other], INFO, "Other")
    come(user, other, third)
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


def test_nobody_gets_what_was_withdrawn(user):
    sent = broadcast(INFO, "Sunday")

    sent.withdraw()
    come(user)

    assert mailbox_of(user) == []


def test_withdrawing_twice_is_withdrawing_once(user):
    sent = broadcast(INFO, "Sunday")
    come(user)

    assert [sent.withdraw(), sent.withdraw()] == [1, 0]
    first = sent.withdrawn_at
    Broadcast.objects.get().withdraw()
    assert Broadcast.objects.get().withdrawn_at == first


def test_withdrawing_tells_each_mailbox(user, other, django_capture_on_commit_callbacks):
    sent, heard = broadcast(INFO, "Sunday"), []
    come(user, other)

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
def test_many_copies_are_changed_a_batch_at_a_time(what, monkeypatch):
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


def test_edit_reaches_all_copies_that_are_not_trashed(user, other):
    third = User.objects.create(username="third")
    sent = broadcast(INFO, "Sunday", url="/a/")
    come(user, other, third)
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


def test_who_comes_later_gets_the_edited_text(client, user, other):
    sent = broadcast(INFO, "Sunday")
    come(other)

    sent.edit(message="Monday")
    client.get("/counter/")

    assert (texts_of(user), texts_of(other)) == (["Monday"], ["Monday"])
    assert sent.message == "Monday"


def test_an_edit_finds_each_copy_in_its_language(user, other):
    sent = broadcast(INFO, gettext_lazy("Inbox"))
    browser_of(user).get("/counter/", headers={"Accept-Language": "de"})
    come(other)

    sent.edit(message=gettext_lazy("Archive"))
    assert (texts_of(user), texts_of(other)) == (["Archiv"], ["Archive"])

    sent.edit(subject="Name")
    assert (texts_of(user), texts_of(other)) == (["Archiv"], ["Archive"])
    sent.edit(message="Plain")
    assert (texts_of(user), texts_of(other)) == (["Plain"], ["Plain"])
    sent.edit(message=gettext_lazy("Trash"))
    assert (texts_of(user), texts_of(other)) == (["Papierkorb"], ["Trash"])
    assert {row.subject for row in Message.objects.all()} == {"Name"}


def test_an_edited_text_is_safe_only_if_it_says_so(user):
    sent = broadcast(INFO, mark_safe("<b>Sunday</b>"))
    come(user)

    sent.edit(subject="Maintenance")
    assert Message.objects.get().is_safe
    sent.edit(message="<b>Monday</b>")
    assert not Message.objects.get().is_safe
    assert not Broadcast.objects.get().is_safe


def test_another_audience_is_asked_anew(client, user):
    audience("trial", "Trial users")(lambda person: False)
    sent = broadcast(INFO, "Sunday", audience="trial")
    client.get("/counter/")
    assert texts_of(user) == []

    assert sent.edit(audience="everybody") == 0
    client.get("/counter/")

    assert texts_of(user) == ["Sunday"]


def test_who_got_it_keeps_it_whatever_the_audience_is_now(user):
    sent = broadcast(INFO, "Sunday")
    come(user)

    sent.edit(audience="staff")
    come(user)

    assert texts_of(user) == ["Sunday"]


def test_an_edit_of_an_old_instance_keeps_what_another_one_changed(user):
    sent = broadcast(INFO, "Sunday")
    old = Broadcast.objects.get()
    sent.edit(subject="Maintenance")

    old.edit(message="Monday")

    assert (old.subject, old.message) == ("Maintenance", "Monday")


# Transactions


def test_a_broadcast_that_is_rolled_back_was_never_there(client, user):
    with transaction.atomic():
        broadcast(INFO, "Sunday")
        transaction.set_rollback(True)

    client.get("/counter/")

    assert mailbox_of(user) == []


@pytest.mark.django_db(transaction=True)
def test_a_copy_that_is_rolled_back_arrives_on_the_next_page(client, user):
    broadcast(INFO, "Sunday")

    assert "1 unread" in client.get("/given-up/").text
    assert mailbox_of(user) == []

    client.get("/counter/")
    assert texts_of(user) == ["Sunday"]


@pytest.mark.django_db(transaction=True)
def test_others_know_of_it_once_it_is_committed(monkeypatch):
    monkeypatch.setattr(running._Process, "listed", None)
    with transaction.atomic():
        broadcast(INFO, "Sunday")
        assert len(running.running()) == 1
        assert running._Process.listed is None
    assert len(running.running()) == 1
    assert running._Process.listed is not None


# Concurrency with a single connection; tests/test_at_once.py has more


@pytest.fixture
def meanwhile(monkeypatch):
    """Do something after a request has read what the user is to get, and before it copies that."""

    def meanwhile(do):
        copy = arrivals._copy

        def copy_later(*args):
            monkeypatch.setattr(arrivals, "_copy", copy)
            do()
            copy(*args)

        monkeypatch.setattr(arrivals, "_copy", copy_later)

    return meanwhile


def test_another_request_that_was_quicker_leaves_one_copy(client, user, meanwhile):
    broadcast(INFO, "Sunday")
    meanwhile(lambda: come(user))

    assert "1 unread" in client.get("/counter/").text
    assert texts_of(user) == ["Sunday"]


def test_a_function_is_asked_once_whichever_request_is_quicker(client, user, meanwhile):
    asked = []
    audience("trial", "Trial users")(lambda person: asked.append(person) or True)
    broadcast(INFO, "Sunday", audience="trial")
    meanwhile(lambda: come(user))

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
def test_what_is_changed_while_it_is_copied_arrives_as_it_is_then(
    client, user, meanwhile, change, expected, key
):
    broadcast(INFO, "Sunday", key=key)
    meanwhile(change)

    client.get("/counter/")

    assert texts_of(user) == expected


def test_a_user_who_is_deleted_takes_copies_and_receipts_along(user):
    sent = broadcast(INFO, "Sunday")
    come(user)

    user.delete()

    assert not Receipt.objects.exists()
    assert sent.withdraw() == 0


# Bad input


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
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
        ({"audience": None}, TypeError, "audience"),
        ({"topic": "unknown"}, ValueError, "topic"),
        ({"url": "javascript:alert(1)"}, ValueError, "url"),
        ({"action": "Look"}, ValueError, "action"),
        ({"key": "x" * 101}, ValueError, "key"),
        ({"starts": "today"}, TypeError, "starts"),
        ({"expires": 7}, TypeError, "expires"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_stored(arguments, error, says):
    given = {"level": INFO, "message": "Sunday", **arguments}
    with pytest.raises(error, match=says):
        broadcast(given.pop("level"), given.pop("message"), **given)
    assert not Broadcast.objects.exists()


@pytest.mark.parametrize(
    "name", ["message_mark_read", "message_mark_unread", "message_archive", "message_delete"]
)
def test_what_is_withdrawn_while_it_is_read_answers_in_words(client, user, name):
    sent = broadcast(INFO, "Sunday", url="/messages/")
    come(user)
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
    come(user)
    assert texts_of(user) == []


@pytest.mark.parametrize("after", [timedelta(), -HOUR])
def test_it_does_not_end_before_it_starts(after):
    starts = timezone.now() + HOUR
    with pytest.raises(ValueError, match="expires must be later than starts"):
        broadcast(INFO, "Sunday", starts=starts, expires=starts + after)
    sent = broadcast(INFO, "Sunday", starts=starts)
    with pytest.raises(ValueError, match="expires must be later than starts"):
        sent.edit(expires=starts + after)
    assert Broadcast.objects.get().expires is None


def test_a_notice_whose_text_fails_stores_nothing():
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
def test_a_wrong_change_changes_nothing(user, changes, error):
    sent = broadcast(INFO, "Sunday")
    come(user)

    with pytest.raises(error):
        sent.edit(**{"subject": "Maintenance", **changes})

    assert Message.objects.get().subject == Broadcast.objects.get().subject == ""


def test_what_was_withdrawn_is_not_edited():
    sent = broadcast(INFO, "Sunday")
    sent.withdraw()

    with pytest.raises(ValueError, match="withdrawn"):
        sent.edit(message="Monday")


def test_no_change_is_no_change(user, django_assert_num_queries):
    sent = broadcast(INFO, "Sunday")

    with django_assert_num_queries(0):
        assert sent.edit() == 0


def test_a_visit_by_somebody_without_a_mailbox_copies_nothing(user):
    broadcast(INFO, "Sunday")
    request = RequestFactory().get("/")
    request.user = User(username="unsaved")

    arrivals.receive(request, request.user)

    assert not Message.objects.exists()


def test_a_broadcast_is_named_by_its_title():
    assert str(broadcast(INFO, "Sunday", subject="Maintenance")) == "Maintenance"
    assert str(broadcast(INFO, mark_safe("<b>Sunday</b>"))) == "Sunday"


def test_no_receiver_is_called_twice_for_one_request(user):
    heard = []

    def hear(user, **_):
        heard.append(user)

    visits.mailbox_visited.connect(hear)
    try:
        come(user)
        browser_of(user).get("/messages/")
    finally:
        visits.mailbox_visited.disconnect(hear)

    assert heard == [user, user]


def test_of_two_edits_the_later_one_stands_in_all_copies(user, other, monkeypatch):
    sent = broadcast(INFO, "Sunday")
    come(user, other)
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
def ended(user, other):
    """A function that broadcasts to Sally and Harry what ended so many days ago."""

    def ended(days, *people, withdrawn=False, **fields):
        sent = broadcast(INFO, f"Ended {days} days ago", **fields)
        come(*(people or (user, other)))
        ago = timezone.now() - timedelta(days=days)
        times = {"withdrawn_at": ago} if withdrawn else {"expires": ago}
        Broadcast.objects.filter(pk=sent.pk).update(**times)
        running.forget()
        return Broadcast.objects.get(pk=sent.pk)

    return ended


@pytest.mark.parametrize("withdrawn", [False, True])
def test_receipts_of_what_ended_long_ago_are_pruned(ended, user, other, withdrawn):
    old = ended(91, withdrawn=withdrawn)
    lately, endless = ended(89, withdrawn=withdrawn), broadcast(INFO, "For ever")
    come(user, other)

    assert prune_messages() == 2

    assert {*Receipt.objects.values_list("broadcast", flat=True)} == {lately.pk, endless.pk}
    counts = dict(Broadcast.objects.values_list("pk", "receipt_count"))
    assert counts == {old.pk: 2, lately.pk: None, endless.pk: None}
    assert prune_messages() == 0


def test_who_got_it_is_counted_before_receipts_are_pruned(ended, user, other, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH_SIZE", 2)
    audience("harrys", "Harrys")(lambda person: person == other)
    people = [User.objects.create_user(f"person-{number}") for number in range(3)]
    old = ended(91, user, other, *people, audience="harrys")
    assert Receipt.objects.count() == 5

    batches = list(pruning.prune_all(30))

    assert batches == [("receipts", 2), ("receipts", 2), ("receipts", 1)]
    old.refresh_from_db()
    assert old.receipt_count == 1


@pytest.mark.parametrize("deletes", [False, True])
def test_what_has_no_receipts_any_more_does_not_come_back(ended, user, other, deletes):
    old = ended(91)
    if deletes:
        Message.objects.all().delete()
    prune_messages()
    had = texts_of(user)

    for changes in ({"expires": None}, {"message": "New"}):
        with pytest.raises(ValueError, match="ended long ago and cannot be edited"):
            old.edit(**changes)
    come(user, other)

    assert texts_of(user) == had
    assert old.withdraw() == 0


def test_what_is_extended_while_receipts_are_pruned_keeps_those_that_are_left(
    ended, user, other, monkeypatch
):
    (old,) = [ended(91)]
    (receipts,) = pruning.old_receipts()
    old.edit(expires=None)

    assert list(pruning.prune(receipts)) == []
    assert Receipt.objects.count() == 2
    come(user, other)
    assert texts_of(user) == ["Ended 91 days ago"]


def test_receipts_are_counted_before_they_are_removed(ended, user):
    ended(91)
    out = StringIO()

    call_command("prune_messages", "--dry-run", stdout=out)

    assert "receipts: 2 would be removed" in out.getvalue().splitlines()
    assert Receipt.objects.count() == 2
    assert Broadcast.objects.get().receipt_count is None
