"""What callers ask to store, checked argument by argument before anything is written.

SQLite enforces neither lengths nor ranges, so the bounds of the columns are enforced here, on every
database alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from datetime import timezone as time_zones
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.utils import timezone

from .constants import storable

if TYPE_CHECKING:
    from .models import Block, Message, Report

LEVELS = range(-(2**15), 2**15)
TIMEOUTS = range(2**31)
# Wherever somebody reads it, a time zone away from UTC, it is a date.
EARLIEST = datetime.min.replace(tzinfo=time_zones.utc) + timedelta(days=1)
LATEST = datetime.max.replace(tzinfo=time_zones.utc) - timedelta(days=1)
KEYS_AT_A_TIME = 500


@cache
def message_model() -> type[Message]:
    """Return the model, looked up late: the api must be importable before the registry is ready."""
    return apps.get_model("persistent_messages", "Message")


@cache
def block_model() -> type[Block]:
    """Return the model of blocks, looked up late."""
    return apps.get_model("persistent_messages", "Block")


@cache
def report_model() -> type[Report]:
    """Return the model of reports, looked up late."""
    return apps.get_model("persistent_messages", "Report")


def draft(
    level: int,
    message: Any,
    *,
    subject: Any = "",
    extra_tags: Any = "",
    from_user: Any = None,
    url: str = "",
    expires: datetime | None = None,
    close_timeout: int | None = None,
) -> Message:
    """Return an unsaved message without an owner; its text may still be lazy. No query.

    A naive `expires` is taken in the current time zone. Raises `TypeError` or `ValueError`, naming
    the argument and its bound.
    """
    new = message_model()()  # with keyword arguments it takes Django twice as long
    new.level = checked_level(level)
    # What one user writes to another is never safe, whatever the caller marked.
    new.message = message if from_user is None else "" + str(message)
    new.subject = _checked_text("subject", subject)
    new.extra_tags = _checked_text("extra_tags", extra_tags or "")
    if from_user is not None:
        new.from_user_id = _checked_sender(from_user)
        new.from_name = display_name(from_user)
    new.url = checked_url(url)
    new.expires = checked_expires(expires)
    new.close_timeout = checked_timeout(close_timeout)
    return new


def checked_level(level: Any) -> int:
    """Return `level` as a number the column holds."""
    try:
        number = int(level)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"level must be an integer, not {level!r}.") from None
    if number not in LEVELS:
        raise ValueError(f"level must lie from {LEVELS[0]} to {LEVELS[-1]}, not {number}.")
    return number


def checked_user(argument: str, user: Any) -> Any:
    """Return the key of `user`, a saved user or such a key."""
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


def _checked_sender(from_user: Any) -> Any:
    if not isinstance(from_user, Model) and not hasattr(from_user, "is_authenticated"):
        raise TypeError(f"from_user must be a user, not {from_user!r}.")
    return checked_user("from_user", from_user)


def display_name(user: Any) -> str:
    """Return the name by which people know `user`: the full name, else the user name."""
    full_name = getattr(user, "get_full_name", str)()
    name = " ".join(storable(str(full_name or user.get_username())).split())
    return name[: _max_length("from_name")]


def _max_length(field: str) -> int:
    column: Any = message_model()._meta.get_field(field)
    return int(column.max_length)


def _checked_text(argument: str, text: Any) -> str:
    value, limit = str(text), _max_length(argument)
    if len(value) > limit:
        raise ValueError(f"{argument} may have {limit} characters at most, not {len(value)}.")
    return value


def checked_url(url: str) -> str:
    """Return `url` if a browser may be sent there: a path, or an http(s) address."""
    value = _checked_text("url", url)
    if storable(value) != value:
        raise ValueError(f"url must hold no NUL and no lone surrogate, not {value!r}.")
    try:
        scheme = urlsplit(value).scheme
    except ValueError:
        scheme = "unreadable"
    if scheme not in ("", "http", "https"):
        raise ValueError(f"url must be a path or an http(s) address, not {value!r}.")
    return value


def checked_expires(expires: datetime | None) -> datetime | None:
    """Return `expires` as the column holds it, if it is a time in every time zone."""
    if expires is None:
        return None
    if not isinstance(expires, datetime):
        raise TypeError(f"expires must be a datetime, not {expires!r}.")
    try:
        aware = timezone.make_aware(expires) if timezone.is_naive(expires) else expires
        aware = aware.astimezone(time_zones.utc)
    except (OverflowError, ValueError):
        aware = None
    if aware is None or not EARLIEST <= aware <= LATEST:
        raise ValueError(f"expires must lie in the years 1 to 9999 everywhere, not {expires!r}.")
    return aware if settings.USE_TZ else timezone.make_naive(aware)


def checked_timeout(close_timeout: int | None) -> int | None:
    """Return `close_timeout` if it is a number of milliseconds that the column holds."""
    if close_timeout is None:
        return None
    if not isinstance(close_timeout, int):
        raise TypeError(f"close_timeout must be whole milliseconds, not {close_timeout!r}.")
    if close_timeout not in TIMEOUTS:
        raise ValueError(f"close_timeout must lie from 0 to {TIMEOUTS[-1]}, not {close_timeout}.")
    return close_timeout


# Recipients


def recipient_keys(users: Any, using: str) -> Iterator[Any]:
    """Yield the keys of `users`, each once: a user, a key, an iterable of both, or a queryset.

    A queryset is streamed; keys that came without their user are looked up in batches. Raises
    `TypeError` or `ValueError` when it meets a wrong one.
    """
    if isinstance(users, QuerySet):
        return _keys_of_queryset(users, using)
    if isinstance(users, (str, bytes, Model)) or not isinstance(users, Iterable):
        users = [users]
    return _distinct(_existing(iter(users), using))


def _keys_of_queryset(users: QuerySet[Any], using: str) -> Iterator[Any]:
    if not issubclass(users.model, get_user_model()):
        raise TypeError(f"users must be a queryset of users, not of {users.model.__name__}.")
    if users.query.is_sliced or users.query.combinator:
        return _distinct(iter(users.using(using).values_list("pk", flat=True)))
    # In the order of their keys, so that what a join repeats stands side by side.
    keys = users.order_by("pk").values_list("pk", flat=True).distinct()
    return keys.using(using).iterator(chunk_size=2000)


def _distinct(keys: Iterable[Any]) -> Iterator[Any]:
    seen: set[Any] = set()
    for key in keys:
        if key not in seen:
            seen.add(key)
            yield key


def _existing(users: Iterator[Any], using: str) -> Iterator[Any]:
    people = get_user_model()._base_manager.using(using)
    while batch := list(islice(users, KEYS_AT_A_TIME)):
        keys = [checked_user("users", user) for user in batch]
        unseen = {key for key, user in zip(keys, batch, strict=True) if not isinstance(user, Model)}
        if unseen:
            unseen -= set(people.filter(pk__in=unseen).values_list("pk", flat=True))
        if unseen:
            raise ValueError(f"users: there is no user with the key {min(map(repr, unseen))}.")
        yield from keys
