"""Lookups of rows in views."""

from __future__ import annotations

from typing import TypeVar

from django.db import router
from django.db.models import Model, QuerySet
from django.http import HttpRequest

Row = TypeVar("Row", bound=Model)


def for_write(request: HttpRequest, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Return `rows`, read from the primary database for a POST, because a replica may lag."""
    return rows.using(router.db_for_write(rows.model)) if request.method == "POST" else rows
