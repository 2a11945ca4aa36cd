"""Send the mail that this process has claimed, and update its rows in the outbox."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Case, F, Value, When
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
"""Up to this number of mails, each is deleted from the outbox by itself, without a journal."""
FIRST_RETRY, LAST_RETRY = timedelta(minutes=5), timedelta(hours=6)
MAX_ATTEMPTS = 14
"""The number of attempts, in about two days, before a mail is given up."""

Pair = tuple[DueMail, Message]


class Batch:
    """The due mail of one claim."""

    def __init__(
        self, claim: UUID, rows: list[DueMail], until: datetime, early: Collection[int] = ()
    ) -> None:
        """`until` is the time, as stored, when the claim ends.

        `early` are the keys of letters that are only due because of others in their conversation.
        """
        self.claim, self.rows, self.early = claim, rows, early
        self.counts: Counter[str] = Counter()
        """The numbers of mails that were "sent" or permanently "refused", and of messages that were
        "skipped" (the user is inactive or has no address), "needless" (for example, already read),
        "postponed" (mail is paused), "retried" (later) or "given up"."""
        self.server_is_away = False
        self._open = {row.pk for row in rows if row.pk is not None}
        self._done: list[DueMail] = []
        self._failed: list[DueMail] = []
        self._untried: list[DueMail] = []
        self._postponed: dict[datetime, list[DueMail]] = defaultdict(list)
        self._until, self._renewed = until, time.monotonic()

    def send(self, server: MailServer) -> None:
        """Send what is still to be sent. A mail that fails neither stops others nor raises.

        Three queries, for messages, users and preferences. Then one statement for all completed
        rows, one for retries, and one each time the claim is renewed. With few mails, each is
        deleted by its own statement.
        """
        # The process that claimed them before may have been killed after sending some.
        claims = {row.claim for row in self.rows if row.claim is not None}
        sent = sent_before(claims)
        self._done += [row for row in self.rows if row.pk in sent]
        if sent:
            self._settle()
        forget(claims)
        pairs = self._stored([row for row in self.rows if row.pk not in sent])
        self._deliver(self._wanted(pairs), server)

    def send_new(self, messages: list[Message], server: MailServer) -> None:
        """Send the rows, whose `messages` have just been stored; in the same order."""
        self._deliver(list(zip(self.rows, messages, strict=True)), server)

    # Selecting

    def _stored(self, rows: list[DueMail]) -> list[Pair]:
        owners, keys = {row.user_id for row in rows}, {row.message_id for row in rows}
        found = primary_rows().filter(user__in=owners, pk__in=keys).without_search_text()
        messages = {message.pk: message for message in found}
        self._drop([row for row in rows if row.message_id not in messages], "needless")
        return [(row, messages[row.message_id]) for row in rows if row.message_id in messages]

    def _wanted(self, pairs: list[Pair]) -> list[Pair]:
        """Return the `pairs` that are still to be mailed under the owners' preferences."""
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
        return self._with_due_ones(wanted)

    def _with_due_ones(self, pairs: list[Pair]) -> list[Pair]:
        """Release the early letters whose conversation has no due ones; return the other `pairs`.

        One statement if there are any.
        """
        early = [row for row, _ in pairs if row.pk in self.early]
        due = {(row.user_id, row.thread) for row, _ in pairs if row.pk not in self.early}
        released = [row for row in early if (row.user_id, row.thread) not in due]
        if not released:
            return pairs
        again = Case(*(When(pk=row.pk, then=Value(row.due)) for row in released))
        self._rows(self._close(released)).update(claim=None, due=again)
        return [(row, message) for row, message in pairs if row.pk in self._open]

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

    # Sending

    def _deliver(self, pairs: list[Pair], server: MailServer) -> None:
        people = _people_of(pairs)
        mails = group(self._reachable(pairs, people), people)
        journal = self._journal(mails)
        site = Site()
        for number, mail in enumerate(mails):
            if server.keeps_losing_connections:
                self.server_is_away = True
                self._untried = [row for each in mails[number:] for row in each.rows]
                break
            if not self._renew():
                logger.warning("Another process has claimed the mail, and continues with it.")
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
        """Send `mail`; return its result for `counts`, or None if it is to be retried."""
        try:
            copy = compose(mail, site, people)
        except Exception:  # retry later, because a template of the site can be fixed
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
            logger.warning("The journal of sent mail could not be created.", exc_info=True)
            return None

    def _log(self, mails: list[Mail]) -> None:
        keys = ", ".join(str(message.pk) for mail in mails for message in mail.messages)
        logger.exception("Messages could not be mailed: %s.", keys)

    # Updating the outbox

    def _rows(self, keys: Iterable[int]) -> Any:
        # If the claim was lost, the rows belong to another process.
        return DueMail.objects.using(primary_database()).filter(pk__in=keys, claim=self.claim)

    def _renew(self) -> bool:
        """Renew the claim; return whether it is still held. No statement while it is fresh."""
        if self._is_fresh():
            return True
        self._until, self._renewed = after(timezone.now(), LEASE), time.monotonic()
        count = self._rows(self._open).update(due=self._until)
        return bool(count == len(self._open))

    def _is_fresh(self) -> bool:
        # Check both clocks: one may be set, and the other may stop while the machine sleeps.
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
            # One mail with everything that came in the pause.
            self._rows(self._close(rows)).update(choice=DAILY, due=until, claim=None)
            self.counts["postponed"] += len(rows)

    def _retry(self) -> None:
        if keys := self._close(self._untried):
            # The mails before these may be the cause, so these must be tried first at some point.
            self._rows(keys).update(due=after(timezone.now(), FIRST_RETRY))
            self.counts["retried"] += len(keys)
        again: dict[int, list[DueMail]] = defaultdict(list)
        for row in self._failed:
            again[row.attempts].append(row)
        for attempts, rows in again.items():
            if attempts + 1 >= MAX_ATTEMPTS:
                keys = [row.message_id for row in rows]
                logger.error("Gave up mailing messages %s.", keys)
                self._drop(rows, "given up")
                continue
            pause = min(FIRST_RETRY * 2**attempts, LAST_RETRY)
            due = after(timezone.now(), pause)
            # Keep the claim, so that the retry is the same mail if the server did accept it.
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
    # A replica may not have a user who has just signed up.
    people = model._base_manager.using(router.db_for_write(model)).filter(pk__in=keys)
    return {person.pk: person for person in people}


def _is_reachable(user: Any) -> bool:
    return user is not None and getattr(user, "is_active", True) and bool(address_of(user))


def _is_still_due(row: DueMail, message: Message, choices: Choices) -> bool:
    """Return whether `message` is still to be mailed. Unless mailed at once, it must be unread."""
    if message.has_expired or message.folder in (Folder.TRASH, Folder.TOMBSTONE):
        return False
    if choices.mail(row.user_id, topic_of(message), email=True) == NEVER:
        return False
    if row.choice == NOW:
        return True
    # A message of a topic that is off in the inbox arrived in the archive, without a move.
    has_arrived = message.folder == Folder.INBOX or (
        message.folder == Folder.ARCHIVE and message.moved_at is None
    )
    return has_arrived and not message.read
