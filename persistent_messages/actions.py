"""What a row of a list, or a notice, offers to do with its message: the buttons, made quickly.

A page of the inbox has a hundred of them: addresses are looked up once, not for each message.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.urls import get_script_prefix, get_urlconf, reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext_lazy, pgettext_lazy

from .constants import Folder
from .icons import SVGS

# Stands for a key in an address that is made once.
ANY_KEY = "8765432109876543"


class Action(NamedTuple):
    """A button."""

    url: str
    label: str
    """What a screen reader says: it names the message."""
    title: str
    icon: SafeString
    key: str = ""
    """The key that presses it, "" for none."""
    is_final: bool = False
    """Whether it cannot be undone: then it is a link to a page that asks."""


class Kind(NamedTuple):
    """What the buttons of one kind have in common."""

    view: str
    label: Any
    title: Any
    key: str = ""
    is_final: bool = False


KINDS = {
    "unread": Kind(
        "message_mark_unread",
        gettext_lazy("Mark “%(title)s” as unread"),
        gettext_lazy("Mark as unread"),
        "u",
    ),
    "read": Kind(
        "message_mark_read",
        gettext_lazy("Mark “%(title)s” as read"),
        gettext_lazy("Mark as read"),
        "u",
    ),
    "archive": Kind(
        "message_archive",
        gettext_lazy("Archive “%(title)s”"),
        pgettext_lazy("verb", "Archive"),
        "e",
    ),
    "restore": Kind(
        "message_restore",
        gettext_lazy("Move “%(title)s” to the inbox"),
        gettext_lazy("Move to inbox"),
    ),
    "delete": Kind(
        "message_delete", gettext_lazy("Delete “%(title)s”"), gettext_lazy("Delete"), "Delete"
    ),
    "delete-for-good": Kind(
        "message_delete",
        gettext_lazy("Delete “%(title)s” for good"),
        gettext_lazy("Delete for good"),
        "Delete",
        is_final=True,
    ),
}
# By folder, what can be done beside reading.
OFFERED = {
    Folder.INBOX: ("archive", "delete"),
    Folder.SENT: ("delete",),
    Folder.ARCHIVE: ("restore", "delete"),
    Folder.TRASH: ("restore", "delete-for-good"),
}


def actions_of(folder: int, key: str, title: str, *, is_read: bool) -> list[Action]:
    """Return what can be done with message `key` in `folder`; no query."""
    return [
        action._replace(url=action.url.replace(ANY_KEY, key), label=action.label % {"title": title})
        for action in _actions(Folder(folder), is_read, *place())
    ]


def address_of(view: str, key: str) -> str:
    """Return the address of the page `view` of message `key`, as `reverse` does."""
    return _address(view, *place()).replace(ANY_KEY, key)


def place() -> tuple[Any, str, str | None]:
    """Return all that an address and a word depend on: URLconf, prefix and language."""
    return get_urlconf() or settings.ROOT_URLCONF, get_script_prefix(), get_language()


@lru_cache(maxsize=256)
def _address(view: str, urlconf: Any, _prefix: str, _language: str | None) -> str:
    return reverse(view, urlconf=urlconf, args=[ANY_KEY])


@lru_cache(maxsize=256)
def _actions(folder: Folder, read: bool, *place: Any) -> list[Action]:  # noqa: FBT001 (a state)
    names = ("unread" if read else "read", *OFFERED[folder])
    return [
        Action(
            _address(kind.view, *place),
            str(kind.label),
            str(kind.title),
            SVGS[name.partition("-")[0]],
            kind.key,
            kind.is_final,
        )
        for name, kind in ((name, KINDS[name]) for name in names)
    ]
