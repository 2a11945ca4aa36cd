"""Dates and ages in short."""

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
"""What stands in a format for something else than the date."""


def _local(moment: datetime) -> datetime:
    # Without USE_TZ every datetime is naive, and local already.
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def local_day(moment: datetime) -> date:
    """Return the day of `moment` where the reader is."""
    return _local(moment).date()


def day_heading(moment: datetime) -> str:
    """Name the day of `moment`: today, yesterday, else the date."""
    day = _local(moment).date()
    ago = (_local(timezone.now()).date() - day).days
    names = {0: _("Today"), 1: _("Yesterday")}
    return names.get(ago) or formats.date_format(day, "DATE_FORMAT")


class TimeTags:
    """Elements `time` for a list: each shows the time of day, and its title the date as well.

    With `has_date` they show the date in short, unless that is today's.
    """

    def __init__(self, *, has_date: bool = False) -> None:
        # Looked up once for all of them.
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
        # To format a time is the most costly part of a row: of a day it is done once.
        if self.before_time is None:
            return dateformat.format(local, self.exact)
        day = local.date()
        if day not in self.days:
            self.days[day] = dateformat.format(local, self.before_time)
        return self.days[day] + time


def _text_before_time(exact: str, time: str) -> str | None:
    """Return what `exact`, a format, has before `time`; None if that is not the date alone."""
    if not exact.endswith(time):
        return None
    begin = exact.removesuffix(time)
    names = re.sub(r"\\.", "", begin)  # without letters that stand for themselves
    return begin if names and not begin.endswith("\\") and not TIME_LETTERS & {*names} else None


def date_and_time(moment: datetime) -> SafeString:
    """Return `<time>` with the date in short and the time of day; today's date is left out."""
    return TimeTags(has_date=True).of(moment)


def short_age(moment: datetime) -> str:
    """Say how long ago `moment` was, or on which day."""
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
    """Say how long a message still stays, in whole days, rounded up."""
    days = int(-(-elapsed(timezone.now(), moment).total_seconds() // 86400))
    return ngettext("%(count)d day left", "%(count)d days left", days) % {"count": days}
