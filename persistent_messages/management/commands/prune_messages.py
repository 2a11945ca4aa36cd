"""`manage.py prune_messages`: remove messages that no user can see any more."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from persistent_messages.conf import get_config
from persistent_messages.mailbox import outbox, pruning


class Command(BaseCommand):
    """Removes messages that no user can see any more. Run it every night."""

    help = (
        "Removes expired messages, one-shot messages that were not shown for 90 days, messages "
        "that have been in the trash for TRASH_DAYS, mail that was not sent for 30 days, and the "
        "receipts of broadcasts that ended 90 days ago. Each batch has its own transaction, so it "
        "can be stopped and started again at any time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("--dry-run", action="store_true", help="only count, remove nothing")
        parser.add_argument(
            "--read-older-than",
            type=int,
            metavar="DAYS",
            help="also remove messages in the inbox that were read more than this many days ago",
        )

    def handle(
        self, *, dry_run: bool, read_older_than: int | None, verbosity: int, **options: Any
    ) -> None:
        """Remove the messages, and print the progress and the counts."""
        try:
            found = pruning.all_sources(get_config().TRASH_DAYS, read_older_than)
        except ValueError as error:
            raise CommandError(str(error)) from None
        if not dry_run:
            outbox.bring_forward()
        for reason, sources in found.items():
            if dry_run:
                count = sum(source.order_by().count() for source in sources)
            else:
                count = self.remove(reason, sources, verbosity)
            if verbosity > 0:
                verb = "would be removed" if dry_run else "removed"
                self.stdout.write(f"{reason}: {count} {verb}")

    def remove(self, reason: str, sources: Iterable[QuerySet[Any]], verbosity: int) -> int:
        """Remove `sources`, and print the progress every ten batches; return how many."""
        count = 0
        batches = chain.from_iterable(map(pruning.prune, sources))
        for batch, removed in enumerate(batches, start=1):
            count += removed
            if verbosity > 1 or (verbosity == 1 and batch % 10 == 0):
                self.stdout.write(f"{reason}: {count} so far")
        return count
