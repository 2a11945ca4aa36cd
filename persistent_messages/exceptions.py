"""Exceptions that a site may catch."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ImproperlyConfigured


class LetterRefused(Exception):  # noqa: N818 (what happened, not what went wrong)
    """A letter was not sent, and nothing was written."""

    def __init__(self, argument: str, reason: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(argument, reason)
        self.argument = argument
        """The argument of `send_letter` that is at fault; "from_user" for the sending limit."""
        self.reason = reason
        """The reason, in words for the sender."""
        self.retry_at = retry_at
        """When the sending limit allows the next letter; None for other reasons."""

    def __str__(self) -> str:
        return f"{self.argument}: {self.reason}"


class LettersOff(LetterRefused, ImproperlyConfigured):
    """The setting LETTERS is False."""
