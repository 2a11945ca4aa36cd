"""Compiled queries: each run uses its own values."""

from datetime import timedelta

import pytest
from django.contrib import messages as contrib_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from persistent_messages.db.compiled import CompiledQuery, KeyList
from persistent_messages.inbox.filters import Filter
from persistent_messages.models import Message
from persistent_messages.querysets import STRIP_QUERY, UNREAD_QUERY

pytestmark = pytest.mark.django_db


def test_compiled_query_takes_owner_as_parameter(user, other, send):
    send("Mine")
    send("His", to=other)
    send("Once", contrib_messages.INFO, to=other)

    for _ in range(2):
        for owner, texts in ((user, ["Mine"]), (other, ["Once", "His"])):
            assert [str(message) for message in Message.objects.strip_of(owner, 10)] == texts
            assert Message.objects.count_unread_of(owner, 10) == 1


def test_compiled_query_takes_current_time_as_parameter(user, send):
    soon = timezone.now() + timedelta(hours=1)
    message = send("Hello", expires=soon)
    assert Message.objects.count_unread_of(user, 10) == 1

    Message.objects.filter(pk=message.pk).update(expires=timezone.now())

    assert Message.objects.count_unread_of(user, 10) == 0
    assert Message.objects.strip_of(user, 10) == []


def test_each_limit_is_compiled_separately(user, send):
    for number in range(3):
        send(f"Number {number}")

    assert [Message.objects.count_unread_of(user, limit) for limit in (1, 2, 9, 1)] == [1, 2, 3, 1]
    assert [len(Message.objects.strip_of(user, limit)) for limit in (1, 2, 9, 1)] == [1, 2, 3, 1]


@pytest.mark.parametrize("statement", [STRIP_QUERY, UNREAD_QUERY])
def test_query_is_compiled_once_per_limit(user, statement):
    built = []

    def build(rows, *numbers):
        built.append(numbers)
        return statement.build(rows, *numbers)

    counting = CompiledQuery(build)
    now = timezone.now()
    values = {"user": user.pk, "now": now, "browser": 1, "since": now}
    for _ in range(3):
        counting.sql(Message.objects.all(), 10, **values)
    counting.sql(Message.objects.all(), 11, **values)

    assert built == [(10,), (11,)]


def test_compiled_query_equals_queryset(user, send):
    """The counter's query returns the same rows as the states in its name."""
    send("Hello")
    Message.objects.update(read_at=timezone.now())
    send("Again")
    now = timezone.now()

    sql, parameters = UNREAD_QUERY.sql(Message.objects.all(), 10, user=user.pk, now=now)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found = [key for (key,) in cursor.fetchall()]

    expected = Message.objects.inbox_of(user).unread_thread_heads()
    assert found == list(expected.values_list("pk", flat=True))


def test_values_are_passed_as_parameters(user):
    with CaptureQueriesContext(connection) as queries:
        Message.objects.count_unread_of(user, 10)

    sql, parameters = UNREAD_QUERY.sql(Message.objects.all(), 10, user=user.pk, now=timezone.now())
    assert sql.count("%s") == len(parameters) == 3
    assert len(queries) == 1


def test_rows_equal_those_of_queryset(user, other, send):
    """Times, keys and flags are converted, and the column that only a search reads is left out."""
    send(mark_safe("<b>Bold</b>"), subject="First", key="quota", close_timeout=5)
    send("Second", expires=timezone.now() + timedelta(days=1), url="/", from_user=other)
    Message.objects.update(thread_length=2, moved_at=timezone.now())

    expected = list(Message.objects.owned_by(user).newest_first())
    with CaptureQueriesContext(connection) as queries:
        found = Filter().page_of(user).messages
        waiting = Message.objects.strip_of(user, 10)

    assert len(queries) == 2
    for rows in (found, waiting):
        for row, same in zip(rows, expected, strict=True):
            values, others = dict(vars(row)), dict(vars(same))
            assert values.pop("_state").db == others.pop("_state").db == "default"
            assert values == others
            assert {name: type(value) for name, value in values.items()} == {
                name: type(value) for name, value in others.items()
            }
            assert row.get_deferred_fields() == {"search_text"}
    assert isinstance(found[-1].message, SafeString)


def test_database_of_queryset_is_used(user, other_database):
    other_database("old")
    Message.objects.using("old").create(user_id=user.pk, level=120, message="There")

    (row,) = Message.objects.using("old").strip_of(user, 10)

    assert row._state.db == "old"
    assert Message.objects.strip_of(user, 10) == []


def test_integer_key_list_needs_no_placeholders():
    numbers = KeyList([3, 1], Message._meta.pk)
    others = KeyList(["b", "a"], Message._meta.get_field("subject"))

    assert numbers.as_sql(None, connection) == ("(3, 1)", [])
    assert others.as_sql(None, connection) == ("(%s, %s)", ["b", "a"])
    assert KeyList([True], Message._meta.get_field("is_safe")).as_sql(None, connection)[0] == "(%s)"


def test_empty_key_list_matches_nothing(send):
    row = send("Hello")
    pk = Message._meta.pk

    assert list(Message.objects.filter(pk__in=KeyList([row.pk, row.pk + 1], pk))) == [row]
    assert list(Message.objects.filter(pk__in=KeyList([], pk))) == []
