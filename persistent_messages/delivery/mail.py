"""The mail channel."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.utils import timezone

from persistent_messages.db.times import after
from persistent_messages.mailbox.outbox import LEASE
from persistent_messages.models import DueMail, Message
from persistent_messages.topics import NOW

from .channels import Channel
from .email import Batch
from .server import MailServer


class MailChannel(Channel):
    """Mails messages to users.

    What is mailed, and when, is stored in the outbox in the transaction of the messages, so that no
    mail is lost if the process is killed. The outbox does not call this class. If `CHANNELS` does
    not include it, nothing is mailed.
    """

    def accepts(self, message: Message) -> bool:
        """Return False: the outbox decides what is mailed."""
        return False

    def deliver(self, user: Any, messages: list[Message]) -> None:
        """Mail `messages` to `user` now, whatever the preferences, with one mail per conversation.

        Mail that fails is logged, and not retried. Users who are inactive or have no address are
        not mailed. One query.
        """
        rows = [
            DueMail(user_id=user.pk, message_id=each.pk, thread=each.thread, choice=NOW)
            for each in messages
        ]
        with MailServer() as server:
            Batch(uuid4(), rows, after(timezone.now(), LEASE)).send_new(messages, server)
