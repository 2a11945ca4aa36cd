"""Truncated texts have the right length, and their markup is complete."""

import re

import pytest
from django.test.html import parse_html
from django.utils.html import strip_tags
from django.utils.safestring import SafeString, mark_safe

from persistent_messages.text.truncation import truncate

MEGABYTE = 10**6
LONG = {
    "a paragraph": "<p>" + "word " * 300 + "</p>",
    "deep": "<div><b><i>" + "x" * 700,
    "an image": f'<img alt="" src="data:{"A" * MEGABYTE}">Below',
    "no text": "<b></b>" * MEGABYTE,
    "never closed": "<b>" * MEGABYTE,
    "a comment": f"<!-- {'z' * MEGABYTE} -->Below",
    "a script": "<script>" + "a < b;" * 300 + "</script>Below " + "y" * 600,
    "a script without an end": "<script>" + "a < b;" * MEGABYTE,
    "items": "<ul>" + "<li>item" * 400 + "</ul>",
    "entities": "&lt;&eacute;" * 400,
    "wrong ends": "</b>x<i>y</b></i>" * 400,
    "void": "a<br>b<hr/>" * 400,
    "self-closed": "<div/>" + "x" * 600,
}


@pytest.mark.parametrize("name", LONG)
def test_truncated_markup_is_valid_and_short(name):
    text, is_cut = truncate(mark_safe(LONG[name]), 500)

    assert is_cut
    assert isinstance(text, SafeString)
    assert len(text) < 15_000
    assert len(strip_tags(re.sub("&[a-z]+;", "e", text))) <= 501
    parse_html(text)  # raises an error where an element is not closed


@pytest.mark.parametrize("length", [499, 500])
@pytest.mark.parametrize("mark", [str, mark_safe])
def test_short_text_is_not_truncated(length, mark):
    text = mark("é" * length)
    assert truncate(text, 500) == (text, False)
    assert type(truncate(text, 500)[0]) is type(text)


def test_short_text_with_long_markup_is_not_truncated():
    text = mark_safe(f'<a href="/{"x" * 600}/">Here</a> &amp; there')
    assert truncate(text, 500) == (text, False)


def test_truncated_plain_text_is_not_safe():
    text, is_cut = truncate("<b>" * MEGABYTE, 500)

    assert text == ("<b>" * MEGABYTE)[:500] + "…"
    assert is_cut
    assert not isinstance(text, SafeString)


def test_truncated_markup_omits_style_elements():
    assert truncate(mark_safe("<p>Hi<style>a{}</style></p>" + "x" * 30), 10) == (
        "<p>Hi</p>xxxxxxxx…",
        True,
    )
