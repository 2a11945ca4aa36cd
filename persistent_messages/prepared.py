"""Statements that every page of a site runs: compiled once for each database, then only run.

To build and compile such a query takes Django several times as long as to run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections, models
from django.db.models.sql.compiler import SQLCompiler


class Later(models.Expression):
    """A value that is known only when the statement runs, of the type of `field`."""

    def __init__(self, name: str, field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, Any]:
        """Leave a place for it, and itself among the parameters, to know the place by."""
        return "%s", [self]


class Statement:
    """A statement of which only some values change.

    `build` is given the rows of a database and the numbers that are part of the statement, and
    returns querysets with `Later` values, whose rows are to come one after the other.
    """

    def __init__(self, build: Callable[..., Sequence[models.QuerySet[Any]]]) -> None:
        self.build = build
        self.compiled: dict[tuple[Any, ...], tuple[str, list[Any]]] = {}

    def sql(
        self, rows: models.QuerySet[Any], *numbers: int, **values: Any
    ) -> tuple[str, list[Any]]:
        """Return the statement and its parameters as a cursor of the database of `rows` takes them.

        No query.
        """
        key = (rows.db, *numbers)
        if key not in self.compiled:
            self.compiled[key] = _compiled(self.build(rows, *numbers), rows.db)
        sql, parameters = self.compiled[key]
        connection = connections[rows.db]
        return sql, [
            parameter.output_field.get_db_prep_value(values[parameter.name], connection)
            if isinstance(parameter, Later)
            else parameter
            for parameter in parameters
        ]


def _compiled(querysets: Sequence[models.QuerySet[Any]], using: str) -> tuple[str, list[Any]]:
    # `QuerySet.union()` refuses sliced parts on SQLite, which takes them as subqueries.
    statements: list[str] = []
    parameters: list[Any] = []
    for number, queryset in enumerate(querysets):
        sql, values = queryset.query.get_compiler(using=using).as_sql()
        name = connections[using].ops.quote_name(f"part{number}")
        statements.append(f"SELECT * FROM ({sql}) {name}")  # noqa: S608 (compiled by Django)
        parameters += values
    return " UNION ALL ".join(statements), parameters
