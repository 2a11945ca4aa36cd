"""What a browser carries: messages of visitors, and those of users that could not be stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.messages.storage.base import BaseStorage
from django.contrib.messages.storage.base import Message as ContribMessage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.http.response import HttpResponseBase
from django.utils.functional import cached_property

from . import outage
from .models import Message

OWNER = " pm-of-"
"""In the tags of what is carried for a user, before the key: the next one to sign in is another."""


class CarryingStorage(BaseStorage):
    """The half of `PersistentMessageStorage` that lies in a cookie, or else in the session."""

    @cached_property
    def fallback(self) -> Any:
        """Django's own storage: that of visitors, and what they bring along when they log in."""
        return FallbackStorage(self.request)

    @property
    def _user(self) -> Any:
        return outage.known_user(self.request)

    def _carried(self) -> list[Any]:
        """Return what this browser carries for its reader; the list of all is read once."""
        return [_unmarked(m) for m in self.fallback._loaded_messages if self._is_for_reader(m)]

    def _carry(self, messages: list[Any], response: HttpResponseBase, *, seen: bool) -> list[Any]:
        """Have the browser carry `messages`, and what it carried but for what its reader has seen.

        Returns what was too much.
        """
        carried = self.fallback._loaded_messages
        stay = [m for m in carried if not (seen and self._is_for_reader(m))]
        if not messages and len(stay) == len(carried):
            return []
        owner = self._owner_key_if_known()
        mark = f"{OWNER}{owner}" if owner else ""
        more = [
            ContribMessage(m.level, m.message, f"{m.extra_tags or ''}{mark}")
            for m in as_contrib(messages)
        ]
        self._prepare_messages(more)
        left: list[Any] = self.fallback._store([*stay, *more], response)
        return left

    def _store(self, messages: list[Any], response: HttpResponseBase, *a: Any, **k: Any) -> Any:
        others = [m for m in self.fallback._loaded_messages if not self._is_for_reader(m)]
        return self.fallback._store([*others, *messages], response, *a, **k)

    def _owner_key_if_known(self) -> str:
        user = self._user
        if user is not None:
            return str(user.pk)
        # A session outside the database says it even now.
        session = self.request.session
        return str(outage.answer(self.request, "session", lambda: session.get(SESSION_KEY, ""), ""))

    def _is_for_reader(self, message: ContribMessage) -> bool:
        owner = _owner_of(message)
        return not owner or owner == str(getattr(self._user, "pk", None))

    def _prepare_messages(self, messages: Iterable[Any]) -> None:
        for message in messages:
            if isinstance(message, Message):
                message.settle_text()
            else:
                message._prepare()


def _owner_of(message: ContribMessage) -> str:
    return (message.extra_tags or "").partition(OWNER)[2]


def _unmarked(message: ContribMessage) -> ContribMessage:
    if not _owner_of(message):
        return message
    tags = (message.extra_tags or "").partition(OWNER)[0]
    return ContribMessage(message.level, message.message, tags)


def as_contrib(messages: Iterable[Any]) -> list[ContribMessage]:
    """Return `messages` as a cookie keeps them: level, text with the subject in it, and tags."""
    return [_contrib(message) if isinstance(message, Message) else message for message in messages]


def _contrib(message: Message) -> ContribMessage:
    message.settle_text()
    text = str(message) if message.subject else message.message
    return ContribMessage(message.level, text, message.extra_tags)
