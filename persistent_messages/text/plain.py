"""Convert markup to the plain text that a reader sees."""

from __future__ import annotations

import re
import unicodedata
from html import unescape

from django.core.exceptions import SuspiciousOperation
from django.utils.html import strip_tags

# Invisible characters that Unicode classifies as letters.
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

# Elements that separate words.
_BLOCK_TAG = re.compile(
    r"<(?=/?(?:address|article|aside|blockquote|br|caption|dd|div|dl|dt|fieldset|figcaption|figure"
    r"|footer|form|h[1-6]|header|hr|li|main|nav|ol|option|p|pre|section|table|td|th|tr|ul)\b)",
    re.IGNORECASE,
)
_SCRIPT_OR_STYLE = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)


def has_visible_text(text: str) -> bool:
    """Return whether `text` has any visible characters."""
    if text[:1].isalnum() and text[0] not in _BLANK_LETTERS:  # fast path for most texts
        return True
    return any(unicodedata.category(c)[0] in "LNPS" and c not in _BLANK_LETTERS for c in text)


def to_plain_text(html: str) -> str:
    """Return `html` as plain text, or unchanged if Django refuses to strip its tags."""
    try:
        text = strip_tags(_BLOCK_TAG.sub("\n<", _SCRIPT_OR_STYLE.sub("", html)))
    except SuspiciousOperation:
        return "" + html
    return unescape(text).strip()


def plain_text_start(html: str, length: int) -> str:
    """Return the first `length` characters of `html` as plain text, without a truncated tag."""
    begin = "" + html[:length]
    if begin.rfind("<") > begin.rfind(">"):
        begin = begin[: begin.rfind("<")]
    return to_plain_text(begin)
