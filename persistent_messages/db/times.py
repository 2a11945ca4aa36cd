"""Times as the columns store them.

With USE_TZ they are aware. Without it they are naive times in TIME_ZONE, whatever zone is active,
so differences between them are off by an hour if the clocks changed in between.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as time_zones

from django.conf import settings
from django.utils import timezone


def as_stored(moment: datetime) -> datetime:
    """Return the aware time `moment` as the columns store it."""
    if settings.USE_TZ:
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone()).replace(fold=0)


def ago(period: timedelta) -> datetime:
    """Return the time `period` before now, as the columns store it.

    If that time is ambiguous because the clocks changed, returns the earlier one.
    """
    now = timezone.now()
    return (
        min(now - period, as_stored(_exact(now) - period))
        if timezone.is_naive(now)
        else now - period
    )


def after(moment: datetime, period: timedelta) -> datetime:
    """Return the time `period` after the stored time `moment`; if ambiguous, the later one."""
    later = moment + period
    return max(later, as_stored(_exact(moment) + period)) if timezone.is_naive(moment) else later


def elapsed(start: datetime, end: datetime) -> timedelta:
    """Return the time from `start` to `end`, which are stored times; may be negative.

    If one of them is ambiguous, returns the shortest duration that is not negative.
    """
    between = _exact(end, fold=1) - _exact(start, fold=1)
    return between if between >= timedelta() else _exact(end, fold=1) - _exact(start)


def _exact(moment: datetime, fold: int = 0) -> datetime:
    # Use UTC, because Python ignores clock changes between times of the same zone.
    if timezone.is_naive(moment):
        moment = moment.replace(tzinfo=timezone.get_default_timezone(), fold=fold)
    return moment.astimezone(time_zones.utc)
