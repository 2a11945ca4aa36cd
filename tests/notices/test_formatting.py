"""Texts with placeholders."""

import pytest
from django.utils.safestring import SafeString, mark_safe
from hypothesis import given

from persistent_messages.notices.formatting import fill, placeholders
from tests.hostile import odd_texts


def test_placeholders_are_found_with_conversion_type():
    text = "%(a)s %(b)d %(c).2f %% %(a)s %(d)-5s"

    assert placeholders(text) == {"a": "s", "b": "d", "c": "f", "d": "s"}


@pytest.mark.parametrize(
    ("text", "place"), [("100 % full", 5), ("%", 1), ("%s", 1), ("a %(b) full", 3), ("%(a)", 1)]
)
def test_lone_percent_sign_raises_error_with_position(text, place):
    with pytest.raises(ValueError, match=f"character {place} that begins no placeholder"):
        placeholders(text)


def test_placeholder_without_value_raises_error():
    with pytest.raises(ValueError, match="without a value: 'name'"):
        fill("Hello %(name)s", {})


@pytest.mark.parametrize("value", ["ninety", None, float("inf"), float("nan")])
def test_value_that_is_no_number_raises_error(value):
    with pytest.raises(ValueError, match=r"^'%\(percent\)d' has a value of the wrong type"):
        fill("%(percent)d", {"percent": value})


@given(odd_texts)
def test_value_in_plain_text_is_unchanged(value):
    filled = fill("<%(value)s>", {"value": value})

    assert filled == f"<{value}>"
    assert not isinstance(filled, SafeString)


@given(odd_texts)
def test_value_in_safe_text_is_escaped(value):
    filled = fill(mark_safe("<b>%(value)s</b>"), {"value": mark_safe(value)})

    assert isinstance(filled, SafeString)
    inner = filled.removeprefix("<b>").removesuffix("</b>")
    assert not {"<", ">", '"', "'"} & {*inner}


def test_value_is_not_formatted_again():
    assert fill("%(a)s", {"a": "%(b)s %%"}) == "%(b)s %%"
