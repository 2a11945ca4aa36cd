"""The hub passes events on to the open streams of this process."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from threading import Lock
from time import monotonic

EVERYBODY = "*"
"""The name that stands for all users."""
MEMORY = 10_000
"""The number of users whose last event the hub remembers."""
GRACE = 30
"""Seconds that may pass between the rendering of a page and the opening of its stream."""


class Stream:
    """An open connection. It belongs to the event loop that created it."""

    def __init__(self, user: str, session: str) -> None:
        self.user, self.session = user, session
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self.changed = self.changed_for_everybody = self.ended = False

    async def wait(self, seconds: float) -> None:
        """Return after an event, or after `seconds`."""
        # Before Python 3.12, `asyncio.wait_for` may suppress the cancellation by the server.
        timer = self._loop.call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()

    def take_changes(self) -> bool:
        """Return whether anything has changed since the last call."""
        # Other threads may set these flags at any time, so reset them only if one was set.
        if not (self.changed or self.changed_for_everybody):
            return False
        self.changed = self.changed_for_everybody = False
        return True

    def notify(self) -> None:
        """Make `wait` return. Thread-safe."""
        with suppress(RuntimeError):  # the server is shutting down, and has closed its loop
            self._loop.call_soon_threadsafe(self._wake.set)


class Hub:
    """Passes events on to the streams of this process. Thread-safe.

    It also remembers recent events for each user, so that a stream that opens or reconnects learns
    what it has missed.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_user: dict[str, set[Stream]] = defaultdict(set)
        self._by_session: dict[str, set[Stream]] = defaultdict(set)
        self._identity = secrets.token_hex(4)
        self._last_events: OrderedDict[str, float] = OrderedDict()
        self._known_since = monotonic()
        """The time from which `_last_events` is complete."""

    def open(self, stream: Stream, limit: int) -> bool:
        """Add `stream`; return False if its user already has `limit` streams."""
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
        """Return the number of open streams of `user`."""
        with self._lock:
            return len(self._by_user.get(user, ()))

    def changed(self, users: Iterable[str]) -> None:
        """Notify the streams of `users`, or all streams for `EVERYBODY`, of a change."""
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
        """Notify all streams of a possible change, for example after events were missed."""
        with self._lock:
            self._last_events.clear()
            self._known_since = monotonic()
            streams = [stream for each in self._by_user.values() for stream in each]
            for stream in streams:
                stream.changed_for_everybody = True
        _notify(streams)

    def ended(self, sessions: Iterable[str]) -> None:
        """End the streams of `sessions`."""
        with self._lock:
            streams = [stream for each in sessions for stream in self._by_session.get(each, ())]
            for stream in streams:
                stream.ended = True
        _notify(streams)

    # Event ids

    def event_id(self) -> str:
        """Return the ID for an event that is sent now."""
        return f"{self._identity}-{int(monotonic() * 1000)}"

    def has_missed(self, user: str, last_event_id: str) -> bool:
        """Return whether `user` may have missed an event since this ID, which the client sent.

        Without an ID, since the page was rendered. With the ID of another process, or an invalid
        one, an event may always have been missed.
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
