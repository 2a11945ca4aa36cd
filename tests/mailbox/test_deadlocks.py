"""Which writes are retried after a deadlock, and which are not."""

from functools import partial
from threading import Barrier

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F

from persistent_messages import send_letter
from persistent_messages.mailbox.deadlocks import ATTEMPTS, retry_on_deadlock
from persistent_messages.models import Message
from tests.pages import fill
from tests.parallel import CONNECTIONS, run_concurrently

pytestmark = pytest.mark.django_db(transaction=True)
DEADLOCK = OperationalError(1213, "Deadlock found when trying to get lock")


def crossing_writes(user):
    """Run two writes that lock the same two rows in opposite orders."""
    keys, meeting = fill(user, 2), Barrier(2)

    def write_in(order):
        once = iter([meeting.wait] if CONNECTIONS > 1 else [])

        def write():
            with transaction.atomic():
                for key in order:
                    Message.objects.filter(pk=key).update(close_timeout=F("close_timeout") + 1)
                    next(once, lambda timeout: None)(timeout=30)
            return "done"

        return write

    Message.objects.update(close_timeout=0)
    return [write_in(keys), write_in(keys[::-1])]


def write_counts():
    return set(Message.objects.values_list("close_timeout", flat=True))


def test_retry_completes_both_deadlocked_writes(user):
    assert run_concurrently(map(retry_on_deadlock, crossing_writes(user))) == ["done", "done"]
    assert write_counts() == {2}


def test_deadlock_in_transaction_of_caller_is_not_retried(user):
    def in_transaction(write):
        try:
            with transaction.atomic():
                return write()
        except OperationalError:
            return "broken off"

    results = run_concurrently(
        partial(in_transaction, retry_on_deadlock(write)) for write in crossing_writes(user)
    )

    assert sorted(results) == (["broken off", "done"] if CONNECTIONS > 1 else ["done", "done"])
    assert write_counts() == {results.count("done")}


def failing_write(error):
    """Return a write that always fails, and a list of its arguments."""
    calls = []

    @retry_on_deadlock
    def write(users):
        calls.append([*users])
        raise error

    return write, calls


@pytest.mark.parametrize(
    ("error", "kind", "times"),
    [
        (DEADLOCK, list, ATTEMPTS),
        (DEADLOCK, iter, 1),  # which can be iterated over only once
        (OperationalError("database is locked"), list, ATTEMPTS),
        (OperationalError("database is locked"), iter, 1),
        (OperationalError("no such table: persistent_messages_message"), list, 1),
        (OperationalError(), list, 1),
        (ValueError(1213), list, 1),
    ],
)
def test_only_deadlock_is_retried_up_to_limit(error, kind, times):
    write, calls = failing_write(error)

    with pytest.raises(type(error)) as raised:
        write(kind([1, 2]))

    assert raised.value is error
    assert calls == [[1, 2]] * times


def test_nine_consecutive_deadlocks_are_retried():
    calls = []

    @retry_on_deadlock
    def write(users):
        calls.append(users)
        if len(calls) < 10:
            raise DEADLOCK
        return len(calls)

    assert write([1]) == 10


LOCKED = OperationalError("database is locked")


@pytest.mark.parametrize("error", [DEADLOCK, LOCKED])
def test_unconsumed_iterator_argument_can_be_retried(error):
    calls = []

    @retry_on_deadlock
    def write(*, users):
        calls.append(users)
        if len(calls) < 3:
            raise error
        return [*users]

    assert write(users=iter([1, 2])) == [1, 2]
    assert len(calls) == 3


def test_reply_retried_after_deadlock_shares_thread_with_notice(user, other, send):
    notice, broken_off = send("Can you take Thursday?", from_user=other), []

    def break_off(execute, sql, params, many, context):
        if not broken_off and sql.startswith("INSERT"):
            broken_off.append(sql)
            raise DEADLOCK
        return execute(sql, params, many, context)

    with connection.execute_wrapper(break_off):
        answer = send_letter(user, None, "", "Yes.", notice)

    mine = Message.objects.owned_by(user).filter(thread=answer.thread).order_by("thread_position")
    assert list(mine.values_list("pk", "thread_position")) == [(notice.pk, 1), (answer.pk, 2)]
    assert notice.thread == answer.thread
