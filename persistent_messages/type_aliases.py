"""What the public functions take, for type checkers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias
from uuid import UUID

from django.db.models import Model
from django.utils.functional import Promise

Text: TypeAlias = str | Promise
"""A text, which may be translated later: what `gettext_lazy` returns."""

Recipient: TypeAlias = Model | int | str | UUID
"""A user, or the primary key of one."""

Recipients: TypeAlias = Recipient | Iterable[Recipient]
"""A user, a group for its members, their keys, several of them, or a queryset of users."""
