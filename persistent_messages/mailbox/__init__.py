"""Every write to a mailbox. Each write is set-based and sends its signal after commit."""

from .changes import (
    Change,
    ChangeFunction,
    archive,
    delete,
    mark_read,
    mark_thread_read,
    mark_unread,
    remove_one_shots,
    restore,
    undo,
    undoable_rows,
)
from .copies import edit_copies, remove_copies
from .delivery import deliver, deliver_to
from .erasure import erase
from .keyed import resolve

__all__ = [
    "Change",
    "ChangeFunction",
    "archive",
    "delete",
    "deliver",
    "deliver_to",
    "edit_copies",
    "erase",
    "mark_read",
    "mark_thread_read",
    "mark_unread",
    "remove_copies",
    "remove_one_shots",
    "resolve",
    "restore",
    "undo",
    "undoable_rows",
]
