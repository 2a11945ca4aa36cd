"""Truncate plain text and markup."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser
from typing import Any

from django.utils.html import VOID_ELEMENTS
from django.utils.safestring import SafeData, mark_safe

MARKUP_FACTOR = 10
"""The number of characters of markup that are parsed for each character of text."""
MAX_DEPTH = 100
"""The maximum depth of nested elements; anything after it is cut off."""
ELLIPSIS = "…"
# Elements whose text is not displayed.
ELEMENTS_WITHOUT_TEXT = ("script", "style", "template", "title")
# Elements that end where the next one begins.
OPTIONAL_END_TAGS = ("dd", "dt", "li", "option", "p", "td", "th", "tr")


def truncate(text: Any, length: int) -> tuple[Any, bool]:
    """Return at most `length` characters of `text`, and whether it was truncated.

    A truncated text ends with an ellipsis. Safe text stays safe, and its elements are closed. The
    time does not depend on the length of the text.
    """
    written = str(text)
    if len(written) <= length:
        return text, False
    if not isinstance(text, SafeData):
        return written[:length] + ELLIPSIS, True
    parser = _Truncator(length)
    parser.feed(written[: MARKUP_FACTOR * length])
    if len(written) <= MARKUP_FACTOR * length and not parser.is_full:
        return text, False  # only the markup is long
    return mark_safe(parser.closed(ELLIPSIS)), True  # noqa: S308 (its caller marked it)


class _Truncator(HTMLParser):
    """A parser that copies markup up to `length` characters of text."""

    def __init__(self, length: int) -> None:
        super().__init__(convert_charrefs=True)
        self.left = length
        self.is_full = False
        self.written: list[str] = []
        self.open: list[str] = []

    def closed(self, end: str) -> str:
        """Return the copied markup followed by `end`, with all elements closed."""
        tags = (f"</{tag}>" for tag in reversed(self.open) if tag not in ELEMENTS_WITHOUT_TEXT)
        return "".join([*self.written, end, *tags])

    @property
    def _is_silent(self) -> bool:
        return bool(self.open) and self.open[-1] in ELEMENTS_WITHOUT_TEXT

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if self.is_full or self._is_silent:
            return
        if tag in OPTIONAL_END_TAGS and self.open[-1:] == [tag]:
            self.handle_endtag(tag)
        if tag not in ELEMENTS_WITHOUT_TEXT:
            self.written.append(self.get_starttag_text() or "")
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)
        self.is_full = len(self.open) > MAX_DEPTH

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID_ELEMENTS and self.written and self.written[-1].endswith("/>"):
            # Browsers treat this as a start tag.
            self.written[-1] = self.written[-1].removesuffix("/>") + ">"

    def handle_endtag(self, tag: str) -> None:
        if self.is_full or tag not in self.open or (self._is_silent and tag != self.open[-1]):
            return
        while (last := self.open.pop()) != tag:
            self.written.append(f"</{last}>")
        if tag not in ELEMENTS_WITHOUT_TEXT:
            self.written.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self.is_full or self._is_silent:
            return
        self.written.append(escape(data[: self.left], quote=False))
        self.is_full = len(data) > self.left
        self.left -= min(self.left, len(data))
