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

_SITE_URL = re.compile(r"https?://[^\s/?#@]+/?")

Callback: TypeAlias = "str | Callable[..., Any]"
"""A function of the site, or its dotted path."""


Hour: TypeAlias = int
SiteUrl: TypeAlias = str
MailChoice: TypeAlias = str
Folder: TypeAlias = str

PERIODS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
MAX_RATE_PERIOD = max(PERIODS.values())
"""How long a sent letter may count against what its sender may send."""


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
    STRIP_LETTERS: bool = False
    """Whether iterating `messages` hands out unread letters between users, too."""
    PLAIN_PAGES: Callback = "persistent_messages.http.admin_pages.is_admin_page"
    """A callable `(request) -> bool`: where iterating `messages` hands out one-shot ones only."""
    COUNTER_LIMIT: int = 99
    """What the counter counts to; above it says "99+"."""
    SEARCH_WINDOW: int = 5000
    """Rows of a list that one search looks at, before it offers to search further back."""
    TRASH_DAYS: int = 30
    """Days that `prune_messages` leaves a message in the trash."""
    LETTERS: bool = False
    """Whether users write to each other."""
    RECIPIENTS: Callback = "persistent_messages.letters.policy.active_users"
    """A callable `(user) -> QuerySet` of the users to whom `user` may write."""
    MAILBOX_NAME: Callback = "persistent_messages.users.names.mailbox_name"
    """A callable `(user) -> str` of the name by which others know `user`; what it has on a second
    line stands beside the name."""
    MAX_RECIPIENTS: int = 20
    """How many one letter may go to."""
    SEND_RATE: str | None = "30/h"
    """How many letters one user may send in a second, minute, hour or day ("30/h"); None: any."""
    LOOKUP_RATE: str | None = "120/m"
    """How many names one user may look up, as completions and as recipients that got no letter, in
    a second, minute, hour or day; None: any."""
    SUGGEST: Callback = "persistent_messages.letters.autocomplete.suggest"
    """A callable `(user, text)` that returns users, or their keys, whom `text` may begin to name,
    as a QuerySet or another iterable; of those whom RECIPIENTS names the first 40 count."""
    MESSAGE_LENGTH: int = 10_000
    """Characters that a letter may have."""
    MAIL_REPLY_TO: bool = False
    """Whether a mail of a message that has a sender shows the sender's address, as Reply-To."""
    SITE_URL: SiteUrl = ""
    """The beginning of addresses in mails, such as "https://example.com"; "" for that of the app
    `django.contrib.sites`, and no addresses where that is not installed."""
    EMAIL_DELAY: timedelta = timedelta(minutes=15)
    """How long a message waits to be read before it is mailed, where its reader chose that."""
    DIGEST_HOUR: Hour = 7
    """The hour of TIME_ZONE from which digests are mailed; weekly ones on Mondays."""
    MAIL_JOURNAL: Folder = ""
    """The folder of the files that say which mails went out before a process was killed; "" for
    that of temporary files."""
    MAIL_LETTERS: MailChoice = "unread"
    """How letters are mailed to users who have not chosen: "now", "unread" (if unread after
    EMAIL_DELAY), "daily", "weekly" or "never"."""
    LANGUAGE_OF: Callback = "persistent_messages.users.languages.active_language"
    """A callable `(user) -> str | None`, the code of the language in which `user` reads notices;
    None for the active language."""
    BROADCAST_REFRESH: int = 10
    """Seconds for which the list of running broadcasts is cached."""
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
        """Call the function of the site that the setting `name` holds, and return its result.

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
    """Raise `ImproperlyConfigured`, naming `setting`, for what a function of the site raises.

    Not for a database that does not answer, nor for a query in an event loop: whoever calls copes
    with these.
    """
    try:
        yield
    except (OperationalError, InterfaceError, SynchronousOnlyOperation):
        raise
    except Exception as error:
        words = f"{SETTING}[{setting!r}] failed: {type(error).__name__}: {error}"
        raise ImproperlyConfigured(words) from error


class SettingType(NamedTuple):
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
    "Folder": SettingType('a folder, or ""', lambda value: isinstance(value, str)),
    "MailChoice": SettingType(
        '"now", "unread", "daily", "weekly" or "never"',
        lambda value: value in ("now", "unread", "daily", "weekly", "never"),
    ),
    "str | None": SettingType('a rate such as "30/h" (s, m, h or d), or None', _is_rate),
}


SETTING_NAMES = [field.name for field in fields(Config)]


def get_config() -> Config:
    """Return the settings as they are now, so `override_settings` is followed.

    Raises `ImproperlyConfigured`, naming the key, for an unknown key or an impossible value.
    """
    given: Any = getattr(settings, SETTING, {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"{SETTING} must be a dict, not {given!r}.")
    for key in given:
        if key not in SETTING_NAMES:
            raise ImproperlyConfigured(
                f"{SETTING} has an unknown key {key!r}; known are {', '.join(SETTING_NAMES)}."
            )
    try:
        return _checked(**given)
    except TypeError:  # no setting is a list or the like
        return Config(**given)


# A page asks several times. By the values, and by their types: True is no 1 here.
@lru_cache(maxsize=8, typed=True)
def _checked(**given: Any) -> Config:
    return Config(**given)
