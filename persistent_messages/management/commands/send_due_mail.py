"""`manage.py send_due_mail`: send the mail that is due."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand

from persistent_messages.delivery import outbox


class Command(BaseCommand):
    """Sends due mail. Run it about once a minute."""

    help = (
        "Sends the mail that is due: messages that are still unread, digests and retries. Several "
        "processes can run it at the same time, and it can be stopped at any time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("--dry-run", action="store_true", help="only count, send nothing")

    def handle(self, *, dry_run: bool, verbosity: int, **options: Any) -> None:
        """Send the mail, and print the progress and the counts."""
        if dry_run:
            self.stdout.write(f"{outbox.due_mail().count()} messages are due")
            return
        total: Counter[str] = Counter()
        for number, counts in enumerate(outbox.send_due(), start=1):
            total += counts
            if verbosity > 1 or (verbosity == 1 and number % 10 == 0):
                self.stdout.write(f"{_said(total)} so far")
        if verbosity > 0:
            self.stdout.write(_said(total))


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in ("sent", *sorted({*counts} - {"sent"})))
