"""Send the mail in the outbox: immediately after a commit, or by `manage.py send_due_mail`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from persistent_messages.db.times import after
from persistent_messages.mailbox.locks import take_sqlite_lock
from persistent_messages.mailbox.outbox import LEASE
from persistent_messages.mailbox.writes import primary_database, primary_rows
from persistent_messages.models import DueMail, Message

from . import tasks
from .channels import has
from .email import Batch
from .mail import MailChannel
from .server import MailServer

logger = logging.getLogger(__name__)

BATCH_SIZE = 600
"""The maximum number of users in a claim."""
MAX_CLAIM = 10 * BATCH_SIZE
"""The maximum number of rows in a claim, and of those that are read to find its users."""


def send_at_once(mails: list[tuple[DueMail, Message]], claim: UUID, **_kwargs: Any) -> None:
    """Send `mails`, which this process has claimed with `claim`, or enqueue a task for them.

    A receiver of `mail_due`. One-shot messages are never left to a task, because they may have been
    removed by then.
    """
    queued: list[DueMail] = []
    has_tasks: Any = settings.is_overridden  # type: ignore[misc]
    if tasks.send_claimed is not None and has_tasks("TASKS"):
        queued = [row for row, _message in mails if row.pk is not None]
    if queued:
        tasks.send_claimed.enqueue([row.pk for row in queued], claim.hex)
        mails = [(row, message) for row, message in mails if row.pk is None]
    if mails:
        until = min(row.due for row, _message in mails)
        batch = Batch(claim, [row for row, _message in mails], until)
        with MailServer() as server:
            batch.send_new([message for _row, message in mails], server)


send_at_once.wants = lambda: has(MailChannel)  # type: ignore[attr-defined]


def due_mail() -> QuerySet[DueMail]:
    """Return the due mail, oldest first; none on a site without the mail channel."""
    rows = DueMail.objects.using(primary_database())
    if not has(MailChannel):
        return rows.none()
    return rows.filter(due__lte=timezone.now()).order_by("due", "pk")


def send_due() -> Iterator[Counter[str]]:
    """Send all due mail in batches; yield the `Batch.counts` of each.

    Any number of processes may do so at the same time. Uses one connection to the mail server, and
    stops if the server cannot be reached.
    """
    with MailServer() as server:
        while batch := claim_some():
            batch.send(server)
            yield batch.counts
            if batch.server_is_away:
                return


def claim_some() -> Batch | None:
    """Claim some due mail, with all rows of the same mails; return None if nothing is due.

    A letter that is not due yet is claimed with the due ones of its conversation. Four statements
    in a transaction. Concurrent processes get different users. The returned rows have their
    previous claim.
    """
    using, claim = primary_database(), uuid4()
    with transaction.atomic(using=using):
        take_sqlite_lock(primary_rows())
        users = _locked_users(due_mail().values_list("user_id", flat=True)[:MAX_CLAIM])
        if not users:
            return None
        now = timezone.now()
        may_be_due = Q(due__lte=now) | Q(claim=None, thread__isnull=False)
        rows = DueMail.objects.using(using).filter(may_be_due, user__in=users)
        in_order = _locked(rows.order_by("user", "due", "pk"))[: MAX_CLAIM + 1]
        found = _of_due_mails(_of_whole_users(list(in_order)), now)
        taken = DueMail.objects.using(using).filter(pk__in=[row.pk for row in found])
        until = after(now, LEASE)
        taken.update(claim=claim, due=until)
    return Batch(claim, found, until, early={row.pk for row in found if row.due > now})


def _of_whole_users(rows: list[DueMail]) -> list[DueMail]:
    """Return `rows`, which are in the order of users, without a last user who may have more."""
    if len(rows) <= MAX_CLAIM:
        return rows
    last = rows[-1].user_id
    return [row for row in rows if row.user_id != last] or rows[:MAX_CLAIM]


def _of_due_mails(rows: list[DueMail], now: datetime) -> list[DueMail]:
    """Return the `rows` that are due, and new letters of the conversations that are due."""
    due = {(row.user_id, row.thread) for row in rows if row.due <= now and row.claim is None}
    return [row for row in rows if row.due <= now or (row.user_id, row.thread) in due]


def _locked(rows: QuerySet[Any], **options: Any) -> QuerySet[Any]:
    skips = connections[rows.db].features.has_select_for_update_skip_locked
    return rows.select_for_update(skip_locked=skips, **options)


def _locked_users(found: QuerySet[DueMail, Any]) -> list[Any]:
    """Lock the first users in `found` that no other process has locked; return their keys.

    With locks on the rows of the outbox only, two processes could each claim a part of a digest.
    Two queries, or more if other processes are claiming; one on SQLite, which has a single lock.
    """
    features, keys = connections[found.db].features, list(dict.fromkeys(found))
    parts = (keys[at : at + BATCH_SIZE] for at in range(0, len(keys), BATCH_SIZE))
    if not features.has_select_for_update:
        return next(parts, [])
    people = get_user_model()._base_manager.using(found.db).values_list("pk", flat=True)
    # `no_key` still lets other transactions insert rows that refer to these users.
    people = _locked(people, no_key=features.has_select_for_no_key_update)
    return next(filter(None, (list(people.filter(pk__in=part)) for part in parts)), [])
