"""Highlight search terms in texts."""

from __future__ import annotations

from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString, mark_safe

from persistent_messages.models import SNIPPET_LENGTH, Message
from persistent_messages.text.search import find_first_match, find_matches


def highlight(text: str, terms: list[str]) -> SafeString:
    """Return `text` escaped, with `<mark>` around each of `terms`, which are folded."""
    if not terms:
        return conditional_escape(text)
    html, end = [], 0
    for start, stop in find_matches(text, terms):
        html += [escape(text[end:start]), format_html("<mark>{}</mark>", text[start:stop])]
        end = stop
    return mark_safe("".join([*html, escape(text[end:])]))  # noqa: S308 (each piece is escaped)


def excerpt(message: Message, terms: list[str]) -> str:
    """Return the beginning of the text, or the part around the first match of `terms`."""
    if not terms:
        return message.snippet
    searched = message.searched_text
    match = find_first_match(searched, terms)
    if match is None or match[1] < SNIPPET_LENGTH:
        return message.snippet
    text = searched[max(0, match[0] - 60) : match[0] + SNIPPET_LENGTH]
    return f"… {' '.join(text.split())} …"
