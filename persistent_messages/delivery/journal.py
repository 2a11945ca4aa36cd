"""Which mails of a claim have gone out: a file, since the database hears of them all at once.

Each mail is noted when the server has taken it. Whoever claims the rest of a process that was
killed reads what that had sent, and sends it to nobody twice.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from persistent_messages.conf import get_config

logger = logging.getLogger(__name__)


class Journal:
    """A file for one claim, for its owner alone. Raises `OSError` where there can be none."""

    def __init__(self, claim: UUID) -> None:
        self._path = _path(claim)
        # Nobody else's file, nor one that a link leads to.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL
        self._file = os.open(self._path, flags, 0o600)

    def note(self, keys: Iterable[int]) -> None:
        """Note that what the rows `keys` stand for has gone out; it outlasts this process."""
        os.write(self._file, "".join(f"{key}\n" for key in keys).encode())

    def remove(self) -> None:
        """Remove it: the database knows."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)


def sent_before(claims: Collection[UUID]) -> set[int]:
    """Return the keys of the rows of `claims` that are noted as sent."""
    sent: set[int] = set()
    for claim in claims:
        with suppress(OSError):
            if _path(claim).stat().st_uid == os.getuid():
                # The last line may have been cut off; what it said is tried again.
                lines = _path(claim).read_text().split("\n")[:-1]
                sent |= {int(line) for line in lines if line.isdigit()}
    return sent


def forget(claims: Collection[UUID]) -> None:
    """Remove what is noted for `claims`."""
    for claim in claims:
        with suppress(OSError):
            _path(claim).unlink()


def _path(claim: UUID) -> Path:
    folder = get_config().MAIL_JOURNAL or tempfile.gettempdir()
    return Path(folder) / f"persistent-messages-{claim.hex}.sent"
