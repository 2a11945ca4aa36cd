"""The list of running broadcasts, which every page needs, cached for a few seconds.

It is cached in the process, and in the site's cache for all processes. Uncommitted changes are only
visible in their own transaction.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeGuard
from weakref import WeakKeyDictionary

from django.core.cache import cache
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from persistent_messages.conf import get_config
from persistent_messages.db.transactions import outermost_transaction
from persistent_messages.mailbox.writes import primary_database
from persistent_messages.models import Broadcast, is_between

logger = logging.getLogger(__name__)

KEY = "persistent_messages.running_broadcasts"


class Running(NamedTuple):
    """The properties of a broadcast that decide whether to deliver it."""

    pk: int
    edition: int
    audience: str
    starts: datetime | None
    expires: datetime | None

    @property
    def name(self) -> str:
        """The name under which a session remembers this edition of the broadcast."""
        return f"{self.pk}.{self.edition}"


class Listed(NamedTuple):
    """The list at the time it was read."""

    until: float
    """When it must be read again, in seconds since the epoch."""
    broadcasts: list[Running]


class _Process:
    """The cache of this process."""

    listed: Listed | None = None


uncommitted: WeakKeyDictionary[Any, Listed | None] = WeakKeyDictionary()
"""The lists of transactions that have changed broadcasts; None until it is read again."""


def running() -> list[Running]:
    """Return the running broadcasts, oldest first.

    One query, or none while the list is cached for `BROADCAST_REFRESH` seconds.
    """
    return [each for each in _listed().broadcasts if is_between(each.starts, each.expires)]


def forget() -> None:
    """Clear the list: at once for this transaction, and after commit for all others."""
    block = outermost_transaction(primary_database())
    if block is None:
        _forget_cached()
        return
    uncommitted[block] = None

    def forget_cached() -> None:
        uncommitted.pop(block, None)
        _forget_cached()

    transaction.on_commit(forget_cached, using=primary_database())


def _forget_cached() -> None:
    _Process.listed = None
    try:
        cache.delete(KEY)
    except Exception:
        logger.exception("The cache does not answer.")


def _listed() -> Listed:
    # Do not ask for the primary database without need: some routers then pin the request to it.
    block = outermost_transaction(primary_database()) if uncommitted else None
    if block is not None and block in uncommitted:
        own = uncommitted[block]
        if not _is_fresh(own):
            own = uncommitted[block] = _read(Broadcast.objects.using(primary_database()))
        return own
    if not _is_fresh(_Process.listed):
        _Process.listed = _from_cache() or _read_for_all()
    return _Process.listed


def _is_fresh(listed: Listed | None) -> TypeGuard[Listed]:
    return listed is not None and time.time() < listed.until


def _from_cache() -> Listed | None:
    try:
        found = cache.get(KEY)
    except Exception:
        logger.exception("The cache does not answer.")
        return None
    if not isinstance(found, tuple):
        return None
    listed = Listed(found[0], [Running._make(each) for each in found[1]])
    return listed if _is_fresh(listed) else None


def _read_for_all() -> Listed:
    listed = _read(Broadcast.objects.all())
    plain = (listed.until, [tuple(each) for each in listed.broadcasts])
    try:
        cache.set(KEY, plain, get_config().BROADCAST_REFRESH)
    except Exception:
        logger.exception("The cache does not answer.")
    return listed


def _read(rows: QuerySet[Broadcast]) -> Listed:
    now, seconds = timezone.now(), get_config().BROADCAST_REFRESH
    found = rows.filter(
        Q(starts=None) | Q(starts__lte=now + timedelta(seconds=seconds)),
        Q(expires=None) | Q(expires__gt=now),
        withdrawn_at=None,
    )
    listed = found.order_by("pk").values_list(*Running._fields)
    return Listed(time.time() + seconds, [Running._make(row) for row in listed])
