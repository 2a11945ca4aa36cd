"""The settings of the app: the dict `settings.PERSISTENT_MESSAGES`, each key optional."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db.utils import InterfaceError, OperationalError
from django.utils.module_loading import import_string

SETTING = "PERSISTENT_MESSAGES"

_LIVE = re.compile(r"|memory|postgresql|(rediss?|unix)://\S+")
_SITE_URL = re.compile(r"https?://[^\s/?#@]+/?")

Callback: TypeAlias = "str | Callable[..., Any]"
"""A function of the site, or its dotted path."""


Hour: TypeAlias = int
SiteUrl: TypeAlias = str
MailChoice: TypeAlias = str
Live: TypeAlias = str
Paths: TypeAlias = tuple[str, ...]
Folder: TypeAlias = str

PERIODS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
MAX_RATE_PERIOD = max(PERIODS.values())
"""How long a sent letter may count towards the sending limit."""


class Rate(NamedTuple):
    """A number of events in a period."""

    limit: int
    period: timedelta

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Parse "30/h": a number of at least 1, and one of s, m, h, d. Raises `ValueError`."""
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
    """Maximum number of unread persistent messages when iterating `messages`, newest first."""
    STRIP_LETTERS: bool = False
    """Whether iterating `messages` includes unread letters between users."""
    PLAIN_PAGES: Callback = "persistent_messages.http.admin_pages.is_admin_page"
    """A callable `(request) -> bool` for pages where `messages` has one-shot messages only."""
    COUNTER_LIMIT: int = 99
    """The highest unread count that is displayed; above it, the counter shows "99+"."""
    SEARCH_WINDOW: int = 5000
    """The number of rows that one search reads before it offers to search older messages."""
    TRASH_DAYS: int = 30
    """Days that a message stays in the trash before `prune_messages` removes it."""
    LETTERS: bool = False
    """Whether users can write to each other."""
    RECIPIENTS: Callback = "persistent_messages.letters.policy.active_users"
    """A callable `(user) -> QuerySet` of the users that `user` may write to."""
    MAILBOX_NAME: Callback = "persistent_messages.users.names.mailbox_name"
    """A callable `(user) -> str` that returns the name other users see; a second line is shown
    beside the name."""
    MAX_RECIPIENTS: int = 20
    """The maximum number of recipients of a letter."""
    SEND_RATE: str | None = "30/h"
    """The number of letters a user may send per second, minute, hour or day; None: unlimited."""
    LOOKUP_RATE: str | None = "120/m"
    """The number of names a user may look up per second, minute, hour or day, as suggestions or as
    recipients of letters that were not sent; None: unlimited."""
    SUGGEST: Callback = "persistent_messages.letters.autocomplete.suggest"
    """A callable `(user, text)` that returns an iterable of the users, or their keys, that `text`
    may mean. The first 40 of them that RECIPIENTS allows are used."""
    MESSAGE_LENGTH: int = 10_000
    """The maximum number of characters in a letter."""
    MAIL_REPLY_TO: bool = False
    """Whether a mail has the address of the message's sender as Reply-To."""
    SITE_URL: SiteUrl = ""
    """The beginning of URLs in mails, such as "https://example.com"; "" for the domain of
    `django.contrib.sites`, or for no URLs if that is not installed."""
    EMAIL_DELAY: timedelta = timedelta(minutes=15)
    """How long a message must be unread before it is mailed, if its user chose that."""
    DIGEST_HOUR: Hour = 7
    """The hour in TIME_ZONE from which digests are mailed; weekly digests are mailed on Mondays."""
    MAIL_JOURNAL: Folder = ""
    """The directory for the files that record sent mails in case a process is killed; "" for the
    directory of temporary files."""
    MAIL_LETTERS: MailChoice = "unread"
    """How letters are mailed to users who have not chosen: "now", "unread" (if unread after
    EMAIL_DELAY), "daily", "weekly" or "never"."""
    LANGUAGE_OF: Callback = "persistent_messages.users.languages.active_language"
    """A callable `(user) -> str | None` that returns the language code for notices to `user`; None
    for the active language."""
    BROADCAST_REFRESH: int = 10
    """Seconds for which the list of running broadcasts is cached."""
    CHANNELS: Paths = (
        "persistent_messages.delivery.MailChannel",
        "persistent_messages.delivery.LiveChannel",
    )
    """Dotted paths of subclasses of `Channel`, which deliver messages in addition to the inbox."""
    LIVE: Live = ""
    """The broker of live updates on a site under ASGI: the URL of a Redis server, such as
    "redis://127.0.0.1:6379/0"; "postgresql" for the database of the messages; "memory" for a single
    process; or "" for none, so that pages only poll."""
    LIVE_CONNECTIONS: int = 10
    """The maximum number of live connections of a user to one process."""
    MARKDOWN: bool = False
    """Whether the text of a letter is Markdown; needs the extra `markdown`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kind = SETTING_TYPES[field.type]
            if not kind.accepts(value):
                name = f"{SETTING}[{field.name!r}]"
                raise ImproperlyConfigured(f"{name} must be {kind.what}, not {value!r}.")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the function in the setting `name`, and return its result.

        Raises `ImproperlyConfigured`, naming the setting, if the function cannot be imported or
        raises an error; see `naming`.
        """
        callback = getattr(self, name)
        with naming(name):
            function = import_string(callback) if isinstance(callback, str) else callback
            return function(*arguments)

    @property
    def rate(self) -> Rate | None:
        """How many letters one user may send; None for any number."""
        return None if self.SEND_RATE is None else Rate.parse(self.SEND_RATE)

    @property
    def lookup_rate(self) -> Rate | None:
        """How many names one user may look up; None for any number."""
        return None if self.LOOKUP_RATE is None else Rate.parse(self.LOOKUP_RATE)


@contextmanager
def naming(setting: str) -> Iterator[None]:
    """Convert errors of a site's function to `ImproperlyConfigured`, naming `setting`.

    Errors of the database connection and of queries in an event loop are left to the caller.
    """
    try:
        yield
    except (OperationalError, InterfaceError, SynchronousOnlyOperation):
        raise
    except Exception as error:
        words = f"{SETTING}[{setting!r}] failed: {type(error).__name__}: {error}"
        raise ImproperlyConfigured(words) from error


class SettingType(NamedTuple):
    """The valid values of a setting."""

    what: str
    accepts: Callable[[Any], bool]


def _is_rate(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(Rate.parse(value))
    except (AttributeError, TypeError, ValueError):
        return False


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and "." in value


# By annotation, which is a string in this module.
SETTING_TYPES: dict[Any, SettingType] = {
    "int": SettingType(
        "a whole number of at least 1",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
    ),
    "bool": SettingType("True or False", lambda value: isinstance(value, bool)),
    "Callback": SettingType(
        "a callable or its dotted path",
        lambda value: callable(value) or (isinstance(value, str) and "." in value),
    ),
    "timedelta": SettingType(
        "a timedelta of more than nothing",
        lambda value: isinstance(value, timedelta) and value > timedelta(),
    ),
    "Hour": SettingType(
        "an hour from 0 to 23",
        lambda value: type(value) is int and value in range(24),
    ),
    "SiteUrl": SettingType(
        'the beginning of an address such as "https://example.com", or ""',
        lambda value: isinstance(value, str) and (not value or bool(_SITE_URL.fullmatch(value))),
    ),
    "Live": SettingType(
        'the address of a Redis server such as "redis://127.0.0.1:6379/0", "postgresql", "memory" '
        'or ""',
        lambda value: isinstance(value, str) and bool(_LIVE.fullmatch(value)),
    ),
    "Paths": SettingType(
        "a list of dotted paths",
        lambda value: isinstance(value, tuple) and all(map(_is_path, value)),
    ),
    "Folder": SettingType('a folder, or ""', lambda value: isinstance(value, str)),
    "MailChoice": SettingType(
        '"now", "unread", "daily", "weekly" or "never"',
        lambda value: value in ("now", "unread", "daily", "weekly", "never"),
    ),
    "str | None": SettingType('a rate such as "30/h" (s, m, h or d), or None', _is_rate),
}


SETTING_NAMES = [field.name for field in fields(Config)]


def get_config() -> Config:
    """Return the current settings, so that `override_settings` works.

    Raises `ImproperlyConfigured`, naming the key, for an unknown key or an invalid value.
    """
    given: Any = getattr(settings, SETTING, {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"{SETTING} must be a dict, not {given!r}.")
    for key in given:
        if key not in SETTING_NAMES:
            raise ImproperlyConfigured(
                f"{SETTING} has an unknown key {key!r}; known are {', '.join(SETTING_NAMES)}."
            )
    if isinstance(given.get("CHANNELS"), list):
        given = {**given, "CHANNELS": tuple(given["CHANNELS"])}
    try:
        return _checked(**given)
    except TypeError:  # an unhashable value, which is invalid
        return Config(**given)


# Cached because a page reads the settings several times. Typed, so that True is not taken for 1.
@lru_cache(maxsize=8, typed=True)
def _checked(**given: Any) -> Config:
    return Config(**given)
