"""One stream of server-sent events, by the HTML standard, section 9.2."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import auth
from django.db import connections
from django.http import HttpRequest

from persistent_messages.users import accounts

from .events import session_name, user_name
from .hub import Hub, Stream

HEARTBEAT = 15
"""Seconds after which a stream says that it is there, so that browsers and proxies keep it."""
CHECK = 60
"""Seconds after which the session is looked up again."""
MAX_AGE = 3600
"""Seconds after which a stream ends; the browser opens another one."""
MAX_AGE_WITHOUT_SESSION = 300
"""The same where the user is not signed in by a session that can be looked up."""
SPREAD = 1.5
"""Seconds over which events for everybody are spread."""
PAUSE = 0.2
"""Seconds in which several events for a user are one."""


def open_stream(request: HttpRequest, user: Any, hub: Hub, limit: int) -> AsyncIterator[bytes]:
    """Return the events of `user`: "change", "beat" and, once the session is over, "end".

    They carry nothing. At most two queries a minute, for the session and its user. The stream ends
    by itself after an hour; beyond `limit` streams of the user it ends at once.
    """
    session: Any = getattr(request, "session", None)
    has_session = session is not None and auth.SESSION_KEY in session
    return _stream(request, user, hub, limit, has_session=has_session)


async def _stream(
    request: HttpRequest, user: Any, hub: Hub, limit: int, *, has_session: bool
) -> AsyncIterator[bytes]:
    # Else the thread of this request would hold its connection to the database as long.
    await sync_to_async(connections.close_all)()
    session = getattr(request, "session", None)
    ours = Stream(user_name(user.pk), session_name(getattr(session, "session_key", None)))
    if not hub.open(ours, limit):
        yield _event(hub, "end")
        return
    try:
        # Not all browsers at once, after a server was started anew.
        yield f"retry: {random.randint(1000, 5000)}\n\n".encode()  # noqa: S311 (no secret)
        ours.changed = hub.has_missed(ours.user, request.headers.get("Last-Event-ID", ""))
        yield _event(hub, "change" if ours.take_changes() else "beat")
        async for kind in _happenings(ours, request, user, has_session=has_session):
            yield _event(hub, kind)
    finally:
        hub.close(ours)


async def _happenings(
    ours: Stream, request: HttpRequest, user: Any, *, has_session: bool
) -> AsyncIterator[str]:
    checked = time.monotonic()
    until = checked + (MAX_AGE if has_session else MAX_AGE_WITHOUT_SESSION)
    while time.monotonic() < until:
        await ours.wait(HEARTBEAT)
        if has_session and time.monotonic() >= checked + CHECK:
            checked = time.monotonic()
            ours.ended |= not await sync_to_async(_is_signed_in)(request, user)
        if ours.ended:
            yield "end"
            return
        if ours.changed_for_everybody and not ours.changed:
            await asyncio.sleep(random.uniform(0, SPREAD))  # noqa: S311 (no secret)
        if ours.take_changes():
            yield "change"
            await asyncio.sleep(PAUSE)
        else:
            yield "beat"


def _event(hub: Hub, kind: str) -> bytes:
    # An event without data is not dispatched.
    return f"id: {hub.event_id()}\nevent: {kind}\ndata: .\n\n".encode()


def _is_signed_in(request: HttpRequest, user: Any) -> bool:
    later = HttpRequest()
    later.session = type(request.session)(request.session.session_key)
    try:
        later.user = auth.get_user(later)
        return bool(getattr(accounts.signed_in_user(later), "pk", None) == user.pk)
    finally:
        connections.close_all()
