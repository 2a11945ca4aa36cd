"""The text of a message as HTML: links, Markdown, and their limits."""

import re
import uuid

import pytest
from django.utils.html import escape
from hypothesis import given
from hypothesis import strategies as st

from persistent_messages.models import Message
from persistent_messages.rendering import markup
from tests.hostile import fuzz, odd_texts

LENGTH = 10_000


@pytest.fixture(params=[False, True], ids=["plain", "markdown"])
def markdown(request, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "MARKDOWN": request.param}
    return request.param


def letter(words):
    return Message(level=120, message=words, thread=uuid.uuid4())


def links(html):
    return re.findall(r'<a href="([^"]*)" rel="[^"]*nofollow[^"]*">([^<]*)</a>', html)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("See https://example.org/a.", [("https://example.org/a", "https://example.org/a")]),
        ("See http://example.org.", [("http://example.org", "http://example.org")]),
        ("HTTPS://example.org", [("https://example.org", "HTTPS://example.org")]),
        ("www.example.org/a?b=", [("https://www.example.org/a?b=", "www.example.org/a?b=")]),
        ("At example.com!", [("https://example.com", "example.com")]),
        ("example.com:8000/a", [("https://example.com:8000/a", "example.com:8000/a")]),
        ("(https://x.org/a_(b))", [("https://x.org/a_(b)", "https://x.org/a_(b)")]),
        ("https://x.org/a_b_c", [("https://x.org/a_b_c", "https://x.org/a_b_c")]),
        ("https://x.org/?a=1&b=2", [("https://x.org/?a=1&amp;b=2", "https://x.org/?a=1&amp;b=2")]),
        ("“https://x.org”", [("https://x.org", "https://x.org")]),
        ("„www.x.org“, she said", [("https://www.x.org", "www.x.org")]),
        ("sally@example.org,", [("mailto:sally@example.org", "sally@example.org")]),
        ("a+b.c@example.org", [("mailto:a+b.c@example.org", "a+b.c@example.org")]),
        (
            "one https://a.org\nb@c.org",
            [("https://a.org", "https://a.org"), ("mailto:b@c.org", "b@c.org")],
        ),
        ("https:// www. www... x@y a.community ftp://a.org javascript:alert(1)", []),
    ],
)
def test_urls_are_linked(markdown, words, found):
    assert links(markup.as_html(letter(words))) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("`https://x.org`", []),
        ("    https://x.org", []),
        ("[https://x.org](https://y.org)", [("https://y.org", "https://x.org")]),
        ("<https://x.org>", [("https://x.org", "https://x.org")]),
        ("- https://x.org", [("https://x.org", "https://x.org")]),
        ("**www.x.org**", [("https://www.x.org", "www.x.org")]),
    ],
)
def test_markdown_links_urls_outside_links_and_code(settings, words, found):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "MARKDOWN": True}

    assert links(markup.as_html(letter(words))) == found


def test_urls_in_notice_are_linked():
    html = markup.as_html(Message(level=120, message="At www.example.org"))

    assert links(html) == [("https://www.example.org", "www.example.org")]


COSTLY = ["[[a](", "[", "![", "[a](", "*a **b", "*_", "_a ", "~~a", "`a", "> > >\n", "- a\n", "a\n"]
COSTLY += [
    "> a\n- b\n",
    "&#",
    "&amp;",
    "<",
    "<http://a>",
    "<!--",
    "<![CDATA[",
    "[a]: b\n",
    "\\",
    "@",
]


@pytest.mark.parametrize("piece", COSTLY)
def test_expensive_markdown_is_shown_as_plain_text(settings, monkeypatch, piece):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "MARKDOWN": True}
    words = (piece * LENGTH)[:LENGTH]
    monkeypatch.setattr(markup, "_rendered", None)

    html = markup.as_html(letter(words))

    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    assert html == markup.as_html(letter(words))


@pytest.mark.parametrize(
    "piece", ["A long letter of *some* words, in lines.\n\n", "> quoted\n", "word "]
)
def test_long_letter_is_rendered_as_markdown(settings, piece):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "MARKDOWN": True}
    words = "**Hello**\n\n" + piece * 100

    assert markup.as_html(letter(words)).startswith("<p><strong>Hello</strong></p>")


@fuzz(100)
@given(odd_texts | st.text("[](*)_~`<>&!\\#ahtps:/.w@ \n", max_size=200))
def test_linked_text_is_escaped_and_otherwise_unchanged(words):
    html = markup.link_addresses(words)

    assert re.sub(r'<a href="[^"<>]*" rel="nofollow">|</a>', "", html) == escape(words)
    for href, _ in links(html):
        assert href.lower().startswith(("http://", "https://", "mailto:"))
