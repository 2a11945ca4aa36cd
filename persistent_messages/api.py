"""The names a site calls. Importable before the app registry is ready."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from django.contrib.messages import MessageFailure
from django.http import HttpRequest

from . import constants, mailbox
from .drafts import draft

if TYPE_CHECKING:
    from .models import Message

P = ParamSpec("P")
R = TypeVar("R")


def add_message(
    request: HttpRequest,
    level: int,
    message: Any,
    extra_tags: Any = "",
    fail_silently: bool = False,  # noqa: FBT001, FBT002 (contrib's signature)
    subject: Any = "",
    user: Any = None,
    email: bool = False,  # noqa: FBT001, FBT002 (the signature of 2011)
    from_user: Any = None,
    expires: datetime | None = None,
    close_timeout: int | None = None,
) -> Message | None:
    """Add a message for `user`, by default the user of the request.

    Does what `django.contrib.messages.add_message` does, and takes more: a persistent level keeps
    the message until somebody deletes it; `email` mails it to its recipient too, after commit;
    `expires` hides it from then on, naive meaning the current time zone; `close_timeout` closes it
    after so many milliseconds, and marks it read.

    Returns the stored row, or None where the message was ignored (empty, or below the recording
    level) or only queued for the end of the response. At most one statement; sends
    `messages_delivered` after commit. Raises `MessageFailure` without the middleware unless
    `fail_silently`, `NotImplementedError` for a persistent level and a visitor, and `TypeError` or
    `ValueError`, naming the argument, before anything is written.
    """
    storage = getattr(request, "_messages", None)
    if storage is None:
        if not hasattr(request, "META"):
            raise TypeError(
                f"request must be an HttpRequest object, not {type(request).__name__!r}."
            )
        if fail_silently:
            return None
        raise MessageFailure(
            "You cannot add messages without installing "
            "django.contrib.messages.middleware.MessageMiddleware"
        )
    if not hasattr(storage, "get_persistent"):
        raise MessageFailure(
            "MESSAGE_STORAGE must be 'persistent_messages.storage.PersistentMessageStorage'."
        )
    stored: Message | None = storage.add(
        level,
        message,
        extra_tags,
        subject=subject,
        user=user,
        email=email,
        from_user=from_user,
        expires=expires,
        close_timeout=close_timeout,
    )
    return stored


def _shortcut(
    name: str, level: int, add: Callable[Concatenate[HttpRequest, int, P], R]
) -> Callable[Concatenate[HttpRequest, P], R]:
    def shortcut(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> R:
        return add(request, level, *args, **kwargs)

    signature = inspect.signature(add)
    parameters = [p for p in signature.parameters.values() if p.name != "level"]
    shortcut.__name__ = shortcut.__qualname__ = name
    shortcut.__doc__ = f"Add a persistent message of the level {name.upper()}; see `add_message`."
    shortcut.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return shortcut  # type: ignore[return-value]


debug = _shortcut("debug", constants.DEBUG, add_message)
info = _shortcut("info", constants.INFO, add_message)
success = _shortcut("success", constants.SUCCESS, add_message)
warning = _shortcut("warning", constants.WARNING, add_message)
error = _shortcut("error", constants.ERROR, add_message)


def send_message(
    users: Any,
    level: int,
    message: Any,
    *,
    subject: Any = "",
    extra_tags: Any = "",
    from_user: Any = None,
    url: str = "",
    expires: datetime | None = None,
    close_timeout: int | None = None,
    email: bool = False,
) -> int:
    """Send a message to users from code without a request; returns how many were stored.

    `users` is a user, a key, an iterable of both, or a queryset of users, which is streamed. Each
    gets one message, however often named; none is stored if one of them is wrong. `url` is where
    the message leads. One insert and one `messages_delivered` a batch, in one transaction. Raises
    `TypeError` or `ValueError`, naming the argument.
    """
    if not message:
        raise ValueError("message must not be empty.")
    new = draft(
        level,
        message,
        subject=subject,
        extra_tags=extra_tags,
        from_user=from_user,
        url=url,
        expires=expires,
        close_timeout=close_timeout,
    )
    return mailbox.deliver_to(users, new, email=email)
