"""`manage.py export_mailbox`: all that is kept for a user, as JSON Lines."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from persistent_messages.inbox.export import export_lines
from persistent_messages.users.usernames import user_named


class Command(BaseCommand):
    """Writes a mailbox to the standard output, for a user who asks for their data."""

    help = (
        "Writes all messages of a user as JSON Lines, one object a line: "
        "manage.py export_mailbox sally > sally.jsonl"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the user."""
        parser.add_argument("user", help="the name with which the user logs in")

    def handle(self, *, user: str, **options: Any) -> None:
        """Write a line at a time: memory stays flat."""
        found = user_named(user)
        if found is None:
            raise CommandError(f"There is no user named {user!r}.")
        for line in export_lines(found):
            self.stdout.write(line, ending="")
