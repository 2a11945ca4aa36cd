"""Texts of the toasts for bulk actions and for undo; `views.message` has those for one message."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from persistent_messages.constants import Folder
from persistent_messages.mailbox.changes import Change


def bulk_result_text(change: Change, *, goes_on: bool = False) -> str:
    """Return a text that says what `change` did. `goes_on` says that more steps follow."""
    count = change.count
    if change.action == "undo":
        if goes_on:
            return _("Undoing…")
        return _("Undone.") if count else _("There is nothing left to undo.")
    if not count and not goes_on:
        return _("There was nothing left to change.")
    texts = {
        "read": ngettext(
            "%(count)d message marked as read.", "%(count)d messages marked as read.", count
        ),
        "unread": ngettext(
            "%(count)d message marked as unread.", "%(count)d messages marked as unread.", count
        ),
        "delete": ngettext(
            "%(count)d message permanently deleted.",
            "%(count)d messages permanently deleted.",
            count,
        ),
        "restore": ngettext("%(count)d message restored.", "%(count)d messages restored.", count),
        Folder.ARCHIVE: ngettext(
            "%(count)d message archived.", "%(count)d messages archived.", count
        ),
        Folder.TRASH: ngettext("%(count)d message deleted.", "%(count)d messages deleted.", count),
    }
    return texts[change.target or change.action] % {"count": count}
