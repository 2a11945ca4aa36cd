"""Undo tokens: the URL of an undo button has the signed `Change` in it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from django.conf import settings
from django.core import signing

from persistent_messages.constants import Folder

from .changes import Change

UNDO_TAG = "pm-undo"
"""The tag of a toast that says what was done. Its `url` undoes it."""
RESTORE_TAG = "pm-restore"
"""The tag of a toast that says which folder a message is in. Its `url` moves it to the inbox."""
SALT = "persistent_messages.undo"
MAX_AGE = timedelta(days=1)
# A token has times as microseconds since the epoch: short and exact. Naive times are taken as UTC,
# so that they come back as they were stored in any time zone, even when its clocks go back.
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def make_token(user: Any, change: Change) -> str:
    """Return a token for `change` that only `user` can use, for one day."""
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
    """Return the change in `token`; None if it is forged, too old or made for another user."""
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
    """Return `moment` as the number of microseconds since 1970."""
    utc = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment
    return (utc - EPOCH) // timedelta(microseconds=1)


def from_microseconds(number: int) -> datetime:
    """Return the inverse of `to_microseconds`, naive if the columns are."""
    moment = EPOCH + timedelta(microseconds=number)
    return moment if settings.USE_TZ else moment.replace(tzinfo=None)
