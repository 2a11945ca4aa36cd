"""The benchmarks for each size, and their targets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.messages import success
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.base import BaseHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import RequestFactory, override_settings
from django.utils import timezone

from persistent_messages import INFO, mailbox, messages_delivered, send_message
from persistent_messages.conf import get_config
from persistent_messages.constants import Folder
from persistent_messages.inbox import bulk_actions
from persistent_messages.inbox.bulk_actions import BulkAction
from persistent_messages.inbox.filters import Filter
from persistent_messages.mailbox import delivery
from persistent_messages.models import Message
from persistent_messages.querysets import LEVEL_WINDOW
from persistent_messages.storage import PersistentMessageStorage

from . import measure
from .fill import TEXT, row
from .settings import WITHOUT

TABLE = connection.ops.quote_name(Message._meta.db_table)
MIB = 2**20
LOCKED = 1
"""The maximum number of seconds that one request may hold locks."""


@dataclass
class Result:
    """One line of the report."""

    case: str
    size: int
    queries: str
    visited: str
    measured: str
    aim: str
    met: bool


def measure_all(owner, size: int) -> Iterator[Result]:
    """Run the benchmarks in the mailbox of `owner`, who has `size` unread messages."""
    site, alone = Site(owner), Site(get_user_model().objects.create(username=f"empty-{size}"))
    yield from _pages_without_messages(alone, size)
    yield _counter(owner, size)
    yield from _strip(site, size)
    yield from _lists(site, owner, size)
    yield _override(site, size)
    yield from _adding(owner, size)
    yield from _one_shot(alone, size)
    yield from _all_at_once(owner, size)
    yield from _in_steps(owner, size)


class Site:
    """Handles requests of one signed-in user, with and without the app's middleware."""

    def __init__(self, user) -> None:
        session = SessionStore()
        session["_auth_user_id"] = str(user.pk)
        session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
        session["_auth_user_hash"] = user.get_session_auth_hash()
        session.save()
        self.cookies = {settings.SESSION_COOKIE_NAME: session.session_key}
        self.ours = self._handler()
        with override_settings(MIDDLEWARE=WITHOUT):
            self.without = self._handler()

    @staticmethod
    def _handler() -> BaseHandler:
        handler = BaseHandler()
        handler.load_middleware()
        return handler

    def get(self, path: str, handler: BaseHandler | None = None) -> HttpResponse:
        """Handle a request as a server does, without the HTTP protocol."""
        request = RequestFactory().get(path)
        request.COOKIES.update(self.cookies)
        response = (handler or self.ours).get_response(request)
        assert response.status_code == 200, (path, response.status_code)
        # Keep the CSRF cookie of the first page, as a browser does.
        self.cookies |= {name: cookie.value for name, cookie in response.cookies.items()}
        for close in response._resource_closers:  # without closing the connection
            close()
        return response

    def page(self, path: str) -> Callable[[], HttpResponse]:
        return partial(self.get, path)

    def bare(self, path: str) -> Callable[[], HttpResponse]:
        return partial(self.get, path, self.without)


def flat_ratio(timing: measure.Timing) -> str:
    """Return the ratio to the bare case, and the time of the bare case."""
    return f"{timing.ratio:.2f} × {timing.bare * 1e6:,.0f} µs"


def _flat(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _pages_without_messages(site: Site, size: int) -> Iterator[Result]:
    timing = measure.time_both(site.page("/bare/"), site.bare("/bare/"), rounds=400)
    work = measure.work_of(site.page("/bare/"))
    yield Result(
        "page that shows no messages",
        size,
        str(work.queries),
        "",
        flat_ratio(timing),
        "0 queries, 1.05 × the page without us",
        work.queries == 0 and timing.ratio <= 1.05,
    )
    work = measure.work_of(site.page("/asking/"))
    yield Result(
        "page that reads an empty mailbox",
        size,
        str(work.queries),
        _flat(work.visited),
        "",
        "1 query",
        work.queries <= 1,
    )


def _request(user) -> HttpRequest:
    # RequestFactory would take as long as a bare statement.
    request = HttpRequest()
    request.method = "GET"
    request.user = user
    request.session = {}
    return request


def _counter(owner, size: int) -> Result:
    template = Template("{% load persistent_messages %}{% unread_counter %}")
    limit = get_config().COUNTER_LIMIT + 1

    def tag():
        template.render(Context({"request": _request(owner)}))

    def bare():
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT COUNT(*) FROM (SELECT 1 AS n FROM {TABLE} WHERE user_id = %s "
                "AND folder = %s AND read_at IS NULL AND (expires IS NULL OR expires > %s) "
                "LIMIT %s) unread",
                [owner.pk, Folder.INBOX, timezone.now(), limit],
            )
            cursor.fetchone()

    timing, work = measure.time_both(tag, bare, rounds=1000), measure.work_of(tag)
    most = 4.5 if connection.vendor == "postgresql" else 18
    return Result(
        "unread counter",
        size,
        str(work.queries),
        _flat(work.visited),
        flat_ratio(timing),
        f"1 query, {limit} rows, {most:g} × the bare statement",
        work.queries == 1 and (work.visited or 0) <= limit and timing.ratio <= most,
    )


def _strip(site: Site, size: int) -> Iterator[Result]:
    page, bare = site.page("/strip/"), site.bare("/bare/")
    timing, work = measure.time_both(page, bare), measure.work_of(page)
    yield Result(
        "page with counter and strip",
        size,
        str(work.queries),
        _flat(work.visited),
        flat_ratio(timing),
        "1.5 × the bare page",
        timing.ratio <= 1.5,
    )
    more = measure.peak_memory(page) - measure.peak_memory(bare)
    yield Result(
        "peak memory of the page with counter and strip",
        size,
        "",
        "",
        f"{more / MIB:.2f} MiB more",
        "2 MiB",
        more <= 2 * MIB,
    )


def _lists(site: Site, owner, size: int) -> Iterator[Result]:
    config = get_config()
    most = config.PAGE_SIZE + 1 + config.COUNTER_LIMIT + 1 + config.STRIP_LIMIT + LEVEL_WINDOW
    keys = Message.objects.filter(user=owner).order_by("pk").values_list("pk", flat=True)
    middle = keys[size // 2]
    newest = Message.objects.filter(user=owner).latest("pk").pk
    deep = f"/messages/?before={middle}&newest={newest}"
    for name, ours, bare, kind in (
        ("inbox, first page", "/messages/", "/list/", "bare list"),
        ("inbox, page at N/2", deep, f"/list/{middle}/", "bare list"),
        ("inbox, first page", "/messages/", "/plain/", "hand-written list with its buttons"),
        ("inbox, page at N/2", deep, f"/plain/{middle}/", "hand-written list with its buttons"),
    ):
        timing = measure.time_both(site.page(ours), site.bare(bare))
        work = measure.work_of(site.page(ours))
        yield Result(
            name,
            size,
            str(work.queries),
            _flat(work.visited),
            flat_ratio(timing),
            f"{most} rows, 2 × the {kind}",
            (work.visited or 0) <= most and timing.ratio <= 2,
        )


def _override(site: Site, size: int) -> Result:
    timing = measure.time_both(site.page("/inbox/overridden/"), site.page("/inbox/"))
    return Result(
        "inbox in a page, with an override of row.html",
        size,
        str(measure.work_of(site.page("/inbox/overridden/")).queries),
        "",
        flat_ratio(timing),
        "1.5 × the same without an override",
        timing.ratio <= 1.5,
    )


def _insert(owner) -> Callable[[], None]:
    fields = [field for field in Message._meta.concrete_fields if not field.primary_key]
    sql, values = _insert_sql(fields, 1)
    prepared = values([owner.pk])

    def insert():
        with connection.cursor() as cursor:
            cursor.execute(sql, prepared)

    return insert


def _adding(owner, size: int) -> Iterator[Result]:
    def add():
        PersistentMessageStorage(_request(owner)).add(INFO, TEXT, subject="Number 1")

    newest = Message.objects.filter(user=owner).latest("pk").pk
    work = measure.work_of(lambda: _undo(add))
    without = 4 if connection.vendor == "postgresql" else 7
    for name, around, most in (
        ("add one persistent message", measure.undone, without),
        ("add one persistent message, with commit", nullcontext, 5),
    ):
        timing = measure.time_both(add, _insert(owner), around=around)
        yield Result(
            name,
            size,
            str(work.queries),
            "",
            flat_ratio(timing),
            f"1 statement, {most:g} × the bare INSERT",
            work.queries == 1 and timing.ratio <= most,
        )
    Message.objects.filter(user=owner, pk__gt=newest).delete()


def _one_shot(site: Site, size: int) -> Iterator[Result]:
    for count in (1, 10):

        def both(count=count):
            # Two requests: one adds the messages, and the next one shows them.
            user = get_user_model().objects.get(username=f"empty-{size}")
            request = _request(user)
            request._messages = PersistentMessageStorage(request)
            for number in range(count):
                success(request, f"Saved {number}.")
            request._messages.update(HttpResponse())
            site.get("/asking/")

        work = measure.work_of(both)
        yield Result(
            f"{count} one-shot, from `success()` to removal",
            size,
            str(work.queries),
            "",
            "",
            "3 statements",
            work.queries <= 3 and not Message.objects.filter(folder=Folder.ONE_SHOT).exists(),
        )


def _all_at_once(owner, size: int) -> Iterator[Result]:
    newest = Message.objects.filter(user=owner).latest("pk").pk
    now = timezone.now()

    def shown():
        return Filter().messages_of(owner).up_to(newest)

    where = "WHERE user_id = %s AND folder = %s AND id <= %s"
    chosen = [owner.pk, Folder.INBOX, newest]

    def run(sql, *values):
        with connection.cursor() as cursor:
            cursor.execute(sql, [*values, *chosen])

    for name, ours, bare in (
        (
            "mark all read",
            lambda: mailbox.mark_read(owner, Folder.INBOX, shown()),
            lambda: run(f"UPDATE {TABLE} SET read_at = %s {where} AND read_at IS NULL", now),
        ),
        (
            "delete all",
            lambda: mailbox.delete(owner, Folder.INBOX, shown()),
            lambda: run(
                f"UPDATE {TABLE} SET folder = %s, moved_at = %s, trashed_at = %s {where}",
                Folder.TRASH,
                now,
                now,
            ),
        ),
    ):
        timing = measure.time_both(ours, bare, around=measure.undone)
        work = measure.work_of(lambda ours=ours: _undo(ours))
        yield Result(
            name,
            size,
            str(work.queries),
            "",
            flat_ratio(timing),
            "1.5 × the bare statement",
            timing.ratio <= 1.5,
        )


def _in_steps(owner, size: int) -> Iterator[Result]:
    # As a page does: each step is committed, and then all steps are undone.
    newest = Message.objects.filter(user=owner).latest("pk").pk
    for name, verb in (("mark all read", "read"), ("delete all", "delete")):
        task = BulkAction.of_list(verb, Filter(), newest)
        change, result = _longest(owner, name, size, task)
        yield result
        assert change.count == size, (name, change.count)
        taken_back, result = _longest(owner, f"undo of {name}", size, BulkAction.of_undo(change))
        yield result
        assert taken_back.count == size, (name, taken_back.count)


def _longest(owner, name: str, size: int, task: BulkAction) -> tuple[mailbox.Change, Result]:
    seconds, queries, rest = [], 0, task
    while rest is not None:
        with measure.captured_queries() as captured:
            start = time.perf_counter()
            change, rest = bulk_actions.run_step(owner, rest)
            seconds.append(time.perf_counter() - start)
        queries = max(queries, sum(TABLE in query["sql"] for query in captured))
    aim = f"no step of more than {LOCKED} s"
    measured = f"{max(seconds) * 1e3:,.0f} ms, the longest of {len(seconds)}"
    result = Result(
        f"{name} in steps", size, str(queries), "", measured, aim, max(seconds) <= LOCKED
    )
    return change, result


def measure_fan_out(count: int = 10_000) -> Result:
    """Measure a message to `count` users on a site with a receiver, which needs rows in Python."""
    people = get_user_model().objects.filter(username__startswith="person-")[:count]
    keys = list(people.values_list("pk", flat=True))
    fields = [field for field in Message._meta.concrete_fields if not field.primary_key]
    batch = min(
        delivery.MAX_BATCH_SIZE,
        connection.ops.bulk_batch_size(fields, [row(0)] * delivery.MAX_BATCH_SIZE),
    )
    statements = []
    for start in range(0, len(keys), batch):
        sql, values = _insert_sql(fields, len(keys[start : start + batch]))
        statements.append((sql, values(keys[start : start + batch])))

    def bare():
        with connection.cursor() as cursor:
            for sql, prepared in statements:
                cursor.execute(sql, prepared)

    def listen(**_kwargs):
        pass

    def ours():
        messages_delivered.connect(listen)
        assert send_message(people, INFO, TEXT, subject="Number 1") == len(keys)
        messages_delivered.disconnect(listen)

    timing = measure.time_both(ours, bare, around=measure.undone, rounds=10)
    work = measure.work_of(lambda: _undo(ours))
    # Rows are created for this many users at a time.
    pages = -(-len(keys) // delivery.MAX_BATCH_SIZE)
    batches = pages * -(-delivery.MAX_BATCH_SIZE // batch)
    return Result(
        f"{len(keys):,} recipients, rows for a receiver, batches of {batch:,}",
        len(keys),
        str(work.queries),
        "",
        flat_ratio(timing),
        "one statement a batch and one to begin with, 10 × the bare INSERTs",
        work.queries <= batches + 1 and timing.ratio <= 10,
    )


def _insert_sql(fields, count):
    columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    marks = f"({', '.join(['%s'] * len(fields))})"
    sql = f"INSERT INTO {TABLE} ({columns}) VALUES {', '.join([marks] * count)}"

    def values(keys):
        found = []
        for key in keys:
            message = row(key, 1)
            found += [
                field.get_db_prep_save(getattr(message, field.attname), connection)
                for field in fields
            ]
        return found

    return sql, values


def _undo(run: Callable[[], object]) -> None:
    with measure.undone():
        run()
