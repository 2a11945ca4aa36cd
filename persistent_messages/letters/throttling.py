"""Bounds on what a user asks in a time: how often, counted where no table need be written."""

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
"""Users whose counts a process keeps."""


class ProcessCounter:
    """Counts within this process, of the users who asked latest."""

    def __init__(self) -> None:
        self.counts: OrderedDict[str, int] = OrderedDict()
        self.lock = Lock()

    def add(self, key: str, count: int) -> int:
        """Return what the count of `key` is with `count` more."""
        with self.lock:
            total = self.counts.pop(key, 0) + count
            self.counts[key] = total
            if len(self.counts) > MAX_USERS:
                self.counts.popitem(last=False)
            return total


_process_counter = ProcessCounter()


def allow_lookups(user: Any, count: int = 1) -> bool:
    """Count `count` lookups of other users by `user`; tell whether LOOKUP_RATE allows them.

    Counted in the process and in the default cache of the site: a cache that is shared makes the
    rate hold for all processes together, and one that is none, or is cleared, leaves that of each
    process. A table would be written for each key that somebody types. No query, unless the cache
    is a table.
    """
    rate = get_config().lookup_rate
    if rate is None:
        return True
    key = _cache_key(user, rate)
    # Both, whatever the first says: who is above the rate by far stays above it everywhere.
    totals = (_process_counter.add(key, count), _count_in_cache(key, count, rate))
    return max(totals) <= rate.limit


def refund_lookups(user: Any, count: int) -> None:
    """Uncount `count` lookups: they told nothing but what `user` had a right to know."""
    rate = get_config().lookup_rate
    if rate is not None:
        key = _cache_key(user, rate)
        _process_counter.add(key, -count)
        _count_in_cache(key, -count, rate)


def _cache_key(user: Any, rate: Rate) -> str:
    window = int(time.time() // rate.period.total_seconds())
    # A key may be that of another user some day, where the table was restored or emptied.
    account = getattr(user, "get_session_auth_hash", str)()
    text = f"{user.pk}:{account}:{window}"
    return salted_hmac("persistent_messages.rates", text, algorithm="sha256").hexdigest()


def _count_in_cache(key: str, count: int, rate: Rate) -> int:
    name = f"persistent_messages.lookups.{key}"
    try:
        cache.add(name, 0, rate.period.total_seconds())
        return int(cache.incr(name, count))
    except ValueError:  # a cache that keeps nothing
        return 0
    except Exception:
        logger.warning("The cache did not count a lookup of users.", exc_info=True)
        return 0
