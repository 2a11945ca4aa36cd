"""Browser-side storage: visitors' messages, and users' messages the database could not take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.messages.storage.base import BaseStorage
from django.contrib.messages.storage.base import Message as ContribMessage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.exceptions import SynchronousOnlyOperation
from django.http.response import HttpResponseBase
from django.utils.functional import cached_property

from persistent_messages.constants import Folder
from persistent_messages.db import outage
from persistent_messages.models import Message
from persistent_messages.users import switches

# Attributes that are added to a visitor's message, so that templates can treat both kinds alike.
MESSAGE_ATTRIBUTES = (
    {name for field in Message._meta.concrete_fields for name in (field.name, field.attname)}
    | {name for name, value in vars(Message).items() if isinstance(value, property)}
    | {"pk"}
) - {"user", "level", "level_tag", "message", "extra_tags", "tags"}

OWNER_TAG = " pm-of-"
"""Precedes the user's key in the tags of a user's message.

The next user of this browser does not see the message."""


class BrowserStorage(BaseStorage):
    """The half of `PersistentMessageStorage` that uses a cookie, or else the session."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The ids of the browser's messages that were shown: equal messages are counted apart.
        self._shown_in_browser: set[int] = set()

    @cached_property
    def fallback(self) -> Any:
        """Django's own storage, for visitors and for what they still have when they log in."""
        return FallbackStorage(self.request)

    @property
    def _user(self) -> Any:
        return outage.known_user(self.request)

    @property
    def _is_switched(self) -> bool:
        """Whether somebody impersonates the user. One-shot messages then stay in the browser.

        In the user's mailbox, the user would read messages meant for the impersonator.
        """
        return self._user is not None and switches.is_switched(self.request)

    @property
    def _is_owners(self) -> bool:
        """Whether this browser may show what waits for the user: nobody impersonates them."""
        user = self._user
        return user is None or not switches.is_impersonated(self.request, user)

    @property
    def _browser_messages(self) -> list[Any]:
        """All messages in the browser, read once; in an event loop only those in the cookie."""
        try:
            messages: list[Any] = self.fallback._loaded_messages
        except SynchronousOnlyOperation:
            return self._cookie_messages
        if "_cookie_messages" in vars(self):  # keep the instances that may have been shown
            messages[: len(self._cookie_messages)] = self._cookie_messages
        return messages

    @cached_property
    def _cookie_messages(self) -> list[Any]:
        return self.fallback.storages[0]._get()[0] or []

    def _browser_messages_of_user(self) -> list[Any]:
        return [_with_message_attributes(m) for m in self._browser_messages if self._is_for_user(m)]

    def _from_browser(self) -> list[Any]:
        """Return the messages in the browser for the user of the request, or for visitors."""
        return [_without_owner(message) for message in self._browser_messages_of_user()]

    def _mark_browser_shown(self, messages: Iterable[Any]) -> None:
        self._shown_in_browser.update(id(message) for message in messages)

    def _store_in_browser(
        self, messages: list[Any], response: HttpResponseBase, *, seen: bool
    ) -> list[Any]:
        """Add `messages` to those in the browser, and remove the shown ones if `seen`.

        Returns the messages that did not fit.
        """
        kept = self._browser_messages
        stay = [m for m in kept if not (seen and id(m) in self._shown_in_browser)]
        if not messages and len(stay) == len(kept):
            return []
        more = to_contrib(messages)
        if owner := self._owner_key_if_known():
            tags = [f"{m.extra_tags or ''}{OWNER_TAG}{owner}" for m in more]
            more = [
                ContribMessage(m.level, m.message, tag) for m, tag in zip(more, tags, strict=True)
            ]
        self._prepare_messages(more)
        unstored: list[Any] = self.fallback._store([*stay, *more], response)
        return unstored

    def _owner_key_if_known(self) -> str:
        user = self._user
        if user is not None:
            return "" if self._is_switched else str(user.pk)
        if not outage.had_outage(self.request):
            return ""
        # A session that is not in the database still knows the key.
        session = self.request.session
        return str(
            outage.fallback_if_unreachable(
                self.request, "session", lambda: session.get(SESSION_KEY, ""), ""
            )
        )

    def _is_for_user(self, message: ContribMessage) -> bool:
        owner = _owner_of(message)
        return not owner or owner == str(getattr(self._user, "pk", None))

    def _prepare_messages(self, messages: Iterable[Any]) -> None:
        for message in messages:
            if isinstance(message, Message):
                message.prepare_text()
            else:
                message._prepare()


def _owner_of(message: ContribMessage) -> str:
    return (message.extra_tags or "").partition(OWNER_TAG)[2]


def _without_owner(message: ContribMessage) -> ContribMessage:
    if not _owner_of(message):
        return message
    tags = (message.extra_tags or "").partition(OWNER_TAG)[0]
    return _with_message_attributes(ContribMessage(message.level, message.message, tags))


def _with_message_attributes(message: ContribMessage) -> ContribMessage:
    """Add the attributes of a user's message to contrib's `message`, and return it.

    They are set on the instance, so that its class and comparisons stay contrib's.
    """
    if "is_persistent" not in vars(message):
        row = Message(level=message.level, message=message.message, folder=Folder.ONE_SHOT)
        row.prepare_text()
        vars(message).update({name: getattr(row, name) for name in MESSAGE_ATTRIBUTES}, user=None)
    return message


def to_contrib(messages: Iterable[Any]) -> list[ContribMessage]:
    """Return `messages` as contrib's: level, tags, and the text with the subject included."""
    return [
        _to_contrib_message(message) if isinstance(message, Message) else message
        for message in messages
    ]


def _to_contrib_message(message: Message) -> ContribMessage:
    message.prepare_text()
    text = str(message) if message.subject else message.message
    return _with_message_attributes(ContribMessage(message.level, text, message.extra_tags))
