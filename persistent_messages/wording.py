"""Words and short forms for what a message has: level, age, names, what was searched."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.contrib.messages import constants as contrib
from django.utils import formats, timezone
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, npgettext, pgettext

from .constants import base_level
from .models import SNIPPET_LENGTH, Message

LEVEL_NAMES = {
    "error": gettext_lazy("Error"),
    "warning": gettext_lazy("Warning"),
    "success": gettext_lazy("Success"),
    "info": gettext_lazy("Info"),
    "debug": gettext_lazy("Debug"),
}


# What it is


def level_name(level: int) -> str:
    """Return how icons and classes name `level`; "info" for a site's own."""
    return contrib.DEFAULT_TAGS.get(base_level(level), "info")


def level_word(name: str) -> str:
    """Say a level in a word, which colour and icon only repeat."""
    return str(LEVEL_NAMES[name])


def plain_title(message: Any) -> str:
    """Name a message, ours or contrib's, in plain text."""
    if not isinstance(message, Message):
        return Message(level=message.level, message=message.message).title
    return message.title


# Of which words were searched


def _any_of(words: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, words)), re.IGNORECASE)


def highlight(text: str, words: list[str]) -> SafeString:
    """Return `text` escaped, with each of `words` in it marked."""
    if not words:
        return conditional_escape(text)
    html, end = [], 0
    for match in _any_of(words).finditer(text):
        html += [escape(text[end : match.start()]), format_html("<mark>{}</mark>", match.group())]
        end = match.end()
    return mark_safe("".join([*html, escape(text[end:])]))  # noqa: S308 (each piece is escaped)


def excerpt(message: Message, words: list[str]) -> str:
    """Return the beginning of the text, or what stands around the first of `words` in it."""
    match = _any_of(words).search(message.plain_text) if words else None
    if match is None or match.end() < SNIPPET_LENGTH:
        return message.snippet
    text = message.plain_text[max(0, match.start() - 60) : match.start() + SNIPPET_LENGTH]
    return f"… {' '.join(text.split())} …"


# Whom it is from


def initials(name: str) -> str:
    """Return the first letters of the first and the last word of a name."""
    letters = [letter for word in name.split() if (letter := next(filter(str.isalnum, word), ""))]
    return "".join(letters[:1] + letters[1:][-1:]).upper()


def hue(name: str) -> int:
    """Return one of the six colours of people."""
    return sum(map(ord, name)) % 6 + 1


# When it came


def _local(moment: datetime) -> datetime:
    # Without USE_TZ every datetime is naive, and local already.
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def local_day(moment: datetime) -> str:
    """Return the day of `moment` where the reader is, as ISO 8601 has it."""
    return _local(moment).date().isoformat()


def day_heading(moment: datetime) -> str:
    """Name the day of `moment`: today, yesterday, else the date."""
    day = _local(moment).date()
    ago = (_local(timezone.now()).date() - day).days
    names = {0: _("Today"), 1: _("Yesterday")}
    return names.get(ago) or formats.date_format(day, "DATE_FORMAT")


def moment_ago(moment: datetime) -> SafeString:
    """Return `<time>`: how long ago in short, the exact time as its title."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        formats.date_format(_local(moment), "DATETIME_FORMAT"),
        _short_age(moment),
    )


def _short_age(moment: datetime) -> str:
    minutes = max(0, int((timezone.now() - moment).total_seconds() // 60))
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
    days = int(-(-(moment - timezone.now()).total_seconds() // 86400))
    return ngettext("%(count)d day left", "%(count)d days left", days) % {"count": days}
