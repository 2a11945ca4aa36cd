"""`manage.py export_mailbox`: print everything that is stored about a user as JSON Lines."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from persistent_messages.inbox.export import export_lines
from persistent_messages.users.usernames import user_named


class Command(BaseCommand):
    """Writes the mailbox of a user who asks for their data to the standard output."""

    help = (
        "Writes all messages of a user as JSON Lines, one object on each line: "
        "manage.py export_mailbox sally > sally.jsonl"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("user", type=user_named, help="the username")

    def handle(self, *, user: Any, **options: Any) -> None:
        """Write one line at a time, so that memory use is constant."""
        for line in export_lines(user.pk):
            self.stdout.write(line, ending="")
