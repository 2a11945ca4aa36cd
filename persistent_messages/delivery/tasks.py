"""A task that sends mail, if the site has `django.tasks` or its backport for Django 5.2."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from uuid import UUID

import django
from django.apps import apps

from persistent_messages.mailbox.writes import primary_database
from persistent_messages.models import DueMail

from .channels import has
from .email import Batch
from .mail import MailChannel
from .server import MailServer

if django.VERSION >= (6, 0):
    framework: Any = import_module("django.tasks")
else:
    framework = import_module("django_tasks") if apps.is_installed("django_tasks") else None


def _send_claimed(keys: list[int], claim: str) -> None:
    """Send the mail that was claimed for this task, unless another process has claimed it since."""
    if not has(MailChannel):
        return
    claimed = DueMail.objects.using(primary_database()).filter(pk__in=keys, claim=claim)
    rows = list(claimed.order_by("pk"))
    if not rows:
        return
    batch = Batch(UUID(claim), rows, min(row.due for row in rows))
    with MailServer() as server:
        batch.send(server)


send_claimed: Any = None
"""The task, or None if the site has no tasks."""
if framework is not None:
    send_claimed = framework.task()(_send_claimed)
