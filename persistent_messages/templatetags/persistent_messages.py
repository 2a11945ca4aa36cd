"""`{% load persistent_messages %}`: the counter, and tags and filters for the app's templates."""

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
"""The variable with the result of `{% renews_itself %}` in cached templates."""
NO_TOKEN = "NOTPROVIDED"  # noqa: S105 (Django's value if there is no token)

register = template.Library()

if django.VERSION < (6, 0):
    # `partialdef` and `partial`, which are built into later versions.
    from template_partials.templatetags.partials import register as partials

    register.tags.update(partials.tags)


@register.simple_tag
def pm_icon(name: str) -> SafeString:
    """Return the icon `name` as inline SVG, hidden from screen readers."""
    return SVGS[name]


# Parts of a page


@register.simple_tag(takes_context=True)
def unread_counter(context: Context) -> str:
    """Show the unread count: "99+" above `COUNTER_LIMIT`, and nothing for visitors.

    One bounded query for each request, however often the page shows it. Shows nothing, rather than
    0, if the database cannot be reached.
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
    # Use the engine of the page, as {% include %} does, because the site may override templates.
    page: Any = context.template
    found: Template = page.engine.get_template(name)
    return found


@register.simple_tag(takes_context=True)
def is_signed_in(context: Context) -> bool:
    """Return whether a user is signed in; False if the database cannot be reached."""
    request: HttpRequest | None = context.get("request")
    return request is not None and outage.known_user(request) is not None


@register.simple_tag(takes_context=True)
def inbox_of(context: Context) -> InboxPage:
    """Return the view's `inbox`, or else the first page of the inbox; no query yet."""
    inbox = context.get("inbox")
    return inbox if isinstance(inbox, InboxPage) else InboxPage(context["request"])


@register.simple_tag(takes_context=True)
def current_path(context: Context) -> str:
    """Return the path of the page in the browser, to return to."""
    return str(context.get("pm_here") or redirects.current_path(context["request"]))


@dataclass(frozen=True)
class Strip:
    """The messages in the strip."""

    notices: list[Message]
    """Unread persistent messages, newest first. They stay until the user closes them."""
    one_shots: list[Any]
    """One-shot messages, oldest first."""
    has_more: bool = False
    """Whether more one-shot messages are waiting for the next page."""
    hides_notices: bool = False
    """Whether the notices are left out."""

    @property
    def newest(self) -> int:
        """The key of the newest notice, which limits “Close all”."""
        return max((message.pk for message in self.notices), default=0)


@register.simple_tag(takes_context=True)
def strip(context: Context) -> Strip:
    """Return the waiting messages by kind, and count them as shown.

    Notices are left out if the variable `hide_persistent` is set, and on the app's own pages, whose
    inbox lists them.
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
    # A site's function may load the user, which is not possible in an event loop.
    return outage.fallback_if_unreachable(
        request,
        "plain pages",
        lambda: bool(get_config().call("PLAIN_PAGES", request)),
        fallback=False,
    )


@register.simple_tag(takes_context=True)
def renews_itself(context: Context) -> str:
    """Return the attributes that the script needs to poll and to notify other tabs of the user.

    Empty for visitors, and on a site without the URLs of the app. No query.
    """
    if RENEWS in context:
        return str(context[RENEWS])
    request: HttpRequest | None = context.get("request")
    user = None if request is None else outage.known_user(request)
    return "" if user is None else polling.polling_attributes(user, page_context(request))


@register.simple_tag(takes_context=True)
def toasts(context: Context) -> SafeString:
    """Return the template element for toasts, cached for each language; no query."""
    return render_cached(
        _template(context, htmx.TOASTS),
        RenderData({}, {}),
        page_context(context.get("request")),
        {},
    )


# Rows and notices


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
    # Only the values that a form needs, because reading the CSRF token sets a cookie.
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
    """Return the values of `message` for a notice."""
    if isinstance(message, dict):  # already values, for the cache or a preview
        return message
    return rows.notice_of(message, has_pages=bool(page_context().inbox)).values


@dataclass(frozen=True)
class Line:
    """A rendered row of a list."""

    row: SafeString
    day: date
    """Its date in the current time zone."""
    heading: str
    """The heading for a new day; "" if the row before has the same date."""


@register.simple_tag(takes_context=True)
def lines_of(context: Context, messages: list[Message]) -> list[Line]:
    """Render each of `messages` as a row, with headings for the days."""
    template, values = _template(context, htmx.ROW), _row_values(context)
    focus = bool(context.get("pm_fragment") and inbox_of(context).filter.before)
    is_cached, lines = is_bundled(template), list[Line]()
    for message in messages:
        takes_focus = focus and not lines
        if is_cached:
            part = values.of(message, takes_focus=takes_focus)
            row = render_cached(template, part, values.page, {})
        else:
            with context.push(
                message=message, pm_oob=False, pm_takes_focus=takes_focus, pm_rows=values
            ):
                row = template.render(context)
        day = dates.local_day(message.created)
        is_same = day == lines[-1].day if lines else day.isoformat() == context.get("pm_last_day")
        lines.append(Line(row, day, "" if is_same else dates.day_heading(message.created)))
    return lines


@register.simple_tag(takes_context=True)
def row_of(context: Context, message: Any) -> dict[str, Any]:
    """Return the values of `message` for a row; see `RowValues`."""
    if isinstance(message, dict):  # already values, in a preview
        return message
    values: rows.RowValues = context.get("pm_rows") or _row_values(context)
    return values.of(
        message,
        takes_focus=bool(context.get("pm_takes_focus")),
        focuses_action=context.get("pm_focus") == "row",
    ).values


def _row_values(context: Context) -> rows.RowValues:
    return rows.RowValues(
        page_context(context.get("request")),
        inbox_of(context).filter.words,
        _back(context),
        has_date=bool(context.get("pm_has_date")),
    )


def _back(context: Context) -> str:
    # The query string for links to messages, so that their page can link back here.
    origin = redirects.origin_page(
        str(context.get("pm_here") or redirects.current_path_or_blank(context["request"]))
    )
    return "?" + urlencode({"next": origin}) if origin else ""


# Letters


@register.simple_tag(takes_context=True)
def letter_form(context: Context, form: Any) -> SafeString:
    """Render a form with crispy-forms, in CRISPY_TEMPLATE_PACK or in the app's own pack.

    Unlike `{% crispy %}`, it works without that setting, and without crispy_forms in
    INSTALLED_APPS.
    """
    return render_form(form, context)


@register.filter
def has_own_pack(form: Any) -> bool:  # noqa: ARG001 (a filter needs a value)
    """Return whether the site has a crispy-forms template pack."""
    return bool(site_template_pack())


@register.filter
def person_name(user: Any) -> str:
    """Return the name of `user` without its detail."""
    return display_name(user)


@register.filter
def name_of(user: Any) -> Name:
    """Return the `name` and `detail` of `user`."""
    return name_of_user(user)


@register.filter
def person_label(user: Any) -> str:
    """Return the name and detail of `user` on one line."""
    return name_of_user(user).label


@register.filter
def labels(names: Iterable[Name]) -> str:
    """Return the labels of `names`, separated by commas."""
    return join_labels(names)


@register.filter
def without_full_stop(text: str) -> str:
    """Return `text` without a full stop at its end, for the end of a sentence: “4 p.m.”."""
    return text.removesuffix(".")


@register.filter
def message_html(message: Message) -> SafeString:
    """Return the text of a message as HTML."""
    return as_html(message)


# URLs


@register.filter
def address(key: str, view: str) -> str:
    """Return the URL of `view` for the message `key`; faster than `{% url %}`."""
    return address_of(view, key)


# Words

register.filter(level_name)
register.filter(level_word)
register.filter(avatars.initials)
register.filter(avatars.avatar_color)
register.simple_tag(dates.date_and_time)
