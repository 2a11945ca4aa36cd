"""The channel of live events: who is told that something changed, and by what."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from persistent_messages.live import events
from persistent_messages.models import Message

from .channels import Channel, has


class LiveChannel(Channel):
    """The open pages of users, which learn at once that something changed; see the setting `LIVE`.

    They learn of more than new messages, so they are told by each change of a mailbox. On a site
    whose `CHANNELS` lack it, they are not told.
    """

    def accepts(self, message: Message) -> bool:
        """Return False: pages are told of users, not of rows."""
        return False

    def deliver(self, user: Any, messages: list[Message]) -> None:
        """Tell the open pages of `user` that something changed. No query."""
        events.publish_changes([user.pk])


def receive_delivery(messages: Iterable[Message], **_kwargs: Any) -> None:
    """Tell who got messages. A receiver of `messages_delivered`."""
    _tell({message.user_id for message in messages})


# To know who got messages, no row needs to be read.
receive_delivery.wants = lambda **_named: False  # type: ignore[attr-defined]


def receive_copies(user_ids: Collection[Any] | None, **_kwargs: Any) -> None:
    """Tell who got copies that the database made. A receiver of `messages_copied`."""
    _tell(user_ids)


def receive_change(user_id: Any, **_kwargs: Any) -> None:
    """Tell whose mailbox changed. A receiver of `mailbox_changed`."""
    _tell([user_id])


def receive_letter(letter: Message, **_kwargs: Any) -> None:
    """Tell who sent a letter, whose other pages show it, too. A receiver of `letter_sent`."""
    _tell([letter.user_id])


def _tell(user_ids: Collection[Any] | None) -> None:
    if events.is_on() and has(LiveChannel):
        events.publish_changes(user_ids)
