"""`manage.py prune_messages`: remove what nobody can see any more."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from persistent_messages import pruning
from persistent_messages.conf import get_config
from persistent_messages.querysets import MessageQuerySet


class Command(BaseCommand):
    """Removes expired messages, and trash older than TRASH_DAYS. Run it every night."""

    help = (
        "Removes expired messages, and messages that lay in the trash for TRASH_DAYS, in batches, "
        "each in a transaction of its own: it can be stopped and started again at any time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take --dry-run."""
        parser.add_argument("--dry-run", action="store_true", help="count, and remove nothing")

    def handle(self, *, dry_run: bool, verbosity: int, **options: Any) -> None:
        """Remove, and tell how far it is and the counts; with --verbosity 0 nothing."""
        for reason, messages in pruning.prunable(get_config().TRASH_DAYS).items():
            count = messages.count() if dry_run else self.remove(reason, messages, verbosity)
            if verbosity > 0:
                verb = "would be removed" if dry_run else "removed"
                self.stdout.write(f"{reason}: {count} {verb}")

    def remove(self, reason: str, messages: MessageQuerySet, verbosity: int) -> int:
        """Remove `messages`, telling how far it is every ten batches; returns how many."""
        count = 0
        for batch, removed in enumerate(pruning.prune(messages), start=1):
            count += removed
            if verbosity > 1 or (verbosity == 1 and batch % 10 == 0):
                self.stdout.write(f"{reason}: {count} so far")
        return count
