"""Frequent queries that are compiled once for each database.

Building and compiling such a query takes Django several times as long as running it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connections, models
from django.db.models.sql.compiler import SQLCompiler

T = TypeVar("T", bound=models.Model)


class Param(models.Expression):
    """A parameter of a compiled query with the type of `field`, bound each time the query runs."""

    def __init__(self, name: str, field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, Any]:
        """Return a placeholder, and the parameter itself to mark its position."""
        return "%s", (self,)


class KeyList(models.Expression):
    """Many keys for an `__in` lookup, as Python values of `field`.

    Django prepares each key in a list several times, which takes longer than the statement.
    """

    def __init__(self, keys: Collection[Any], field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.keys = keys

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, Any]:
        """Return the keys if they are integers, else a placeholder for each, and the keys.

        Drivers take longer to fill in thousands of placeholders than databases to find the rows.
        """
        if not self.keys:
            raise EmptyResultSet
        prepare = self.output_field.get_db_prep_value
        keys = [prepare(key, connection, prepared=True) for key in self.keys]
        if all(type(key) is int for key in keys):
            return f"({', '.join(map(str, keys))})", []
        marks = ", ".join(["%s"] * len(keys))
        return f"({marks})", keys


class CompiledQuery:
    """A query that is compiled once for each database and *shape*.

    `build(rows, *shape)` returns querysets, whose rows are returned one after the other. The shape
    is everything that changes the SQL, such as the limit or the folder. A `Param` is bound each
    time the query runs.
    """

    def __init__(self, build: Callable[..., Sequence[models.QuerySet[Any]]]) -> None:
        self.build = build
        self.compiled: dict[tuple[Any, ...], tuple[str, list[Any]]] = {}

    def sql(
        self, rows: models.QuerySet[Any], *shape: Hashable, using: str = "", **values: Any
    ) -> tuple[str, list[Any]]:
        """Return the SQL and the parameters for a cursor of the database `using`.

        The default is the database of `rows`. No query.
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
        """Return the instances in the order of the statement; one query."""
        using = rows.db  # read once: a router may return a different replica each time
        return list(rows.raw(*self.sql(rows, *shape, using=using, **values), using=using))


def _select_sql(queryset: models.QuerySet[Any], using: str) -> tuple[str, tuple[Any, ...]]:
    sql, parameters = queryset.query.get_compiler(using=using).as_sql()
    connection = connections[using]
    if connection.vendor == "mysql":
        # With a small limit, MariaDB may scan the primary key through all users' rows instead of
        # reading a range of an index, because it expects to find enough rows early.
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
