"""`{% load persistent_messages %}`: the counter, the inbox to include, what our templates need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import django
from crispy_forms.templatetags.crispy_forms_tags import CrispyFormNode
from django import template
from django.conf import settings
from django.http import HttpRequest
from django.template import Context, Template
from django.utils.safestring import SafeString, mark_safe

from persistent_messages import htmx, outage, rows, wording
from persistent_messages.actions import Action, Place, actions_of, address_of, place
from persistent_messages.constants import Folder
from persistent_messages.counter import counter_context
from persistent_messages.drafts import display_name
from persistent_messages.icons import SVGS
from persistent_messages.inbox import Inbox
from persistent_messages.models import Message
from persistent_messages.stencils import Part, escaped, fill, is_ours
from persistent_messages.text import as_html

OWN_PACK = "persistent_messages/crispy"
"""The template pack for sites that have none."""
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
    if request is None or outage.known_user(request) is None:
        return ""
    counted = outage.answer(request, "messages", partial(counter_context, request), None)
    if counted is None:
        return ""
    with context.push(pm_oob=False, **counted):
        return _template(context, htmx.COUNTER).render(context)


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
        (notices if rows.has_row(message) else passing).append(message)
    return Strip([] if context.get("hide_persistent") else notices, passing)


# Rows, each by its template


@register.simple_tag(takes_context=True)
def notices(context: Context, messages: list[Any]) -> SafeString:
    """Render each of `messages` as a notice of the strip."""
    where = place()
    parts = [
        (message, rows.notice_of(message, has_pages=bool(where.inbox))) for message in messages
    ]
    drawn = _each(context, htmx.NOTICE, parts, where, _form_fields(context, parts))
    return mark_safe("".join(drawn))  # noqa: S308 (rendered by templates)


def _form_fields(context: Context, parts: list[tuple[Any, Part]]) -> dict[str, str]:
    # Only what some form needs: who asks for the token gets a cookie, or a session.
    fields: dict[str, str] = {}
    kinds = [part.kind for _, part in parts]
    posts = any(kind["has_page"] or kind["can_undo"] for kind in kinds)
    if posts or any(kind["can_leave"] for kind in kinds):
        fields["pm_here"] = current_path(context)
    if posts and (token := str(context.get("csrf_token") or NO_TOKEN)) != NO_TOKEN:
        fields["csrf_token"] = token
    return fields


@register.simple_tag
def notice_of(message: Any) -> dict[str, Any]:
    """Return what a notice shows of `message`."""
    return _values(message, lambda it: rows.notice_of(it, has_pages=bool(place().inbox)))


@dataclass(frozen=True)
class Line:
    """A row of a list, rendered."""

    row: SafeString
    day: str
    """When it came, as ISO 8601 has it."""
    heading: str
    """The day in words, where it is another than that of the row before; else ""."""


@register.simple_tag(takes_context=True)
def lines_of(context: Context, messages: list[Message]) -> list[Line]:
    """Render each of `messages` as a row, under the days on which they came."""
    focus = context.get("pm_fragment") and inbox_of(context).filter.before
    parts = (
        (message, _row(context, message, takes_focus=bool(focus) and number == 0))
        for number, message in enumerate(messages)
    )
    lines: list[Line] = []
    day = context.get("pm_last_day")
    drawn = _each(context, htmx.ROW, parts, place(), {})
    for message, row in zip(messages, drawn, strict=True):
        before, day = day, wording.local_day(message.created)
        lines.append(Line(row, day, "" if day == before else wording.day_heading(message.created)))
    return lines


@register.simple_tag(takes_context=True)
def row_of(context: Context, message: Any) -> dict[str, Any]:
    """Return what a row shows of `message`."""
    focus = bool(context.get("pm_takes_focus"))
    return _values(message, lambda it: _row(context, it, takes_focus=focus))


def _row(context: Context, message: Message, *, takes_focus: bool) -> Part:
    here = current_path(context) if message.folder == Folder.TRASH else ""
    return rows.row_of(message, inbox_of(context).filter.words, here, takes_focus=takes_focus)


def _values(message: Any, part_of: Callable[[Any], Part]) -> dict[str, Any]:
    # A stencil is given the values themselves.
    return message if isinstance(message, dict) else part_of(message).values


def _each(
    context: Context,
    name: str,
    parts: Iterable[tuple[Any, Part]],
    where: Place,
    page: Mapping[str, str],
) -> Iterator[SafeString]:
    template = _template(context, name)
    known = {name: escaped(value) for name, value in page.items()}
    ours = is_ours(template)
    for message, part in parts:
        if ours and part.is_common:
            yield fill(template, part, where, known)
        else:
            focus = part.kind.get("takes_focus", False)
            with context.push(message=message, pm_oob=False, pm_takes_focus=focus):
                yield template.render(context)


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
def actions(row: dict[str, Any]) -> list[Action]:
    """Return what can be done with the message of a row where it lies, beside opening it."""
    return actions_of(row["folder"], row["key"], row["title"], is_read=row["is_read"])


@register.filter
def address(key: str, view: str) -> str:
    """Return the address of the page `view` of message `key`; quicker than `{% url %}`."""
    return address_of(view, key)


# Words

register.filter(wording.level_name)
register.filter(wording.level_word)
register.filter(wording.initials)
register.filter(wording.hue)
register.simple_tag(wording.moment_ago)
