"""Actions on any number of messages, in steps: a request acts on a bounded number of them.

What is left travels in a signed token with the page's next request, which goes on where the last
one ended. All steps have the same time: together they are one change to undo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.core import signing
from django.db.models import Q
from django.utils import timezone

from persistent_messages import mailbox
from persistent_messages.constants import Folder
from persistent_messages.mailbox import undo_tokens
from persistent_messages.mailbox.changes import Change
from persistent_messages.models import Message
from persistent_messages.querysets import NIL_UUID, MessageQuerySet

from .filters import Filter

MAX_ROWS = 1000
"""How many rows one request, and one transaction of it, changes at most."""
FIRST_BATCH_SIZE = 128
"""With how many rows of a list a step begins; it takes twice as many each time until it is full."""
COUNT_LIMIT = 100_000
"""Up to so many rows that are left are counted, to say how far a task is."""
SALT = "persistent_messages.steps"
CHANGES: dict[str, mailbox.ChangeFunction] = {
    "read": mailbox.mark_read,
    "unread": mailbox.mark_unread,
    "archive": mailbox.archive,
    "restore": mailbox.restore,
    "delete": mailbox.delete,
}


@dataclass(frozen=True)
class BulkAction:
    """What is to be done to some rows of a list, and how much of it was done.

    A row of a list stands for its whole conversation in that folder.
    """

    verb: str
    """One of `CHANGES`, or "undo"."""
    folder: Folder
    at: datetime
    """When it began: the time of reading or moving that its rows get."""
    box: str = ""
    """The list, by the names of a `Filter`; "" for the rows of `ids`."""
    level: str = ""
    topic: str = ""
    newest: int | None = None
    """What arrived after this one stays as it is."""
    leaves_letters: bool = False
    """Whether it is done to notices only."""
    ids: tuple[int, ...] = ()
    target: Folder | None = None
    """Of an undo: where the rows were moved; None where they were marked as read."""
    after: int | None = None
    """The row of the list at which the last step ended."""
    done: int = 0
    total: int | None = None
    """How many there were at the beginning; None for more than `COUNT_LIMIT`."""

    @classmethod
    def of_list(cls, verb: str, filter_: Filter, newest: int) -> BulkAction:
        """Return the task to do it to all that `filter_` shows, without its words."""
        box, level, topic = filter_.box, filter_.level, filter_.topic
        return cls(verb, filter_.folder, timezone.now(), box, level, topic, newest)

    @classmethod
    def of_rows(cls, verb: str, folder: Folder, ids: set[int]) -> BulkAction:
        """Return the task to do it to these rows of `folder`, and to their conversations there."""
        return cls(verb, folder, timezone.now(), ids=tuple(sorted(ids)))

    @classmethod
    def of_undo(cls, change: Change) -> BulkAction:
        """Return the task to take `change` back."""
        return cls("undo", change.folder, change.at, target=change.target)

    @property
    def change(self) -> Change:
        """Of an undo: what it takes back."""
        action = "read" if self.target is None else "move"
        return Change(action, self.folder, self.at, target=self.target)


def make_token(user: Any, task: BulkAction) -> str:
    """Return `task` as a text that only `user` can use, for a day."""
    values = [
        task.verb,
        task.folder.value,
        undo_tokens.to_microseconds(task.at),
        task.box,
        task.level,
        task.topic,
        task.newest,
        task.leaves_letters,
        task.ids,
        None if task.target is None else task.target.value,
        task.after,
        task.done,
        task.total,
    ]
    return signing.dumps(values, salt=f"{SALT}.{user.pk}", compress=True)


def read_token(user: Any, token: str) -> BulkAction | None:
    """Return the task that `token` stands for; None if it is forged, too old, or another's."""
    try:
        values = signing.loads(token, salt=f"{SALT}.{user.pk}", max_age=undo_tokens.MAX_AGE)
        verb, folder, at, box, level, topic, newest, *rest = values
        leaves, ids, target, after, done, total = rest
        return BulkAction(
            verb,
            Folder(folder),
            undo_tokens.from_microseconds(at),
            box=box,
            level=level,
            topic=topic,
            newest=newest,
            leaves_letters=leaves,
            ids=tuple(ids),
            target=None if target is None else Folder(target),
            after=after,
            done=done,
            total=total,
        )
    except (signing.BadSignature, OverflowError, ValueError, TypeError):
        return None


def run_step(user: Any, task: BulkAction) -> tuple[Change, BulkAction | None]:
    """Do the next step of `task`: change `MAX_ROWS` rows at most, in one transaction.

    Returns the change that all steps make until now, and what is left, None for nothing. Rows that
    were changed meanwhile, or came to the folder, stay as they are.
    """
    if task.verb == "undo":
        return _undo_step(user, task)
    keys, after, is_all = _next_rows(user, task)
    rows = Message.objects.filter(pk__in=keys)
    change = CHANGES[task.verb](user, task.folder, rows, at=task.at)
    done = task.done + change.count
    change = replace(change, count=done)
    if is_all:
        return change, None
    rest = replace(task, after=after, done=done)
    return change, rest if task.done else replace(rest, total=_total(done, _remaining(user, rest)))


def _undo_step(user: Any, task: BulkAction) -> tuple[Change, BulkAction | None]:
    count = mailbox.undo(user, task.change, MAX_ROWS)
    done, left = task.done + count, mailbox.undoable_rows(user, task.change)
    change = Change("undo", task.folder, task.at, done)
    if not left.exists():
        return change, None
    rest = replace(task, done=done)
    return change, rest if task.done else replace(rest, total=_total(done, left))


def _total(done: int, left: MessageQuerySet) -> int | None:
    count = left.count_up_to(COUNT_LIMIT + 1)
    return None if count > COUNT_LIMIT else done + count


def _next_rows(user: Any, task: BulkAction) -> tuple[list[int], int | None, bool]:
    """Return the keys of the next rows, where they end in the list, and whether they are all.

    Conversations stay whole, unless one has more letters than a step: then its oldest come first.
    """
    found = list(_thread_heads(user, task).values_list("pk", "thread")[: MAX_ROWS + 1])
    heads, is_all = found[:MAX_ROWS], len(found) <= MAX_ROWS
    keys: list[int] = []
    after, some = task.after, FIRST_BATCH_SIZE
    while heads and len(keys) < MAX_ROWS:
        threads = [thread for _, thread in heads[:some] if thread is not None]
        letters = _letters(user, task, threads) if threads else []
        if len(letters) > MAX_ROWS and some > 1:
            some //= 2
            continue
        by_thread: dict[Any, list[int]] = {}
        for pk, thread in letters:
            by_thread.setdefault(thread, []).append(pk)
        for pk, thread in heads[:some]:
            own = [pk] if thread is None else by_thread.get(thread, [])
            if keys and len(keys) + len(own) > MAX_ROWS:
                return keys, after, False
            if len(own) > MAX_ROWS:
                return own[:MAX_ROWS], after, False
            keys, after = keys + own, pk
        heads, some = heads[some:], some * 2
    return keys, after, is_all and not heads


def _thread_heads(user: Any, task: BulkAction) -> MessageQuerySet:
    rows = Message.objects.on_primary()
    if task.newest == 0:
        return rows.none()  # its page showed nothing, or a search, which offers no such action
    if not task.box:
        lying = rows.owned_by(user).in_folder(task.folder).filter(pk__in=task.ids)
        return _unchanged(lying, task).older_than(task.after).newest_first()
    filter_ = Filter(box=task.box, level=task.level, topic=task.topic)
    shown = _unchanged(filter_.messages_of(user, among=rows), task).older_than(task.after)
    if task.newest is not None:
        # A conversation may have newer letters beside those that were shown.
        shown = shown.filter(Q(pk__lte=task.newest) | Q(thread__gt=NIL_UUID))
    if task.leaves_letters:
        shown = shown.notices()
    is_unread = task.verb == "read" or filter_.box == "unread"
    return shown.unread_thread_heads() if is_unread else shown.thread_heads()


def _letters(user: Any, task: BulkAction, threads: list[Any]) -> list[tuple[int, Any]]:
    rows = Message.objects.on_primary().owned_by(user).letters_in(task.folder, threads)
    rows = _unchanged(rows, task)
    if task.newest is not None:
        rows = rows.up_to(task.newest)
    if task.verb == "read":
        rows = rows.unread()
    elif task.verb == "unread":
        rows = rows.filter(superseded_by=None)
    if len(threads) == 1:
        rows = rows.order_by("pk")
    return list(rows.values_list("pk", "thread")[: MAX_ROWS + 1])


def _unchanged(rows: MessageQuerySet, task: BulkAction) -> MessageQuerySet:
    # What was moved here since is not what its owner saw.
    return rows.filter(Q(moved_at=None) | Q(moved_at__lte=task.at))


def _remaining(user: Any, task: BulkAction) -> MessageQuerySet:
    if not task.box:
        return _thread_heads(user, task).order_by()
    rows = Filter(box=task.box, level=task.level, topic=task.topic).messages_of(
        user, among=Message.objects.on_primary()
    )
    rows = rows.notices() if task.leaves_letters else rows
    rows = rows.unread() if task.verb == "read" else rows
    return rows if task.newest is None else rows.up_to(task.newest)
