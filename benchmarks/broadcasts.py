"""The cost of a broadcast to very many users, and of their pages afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth import get_user_model
from django.db import connection

from persistent_messages import INFO, broadcast, send_message
from persistent_messages.models import Message
from persistent_messages.notices import arrivals, running

from . import measure
from .cases import TABLE, Result, Site, _insert_sql, _undo, flat_ratio

OURS = "persistent_messages_"
"""The prefix of the tables whose statements are counted; savepoints are not."""
SECONDS = 0.010
"""The limit for a broadcast."""


def measure_all(size: int) -> Iterator[Result]:
    """Measure a broadcast to `size` users, and the pages of one of them."""
    yield _sending(size)
    yield from _pages(size)


def _sending(size: int) -> Result:
    def send() -> None:
        broadcast(INFO, "The site is read-only from 06:00.", subject="Maintenance")

    def nothing() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    timing = measure.time_both(send, nothing, around=measure.undone)
    work = measure.work_of(lambda: _undo(send), table=OURS)
    seconds = timing.bare * timing.ratio
    return Result(
        "broadcast to N users",
        size,
        str(work.queries),
        "",
        f"{seconds * 1e3:.2f} ms",
        f"one row, less than {SECONDS * 1e3:.0f} ms",
        work.queries == 1 and seconds < SECONDS,
    )


def _pages(size: int) -> Iterator[Result]:
    user = get_user_model().objects.create(username="broadcast-to")
    send_message(user, INFO, "One")
    site, other = Site(user), Site(get_user_model().objects.create(username="not-reached"))
    sent = broadcast(INFO, "The site is read-only from 06:00.", subject="Maintenance")
    arrivals.arrive(user, [sent.pk])
    site.get("/asking/")  # the session remembers the broadcast
    running.running()
    with_one = measure.work_of(site.page("/asking/"), table=OURS)
    fields = [field for field in Message._meta.concrete_fields if not field.primary_key]
    sql, values = _insert_sql(fields, 1)
    row = values([user.pk])

    def bare() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT id FROM {TABLE} WHERE user_id = %s LIMIT 1", [user.pk])
            cursor.execute(sql, row)

    def copy() -> None:
        assert arrivals.arrive(other_user, [sent.pk])

    other_user = get_user_model().objects.get(username="not-reached")
    timing = measure.time_both(copy, bare, around=measure.undone)
    work = measure.work_of(lambda: _undo(copy), table=OURS)
    yield Result(
        "first page that copies it, N users",
        size,
        str(work.queries),
        "",
        flat_ratio(timing),
        "3 statements",
        work.queries == 3,
    )
    sent.withdraw()
    running.running()
    without = measure.work_of(site.page("/asking/"), table=OURS)
    yield Result(
        "page of a user who has it",
        size,
        str(with_one.queries),
        "",
        f"{with_one.queries - without.queries} queries more",
        "no query more than while none runs",
        with_one.queries == without.queries,
    )
    assert other is not None
