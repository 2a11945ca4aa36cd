"""Decide which messages are mailed, and store that in the same transaction as the messages."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from persistent_messages import signals
from persistent_messages.conf import get_config
from persistent_messages.constants import Folder, is_persistent
from persistent_messages.db.times import after
from persistent_messages.models import DueMail, Message, Preference
from persistent_messages.preferences.choices import Choices, choices_of, topic_of
from persistent_messages.topics import DAILY, MAIL, NEVER, NOW, OTHERS, UNREAD, WEEKLY

from .writes import primary_database, primary_rows, send_after_commit

LEASE = timedelta(minutes=5)
"""How long a process may keep due mail claimed without renewing the claim.

After that, another process sends the mail of one that was killed."""


UNSENT_DAYS = 30
"""Days after which due mail that was not sent is removed."""


class Posting:
    """How the new messages of a batch reach their owners: in the inbox or archive, and by mail.

    Creating a posting reads the preferences of the owners with one query, or none if no topic has
    preferences and nothing is mailed. Two more queries read the mail that waits for earlier notices
    with the key of a message, if such mail waits at all.
    """

    def __init__(self, messages: Iterable[Message], *, email: bool) -> None:
        self.email = email
        self.choices = _ask(messages, email=email)
        self.waiting = _waiting_for([each for each in messages if self._may_wait(each)])

    def _may_wait(self, message: Message) -> bool:
        """Return whether mail may wait for an earlier notice with the key of `message`."""
        if message.key is None or self.choices is None or not signals.mail_due.is_wanted(Message):
            return False
        choice = self.choices.mail(message.user_id, topic_of(message), email=self.email)
        is_paused = self.choices.pause_of(message.user_id) is not None
        return is_paused or choice not in (NOW, NEVER)

    def folder_of(self, message: Message) -> Folder:
        """Return the folder for `message`: the archive if its owner has turned its topic off."""
        if not is_persistent(message.level):
            return Folder.ONE_SHOT
        if self.choices is None or self.choices.is_in_inbox(message.user_id, topic_of(message)):
            return Folder.INBOX
        return Folder.ARCHIVE

    def transaction(self) -> AbstractContextManager[Any]:
        """Return a transaction for the messages and their due mail, if there can be any."""
        return nullcontext() if self.choices is None else transaction.atomic(primary_database())

    def add_due_mail(self, messages: Iterable[Message]) -> None:
        """Store which of the inserted `messages` are to be mailed, and when.

        At most one statement, and one that removes the mail of notices that were replaced. Sends
        `mail_due` after commit for messages to be mailed at once. Stores nothing on a site that
        mails nothing.
        """
        if self.choices is None or not signals.mail_due.is_wanted(Message):
            return
        claim, now = uuid4(), timezone.now()
        at_once: list[tuple[DueMail, Message]] = []
        rows: list[DueMail] = []
        replaced: list[int] = []
        for message in messages:
            row = self._due_mail(message, self.choices, now)
            earlier = self.waiting.get((message.user_id, message.key), [])
            replaced += [each.pk for each in earlier]
            if row is None:
                continue
            if row.choice == UNREAD:
                # Or a notice that is sent again and again would never be mailed.
                row.due = min([row.due, *(each.due for each in earlier if each.choice == UNREAD)])
            if row.choice == NOW:
                # This process claims it. Another one takes over if this one is killed.
                row.claim, row.due = claim, after(now, LEASE)
                at_once.append((row, message))
            if message.folder != Folder.ONE_SHOT:
                rows.append(row)
        if replaced:
            DueMail.objects.using(primary_database()).filter(pk__in=replaced, claim=None).delete()
        if rows:
            DueMail.objects.using(primary_database()).bulk_create(rows)
        if at_once:
            send_after_commit(signals.mail_due, mails=at_once, claim=claim)

    def _due_mail(self, message: Message, choices: Choices, now: datetime) -> DueMail | None:
        choice = choices.mail(message.user_id, topic_of(message), email=self.email)
        pause = choices.pause_of(message.user_id)
        if choice == NEVER or (pause and pause.until is None):
            return None
        due = due_at(choice, now)
        if message.folder == Folder.ONE_SHOT:  # the row may be gone later
            choice, due = NOW, now
        if pause and pause.until is not None and pause.until > due:
            choice, due = DAILY, pause.until  # one mail with everything that came in the pause
        return DueMail(
            user_id=message.user_id,
            message_id=message.pk,
            thread=message.thread,
            choice=choice,
            due=due,
        )


def _waiting_for(messages: list[Message]) -> dict[tuple[Any, str | None], list[DueMail]]:
    """Return the waiting mail of unread notices that `messages` replace, by owner and key."""
    if not messages:
        return {}
    owners = {message.user_id for message in messages}
    replaced = primary_rows().filter(
        Q(folder=Folder.INBOX) | Q(folder=Folder.ARCHIVE, moved_at=None),
        user__in=owners,
        key__in={message.key for message in messages},
        read_at=None,
    )
    keys = dict(replaced.order_by().values_list("pk", "key"))
    rows = DueMail.objects.using(primary_database())
    found: dict[tuple[Any, str | None], list[DueMail]] = {}
    for row in rows.filter(user__in=owners, message_id__in=[*keys], claim=None) if keys else ():
        found.setdefault((row.user_id, keys[row.message_id]), []).append(row)
    return found


def has_choices(message: Message, *, email: bool) -> bool:
    """Return whether preferences or `email` decide how users get `message`."""
    return email or (topic_of(message) != OTHERS and is_persistent(message.level))


def is_mailed(message: Message, *, email: bool) -> bool:
    """Return whether `message` is mailed to users who have not chosen."""
    if not has_choices(message, email=email) or not signals.mail_due.is_wanted(Message):
        return False
    return Choices(()).mail(None, topic_of(message), email=email) != NEVER


def _ask(messages: Iterable[Message], *, email: bool) -> Choices | None:
    about: set[str] = set()
    owners: set[Any] = set()
    for message in messages:
        if has_choices(message, email=email):
            about.add(topic_of(message))
            owners.add(message.user_id)
    return choices_of(owners, about, primary_database()) if owners else None


def due_at(choice: str, now: datetime) -> datetime:
    """Return when a message that arrives `now` is mailed under `choice`, as a column stores it."""
    if choice == UNREAD:
        return after(now, get_config().EMAIL_DELAY)
    if choice == DAILY:
        return _next_digest(now, days=1)
    if choice == WEEKLY:
        return _next_digest(now, days=7)
    return now


def _next_digest(now: datetime, days: int) -> datetime:
    """Return the time of the next digest; weekly digests are sent on Mondays."""
    local = timezone.localtime(now, timezone.get_default_timezone()) if settings.USE_TZ else now
    digest = local.replace(hour=get_config().DIGEST_HOUR, minute=0, second=0, microsecond=0)
    while digest <= local or (days == 7 and digest.weekday() != 0):
        digest += timedelta(days=1)
    return digest


def unsent() -> QuerySet[DueMail]:
    """Return mail that has been due for `UNSENT_DAYS`, oldest first.

    No process sends mail on this site. Mail of that age is no longer useful, and the messages stay
    in the inbox.
    """
    long_ago = timezone.now() - timedelta(UNSENT_DAYS)
    return DueMail.objects.using(primary_database()).filter(due__lt=long_ago).order_by("due")


def bring_forward() -> int:
    """Make mail due now if it is due later than any setting allows; return how much. One statement.

    Such mail was stored while a clock was ahead. Paused mail is left alone.
    """
    now = timezone.now()
    latest = after(now, max(get_config().EMAIL_DELAY, timedelta(7)) + timedelta(1))
    rows = DueMail.objects.using(primary_database()).filter(due__gt=latest)
    paused = Preference.objects.using(primary_database()).filter(topic=MAIL, until__gt=now)
    return rows.exclude(user__in=paused.values("user")).update(due=now)
