"""Letters between users: one copy for each recipient, and one for the sender.

All rows of a letter are written in one transaction, under a lock on the mailboxes that they go to.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from . import mailbox, policy, signals, threads
from .conf import get_config
from .constants import INFO, Folder, storable
from .drafts import checked_user, display_name, message_model, report_model
from .exceptions import LetterRefused
from .retries import again

if TYPE_CHECKING:
    from .models import Message, Report
    from .querysets import MessageQuerySet

SUBJECT_LENGTH = 255
REASON_LENGTH = 1000
EXCERPT = 10
"""Letters that go with a report: the reported one and those before it."""

# They turn the direction of all text behind them: of no use but to mislead.
_OVERRIDES = re.compile("[\u202d\u202e]")


def send_letter(
    from_user: Any, to_users: Any, subject: Any, message: Any, reply_to: Message | None = None
) -> Message:
    """Send a letter between users from code without a request, by the same rules as the form.

    `to_users` is a user or an iterable of users; with `reply_to`, a letter in the mailbox of
    `from_user`, it may be None, for whoever is at the other end, and must name nobody else.
    Returns the row in the sender's own mailbox. The number of statements does not depend on that of
    recipients. Sends `messages_delivered` and `letter_sent` after commit. Raises `LetterRefused`,
    naming the argument and why, or `TypeError` and `ValueError` for what is no saved user, before
    anything is written.
    """
    checked_user("from_user", from_user)
    people = _people(to_users)
    if reply_to is not None:
        other = other_end(from_user, reply_to)
        if any(person.pk != other.pk for person in people):
            raise LetterRefused("to_users", _("A reply goes to whoever is at the other end."))
        people = [other]
    return send(from_user, people, subject, message, reply_to=reply_to)


def _people(users: Any) -> list[Any]:
    if users is None:
        return []
    many = users if isinstance(users, Iterable) and not isinstance(users, str) else [users]
    found = {checked_user("to_users", user): user for user in many}
    for user in found.values():
        if not isinstance(user, get_user_model()):
            raise TypeError(f"to_users must be users, not {user!r}.")
    return list(found.values())


@again
def send(
    sender: Any,
    recipients: Collection[Any],
    subject: Any,
    message: Any,
    *,
    reply_to: Message | None = None,
    letter: UUID | None = None,
) -> Message:
    """Store a letter to `recipients`, users; returns the row in the mailbox of `sender`.

    With the same `letter` as before it sends nothing, and returns what was sent. At most nine
    statements, whatever the number of recipients. Raises `LetterRefused`.
    """
    subject, text = checked_subject(subject), checked_text(message)
    model = message_model()
    rows = model.objects.at_source()
    with transaction.atomic(using=rows.db):
        threads.lock(rows, [sender.pk, *(person.pk for person in recipients)])
        if letter is not None and (sent := _sent_before(rows, sender, letter)):
            return sent
        policy.check(sender, recipients)
        thread, position = _place(rows, [sender, *recipients], reply_to)
        common = {
            "level": INFO,
            "subject": subject or (reply_to.subject if reply_to else ""),
            "message": text,
            "from_user_id": sender.pk,
            "from_name": display_name(sender),
            "created": timezone.now(),
            "letter": letter or uuid4(),
            "thread": thread,
            "thread_position": position,
        }
        own = _own_copy(sender, recipients, common)
        copies = [model(user_id=person.pk, folder=Folder.INBOX, **common) for person in recipients]
        rows.bulk_create([own, *copies])
        if reply_to is not None:
            threads.settle(rows, [sender.pk, *(person.pk for person in recipients)], [thread])
        told = {"sender": model, "messages": copies}
        for signal, more in (
            (signals.messages_delivered, {"email": False}),
            (signals.letter_sent, {"letter": own}),
        ):
            tell = partial(signal.send_robust, **told, **more)
            transaction.on_commit(tell, using=rows.db, robust=True)
    if reply_to is not None:
        reply_to.thread = thread
    return own


def _own_copy(sender: Any, recipients: Collection[Any], common: dict[str, Any]) -> Message:
    only = next(iter(recipients)) if len(recipients) == 1 else None
    return message_model()(
        user_id=sender.pk,
        folder=Folder.SENT,
        read_at=common["created"],
        to_user_id=only.pk if only else None,
        to_name="\n".join(display_name(person) for person in recipients),
        **common,
    )


def _sent_before(rows: MessageQuerySet, sender: Any, letter: UUID) -> Message | None:
    lately = rows.sent_since(sender, timezone.now() - mailbox.MAX_RATE_PERIOD)
    return lately.filter(letter=letter).first()


def _place(
    rows: MessageQuerySet, people: Iterable[Any], reply_to: Message | None
) -> tuple[UUID, int]:
    if reply_to is None:
        return uuid4(), 1
    if reply_to.thread is None:
        # What a site sent in the name of a user: with an answer it becomes a conversation.
        notice = rows.owned_by(reply_to.user_id).filter(pk=reply_to.pk)
        notice.filter(thread=None).update(thread=uuid4(), thread_position=1)
        thread = notice.values_list("thread", flat=True).first()
        if thread is None:  # deleted for good meanwhile
            raise LetterRefused("reply_to", _("This message cannot be answered."))
        return thread, 2
    letters = rows.filter(user__in=[person.pk for person in people])
    last = letters.in_threads([reply_to.thread]).aggregate(last=Max("thread_position"))["last"]
    return reply_to.thread, (last or 0) + 1


def checked_subject(subject: Any) -> str:
    """Return `subject` on one line, if it is not too long. Raises `LetterRefused`."""
    text = _OVERRIDES.sub("", " ".join(storable(str(subject)).split()))
    if len(text) > SUBJECT_LENGTH:
        words = _("A subject has %(limit)d characters at most; this one has %(count)d.")
        raise LetterRefused("subject", words % {"limit": SUBJECT_LENGTH, "count": len(text)})
    return text


def checked_text(message: Any) -> str:
    """Return `message` as plain text, if it is some and not too long. Raises `LetterRefused`."""
    limit = get_config().MESSAGE_LENGTH
    # What users write is never safe, whatever the caller marked.
    text = _OVERRIDES.sub("", storable("" + str(message)).replace("\r\n", "\n")).strip()
    if not text:
        raise LetterRefused("message", _("Write something before sending."))
    if len(text) > limit:
        words = _("A letter has %(limit)d characters at most; this one has %(count)d.")
        raise LetterRefused("message", words % {"limit": limit, "count": len(text)})
    return text


# Replies


def other_end(user: Any, message: Message) -> Any:
    """Return the user to whom an answer of `user` to `message` goes; at most two queries.

    The sender of what `user` received; of what `user` sent the recipient, or whoever answered last
    where there were several. Raises `LetterRefused` where there is nobody to answer.
    """
    has_other_end = message.from_user_id is not None or message.is_letter
    if message.user_id != user.pk or not has_other_end or message.has_expired:
        raise LetterRefused("reply_to", _("This message cannot be answered."))
    if message.folder not in (Folder.INBOX, Folder.SENT, Folder.ARCHIVE):
        raise LetterRefused("reply_to", _("This message was deleted. Restore it to answer it."))
    key, using = message.to_user_id if message.to_name else message.from_user_id, message._state.db
    if key is None and len(message.to_names) > 1:
        received = message_model().objects.using(using).owned_by(user)
        received = received.filter(thread=message.thread, to_name="")
        key = received.newest_first().values_list("from_user", flat=True).first()
        if key is None:
            raise LetterRefused("reply_to", _("Nobody has answered this letter yet."))
    people = get_user_model()._default_manager.using(using)
    other = people.filter(pk=key).first() if key is not None else None
    if other is None:
        raise LetterRefused("reply_to", _("This account is gone: nobody would read an answer."))
    return other


def quoted(message: Message) -> str:
    """Return the text of a letter as a quotation: "> " before each line, by RFC 3676."""
    return "".join(f"> {line}\n" for line in message.plain_text.splitlines())


# Reports


def report(user: Any, message: Message, reason: str = "") -> Report:
    """Show the staff a letter that `user` received, with what came before it; three queries.

    Again and again it stays one report. Sends `letter_reported` after commit. Raises
    `LetterRefused` for what is no letter to `user`.
    """
    if message.user_id != user.pk or message.letter is None or message.to_name:
        raise LetterRefused("message", _("Only letters that you received can be reported."))
    model = report_model()
    found, is_new = model.objects.get_or_create(
        reporter_id=user.pk,
        letter=message.letter,
        defaults={
            "accused_id": message.from_user_id,
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
    letters = message_model().objects.using(message._state.db).kept_by(user)
    letters = letters.filter(thread=message.thread).up_to(message.pk)
    return [
        {
            "from": letter.from_name,
            "at": letter.created.isoformat(timespec="seconds"),
            "subject": letter.subject,
            "text": str(letter.message),
        }
        for letter in reversed(letters.newest_first()[:EXCERPT])
    ]
