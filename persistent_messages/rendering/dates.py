"""Short dates and ages."""

from __future__ import annotations

import re
from datetime import date, datetime
from html import escape

from django.utils import dateformat, formats, timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, npgettext, pgettext

from persistent_messages.db.times import elapsed

TIME_LETTERS = frozenset("aAefgGhHiIOPrsTuUZc")
"""Format characters that are not part of the date."""


def _local(moment: datetime) -> datetime:
    # Without USE_TZ, every datetime is naive and already local.
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def local_day(moment: datetime) -> date:
    """Return the date of `moment` in the current time zone."""
    return _local(moment).date()


def day_heading(moment: datetime) -> str:
    """Return a heading for the day of `moment`: “Today”, “Yesterday” or the date."""
    day = _local(moment).date()
    ago = (_local(timezone.now()).date() - day).days
    names = {0: _("Today"), 1: _("Yesterday")}
    return names.get(ago) or formats.date_format(day, "DATE_FORMAT")


class TimeTags:
    """`<time>` elements for a list. Each shows the time of day; its title has the date as well.

    With `has_date`, an element also shows a short date unless it is today.
    """

    def __init__(self, *, has_date: bool = False) -> None:
        # Look the formats up once for the whole list.
        self.time = formats.get_format("TIME_FORMAT")
        self.dated = formats.get_format("SHORT_DATETIME_FORMAT")
        self.exact = formats.get_format("DATETIME_FORMAT")
        self.before_time = _text_before_time(self.exact, self.time)
        self.today = _local(timezone.now()).date() if has_date else None
        self.days: dict[date, str] = {}

    def of(self, moment: datetime) -> SafeString:
        """Return the element for `moment`."""
        local = _local(moment)
        time = dateformat.format(local, self.time)
        is_dated = self.today is not None and local.date() != self.today
        short = dateformat.format(local, self.dated) if is_dated else time
        return SafeString(
            f'<time datetime="{moment.isoformat(timespec="seconds")}" '
            f'title="{escape(self._exact(local, time))}">{escape(short)}</time>'
        )

    def _exact(self, local: datetime, time: str) -> str:
        # Formatting dates is the slowest part of a row, so each day is formatted once.
        if self.before_time is None:
            return dateformat.format(local, self.exact)
        day = local.date()
        if day not in self.days:
            self.days[day] = dateformat.format(local, self.before_time)
        return self.days[day] + time


def _text_before_time(exact: str, time: str) -> str | None:
    """Return the part of the format `exact` before `time`; None unless it is only the date."""
    if not exact.endswith(time):
        return None
    begin = exact.removesuffix(time)
    letters = re.sub(r"\\.", "", begin)  # without escaped characters
    return begin if letters and not begin.endswith("\\") and not TIME_LETTERS & {*letters} else None


def date_and_time(moment: datetime) -> SafeString:
    """Return a `<time>` element with a short date, unless it is today, and the time of day."""
    return TimeTags(has_date=True).of(moment)


def short_age(moment: datetime) -> str:
    """Return how long ago `moment` was, or its date if that was more than a day ago."""
    minutes = max(0, int(elapsed(moment, timezone.now()).total_seconds() // 60))
    if minutes < 1:
        return pgettext("age", "now")
    if minutes < 60:
        return npgettext("age", "%(count)d min", "%(count)d min", minutes) % {"count": minutes}
    if minutes < 24 * 60:
        hours = minutes // 60
        return npgettext("age", "%(count)d h", "%(count)d h", hours) % {"count": hours}
    return formats.date_format(_local(moment), "SHORT_DATE_FORMAT")


def time_left(moment: datetime) -> str:
    """Return the time until `moment` in whole days, rounded up."""
    days = int(-(-elapsed(timezone.now(), moment).total_seconds() // 86400))
    return ngettext("%(count)d day left", "%(count)d days left", days) % {"count": days}
