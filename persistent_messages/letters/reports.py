"""Report letters to the moderators."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from persistent_messages import signals
from persistent_messages.constants import storable
from persistent_messages.exceptions import LetterRefused
from persistent_messages.mailbox import locks
from persistent_messages.models import Message, Report
from persistent_messages.users.names import Name

REASON_LENGTH = 1000
EXCERPT_LETTERS = 10
"""The number of letters in a report: the reported one and those before it."""


def report(user: Any, message: Message, reason: str = "") -> Report:
    """Report a letter that `user` received, with the letters before it; at most five queries.

    Reporting the same letter again changes nothing. Sends `letter_reported` after commit. Raises
    `LetterRefused` if `message` is not a letter to `user`.
    """
    if message.user_id != user.pk or message.letter is None or message.is_sent:
        raise LetterRefused("message", _("You can only report messages you received."))
    model = Report
    rows = Message.objects.on_primary()
    with transaction.atomic(using=rows.db):
        there = locks.lock_mailboxes(
            rows, [key for key in (user.pk, message.from_user_id) if key is not None]
        )
        if user.pk not in there:
            raise LetterRefused("message", _("You can only report messages you received."))
        found, is_new = model.objects.get_or_create(
            reporter_id=user.pk,
            letter=message.letter,
            defaults={
                "accused_id": message.from_user_id if message.from_user_id in there else None,
                "accused_name": message.from_name,
                "reason": storable(reason).strip()[:REASON_LENGTH],
                "excerpt": _excerpt(user, message),
            },
        )
    if is_new:
        tell = partial(signals.letter_reported.send_robust, sender=model, report=found)
        transaction.on_commit(tell, using=found._state.db, robust=True)
    return found


def _excerpt(user: Any, message: Message) -> list[dict[str, str]]:
    letters = Message.objects.using(message._state.db).visible_to(user)
    letters = letters.filter(thread=message.thread).up_to(message.pk)
    return [
        {
            "from": Name(letter.from_name, letter.sender.detail).label,
            "at": letter.created.isoformat(timespec="seconds"),
            "subject": letter.subject,
            "text": str(letter.message),
        }
        for letter in reversed(letters.newest_first()[:EXCERPT_LETTERS])
    ]
