"""One inbox for a Django site: one-shot and persistent messages through one API."""

from django.contrib.messages import MessageFailure, get_level, get_messages, set_level

from .api import add_message, debug, error, info, send_message, success, warning
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
from .letters import send_letter
from .signals import letter_reported, letter_sent, mailbox_changed, messages_delivered

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
    "add_message",
    "debug",
    "error",
    "get_level",
    "get_messages",
    "info",
    "letter_reported",
    "letter_sent",
    "mailbox_changed",
    "messages_delivered",
    "send_letter",
    "send_message",
    "set_level",
    "success",
    "warning",
]
