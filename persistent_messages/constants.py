"""Levels, folders, and the characters that can be stored."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

from django.contrib.messages import constants as contrib

from . import conflicts as conflicts  # raises if another distribution shares the package

PERSISTENT_OFFSET: Final = 100
"""The difference between a persistent level and the corresponding one-shot level."""

DEBUG: Final = contrib.DEBUG + PERSISTENT_OFFSET
INFO: Final = contrib.INFO + PERSISTENT_OFFSET
SUCCESS: Final = contrib.SUCCESS + PERSISTENT_OFFSET
WARNING: Final = contrib.WARNING + PERSISTENT_OFFSET
ERROR: Final = contrib.ERROR + PERSISTENT_OFFSET

DEFAULT_TAGS: Final[dict[int, str]] = {
    level + PERSISTENT_OFFSET: tag for level, tag in contrib.DEFAULT_TAGS.items()
}
DEFAULT_LEVELS: Final[dict[str, int]] = {
    name: level + PERSISTENT_OFFSET for name, level in contrib.DEFAULT_LEVELS.items()
}
PERSISTENT_MESSAGE_LEVELS: Final = (DEBUG, INFO, SUCCESS, WARNING, ERROR)


class Folder(IntEnum):
    """The folder of a row in its owner's mailbox. The numbers are stored in the database."""

    ONE_SHOT = 0
    """Waits to be shown once, and is then removed."""
    INBOX = 1
    SENT = 2
    ARCHIVE = 3
    TRASH = 4
    TOMBSTONE = 5
    """A letter that its sender permanently deleted: an empty row that still counts as sent."""


# PostgreSQL stores no NUL, no database half a surrogate pair, and XML cannot hold the others:
# one of them in a table makes `dumpdata --format xml` fail.
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def storable(text: str) -> str:
    """Return `text` without invisible characters that cannot be stored or dumped."""
    return _UNSTORABLE.sub("", text)


def is_persistent(level: int) -> bool:
    """Return whether `level` is persistent: from 101 to 199."""
    return PERSISTENT_OFFSET < level < 2 * PERSISTENT_OFFSET


def base_level(level: int) -> int:
    """Return the corresponding level of `django.contrib.messages`: 40 for both 140 and 40."""
    return level - PERSISTENT_OFFSET if is_persistent(level) else level


def level_name(level: int) -> str:
    """Return the name of `level` in icons and CSS classes; "info" for a site's own level."""
    return contrib.DEFAULT_TAGS.get(base_level(level), "info")
