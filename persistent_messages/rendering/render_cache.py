"""Cache the HTML of parts that are on every page: notices, the unread count, the toasts.

Django takes a microsecond or more for each node of a template, and a notice has a hundred. The
bundled templates use only the `RenderData` of a message, so the HTML of two messages of the same
kind differs only in its texts. The first message of a kind is rendered with markers in place of
the texts. For later messages, their texts are filled into that HTML. A template that a site
overrides is rendered for each message.
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
# Surrounds a name in place of its text. It is random, so no message can contain it.
MARKER = f"pm{token_hex(8)}"
MAX_PATTERNS = 512
"""Patterns kept for each template, of a few kilobytes: one for each kind and language."""


class RenderData(NamedTuple):
    """The values of one message that a template uses."""

    kind: dict[str, Any]
    """Values that the markup depends on."""
    texts: dict[str, Any]
    """Values that are only inserted into it; escaped unless marked safe."""

    @property
    def values(self) -> dict[str, Any]:
        """All values, as a template gets them."""
        return {**self.kind, **self.texts}


def is_bundled(template: Template) -> bool:
    """Return whether `template` is one of the app's own, and not an override of the site."""
    return str(template.origin.name).startswith(BUNDLED_TEMPLATES)


def render_cached(
    template: Template, part: RenderData, page_context: Hashable, page: Mapping[str, str]
) -> SafeString:
    """Return the HTML of the bundled `template` for a message with the values in `part`.

    `page_context` has everything else that the markup depends on, such as the language. `page` has
    further variables of the template, escaped, which the markup does not depend on. The context has
    no other variables.
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
    """Return the HTML of the bundled `template` with the variables `texts` and `flags`.

    The markup depends on `flags` and `page_context`, but not on `texts`.
    """
    pattern = _cache_of(template)((), (), (*texts,), page_context, flags)
    return SafeString(pattern % {name: escape_text(text) for name, text in texts.items()})


def _cache_of(template: Template) -> Callable[..., str]:
    if template not in _caches:
        _caches[template] = lru_cache(MAX_PATTERNS)(partial(_pattern, ref(template)))
    return _caches[template]


def escape_text(text: Any) -> str:
    """Escape `text` as a template does, but faster for plain and empty strings."""
    if type(text) is str:
        return escape(text) if text else ""
    return conditional_escape(text)


# Weak keys, because without a cached loader each page has new templates.
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
