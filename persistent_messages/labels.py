"""Names of levels and folders in the interface, and the buttons of forms."""

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
"""The names of levels in the filter menu."""


def level_word(name: str) -> str:
    """Return the name of a level as text, so that color and icon are not the only clue."""
    return str(LEVEL_NAMES[name])


BOX_NAMES = {
    "inbox": _("Inbox"),
    "unread": _("Unread"),
    "archive": _("Archive"),
    "sent": _("Sent"),
    "trash": _("Trash"),
}


class Button(NamedTuple):
    """A button that submits a form."""

    name: str
    label: Any
    is_primary: bool = True
    """Whether it is the default button of its form."""
