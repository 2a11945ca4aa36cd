"""Check the arguments of a new message before anything is written.

SQLite enforces neither lengths nor ranges, so this module enforces the limits of the columns for
all databases.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as time_zones
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils import timezone

from persistent_messages.constants import is_persistent, storable
from persistent_messages.db.times import as_stored
from persistent_messages.models import KEY_LENGTH, Message
from persistent_messages.topics import topics
from persistent_messages.users.names import name_of

LEVEL_RANGE = range(-(2**15), 2**15)
TIMEOUT_RANGE = range(2**31)
# One day of margin, so that the time can be converted to any time zone.
EARLIEST = datetime.min.replace(tzinfo=time_zones.utc) + timedelta(days=1)
LATEST = datetime.max.replace(tzinfo=time_zones.utc) - timedelta(days=1)
EXTRA_TAGS_LENGTH = 128


def new_message(
    level: int,
    message: Any,
    *,
    subject: Any = "",
    extra_tags: Any = "",
    from_user: Any = None,
    url: str = "",
    expires: datetime | None = None,
    close_timeout: int | None = None,
    key: str | None = None,
    topic: Any = "",
    action: Any = "",
) -> Message:
    """Return an unsaved message without an owner; its text may still be lazy. No query.

    A naive `expires` is taken in the current time zone, or in `TIME_ZONE` if `USE_TZ` is False.
    Raises `TypeError` or `ValueError`, which name the argument and its limits.
    """
    new = Message()  # keyword arguments would take Django twice as long
    new.level = clean_level(level)
    # Text from a user is never safe, even if the caller marked it. The sum drops the mark.
    new.message = message if from_user is None else "" + str(message)
    new.subject = _clean_text("subject", subject)
    new.extra_tags = str(extra_tags or "")
    if is_persistent(new.level):  # one-shot messages take tags of any length, as in Django
        _check_length("extra_tags", new.extra_tags, EXTRA_TAGS_LENGTH)
    if from_user is not None:
        new.from_user_id = _clean_sender(from_user)
        new.from_name, new.name_details = name_of(from_user)
    new.url = clean_url(url)
    new.expires = clean_expires(expires)
    new.close_timeout = clean_close_timeout(close_timeout)
    new.key = clean_key(key)
    if new.key is not None and not is_persistent(new.level):
        raise ValueError(f"key needs a persistent level, not {level!r}.")
    new.topic = clean_topic(topic)
    new.action = _clean_action(action, new.url)
    return new


def clean_level(level: Any) -> int:
    """Return `level` as an integer that fits the column."""
    try:
        number = int(level)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"level must be an integer, not {level!r}.") from None
    if number not in LEVEL_RANGE:
        raise ValueError(
            f"level must lie from {LEVEL_RANGE[0]} to {LEVEL_RANGE[-1]}, not {number}."
        )
    return number


def check_progress(progress: Any) -> None:
    """Raise `TypeError` if `progress` is not None and cannot be called."""
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable, not {progress!r}.")


def clean_user_key(argument: str, user: Any) -> Any:
    """Return the key of `user`, which is a saved user or a key."""
    if isinstance(user, Model) and not isinstance(user, get_user_model()):
        raise TypeError(f"{argument} must be a user, not {user!r}.")
    key = getattr(user, "pk", None) if hasattr(user, "is_authenticated") else user
    if key is None:
        raise ValueError(f"{argument} must be a saved user, not {user!r}.")
    if isinstance(key, (bool, float)):
        raise TypeError(f"{argument} must be a user or a user's key, not {user!r}.")
    field = get_user_model()._meta.pk
    try:
        key = field.to_python(key)
        field.run_validators(key)
    except (ValidationError, TypeError, OverflowError):
        raise TypeError(f"{argument} must be a user or a user's key, not {user!r}.") from None
    return key


def _clean_sender(from_user: Any) -> Any:
    if not isinstance(from_user, Model) and not hasattr(from_user, "is_authenticated"):
        raise TypeError(f"from_user must be a user, not {from_user!r}.")
    return clean_user_key("from_user", from_user)


def _max_length(field: str) -> int:
    column: Any = Message._meta.get_field(field)
    return int(column.max_length)


def _clean_text(argument: str, text: Any) -> str:
    if text is None:
        raise TypeError(f"{argument} must be a text, not None.")
    value = str(text)
    _check_length(argument, value, _max_length(argument))
    return value


def _check_length(argument: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise ValueError(f"{argument} may have {limit} characters at most, not {len(value)}.")


def clean_url(url: str) -> str:
    """Return `url` if it is a path or an http(s) address."""
    value = _clean_text("url", url)
    try:
        scheme = urlsplit(value).scheme
    except ValueError:
        scheme = "unreadable"
    if scheme not in ("", "http", "https"):
        raise ValueError(f"url must be a path or an http(s) address, not {value!r}.")
    if storable(value) != value:
        raise ValueError(f"url must hold no control characters, not {value!r}.")
    return value


def clean_expires(expires: datetime | None) -> datetime | None:
    """Return `expires` as the column stores it, if it is valid in every time zone."""
    return clean_time("expires", expires)


def clean_time(argument: str, moment: datetime | None) -> datetime | None:
    """Return `moment` as a column stores it, if it is valid in every time zone."""
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        raise TypeError(f"{argument} must be a datetime, not {moment!r}.")
    try:
        aware = _aware(moment).astimezone(time_zones.utc)
    except (OverflowError, ValueError):
        aware = None
    if aware is None or not EARLIEST <= aware <= LATEST:
        raise ValueError(f"{argument} must lie in the years 1 to 9999 everywhere, not {moment!r}.")
    # Do not convert a naive time there and back: when clocks change, it may be ambiguous.
    return moment if timezone.is_naive(moment) and not settings.USE_TZ else as_stored(aware)


def _aware(moment: datetime) -> datetime:
    if timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment, None if settings.USE_TZ else timezone.get_default_timezone())


def clean_key(key: str | None) -> str | None:
    """Return `key` stripped of whitespace, if it fits the column; None if it is empty."""
    if key is None:
        return None
    if not isinstance(key, str):
        raise TypeError(f"key must be a str, not {key!r}.")
    # MariaDB ignores trailing spaces in comparisons.
    value = key.strip()
    _check_length("key", value, KEY_LENGTH)
    if storable(value) != value:
        raise ValueError(f"key must hold no control characters, not {value!r}.")
    return value or None


def clean_topic(topic: Any) -> str:
    """Return the name of `topic`, which is a registered topic or its name; "" for no topic."""
    name = getattr(topic, "name", topic)
    if not isinstance(name, str):
        raise TypeError(f"topic must be a Topic or the name of one, not {topic!r}.")
    if name and name not in topics:
        known = ", ".join(map(repr, topics)) or "none"
        raise ValueError(f"topic must be registered, not {name!r}; known: {known}.")
    return name


def _clean_action(action: Any, url: str) -> str:
    value = _clean_text("action", action)
    if value and not url:
        raise ValueError("action needs a url to lead to.")
    return value


def clean_close_timeout(close_timeout: int | None) -> int | None:
    """Return `close_timeout` if it is a number of milliseconds that fits the column."""
    if close_timeout is None:
        return None
    if not isinstance(close_timeout, int):
        raise TypeError(f"close_timeout must be whole milliseconds, not {close_timeout!r}.")
    if close_timeout not in TIMEOUT_RANGE:
        raise ValueError(
            f"close_timeout must lie from 0 to {TIMEOUT_RANGE[-1]}, not {close_timeout}."
        )
    return close_timeout
