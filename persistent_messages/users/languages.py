"""The languages of users."""

from __future__ import annotations

from typing import Any

from persistent_messages.conf import get_config


def active_language(user: Any) -> str | None:  # noqa: ARG001 (what a site's function takes)
    """Return None, which means the active language; the default of LANGUAGE_OF."""
    return None


def language_of(user: Any) -> str | None:
    """Return the language code of `user` by LANGUAGE_OF; None for the active language."""
    code = get_config().call("LANGUAGE_OF", user)
    return str(code) if code else None
