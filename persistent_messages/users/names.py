"""How users are named: in rows and letters, in forms, in the admin and in mails."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from persistent_messages.conf import get_config
from persistent_messages.constants import storable

NAME_LENGTH = 150
"""Characters of a name, and of what stands beside it."""
# Enough for two lines of that length, however much a site's function returns.
_MAX_LENGTH = 10 * NAME_LENGTH

# What turns the direction of the text behind it, or is not seen: soft hyphens, zero-width spaces,
# marks, embeddings, overrides, isolates, and control characters.
_MISLEADING = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
# What some scripts and emoji need inside of a name, but shows nothing by itself.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u200c\u200d\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


class Name(NamedTuple):
    """How one user is named to others."""

    name: str
    detail: str = ""
    """What stands beside the name, which others may have as well; often the username."""

    @property
    def label(self) -> str:
        """Both in one line: "Sally Ride (sally)"."""
        return f"{self.name} ({self.detail})" if self.detail else self.name


def join_labels(names: Iterable[Name]) -> str:
    """Return the labels of `names`, separated by commas."""
    return ", ".join(name.label for name in names)


def name_of(user: Any) -> Name:
    """Return how `user` is named, as the setting MAILBOX_NAME has it; no query of ours.

    The name is never blank. Raises `ImproperlyConfigured` if the function of the site does.
    """
    lines = _lines(get_config().call("MAILBOX_NAME", user)) or _lines(mailbox_name(user)) or ["?"]
    return Name(*lines) if len(set(lines)) > 1 else Name(lines[0])


def _lines(text: Any) -> list[str]:
    lines = [] if text is None else str(text)[:_MAX_LENGTH].splitlines()
    # Blank lines do not count, nor what follows the second one.
    return [line for line in map(clean_name, lines) if line][:2]


def clean_name(text: str) -> str:
    """Return `text` on one line, cut to 150 characters, without what is not seen or misleads.

    Returns "" where nothing would be seen of it.
    """
    line = " ".join(_MISLEADING.sub("", storable(text)).split())[:NAME_LENGTH].strip()
    return line if _INVISIBLE.sub("", line).strip() else ""


def display_name(user: Any) -> str:
    """Return the name by which people know `user`; never blank."""
    return name_of(user).name


def mailbox_name(user: Any) -> str:
    """Return the full name, else the username, else the key; the default of MAILBOX_NAME.

    The username stands on a second line where it is another than the name. A username that is a
    mail address is not told to others: there is no second line then, and for a user without a full
    name the part before the "@" is the name. Nor is a full name that is one, as some user models
    have it.
    """
    full_name = clean_name(_full_name(user))
    if is_email_address(full_name):
        full_name = ""
    username = clean_name(str(user.get_username()))
    if is_email_address(username):
        return full_name or clean_name(username.partition("@")[0]) or str(user.pk)
    return "\n".join(filter(None, (full_name, username))) or str(user.pk)


def _full_name(user: Any) -> str:
    # A user model need not have it.
    get_full_name = getattr(user, "get_full_name", None)
    return str(get_full_name() or "")[:_MAX_LENGTH] if callable(get_full_name) else ""


def addressable_name(user: Any) -> str:
    """Return what others type to reach `user`: the username; the name where that is an address."""
    username = str(user.get_username())
    return display_name(user) if is_email_address(username) or not username.strip() else username


def is_email_address(username: str) -> bool:
    """Tell whether `username` looks like a mail address, which others are not told."""
    return bool(_ADDRESS.fullmatch(username))
