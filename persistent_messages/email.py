"""What leaves the site by mail: a plain copy of a message, once its row is committed."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage
from django.db import router

from .models import Message

logger = logging.getLogger(__name__)


def mail_delivered(messages: list[Message], *, email: bool, **_kwargs: Any) -> None:
    """Mail each of `messages` to its recipient, if the sender of the signal asked for it.

    One query for the addresses. A mail that fails is logged and stops neither the others nor the
    request; a recipient without an address is passed over.
    """
    if not email:
        return
    keys = {key for message in messages for key in (message.user_id, message.from_user_id) if key}
    model = get_user_model()
    # A replica may not know yet who has just signed up.
    people = model._base_manager.using(router.db_for_write(model)).filter(pk__in=keys)
    addresses = {person.pk: address_of(person) for person in people}
    for message in messages:
        if address := addresses.get(message.user_id):
            _send(message, address, addresses.get(message.from_user_id or 0))


def address_of(user: Any) -> str:
    """Return the mail address of `user` by the field that its model names for it, or ""."""
    return getattr(user, user.get_email_field_name(), "") or ""


def _send(message: Message, address: str, reply_to: str | None) -> None:
    # A line break in a subject would end the header. The mail is from the site, whoever wrote the
    # message: a sender's own domain would not vouch for it (DMARC, RFC 7489).
    subject = " ".join(message.title.split())
    mail = EmailMessage(
        subject, message.plain_text, to=[address], reply_to=[reply_to] if reply_to else None
    )
    try:
        mail.send()
    except Exception:
        logger.exception("Message %s could not be mailed.", message.pk)
