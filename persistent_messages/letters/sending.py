"""Send letters between users: one copy for each recipient, and one for the sender.

All rows of a letter are written in one transaction, with a lock on their mailboxes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from persistent_messages import signals
from persistent_messages.conf import MAX_RATE_PERIOD, get_config
from persistent_messages.constants import INFO, Folder, storable
from persistent_messages.db.times import ago
from persistent_messages.exceptions import LetterRefused, LettersOff
from persistent_messages.mailbox import locks, threads
from persistent_messages.mailbox.deadlocks import retry_on_deadlock
from persistent_messages.mailbox.outbox import Posting
from persistent_messages.mailbox.validation import clean_user_key
from persistent_messages.mailbox.writes import send_after_commit
from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet
from persistent_messages.users.names import addressable_name, name_of

from . import policy
from .replies import reply_recipient

SUBJECT_LENGTH = 255

CONTENT_BYTES = 10
"""The first bytes of a letter's UUID are a digest of its content, the rest of its recipients."""
RECENT_LETTERS = 1000
"""The number of recent letters that are searched for an earlier copy of a letter."""

# These characters change the direction of all text that follows, and are only used to mislead.
_DIRECTION_OVERRIDES = re.compile("[\u202d\u202e]")


def send_letter(
    from_user: Any, to_users: Any, subject: Any, message: Any, reply_to: Message | None = None
) -> Message:
    """Implement `api.send_letter`."""
    if not get_config().LETTERS:
        raise LettersOff("from_user", "PERSISTENT_MESSAGES['LETTERS'] is not True.")
    clean_user_key("from_user", from_user)
    people = _users_from(to_users)
    if reply_to is not None:
        other = reply_recipient(from_user, reply_to)
        if any(person.pk != other.pk for person in people):
            raise LetterRefused(
                "to_users", _("A reply can only go to the other person in this conversation.")
            )
        people = [other]
    return send(from_user, people, subject, message, reply_to=reply_to).own


def _users_from(users: Any) -> list[Any]:
    if users is None:
        return []
    many = users if isinstance(users, Iterable) and not isinstance(users, str) else [users]
    found = {clean_user_key("to_users", user): user for user in many}
    for user in found.values():
        if not isinstance(user, get_user_model()):
            raise TypeError(f"to_users must be users, not {user!r}.")
    return list(found.values())


class Sent(NamedTuple):
    """The result of sending a letter."""

    own: Message
    """The sender's copy."""
    recipients: list[Any]
    """The users who received it."""
    previous_recipients: list[Any]
    """Users who had already received the same letter, and did not receive it again."""
    is_new: bool = True
    """False if all had received it before, so that nothing was written."""


@retry_on_deadlock
def send(
    sender: Any,
    recipients: Collection[Any],
    subject: Any,
    message: Any,
    *,
    reply_to: Message | None = None,
    letter: UUID | None = None,
) -> Sent:
    """Store a letter to those of `recipients` who have not received it yet.

    `letter` identifies the form that the letter was written in. Within a day, the same content with
    the same `letter` is delivered to each user once. Different content is a different letter, for
    example when a user corrects a typo after a response was lost. Without `letter`, all recipients
    get the letter. At most thirteen statements, or fourteen on SQLite, whatever the number of
    recipients. Raises `LetterRefused`.
    """
    subject, text = clean_subject(subject), clean_text(message)
    rows = Message.objects.on_primary()
    with transaction.atomic(using=rows.db):
        there = locks.lock_mailboxes(rows, [sender.pk, *(person.pk for person in recipients)])
        content = _digest_of(letter or uuid4(), subject, text, reply_to.pk if reply_to else None)
        previous = _already_received(rows, sender, recipients, content) if letter else {}
        recipients, everybody = [p for p in recipients if p.pk not in previous], recipients
        if previous and not recipients:
            return _already_sent(rows, sender, everybody, previous)
        policy.check_may_send(sender, recipients)
        if sender.pk not in there:  # deleted since the request began
            reason = policy.undeliverable_text(addressable_name(recipients[0]))
            raise LetterRefused("from_user", reason)
        thread, position = _thread_and_position(rows, [sender, *recipients], reply_to)
        common = {
            "level": INFO,
            "subject": subject or (reply_to.subject if reply_to else ""),
            "message": text,
            "from_user_id": sender.pk,
            "from_name": name_of(sender).name,
            "created": timezone.now(),
            "letter": _letter_id(content, recipients),
            "thread": thread,
            "thread_position": position,
        }
        own = _own_copy(sender, recipients, common)
        copies = _recipients_copies(sender, recipients, common)
        posting = Posting(copies, email=False)
        rows.bulk_create([own, *copies])
        posting.add_due_mail(copies)
        if reply_to is not None:
            people = [sender.pk, *(person.pk for person in recipients)]
            threads.update_thread_heads(rows, people, [thread], written=[own])
        send_after_commit(signals.messages_delivered, messages=copies, email=False)
        send_after_commit(signals.letter_sent, messages=copies, letter=own)
    if reply_to is not None:
        reply_to.thread = thread
    return Sent(own, recipients, [person for person in everybody if person.pk in previous])


def _digest_of(*parts: Any) -> bytes:
    return sha256(repr([str(part) for part in parts]).encode()).digest()


def _letter_id(content: bytes, recipients: Collection[Any]) -> UUID:
    """Return the UUID of the letter with this content to these recipients."""
    people = _digest_of(*sorted(str(person.pk) for person in recipients))
    # MariaDB does not accept a UUID without a version.
    return UUID(bytes=content[:CONTENT_BYTES] + people[: 16 - CONTENT_BYTES], version=5)


def _already_received(
    rows: MessageQuerySet, sender: Any, recipients: Collection[Any], content: bytes
) -> dict[Any, UUID]:
    """Return the keys of `recipients` who have received this content, with the letter's UUID.

    One query, or two if the content was sent before. If it was sent to the same recipients, all of
    them count, even if they have permanently deleted the letter.
    """
    since = ago(MAX_RATE_PERIOD)
    # Compare the prefix in Python, because MariaDB sorts UUIDs differently.
    recent = rows.sent_since(sender, since).values_list("letter", flat=True)[:RECENT_LETTERS]
    same = _letter_id(content, recipients)
    prefix = same.bytes[:CONTENT_BYTES]
    letters = [letter for letter in recent if letter and letter.bytes.startswith(prefix)]
    if same in letters:
        return dict.fromkeys((person.pk for person in recipients), same)
    if not letters:
        return {}
    people = [person.pk for person in recipients]
    copies = rows.filter(from_user=sender.pk, user__in=people, created__gt=since)
    found = copies.filter(letter__in=letters).order_by("pk").values_list("user_id", "letter")
    return {key: letter for key, letter in found if letter is not None}


def _already_sent(
    rows: MessageQuerySet, sender: Any, people: Collection[Any], previous: dict[Any, UUID]
) -> Sent:
    sent = rows.sent_since(sender, ago(MAX_RATE_PERIOD))
    own = sent.filter(letter__in=set(previous.values()))[0]
    reached = [person for person in people if previous[person.pk] == own.letter]
    rest = [person for person in people if person not in reached]
    return Sent(own, reached, rest, is_new=False)


def _recipients_copies(
    sender: Any, recipients: Collection[Any], common: dict[str, Any]
) -> list[Message]:
    details = name_of(sender).detail
    return [
        Message(user_id=person.pk, folder=Folder.INBOX, name_details=details, **common)
        for person in recipients
    ]


def _own_copy(sender: Any, recipients: Collection[Any], common: dict[str, Any]) -> Message:
    only = next(iter(recipients)) if len(recipients) == 1 else None
    names = [name_of(person) for person in recipients]
    return Message(
        user_id=sender.pk,
        folder=Folder.SENT,
        read_at=common["created"],
        to_user_id=only.pk if only else None,
        to_name="\n".join(name.name for name in names),
        name_details="\n".join(name.detail for name in names).rstrip("\n"),
        **common,
    )


def _thread_and_position(
    rows: MessageQuerySet, people: Iterable[Any], reply_to: Message | None
) -> tuple[UUID, int]:
    if reply_to is None:
        return uuid4(), 1
    if reply_to.thread is None:
        # A reply to a notice that was sent in a user's name makes it a conversation.
        notice = rows.owned_by(reply_to.user_id).filter(pk=reply_to.pk)
        notice.filter(thread=None).update(thread=uuid4(), thread_position=1, key=None, is_live=None)
        thread = notice.values_list("thread", flat=True).first()
        if thread is None:  # permanently deleted in the meantime
            raise LetterRefused("reply_to", _("You can’t reply to this message."))
        return thread, 2
    letters = rows.filter(user__in=[person.pk for person in people])
    last = letters.in_threads([reply_to.thread]).aggregate(last=Max("thread_position"))["last"]
    return reply_to.thread, (last or 0) + 1


def clean_subject(subject: Any) -> str:
    """Return `subject` on one line. Raises `LetterRefused` if it is too long."""
    text = _DIRECTION_OVERRIDES.sub("", " ".join(storable(str(subject)).split()))
    if len(text) > SUBJECT_LENGTH:
        words = _("A subject can have at most %(limit)d characters; this one has %(count)d.")
        raise LetterRefused("subject", words % {"limit": SUBJECT_LENGTH, "count": len(text)})
    return text


def clean_text(message: Any) -> str:
    """Return `message` as plain text. Raises `LetterRefused` if it is empty or too long."""
    limit = get_config().MESSAGE_LENGTH
    # Text from a user is never safe, even if the caller marked it. The sum drops the mark.
    text = _DIRECTION_OVERRIDES.sub("", storable("" + str(message)).replace("\r\n", "\n")).strip()
    if not text:
        raise LetterRefused("message", _("Write a message first."))
    if len(text) > limit:
        words = _("A message can have at most %(limit)d characters; this one has %(count)d.")
        raise LetterRefused("message", words % {"limit": limit, "count": len(text)})
    return text
