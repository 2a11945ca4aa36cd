"""Taking an action back: its `Change` travels in the address of the undo button, signed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from django.conf import settings
from django.core import signing

from persistent_messages.constants import Folder

from .changes import Change

UNDO_TAG = "pm-undo"
"""The tag of a message that says what was done, and whose `url` takes it back."""
RESTORE_TAG = "pm-restore"
"""The tag of one that says where a message lies, and whose `url` moves that to the inbox."""
SALT = "persistent_messages.undo"
MAX_AGE = timedelta(days=1)
# Times travel as microseconds since then: short, and exact. Naive ones as if they were of UTC, so
# that they come back as they were stored, whatever the zone, and also where its clocks go back.
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def make_token(user: Any, change: Change) -> str:
    """Return `change` as a text that only `user` can use, for a day."""
    return signing.dumps(
        [
            change.action,
            change.folder.value,
            to_microseconds(change.at),
            None if change.target is None else change.target.value,
        ],
        salt=f"{SALT}.{user.pk}",
    )


def read_token(user: Any, token: str) -> Change | None:
    """Return the change that `token` stands for; None if it is forged, too old, or another's."""
    try:
        values = signing.loads(token, salt=f"{SALT}.{user.pk}", max_age=MAX_AGE)
        action, folder, at, target = values
        return Change(
            action,
            Folder(folder),
            from_microseconds(at),
            target=None if target is None else Folder(target),
        )
    except (signing.BadSignature, OverflowError, ValueError, TypeError):
        return None


def to_microseconds(moment: datetime) -> int:
    """Return `moment` as a token has it: microseconds since 1970."""
    utc = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment
    return (utc - EPOCH) // timedelta(microseconds=1)


def from_microseconds(number: int) -> datetime:
    """Return what `to_microseconds` was given, as the columns hold it."""
    moment = EPOCH + timedelta(microseconds=number)
    return moment if settings.USE_TZ else moment.replace(tzinfo=None)
