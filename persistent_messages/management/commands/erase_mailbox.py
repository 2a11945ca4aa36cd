"""`manage.py erase_mailbox`: delete all messages of a user."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from persistent_messages import mailbox
from persistent_messages.users.usernames import user_named


class Command(BaseCommand):
    """Erases a mailbox, for a user who asks for it. The account stays."""

    help = (
        "Deletes all messages of a user for good, in batches. What the user wrote to others stays "
        "in their mailboxes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the user, and --no-input."""
        parser.add_argument("user", help="the name with which the user logs in")
        parser.add_argument(
            "--no-input", action="store_false", dest="interactive", help="do not ask for a yes"
        )

    def handle(self, *, user: str, interactive: bool, verbosity: int, **options: Any) -> None:
        """Ask, erase, and tell how many there were; with --verbosity 0 nothing."""
        found = user_named(user)
        if found is None:
            raise CommandError(f"There is no user named {user!r}.")
        if interactive and input(f"Erase all messages of {user}? [yes/no] ") != "yes":
            raise CommandError("Nothing was erased.")
        count = 0
        for removed in mailbox.erase(found):
            count += removed
            if verbosity > 1:
                self.stdout.write(f"{count} so far")
        if verbosity > 0:
            self.stdout.write(f"{count} erased")
