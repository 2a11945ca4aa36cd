"""Render the text of a message as HTML. Text from users is never trusted, nor is its Markdown."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import quote

from django.utils.html import escape, format_html, linebreaks, smart_urlquote
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

from persistent_messages.conf import get_config
from persistent_messages.models import Message

MARKDOWN = ("markdown_it.MarkdownIt", "nh3.clean")
"""The functions that the setting MARKDOWN needs, from the extra `markdown`."""

# No images, which would reveal the reader to their server. No headings, which would disturb the
# outline of the page.
TAGS = {"a", "blockquote", "br", "code", "del", "em", "hr", "li", "ol", "p", "pre", "strong", "ul"}

# Characters that may be Markdown. The parser takes 20 to 40 microseconds for each delimiter, a few
# for other punctuation, and longer for unbalanced brackets and asterisks. With these limits it
# takes about 20 milliseconds at most.
_DELIMITERS = re.compile(r"[\n\[\]*_~`<>&!\\#]")
_PUNCTUATION = re.compile(r"[^\w\s]")
MAX_DELIMITERS = 500
MAX_PUNCTUATION = 2500


def as_html(message: Message) -> SafeString:
    """Return the text of `message` as HTML: escaped, with line breaks and links.

    Letters are rendered as Markdown if the setting is on, and as plain text above `MAX_DELIMITERS`
    or `MAX_PUNCTUATION`. Links have `rel="nofollow"`. Safe text is returned unchanged.
    """
    if message.is_safe:
        return SafeString(message.message)
    if message.is_letter and get_config().MARKDOWN and _is_cheap_to_render(message.message):
        return SafeString(_sanitized(_rendered(message.message)))
    return SafeString(linebreaks(link_addresses(message.message), autoescape=False))


# Plain text

# Each alternative begins at the start of a word, so that the search takes linear time. Addresses
# without a scheme are linked if they begin with www. or have a common top-level domain.
_ADDRESS = re.compile(
    r"""(?<![\w@.+/-])(?:
        (?P<url>https?://[^\s<>"]+)
        | (?P<mail>[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+)
        | (?P<host>www\.[^\s<>"]+
            | (?:[\w-]{1,63}\.)+(?:com|edu|gov|int|mil|net|org)(?![\w@-])(?:[:/?\#][^\s<>"]*)?)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_AFTER = frozenset(".,:;!?'*_~\N{RIGHT SINGLE QUOTATION MARK}”“»")
_BRACKETS = {")": "(", "]": "[", "}": "{"}


def link_addresses(text: str) -> SafeString:
    """Return `text` escaped, with links for web and mail addresses; https is the default scheme."""
    html, end = [], 0
    for match in _ADDRESS.finditer(text):
        address = _without_trailing_punctuation(match.group())
        if not _has_host(address):
            continue
        html += [escape(text[end : match.start()]), _link(address, str(match.lastgroup))]
        end = match.start() + len(address)
    return SafeString("".join([*html, escape(text[end:])]))


def _without_trailing_punctuation(address: str) -> str:
    """Strip punctuation that belongs to the sentence, and unbalanced closing brackets."""
    spare = {close: address.count(close) - address.count(_BRACKETS[close]) for close in _BRACKETS}
    end = len(address)
    while end and (address[end - 1] in _AFTER or spare.get(address[end - 1], 0) > 0):
        end -= 1
        if address[end] in spare:
            spare[address[end]] -= 1
    return address[:end]


def _has_host(address: str) -> bool:
    scheme, separator, host = address.partition("://")
    if not separator:
        return "." in scheme.removeprefix("www.")
    return host[:1].isalnum() or host[:1] == "["


def _link(address: str, kind: str) -> SafeString:
    if kind == "mail":
        href = f"mailto:{quote(address, safe='@+')}"
    else:
        href = smart_urlquote(address if kind == "url" else f"https://{address}")
    return format_html('<a href="{}" rel="nofollow">{}</a>', href, address)


# Markdown


def _is_cheap_to_render(text: str) -> bool:
    return (
        len(_DELIMITERS.findall(text)) <= MAX_DELIMITERS
        and len(_PUNCTUATION.findall(text)) <= MAX_PUNCTUATION
    )


def _rendered(text: str) -> str:
    return str(_parser().render(text))


@cache
def _parser() -> Any:
    parser = import_string(MARKDOWN[0])("commonmark", {"html": False, "breaks": True})
    parser.enable("strikethrough")
    parser.core.ruler.push("addresses", _mark_addresses)
    parser.add_render_rule("addresses", _render_addresses)
    parser.render("")  # the first call compiles the rules, which is not thread-safe
    return parser


def _mark_addresses(state: Any) -> None:
    # Only text outside links.
    for block in state.tokens:
        depth = 0
        for token in block.children or ():
            depth += token.nesting if token.type in ("link_open", "link_close") else 0
            if token.type == "text" and not depth:
                token.type = "addresses"


def _render_addresses(
    _renderer: Any, tokens: Any, index: int, _options: Any, _environment: Any
) -> str:
    return link_addresses(tokens[index].content)


def _sanitized(html: str) -> str:
    clean = import_string(MARKDOWN[1])
    return str(
        clean(
            html,
            tags=TAGS,
            attributes={"a": {"href"}, "ol": {"start"}},
            url_schemes={"http", "https", "mailto"},
            link_rel="nofollow noopener",
        )
    )
