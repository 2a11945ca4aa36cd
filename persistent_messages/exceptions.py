"""What a site may catch."""

from __future__ import annotations

from datetime import datetime


class LetterRefused(Exception):  # noqa: N818 (what happened, not what went wrong)
    """A letter was not sent, and nothing of it was written."""

    def __init__(self, argument: str, reason: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(argument, reason)
        self.argument = argument
        """Which argument of `send_letter` is at fault; "from_user" for its rate."""
        self.reason = reason
        """Why, in words for the sender."""
        self.retry_at = retry_at
        """From when on the rate allows a letter again, else None."""

    def __str__(self) -> str:
        return f"{self.argument}: {self.reason}"
