"""The settings of the app: the dict `settings.PERSISTENT_MESSAGES`, each key optional."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

SETTING = "PERSISTENT_MESSAGES"


PERIODS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


class Rate(NamedTuple):
    """So many in such a time."""

    limit: int
    period: timedelta

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read "30/h": a number of at least 1, and one of s, m, h, d. Raises `ValueError`."""
        limit, _, period = text.partition("/")
        if period not in PERIODS or not limit.isascii() or not limit.isdigit() or int(limit) < 1:
            raise ValueError(text)
        return cls(int(limit), PERIODS[period])


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings in force."""

    PAGE_SIZE: int = 25
    """Messages on a page of the inbox."""
    STRIP_LIMIT: int = 10
    """Unread persistent messages that iterating `messages` hands out, newest first."""
    COUNTER_LIMIT: int = 99
    """What the counter counts to; above it says "99+"."""
    SEARCH_WINDOW: int = 5000
    """Rows of a list that one search looks at, before it offers to search further back."""
    TRASH_DAYS: int = 30
    """Days that `prune_messages` leaves a message in the trash."""
    LETTERS: bool = False
    """Whether users write to each other."""
    RECIPIENTS: str = "persistent_messages.policy.active_users"
    """Dotted path of a callable `(user) -> QuerySet` of those to whom `user` may write."""
    MAX_RECIPIENTS: int = 20
    """How many one letter may go to."""
    SEND_RATE: str | None = "30/h"
    """How many letters one user may send in a second, minute, hour or day ("30/h"); None: any."""
    MESSAGE_LENGTH: int = 10_000
    """Characters that a letter may have."""
    MARKDOWN: bool = False
    """Whether the text of a letter is Markdown; needs the extra `markdown`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kind = KINDS[field.type]
            if not kind.accepts(value):
                name = f"{SETTING}[{field.name!r}]"
                raise ImproperlyConfigured(f"{name} must be {kind.what}, not {value!r}.")

    @property
    def rate(self) -> Rate | None:
        """How many letters one user may send; None for any number."""
        return None if self.SEND_RATE is None else Rate.parse(self.SEND_RATE)


class Kind(NamedTuple):
    """What a setting may be."""

    what: str
    accepts: Callable[[Any], bool]


def _is_rate(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(Rate.parse(value))
    except (AttributeError, TypeError, ValueError):
        return False


# By annotation, which is a string here.
KINDS: dict[Any, Kind] = {
    "int": Kind(
        "a whole number of at least 1",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
    ),
    "bool": Kind("True or False", lambda value: isinstance(value, bool)),
    "str": Kind("a dotted path", lambda value: isinstance(value, str) and "." in value),
    "str | None": Kind('a rate such as "30/h" (s, m, h or d), or None', _is_rate),
}


KNOWN = [field.name for field in fields(Config)]


def get_config() -> Config:
    """Return the settings as they are now, so `override_settings` is followed.

    Raises `ImproperlyConfigured`, naming the key, for an unknown key or an impossible value.
    """
    given: Any = getattr(settings, SETTING, {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"{SETTING} must be a dict, not {given!r}.")
    for key in given:
        if key not in KNOWN:
            raise ImproperlyConfigured(
                f"{SETTING} has an unknown key {key!r}; known are {', '.join(KNOWN)}."
            )
    try:
        return _checked(**given)
    except TypeError:  # no setting is a list or the like
        return Config(**given)


# A page asks several times. By the values, and by their types: True is no 1 here.
@lru_cache(maxsize=8, typed=True)
def _checked(**given: Any) -> Config:
    return Config(**given)
