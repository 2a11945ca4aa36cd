"""`manage.py erase_mailbox`: delete all messages of a user."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from persistent_messages import mailbox
from persistent_messages.users.usernames import user_named


class Command(BaseCommand):
    """Erases the mailbox of a user who asks for it. The account stays."""

    help = (
        "Permanently deletes all messages of a user, in batches. Messages that the user sent to "
        "others stay in their mailboxes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("user", type=user_named, help="the username")
        parser.add_argument(
            "--no-input",
            action="store_false",
            dest="interactive",
            help="do not ask for confirmation",
        )

    def handle(self, *, user: Any, interactive: bool, verbosity: int, **options: Any) -> None:
        """Ask for confirmation, erase, and print the number of messages."""
        question = f"Erase all messages of {user.get_username()}? [yes/no] "
        if interactive and input(question) != "yes":
            raise CommandError("Nothing was erased.")
        count = 0
        for removed in mailbox.erase(user):
            count += removed
            if verbosity > 1:
                self.stdout.write(f"{count} so far")
        if verbosity > 0:
            self.stdout.write(f"{count} erased")
