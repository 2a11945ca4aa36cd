"""Throttle lookups of users, counted in the process and in the cache instead of a table."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from threading import Lock
from typing import Any

from django.core.cache import cache
from django.utils.crypto import salted_hmac

from persistent_messages.conf import Rate, get_config

logger = logging.getLogger(__name__)

MAX_USERS = 10_000
"""Users that a process keeps counts for."""


class ProcessCounter:
    """Counts in this process for the users who made the latest lookups."""

    def __init__(self) -> None:
        self.counts: OrderedDict[str, int] = OrderedDict()
        self.lock = Lock()

    def add(self, key: str, count: int) -> int:
        """Add `count` to the count of `key`, and return the total."""
        with self.lock:
            total = self.counts.pop(key, 0) + count
            self.counts[key] = total
            if len(self.counts) > MAX_USERS:
                self.counts.popitem(last=False)
            return total


_process_counter = ProcessCounter()


def allow_lookups(user: Any, count: int = 1) -> bool:
    """Count lookups of other users by `user`, and return whether LOOKUP_RATE allows them.

    They are counted in the process and in the default cache. With a shared cache, the rate applies
    to all processes together. With a dummy cache, or after the cache is cleared, it applies to each
    process. A table would need a write for each keystroke. No query, unless the cache uses the
    database.
    """
    rate = get_config().lookup_rate
    if rate is None:
        return True
    key = _cache_key(user, rate)
    # Always count in both, so that a user who is above the rate stays above it everywhere.
    totals = (_process_counter.add(key, count), _count_in_cache(key, count, rate))
    return max(totals) <= rate.limit


def refund_lookups(user: Any, count: int) -> None:
    """Subtract `count` lookups, because they only found recipients that `user` then wrote to."""
    rate = get_config().lookup_rate
    if rate is not None:
        key = _cache_key(user, rate)
        _process_counter.add(key, -count)
        _count_in_cache(key, -count, rate)


def _cache_key(user: Any, rate: Rate) -> str:
    window = int(time.time() // rate.period.total_seconds())
    # A key may later belong to another user, if the table has been restored or emptied.
    account = getattr(user, "get_session_auth_hash", str)()
    text = f"{user.pk}:{account}:{window}"
    return salted_hmac("persistent_messages.rates", text, algorithm="sha256").hexdigest()


def _count_in_cache(key: str, count: int, rate: Rate) -> int:
    name = f"persistent_messages.lookups.{key}"
    try:
        cache.add(name, 0, rate.period.total_seconds())
        return int(cache.incr(name, count))
    except ValueError:  # a dummy cache
        return 0
    except Exception:
        logger.warning("The cache did not count a lookup of users.", exc_info=True)
        return 0
