"""Times as the columns hold them.

With USE_TZ they are aware. Without it they are naive times of TIME_ZONE, whatever zone is
activated, and say an hour too much or too little where the clocks were changed in between.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as time_zones

from django.conf import settings
from django.utils import timezone


def as_stored(moment: datetime) -> datetime:
    """Return `moment`, an aware time, as the columns hold it."""
    if settings.USE_TZ:
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone()).replace(fold=0)


def ago(period: timedelta) -> datetime:
    """Return when `period` before now was.

    Never too late: where the stored times leave it open which of two hours was meant, the earlier.
    """
    now = timezone.now()
    return (
        min(now - period, as_stored(_exact(now) - period))
        if timezone.is_naive(now)
        else now - period
    )


def after(moment: datetime, period: timedelta) -> datetime:
    """Return when `period` has passed since `moment`, a stored time; never too soon."""
    later = moment + period
    return max(later, as_stored(_exact(moment) + period)) if timezone.is_naive(moment) else later


def elapsed(start: datetime, end: datetime) -> timedelta:
    """Return how long it is from `start` to `end`, stored times, or less than nothing.

    Of an hour that the clocks showed twice, what makes it short but not negative.
    """
    between = _exact(end, fold=1) - _exact(start, fold=1)
    return between if between >= timedelta() else _exact(end, fold=1) - _exact(start)


def _exact(moment: datetime, fold: int = 0) -> datetime:
    # In UTC: between times of one zone Python takes no notice of its changes.
    if timezone.is_naive(moment):
        moment = moment.replace(tzinfo=timezone.get_default_timezone(), fold=fold)
    return moment.astimezone(time_zones.utc)
