"""Channels: ways to deliver messages in addition to the inbox."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from django.utils.module_loading import import_string

from persistent_messages.conf import get_config
from persistent_messages.models import Message

logger = logging.getLogger(__name__)


class Channel:
    """A way to deliver messages in addition to the inbox, such as a team chat.

    The setting `CHANNELS` has the dotted paths of subclasses. Each process creates one instance,
    without arguments.
    """

    def accepts(self, message: Message) -> bool:
        """Return whether to call `deliver` for `message`; True by default.

        For a message to many users, this is first called once, and `message` has neither a primary
        key nor a user. If no channel accepts it, the database copies it without reading rows. If
        one does, this is called again for the message of each user.
        """
        return True

    def deliver(self, user: Any, messages: list[Message]) -> None:
        """Deliver `messages`, which were stored for `user`.

        Called after the transaction has committed, in the same process, once for each batch and
        user; one query reads the users of a batch. Errors here and in `accepts` are logged, and
        stop neither other users nor other channels.
        """
        raise NotImplementedError


def registered() -> tuple[Channel, ...]:
    """Return the channels of the site, in the order of the setting `CHANNELS`."""
    return _made(get_config().CHANNELS)


def has(kind: type[Channel]) -> bool:
    """Return whether the site has a channel of this class."""
    return any(isinstance(channel, kind) for channel in registered())


@lru_cache(maxsize=8)
def _made(paths: tuple[str, ...]) -> tuple[Channel, ...]:
    return tuple(import_string(path)() for path in paths)


def receive(messages: list[Message], **_kwargs: Any) -> None:
    """Deliver `messages` through the channels that accept them, on `messages_delivered`.

    One query for the users, or none if no channel accepts any.
    """
    users: dict[Any, Any] | None = None
    for channel in registered():
        by_user: dict[Any, list[Message]] = defaultdict(list)
        for message in messages:
            if _accepts(channel, message):
                by_user[message.user_id].append(message)
        if by_user and users is None:
            users = _users(message.user_id for message in messages)
        for key, theirs in by_user.items():
            if users and key in users:
                _deliver(channel, users[key], theirs)


def wants(message: Message, **_named: Any) -> bool:
    """Return whether any channel accepts `message`."""
    return any(_accepts(channel, message) for channel in registered())


receive.wants = wants  # type: ignore[attr-defined]


def _accepts(channel: Channel, message: Message) -> bool:
    try:
        return channel.accepts(message)
    except Exception:
        logger.exception("%s could not accept a message.", type(channel).__qualname__)
        return False


def _deliver(channel: Channel, user: Any, messages: list[Message]) -> None:
    try:
        channel.deliver(user, messages)
    except Exception:
        keys = ", ".join(str(message.pk) for message in messages)
        name = type(channel).__qualname__
        logger.exception("%s could not deliver messages to user %s: %s.", name, user.pk, keys)


def _users(keys: Iterable[Any]) -> dict[Any, Any]:
    model = get_user_model()
    people = model._base_manager.using(router.db_for_write(model)).filter(pk__in={*keys})
    return {person.pk: person for person in people}
