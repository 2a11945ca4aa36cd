"""The cost of sending to very many users, compared with bare statements."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from django.contrib.auth import get_user_model
from django.db import connection

from persistent_messages import INFO, send_message
from persistent_messages.models import Message

from . import measure
from .cases import MIB, Result, flat_ratio
from .fill import TEXT, row

TABLE = connection.ops.quote_name(Message._meta.db_table)
USERS = connection.ops.quote_name(get_user_model()._meta.db_table)
KEYED = 10_000
# On MariaDB, the keys are sent in lists.
MOST = 4 if connection.vendor == "mysql" else 1.5
WHERE = "WHERE username LIKE %s AND id <= %s"


def measure_all(count: int) -> Iterator[Result]:
    """Measure a message to `count` of the users whose names begin with "user"."""
    yield from _sending(count)
    yield _renewing(min(count, KEYED))


def _recipients(count: int):
    people = get_user_model().objects.filter(username__startswith="user").order_by("pk")
    last = people.values_list("pk", flat=True)[count - 1]
    return people.filter(pk__lte=last).order_by(), ["user%", last]


def _insert_select(**fields) -> tuple[str, list]:
    message = row(0, 1)
    vars(message).update(fields)
    columns = [
        field
        for field in Message._meta.concrete_fields
        if not field.primary_key and field.attname != "user_id"
    ]
    names = ", ".join(connection.ops.quote_name(field.column) for field in columns)
    marks = ", ".join("%s" for _ in columns)
    select = f"SELECT id, {marks} FROM {USERS} {WHERE} ORDER BY id"
    sql = f"INSERT INTO {TABLE} (user_id, {names}) {select}"
    return sql, [
        field.get_db_prep_save(getattr(message, field.attname), connection) for field in columns
    ]


def _run(*statements: tuple[str, list]) -> None:
    with connection.cursor() as cursor:
        for sql, parameters in statements:
            cursor.execute(sql, parameters)
    _check_keys()


def _check_keys() -> None:
    # A commit would check the constraints, but all writes are rolled back.
    if connection.vendor == "postgresql":
        connection.check_constraints()


def _sending(count: int) -> Iterator[Result]:
    users, where = _recipients(count)
    sql, values = _insert_select()

    def bare():
        _run((sql, [*values, *where]))

    def ours():
        assert send_message(users, INFO, TEXT, subject="Number 1") == count
        _check_keys()

    timing = measure.time_both(ours, bare, around=measure.undone, rounds=5)
    work = measure.work_of(partial(_undo, ours))
    yield Result(
        f"{count:,} recipients, copied by the database",
        count,
        str(work.queries),
        "",
        flat_ratio(timing),
        f"{MOST:g} × the bare INSERT ... SELECT",
        timing.ratio <= MOST,
    )
    memory = measure.peak_memory(partial(_undo, ours))
    most = 8 if connection.vendor == "mysql" else 2
    yield Result(
        "peak memory of copying",
        count,
        "",
        "",
        f"{memory / MIB:.2f} MiB",
        f"{most} MiB",
        memory <= most * MIB,
    )


def _renewing(count: int) -> Result:
    users, where = _recipients(count)
    sql, values = _insert_select(key="quota", is_live=True, times=2)
    delete = (
        f"DELETE FROM {TABLE} WHERE {connection.ops.quote_name('key')} = 'quota' "
        f"AND user_id IN (SELECT id FROM {USERS} {WHERE})"
    )

    def bare():
        _run((delete, where), (sql, [*values, *where]))

    def ours():
        assert send_message(users, INFO, TEXT, subject="Number 1", key="quota") == count
        _check_keys()

    ours()
    timing = measure.time_both(ours, bare, around=measure.undone, rounds=20)
    work = measure.work_of(partial(_undo, ours))
    Message.objects.filter(key="quota").delete()
    return Result(
        f"renewal of a key for {count:,} users",
        count,
        str(work.queries),
        "",
        flat_ratio(timing),
        "3 × the bare DELETE and INSERT ... SELECT",
        timing.ratio <= 3,
    )


def _undo(run) -> None:
    with measure.undone():
        run()
