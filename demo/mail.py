"""The mail of the demo site, stored in files that a page shows, so that it needs no mail server."""

import os
import tempfile
import time
from email import message_from_bytes, policy
from itertools import count
from pathlib import Path

from django.core.mail.backends.base import BaseEmailBackend

FOLDER = Path(os.environ.get("MAIL_FOLDER") or Path(tempfile.gettempdir()) / "northbank-mail")
NEWEST = 50
_numbers = count()


class FolderBackend(BaseEmailBackend):
    """Writes each mail to a file."""

    def send_messages(self, email_messages):
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        for mail in email_messages:
            name = f"{time.time_ns()}-{os.getpid()}-{next(_numbers)}.eml"
            (FOLDER / name).write_bytes(mail.message().as_bytes())
        return len(email_messages)


def mails_to(address):
    """Return the mails to an address with the names of their files, newest first."""
    paths = sorted(FOLDER.glob("*.eml"), reverse=True)
    mails = ((path.stem, read(path)) for path in paths)
    return [(name, mail) for name, mail in mails if address and mail["To"] == address][:NEWEST]


def read(path):
    return message_from_bytes(path.read_bytes(), policy=policy.default)
