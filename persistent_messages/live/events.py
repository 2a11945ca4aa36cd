"""Publish changes of mailboxes and the ends of sessions to all processes, after commit."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable
from json import loads
from threading import Lock, Thread
from typing import Any

from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from persistent_messages.conf import get_config

from .brokers import Broker, broker_for, encode
from .hub import EVERYBODY, Hub

logger = logging.getLogger(__name__)

CHANGED, ENDED = "changed", "ended"


class Link:
    """The broker of a process, and the hub of its open streams."""

    def __init__(self, address: str) -> None:
        self.broker: Broker = broker_for(address)
        self._hub: Hub | None = None
        self._lock = Lock()

    def hub(self) -> Hub:
        """Return the hub; the first call starts a thread that listens to the broker."""
        with self._lock:
            if self._hub is None:
                self._hub = hub = Hub()
                listen = self.broker.listen
                arguments = (lambda text: hear(hub, text), hub.changed_for_everybody)
                name = "persistent_messages.live"
                Thread(target=listen, args=arguments, daemon=True, name=name).start()
            return self._hub


_links: dict[tuple[int, str], Link] = {}


def is_on() -> bool:
    """Return whether the site has live updates."""
    return bool(get_config().LIVE)


def link() -> Link:
    """Return the link of this process to the broker that the setting `LIVE` names."""
    # By process, because a fork has no threads, and must not use the connections of its parent.
    key = (os.getpid(), get_config().LIVE)
    if key not in _links:
        _links.setdefault(key, Link(key[1]))
    return _links[key]


def disconnect() -> None:
    """Close the connections of this process to the broker; the next event reopens them."""
    if (closed := _links.pop((os.getpid(), get_config().LIVE), None)) is not None:
        closed.broker.close()


def publish_changes(user_ids: Collection[Any] | None) -> None:
    """Notify the open pages of users of a change; None means all users. Raises nothing."""
    if is_on():
        _publish(CHANGED, [EVERYBODY] if user_ids is None else map(user_name, user_ids))


def publish_end(session_key: str | None) -> None:
    """End the streams of a session. Raises nothing."""
    if is_on() and session_key:
        _publish(ENDED, [session_name(session_key)])


def user_name(user_id: Any) -> str:
    """Return a name of fixed length for a user, without revealing the key."""
    return _name("user", user_id)


def session_name(session_key: str | None) -> str:
    """Return a name for a session without revealing its key."""
    return _name("session", session_key or "")


def _name(kind: str, key: Any) -> str:
    salt = f"persistent_messages.live.{kind}"
    return salted_hmac(salt, str(key), algorithm="sha256").hexdigest()[:32]


def hear(hub: Hub, text: str) -> None:
    """Pass an event from the broker on to the streams of `hub`."""
    try:
        kind, *names = loads(text)
        if kind == CHANGED:
            hub.changed(names)
        elif kind == ENDED:
            hub.ended(names)
    except (TypeError, ValueError):
        logger.warning("Live updates: invalid event %.100r", text)


def _publish(kind: str, names: Iterable[str]) -> None:
    try:
        link().broker.publish(encode(kind, names))
    except Exception:
        # Open pages also poll, though less often.
        logger.exception("Live updates: the broker did not accept an event.")


def receive_log_out(request: HttpRequest | None, **_kwargs: Any) -> None:
    """Publish the end of the session. A receiver of `user_logged_out`."""
    session: Any = getattr(request, "session", None)
    publish_end(getattr(session, "session_key", None))
