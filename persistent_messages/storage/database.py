"""`PersistentMessageStorage`: the messages of the user of a request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import IntegrityError, connections, router
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.functional import cached_property

from persistent_messages import mailbox
from persistent_messages.conf import get_config
from persistent_messages.constants import Folder, base_level, is_persistent
from persistent_messages.db import outage
from persistent_messages.http import caching, draft_cookie, visits
from persistent_messages.http.visibility import is_discarded, is_shown_to_person
from persistent_messages.mailbox.validation import clean_level, clean_user_key, new_message
from persistent_messages.models import Message
from persistent_messages.querysets import ONE_SHOT_LIMIT, MessageQuerySet
from persistent_messages.users import accounts

from .browser import BrowserStorage, to_contrib
from .browser_id import BrowserId
from .removal import Removal
from .visitor_messages import Select, VisitorMessages

T = TypeVar("T")

VISITOR_ERROR = "Persistent message levels cannot be used for anonymous users."


class PersistentMessageStorage(BrowserStorage):
    """A storage backend for `django.contrib.messages`.

    Visitors get exactly Django's `FallbackStorage`. The one-shot messages of a signed-in user wait
    in the database until a page has shown them, and persistent messages stay until they are
    deleted. Iterating yields the one-shot messages and the newest unread persistent ones, with one
    query. A page that does not use the storage makes no query. The user is looked up at each use,
    so messages that were queued before a log-in are shown after it. While the database cannot be
    reached, the storage has only the messages in the browser, and adds one-shot messages to them.
    """

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        accounts.watch_deletions(request)
        self._queued_messages: list[Message] = []
        self._loaded_data: list[Any]  # set on first use
        self._loaded_for: Any = None
        self._loaded_in_loop = False
        self._unread_in_loop: int | None = None
        self._iterated = False
        # Shown by this response: rows to remove after it, and messages that were never saved.
        self._shown: dict[int, Message] = {}
        self._shown_unsaved: list[Message] = []
        # Rows written during the request.
        self._written: list[Message] = []
        # Added in an event loop, where no query may run: written at the end of the response.
        self._deferred: list[tuple[Message, bool, timedelta | None]] = []
        self._browser = BrowserId(request)
        self._ended: datetime | None = None

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
        key: str | None = None,
        topic: Any = "",
        action: Any = "",
    ) -> Message | None:
        """Add a message; return the row, or None if it was ignored or only queued.

        A persistent message is written at once, with one statement, inside the caller's
        transaction. A one-shot message to the user of the request is queued until the end of the
        response. In an event loop, all messages are queued. Empty messages and messages below the
        recording level are ignored. Raises `NotImplementedError` for a persistent level without a
        user, and `TypeError` or `ValueError` for an invalid argument.
        """
        if not message:
            return None
        level = clean_level(level)
        # MESSAGE_LEVEL is one of Django's levels.
        if base_level(level) < base_level(self.level):
            return None
        new = new_message(
            level,
            message,
            subject=subject,
            extra_tags=extra_tags,
            from_user=from_user,
            expires=expires,
            close_timeout=close_timeout,
            url=url,
            key=key,
            topic=topic,
            action=action,
        )
        if user is not None:
            new.user_id = clean_user_key("user", user)
            if not is_persistent(level) and new.user_id == self._known_key:
                if self._is_switched and not email:
                    self._queue(new)
                    return None
                new.browser = self._browser.get_or_create()
        elif not is_persistent(level) and not email:
            self._queue(new)
            return None
        return self._write(new, email=email)

    def add_new(
        self, new: Message, *, email: bool = False, min_interval: timedelta | None = None
    ) -> bool:
        """Add `new`, an unsaved message to the user of the request, as `add` does.

        Returns False if it was ignored. If a message with its key is younger than `min_interval`,
        only that message's text changes.
        """
        if base_level(new.level) < base_level(self.level):
            return False
        if not is_persistent(new.level) and not email:
            self._queue(new)
        else:
            self._write(new, email=email, min_interval=min_interval)
        return True

    def _queue(self, new: Message) -> None:
        self.added_new = True
        self._queued_messages.append(new)

    def _write(
        self, new: Message, *, email: bool, min_interval: timedelta | None = None
    ) -> Message | None:
        if _in_event_loop():
            self.added_new = True
            self._deferred.append((new, email, min_interval))
            return None
        own = new.user_id is None
        self.added_new = self.added_new or own or new.browser is not None
        try:
            self._deliver([new], email=email, min_interval=min_interval)
        except IntegrityError:
            if own and self._user is None:
                self._owner_key(new)  # raises the error for a visitor
            raise
        if new.pk is None:  # only the text of an earlier message was changed
            return None
        self._written.append(new)
        is_listed = hasattr(self, "_loaded_data") and new.user_id == self._loaded_for
        if is_listed and not (new.is_persistent and self._is_plain_page()):
            # A new list, so that an iteration that has begun does not yield the message unmarked.
            self._loaded_data = [*filter(partial(_stays_beside, new), self._loaded_data), new]
        return new

    def _deliver(
        self,
        messages: list[Message],
        *,
        email: bool = False,
        min_interval: timedelta | None = None,
    ) -> None:
        own = [message for message in messages if message.user_id is None]
        for message in messages:
            if message.user_id is None:
                message.user_id = self._owner_key(message)
                message.browser = None if message.is_persistent else self._browser.get_or_create()
            message.prepare_text()
        try:
            mailbox.deliver(messages, email=email, min_interval=min_interval)
        except IntegrityError:
            for message in own:
                message.user_id, message.browser = None, None  # type: ignore[assignment]
            self._remember_missing_owner()
            raise

    def _remember_missing_owner(self) -> None:
        # The error has broken a transaction of the caller, which allows no more queries.
        user = self._user
        if user is not None and not connections[router.db_for_write(Message)].in_atomic_block:
            accounts.remember_missing(user.pk)

    def _owner_key(self, message: Message) -> Any:
        user = accounts.signed_in_user(self.request)
        if user is None and message.is_persistent:
            raise NotImplementedError(VISITOR_ERROR)
        if user is None:
            raise ValueError("email=True needs a recipient: there is no user and no one signed in.")
        return user.pk

    # Reading

    @property
    def used(self) -> bool:
        """Whether the messages count as shown; may be set, as in Django's storages."""
        return self._used

    @used.setter
    def used(self, value: bool) -> None:
        # Setting `used` counts all messages as shown. Reading `get_nonpersistent()` sets `_used`
        # alone, because it counts only the messages that were read.
        self._used = self._all_used = value

    @property
    def _known_key(self) -> Any:
        return getattr(self._user, "pk", None)

    @property
    def _may_show(self) -> bool:
        # After the response nothing is removed any more, so a test may look.
        return self._ended is not None or self._is_seen

    @cached_property
    def _is_seen(self) -> bool:
        return is_shown_to_person(self.request)

    def __iter__(self) -> Iterator[Any]:
        self.used = True
        loaded = self._loaded_messages
        if self._may_show:
            self._iterated = True
            self._mark_shown(loaded)
            if self._ended is None:
                self._mark_browser_shown(self._browser_messages_of_user())
            queued = self._take_queued(loaded)
            loaded.extend(self._as_handed_out(queued))
        if loaded:
            caching.mark_no_store(self.request)
        else:
            self._mark_private()
        return iter(loaded)

    def __len__(self) -> int:
        self._mark_private()
        return super().__len__()

    def __contains__(self, item: object) -> bool:
        self._mark_private()
        return super().__contains__(item)

    def _mark_private(self) -> None:
        # A page is the same for all visitors who have no messages.
        if self._user is not None or len(self._loaded_messages) + len(self._queued_messages):
            caching.mark_private(self.request)

    def _take_queued(self, loaded: list[Any]) -> list[Any]:
        # Show queued messages on this page already, up to the limit of a page.
        if not self._queued_messages:
            return []
        room = len(self._queued_messages)
        if self._ended is None and self._user is not None:
            room = max(0, ONE_SHOT_LIMIT - sum(not is_persistent(m.level) for m in loaded))
        queued, self._queued_messages = self._queued_messages[:room], self._queued_messages[room:]
        self.has_more = self.has_more or bool(self._queued_messages)
        self._prepare_messages(queued)
        self._shown_unsaved.extend(queued)
        self._mark_shown(queued)
        return queued

    def _mark_shown(self, messages: Iterable[Any]) -> None:
        for message in messages:
            if isinstance(message, Message) and message.pk and message.folder == Folder.ONE_SHOT:
                self._shown[message.pk] = message

    has_more = False
    """Whether more one-shot messages are waiting than a page shows."""

    def load(self, unread: int | None = None) -> None:
        """Read the waiting messages without counting them as shown; at most one query, cached.

        `unread` is what `count_persistent_unread()` then returns in an event loop.
        """
        self._unread_in_loop = unread
        self._loaded_messages  # noqa: B018 (a property that loads)

    @property
    def _loaded_messages(self) -> list[Any]:
        if self._ended is not None and hasattr(self, "_loaded_data"):
            return self._loaded_data
        in_loop = _in_event_loop()
        if self._deferred and not in_loop:
            self._write_deferred()
        user = self._user
        key = getattr(user, "pk", None)
        was_in_loop = self._loaded_in_loop and not in_loop
        if not hasattr(self, "_loaded_data") or self._loaded_for != key or was_in_loop:
            # Messages of this request that were shown in the event loop, or by
            # `get_nonpersistent()`, are no longer queued.
            shown = self._shown_unsaved if was_in_loop or self._ended is not None else []
            self._loaded_data = [*self._get()[0], *(to_contrib(shown) if user is None else shown)]
            self._loaded_for, self._loaded_in_loop = key, in_loop
        return self._loaded_data

    def _get(self, *args: Any, **kwargs: Any) -> tuple[list[Any], bool]:
        messages, user = self._from_browser() if self._may_show else [], self._user
        if user is None:
            return messages, True
        return [*messages, *(self._query_or_none(partial(self._waiting, user)) or [])], True

    def _from_browser(self) -> list[Any]:
        found = super()._from_browser()
        return found if self._user is not None else [*found, *self._left_behind]

    @cached_property
    def _left_behind(self) -> list[Any]:
        """The messages that this browser queued for an account that can no longer sign in.

        One query, or none if nobody is signed in.
        """
        if self._browser.number is None or outage.had_outage(self.request):
            return []
        return self._query_or_none(self._queued_for_closed_account) or []

    def _queued_for_closed_account(self) -> list[Any]:
        key = accounts.closed_account_key(self.request)
        if key is None:
            return []
        waiting = Message.objects.one_shot_of(key).filter(browser=self._browser.number)
        return list(waiting[:ONE_SHOT_LIMIT])

    def _waiting(self, user: Any) -> list[Message]:
        one_shots = ONE_SHOT_LIMIT if self._may_show else 0
        config = get_config()
        limit = 0 if self._is_plain_page() else config.STRIP_LIMIT
        if limit:
            visits.visit(self.request, user)
        found = Message.objects.strip_of(
            user,
            limit,
            letters=config.STRIP_LETTERS,
            one_shots=one_shots,
            browser=self._browser.number,
            is_owners=self._is_owners,
        )
        own = {message.pk for message in self._queued_messages if not message._state.adding}
        if own:  # already stored, but still in the queue
            found = [message for message in found if message.pk not in own]
        if self._ended is not None:
            return self._waiting_at_end(user.pk, found, self._ended, own)
        self.has_more = sum(message.folder == Folder.ONE_SHOT for message in found) > one_shots
        if self.has_more:
            del found[one_shots]
        return found

    def _waiting_at_end(
        self, key: Any, found: list[Message], ended: datetime, own: set[int]
    ) -> list[Message]:
        """Return what was shown, what of `found` was waiting at the end, and what was written."""
        first = min(own, default=None)
        shown = [m for m in self._shown.values() if m.user_id == key and m.pk not in own]
        waited = [m for m in found if (m.created <= ended if first is None else m.pk < first)]
        before = [*shown, *(m for m in waited if m not in shown)]
        return [*before, *(m for m in self._written if m.user_id == key and m not in before)]

    def _is_plain_page(self) -> bool:
        return bool(get_config().call("PLAIN_PAGES", self.request))

    def _query_or_none(self, query: Callable[[], T]) -> T | None:
        return outage.fallback_if_unreachable(self.request, "messages", query, None)

    @property
    def _signed_in_user(self) -> Any:
        # If the database cannot be reached, the getters raise the error instead of returning none.
        user = accounts.signed_in_user(self.request)
        if user is not None:
            caching.mark_private(self.request)
        return user

    @property
    def _visiting_user(self) -> Any:
        user = self._signed_in_user
        if user is not None:
            visits.visit(self.request, user)  # delivers running broadcasts
        return user

    def get_persistent(self) -> MessageQuerySet:
        """Return the read and unread messages of the inbox, newest first; a lazy QuerySet."""
        return Message.objects.inbox_of(self._visiting_user).newest_first()

    def get_persistent_unread(self) -> MessageQuerySet:
        """Return the messages in the Unread folder, newest first; a lazy QuerySet.

        A conversation is represented by its latest letter.
        """
        return Message.objects.inbox_of(self._visiting_user).unread_thread_heads()

    def get_nonpersistent(self) -> MessageQuerySet:
        """Return the one-shot messages, oldest first; a lazy QuerySet.

        Messages count as shown when they are read from it, at most `ONE_SHOT_LIMIT` at a time.
        Messages queued by this request are stored first. For visitors, it contains the messages in
        the cookie or session. After the response, it contains the messages that the response showed
        and those that the request added.
        """
        if self._ended is not None:
            return VisitorMessages.of(peek=self._peek_at_end, consume=self._peek_at_end)
        try:
            user = self._signed_in_user
        except SynchronousOnlyOperation:  # in an event loop, and the user has not been loaded
            user = None
        # In an event loop, a QuerySet of rows could not be iterated.
        if user is None or self._is_switched or _in_event_loop():
            return VisitorMessages.of(peek=self._peek, consume=self._consume)
        self._save_rows(self._queued_messages)
        if not self._may_show:
            return Message.objects.none()
        waiting = self._one_shots_of(user)
        return waiting.with_callback(self._mark_one_shown, ONE_SHOT_LIMIT)

    def _one_shots_of(self, user: Any) -> MessageQuerySet:
        rows = Message.objects.one_shot_of(user)
        return rows.for_browser(self._browser.number, is_owners=self._is_owners)

    def _peek_at_end(self, select: Select) -> list[Any]:
        here = [*self._loaded_messages, *self._queued_messages]
        return select([m for m in here if not is_persistent(m.level)])

    def _mark_one_shown(self, message: Message) -> None:
        self._used = True
        caching.mark_no_store(self.request)
        self._shown[message.pk] = message

    def _peek(self, select: Select) -> list[Any]:
        waiting = self._from_browser()
        if self._user is not None:
            waiting = [m for m in self._loaded_messages if not is_persistent(m.level)]
        here = [*waiting, *self._shown_unsaved, *self._queued_messages]
        # Unique by identity: after an iteration, the loaded list includes the shown messages.
        return select(list({id(m): m for m in here}.values()))

    def _consume(self, select: Select) -> list[Any]:
        if not self._may_show:
            return []
        found = self._peek(select)
        if not found:
            return []
        self._used = True
        caching.mark_no_store(self.request)
        self._mark_browser_shown(found)
        self._mark_shown(found)
        chosen = {id(message) for message in found}
        unsaved = [message for message in self._queued_messages if id(message) in chosen]
        self._queued_messages = [m for m in self._queued_messages if id(m) not in chosen]
        self._shown_unsaved.extend(unsaved)
        if hasattr(self, "_loaded_data"):
            self._loaded_data.extend(self._as_handed_out(unsaved))
        return self._as_handed_out(found)

    def _as_handed_out(self, messages: list[Any]) -> list[Any]:
        return to_contrib(messages) if self._user is None else messages

    def count_unread(self) -> int:
        """Count the unread persistent messages and the one-shot messages, with two queries."""
        return self.count_persistent_unread() + self.count_nonpersistent()

    def count_persistent_unread(self) -> int:
        """Count the messages in the Unread folder exactly, with one query that reads each row.

        A conversation counts once. In templates, use `{% unread_counter %}`, which is bounded. In
        an event loop, after `aload`, at most `COUNTER_LIMIT` plus one; no query.
        """
        if self._unread_in_loop is not None and _in_event_loop():
            return self._unread_in_loop
        return self.get_persistent_unread().count()

    def count_nonpersistent(self) -> int:
        """Count the waiting one-shot messages with one query, or none for visitors.

        In an event loop, after `aload`, at most as many as a page shows; no query.
        """
        reader, shown = self._signed_in_user, self._used
        queued = sum(bool(message._state.adding) for message in self._queued_messages)
        if reader is None or self._is_switched:
            queued += sum(
                not (shown and (id(m) in self._shown_in_browser or m.pk in self._shown))
                for m in self._from_browser()
            )
        if reader is None:
            return queued
        if _in_event_loop() and hasattr(self, "_loaded_data"):
            return queued + sum(self._is_waiting(message) for message in self._loaded_data)
        waiting = self._one_shots_of(reader)
        if shown and self._shown:
            waiting = waiting.exclude(pk__in=list(self._shown))
        return waiting.count() + queued

    def _is_waiting(self, message: Any) -> bool:
        is_shown = self._used and message.pk in self._shown
        return message.folder == Folder.ONE_SHOT and message.pk is not None and not is_shown

    # The end of the response

    def update(self, response: HttpResponseBase) -> list[Any] | None:
        """Store the queued messages, and remove the shown ones after the response has been sent.

        At most one statement for each. Nothing is removed if the response is a server error, if
        nobody sees it, if htmx discards it, or if `used` was reset: the messages then wait to be
        shown again. If the database cannot be reached, queued messages are stored in the browser,
        and shown ones are shown again. Returns the messages that could not be stored anywhere, as
        contrib does.
        """
        unstored = self._update(response) if self._used or self.added_new else None
        self._ended = self._ended or timezone.now()
        visits.finish(self.request)
        caching.set_cache_headers(self.request, response)
        draft_cookie.forget_drafts_after_log_out(self.request, response)
        return unstored

    def _update(self, response: HttpResponseBase) -> list[Any]:
        self._write_deferred()
        seen = self._used and self._is_seen and not is_discarded(self.request, response)
        if seen and self._all_used and not self._iterated:
            self._mark_all_shown()
        if seen and self._shown:
            closers: Any = vars(response)["_resource_closers"]
            closers.append(Removal(self.request, response, self._shown.values()))
        if response.status_code >= 500 and (
            self._user is not None or outage.had_outage(self.request)
        ):
            seen = False  # an error page was shown instead
        unsaved = [*([] if seen else self._shown_unsaved), *self._queued_messages]
        self._prepare_messages(unsaved)
        try:
            self._query_or_none(partial(self._save_rows, unsaved))
        except IntegrityError:
            if self._user is not None:
                raise
        self._browser.set_cookie(response)
        unsaved = [message for message in unsaved if message._state.adding]
        return self._store_in_browser(unsaved, response, seen=seen)

    def _mark_all_shown(self) -> None:
        # `used` was set without iterating, so waiting messages count as shown. As in contrib, they
        # do not if nothing was read and nothing was added.
        if not hasattr(self, "_loaded_data") and not self._queued_messages:
            return
        written = {message.pk for message in self._written}
        self._mark_shown(m for m in self._loaded_messages if getattr(m, "pk", 0) not in written)
        self._mark_browser_shown(self._browser_messages_of_user())

    def _write_deferred(self) -> None:
        deferred, self._deferred = self._deferred, []
        for email, interval in dict.fromkeys((email, interval) for _, email, interval in deferred):
            new = [message for message, *how in deferred if how == [email, interval]]
            self._deliver(new, email=email, min_interval=interval)
            self._written.extend(message for message in new if message.pk is not None)

    def _save_rows(self, unsaved: list[Message]) -> None:
        new = [message for message in unsaved if message._state.adding]
        if new and self._user is not None and not self._is_switched:
            self._deliver(new)


def _stays_beside(new: Message, other: Any) -> bool:
    # A new message replaces one with the same key.
    return new.key is None or getattr(other, "key", None) != new.key


def _in_event_loop() -> bool:
    # The same rule as in `django.utils.asyncio.async_unsafe`.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
