"""Names of levels and folders for people, and the buttons of forms."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.utils.translation import gettext_lazy
from django.utils.translation import gettext_lazy as _

LEVEL_NAMES = {
    "error": gettext_lazy("Error"),
    "warning": gettext_lazy("Warning"),
    "success": gettext_lazy("Success"),
    "info": gettext_lazy("Info"),
    "debug": gettext_lazy("Debug"),
}

FILTER_NAMES = {
    "error": _("Problems"),
    "warning": _("Warnings"),
    "success": _("Done"),
    "info": _("Information"),
    "debug": _("Debug"),
}
"""What the filter menu calls the messages of a level."""


def level_word(name: str) -> str:
    """Say a level in a word, which colour and icon only repeat."""
    return str(LEVEL_NAMES[name])


BOX_NAMES = {
    "inbox": _("Inbox"),
    "unread": _("Unread"),
    "archive": _("Archive"),
    "sent": _("Sent"),
    "trash": _("Trash"),
}


class Button(NamedTuple):
    """A button that sends a form."""

    name: str
    label: Any
    is_primary: bool = True
    """A form has one, which the Enter key presses."""
