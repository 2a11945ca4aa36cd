"""The text of a message as HTML. What users wrote is never trusted, in plain text or Markdown."""

from __future__ import annotations

from django.utils.html import linebreaks, urlize
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

from .conf import get_config
from .models import Message

MARKDOWN = ("markdown_it.MarkdownIt", "nh3.clean")
"""What the setting MARKDOWN needs, from the extra `markdown`."""

# No images, which tell their server who reads; no headings, which would join those of the page.
TAGS = {"a", "blockquote", "br", "code", "del", "em", "hr", "li", "ol", "p", "pre", "strong", "ul"}


def as_html(message: Message) -> SafeString:
    """Return the text as HTML: escaped, lines kept, addresses linked; Markdown where it is on.

    Links carry `rel="nofollow"`. Safe text is returned as it is.
    """
    if message.is_safe:
        return SafeString(message.message)
    if message.is_letter and get_config().MARKDOWN:
        return SafeString(_sanitised(_rendered(message.message)))
    linked = urlize(message.message, nofollow=True, autoescape=True)
    return SafeString(linebreaks(linked, autoescape=False))


def _rendered(text: str) -> str:
    parser = import_string(MARKDOWN[0])("commonmark", {"html": False, "breaks": True})
    return str(parser.enable("strikethrough").render(text))


def _sanitised(html: str) -> str:
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
