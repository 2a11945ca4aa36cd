"""The open streams of this process, and which of them an event concerns."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from threading import Lock
from time import monotonic

EVERYBODY = "*"
"""The name of an event that concerns all users."""
MEMORY = 10_000
"""For how many users the hub remembers when the last event came."""
GRACE = 30
"""Seconds that may pass between the reading of a page and the opening of its stream."""


class Stream:
    """One open connection, as the hub sees it. Belongs to the event loop that made it."""

    def __init__(self, user: str, session: str) -> None:
        self.user, self.session = user, session
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self.changed = self.changed_for_everybody = self.ended = False

    async def wait(self, seconds: float) -> None:
        """Return when something happened, and after `seconds` at the latest."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except asyncio.TimeoutError:
            return
        self._wake.clear()

    def take_changes(self) -> bool:
        """Tell whether something changed since this was called last."""
        had_changes = self.changed or self.changed_for_everybody
        self.changed = self.changed_for_everybody = False
        return had_changes

    def notify(self) -> None:
        """Have `wait` return. May be called from any thread."""
        with suppress(RuntimeError):  # the server is shutting down, and has closed its loop
            self._loop.call_soon_threadsafe(self._wake.set)


class Hub:
    """Passes events on to the streams of this process. May be used from any thread.

    It also remembers for which users events came lately, so that a stream which opens or
    reconnects learns what it missed.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_user: dict[str, set[Stream]] = defaultdict(set)
        self._by_session: dict[str, set[Stream]] = defaultdict(set)
        self._identity = secrets.token_hex(4)
        self._last_events: OrderedDict[str, float] = OrderedDict()
        self._known_since = monotonic()
        """From when on `_last_events` is complete."""

    def open(self, stream: Stream, limit: int) -> bool:
        """Add `stream`, and tell whether it was: not beyond `limit` streams of its user."""
        with self._lock:
            if len(self._by_user[stream.user]) >= limit:
                return False
            self._by_user[stream.user].add(stream)
            self._by_session[stream.session].add(stream)
        return True

    def close(self, stream: Stream) -> None:
        """Remove `stream`; does nothing if it is not there."""
        with self._lock:
            _remove(self._by_user, stream.user, stream)
            _remove(self._by_session, stream.session, stream)

    def count(self, user: str) -> int:
        """Return how many streams of `user` are open."""
        with self._lock:
            return len(self._by_user.get(user, ()))

    def changed(self, users: Iterable[str]) -> None:
        """Tell the streams of `users` that something changed, or all, with `EVERYBODY`."""
        users = set(users)
        if EVERYBODY in users:
            self.changed_for_everybody()
            return
        now = monotonic()
        with self._lock:
            for user in users:
                self._remember(user, now)
            streams = [stream for user in users for stream in self._by_user.get(user, ())]
            for stream in streams:
                stream.changed = True
        _notify(streams)

    def changed_for_everybody(self) -> None:
        """Tell all streams that something may have changed: after events were missed, say."""
        with self._lock:
            self._last_events.clear()
            self._known_since = monotonic()
            streams = [stream for each in self._by_user.values() for stream in each]
            for stream in streams:
                stream.changed_for_everybody = True
        _notify(streams)

    def ended(self, sessions: Iterable[str]) -> None:
        """Tell the streams of `sessions` that they ended."""
        with self._lock:
            streams = [stream for each in sessions for stream in self._by_session.get(each, ())]
            for stream in streams:
                stream.ended = True
        _notify(streams)

    # Event ids

    def event_id(self) -> str:
        """Return the id of an event that is sent now."""
        return f"{self._identity}-{int(monotonic() * 1000)}"

    def has_missed(self, user: str, last_event_id: str) -> bool:
        """Tell whether `user` may have missed an event since that id, which a client sent.

        Without one, since the page was read. An id of another process, or one that is none, says
        nothing: then something may have been missed.
        """
        identity, _, number = last_event_id.partition("-")
        now = monotonic()
        if not last_event_id:
            since = now - GRACE
        elif identity == self._identity and number.isascii() and number.isdigit():
            since = min(int(number[:15]) / 1000, now)
        else:
            return True
        with self._lock:
            return since <= max(self._known_since, self._last_events.get(user, 0))

    def _remember(self, user: str, now: float) -> None:
        self._last_events[user] = now
        self._last_events.move_to_end(user)
        if len(self._last_events) > MEMORY:
            self._known_since = self._last_events.popitem(last=False)[1]


def _remove(streams: dict[str, set[Stream]], name: str, stream: Stream) -> None:
    if name in streams:
        streams[name].discard(stream)
        if not streams[name]:
            del streams[name]


def _notify(streams: Iterable[Stream]) -> None:
    for stream in streams:
        stream.notify()
