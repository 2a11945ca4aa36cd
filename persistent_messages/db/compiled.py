"""Queries that a site runs all the time: compiled once for each database, then only run.

To build and compile such a query takes Django several times as long as to run it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connections, models
from django.db.models.sql.compiler import SQLCompiler

T = TypeVar("T", bound=models.Model)


class Param(models.Expression):
    """A parameter of a compiled query, bound each time it runs; of the type of `field`."""

    def __init__(self, name: str, field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, Any]:
        """Leave a place for it, and itself among the parameters, to know the place by."""
        return "%s", (self,)


class KeyList(models.Expression):
    """Many keys to look for with `__in`, all of them as `field` has them in Python.

    Of a list, Django prepares each key several times, which takes it longer than the statement.
    """

    def __init__(self, keys: Collection[Any], field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.keys = keys

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, Any]:
        """Return a place for each key, and the keys."""
        if not self.keys:
            raise EmptyResultSet
        prepare = self.output_field.get_db_prep_value
        marks = ", ".join(["%s"] * len(self.keys))
        return f"({marks})", [prepare(key, connection, prepared=True) for key in self.keys]


class CompiledQuery:
    """A query that is compiled once for each database and *shape*.

    `build(rows, *shape)` returns the querysets whose rows come one after the other. The shape is
    whatever changes the SQL, such as the limit or the folder; a `Param` is bound at each run.
    """

    def __init__(self, build: Callable[..., Sequence[models.QuerySet[Any]]]) -> None:
        self.build = build
        self.compiled: dict[tuple[Any, ...], tuple[str, list[Any]]] = {}

    def sql(
        self, rows: models.QuerySet[Any], *shape: Hashable, using: str = "", **values: Any
    ) -> tuple[str, list[Any]]:
        """Return the statement and its parameters as a cursor of the database `using` takes them.

        By default the database of `rows`. No query.
        """
        using = using or rows.db
        key = (using, *shape)
        if key not in self.compiled:
            self.compiled[key] = _compiled(self.build(rows.using(using), *shape), using)
        sql, parameters = self.compiled[key]
        connection = connections[using]
        return sql, [
            parameter.output_field.get_db_prep_value(values[parameter.name], connection)
            if isinstance(parameter, Param)
            else parameter
            for parameter in parameters
        ]

    def fetch(self, rows: models.QuerySet[T], *shape: Hashable, **values: Any) -> list[T]:
        """Return the instances that the statement finds, in its order; one query."""
        using = rows.db  # asked once: a router may name another replica each time
        return list(rows.raw(*self.sql(rows, *shape, using=using, **values), using=using))


def _select_sql(queryset: models.QuerySet[Any], using: str) -> tuple[str, tuple[Any, ...]]:
    sql, parameters = queryset.query.get_compiler(using=using).as_sql()
    connection = connections[using]
    if connection.vendor == "mysql":
        # With a small limit MariaDB may walk the primary key, through the rows of everybody, rather
        # than read the range of an index: it expects to find enough of them soon.
        table = connection.ops.quote_name(queryset.model._meta.db_table)
        hint = f"FROM {table} IGNORE INDEX FOR ORDER BY (PRIMARY)"
        sql = sql.replace(f"FROM {table}", hint, 1)
    return sql, tuple(parameters)


def _compiled(querysets: Sequence[models.QuerySet[Any]], using: str) -> tuple[str, list[Any]]:
    parts = [_select_sql(queryset, using) for queryset in querysets]
    parameters = [parameter for _, values in parts for parameter in values]
    if len(parts) == 1:
        return parts[0][0], parameters
    # `QuerySet.union()` refuses sliced parts on SQLite, which takes them as subqueries.
    names = (connections[using].ops.quote_name(f"part{number}") for number in range(len(parts)))
    statements = (
        f"SELECT * FROM ({sql}) {name}"  # noqa: S608 (compiled by Django)
        for (sql, _), name in zip(parts, names, strict=True)
    )
    return " UNION ALL ".join(statements), parameters
