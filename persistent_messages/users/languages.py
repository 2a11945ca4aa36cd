"""The languages of users."""

from __future__ import annotations

from typing import Any

from persistent_messages.conf import get_config


def active_language(user: Any) -> str | None:  # noqa: ARG001 (what a site's function takes)
    """Return None: whoever sends a notice does so in the language of the recipient."""
    return None


def language_of(user: Any) -> str | None:
    """Return the language that the site says `user` reads; None for the active language."""
    code = get_config().call("LANGUAGE_OF", user)
    return str(code) if code else None
