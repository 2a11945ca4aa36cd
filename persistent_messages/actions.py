"""What a row of a list offers to do with its message, and where that is."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.conf import settings
from django.urls import NoReverseMatch, get_urlconf, reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext_lazy, pgettext_lazy

from .constants import Folder
from .icons import SVGS

# Stands for what is no key, as a gap of a stencil, while the address is looked up.
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
    names = ("unread" if is_read else "read", *OFFERED[Folder(folder)])
    return [
        Action(
            address_of(kind.view, key),
            str(kind.label) % {"title": title},
            str(kind.title),
            SVGS[name.partition("-")[0]],
            kind.key,
            kind.is_final,
        )
        for name, kind in ((name, KINDS[name]) for name in names)
    ]


def address_of(view: str, key: str) -> str:
    """Return the address of the page `view` of message `key`, which may be what stands for one."""
    return reverse(view, args=[ANY_KEY]).replace(ANY_KEY, key)


class Place(NamedTuple):
    """All that the addresses and the words of a page depend on."""

    urlconf: Any
    language: str | None
    inbox: str
    """The address of the inbox, "" on a site without the URLs of the app.

    Whatever begins it begins the others: where the site is mounted, a language, a tenant.
    """


def place() -> Place:
    """Return where the page of this request is."""
    try:
        inbox = reverse("message_list")
    except NoReverseMatch:
        inbox = ""
    return Place(get_urlconf() or settings.ROOT_URLCONF, get_language(), inbox)
