"""The values that the templates of rows and notices get for each message."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import Any, NamedTuple

from django.utils import formats
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from persistent_messages.constants import level_name
from persistent_messages.labels import LEVEL_NAMES
from persistent_messages.mailbox.undo_tokens import RESTORE_TAG, UNDO_TAG
from persistent_messages.models import Message
from persistent_messages.text.plain import has_visible_text
from persistent_messages.text.truncation import truncate
from persistent_messages.users.names import join_labels

from .avatars import site_avatar, user_avatar
from .dates import TimeTags, short_age, time_left
from .highlighting import excerpt, highlight
from .render_cache import RenderData
from .row_actions import PageContext, RowButtons, actions_pattern, address_pattern, literal

TIMES = "\N{MULTIPLICATION SIGN}"
NOTICE_LENGTH = 500
"""The maximum number of characters of the text in a notice."""


class RowPatterns(NamedTuple):
    """Parts of a row as HTML, as `%` patterns for the texts of a message."""

    pick: str
    read_link: str
    unread_link: str
    details: str
    you: SafeString
    levels: dict[str, str]
    """The names of levels, for notices without a sender."""


@lru_cache(64)
def _row_patterns(page: PageContext) -> RowPatterns:  # noqa: ARG001 (part of the key)
    url = address_pattern("message_detail")

    def link(label: str) -> str:
        return f'aria-label="{escape(label)}" href="{url}%(query)s"%(link_attrs)s'

    return RowPatterns(
        pick='<label class="pm-pick">'
        f'<span class="pm-vh">{escape(_("Select “%(title)s”"))}</span>'
        '<input class="pm-check" type="checkbox" name="ids" value="%(key)s">%(avatar)s</label>',
        read_link=link(_("%(sender)s, %(title)s, %(age)s")),
        unread_link=link(_("Unread: %(sender)s, %(title)s, %(age)s")),
        details=f'<a class="pm-show" href="{url}%(back)s" '
        f'aria-label="{escape(_("Show “%(title)s”"))}">{literal(_("Details"))}</a> ',
        you=SafeString(f'<span class="pm-you">{escape(_("You:"))}</span> '),
        levels={name: str(word) for name, word in LEVEL_NAMES.items()},
    )


class RowValues:
    """The values for the rows of one list. Everything that rows share is looked up once.

    Search `words` are highlighted. The link of a row has the query string `back`, so that the page
    of the message can link back. A row shows the time of day, and with `has_date` also the date,
    for lists without headings.
    """

    def __init__(
        self, page: PageContext, words: Sequence[str] = (), back: str = "", *, has_date: bool
    ) -> None:
        self.page, self.words, self.back = page, list(words), escape(back)
        self.patterns = _row_patterns(page)
        self.times = TimeTags(has_date=has_date)

    def of(
        self, message: Message, *, takes_focus: bool = False, focuses_action: bool = False
    ) -> RenderData:
        """Return the values of `message` for row.html: escaped texts and parts as HTML.

        `takes_focus` puts the focus on the link, and `focuses_action` on the first action. No
        query.
        """
        patterns, words = self.patterns, self.words
        read, name, level = message.read, message.title, level_name(message.level)
        has_url, is_from_user = bool(message.url), message.is_from_user
        sender = _sender(message, []) or patterns.levels[level]
        title, safe_sender = escape(name), SafeString(escape(sender))
        fill = {
            "key": str(message.pk),
            "title": title,
            "sender": safe_sender,
            "age": escape(short_age(message.created)),
            "action": escape(message.action),
            "avatar": user_avatar(message.other_name) if is_from_user else site_avatar(level),
            "back": self.back,
            "query": "?follow=1" if has_url else self.back,
            "link_attrs": ' hx-boost="false"' * has_url + " data-pm-focus" * takes_focus,
        }
        has_action = has_url and bool(message.action)
        buttons = RowButtons(
            message.folder, read, message.is_sent, has_url, has_action, focuses_action
        )
        classes = "" if is_from_user else f" pm-{level}"
        details = patterns.details % fill if has_url else ""
        texts = {
            "key": SafeString(fill["key"]),
            "classes": SafeString(classes if read else f"{classes} pm-row--unread"),
            "title": SafeString(title),
            "pick": SafeString(patterns.pick % fill),
            "link_attrs": SafeString((patterns.read_link if read else patterns.unread_link) % fill),
            "subject": highlight(name, words) if words else SafeString(title),
            "count": _count_badge(message),
            "moment": self.times.of(message.created),
            "sender": (words and _sender(message, words)) or safe_sender,
            "snippet": SafeString(f"{details}{self._detail(message)}{self._excerpt(message)}"),
            "recipients": _recipients(message),
            "time_left": "" if message.expires is None else time_left(message.expires),
            "actions": SafeString(actions_pattern(self.page, buttons) % fill),
        }
        return RenderData({"is_read": read, "expires": message.expires is not None}, texts)

    def _detail(self, message: Message) -> str:
        """Return the text beside the sender: the sender's detail and the topic."""
        parts = (message.sender.detail if message.name_details else "", message.topic_label)
        detail = " · ".join(part for part in parts if part)
        if not detail:
            return ""
        return f'<span class="pm-detail"><bdi>{highlight(detail, self.words)}</bdi></span> '

    def _excerpt(self, message: Message) -> str:
        """Return the beginning of the text or of the user's reply; "" if the title has it."""
        if message.reply_snippet and not self.words:
            return f"{self.patterns.you}<bdi>{escape(message.reply_snippet)}</bdi>"
        if not (message.has_subject or self.words):
            return ""
        return f"<bdi>{highlight(excerpt(message, self.words), self.words)}</bdi>"


def _count_badge(message: Message) -> SafeString:
    count, words = _count(message)
    return count_badge(count, words) if count else SafeString("")


def count_badge(count: str, words: str) -> SafeString:
    """Return a count with `words` as the text for screen readers."""
    return SafeString(
        f'<span class="pm-count"><span aria-hidden="true">{escape(count)}</span>'
        f'<span class="pm-vh">{escape(words)}</span></span>'
    )


def _recipients(message: Message) -> SafeString:
    # A single recipient is already shown in place of the sender.
    names = message.recipients if message.to_name else []
    if len(names) < 2:
        return SafeString("")
    summary = ngettext("%(count)s recipient", "%(count)s recipients", len(names))
    count = formats.localize(len(names))
    items = "".join(f"<li><bdi>{escape(name.label)}</bdi></li>" for name in names)
    return SafeString(
        f'<details class="pm-to"><summary>{escape(summary % {"count": count})}</summary>'
        f'<ul role="list">{items}</ul></details>'
    )


def _count(message: Message) -> tuple[str, str]:
    """Return the number of letters or repetitions that a row represents, and a text for it."""
    letters = message.thread_length or message.thread_position or 0
    if letters > 1:
        count = str(formats.localize(letters))
        words = ngettext("%(count)s message", "%(count)s messages", letters)
        return count, words % {"count": count}
    return _repetitions(message)


def _repetitions(message: Message) -> tuple[str, str]:
    """Return how often a notice was sent, and a text for it; empty if it was sent once."""
    if message.times < 2 or message.is_letter:
        return "", ""
    count = str(formats.localize(message.times))
    words = ngettext("%(count)s time", "%(count)s times", message.times)
    return f"{TIMES}{count}", words % {"count": count}


def _sender(message: Message, words: list[str]) -> Any:
    # Empty for notices that the site sent without a sender.
    if message.to_name:
        return _("To %(name)s") % {"name": join_labels(message.recipients)}
    return highlight(message.from_name, words) if words else message.from_name


def notice_of(message: Any, *, has_pages: bool) -> RenderData:
    """Return the values of `message`, a row or contrib's message, for a notice; no query.

    A persistent message has a form that closes it, and if the site `has_pages` a link to its page.
    """
    stays, tags = is_stored(message), message.extra_tags or ""
    text, is_cut = message.message, False
    sender = message.sender.label if stays else ""
    count, count_label = _repetitions(message) if stays else ("", "")
    action = message.action if stays and has_pages and message.url else ""
    if stays:  # its page has the rest; a one-shot message has no page
        text, is_cut = truncate(text, NOTICE_LENGTH)
    subject, timeout = getattr(message, "subject", ""), getattr(message, "close_timeout", None)
    undo_url, restores = "", tags == RESTORE_TAG
    if tags in (UNDO_TAG, RESTORE_TAG):
        undo_url, tags = "" if stays else _undo_url(message), ""
    return RenderData(
        {
            "level": level_name(message.level),
            "stays": stays,
            "has_page": stays and has_pages,
            "has_subject": has_visible_text(str(subject)),
            "has_sender": bool(sender),
            "has_count": bool(count),
            "has_action": bool(action),
            "is_safe": stays and message.is_safe,
            "is_cut": is_cut,
            "can_leave": has_pages and not stays,
            "can_undo": bool(undo_url),
            "restores": restores,
            "closes": timeout is not None,
        },
        {
            "key": str(message.pk) if stays else "",
            "title": plain_title(message),
            "subject": subject,
            "sender": sender,
            "count": count,
            "count_label": count_label,
            "action": action,
            "text": _linked_text(message, text),
            "tags": f" {tags}" if tags else "",
            "timeout": "" if timeout is None else format_html(' data-pm-timeout="{}"', timeout),
            "seconds": "" if timeout is None else formats.localize(-(-timeout // 1000)),
            "undo_url": undo_url,
        },
    )


def _linked_text(message: Any, text: Any) -> Any:
    # The link to the page needs visible text, unless the message has a subject or markup.
    is_blank = is_stored(message) and not message.is_safe and not has_visible_text(str(text))
    return text if not is_blank or message.has_subject else message.title


def is_stored(message: Any) -> bool:
    """Return whether `message` is a persistent row, and not a one-shot or cookie message."""
    return isinstance(message, Message) and message.is_persistent


def _undo_url(message: Any) -> str:
    # A form with the CSRF token posts to this URL, so it must not be on another site.
    url = getattr(message, "url", "")
    return url if url_has_allowed_host_and_scheme(url, allowed_hosts=None) else ""


def plain_title(message: Any) -> str:
    """Return the title of a row or a contrib message as plain text."""
    if not isinstance(message, Message):
        return Message(level=message.level, message=message.message).title
    return message.title
