"""Brokers carry events from the process that made a change to those with open streams."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from itertools import takewhile
from threading import Event, Lock
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string
from typing_extensions import override

from persistent_messages.mailbox.writes import primary_database

from .hub import EVERYBODY

logger = logging.getLogger(__name__)

REDIS = "redis.Redis"
"""The class that the setting LIVE needs for Redis, from the extra `live`."""

MAX_NAMES = 500
"""The maximum number of names in an event; for more users, the event is for everybody."""
NAMES_PER_TEXT = 200
"""The maximum number of names of 32 characters in a text; PostgreSQL allows 8,000 bytes."""
SECONDS_OF_SILENCE = 15
"""Seconds without an event after which a listener checks the connection to its server."""
TIMEOUT = 0.5
"""Seconds that a request may wait for Redis to accept an event."""
PAUSE = 2
"""Seconds for which nothing is sent to Redis after it did not respond."""

Hear = Callable[[str], None]


class Broker:
    """Carries short texts to all processes that listen."""

    def publish(self, texts: list[str]) -> None:
        """Send `texts`. Raises the errors of the server or its client."""
        raise NotImplementedError

    def listen(self, hear: Hear, linked: Callable[[], None]) -> None:
        """Call `hear` with each text; runs in its own thread until the process ends.

        Calls `linked` whenever it has connected, because earlier events may have been missed.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Make `listen` return as soon as it receives something from its server."""
        raise NotImplementedError


def broker_for(address: str) -> Broker:
    """Return the broker that the setting `LIVE` names."""
    if address == "memory":
        return MemoryBroker()
    return PostgresBroker() if address == "postgresql" else RedisBroker(address)


def encode(kind: str, names: Iterable[str]) -> list[str]:
    """Return an event for the users or sessions in `names` as texts."""
    names = [*names]
    if len(names) > MAX_NAMES:
        names = [EVERYBODY]
    starts = range(0, len(names), NAMES_PER_TEXT)
    return [json.dumps([kind, *names[at : at + NAMES_PER_TEXT]]) for at in starts]


def channel_name() -> str:
    """Return the channel that the processes of this site share with no other site."""
    digest = salted_hmac("persistent_messages.live", "", algorithm="sha256").hexdigest()
    return f"persistent_messages_{digest[:16]}"


class MemoryBroker(Broker):
    """A broker for a single process, such as a site in development."""

    def __init__(self) -> None:
        self._hear: Hear | None = None

    @override
    def publish(self, texts: list[str]) -> None:
        for text in texts:
            if self._hear is not None:
                self._hear(text)

    @override
    def listen(self, hear: Hear, linked: Callable[[], None]) -> None:
        self._hear = hear
        linked()

    @override
    def close(self) -> None:
        self._hear = None


class ServerBroker(Broker):
    """The base class of brokers with a server; it reconnects after errors."""

    def __init__(self) -> None:
        self._is_closed = Event()

    @override
    def close(self) -> None:
        self._is_closed.set()
        with suppress(Exception):  # if the server is unreachable, the thread is not waiting for it
            self.publish([""])

    @override
    def listen(self, hear: Hear, linked: Callable[[], None]) -> None:
        failures = 0

        def is_linked() -> None:
            nonlocal failures
            failures = 0
            linked()

        while not self._is_closed.is_set():
            try:
                with closing(self._texts(is_linked)) as texts:
                    for text in takewhile(lambda _text: not self._is_closed.is_set(), texts):
                        if text:
                            hear(text)
            except Exception:
                # Log each outage once. Open pages continue to poll.
                if not failures:
                    logger.exception("Live updates: the connection to the broker is lost.")
            failures += 1
            # A random pause, so that not all processes reconnect at the same time.
            seconds = min(0.1 * 2**failures, 5) * random.uniform(0.5, 1)  # noqa: S311 (no secret)
            self._is_closed.wait(seconds)

    def _texts(self, linked: Callable[[], None]) -> Generator[str, None, None]:
        """Connect to the server, call `linked`, and yield the texts that arrive."""
        raise NotImplementedError


class RedisBroker(ServerBroker):
    """A broker that uses PUBLISH and SUBSCRIBE of a Redis server."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self._client: Any = None
        self._lock = Lock()
        self._unsent: list[str] = []
        self._away_until = 0.0

    @override
    def publish(self, texts: list[str]) -> None:
        """Send `texts`, and those that could not be sent before.

        While Redis does not respond, at most one request every `PAUSE` seconds waits for it.
        """
        with self._lock:
            waiting = [*self._unsent, *texts]
            self._unsent = waiting if len(waiting) <= MAX_NAMES else encode("changed", [EVERYBODY])
            if time.monotonic() < self._away_until:
                return
            try:
                client = self._connected()
                with client.pipeline(transaction=False) as pipeline:
                    for text in self._unsent:
                        pipeline.publish(channel_name(), text)
                    pipeline.execute()
            except Exception:
                self._away_until = time.monotonic() + PAUSE
                raise
            self._unsent = []

    def _is_back(self) -> None:
        self._away_until = 0.0
        if self._unsent:
            self.publish([])

    def _connected(self) -> Any:
        if self._client is None:
            self._client = _redis(self._address, timeout=TIMEOUT)
        return self._client

    @override
    def _texts(self, linked: Callable[[], None]) -> Generator[str, None, None]:
        wait = SECONDS_OF_SILENCE
        client = _redis(self._address, timeout=wait)
        with client, client.pubsub() as channel:
            channel.subscribe(channel_name())
            asked = False
            while True:
                message = channel.get_message(timeout=wait)
                if message is None:
                    if asked:
                        raise ConnectionError("Redis does not answer a ping.")
                    channel.ping()
                    asked = True
                    continue
                asked = False
                if message["type"] == "subscribe":
                    linked()
                    self._is_back()
                elif message["type"] == "message":
                    yield message["data"].decode(errors="replace")


class PostgresBroker(ServerBroker):
    """A broker that uses LISTEN and NOTIFY of the database of the messages."""

    @override
    def publish(self, texts: list[str]) -> None:
        with connections[primary_database()].cursor() as cursor:
            for text in texts:
                cursor.execute("SELECT pg_notify(%s, %s)", [channel_name(), text])

    @override
    def _texts(self, linked: Callable[[], None]) -> Generator[str, None, None]:
        connection = _connection_without_pool()
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {connection.ops.quote_name(channel_name())}")
                linked()
                while True:
                    for event in connection.connection.notifies(timeout=SECONDS_OF_SILENCE):
                        yield event.payload
                    cursor.execute("SELECT 1")
        finally:
            connection.close()


def _connection_without_pool() -> BaseDatabaseWrapper:
    # LISTEN would occupy a pooled connection permanently, and return it still listening.
    pooled = connections.create_connection(primary_database())
    options = {**pooled.settings_dict["OPTIONS"], "pool": False}
    return type(pooled)({**pooled.settings_dict, "OPTIONS": options}, pooled.alias)


def _redis(address: str, timeout: float) -> Any:
    # By default, the client would retry, and wait in between.
    once = import_string("redis.retry.Retry")(import_string("redis.backoff.NoBackoff")(), 0)
    return import_string(REDIS).from_url(
        address, retry=once, socket_timeout=timeout, socket_connect_timeout=timeout
    )
