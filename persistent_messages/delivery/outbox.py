"""Send the mail in the outbox: immediately after a commit, or by `manage.py send_due_mail`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
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
"""The number of rows that a claim starts with; others of the same mails are added."""
MAX_CLAIM = 4 * BATCH_SIZE


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
    """Return the due mail, oldest first."""
    rows = DueMail.objects.using(primary_database())
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

    Three statements in a transaction, or four on SQLite. Concurrent processes get different rows.
    The returned rows have their previous claim.
    """
    using, claim = primary_database(), uuid4()
    with transaction.atomic(using=using):
        take_sqlite_lock(primary_rows())
        first = list(_locked(due_mail()).values_list("user_id", "thread")[:BATCH_SIZE])
        if not first:
            return None
        threads = {thread for _user, thread in first if thread is not None}
        with_them = Q(due__lte=timezone.now()) | Q(thread__in=threads, claim=None)
        users = {user for user, _thread in first}
        rows = DueMail.objects.using(using).filter(with_them, user__in=users).order_by("pk")
        found = list(_locked(rows)[:MAX_CLAIM])
        taken = DueMail.objects.using(using).filter(pk__in=[row.pk for row in found])
        until = after(timezone.now(), LEASE)
        taken.update(claim=claim, due=until)
    return Batch(claim, found, until)


def _locked(rows: QuerySet[DueMail]) -> QuerySet[DueMail]:
    skips = connections[rows.db].features.has_select_for_update_skip_locked
    return rows.select_for_update(skip_locked=skips)
