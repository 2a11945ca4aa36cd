"""Send the mail that this process has claimed, and settle its rows in the outbox."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import F
from django.utils import timezone

from persistent_messages.conf import get_config
from persistent_messages.constants import Folder
from persistent_messages.db.times import after
from persistent_messages.mailbox.outbox import LEASE
from persistent_messages.mailbox.writes import primary_database, primary_rows
from persistent_messages.models import DueMail, Message
from persistent_messages.preferences.choices import Choices, choices_of, topic_of
from persistent_messages.topics import DAILY, NEVER, NOW

from .addresses import Site, address_of
from .composing import Mail, compose, group
from .journal import Journal, forget, sent_before
from .server import MailServer, Unreachable, is_permanent

logger = logging.getLogger(__name__)

FEW = 20
"""Mails of which each is settled by itself, so that no file is needed."""
FIRST_RETRY, LAST_RETRY = timedelta(minutes=5), timedelta(hours=6)
MAX_ATTEMPTS = 14
"""How often a mail is tried, in about two days, before it is given up."""

Pair = tuple[DueMail, Message]


class Batch:
    """Due mail of one claim."""

    def __init__(self, claim: UUID, rows: list[DueMail], until: datetime) -> None:
        """`until` is the stored time until which the claim holds."""
        self.claim, self.rows = claim, rows
        self.counts: Counter[str] = Counter()
        """Mails that were "sent" or "refused" for ever; messages that were "skipped" for want of an
        active account with an address, "needless" since they were read, say, "postponed" by a
        pause, "retried" later or "given up"."""
        self.server_is_away = False
        self._open = {row.pk for row in rows if row.pk is not None}
        self._done: list[DueMail] = []
        self._failed: list[DueMail] = []
        self._postponed: dict[datetime, list[DueMail]] = defaultdict(list)
        self._until, self._renewed = until, time.monotonic()

    def send(self, server: MailServer) -> None:
        """Send what is still to be sent. A mail that fails stops no other, and raises nothing.

        Three queries, for messages, users and choices; then one statement for all that is done, one
        for what is to be retried, and one whenever the claim must be renewed. Where there are few
        mails, each is settled by a statement of its own.
        """
        # Whoever had them before may have been killed.
        claims = {row.claim for row in self.rows if row.claim is not None}
        sent = sent_before(claims)
        self._done += [row for row in self.rows if row.pk in sent]
        if sent:
            self._settle()
        forget(claims)
        pairs = self._stored([row for row in self.rows if row.pk not in sent])
        self._deliver(self._wanted(pairs), server)

    def send_new(self, messages: list[Message], server: MailServer) -> None:
        """Do that for rows whose `messages`, in their order, were stored just now."""
        self._deliver(list(zip(self.rows, messages, strict=True)), server)

    # What is to be sent

    def _stored(self, rows: list[DueMail]) -> list[Pair]:
        owners, keys = {row.user_id for row in rows}, {row.message_id for row in rows}
        found = primary_rows().filter(user__in=owners, pk__in=keys).without_search_text()
        messages = {message.pk: message for message in found}
        self._drop([row for row in rows if row.message_id not in messages], "needless")
        return [(row, messages[row.message_id]) for row in rows if row.message_id in messages]

    def _wanted(self, pairs: list[Pair]) -> list[Pair]:
        """Return those of `pairs` that are still to be mailed, by what their owners chose."""
        if not pairs:
            return []
        owners, about = {row.user_id for row, _ in pairs}, {topic_of(each) for _, each in pairs}
        choices = choices_of(owners, about, primary_database())
        wanted = []
        for row, message in pairs:
            pause = choices.pause_of(row.user_id)
            if not _is_still_due(row, message, choices) or (pause and pause.until is None):
                self._drop([row], "needless")
            elif pause and pause.until is not None:
                self._postponed[pause.until].append(row)
            else:
                wanted.append((row, message))
        return wanted

    def _reachable(self, pairs: list[Pair], people: dict[Any, Any]) -> list[Pair]:
        left = [row for row, _ in pairs if not _is_reachable(people.get(row.user_id))]
        if left:
            keys = ", ".join(sorted({str(row.user_id) for row in left}))
            logger.info("No mail for users who are inactive or have no address: %s.", keys)
            self._drop(left, "skipped")
        return [pair for pair in pairs if _is_reachable(people.get(pair[0].user_id))]

    def _drop(self, rows: list[DueMail], why: str) -> None:
        self.counts[why] += len(rows)
        self._done += rows

    # To send it

    def _deliver(self, pairs: list[Pair], server: MailServer) -> None:
        people = _people_of(pairs)
        mails = group(self._reachable(pairs, people), people)
        journal = self._journal(mails)
        site = Site()
        for number, mail in enumerate(mails):
            if not self._renew():
                logger.warning("Mail was claimed by another process, which goes on with it.")
                break
            try:
                result = self._send(mail, site, people, server)
            except Unreachable:
                self._log(mails[number:])
                self.server_is_away = True
                self._failed += [row for each in mails[number:] for row in each.rows]
                break
            if result is None:
                self._failed += mail.rows
                continue
            self.counts[result] += 1
            self._done += mail.rows
            if journal is None:
                self._settle()
            else:
                journal.note(row.pk for row in mail.rows if row.pk is not None)
        self._settle()
        self._postpone()
        self._retry()
        if journal is not None:
            journal.remove()

    def _send(
        self, mail: Mail, site: Site, people: dict[Any, Any], server: MailServer
    ) -> str | None:
        """Send `mail`; returns what it counts as, or None where it is to be tried again."""
        try:
            copy = compose(mail, site, people)
        except Exception:  # whatever a template of the site raises, somebody can mend it
            self._log([mail])
            return None
        try:
            server.send(copy)
        except Unreachable:
            raise
        except Exception as error:
            self._log([mail])
            return "refused" if is_permanent(error) else None
        return "sent"

    def _journal(self, mails: list[Mail]) -> Journal | None:
        if len(mails) <= FEW:
            return None
        try:
            return Journal(self.claim)
        except OSError:
            logger.warning("There can be no file of what was mailed.", exc_info=True)
            return None

    def _log(self, mails: list[Mail]) -> None:
        keys = ", ".join(str(message.pk) for mail in mails for message in mail.messages)
        logger.exception("Messages could not be mailed: %s.", keys)

    # To settle the rows

    def _rows(self, keys: Iterable[int]) -> Any:
        # Unless the claim was lost: then they are somebody else's.
        return DueMail.objects.using(primary_database()).filter(pk__in=keys, claim=self.claim)

    def _renew(self) -> bool:
        """Keep the claim; returns whether it is still held. No statement while it is fresh."""
        if self._is_fresh():
            return True
        self._until, self._renewed = after(timezone.now(), LEASE), time.monotonic()
        count = self._rows(self._open).update(due=self._until)
        return bool(count == len(self._open))

    def _is_fresh(self) -> bool:
        # By both clocks: one jumps when it is set, the other may stand while the machine sleeps.
        passed = time.monotonic() - self._renewed
        left = self._until - timezone.now()
        return passed < LEASE.total_seconds() / 3 and left > LEASE * 2 / 3

    def _close(self, rows: list[DueMail]) -> list[int]:
        keys = [row.pk for row in rows if row.pk in self._open]
        self._open.difference_update(keys)
        return keys

    def _settle(self) -> None:
        keys, self._done = self._close(self._done), []
        if keys:
            self._rows(keys).delete()

    def _postpone(self) -> None:
        for until, rows in self._postponed.items():
            # In one mail, with all that came in the pause.
            self._rows(self._close(rows)).update(choice=DAILY, due=until, claim=None)
            self.counts["postponed"] += len(rows)

    def _retry(self) -> None:
        again: dict[int, list[DueMail]] = defaultdict(list)
        for row in self._failed:
            again[row.attempts].append(row)
        for attempts, rows in again.items():
            if attempts + 1 >= MAX_ATTEMPTS:
                logger.error("Mail is given up: of messages %s.", [row.message_id for row in rows])
                self._drop(rows, "given up")
                continue
            pause = min(FIRST_RETRY * 2**attempts, LAST_RETRY)
            due = after(timezone.now(), pause)
            # The claim stays, so that what the server may have taken is the same mail again.
            self._rows(self._close(rows)).update(attempts=F("attempts") + 1, due=due)
            self.counts["retried"] += len(rows)
        self._settle()


def _people_of(pairs: list[Pair]) -> dict[Any, Any]:
    keys = {row.user_id for row, _message in pairs}
    if get_config().MAIL_REPLY_TO:
        keys |= {each.from_user_id for _row, each in pairs if each.from_user_id is not None}
    if not keys:
        return {}
    model = get_user_model()
    # A replica may not know yet who has just signed up.
    people = model._base_manager.using(router.db_for_write(model)).filter(pk__in=keys)
    return {person.pk: person for person in people}


def _is_reachable(user: Any) -> bool:
    return user is not None and getattr(user, "is_active", True) and bool(address_of(user))


def _is_still_due(row: DueMail, message: Message, choices: Choices) -> bool:
    """Tell whether `message` is still to be mailed: whatever is not at once, if it is unread."""
    if message.has_expired or message.folder in (Folder.TRASH, Folder.TOMBSTONE):
        return False
    if choices.mail(row.user_id, topic_of(message), email=True) == NEVER:
        return False
    if row.choice == NOW:
        return True
    # What its owner wants past the inbox lies in the archive, but was not moved there.
    has_arrived = message.folder == Folder.INBOX or (
        message.folder == Folder.ARCHIVE and message.moved_at is None
    )
    return has_arrived and not message.read
