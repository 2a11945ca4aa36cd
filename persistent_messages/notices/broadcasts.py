"""Create, edit and withdraw broadcasts. `arrivals` copies them into mailboxes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone, translation
from django.utils.functional import Promise

from persistent_messages import mailbox
from persistent_messages.constants import is_persistent
from persistent_messages.mailbox.deadlocks import retry_on_deadlock
from persistent_messages.mailbox.locks import take_sqlite_lock
from persistent_messages.mailbox.validation import clean_time, new_message
from persistent_messages.mailbox.writes import primary_database, primary_rows
from persistent_messages.models import Broadcast, Message, Receipt

from .audiences import clean_audience
from .running import forget

BATCH_SIZE = 500
"""Copies that an edit or withdrawal changes in one transaction."""
ARGUMENTS = ("level", "message", "subject", "audience", "topic", "url", "action", "starts")
EDITABLE = (*ARGUMENTS, "expires")
ON_COPIES = ("level", "message", "subject", "topic", "url", "action", "expires")
"""The arguments that also change copies."""

Texts = Callable[[], Message]
"""A function that returns the unsaved message with the texts of the active language."""


def create(
    texts: Texts,
    *,
    audience: str = "everybody",
    starts: datetime | None = None,
    by_language: bool = True,
) -> Broadcast:
    """Store a broadcast to `audience`. Raises `TypeError` or `ValueError` before writing anything.

    `by_language` says whether the texts may differ by language.
    """
    base, translations = _rendered(texts, by_language=by_language)
    new = Broadcast(
        level=base.level,
        topic=base.topic,
        key=base.key,
        expires=base.expires,
        starts=clean_time("starts", starts),
        audience=clean_audience(audience),
        translations=translations,
        **_texts_of(base),
    )
    store(new)
    return new


def store(new: Broadcast) -> None:
    """Insert `new`, whose texts have been validated; one statement. Raises `ValueError`."""
    check(new)
    new.save(force_insert=True, using=primary_database())
    forget()


def check(broadcast: Broadcast) -> None:
    """Raise `ValueError` if the level is not persistent, or it expires before it starts."""
    if not is_persistent(broadcast.level):
        raise ValueError(f"level must be persistent, not {broadcast.level!r}.")
    starts, expires = broadcast.starts, broadcast.expires
    if starts is not None and expires is not None and expires <= starts:
        raise ValueError(f"expires must be later than starts, not {expires} after {starts}.")


def is_lazy(*texts: Any) -> bool:
    """Return whether one of `texts` may differ by language."""
    return any(isinstance(text, Promise) for text in texts)


def _rendered(texts: Texts, *, by_language: bool) -> tuple[Message, dict[str, dict[str, Any]]]:
    """Return the message in the site's language, and the texts that differ in other languages."""
    with translation.override(settings.LANGUAGE_CODE):
        base = _checked(texts())
    translations: dict[str, dict[str, Any]] = {}
    codes = dict(settings.LANGUAGES) if by_language and settings.USE_I18N else {}
    for code in codes:
        with translation.override(code):
            other = _texts_of(_checked(texts()))
        if changed := {k: v for k, v in other.items() if v != getattr(base, k)}:
            translations[code] = changed
    return base, translations


def _checked(message: Message) -> Message:
    message.prepare_text()
    if not message.message:
        raise ValueError("message must not be empty.")
    return message


def _texts_of(message: Message) -> dict[str, Any]:
    texts = {name: getattr(message, name) for name in Broadcast.TEXTS}
    # Convert to plain strings for JSON; `is_safe` keeps the mark.
    return {k: v if isinstance(v, bool) else "" + str(v) for k, v in texts.items()}


# Changes


def withdraw(broadcast: Broadcast) -> int:
    """See `Broadcast.withdraw`."""
    _end(broadcast)
    return sum(
        mailbox.remove_copies([(owner, pk) for owner, pk, _ in batch])
        for batch in _copies(broadcast)
    )


@retry_on_deadlock
def _end(broadcast: Broadcast) -> None:
    rows = Broadcast.objects.using(primary_database()).filter(pk=broadcast.pk)
    now = timezone.now()
    if rows.filter(withdrawn_at=None).update(withdrawn_at=now, edition=F("edition") + 1):
        forget()
    broadcast.refresh_from_db(using=primary_database())


def edit(broadcast: Broadcast, **changes: Any) -> int:
    """See `Broadcast.edit`."""
    for name in changes:
        if name not in EDITABLE:
            raise TypeError(f"edit takes {', '.join(EDITABLE)}, not {name!r}.")
    if not changes:
        return 0
    if not changes.get("message", True):
        raise ValueError("message must not be empty.")
    _save(broadcast, lambda now: _changed(now, changes))
    return _edit_copies(broadcast) if {*ON_COPIES} & {*changes} else 0


def replace(broadcast: Broadcast, new: Broadcast) -> None:
    """Replace all values with those of the unsaved broadcast `new`.

    The copies are edited in batches after the transaction has committed.
    """
    _save(broadcast, lambda _now: new)
    transaction.on_commit(partial(_edit_copies, broadcast), using=primary_database())


def _edit_copies(broadcast: Broadcast) -> int:
    return sum(_edit_batch(broadcast.pk, batch) for batch in _copies(broadcast))


@retry_on_deadlock
def _edit_batch(pk: int, batch: list[tuple[Any, int, str]]) -> int:
    rows, edited = Broadcast.objects.using(primary_database()), 0
    by_language: dict[str, list[tuple[Any, int]]] = {}
    for owner, copy, language in batch:
        by_language.setdefault(language, []).append((owner, copy))
    with transaction.atomic(using=rows.db):
        take_sqlite_lock(primary_rows())
        # Read the current values, so that concurrent edits leave the latest ones in every copy.
        now = rows.select_for_update().get(pk=pk)
        for language, copies in by_language.items():
            edited += mailbox.edit_copies(copies, now.in_language(language))
    return edited


@retry_on_deadlock
def _save(broadcast: Broadcast, change: Callable[[Broadcast], Broadcast]) -> None:
    rows = Broadcast.objects.using(primary_database())
    with transaction.atomic(using=rows.db):
        take_sqlite_lock(primary_rows())
        now = rows.select_for_update().get(pk=broadcast.pk)
        if now.withdrawn_at is not None:
            raise ValueError("The broadcast has been withdrawn and cannot be edited.")
        if now.receipt_count is not None:
            raise ValueError("The broadcast ended long ago and cannot be edited.")
        changed = change(now)
        check(changed)
        columns = {name: getattr(changed, name) for name in (*EDITABLE, "is_safe", "translations")}
        rows.filter(pk=now.pk).update(**columns, edition=F("edition") + 1)
        if changed.audience != now.audience:
            # Check users who were not in the old audience again.
            Receipt.objects.using(rows.db).filter(broadcast=now, message_id=None).delete()
        forget()
    broadcast.refresh_from_db(using=rows.db)


def _changed(broadcast: Broadcast, changes: dict[str, Any]) -> Broadcast:
    """Return an unsaved copy with `changes`. Raises `TypeError` or `ValueError`."""
    source = broadcast.in_language("")
    values: dict[str, Any] = {name: changes.get(name, getattr(source, name)) for name in ON_COPIES}
    values["key"] = broadcast.key
    lazy = is_lazy(*values.values())
    base, rendered = _rendered(lambda: new_message(**values), by_language=lazy)
    # An unchanged text keeps its translations.
    kept = {name for name in Broadcast.TEXTS if name not in changes}
    if "message" in changes:
        kept.discard("is_safe")
    translations = {
        code: {k: v for k, v in texts.items() if k in kept}
        for code, texts in broadcast.translations.items()
    }
    for code, texts in rendered.items():
        new = {k: v for k, v in texts.items() if k not in kept}
        translations[code] = {**translations.get(code, {}), **new}
    return Broadcast(
        pk=broadcast.pk,
        level=base.level,
        topic=base.topic,
        key=base.key,
        expires=base.expires,
        starts=clean_time("starts", changes.get("starts", broadcast.starts)),
        audience=(
            clean_audience(changes["audience"]) if "audience" in changes else broadcast.audience
        ),
        translations={code: texts for code, texts in translations.items() if texts},
        **_texts_of(base),
    )


def _copies(broadcast: Broadcast) -> Iterator[list[tuple[Any, int, str]]]:
    """Yield batches of copies, with the owner, key and language of each; one query each."""
    rows = Receipt.objects.using(primary_database()).filter(broadcast=broadcast)
    # In the order of the unique index, so that concurrent inserts and deletions skip no copy.
    rest = found = rows.order_by("user").values_list("user_id", "message_id", "language")
    while batch := list(rest[:BATCH_SIZE]):
        if copies := [(owner, pk, language) for owner, pk, language in batch if pk is not None]:
            yield copies
        rest = found.filter(user__gt=batch[-1][0])


Broadcast.changes = sys.modules[__name__]
