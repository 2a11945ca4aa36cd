"""Replies: their recipient and quotations."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.utils.translation import gettext as _

from persistent_messages.constants import Folder
from persistent_messages.exceptions import LetterRefused
from persistent_messages.models import Message
from persistent_messages.querysets import IS_SENT


def reply_recipient(user: Any, message: Message) -> Any:
    """Return the recipient of a reply by `user` to `message`; at most two queries.

    That is the sender of a received letter, or the recipient of a sent one. If there were several
    recipients, it is the one who replied last. Raises `LetterRefused` if a reply is not possible.
    """
    has_other_end = message.from_user_id is not None or message.is_letter
    if message.user_id != user.pk or not has_other_end or message.has_expired:
        raise LetterRefused("reply_to", _("You can’t reply to this message."))
    if message.folder not in (Folder.INBOX, Folder.SENT, Folder.ARCHIVE):
        raise LetterRefused("reply_to", _("This message was deleted. Restore it to reply."))
    key, using = message.to_user_id if message.is_sent else message.from_user_id, message._state.db
    if key is None and len(message.to_names) > 1:
        received = Message.objects.using(using).owned_by(user)
        received = received.filter(thread=message.thread).exclude(IS_SENT).newest_first()
        last = list(received.values_list("from_user", flat=True)[:1])
        if not last:
            raise LetterRefused("reply_to", _("Nobody has replied yet."))
        (key,) = last
    if key == user.pk:  # a notice that the site sent in the user's own name
        raise LetterRefused("reply_to", _("You can’t reply to this message."))
    people = get_user_model()._default_manager.using(using)
    other = people.filter(pk=key).first() if key is not None else None
    if other is None:
        raise LetterRefused("reply_to", _("This account no longer exists, so you can’t reply."))
    return other


def quote(message: Message) -> str:
    """Return the text of a letter with "> " before each line (RFC 3676)."""
    return "".join(f"> {line}\n" for line in message.plain_text.splitlines())
