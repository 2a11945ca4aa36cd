"""One inbox for a Django site: one-shot and persistent messages through one API."""

from typing import TYPE_CHECKING, Any

from django.contrib.messages import MessageFailure, get_level, get_messages, set_level

from .api import (
    add_message,
    aload,
    broadcast,
    debug,
    erase_mailbox,
    error,
    export_mailbox,
    export_preferences,
    info,
    mail_failed,
    prune_messages,
    resolve,
    send_letter,
    send_message,
    success,
    wants,
    warning,
)
from .constants import (
    DEBUG,
    DEFAULT_LEVELS,
    DEFAULT_TAGS,
    ERROR,
    INFO,
    PERSISTENT_MESSAGE_LEVELS,
    SUCCESS,
    WARNING,
    Folder,
)
from .exceptions import LetterRefused
from .signals import letter_reported, letter_sent, mailbox_changed, messages_delivered
from .topics import Topic

if TYPE_CHECKING:
    from .delivery import Channel as Channel
    from .notices import Notice as Notice
    from .notices import audience as audience

# Without Channel, Notice and audience, because `import *` must work before the models are loaded.
__all__ = [
    "DEBUG",
    "DEFAULT_LEVELS",
    "DEFAULT_TAGS",
    "ERROR",
    "INFO",
    "PERSISTENT_MESSAGE_LEVELS",
    "SUCCESS",
    "WARNING",
    "Folder",
    "LetterRefused",
    "MessageFailure",
    "Topic",
    "add_message",
    "aload",
    "broadcast",
    "debug",
    "erase_mailbox",
    "error",
    "export_mailbox",
    "export_preferences",
    "get_level",
    "get_messages",
    "info",
    "letter_reported",
    "letter_sent",
    "mail_failed",
    "mailbox_changed",
    "messages_delivered",
    "prune_messages",
    "resolve",
    "send_letter",
    "send_message",
    "set_level",
    "success",
    "wants",
    "warning",
]


def __getattr__(name: str) -> Any:
    # They need the models, which are not loaded yet when a site's `apps.py` imports this module.
    if name in ("Notice", "audience"):
        from . import notices

        return getattr(notices, name)
    if name == "Channel":
        from . import delivery

        return delivery.Channel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
