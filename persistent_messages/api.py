"""The functions that a site calls.

A site may import them before the app registry is ready, for example in `apps.py`, so they import
modules that need the models when they are called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db.models import Model
from django.http import HttpRequest

from . import constants
from .http.storage import storage_of
from .topics import Topic
from .type_aliases import Recipient, Recipients, Text

if TYPE_CHECKING:
    from .models import Broadcast, Message

P = ParamSpec("P")
R = TypeVar("R")


def add_message(
    request: HttpRequest,
    level: int,
    message: Text,
    extra_tags: str | None = "",
    fail_silently: bool = False,  # noqa: FBT001, FBT002 (contrib's signature)
    subject: Text = "",
    user: Recipient | None = None,
    email: bool = False,  # noqa: FBT001, FBT002 (the signature of 2011)
    from_user: Recipient | None = None,
    expires: datetime | None = None,
    close_timeout: int | None = None,
    url: str = "",
    key: str | None = None,
    topic: str | Topic = "",
    action: Text = "",
) -> Message | None:
    """Add a message for `user`, by default the user of the request.

    Takes the arguments of `django.contrib.messages.add_message`, and more. With a persistent level,
    the message is kept until its user deletes it. `email` also mails it to its recipient, after
    the transaction has committed. After `expires`, it is not shown anywhere; a naive value is in
    the current time zone, or in TIME_ZONE if USE_TZ is False. `close_timeout` is the number of
    milliseconds after which the strip closes it and marks it as read. `url` is the page that the
    message leads to, and `action` the label of the button for it. `topic` is a registered `Topic`
    or its name. A message with a `key` replaces the one with the same key in the inbox; see
    `send_message`.

    Returns the stored row, or None if the message was ignored (because it is empty, or below the
    recording level) or only queued for the end of the response. At most one query, or a few with a
    `key`. Sends `messages_delivered` after commit. Raises `MessageFailure` without the middleware,
    unless `fail_silently`; `NotImplementedError` for a persistent level and a visitor; and
    `TypeError` or `ValueError`, naming the argument, before anything is written.
    """
    if fail_silently and not hasattr(request, "_messages") and hasattr(request, "META"):
        return None
    storage = storage_of(request)
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
        url=url,
        key=key,
        topic=topic,
        action=action,
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
    shortcut.__doc__ = f"Add a persistent message with the level {name.upper()}; see `add_message`."
    shortcut.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return shortcut  # type: ignore[return-value]


debug = _shortcut("debug", constants.DEBUG, add_message)
info = _shortcut("info", constants.INFO, add_message)
success = _shortcut("success", constants.SUCCESS, add_message)
warning = _shortcut("warning", constants.WARNING, add_message)
error = _shortcut("error", constants.ERROR, add_message)


def send_message(
    users: Recipients,
    level: int,
    message: Text,
    *,
    subject: Text = "",
    extra_tags: str | None = "",
    from_user: Recipient | None = None,
    url: str = "",
    expires: datetime | None = None,
    close_timeout: int | None = None,
    email: bool = False,
    key: str | None = None,
    topic: str | Topic = "",
    action: Text = "",
    progress: Callable[[int], object] | None = None,
    atomic: bool = True,
) -> int:
    """Send a message to users, from code without a request. Returns how many were stored.

    `users` is a user, the key of a user, an iterable of both, a `Group`, or a queryset of users,
    which is read in batches. Each user gets one message, however often they are named. `progress`
    is called after each batch with the number of users so far; an error that it raises ends the
    sending. The other arguments are those of `add_message`. Raises `TypeError` or `ValueError`,
    naming the argument.

    By default, everything is sent in one transaction: either all messages are stored, or none and
    an error is raised. With `atomic=False`, each batch is committed by itself, and an error keeps
    the earlier batches; inside a transaction this raises `RuntimeError`.

    Sends `messages_delivered` for each batch after commit. If it has receivers, or if messages are
    mailed, each batch takes one insert. Otherwise the database makes the copies itself, with a few
    queries for each 10,000 users, or for each 2,000 with a `key`.

    An inbox has at most one message with a `key`. Sending it again renews it: it gets the new text,
    moves to the top of the list, is unread, and counts how often it was sent. A message that its
    user has archived or deleted is not renewed; the next one is new. `resolve` removes it.
    """
    from . import mailbox
    from .mailbox.validation import new_message

    if not message:
        raise ValueError("message must not be empty.")
    new = new_message(
        level,
        message,
        subject=subject,
        extra_tags=extra_tags,
        from_user=from_user,
        url=url,
        expires=expires,
        close_timeout=close_timeout,
        key=key,
        topic=topic,
        action=action,
    )
    return mailbox.deliver_to(users, new, email=email, progress=progress, atomic=atomic)


def resolve(users: Recipients, key: str) -> int:
    """Remove the message with `key` from the inboxes of `users`, because it is no longer true.

    Takes the same `users` as `send_message`. Returns how many had it in the inbox. Messages that a
    user has archived or deleted stay where they are, and undo does not move them back to the inbox.
    Sends `mailbox_changed` after commit. Raises `TypeError` or `ValueError`, naming the argument.
    """
    from . import mailbox

    return mailbox.resolve(users, key)


def broadcast(
    level: int,
    message: Text,
    *,
    subject: Text = "",
    audience: str = "everybody",
    topic: str | Topic = "",
    url: str = "",
    action: Text = "",
    starts: datetime | None = None,
    expires: datetime | None = None,
    key: str | None = None,
) -> Broadcast:
    """Send a message to all users in an audience; stores one row, however many there are.

    Users get a copy on their next visit: on the first page that shows the unread count, the strip
    or the inbox, from `starts` until `expires`, by default from now until it is withdrawn. From
    then on, the copy is a message like any other. Users who join later get it, too.

    `audience` is "everybody", "staff", "group:<name>", or a name registered with `audience`.
    `level` must be persistent. Lazy texts are rendered in each language of the site, and users get
    theirs. A copy with a `key` replaces the one with the same key in the inbox; see `send_message`.
    A copy with a topic is mailed according to its user's preferences. One insert, and one query for
    a group. Raises `TypeError` or `ValueError`, naming the argument, before anything is written.
    """
    from .mailbox.validation import new_message
    from .notices import broadcasts

    if not message:
        raise ValueError("message must not be empty.")

    def texts() -> Message:
        return new_message(
            level,
            message,
            subject=subject,
            topic=topic,
            url=url,
            action=action,
            expires=expires,
            key=key,
        )

    by_language = broadcasts.is_lazy(message, subject, url, action)
    return broadcasts.create(texts, audience=audience, starts=starts, by_language=by_language)


def send_letter(
    from_user: Model,
    to_users: Model | Iterable[Model] | None,
    subject: Text,
    message: Text,
    reply_to: Message | None = None,
) -> Message:
    """Send a letter from a user to other users, by the same rules as the form.

    `to_users` is a user or an iterable of users. `reply_to` is a letter in the mailbox of
    `from_user`. With it, `to_users` may be None for the other user in the conversation, and must
    not name anybody else. Returns the row in the sender's own mailbox. The number of queries does
    not depend on the number of recipients. Sends `messages_delivered` and `letter_sent` after
    commit. Raises `LetterRefused`, which says which argument is at fault and why, or `TypeError` or
    `ValueError` if a user is not a saved user, before anything is written. While the setting
    LETTERS is False, the error is both a `LetterRefused` and an `ImproperlyConfigured`.
    """
    from .letters import sending

    return sending.send_letter(from_user, to_users, subject, message, reply_to)


def wants(user: Recipient, topic: str | Topic, channel: str) -> bool:
    """Return whether `user` wants notices of `topic` on `channel`, "inbox" or "mail".

    `topic` is a registered `Topic`, its name, "_letters" for messages between users, or "" for
    notices without a topic. The site's defaults apply if the user has not chosen. False for "mail"
    while the user's mail is paused. One query. Raises `TypeError` or `ValueError`, naming the
    argument.
    """
    from .mailbox.validation import clean_user_key
    from .preferences import choices

    return choices.wants(clean_user_key("user", user), topic, channel)


def export_preferences(user: Recipient) -> dict[str, Any]:
    """Return the preferences of `user` as JSON data, without the site's defaults. One query.

    The keys are `mail_is_paused`, `mail_is_paused_until` (ISO 8601, or None), and `topics`, a list
    of dicts with `topic`, `in_inbox` and `mail` ("now", "unread", "daily", "weekly", "never", or
    None). Raises `TypeError` or `ValueError` if `user` is not a saved user.
    """
    from .mailbox.validation import clean_user_key
    from .preferences import choices

    return choices.export(clean_user_key("user", user))


def mail_failed(who: Model | str) -> int:
    """Pause all mail to a user whose mail was returned, until they end the pause themselves.

    `who` is a user, or a mail address, which may belong to several users. Returns how many. Raises
    `TypeError` or `ValueError` for a model instance that is not a saved user.
    """
    from .delivery import failures

    return failures.mail_failed(who)


def export_mailbox(user: Recipient) -> Iterator[str]:
    """Yield everything that is stored about `user` as lines of JSON, with line breaks.

    First the messages, folder by folder and oldest first. Then the users that `user` has blocked,
    the letters that `user` has reported, and the preferences. Lazy: one query for each 1,000
    messages. Other users have the same names as in the inbox, never their mail addresses. Raises
    `TypeError` or `ValueError` if `user` is not a saved user.
    """
    from .inbox import export
    from .mailbox.validation import clean_user_key

    return export.export_lines(clean_user_key("user", user))


def erase_mailbox(user: Recipient) -> int:
    """Permanently delete all messages of `user`; return how many there were.

    Letters that `user` sent to others stay in their mailboxes. Each batch of 1,000 has its own
    transaction, so the work can be stopped and started again. Sends `mailbox_changed` for each
    batch. Raises `TypeError` or `ValueError` if `user` is not a saved user.
    """
    from . import mailbox

    return sum(mailbox.erase(user))


def prune_messages(*, read_older_than: int | None = None) -> int:
    """Remove rows that no user needs any more, as `manage.py prune_messages` does.

    With `read_older_than`, also removes messages in the inbox that were read more than that many
    days ago. Each batch of 1,000 has its own transaction, so the work can be stopped and started
    again. Returns how many rows were removed: messages, mail that was not sent, and receipts of
    broadcasts that ended long ago.
    """
    from .conf import get_config
    from .mailbox import pruning

    batches = pruning.prune_all(get_config().TRASH_DAYS, read_older_than)
    return sum(removed for _reason, removed in batches)


async def aload(request: HttpRequest) -> None:
    """Load the messages of a page before an async view renders it in the event loop.

    Loads the user, the waiting messages and the unread count, with at most three queries in a
    thread. Queries cannot run in an event loop: without this call, such a page shows only messages
    in the browser and those that the request added. The counts of the storage are then available,
    too. No message counts as shown.
    """
    await sync_to_async(_load)(request)


def _load(request: HttpRequest) -> None:
    from .db import outage
    from .inbox.counter import unread_count

    storage: Any = getattr(request, "_messages", None)
    unread = None
    if outage.known_user(request) is not None:
        unread = outage.fallback_if_unreachable(
            request, "messages", lambda: unread_count(request), None
        )
    if hasattr(storage, "load"):
        storage.load(unread)
