"""`PersistentMessageStorage`: what a request sees of its user's messages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from . import mailbox, outage
from .carried import CarryingStorage, as_contrib
from .conf import get_config
from .constants import Folder, base_level, is_persistent
from .drafts import checked_level, checked_user, draft
from .models import Message
from .querysets import MessageQuerySet

T = TypeVar("T")

VISITOR_ERROR = "Persistent message levels cannot be used for anonymous users."


class PersistentMessageStorage(CarryingStorage):
    """A storage backend for `django.contrib.messages`.

    Visitors have exactly Django's `FallbackStorage`. A signed-in user's one-shot messages wait in
    the database until a page has shown them, and persistent ones until somebody deletes them.
    Iterating gives the one-shot messages and the newest unread persistent ones, with one query;
    a page that asks nothing costs none. Who the user is, is asked at each use, so that messages
    queued before a log-in are shown after it. While the database does not answer, what the browser
    carries is all there is, and one-shot messages are added to it.
    """

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self._queued_messages: list[Any] = []
        self._loaded_data: list[Any]  # set when first read
        self._loaded_for: Any = None
        self._iterated = False
        # What this response handed out: rows to remove after it, drafts that never became rows.
        self._shown: dict[int, Message] = {}
        self._shown_drafts: list[Message] = []
        # Added in an event loop, where no query may run: written at the end of the response.
        self._deferred: list[tuple[Message, bool]] = []

    # Adding

    def add(  # type: ignore[override]
        self,
        level: int,
        message: Any,
        extra_tags: Any = "",
        *,
        subject: Any = "",
        user: Any = None,
        email: bool = False,
        from_user: Any = None,
        expires: datetime | None = None,
        close_timeout: int | None = None,
        url: str = "",
    ) -> Message | None:
        """Add a message; returns the row, or None where it was ignored or only queued.

        A persistent one is written at once, with one statement, inside the caller's transaction.
        A one-shot message to the user of the request is queued until the end of the response. In
        an event loop everything is. An empty message, and one below the recording level, is
        ignored. Raises `NotImplementedError` for a persistent level and no user, `TypeError` or
        `ValueError` for a wrong argument.
        """
        if not message:
            return None
        level = checked_level(level)
        # MESSAGE_LEVEL speaks of Django's levels: compare like with like.
        if base_level(level) < base_level(self.level):
            return None
        new = draft(
            level,
            message,
            subject=subject,
            extra_tags=extra_tags,
            from_user=from_user,
            expires=expires,
            close_timeout=close_timeout,
            url=url,
        )
        if user is not None:
            new.user_id = checked_user("user", user)
        elif not is_persistent(level) and not email:
            self._queue(new)
            return None
        return self._write(new, email=email)

    def _queue(self, new: Message) -> None:
        self.added_new = True
        self._queued_messages.append(new)

    def _write(self, new: Message, *, email: bool) -> Message | None:
        if _in_event_loop():
            self.added_new = True
            self._deferred.append((new, email))
            return None
        self.added_new = self.added_new or new.user_id is None
        self._deliver([new], email=email)
        if hasattr(self, "_loaded_data") and new.user_id == self._loaded_for:
            # A new list: it is handed out, and noted, by the next iteration only.
            self._loaded_data = [*self._loaded_data, new]
        return new

    def _deliver(self, messages: list[Message], *, email: bool = False) -> None:
        for message in messages:
            if message.user_id is None:
                message.user_id = self._owner_key(message)
            message.settle_text()
        mailbox.deliver(messages, email=email)

    def _owner_key(self, message: Message) -> Any:
        user = outage.signed_in_user(self.request)
        if user is None and message.is_persistent:
            raise NotImplementedError(VISITOR_ERROR)
        if user is None:
            raise ValueError("email=True needs a recipient: there is no user and no one signed in.")
        return user.pk

    # Reading

    def __iter__(self) -> Iterator[Any]:
        self.used = self._iterated = True
        loaded = self._loaded_messages
        queued, self._queued_messages = self._queued_messages, []
        self._prepare_messages(queued)  # this page shows what the next one would
        self._shown_drafts.extend(queued)
        loaded.extend(as_contrib(queued) if self._user is None else queued)
        self._note_shown(loaded)
        return iter(loaded)

    def _note_shown(self, messages: Iterable[Any]) -> None:
        for message in messages:
            if isinstance(message, Message) and message.pk and message.folder == Folder.ONE_SHOT:
                self._shown[message.pk] = message

    @property
    def _loaded_messages(self) -> list[Any]:
        if self._deferred and not _in_event_loop():
            self._write_deferred()
        user = self._user
        key = None if user is None else user.pk
        if not hasattr(self, "_loaded_data") or self._loaded_for != key:
            self._loaded_data, self._loaded_for = self._get()[0], key
        return self._loaded_data

    def _get(self, *args: Any, **kwargs: Any) -> tuple[list[Any], bool]:
        carried, user, limit = self._carried(), self._user, get_config().STRIP_LIMIT
        if user is None:
            return carried, True
        waiting = self._ask(lambda: Message.objects.strip_of(user, limit)) or []
        return [*carried, *waiting], True

    def _ask(self, ask: Callable[[], T]) -> T | None:
        return outage.answer(self.request, "messages", ask, None)

    @property
    def _reader(self) -> Any:
        # Whoever asks for them gets an error, rather than none, where the database does not answer.
        return outage.signed_in_user(self.request)

    def get_persistent(self) -> MessageQuerySet:
        """Return the read and unread messages of the inbox, newest first; a lazy QuerySet."""
        return Message.objects.inbox_of(self._reader).newest_first()

    def get_persistent_unread(self) -> MessageQuerySet:
        """Return the unread messages of the inbox, newest first; a lazy QuerySet."""
        return self.get_persistent().unread()

    def get_nonpersistent(self) -> MessageQuerySet:
        """Return the one-shot messages, oldest first; a lazy QuerySet.

        Those read from it count as shown. What this request queued is stored first.
        """
        if self._reader is not None:
            self._store_queue()
        return Message.objects.one_shot_of(self._reader).noting(self._note_read)

    def _note_read(self, message: Message) -> None:
        self.used = True
        self._shown[message.pk] = message

    def count_unread(self) -> int:
        """Count what is unread, persistent and one-shot; two queries, and reads nothing."""
        return self.count_persistent_unread() + self.count_nonpersistent()

    def count_persistent_unread(self) -> int:
        """Count the unread messages of the inbox, exactly; one query that visits each of them.

        For a page, `{% unread_counter %}` is the bounded one.
        """
        return Message.objects.inbox_of(self._reader).unread().count()

    def count_nonpersistent(self) -> int:
        """Count the one-shot messages that wait; one query, none for visitors."""
        if self._reader is None:
            return len(self)
        waiting = Message.objects.one_shot_of(self._reader).exclude(pk__in=list(self._shown))
        return waiting.count() + len(self._queued_messages)

    # The end of the response

    def update(self, response: HttpResponseBase) -> list[Any] | None:
        """Store what was queued, and remove what was handed out unless the server failed.

        At most one statement for each. What cannot be stored because the database does not answer
        goes to the browser; what cannot be removed is shown again. Returns what could not be
        stored anywhere, as contrib does.
        """
        if not (self.used or self.added_new):
            return None
        failed = response.status_code >= 500
        self._write_deferred()
        if not failed:
            self._ask(self._remove_shown)
        user = self._user
        if user is None and not outage.is_noted(self.request):
            self._queued_messages = as_contrib(self._queued_messages)
            return super().update(response)
        if failed:
            # Nobody saw them: a page of the server's own stands in their place.
            self._queued_messages = self._shown_drafts + self._queued_messages
        self._shown_drafts = []
        if user is not None:
            self._ask(self._store_queue)
        left, self._queued_messages = self._queued_messages, []
        return self._carry(left, response, seen=self._iterated and not failed)

    def _write_deferred(self) -> None:
        deferred, self._deferred = self._deferred, []
        for wanted in (False, True):
            self._deliver([new for new, email in deferred if email is wanted], email=wanted)

    def _store_queue(self) -> None:
        self._deliver(self._queued_messages)
        queued, self._queued_messages = self._queued_messages, []
        if hasattr(self, "_loaded_data"):
            known = {id(message) for message in self._loaded_data}
            self._loaded_data.extend(message for message in queued if id(message) not in known)

    def _remove_shown(self) -> None:
        shown, self._shown = list(self._shown.values()), {}
        for owner in {message.user_id for message in shown}:
            mailbox.remove_shown(owner, [m.pk for m in shown if m.user_id == owner])


def _in_event_loop() -> bool:
    # The rule by which Django itself refuses a query there.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
