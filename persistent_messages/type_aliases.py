"""Type aliases for the arguments of public functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias
from uuid import UUID

from django.db.models import Model
from django.utils.functional import Promise

Text: TypeAlias = str | Promise
"""A string, or a lazy translation as returned by `gettext_lazy`."""

Recipient: TypeAlias = Model | int | str | UUID
"""A user or the primary key of a user."""

Recipients: TypeAlias = Recipient | Iterable[Recipient]
"""A user, a key, an iterable of them, a group (its members), or a queryset of users."""
