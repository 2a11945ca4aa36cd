"""Send notices: to users, each in their language, or to the user of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import get_supported_language_variant

from persistent_messages import mailbox
from persistent_messages.conf import Config, get_config
from persistent_messages.http.storage import storage_of
from persistent_messages.mailbox.deadlocks import retry_on_deadlock
from persistent_messages.mailbox.recipients import recipient_keys
from persistent_messages.mailbox.threads import take_sqlite_lock
from persistent_messages.mailbox.writes import primary_database, primary_rows
from persistent_messages.models import Message

BATCH_SIZE = 1000
"""Users whose languages are asked for at a time."""

Texts = Callable[[str | None], Message]
"""A function of a language that returns the message, not saved; None for the active language."""


@retry_on_deadlock
def send(users: Any, texts: Texts, *, email: bool, min_interval: timedelta | None) -> int:
    """Send a message to `users`, each in their language; returns how many.

    All or none. One more query for each `BATCH_SIZE` users if the site has a LANGUAGE_OF, and one
    delivery for each of their languages. Each text is rendered once a language.
    """
    options: dict[str, Any] = {"email": email, "min_interval": min_interval}
    if get_config().LANGUAGE_OF == Config.LANGUAGE_OF:
        return mailbox.deliver_to(users, texts(None), **options)
    messages: dict[str | None, Message] = {}
    sent, using = 0, primary_database()
    with transaction.atomic(using=using):
        take_sqlite_lock(primary_rows())
        for people in _by_language(users, using):
            for language, some in people.items():
                if language not in messages:
                    messages[language] = texts(language)
                sent += mailbox.deliver_to(some, messages[language], **options)
    return sent


def _by_language(users: Any, using: str) -> Iterator[dict[str | None, list[Any]]]:
    """Yield some of `users` at a time, by their language."""
    people = get_user_model()._base_manager.using(using)
    keys = recipient_keys(users, using)
    while batch := list(islice(keys, BATCH_SIZE)):
        found: dict[str | None, list[Any]] = {}
        for person in people.filter(pk__in=batch).order_by("pk"):
            found.setdefault(language_of(person), []).append(person)
        yield found


def language_of(user: Any) -> str | None:
    """Return the language that the site says `user` reads; None for the active language."""
    code = get_config().call("LANGUAGE_OF", user)
    return str(code) if code else None


def supported_language(code: str | None) -> str:
    """Return the language of the site that comes next to `code`; "" for none, or no such."""
    try:
        return get_supported_language_variant(code or "")
    except LookupError:
        return ""


def is_for_user_of(request: HttpRequest, users: Any) -> bool:
    """Tell whether `users` is nobody but the user of `request`; None is."""
    user = getattr(request, "user", None)
    return users is None or (isinstance(users, Model) and users == user)


def add_to_request(
    request: HttpRequest, texts: Texts, *, email: bool, min_interval: timedelta | None
) -> int:
    """Add a message for the user of `request`; returns 0 if its level is not recorded.

    Raises what `add_message` raises.
    """
    storage = storage_of(request)
    user = getattr(request, "user", None)
    known = user is not None and user.pk is not None
    message = texts(language_of(user) if known else None)
    return int(storage.add_new(message, email=email, min_interval=min_interval))
