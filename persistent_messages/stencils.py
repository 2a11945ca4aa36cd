"""Markup that is the same for many messages: rendered once for each kind, then filled in.

Each node of a template costs Django a microsecond or more, and a row of the inbox has a hundred.
A template of ours shows of a message only its `Part`, so that what it renders for one message of a
kind differs from that for another by the texts alone. A template of a site shows what it likes:
it is rendered for each message.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache, partial
from html import escape
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from django.template import Context
from django.template.base import Template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString

OURS = str(Path(__file__).parent / "templates") + os.sep
# Stands around a name where its text is to come. Nobody can write it: it differs by process.
EDGE = f"pm{token_hex(8)}"
PATTERNS = 512
"""How many are kept of one template, some kilobytes each: its kinds in a few languages."""


class Part(NamedTuple):
    """What a template shows of one message."""

    kind: dict[str, Any]
    """What decides about the markup."""
    texts: dict[str, Any]
    """What stands in it, and decides nothing; escaped unless marked safe."""
    is_common: bool = True
    """False where a text decides about the markup, too: such a message is rendered by itself."""

    @property
    def values(self) -> dict[str, Any]:
        """Both, as a template sees them."""
        return {**self.kind, **self.texts}


def is_ours(template: Template) -> bool:
    """Tell whether `template` is one of the app's own, and no override of a site."""
    return str(template.origin.name).startswith(OURS)


def fill(template: Template, part: Part, place: Hashable, page: Mapping[str, str]) -> SafeString:
    """Return what `template`, one of ours, renders for a `message` with these values.

    `place` is all that the markup depends on beside them, as the language. `page` has further
    variables of the template, escaped, which decide nothing either. What is
    neither in `part` nor in `page` is not there.
    """
    if template not in _made:
        _made[template] = lru_cache(PATTERNS)(partial(_pattern, ref(template)))
    pattern = _made[template]((*part.kind.items(),), (*part.texts,), (*page,), place)
    texts = {name: escaped(text) for name, text in part.texts.items()}
    return SafeString(pattern % {**page, **texts})


def escaped(text: Any) -> str:
    """Escape `text` as a template does; most texts are plain, for which this is quicker."""
    return escape(text) if type(text) is str else conditional_escape(text)


# They go with their template: without a cached loader that is another on each page.
_made: WeakKeyDictionary[Template, Callable[..., str]] = WeakKeyDictionary()


def _pattern(
    template: ref[Template],
    kind: tuple[tuple[str, Hashable], ...],
    texts: tuple[str, ...],
    page: tuple[str, ...],
    _place: Hashable,
) -> str:
    marks = {name: f"{EDGE}{name}{EDGE}" for name in (*texts, *page)}
    values = {**dict(kind), **{name: marks[name] for name in texts}}
    context = {"message": values, **{name: marks[name] for name in page}}
    found: Any = template()
    html = str(found.render(Context(context))).replace("%", "%%")
    for name, mark in marks.items():
        html = html.replace(mark, f"%({name})s")
    return html
