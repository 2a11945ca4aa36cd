"""Texts with placeholders, such as "Storage is %(percent)d %% full"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Number
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeData, mark_safe

# Without the space flag that Python allows, or "%(percent) full" would be a float and "ull".
_PERCENT = re.compile(
    r"%(?:%|\((?P<name>\w+)\)[#0\-+]*\d*(?:\.\d+)?(?P<conversion>[diouxXeEfFgGcrsa])"
    r"|(?P<wrong>.?))",
    re.DOTALL,
)


def placeholders(text: str) -> dict[str, str]:
    """Return the names of the placeholders in `text`, with their conversion types.

    Raises `ValueError` for a percent sign that begins neither a placeholder nor "%%".
    """
    found: dict[str, str] = {}
    for match in _PERCENT.finditer(text):
        if match["wrong"] is not None:
            raise ValueError(
                f"{text!r} has a % at character {match.start() + 1} that begins no placeholder: "
                "write %(name)s for a parameter, and %% for a percent sign."
            )
        if match["name"]:
            found[match["name"]] = match["conversion"]
    return found


def fill(text: Any, values: Mapping[str, Any]) -> str:
    """Return `text` with its placeholders replaced by `values`.

    Values are never markup: in safe text they are escaped, and other text is escaped as a whole
    when it is displayed. Raises `ValueError` if a placeholder has no value, or one of the wrong
    type.
    """
    pattern = str(text)
    is_safe = isinstance(pattern, SafeData)
    names = placeholders(pattern)
    if missing := sorted(names.keys() - values.keys()):
        raise ValueError(f"{pattern!r} has a placeholder without a value: {missing[0]!r}.")
    chosen = {name: values[name] for name in names}
    if is_safe:
        chosen = {name: _escaped(value) for name, value in chosen.items()}
    try:
        result = "" + pattern % chosen
    except (TypeError, ValueError, OverflowError) as error:  # the latter two for inf and nan
        raise ValueError(f"{pattern!r} has a value of the wrong type: {error}.") from None
    return mark_safe(result) if is_safe else result  # noqa: S308 (the values are escaped)


def _escaped(value: Any) -> Any:
    # The sum drops the mark of a safe string, so that it is escaped.
    return value if isinstance(value, Number) else escape("" + str(value))
