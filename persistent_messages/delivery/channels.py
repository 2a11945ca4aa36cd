"""Channels: the ways by which messages reach users beside the inbox."""

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
    """A way by which messages reach users beside the inbox, such as the chat of a team.

    A subclass is named by its dotted path in the setting `CHANNELS`. It is made once a process,
    without arguments.
    """

    def accepts(self, message: Message) -> bool:
        """Tell whether `deliver` is to be called for `message`; by default for each.

        Where a message is sent to many it is asked once, and `message` has neither key nor user.
        Where no channel accepts it, the database copies it by itself.
        """
        return True

    def deliver(self, user: Any, messages: list[Message]) -> None:
        """Bring `messages`, which were stored for `user`, to the user.

        Called after the transaction that stored them has committed, in the same process, once for
        each batch and user; the users of a batch are read by one query. What it raises is logged,
        and stops neither other users nor other channels.
        """
        raise NotImplementedError


def registered() -> tuple[Channel, ...]:
    """Return the channels of the site, in the order of the setting `CHANNELS`."""
    return _made(get_config().CHANNELS)


def has(kind: type[Channel]) -> bool:
    """Tell whether the site has a channel of this kind."""
    return any(isinstance(channel, kind) for channel in registered())


@lru_cache(maxsize=8)
def _made(paths: tuple[str, ...]) -> tuple[Channel, ...]:
    return tuple(import_string(path)() for path in paths)


def receive(messages: list[Message], **_kwargs: Any) -> None:
    """Deliver `messages` by the channels that accept them. A receiver of `messages_delivered`.

    One query for the users, none where no channel accepts any.
    """
    users: dict[Any, Any] | None = None
    for channel in registered():
        by_user: dict[Any, list[Message]] = defaultdict(list)
        for message in messages:
            if channel.accepts(message):
                by_user[message.user_id].append(message)
        if by_user and users is None:
            users = _users(message.user_id for message in messages)
        for key, theirs in by_user.items():
            if users and key in users:
                _deliver(channel, users[key], theirs)


def wants(message: Message, **_named: Any) -> bool:
    """Tell whether a channel accepts `message`."""
    return any(channel.accepts(message) for channel in registered())


receive.wants = wants  # type: ignore[attr-defined]


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
