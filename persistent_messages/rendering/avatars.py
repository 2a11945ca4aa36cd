"""Avatars: the initials of a user, or the icon of a level."""

from __future__ import annotations

from html import escape

from django.utils.safestring import SafeString

from .icons import SVGS


def initials(name: str) -> str:
    """Return the first letters of the first and the last word of a name."""
    letters = [letter for word in name.split() if (letter := next(filter(str.isalnum, word), ""))]
    return "".join(letters[:1] + letters[1:][-1:]).upper()


def avatar_color(name: str) -> int:
    """Return the number of one of the six avatar colors."""
    return sum(map(ord, name)) % 6 + 1


def user_avatar(name: str) -> SafeString:
    """Return a circle with the initials of a user."""
    return SafeString(
        f'<span class="pm-avatar pm-hue-{avatar_color(name)}" aria-hidden="true">'
        f"<bdi>{escape(initials(name))}</bdi></span>"
    )


def site_avatar(level: str) -> SafeString:
    """Return a rounded square with the icon of a level."""
    return SafeString(
        f'<span class="pm-avatar pm-avatar--system" aria-hidden="true">{SVGS[level]}</span>'
    )
