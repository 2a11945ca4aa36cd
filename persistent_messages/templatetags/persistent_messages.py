"""`{% load persistent_messages %}`: the counter, the inbox to include, what our templates need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import django
from django import template
from django.http import HttpRequest
from django.template import Context, Template
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe

from persistent_messages.conf import get_config
from persistent_messages.constants import level_name
from persistent_messages.db import outage
from persistent_messages.inbox.counter import counter_context
from persistent_messages.inbox.page import InboxPage
from persistent_messages.labels import level_word
from persistent_messages.models import Message
from persistent_messages.rendering import avatars, dates, rows
from persistent_messages.rendering.forms import render_form, site_template_pack
from persistent_messages.rendering.icons import SVGS
from persistent_messages.rendering.markup import as_html
from persistent_messages.rendering.render_cache import (
    RenderData,
    escape_text,
    is_bundled,
    render_cached,
    render_cached_page,
)
from persistent_messages.rendering.row_actions import (
    address_of,
    page_context,
)
from persistent_messages.users.names import Name, display_name, join_labels
from persistent_messages.users.names import name_of as name_of_user
from persistent_messages.web import htmx, polling, redirects

RENEWS = "pm_renews"
"""The variable that has what `{% renews_itself %}` would say, where a template is filled."""
NO_TOKEN = "NOTPROVIDED"  # noqa: S105 (what Django says in place of one)

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
    user = None if request is None else outage.known_user(request)
    if request is None or user is None:
        return ""
    counted = outage.fallback_if_unreachable(
        request, "messages", partial(counter_context, request), None
    )
    if counted is None:
        return ""
    template = _template(context, htmx.COUNTER)
    if is_bundled(template):
        where = page_context(request)
        texts = {name: counted[name] for name in ("label", "words")}
        texts[RENEWS] = polling.polling_attributes(user, where)
        flags = (("unread", bool(counted["unread"])),)
        return render_cached_page(template, texts, where, flags)
    with context.push(pm_oob=False, **counted):
        return template.render(context)


def _template(context: Context, name: str) -> Template:
    # Of the engine at work, as {% include %} has it: the site may have overridden it.
    page: Any = context.template
    found: Template = page.engine.get_template(name)
    return found


@register.simple_tag(takes_context=True)
def is_signed_in(context: Context) -> bool:
    """Tell whether a user looks at the page; not where the database does not say."""
    request: HttpRequest | None = context.get("request")
    return request is not None and outage.known_user(request) is not None


@register.simple_tag(takes_context=True)
def inbox_of(context: Context) -> InboxPage:
    """Return what the view chose to show, else the newest of the inbox; no query yet."""
    inbox = context.get("inbox")
    return inbox if isinstance(inbox, InboxPage) else InboxPage(context["request"])


@register.simple_tag(takes_context=True)
def current_path(context: Context) -> str:
    """Return the path of the page people look at, to come back to."""
    return str(context.get("pm_here") or redirects.current_path(context["request"]))


@dataclass(frozen=True)
class Strip:
    """What the strip shows."""

    notices: list[Message]
    """Persistent and unread, newest first: they stay until somebody closes them."""
    one_shots: list[Any]
    """Shown this once, in the order they came."""
    has_more: bool = False
    """Whether more of these wait, which the next page shows."""
    hides_notices: bool = False
    """Whether it leaves the notices out."""

    @property
    def newest(self) -> int:
        """The key of the latest notice: closing all touches nothing later."""
        return max((message.pk for message in self.notices), default=0)


@register.simple_tag(takes_context=True)
def strip(context: Context) -> Strip:
    """Hand out what waits, by kind.

    The flag `hide_persistent` leaves the notices out, and so do the pages of the app: the inbox
    lists them.
    """
    notices: list[Message] = []
    one_shots: list[Any] = []
    waiting = context.get("messages")
    for message in waiting or ():
        (notices if rows.is_stored(message) else one_shots).append(message)
    hides = bool(context.get("hide_persistent") or context.get("pm_page"))
    hides = hides or (not notices and _is_plain_page(context))
    has_more = bool(one_shots) and getattr(waiting, "has_more", False)
    return Strip([] if hides else notices, one_shots, has_more, hides)


def _is_plain_page(context: Context) -> bool:
    request: HttpRequest | None = context.get("request")
    if request is None:
        return False
    # The function of a site may look at the user, whom nobody may load in an event loop.
    return outage.fallback_if_unreachable(
        request,
        "plain pages",
        lambda: bool(get_config().call("PLAIN_PAGES", request)),
        fallback=False,
    )


@register.simple_tag(takes_context=True)
def renews_itself(context: Context) -> str:
    """Return the attributes by which the script renews a part and tells the other tabs of its user.

    Nothing for visitors, and on a site without the URLs of the app. No query.
    """
    if RENEWS in context:
        return str(context[RENEWS])
    request: HttpRequest | None = context.get("request")
    user = None if request is None else outage.known_user(request)
    return "" if user is None else polling.polling_attributes(user, page_context(request))


@register.simple_tag(takes_context=True)
def toasts(context: Context) -> SafeString:
    """Return what the script shows toasts with: the same for each page of a language; no query."""
    return render_cached(
        _template(context, htmx.TOASTS),
        RenderData({}, {}),
        page_context(context.get("request")),
        {},
    )


# Rows, each by its template


@register.simple_tag(takes_context=True)
def notices(context: Context, messages: list[Any]) -> SafeString:
    """Render each of `messages` as a notice of the strip."""
    if not messages:  # as on most pages
        return SafeString("")
    template, where = _template(context, htmx.NOTICE), page_context(context.get("request"))
    if not is_bundled(template):
        return mark_safe("".join(_render_each(template, context, messages)))  # noqa: S308
    parts = [rows.notice_of(message, has_pages=bool(where.inbox)) for message in messages]
    fields = _form_fields(context, parts)
    page = {name: escape_text(value) for name, value in fields.items()}
    drawn = (render_cached(template, part, where, page) for part in parts)
    return mark_safe("".join(drawn))  # noqa: S308 (rendered by templates)


def _render_each(template: Template, context: Context, messages: list[Any]) -> Iterator[str]:
    for message in messages:
        with context.push(message=message, pm_oob=False):
            yield template.render(context)


def _form_fields(context: Context, parts: list[RenderData]) -> dict[str, str]:
    # Only what some form needs: who asks for the token gets a cookie, or a session.
    fields: dict[str, str] = {}
    kinds = [part.kind for part in parts]
    posts = any(kind["has_page"] or kind["can_undo"] for kind in kinds)
    if posts or any(kind["can_leave"] for kind in kinds):
        fields["pm_here"] = current_path(context)
    if posts and (token := str(context.get("csrf_token") or NO_TOKEN)) != NO_TOKEN:
        fields["csrf_token"] = token
    return fields


@register.simple_tag
def notice_of(message: Any) -> dict[str, Any]:
    """Return what a notice shows of `message`."""
    if isinstance(message, dict):  # the values themselves: of a kind of notices, or in a preview
        return message
    return rows.notice_of(message, has_pages=bool(page_context().inbox)).values


@dataclass(frozen=True)
class Line:
    """A row of a list, rendered."""

    row: SafeString
    day: date
    """When it came, where the reader is."""
    heading: str
    """The day in words, where it is another than that of the row before; else ""."""


@register.simple_tag(takes_context=True)
def lines_of(context: Context, messages: list[Message]) -> list[Line]:
    """Render each of `messages` as a row, under the days on which they came."""
    template, values = _template(context, htmx.ROW), _row_values(context)
    focus = bool(context.get("pm_fragment") and inbox_of(context).filter.before)
    lines: list[Line] = []
    for message in messages:
        with context.push(
            message=message, pm_oob=False, pm_takes_focus=focus and not lines, pm_rows=values
        ):
            row = template.render(context)
        day = dates.local_day(message.created)
        is_same = day == lines[-1].day if lines else day.isoformat() == context.get("pm_last_day")
        lines.append(Line(row, day, "" if is_same else dates.day_heading(message.created)))
    return lines


@register.simple_tag(takes_context=True)
def row_of(context: Context, message: Any) -> dict[str, Any]:
    """Return what a row shows of `message`; see `RowValues`."""
    if isinstance(message, dict):  # the values themselves, in a preview
        return message
    values: rows.RowValues = context.get("pm_rows") or _row_values(context)
    return values.of(
        message,
        takes_focus=bool(context.get("pm_takes_focus")),
        focuses_action=context.get("pm_focus") == "row",
    )


def _row_values(context: Context) -> rows.RowValues:
    return rows.RowValues(
        page_context(context.get("request")),
        inbox_of(context).filter.words,
        _back(context),
        has_date=bool(context.get("pm_has_date")),
    )


def _back(context: Context) -> str:
    # What the address of a message has, so that its page leads back here.
    origin = redirects.origin_page(
        str(context.get("pm_here") or redirects.current_path_or_blank(context["request"]))
    )
    return "?" + urlencode({"next": origin}) if origin else ""


# Letters


@register.simple_tag(takes_context=True)
def letter_form(context: Context, form: Any) -> SafeString:
    """Render a form with crispy-forms: in the look of the site's CRISPY_TEMPLATE_PACK, else ours.

    Unlike `{% crispy %}` it works without that setting, and without the app of crispy-forms.
    """
    return render_form(form, context)


@register.filter
def has_own_pack(form: Any) -> bool:  # noqa: ARG001 (a filter needs a value)
    """Tell whether forms have the look of a template pack of the site."""
    return bool(site_template_pack())


@register.filter
def person_name(user: Any) -> str:
    """Return the name by which people know `user`."""
    return display_name(user)


@register.filter
def name_of(user: Any) -> Name:
    """Return how `user` is named: `name`, and as `detail` what stands beside it."""
    return name_of_user(user)


@register.filter
def person_label(user: Any) -> str:
    """Return the name of `user` with what stands beside it, in one line."""
    return name_of_user(user).label


@register.filter
def labels(names: Iterable[Name]) -> str:
    """Return the labels of `names`, separated by commas."""
    return join_labels(names)


@register.filter
def message_html(message: Message) -> SafeString:
    """Return the text of a message as HTML."""
    return as_html(message)


# What a message offers


@register.filter
def address(key: str, view: str) -> str:
    """Return the address of the page `view` of message `key`; quicker than `{% url %}`."""
    return address_of(view, key)


# Words

register.filter(level_name)
register.filter(level_word)
register.filter(avatars.initials)
register.filter(avatars.avatar_color)
register.simple_tag(dates.date_and_time)
