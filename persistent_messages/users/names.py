"""The names of users in the inbox, forms, the admin and mails."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from persistent_messages.conf import get_config
from persistent_messages.constants import storable

NAME_LENGTH = 150
"""The maximum length of a name, and of its detail."""
# Enough for two lines of that length, whatever a site's function returns.
_MAX_LENGTH = 10 * NAME_LENGTH

# Characters that change the direction of text or are invisible: soft hyphens, zero-width spaces,
# marks, embeddings, overrides, isolates and control characters.
_MISLEADING = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
# Characters that some scripts and emoji need within a name, but that are invisible by themselves.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u200c\u200d\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


class Name(NamedTuple):
    """The name that other users see."""

    name: str
    detail: str = ""
    """A text that distinguishes users with the same name; often the username."""

    @property
    def label(self) -> str:
        """Name and detail on one line, such as "Sally Ride (sally)"."""
        return f"{self.name} ({self.detail})" if self.detail else self.name


def join_labels(names: Iterable[Name]) -> str:
    """Return the labels of `names`, separated by commas."""
    return ", ".join(name.label for name in names)


def name_of(user: Any) -> Name:
    """Return the name of `user` by the setting MAILBOX_NAME; no query beyond that function's.

    The name is never empty. Raises `ImproperlyConfigured` if the site's function raises an error.
    """
    lines = _lines(get_config().call("MAILBOX_NAME", user)) or _lines(mailbox_name(user)) or ["?"]
    return Name(*lines) if len(set(lines)) > 1 else Name(lines[0])


def _lines(text: Any) -> list[str]:
    lines = [] if text is None else str(text)[:_MAX_LENGTH].splitlines()
    # Ignore empty lines, and everything after the second line.
    return [line for line in map(clean_name, lines) if line][:2]


def clean_name(text: str) -> str:
    """Return `text` on one line of at most 150 characters, without misleading characters.

    Returns "" if nothing visible is left.
    """
    line = " ".join(_MISLEADING.sub("", storable(text)).split())[:NAME_LENGTH].strip()
    return line if _INVISIBLE.sub("", line).strip() else ""


def display_name(user: Any) -> str:
    """Return the name of `user` without its detail; never empty."""
    return name_of(user).name


def mailbox_name(user: Any) -> str:
    """Return the full name, or the username, or the key; the default of MAILBOX_NAME.

    The second line is the username, unless it is the name. Mail addresses are not shown to other
    users: a username that is one makes no second line, and without a full name, the part before the
    "@" is the name. A full name that is a mail address, as in some user models, is ignored.
    """
    full_name = clean_name(_full_name(user))
    if is_email_address(full_name):
        full_name = ""
    username = clean_name(str(user.get_username()))
    if is_email_address(username):
        return full_name or clean_name(username.partition("@")[0]) or str(user.pk)
    return "\n".join(filter(None, (full_name, username))) or str(user.pk)


def _full_name(user: Any) -> str:
    # Some user models do not have the method.
    get_full_name = getattr(user, "get_full_name", None)
    return str(get_full_name() or "")[:_MAX_LENGTH] if callable(get_full_name) else ""


def addressable_name(user: Any) -> str:
    """Return what others type to reach `user`: the username, or the name if it is an address."""
    username = str(user.get_username())
    return display_name(user) if is_email_address(username) or not username.strip() else username


def is_email_address(username: str) -> bool:
    """Return whether `username` looks like a mail address, which other users must not see."""
    return bool(_ADDRESS.fullmatch(username))
