"""The system check that mail is sent: with `check --database`, and when the site migrates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage
from django.db import connections
from django.utils import formats

from persistent_messages.db.times import ago
from persistent_messages.mailbox.writes import primary_database
from persistent_messages.models import DueMail

PATIENCE = timedelta(hours=1)
"""How long mail may be due: what fails is due again later, so nobody sends what waits longer."""


def check_mail(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Return that mail waits, and nobody sends it. Two queries, in the database of the messages."""
    using = primary_database()
    if using not in (databases or ()) or not _has_table(using):
        return []
    rows = DueMail.objects.using(using).filter(due__lt=ago(PATIENCE)).order_by("due")
    since = rows.values_list("due", flat=True).first()
    if since is None:
        return []
    return [
        checks.Warning(
            f"Mail has been due since {formats.date_format(since, 'Y-m-d H:i')}, and is not sent.",
            hint="Run `manage.py send_due_mail` every minute.",
            id="persistent_messages.W017",
        )
    ]


def _has_table(using: str) -> bool:
    # Before the first migration there is none.
    return DueMail._meta.db_table in connections[using].introspection.table_names()
