"""Send notices to users, each in their language, or to the user of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import get_supported_language_variant

from persistent_messages import mailbox
from persistent_messages.conf import Config, get_config
from persistent_messages.http.storage import storage_of
from persistent_messages.mailbox.deadlocks import retry_on_deadlock
from persistent_messages.mailbox.delivery import Progress
from persistent_messages.mailbox.locks import take_sqlite_lock
from persistent_messages.mailbox.recipients import (
    Batch,
    check_all_there,
    key_list,
    recipient_batches,
)
from persistent_messages.mailbox.validation import check_progress
from persistent_messages.mailbox.writes import primary_database, primary_rows
from persistent_messages.models import Message
from persistent_messages.users.languages import language_of

BATCH_SIZE = 1000
"""The number of users whose languages are looked up at a time."""

Texts = Callable[[str | None], Message]
"""A function that returns the unsaved message in a language; None means the active language."""


def send(
    users: Any,
    texts: Texts,
    *,
    email: bool,
    min_interval: timedelta | None,
    progress: Progress | None = None,
    atomic: bool = True,
) -> int:
    """Send a message to `users`, each in their language; return how many.

    `progress` and `atomic` are those of `mailbox.deliver_to`. If the site has a LANGUAGE_OF, each
    `BATCH_SIZE` users take one more query, and one delivery for each of their languages. Each text
    is rendered once for each language.
    """
    options: dict[str, Any] = {"email": email, "min_interval": min_interval, "atomic": atomic}
    if get_config().LANGUAGE_OF == Config.LANGUAGE_OF:
        return mailbox.deliver_to(users, texts(None), **options, progress=progress)
    check_progress(progress)
    send_all = _send_all if atomic else _send_by_language
    return send_all(users, texts, options, progress)


@retry_on_deadlock
def _send_all(users: Any, texts: Texts, options: dict[str, Any], progress: Progress | None) -> int:
    with transaction.atomic(using=primary_database()):
        take_sqlite_lock(primary_rows())
        return _send_by_language(users, texts, options, progress)


def _send_by_language(
    users: Any, texts: Texts, options: dict[str, Any], progress: Progress | None
) -> int:
    messages: dict[str | None, Message] = {}
    sent = 0
    for people in _by_language(users, primary_database()):
        for language, readers in people.items():
            if language not in messages:
                messages[language] = texts(language)
            so_far = None if progress is None else partial(_add_progress, progress, sent)
            sent += mailbox.deliver_to(readers, messages[language], **options, progress=so_far)
    return sent


def _add_progress(progress: Progress, sent: int, count: int) -> None:
    progress(sent + count)


def _by_language(users: Any, using: str) -> Iterator[dict[str | None, Any]]:
    """Yield batches of `users`, grouped by their language.

    Raises `ValueError` if the caller named a user who does not exist.
    """
    for batch in recipient_batches(users, using, BATCH_SIZE, in_order=True):
        people = list(batch.people)
        check_all_there(batch, len(people))
        readers: dict[str | None, list[Any]] = {}
        for person in people:
            readers.setdefault(language_of(person), []).append(person)
        yield {language: _again(batch, some) for language, some in readers.items()}


def _again(batch: Batch, people: list[Any]) -> Any:
    """Return `people` as the caller gave them: an account may be deleted in the meantime.

    It is an error only if the caller named its user.
    """
    if batch.is_named:
        return people
    return batch.people.filter(pk__in=key_list([person.pk for person in people]))


def supported_language(code: str | None) -> str:
    """Return the site's closest language to `code`, or "" if there is none."""
    try:
        return get_supported_language_variant(code or "")
    except LookupError:
        return ""


def is_for_user_of(request: HttpRequest, users: Any) -> bool:
    """Return whether `users` is None or the user of `request`."""
    user = getattr(request, "user", None)
    return users is None or (isinstance(users, Model) and users == user)


def add_to_request(
    request: HttpRequest, texts: Texts, *, email: bool, min_interval: timedelta | None
) -> int:
    """Add a message for the user of `request`; return 0 if it is below the recording level.

    Raises the same errors as `add_message`.
    """
    storage = storage_of(request)
    user = getattr(request, "user", None)
    known = user is not None and user.pk is not None
    message = texts(language_of(user) if known else None)
    return int(storage.add_new(message, email=email, min_interval=min_interval))
