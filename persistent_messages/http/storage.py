"""The message storage of a request."""

from __future__ import annotations

from typing import Any

from django.contrib.messages import MessageFailure
from django.http import HttpRequest


def storage_of(request: HttpRequest) -> Any:
    """Return the storage of `request`. Raises `MessageFailure` if it is not the app's storage."""
    storage = getattr(request, "_messages", None)
    if storage is None:
        if not hasattr(request, "META"):
            raise TypeError(
                f"request must be an HttpRequest object, not {type(request).__name__!r}."
            )
        raise MessageFailure(
            "You cannot add messages without installing "
            "django.contrib.messages.middleware.MessageMiddleware"
        )
    if not hasattr(storage, "get_persistent"):
        raise MessageFailure(
            f"The request has a {type(storage).__name__}, which keeps no persistent messages. "
            "MESSAGE_STORAGE must be 'persistent_messages.storage.PersistentMessageStorage'; "
            "a test that builds its own request sets request._messages = "
            "PersistentMessageStorage(request)."
        )
    return storage
