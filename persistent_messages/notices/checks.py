"""System checks of the site's notice classes, for errors that would occur when they are sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template
from django.utils import translation
from django.utils.functional import Promise

from persistent_messages.mailbox.validation import new_message

from .formatting import placeholders
from .kinds import Notice, kinds, source_texts

_PLACEHOLDER = re.compile(r"%\(\w+\)")


def check_notices(**_kwargs: Any) -> list[CheckMessage]:
    """Return the problems of the site's notice classes, sorted by name."""
    found: list[CheckMessage] = []
    known: dict[str, type[Notice]] = {}
    for kind in kinds():
        name = kind.kind()
        if name in known:
            found.append(_duplicate(known[name], kind))
        known.setdefault(name, kind)
        found += [*_check_texts(kind), *_check_settings(kind)]
    return found


def _duplicate(first: type[Notice], second: type[Notice]) -> CheckMessage:
    return Error(
        f"There are two kinds of notices named {first.kind()}: in {first.__module__} and in "
        f"{second.__module__}.",
        hint="Rename one of these classes.",
        obj=second,
        id="persistent_messages.E012",
    )


def _check_texts(kind: type[Notice]) -> Iterator[CheckMessage]:
    try:
        names = kind.parameter_names()
        expected = [{*placeholders(text)} for text in source_texts(kind)]
    except ValueError as error:
        yield Error(f"{kind.kind()}: {error}", obj=kind, id="persistent_messages.E013")
        return
    if not isinstance(kind.example, Mapping):
        yield Error(
            f"{kind.kind()}: example must be a dict, not {kind.example!r}.",
            obj=kind,
            id="persistent_messages.E013",
        )
    elif unknown := sorted({*kind.example} - {*names}):
        yield Error(
            f"{kind.kind()}: example has {unknown[0]!r}, which is no parameter.",
            obj=kind,
            id="persistent_messages.E013",
        )
    for code, _ in settings.LANGUAGES:
        for attribute, before in zip(("subject", "message"), expected, strict=True):
            with translation.override(code):
                text = str(getattr(kind, attribute))
            yield from _check_translation(kind, f"{attribute} in {code!r}", text, before)


def _check_translation(
    kind: type[Notice], place: str, text: str, expected: set[str]
) -> Iterator[CheckMessage]:
    try:
        found = {*placeholders(text)}
    except ValueError as error:
        yield Error(f"{kind.kind()}: {place}: {error}", obj=kind, id="persistent_messages.E013")
        return
    for name in sorted(found - expected):
        yield Error(
            f"{kind.kind()}: {place} has the placeholder {name!r}, which the source has not.",
            hint="Correct the translation.",
            obj=kind,
            id="persistent_messages.E014",
        )
    for name in sorted(expected - found):
        yield checks.Warning(
            f"{kind.kind()}: {place} lacks the placeholder {name!r}.",
            hint="Correct the translation.",
            obj=kind,
            id="persistent_messages.W014",
        )


def _check_settings(kind: type[Notice]) -> Iterator[CheckMessage]:
    for problem in _problems(kind):
        yield Error(f"{kind.kind()}: {problem}", obj=kind, id="persistent_messages.E015")


def _problems(kind: type[Notice]) -> Iterator[str]:
    try:
        _check_values(kind)
    except (TypeError, ValueError) as error:
        yield str(error)
    for name in ("url", "action", "key"):
        if _PLACEHOLDER.search(_text_of(getattr(kind, name))):
            yield f"{name} has a placeholder, but only subject and message are filled in."
    if isinstance(kind.parameters, str):
        yield f"parameters must be a tuple of names, not {kind.parameters!r}."
    if kind.min_interval is not None and not isinstance(kind.min_interval, timedelta):
        yield f"min_interval must be a timedelta, not {kind.min_interval!r}."
    elif kind.min_interval is not None and kind.key is None:
        yield "min_interval needs a key."
    if kind.template_name and kind.message:
        yield "it has both a message and a template_name."
    if kind.template_name:
        yield from _template_problem(kind.template_name)


def _check_values(kind: type[Notice]) -> None:
    """Raise the error that a message with the values of the class would raise."""
    text = _text_of(kind.subject)
    new_message(
        kind.level,
        "A text",
        subject="" if "%" in text else kind.subject,
        url=kind.url if isinstance(kind.url, str) else "/",
        action=kind.action,
        key="key" if _is_computed(kind.key) else kind.key,
        topic=kind.topic,
    )


def _text_of(value: Any) -> str:
    return str(value) if isinstance(value, (str, Promise)) else ""


def _is_computed(value: Any) -> bool:
    return callable(value) or hasattr(value, "__get__")


def _template_problem(name: str) -> Iterator[str]:
    try:
        get_template(name)
    except TemplateDoesNotExist:
        yield f"the template {name!r} does not exist."
    except TemplateSyntaxError as error:
        yield f"the template {name!r} has an error: {error}"
