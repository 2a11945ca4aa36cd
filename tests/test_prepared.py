"""Statements that are compiled once: each run has its own values."""

from contextlib import contextmanager
from datetime import datetime, timedelta
from datetime import timezone as time_zones

import pytest
from django.contrib import messages as contrib_messages
from django.contrib.auth import get_user_model
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.models.signals import post_save, pre_save
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy

from persistent_messages import INFO, messages_delivered, prepared
from persistent_messages.constants import Folder
from persistent_messages.drafts import draft
from persistent_messages.models import Message
from persistent_messages.prepared import NEW_KEY, Statement, insert
from persistent_messages.querysets import STRIP, UNREAD
from persistent_messages.storage import PersistentMessageStorage

pytestmark = pytest.mark.django_db


def test_each_asks_for_the_own_messages(user, other, send):
    send("Mine")
    send("His", to=other)
    send("Once", contrib_messages.INFO, to=other)

    for _ in range(2):
        for owner, texts in ((user, ["Mine"]), (other, ["Once", "His"])):
            assert [str(message) for message in Message.objects.strip_of(owner, 10)] == texts
            assert Message.objects.count_unread_of(owner, 10) == 1


def test_each_run_asks_for_what_is_current_then(user, send):
    soon = timezone.now() + timedelta(hours=1)
    message = send("Hello", expires=soon)
    assert Message.objects.count_unread_of(user, 10) == 1

    Message.objects.filter(pk=message.pk).update(expires=timezone.now())

    assert Message.objects.count_unread_of(user, 10) == 0
    assert Message.objects.strip_of(user, 10) == []


def test_each_limit_has_its_own_statement(user, send):
    for number in range(3):
        send(f"Number {number}")

    assert [Message.objects.count_unread_of(user, limit) for limit in (1, 2, 9, 1)] == [1, 2, 3, 1]
    assert [len(Message.objects.strip_of(user, limit)) for limit in (1, 2, 9, 1)] == [1, 2, 3, 1]


@pytest.mark.parametrize("statement", [STRIP, UNREAD])
def test_it_is_compiled_once(user, statement):
    built = []

    def build(rows, *numbers):
        built.append(numbers)
        return statement.build(rows, *numbers)

    counting = Statement(build)
    values = {"user": user.pk, "now": timezone.now()}
    for _ in range(3):
        counting.sql(Message.objects.all(), 10, **values)
    counting.sql(Message.objects.all(), 11, **values)

    assert built == [(10,), (11,)]


def test_it_is_what_the_querysets_ask(user, send):
    """The statement of the counter has the rows of the states it is named after."""
    send("Hello")
    Message.objects.update(read_at=timezone.now())
    send("Again")
    now = timezone.now()

    sql, parameters = UNREAD.sql(Message.objects.all(), 10, user=user.pk, now=now)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found = [key for (key,) in cursor.fetchall()]

    expected = Message.objects.inbox_of(user).unread_counted()
    assert found == list(expected.values_list("pk", flat=True))


def test_values_are_parameters(user):
    with CaptureQueriesContext(connection) as queries:
        Message.objects.count_unread_of(user, 10)

    sql, parameters = UNREAD.sql(Message.objects.all(), 10, user=user.pk, now=timezone.now())
    assert sql.count("%s") == len(parameters) == 3
    assert len(queries) == 1


# One row: what `insert` does is what Django does.


def save(row, using):
    row.save(force_insert=True, using=using)


def add(owner, message="Hello"):
    request = RequestFactory().get("/")
    request.user = owner
    return PersistentMessageStorage(request).add(INFO, message)


def drafted(owner, message="Hello", level=INFO, **arguments):
    new = draft(level, message, **arguments)
    new.user_id = owner.pk
    new.settle_text()
    return new


def stored(row, using="default"):
    (values,) = Message.objects.using(using).filter(pk=row.pk).values()
    return values


@contextmanager
def noting(using="default"):
    """Note each statement with its parameters, as the cursor gets them."""
    asked = []

    def note(execute, sql, params, many, context):
        asked.append((sql, [*params]))
        return execute(sql, params, many, context)

    with connections[using].execute_wrapper(note):
        yield asked


DRAFTS = {
    "only a text": {},
    "shown once": {"level": contrib_messages.WARNING},
    "lazy": {"message": gettext_lazy("Messages"), "subject": gettext_lazy("Search")},
    "safe": {"message": mark_safe("<b>Bold</b>"), "subject": mark_safe("<i>Never</i>")},
    "not to be stored": {"message": "a\x00b\ud800c", "extra_tags": "x\x00y"},
    "beyond the plane": {"message": "🎉 %s %% ' \" \\", "subject": "ü" * 255},
    "long": {"message": "x" * 100_000},
    "url": {"url": "https://example.com/?a=1&b=%20"},
    "expires": {"expires": datetime(2199, 12, 31, 23, 59, 59, 999_999, time_zones.utc)},
    "expires there": {
        "expires": datetime(2199, 1, 1, tzinfo=time_zones(timedelta(hours=-11, minutes=30)))
    },
    "expires here": {"expires": datetime(2199, 7, 1, 12)},  # noqa: DTZ001 (naive on purpose)
    "closes": {"close_timeout": 0},
    "closes late": {"close_timeout": 2**31 - 1},
    "tags": {"extra_tags": "one two"},
}


def same(ours, djangos):
    """Whether two rows differ in nothing but their keys."""
    return {**ours, "_state": None, "id": None} == {**djangos, "_state": None, "id": None}


@pytest.mark.parametrize("arguments", DRAFTS.values(), ids=DRAFTS)
def test_a_row_is_stored_as_by_save(user, arguments):
    with timezone.override("Asia/Kolkata"):
        ours, djangos = drafted(user, **arguments), drafted(user, **arguments)
    djangos.created = ours.created

    with noting() as asked:
        assert insert(ours, "default") is None
        save(djangos, "default")

    (our_sql, our_parameters), (sql, parameters) = asked
    # The key comes by other ways where they are quicker.
    assert our_sql == (sql if connection.vendor == "postgresql" else sql.split(" RETURNING ")[0])
    assert our_parameters == parameters
    assert same(stored(ours), stored(djangos))
    assert same(vars(ours), vars(djangos))
    for row in (ours, djangos):
        assert row.pk
        assert (row._state.db, row._state.adding) == ("default", False)


def test_a_row_goes_on_as_any_other(user):
    row = drafted(user, mark_safe("<b>Bold</b>"))
    insert(row, "default")

    assert isinstance(row.message, SafeString)
    assert type(row.pk) is int
    assert row.user == user
    row.subject = "Changed"
    with CaptureQueriesContext(connection) as queries:
        row.save()
    assert [query["sql"].split()[0] for query in queries] == ["UPDATE"]
    assert Message.objects.get().subject == "Changed"


def test_every_field_is_stored_as_by_save(user, other):
    """Also those that a draft leaves alone."""
    now, key = timezone.now(), "12345678-1234-5678-1234-567812345678"
    given = {
        "to_user_id": other.pk,
        "to_name": "Harry\nSally",
        "read_at": now,
        "moved_at": now,
        "trashed_at": now,
        "letter": key,
        "thread": key,
        "thread_position": 7,
        "followed_by": 2**40,
        "folder": Folder.ARCHIVE,
        "is_safe": True,
    }
    rows = [drafted(user, from_user=other, close_timeout=1, expires=now, url="/") for _ in "ab"]
    for row, write in zip(rows, (insert, save), strict=True):
        vars(row).update(given, created=now)
        write(row, "default")

    ours, djangos = map(stored, rows)
    assert same(ours, djangos)
    assert None not in ours.values()


def test_a_row_goes_to_the_database_that_is_named(user, other_database):
    other_database("old")
    row = drafted(user)

    with noting("old") as asked:
        insert(row, "old")

    assert [sql.split()[0] for sql, _ in asked] == ["INSERT"]
    assert (row._state.db, row._state.adding) == ("old", False)
    assert stored(row, "old")["message"] == "Hello"
    assert not Message.objects.exists()


def test_the_router_names_it_to_what_is_added(user, other_database, settings):
    other_database("old")
    settings.DATABASE_ROUTERS = [f"{__name__}.ToTheOld"]

    row = add(user)

    assert row._state.db == "old"
    assert stored(row, "old")["user_id"] == user.pk


class ToTheOld:
    """The router of the test above."""

    def db_for_write(self, model, **hints):
        return "old" if model is Message else None


def test_the_insert_is_compiled_once(user):
    prepared._insertion.cache_clear()
    for number in range(3):
        insert(drafted(user, f"Number {number}"), "default")

    assert prepared._insertion.cache_info().misses == 1
    assert Message.objects.count() == 3


BROKEN = {
    "no owner": ({"user_id": None}, IntegrityError),
    "a level that is no number": ({"level": "high"}, ValueError),
    "a sender that is no key": ({"from_user_id": "nobody"}, ValueError),
    "a number beyond the column": ({"close_timeout": 2**80}, (OverflowError, DatabaseError)),
}


@pytest.mark.parametrize("write", [insert, save])
@pytest.mark.parametrize(("wrong", "error"), BROKEN.values(), ids=BROKEN)
def test_an_error_breaks_the_transaction_of_the_caller_alone(user, write, wrong, error):
    row = drafted(user)
    vars(row).update(wrong)

    with transaction.atomic():
        with pytest.raises(error):
            write(row, "default")
        assert connection.needs_rollback
        with pytest.raises(transaction.TransactionManagementError):
            Message.objects.exists()

    assert (row.pk, row._state.adding, row._state.db) == (None, True, None)
    row = drafted(user)
    write(row, "default")
    assert Message.objects.get() == row


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("write", [insert, save])
def test_without_a_transaction_it_is_committed_at_once(user, write):
    row, wrong = drafted(user), drafted(user)
    wrong.user_id = None
    with pytest.raises(IntegrityError):
        write(wrong, "default")
    with noting() as asked:
        write(row, "default")
    connection.rollback()  # nothing to take back

    assert len(asked) == 1
    assert Message.objects.get() == row


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("write", [insert, save])
def test_a_key_that_names_nobody_is_refused_by_the_database(user, write):
    row = drafted(user)
    row.user_id += 1

    with pytest.raises(IntegrityError), transaction.atomic():
        write(row, "default")

    assert not Message.objects.exists()


def test_it_is_told_once_it_is_committed(user, django_capture_on_commit_callbacks):
    told = []

    def note(messages, **kwargs):
        told.extend((message.pk, message._state.adding) for message in messages)

    messages_delivered.connect(note)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            row = add(user)
            assert told == []
    finally:
        messages_delivered.disconnect(note)

    assert told == [(row.pk, False)]


@pytest.mark.parametrize("signal", [pre_save, post_save])
@pytest.mark.parametrize("sender", [Message, None])
def test_whoever_listens_to_django_is_told_by_django(user, signal, sender):
    told = []

    def note(sender, instance, raw, using, update_fields, **kwargs):
        told.append((sender, instance, raw, using, update_fields, kwargs.get("created")))

    signal.connect(note, sender=sender)
    try:
        row = add(user)
    finally:
        signal.disconnect(note, sender=sender)
    add(user, "Again")

    created = True if signal is post_save else None
    assert told == [(Message, row, False, "default", None, created)]
    assert Message.objects.count() == 2


def test_a_database_of_which_nothing_is_known_is_left_to_django(user, monkeypatch):
    monkeypatch.delitem(NEW_KEY, connection.vendor)
    prepared._insertion.cache_clear()

    row = drafted(user)
    insert(row, "default")

    assert stored(row)["message"] == "Hello"
    assert prepared._insertion.cache_info().misses == 0


def test_a_key_that_is_given_is_kept(user):
    row = drafted(user)
    row.pk = 2**40
    insert(row, "default")

    assert Message.objects.get().pk == 2**40
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(row, "default")


def test_a_related_object_that_is_not_saved_is_refused(user):
    row = drafted(user)
    row.user = get_user_model()(username="ida")
    with pytest.raises(ValueError, match="unsaved related object 'user'"):
        insert(row, "default")

    row.user.save()
    insert(row, "default")
    assert Message.objects.get().user.username == "ida"


def test_a_trigger_that_inserts_leaves_the_key_of_the_row(user, other_database):
    other_database("old")
    with connections["old"].cursor() as cursor:
        cursor.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, message INTEGER)")
        cursor.execute("INSERT INTO log (id, message) VALUES (7777, 0)")
        cursor.execute(
            "CREATE TRIGGER logged AFTER INSERT ON persistent_messages_message "
            "BEGIN INSERT INTO log (message) VALUES (new.id); END"
        )

    row = drafted(user)
    insert(row, "old")

    with connections["old"].cursor() as cursor:
        cursor.execute("SELECT id, message FROM log ORDER BY id")
        assert cursor.fetchall() == [(7777, 0), (7778, row.pk)]
    assert Message.objects.using("old").get().pk == row.pk
