"""Cache of what every page of a site shows: notices, the unread count, the region of the toasts.

Each node of a template costs Django a microsecond or more, and a notice has a hundred. A bundled
template shows only the `RenderData` of a message. So what it renders for two messages of a kind
differs by the texts alone: the first is rendered with markers instead of texts, and later ones are
that HTML with their texts filled in. A template of a site is rendered for each message.
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

BUNDLED_TEMPLATES = str(Path(__file__).parents[1] / "templates") + os.sep
# Stands around a name where its text is to come. Nobody can write it: it differs by process.
MARKER = f"pm{token_hex(8)}"
MAX_PATTERNS = 512
"""How many are kept of one template, some kilobytes each: its kinds in a few languages."""


class RenderData(NamedTuple):
    """What a template shows of one message."""

    kind: dict[str, Any]
    """What decides about the markup."""
    texts: dict[str, Any]
    """What stands in it, and decides nothing; escaped unless marked safe."""

    @property
    def values(self) -> dict[str, Any]:
        """Both, as a template sees them."""
        return {**self.kind, **self.texts}


def is_bundled(template: Template) -> bool:
    """Tell whether `template` is one of the app's own, and no override of a site."""
    return str(template.origin.name).startswith(BUNDLED_TEMPLATES)


def render_cached(
    template: Template, part: RenderData, page_context: Hashable, page: Mapping[str, str]
) -> SafeString:
    """Return what `template`, one of ours, renders for a `message` with these values.

    `page_context` is all else that the markup depends on, such as the language. `page` has further
    variables of the template, escaped, which decide nothing either. Nothing else is there.
    """
    pattern = _cache_of(template)((*part.kind.items(),), (*part.texts,), (*page,), page_context)
    texts = {name: escape_text(text) for name, text in part.texts.items()}
    return SafeString(pattern % {**page, **texts})


def render_cached_page(
    template: Template,
    texts: Mapping[str, Any],
    page_context: Hashable,
    flags: tuple[tuple[str, Hashable], ...] = (),
) -> SafeString:
    """Return what `template`, one of ours, renders with the variables `texts` and `flags`.

    `texts` decide nothing about the markup, `flags` and `page_context` do.
    """
    pattern = _cache_of(template)((), (), (*texts,), page_context, flags)
    return SafeString(pattern % {name: escape_text(text) for name, text in texts.items()})


def _cache_of(template: Template) -> Callable[..., str]:
    if template not in _caches:
        _caches[template] = lru_cache(MAX_PATTERNS)(partial(_pattern, ref(template)))
    return _caches[template]


def escape_text(text: Any) -> str:
    """Escape `text` as a template does; quicker for plain texts and blank ones, as most are."""
    if type(text) is str:
        return escape(text) if text else ""
    return conditional_escape(text)


# They go with their template: without a cached loader that is another on each page.
_caches: WeakKeyDictionary[Template, Callable[..., str]] = WeakKeyDictionary()


def _pattern(
    template: ref[Template],
    kind: tuple[tuple[str, Hashable], ...],
    texts: tuple[str, ...],
    page: tuple[str, ...],
    _place: Hashable,
    flags: tuple[tuple[str, Hashable], ...] = (),
) -> str:
    marks = {name: f"{MARKER}{name}{MARKER}" for name in (*texts, *page)}
    values = {**dict(kind), **{name: marks[name] for name in texts}}
    context = {"message": values, **dict(flags), **{name: marks[name] for name in page}}
    found: Any = template()
    html = str(found.render(Context(context))).replace("%", "%%")
    for name, mark in marks.items():
        html = html.replace(mark, f"%({name})s")
    return html
