"""Actions on any number of messages, in steps: each request changes a bounded number of rows.

The rest of the action is in a signed token, which the page sends with its next request. All steps
use the same time, so together they are one change that can be undone.
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
"""The maximum number of rows that one request changes, in one transaction."""
FIRST_BATCH_SIZE = 128
"""The number of list rows that a step reads first; it doubles until the step is full."""
COUNT_LIMIT = 100_000
"""The number up to which the remaining rows are counted for the progress bar."""
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
    """An action on rows of a list, and its progress.

    A letter in a list represents its whole conversation in that folder.
    """

    verb: str
    """One of `CHANGES`, or "undo"."""
    folder: Folder
    at: datetime
    """When it began; its rows get this as `read_at` or `moved_at`."""
    box: str = ""
    """The `box` of the `Filter` of the list; "" for the rows in `ids`."""
    level: str = ""
    topic: str = ""
    newest: int | None = None
    """The newest message to change; messages that arrived later are left alone."""
    leaves_letters: bool = False
    """Whether it only changes notices."""
    ids: tuple[int, ...] = ()
    target: Folder | None = None
    """For an undo: the folder that rows were moved to; None if they were marked as read."""
    after: int | None = None
    """The row of the list where the last step ended."""
    done: int = 0
    total: int | None = None
    """The number of rows at the beginning; None if there are more than `COUNT_LIMIT`."""

    @classmethod
    def of_list(cls, verb: str, filter_: Filter, newest: int) -> BulkAction:
        """Return an action on all messages of `filter_`, ignoring its search words."""
        box, level, topic = filter_.box, filter_.level, filter_.topic
        return cls(verb, filter_.folder, timezone.now(), box, level, topic, newest)

    @classmethod
    def of_rows(cls, verb: str, folder: Folder, ids: set[int]) -> BulkAction:
        """Return an action on these rows of `folder`, and on their conversations there."""
        return cls(verb, folder, timezone.now(), ids=tuple(sorted(ids)))

    @classmethod
    def of_undo(cls, change: Change) -> BulkAction:
        """Return the undo of `change`."""
        return cls("undo", change.folder, change.at, target=change.target)

    @property
    def change(self) -> Change:
        """For an undo: the change that it reverts."""
        action = "read" if self.target is None else "move"
        return Change(action, self.folder, self.at, target=self.target)


def make_token(user: Any, task: BulkAction) -> str:
    """Return a token for `task` that only `user` can use, for one day."""
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
    """Return the action in `token`; None if it is forged, too old or made for another user."""
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
    """Run the next step of `task`: change at most `MAX_ROWS` rows in one transaction.

    Returns the change made by all steps so far, and the remaining action, or None if it is done.
    Rows that were changed in the meantime, or arrived in the folder, are left alone.
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
    """Return the keys of the next rows, the list row they end at, and whether they are all.

    A step does not split a conversation, unless it has more letters than a step. The oldest letters
    then come first.
    """
    found = list(_thread_heads(user, task).values_list("pk", "thread")[: MAX_ROWS + 1])
    heads, is_all = found[:MAX_ROWS], len(found) <= MAX_ROWS
    keys: list[int] = []
    after, size = task.after, FIRST_BATCH_SIZE
    while heads and len(keys) < MAX_ROWS:
        threads = [thread for _, thread in heads[:size] if thread is not None]
        letters = _letters(user, task, threads) if threads else []
        if len(letters) > MAX_ROWS and size > 1:
            size //= 2
            continue
        by_thread: dict[Any, list[int]] = {}
        for pk, thread in letters:
            by_thread.setdefault(thread, []).append(pk)
        for pk, thread in heads[:size]:
            own = [pk] if thread is None else by_thread.get(thread, [])
            if keys and len(keys) + len(own) > MAX_ROWS:
                return keys, after, False
            if len(own) > MAX_ROWS:
                return own[:MAX_ROWS], after, False
            keys, after = keys + own, pk
        heads, size = heads[size:], size * 2
    return keys, after, is_all and not heads


def _thread_heads(user: Any, task: BulkAction) -> MessageQuerySet:
    rows = Message.objects.on_primary()
    if task.newest == 0:
        return rows.none()  # the page was empty, or a search, which offers no such action
    if not task.box:
        selected = rows.owned_by(user).in_folder(task.folder).filter(pk__in=task.ids)
        return _unchanged(selected, task).older_than(task.after).newest_first()
    filter_ = Filter(box=task.box, level=task.level, topic=task.topic)
    shown = _unchanged(filter_.messages_of(user, among=rows), task).older_than(task.after)
    if task.newest is not None:
        # Keep a conversation whose head is newer: it may have letters that the page showed.
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
    # Exclude rows that were moved here later, because the user did not see them.
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
