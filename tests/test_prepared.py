"""Statements that are compiled once: each run has its own values."""

from datetime import timedelta

import pytest
from django.contrib import messages as contrib_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from persistent_messages.models import Message
from persistent_messages.prepared import Statement
from persistent_messages.querysets import STRIP, UNREAD

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
