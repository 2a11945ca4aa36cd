"""The channel of mail, as sites name it and call it."""

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
    """Mail.

    What users are mailed, and when, is decided while messages are stored, and kept in the outbox
    in the same transaction: no mail is lost with the process. The outbox calls nothing here. On a
    site whose `CHANNELS` lack it, nothing is mailed.
    """

    def accepts(self, message: Message) -> bool:
        """Return False: the outbox has what is to be mailed."""
        return False

    def deliver(self, user: Any, messages: list[Message]) -> None:
        """Mail `messages` to `user` now, whatever the user chose; those of one letter as one mail.

        Mail that fails is logged, and not tried again. Nothing is sent to a user who is inactive
        or has no address. One query.
        """
        rows = [
            DueMail(user_id=user.pk, message_id=each.pk, thread=each.thread, choice=NOW)
            for each in messages
        ]
        with MailServer() as server:
            Batch(uuid4(), rows, after(timezone.now(), LEASE)).send_new(messages, server)
