"""Taking an action back: its `Change` travels in the address of the undo button, signed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from django.conf import settings
from django.core import signing
from django.utils.timezone import make_naive

from .constants import Folder
from .mailbox import Change

UNDO = "pm-undo"
"""The tag of a message that says what was done, and whose `url` takes it back."""
SALT = "persistent_messages.undo"
MAX_AGE = timedelta(days=1)
# Times travel as microseconds since then: short, and exact.
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def token(user: Any, change: Change) -> str:
    """Return `change` as a text that only `user` can use, for a day."""
    return signing.dumps(
        [
            change.action,
            change.folder.value,
            int(change.at.timestamp()) * 10**6 + change.at.microsecond,
            None if change.target is None else change.target.value,
        ],
        salt=f"{SALT}.{user.pk}",
    )


def change_of(user: Any, token: str) -> Change | None:
    """Return the change that `token` stands for; None if it is forged, too old, or another's."""
    try:
        values = signing.loads(token, salt=f"{SALT}.{user.pk}", max_age=MAX_AGE)
        action, folder, at, target = values
        return Change(
            action,
            Folder(folder),
            _as_stored(EPOCH + timedelta(microseconds=at)),
            target=None if target is None else Folder(target),
        )
    except (signing.BadSignature, OverflowError, ValueError, TypeError):
        return None


def _as_stored(moment: datetime) -> datetime:
    return moment if settings.USE_TZ else make_naive(moment)
