"""Thread heads: the letter that represents its conversation in the list of a folder.

They are updated whenever letters are written, moved or deleted, so that no list needs grouping when
it is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    Count,
    Max,
    Min,
    PositiveIntegerField,
    Q,
    Value,
    When,
)
from django.db.models.functions import Substr
from django.utils import timezone

from persistent_messages.constants import Folder
from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet

BATCH_SIZE = 500
"""Conversations updated by one statement."""
SNIPPET_SOURCE_LENGTH = 1600
"""Characters of a letter read for its snippet."""


def update_thread_heads(
    rows: MessageQuerySet,
    users: Collection[Any],
    threads: Collection[UUID],
    written: Collection[Message] = (),
) -> None:
    """Make the newest letter of a conversation in each folder its only head in that folder.

    In the inbox, a head is unread as long as any letter of its conversation in the inbox is, so
    unread messages are listed and counted by heads alone. A head stores how many letters its page
    shows, and a snippet of the owner's reply if that is the latest letter.

    Updates the conversations `threads` in the mailboxes of `users`. One query for each `BATCH_SIZE`
    conversations reads their letters once. Up to five more statements follow if anything changes,
    or four if the latest letters are in `written`.
    """
    snippets = {message.pk: message.snippet for message in written}
    keys, mailboxes = list(threads), rows.filter(user__in=users)
    for start in range(0, len(keys), BATCH_SIZE):
        letters = mailboxes.in_threads(keys[start : start + BATCH_SIZE])
        while _update_thread_heads_once(mailboxes, letters, snippets):
            pass


class _FolderThread(NamedTuple):
    """The part of a conversation that is in one folder of one mailbox."""

    user: Any
    thread: UUID
    folder: int
    letters: int
    newest: int
    newest_unread: int | None
    first_head: int | None
    last_head: int | None
    heads: int
    current_length: int | None
    """`thread_length` of the head."""
    current_snippet: str | None
    """`reply_snippet` of the head."""

    @property
    def known_heads(self) -> set[int]:
        """At most two of the heads: the first and the last."""
        return {head for head in (self.first_head, self.last_head) if head is not None}


class _Summary(NamedTuple):
    """What a head stores about its conversation."""

    length: int
    snippet: str = ""


def _update_thread_heads_once(
    mailboxes: MessageQuerySet, letters: MessageQuerySet, snippets: dict[int, str]
) -> bool:
    # Returns whether more is to be done, as one query finds at most two heads for each folder.
    heads: set[int] = set()
    unread: set[int] = set()
    superseded: dict[int, int] = {}
    parts = _folder_threads(letters)
    for part in parts:
        if part.newest not in part.known_heads:
            heads.add(part.newest)
        superseded.update(dict.fromkeys(part.known_heads - {part.newest}, part.newest))
        if part.folder == Folder.INBOX and part.newest_unread not in (None, part.newest):
            unread.add(part.newest)
    _update(mailboxes, heads, superseded_by=None)
    _update(mailboxes, unread, read_at=None)
    for some in _batches(superseded):
        newer = (When(pk=key, then=Value(superseded[key])) for key in some)
        _update(mailboxes, some, superseded_by=Case(*newer, output_field=BigIntegerField()))
    _summarize(mailboxes, parts, snippets)
    return any(part.heads > 2 for part in parts)


def _folder_threads(letters: MessageQuerySet) -> list[_FolderThread]:
    """Return the parts of each conversation in each folder, sorted by conversation; one query."""
    is_head = Q(superseded_by=None)
    is_unread = Q(read_at=None) & (Q(expires=None) | Q(expires__gt=timezone.now()))
    found = letters.order_by().values("user", "thread", "folder")
    rows = found.annotate(
        letters=Count("pk"),
        newest=Max("pk"),
        newest_unread=Max("pk", filter=is_unread),
        first_head=Min("pk", filter=is_head),
        last_head=Max("pk", filter=is_head),
        heads=Count("pk", filter=is_head),
        current_length=Max("thread_length", filter=is_head),
        current_snippet=Max("reply_snippet", filter=is_head),
    ).values_list(*_FolderThread._fields)
    # Sorted in Python: the database mostly returns this order, but does not guarantee it.
    return sorted(map(_FolderThread._make, rows), key=_mailbox_and_thread)


def _mailbox_and_thread(part: _FolderThread) -> tuple[str, UUID]:
    return str(part.user), part.thread


def _summarize(
    mailboxes: MessageQuerySet, parts: list[_FolderThread], snippets: dict[int, str]
) -> None:
    lengths: dict[int, int] = {}
    replies: dict[int, int] = {}  # the key of the owner's reply, by the key of the head
    for _, group in groupby(parts, _mailbox_and_thread):
        together = list(group)
        kept = [part for part in together if part.folder != Folder.TRASH]
        latest = max(kept, key=lambda part: part.newest, default=None)
        for part in together:
            beside = kept if part in kept else [part]
            lengths[part.newest] = sum(each.letters for each in beside)
            if latest and latest.folder == Folder.SENT and part in kept and part is not latest:
                replies[part.newest] = latest.newest
    snippets = {**snippets, **_snippets(mailboxes, {*replies.values()} - {*snippets})}
    changed: dict[int, _Summary] = {}
    for part in parts:
        wanted = _Summary(lengths[part.newest], snippets.get(replies.get(part.newest, 0), ""))
        is_alone = part.known_heads == {part.newest}
        if not is_alone or (part.current_length, part.current_snippet or "") != wanted:
            changed[part.newest] = wanted
    for some in _batches(changed):
        _update(
            mailboxes,
            some,
            thread_length=Case(
                *(When(pk=key, then=Value(changed[key].length)) for key in some),
                output_field=PositiveIntegerField(),
            ),
            reply_snippet=Case(
                *(When(pk=key, then=Value(changed[key].snippet)) for key in some),
                output_field=CharField(),
            ),
        )


def _snippets(mailboxes: MessageQuerySet, keys: Collection[int]) -> dict[int, str]:
    if not keys:
        return {}
    texts = mailboxes.filter(pk__in=keys).order_by()
    return {
        key: mailboxes.model(message=text).snippet
        for key, text in texts.values_list("pk", Substr("message", 1, SNIPPET_SOURCE_LENGTH))
    }


def _update(mailboxes: MessageQuerySet, keys: Collection[int], **values: Any) -> None:
    for some in _batches(keys):
        mailboxes.filter(pk__in=some).update(**values)


def _batches(keys: Collection[int]) -> Iterator[list[int]]:
    # A fixed order, so that two transactions that write the same rows do not deadlock.
    ordered = sorted(keys)
    for start in range(0, len(ordered), BATCH_SIZE):
        yield ordered[start : start + BATCH_SIZE]
