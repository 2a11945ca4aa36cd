"""The channel of live updates, which notifies open pages of changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from persistent_messages.live import events
from persistent_messages.models import Message

from .channels import Channel, has


class LiveChannel(Channel):
    """Notifies the open pages of users at once; see the setting `LIVE`.

    Pages are notified of every change of a mailbox, not only of new messages. If `CHANNELS` does
    not include this class, they are not notified.
    """

    def accepts(self, message: Message) -> bool:
        """Return False: the receivers below notify pages without reading rows."""
        return False

    def deliver(self, user: Any, messages: list[Message]) -> None:
        """Notify the open pages of `user` of a change. One statement with `LIVE = "postgresql"`."""
        events.publish_changes([user.pk])


def receive_delivery(messages: Iterable[Message], **_kwargs: Any) -> None:
    """Notify the recipients of messages. A receiver of `messages_delivered`."""
    _notify({message.user_id for message in messages})


# The recipients are known without reading the rows.
receive_delivery.wants = lambda **_named: False  # type: ignore[attr-defined]


def receive_copies(user_ids: Collection[Any] | None, **_kwargs: Any) -> None:
    """Notify the recipients of copies made by the database. A receiver of `messages_copied`."""
    _notify(user_ids)


def receive_change(user_id: Any, **_kwargs: Any) -> None:
    """Notify the owner of a changed mailbox. A receiver of `mailbox_changed`."""
    _notify([user_id])


def receive_letter(letter: Message, **_kwargs: Any) -> None:
    """Notify the sender of a letter, whose pages show it, too. A receiver of `letter_sent`."""
    _notify([letter.user_id])


def _notify(user_ids: Collection[Any] | None) -> None:
    if has(LiveChannel):
        events.publish_changes(user_ids)  # which does nothing without `LIVE`
