"""A file with the mails of a claim that have been sent, as the database is updated only at the end.

Each mail is noted as soon as the server has accepted it. If a process is killed, the one that
claims the rest reads the journal, so that no mail is sent twice.
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
    """A file for one claim, readable only by its owner. Raises `OSError` if it cannot be made."""

    def __init__(self, claim: UUID) -> None:
        self._path = _path(claim)
        # Never open an existing file, or one that a symbolic link leads to.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL
        self._file = os.open(self._path, flags, 0o600)

    def note(self, keys: Iterable[int]) -> None:
        """Note the rows `keys` as sent. The note survives if this process is killed."""
        os.write(self._file, "".join(f"{key}\n" for key in keys).encode())

    def remove(self) -> None:
        """Remove the file, after the database has been updated."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)


def sent_before(claims: Collection[UUID]) -> set[int]:
    """Return the keys of rows that are noted as sent in the journals of `claims`."""
    sent: set[int] = set()
    for claim in claims:
        with suppress(OSError):
            if _path(claim).stat().st_uid == os.getuid():
                # The last line may be incomplete; its mail is sent again.
                lines = _path(claim).read_text().split("\n")[:-1]
                sent |= {int(line) for line in lines if line.isdigit()}
    return sent


def forget(claims: Collection[UUID]) -> None:
    """Remove the journals of `claims`."""
    for claim in claims:
        with suppress(OSError):
            _path(claim).unlink()


def _path(claim: UUID) -> Path:
    folder = get_config().MAIL_JOURNAL or tempfile.gettempdir()
    return Path(folder) / f"persistent-messages-{claim.hex}.sent"
