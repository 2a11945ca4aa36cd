"""Streams of server-sent events (section 9.2 of the HTML standard)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import auth
from django.db import connections
from django.http import HttpRequest

from persistent_messages.db import outage
from persistent_messages.users import accounts

from .events import session_name, user_name
from .hub import Hub, Stream

HEARTBEAT = 15
"""Seconds between events, so that browsers and proxies keep the connection open."""
CHECK = 60
"""The maximum number of seconds before the session is checked again, with the next event."""
AT_ONCE = 10
"""The number of a process's streams that may query at once; all reconnect after a restart."""
MAX_AGE = 3600
"""Seconds after which a stream ends; the browser then opens a new one."""
MAX_AGE_WITHOUT_SESSION = 300
"""The same for a user other than the session's."""
SPREAD = 1.5
"""Seconds over which events for everybody are spread."""
PAUSE = 0.2
"""Seconds within which several events for a user become one."""


_turns = BoundedSemaphore(AT_ONCE)


@contextmanager
def briefly_connected() -> Iterator[None]:
    """Wait until fewer than `AT_ONCE` streams query, and close the connections afterwards.

    Under ASGI each request has a thread, and a connection, of its own.
    """
    with _turns:
        try:
            yield
        finally:
            _close_connections()


def _close_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # as the view is with ATOMIC_REQUESTS
            connection.close()


def open_stream(request: HttpRequest, user: Any, hub: Hub, limit: int) -> AsyncIterator[bytes]:
    """Return the events for `user`: "change", "beat" and, when the session ends, "end".

    Events have no content. Two queries every 30 to 75 seconds, for the session and its user. The
    stream ends after an hour, or at once if the user already has `limit` streams.
    """
    return _stream(request, user, hub, limit, has_session=_is_of_session(request, user))


def _is_of_session(request: HttpRequest, user: Any) -> bool:
    # The site's middleware may set another user than the session's.
    key = getattr(request, "session", {}).get(auth.SESSION_KEY)
    return bool(auth.get_user_model()._meta.pk.to_python(key) == user.pk)


async def _stream(
    request: HttpRequest, user: Any, hub: Hub, limit: int, *, has_session: bool
) -> AsyncIterator[bytes]:
    # The view cannot close them: with ATOMIC_REQUESTS, it runs in a transaction.
    await sync_to_async(_close_connections)()
    session = getattr(request, "session", None)
    ours = Stream(user_name(user.pk), session_name(getattr(session, "session_key", None)))
    if not hub.open(ours, limit):
        yield _event("end", hub.event_id())
        return
    try:
        # A random delay, so that not all browsers reconnect at once after a restart.
        yield f"retry: {random.randint(1000, 5000)}\n\n".encode()  # noqa: S311 (no secret)
        # Taken before looking for changes, so that an ID never covers a later change.
        event_id = hub.event_id()
        # `|=` could reset a flag that another thread sets at the same time; the same applies below.
        if hub.has_missed(ours.user, request.headers.get("Last-Event-ID", "")):
            ours.changed = True
        yield _event("change" if ours.take_changes() else "beat", event_id)
        async for event in _events(ours, hub, request, user, has_session=has_session):
            yield event
    finally:
        hub.close(ours)


async def _events(
    ours: Stream, hub: Hub, request: HttpRequest, user: Any, *, has_session: bool
) -> AsyncIterator[bytes]:
    now = time.monotonic()
    until = now + (MAX_AGE if has_session else MAX_AGE_WITHOUT_SESSION)
    next_check = now + _some_of(CHECK)
    while (now := time.monotonic()) < until:
        await ours.wait(HEARTBEAT)
        if has_session and now >= next_check:
            next_check = now + _some_of(CHECK)
            if not await sync_to_async(_is_signed_in)(request, user):
                ours.ended = True
        if ours.ended:
            yield _event("end", hub.event_id())
            return
        if ours.changed_for_everybody and not ours.changed:
            await asyncio.sleep(random.uniform(0, SPREAD))  # noqa: S311 (no secret)
        event_id = hub.event_id()
        if ours.take_changes():
            yield _event("change", event_id)
            await asyncio.sleep(PAUSE)
        else:
            yield _event("beat", event_id)


def _event(kind: str, event_id: str) -> bytes:
    # Browsers do not dispatch events without data.
    return f"id: {event_id}\nevent: {kind}\ndata: .\n\n".encode()


def _some_of(seconds: float) -> float:
    # Spread the checks of pages that connected at the same time.
    return random.uniform(seconds / 2, seconds)  # noqa: S311 (no secret)


def _is_signed_in(request: HttpRequest, user: Any) -> bool:
    def ask() -> bool:
        later = HttpRequest()
        later.session = type(request.session)(request.session.session_key)
        later.user = auth.get_user(later)
        return bool(getattr(accounts.signed_in_user(later), "pk", None) == user.pk)

    with briefly_connected():
        # An outage of the database logs nobody out.
        return outage.response_or(request, ask, lambda: True)
