"""The buttons of a row, and the URLs that they post to."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse
from django.utils.translation import get_language, gettext, gettext_lazy, pgettext_lazy

from persistent_messages.constants import Folder

from .icons import SVGS

# Stands for the key of a message while a URL is reversed.
KEY_PLACEHOLDER = "8765432109876543"


class PageContext(NamedTuple):
    """Everything that the URLs and texts of a page depend on."""

    urlconf: Any
    language: str | None
    inbox: str
    """The URL of the inbox; "" on a site without the URLs of the app.

    Its prefix, such as a script name, a language or a tenant, is the prefix of all other URLs.
    """


MEMO = "_pm_places"


def page_context(request: HttpRequest | None = None) -> PageContext:
    """Return the context of the current page, cached on `request` if that is given."""
    memo = {} if request is None else vars(request).setdefault(MEMO, {})
    urlconf, language = get_urlconf(), get_language()
    key = (urlconf, language, get_script_prefix())
    if key not in memo:
        memo[key] = PageContext(urlconf or settings.ROOT_URLCONF, language, _address_of_inbox())
    return cast("PageContext", memo[key])


def _address_of_inbox() -> str:
    try:
        return reverse("message_list")
    except NoReverseMatch:
        return ""


def address_of(view: str, key: str) -> str:
    """Return the URL of `view` for the message `key`."""
    return reverse(view, args=[KEY_PLACEHOLDER]).replace(KEY_PLACEHOLDER, key)


def address_pattern(view: str) -> str:
    """Return the escaped URL of `view` as a `%` pattern of the message's `key`."""
    return literal(address_of(view, "\0")).replace("\0", "%(key)s")


class ActionType(NamedTuple):
    """The properties that all buttons of one kind share."""

    view: str
    label: Any
    """The accessible name, which includes the title of the message."""
    title: Any
    key: str = ""
    """The keyboard shortcut, or ""."""
    is_final: bool = False
    """Whether it cannot be undone. It is then a link to a page that asks for confirmation."""


ACTION_TYPES = {
    "unread": ActionType(
        "message_mark_unread",
        gettext_lazy("Mark “%(title)s” as unread"),
        gettext_lazy("Mark as unread"),
        "u",
    ),
    "read": ActionType(
        "message_mark_read",
        gettext_lazy("Mark “%(title)s” as read"),
        gettext_lazy("Mark as read"),
        "u",
    ),
    "archive": ActionType(
        "message_archive",
        gettext_lazy("Archive “%(title)s”"),
        pgettext_lazy("verb", "Archive"),
        "e",
    ),
    "restore": ActionType(
        "message_restore",
        gettext_lazy("Move “%(title)s” to the inbox"),
        gettext_lazy("Move to inbox"),
    ),
    "delete": ActionType(
        "message_delete", gettext_lazy("Delete “%(title)s”"), gettext_lazy("Delete"), "Delete"
    ),
    "delete-permanently": ActionType(
        "message_delete",
        gettext_lazy("Permanently delete “%(title)s”"),
        gettext_lazy("Delete permanently"),
        "Delete",
        is_final=True,
    ),
}
# The actions in each folder, in addition to marking as read or unread.
ACTIONS_BY_FOLDER = {
    Folder.INBOX: ("archive", "delete"),
    Folder.SENT: ("delete",),
    Folder.ARCHIVE: ("restore", "delete"),
    Folder.TRASH: ("restore", "delete-permanently"),
}


class RowButtons(NamedTuple):
    """The properties of a row that its buttons depend on."""

    folder: int
    is_read: bool
    is_sent: bool
    """Sent messages cannot be marked as read or unread."""
    has_url: bool
    has_action: bool
    """Whether the button that opens the URL has its own label."""
    takes_focus: bool
    """Whether the first action takes the focus."""


@lru_cache(512)
def actions_pattern(page: PageContext, row: RowButtons) -> str:  # noqa: ARG001 (part of the key)
    """Return the HTML of a row's actions as a `%` pattern of `key`, `title`, `action` and `back`.

    The actions are more than half of the markup of a row, and a list has only three or four
    patterns. Labels are translated once for each language, not for each message.
    """
    marks = () if row.is_sent else ("unread" if row.is_read else "read",)
    names = (*marks, *ACTIONS_BY_FOLDER[Folder(row.folder)])
    focused = names[0] if row.takes_focus else ""
    buttons = [_open_button(has_action=row.has_action)] if row.has_url else []
    buttons += [_action_button(name, takes_focus=name == focused) for name in names]
    # On devices without hover, the menu button reveals the others. The style sheet hides it
    # elsewhere.
    return (
        '<details class="pm-menu" name="pm-menu">'
        '<summary class="pm-btn pm-btn--quiet pm-btn--icon" '
        f'aria-label="{escape(gettext("Actions for “%(title)s”"))}">{SVGS["more"]}</summary>'
        '</details><div class="pm-row-actions">'
        '<output hidden class="pm-part-%(key)s" name="pm-row">%(key)s</output>'
        f"{''.join(buttons)}</div>"
    )


def _action_button(name: str, *, takes_focus: bool) -> str:
    action = ACTION_TYPES[name]
    url = address_pattern(action.view)
    key = f' data-pm-key="{action.key}"' if action.key else ""
    icon = SVGS[name.partition("-")[0]]
    names = f'aria-label="{escape(str(action.label))}" title="{literal(str(action.title))}"'
    if action.is_final:
        return (
            f'<a class="pm-btn pm-btn--quiet pm-btn--icon"{key} href="{url}%(back)s" {names}>'
            f"{icon}</a>"
        )
    return (
        '<button class="pm-btn pm-btn--quiet pm-btn--icon" '
        f"""hx-vals='{{"pm-from": "row"}}'{key} formaction="{url}" hx-post="{url}" """
        'hx-swap="none settle:0ms" hx-include=".pm-part, .pm-part-%(key)s"'
        f"{' data-pm-focus' * takes_focus} {names}>{icon}</button>"
    )


def _open_button(*, has_action: bool) -> str:
    label = "%(action)s, %(title)s" if has_action else escape(gettext("Open “%(title)s”"))
    title = "%(action)s" if has_action else literal(gettext("Open"))
    return (
        '<button class="pm-btn pm-btn--quiet pm-btn--icon" '
        f'formaction="{address_pattern("message_open")}" '
        f'aria-label="{label}" title="{title}">{SVGS["open"]}</button>'
    )


def literal(text: str) -> str:
    """Return `text` escaped, as a literal part of a `%` pattern."""
    return escape(text).replace("%", "%%")
