"""Tokens for unsubscribe links in mails, which work without a log-in."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import ValidationError

SALT = "persistent_messages.unsubscribe"
MAX_AGE = timedelta(days=365)


class Unsubscription(NamedTuple):
    """A user and the topics to unsubscribe from."""

    user_id: Any
    topics: list[str]


def make_token(user: Any, topics: Collection[str]) -> str:
    """Return a token for `user` and `topics` that is valid for a year."""
    return signing.dumps([str(user.pk), *sorted(topics)], salt=SALT)


def read_token(token: str) -> Unsubscription | None:
    """Return the content of `token`; None if it is forged or too old. No query."""
    try:
        key, *topics = signing.loads(token, salt=SALT, max_age=MAX_AGE)
        return Unsubscription(get_user_model()._meta.pk.to_python(key), topics)
    except (signing.BadSignature, ValidationError, ValueError, TypeError):
        return None
