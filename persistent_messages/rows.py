"""What a row of a list, and a notice of the strip, show of a message: as parts of a template."""

from __future__ import annotations

from typing import Any

from django.utils import formats
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .models import Message
from .stencils import Part
from .undo import UNDO
from .wording import (
    excerpt,
    highlight,
    hue,
    initials,
    level_name,
    level_word,
    moment_ago,
    plain_title,
    time_left,
)


def row_of(message: Message, words: list[str], here: str, *, takes_focus: bool = False) -> Part:
    """Return what a row shows of `message`, in a list of what has `words`, on the page `here`.

    No query.
    """
    names, sender = message.to_names, message.from_name
    letters = message.thread_position or 0
    title = message.title
    kind: dict[str, Any] = {
        "level": level_name(message.level),
        "folder": message.folder,
        "is_read": message.read,
        "is_from_person": bool(sender),
        "has_url": bool(message.url),
        "has_excerpt": bool(message.subject or words),
        "is_thread": letters > 1,
        "expires": message.expires is not None,
        "more_names": names if len(names) > 1 else (),
        "takes_focus": takes_focus,
    }
    texts: dict[str, Any] = {
        "key": str(message.pk),
        "title": title,
        "subject": highlight(title, words),
        "moment": moment_ago(message.created),
        "sender": _sender(message, names, words),
        "next": urlencode({"next": here}),
    }
    if kind["has_excerpt"]:
        texts["excerpt"] = highlight(excerpt(message, words), words)
    if sender:
        texts["initials"], texts["hue"] = initials(message.other_name), hue(message.other_name)
    if letters > 1:
        count = formats.localize(letters)
        texts["letters"] = count
        texts["letters_label"] = ngettext("%(count)s letter", "%(count)s letters", letters) % {
            "count": count
        }
    if message.expires is not None:
        texts["time_left"] = time_left(message.expires)
    return Part(kind, texts, is_common=len(names) < 2)


def _sender(message: Message, names: list[str], words: list[str]) -> Any:
    if names:
        return _("To %(name)s") % {"name": ", ".join(names)}
    if message.from_name:
        return highlight(message.from_name, words)
    return level_word(level_name(message.level))


def notice_of(message: Any, *, has_pages: bool) -> Part:
    """Return what a notice shows of `message`, ours or contrib's; no query.

    What stays has a page, where the site `has_pages`, and a form that closes it for good.
    """
    stays, tags = has_row(message), message.extra_tags or ""
    subject, timeout = getattr(message, "subject", ""), getattr(message, "close_timeout", None)
    undo_url = ""
    if tags == UNDO:
        undo_url, tags = "" if stays else _undo_url(message), ""
    return Part(
        {
            "level": level_name(message.level),
            "stays": stays,
            "has_page": stays and has_pages,
            "has_subject": bool(subject),
            "is_safe": stays and message.is_safe,
            "can_leave": has_pages and not stays,
            "can_undo": bool(undo_url),
        },
        {
            "key": str(message.pk) if stays else "",
            "title": plain_title(message),
            "subject": subject,
            "text": message.message,
            "tags": f" {tags}" if tags else "",
            "delay": "" if timeout is None else f", load delay:{timeout}ms",
            "undo_url": undo_url,
        },
    )


def has_row(message: Any) -> bool:
    """Tell whether `message` stays until somebody closes it; what a cookie brings has no row."""
    return isinstance(message, Message) and message.is_persistent


def _undo_url(message: Any) -> str:
    # A form with a token in it posts there: to no other site, whatever the message has.
    url = getattr(message, "url", "")
    return url if url_has_allowed_host_and_scheme(url, allowed_hosts=None) else ""
