"""Copy one row for many owners in the database, without reading the owners.

This is the only module that adds SQL to a statement compiled by Django, which has no
`INSERT ... SELECT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections, models

KEY_LOCKS = {"postgresql": " FOR KEY SHARE", "mysql": " LOCK IN SHARE MODE"}
"""Locks against the deletion of selected rows. Inserting a foreign key takes the same lock."""

MAX_ROWS = 1000
"""The maximum number of rows in one `INSERT ... VALUES`."""


def insert_copies(
    row: models.Model, filled: Sequence[str], owners: models.QuerySet[Any], using: str
) -> int:
    """Insert a copy of `row` for each row of `owners`; return how many.

    The columns of `owners` are the values of the fields `filled`; all other values are those of
    `row`. Owners cannot be deleted until the transaction ends, and get no copy if they already are.
    One statement; on MariaDB two, and one for each `MAX_ROWS`. Does not call `pre_save()`.
    """
    connection, meta = connections[using], row._meta
    given: list[Any] = [meta.get_field(name) for name in filled]
    constant = [
        field for field in meta.concrete_fields if not (field.primary_key or field in given)
    ]
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for field in constant]
    try:
        select, parameters = _locking(owners, using)
    except EmptyResultSet:
        return 0
    columns = ", ".join(connection.ops.quote_name(field.column) for field in (*given, *constant))
    into = f"INSERT INTO {connection.ops.quote_name(meta.db_table)} ({columns})"
    if connection.vendor == "mysql":
        # On MariaDB, INSERT ... SELECT locks the auto-increment counter. A transaction that inserts
        # a single row at the same time fails with error 1467 if the two wait for each other.
        return _insert_listed(into, values, _fetch(select, parameters, using), using)
    marks = ", ".join("%s" for _ in values)
    sql = f"{into} SELECT owners.*, {marks} FROM ({select}) owners"  # noqa: S608 (by Django)
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, *parameters])
        return int(cursor.rowcount)


def lock_keys(owners: models.QuerySet[Any], using: str) -> int:
    """Lock `owners` against deletion until the transaction ends; return how many. One statement."""
    try:
        return len(_fetch(*_locking(owners, using), using))
    except EmptyResultSet:
        return 0


def _locking(owners: models.QuerySet[Any], using: str) -> tuple[str, Sequence[Any]]:
    select, parameters = owners.query.get_compiler(using=using).as_sql()
    return select + KEY_LOCKS.get(connections[using].vendor, ""), parameters


def _fetch(select: str, parameters: Sequence[Any], using: str) -> Sequence[tuple[Any, ...]]:
    with connections[using].cursor() as cursor:
        cursor.execute(select, parameters)
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
    return found


def _insert_listed(
    into: str, values: list[Any], owners: Sequence[tuple[Any, ...]], using: str
) -> int:
    # Session variables, so that the texts are sent once instead of with each row.
    names = ["NULL" if value is None else f"@pm_{n}" for n, value in enumerate(values)]
    given = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    with connections[using].cursor() as cursor:
        cursor.execute(f"SET {', '.join(f'{name} = %s' for name in given)}", [*given.values()])
        for start in range(0, len(owners), MAX_ROWS):
            batch = owners[start : start + MAX_ROWS]
            row = f"({', '.join(['%s'] * len(batch[0]) + names)})"
            rows = ", ".join([row] * len(batch))
            cursor.execute(f"{into} VALUES {rows}", [key for owner in batch for key in owner])
    return len(owners)
