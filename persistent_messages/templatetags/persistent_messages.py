"""`{% load persistent_messages %}`: the counter, the inbox to include, what our templates need."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import django
from crispy_forms.templatetags.crispy_forms_tags import CrispyFormNode
from django import template
from django.conf import settings
from django.contrib.messages import constants as contrib
from django.http import HttpRequest
from django.template import Context
from django.urls import NoReverseMatch
from django.utils import formats, timezone
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, npgettext

from persistent_messages import htmx, outage
from persistent_messages.actions import Action, actions_of, address_of
from persistent_messages.constants import base_level
from persistent_messages.counter import counter_context
from persistent_messages.drafts import display_name
from persistent_messages.icons import SVGS
from persistent_messages.inbox import LEVEL_NAMES, Inbox
from persistent_messages.models import SNIPPET_LENGTH, Message
from persistent_messages.text import as_html

OWN_PACK = "persistent_messages/crispy"
"""The template pack for sites that have none."""

register = template.Library()

if django.VERSION < (6, 0):
    # `partialdef` and `partial`, which later versions have built in; a site need not install them.
    from template_partials.templatetags.partials import register as partials

    register.tags.update(partials.tags)


@register.simple_tag
def pm_icon(name: str) -> SafeString:
    """Return the icon `name` as inline SVG, without a name of its own."""
    return SVGS[name]


# Parts of a page


@register.simple_tag(takes_context=True)
def unread_counter(context: Context) -> str:
    """Show how many messages are unread: "99+" above `COUNTER_LIMIT`, nothing for visitors.

    One bounded query a request, however often the page shows it. Nothing, and never 0, where the
    database does not answer.
    """
    request: HttpRequest | None = context.get("request")
    if request is None or outage.known_user(request) is None:
        return ""
    counted = outage.answer(request, "messages", partial(counter_context, request), None)
    if counted is None:
        return ""
    return SafeString(htmx.render_fragment(request, htmx.COUNTER, counted))


@register.simple_tag(takes_context=True)
def is_signed_in(context: Context) -> bool:
    """Tell whether a user looks at the page; not where the database does not say."""
    request: HttpRequest | None = context.get("request")
    return request is not None and outage.known_user(request) is not None


@register.simple_tag(takes_context=True)
def inbox_of(context: Context) -> Inbox:
    """Return what the view chose to show, else the newest of the inbox; no query yet."""
    inbox = context.get("inbox")
    return inbox if isinstance(inbox, Inbox) else Inbox(context["request"])


@register.simple_tag(takes_context=True)
def current_path(context: Context) -> str:
    """Return the path of the page people look at, to come back to."""
    return str(context.get("pm_here") or htmx.current_path(context["request"]))


@dataclass(frozen=True)
class Strip:
    """What the strip shows."""

    notices: list[Message]
    """Persistent and unread, newest first: they stay until somebody closes them."""
    passing: list[Any]
    """Shown this once, in the order they came."""

    @property
    def newest(self) -> int:
        """The key of the latest notice: closing all touches nothing later."""
        return max((message.pk for message in self.notices), default=0)


@register.simple_tag(takes_context=True)
def strip(context: Context) -> Strip:
    """Hand out what waits, by kind; the flag `hide_persistent` leaves the notices out."""
    notices: list[Message] = []
    passing: list[Any] = []
    for message in context.get("messages") or ():
        (notices if _stays(message) else passing).append(message)
    return Strip([] if context.get("hide_persistent") else notices, passing)


def _stays(message: Any) -> bool:
    # What a cookie brings along has no row, whatever its level.
    return isinstance(message, Message) and message.is_persistent


# Letters


@register.simple_tag(takes_context=True)
def letter_form(context: Context, form: Any) -> SafeString:
    """Render a form with crispy-forms: in the look of the site's CRISPY_TEMPLATE_PACK, else ours.

    Unlike `{% crispy %}` it works without that setting, and without the app of crispy-forms.
    """
    with context.push(pm_form=form):
        node = CrispyFormNode("pm_form", None, template_pack=_site_pack() or OWN_PACK)
        return SafeString(node.render(context))


@register.filter
def has_own_pack(form: Any) -> bool:  # noqa: ARG001 (a filter needs a value)
    """Tell whether forms have the look of a template pack of the site."""
    return bool(_site_pack())


def _site_pack() -> str | None:
    return getattr(settings, "CRISPY_TEMPLATE_PACK", None)


@register.filter
def person_name(user: Any) -> str:
    """Return the name by which people know `user`."""
    return display_name(user)


@register.filter
def message_html(message: Message) -> SafeString:
    """Return the text of a message as HTML."""
    return as_html(message)


# What a message offers


@register.filter
def actions(message: Message) -> list[Action]:
    """Return what can be done with `message` where it lies, beside opening it."""
    return actions_of(message)


@register.filter
def address(message: Message, view: str) -> str:
    """Return the address of the page `view` of `message`; quicker than `{% url %}`."""
    return address_of(view, message.pk)


@register.filter
def detail_address(message: Any) -> str:
    """Return the address of a persistent message, "" if it has none; "" for others."""
    if not _stays(message):
        return ""
    try:
        return address_of("message_detail", message.pk)
    except NoReverseMatch:
        return ""


# Words


@register.filter
def level_name(message: Any) -> str:
    """Return how icons and classes name the level of a message; "info" for a site's own."""
    return contrib.DEFAULT_TAGS.get(base_level(message.level), "info")


@register.filter
def plain_title(message: Any) -> str:
    """Name a message, ours or contrib's, in plain text."""
    if not isinstance(message, Message):
        return Message(level=message.level, message=message.message).title
    return message.title


@register.filter
def level_word(message: Any) -> str:
    """Say the level of a message in a word, which colour and icon only repeat."""
    return str(LEVEL_NAMES[level_name(message)])


def _pattern(words: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, words)), re.IGNORECASE)


@register.filter
def highlight(text: str, words: list[str]) -> SafeString:
    """Return `text` escaped, with each of `words` in it marked."""
    if not words:
        return conditional_escape(text)
    html, end = [], 0
    for match in _pattern(words).finditer(text):
        html += [escape(text[end : match.start()]), format_html("<mark>{}</mark>", match.group())]
        end = match.end()
    return mark_safe("".join([*html, escape(text[end:])]))  # noqa: S308 (each piece is escaped)


@register.filter
def excerpt(message: Message, words: list[str]) -> str:
    """Return the beginning of the text, or what stands around the first of `words` in it."""
    match = _pattern(words).search(message.plain_text) if words else None
    if match is None or match.end() < SNIPPET_LENGTH:
        return message.snippet
    text = message.plain_text[max(0, match.start() - 60) : match.start() + SNIPPET_LENGTH]
    return f"… {' '.join(text.split())} …"


@register.filter
def initials(name: str) -> str:
    """Return the first letters of the first and the last word of a name."""
    letters = [letter for word in name.split() if (letter := next(filter(str.isalnum, word), ""))]
    return "".join(letters[:1] + letters[1:][-1:]).upper()


@register.filter
def hue(name: str) -> int:
    """Return one of the six colours of people."""
    return sum(map(ord, name)) % 6 + 1


def _local(moment: datetime) -> datetime:
    # Without USE_TZ every datetime is naive, and local already.
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


@register.simple_tag
def local_day(moment: datetime) -> str:
    """Return the day of `moment` where the reader is, as ISO 8601 has it."""
    return _local(moment).date().isoformat()


@register.filter
def day_heading(moment: datetime) -> str:
    """Name the day of `moment`: today, yesterday, else the date."""
    day = _local(moment).date()
    ago = (_local(timezone.now()).date() - day).days
    names = {0: _("Today"), 1: _("Yesterday")}
    return names.get(ago) or formats.date_format(day, "DATE_FORMAT")


@register.simple_tag
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
    if minutes < 60:
        return npgettext("age", "%(count)d min", "%(count)d min", minutes) % {"count": minutes}
    if minutes < 24 * 60:
        hours = minutes // 60
        return npgettext("age", "%(count)d h", "%(count)d h", hours) % {"count": hours}
    return formats.date_format(_local(moment), "SHORT_DATE_FORMAT")


@register.filter
def time_left(moment: datetime) -> str:
    """Say how long a message still stays, in whole days, rounded up."""
    days = int(-(-(moment - timezone.now()).total_seconds() // 86400))
    return ngettext("%(count)d day left", "%(count)d days left", days) % {"count": days}
