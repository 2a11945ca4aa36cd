"""Statements that a site runs all the time: compiled once for each database, then only run.

To build and compile such a query takes Django several times as long as to run it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar

from django.conf import settings
from django.db import connections, models, transaction
from django.db.models.signals import post_save, pre_save
from django.db.models.sql import InsertQuery
from django.db.models.sql.compiler import SQLCompiler

T = TypeVar("T", bound=models.Model)

NEW_KEY: dict[str, Callable[[Any], Any]] = {
    "postgresql": lambda cursor: cursor.fetchone()[0],
    # No RETURNING: for that SQLite keeps a journal of the statement, which doubles its time.
    "sqlite": lambda cursor: cursor.lastrowid,
    "mysql": lambda cursor: cursor.lastrowid,
}
"""How a cursor tells the key of the row that it inserted, by the vendor of the database."""


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

    `build` is given the rows of a database and what the statement depends on beside the values, as
    its limit; it returns querysets with `Later` values, whose rows come one after the other.
    """

    def __init__(self, build: Callable[..., Sequence[models.QuerySet[Any]]]) -> None:
        self.build = build
        self.compiled: dict[tuple[Any, ...], tuple[str, list[Any]]] = {}
        self.converted: dict[tuple[str, bool], list[Any]] = {}

    def sql(
        self, rows: models.QuerySet[Any], *shape: Hashable, **values: Any
    ) -> tuple[str, list[Any]]:
        """Return the statement and its parameters as a cursor of the database of `rows` takes them.

        No query.
        """
        key = (rows.db, *shape)
        if key not in self.compiled:
            self.compiled[key] = _compiled(self.build(rows, *shape), rows.db)
        sql, parameters = self.compiled[key]
        connection = connections[rows.db]
        return sql, [
            parameter.output_field.get_db_prep_value(values[parameter.name], connection)
            if isinstance(parameter, Later)
            else parameter
            for parameter in parameters
        ]

    def fetch(self, rows: models.QuerySet[T], *shape: Hashable, **values: Any) -> list[T]:
        """Return the instances that the statement finds, in its order; one query.

        Its columns are those of the table of `rows`, all of them.
        """
        fields = rows.model._meta.concrete_fields
        compiler = rows.query.get_compiler(using=rows.db)
        with connections[rows.db].cursor() as cursor:
            cursor.execute(*self.sql(rows, *shape, **values))
            found: Any = cursor.fetchall()
        key = (rows.db, settings.USE_TZ)  # which MariaDB converts times by
        if key not in self.converted:
            self.converted[key] = _converted(fields, compiler)
        converters = compiler.get_converters(self.converted[key])
        if converters:
            found = compiler.apply_converters(found, converters)
        names = [field.attname for field in fields]
        return [rows.model.from_db(rows.db, names, row) for row in found]


def _converted(fields: Sequence[Any], compiler: SQLCompiler) -> list[Any]:
    # Those that the database returns otherwise than Python has them; None for the others.
    columns = [field.get_col(field.model._meta.db_table) for field in fields]
    converters: Any = compiler.get_converters(columns)
    return [column if number in converters else None for number, column in enumerate(columns)]


def _compiled(querysets: Sequence[models.QuerySet[Any]], using: str) -> tuple[str, list[Any]]:
    parts = [queryset.query.get_compiler(using=using).as_sql() for queryset in querysets]
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


def insert(row: models.Model, using: str) -> None:
    """Do what `row.save(force_insert=True, using=using)` does, in a fraction of its time.

    One statement, in no transaction of its own; raises what `save()` raises. That itself is called
    where it would do more, and on a database of which `NEW_KEY` does not know.
    """
    connection = connections[using]
    if connection.vendor not in NEW_KEY or _takes_more(row):
        row.save(force_insert=True, using=using)
        return
    with transaction.mark_for_rollback_on_error(using), connection.cursor() as cursor:
        sql, columns = _insertion(type(row), using)
        values = [
            # Every field stores None as NULL.
            None if (value := getattr(row, name)) is None else prepare(value, connection)
            for name, prepare in columns
        ]
        cursor.execute(sql, values)
        row.pk = NEW_KEY[connection.vendor](cursor)
    row._state.db, row._state.adding = using, False


def _takes_more(row: models.Model) -> bool:
    # Somebody listens to Django's signals, a key is given, or there are related objects to check.
    return (
        pre_save.has_listeners(type(row))
        or post_save.has_listeners(type(row))
        or row.pk is not None
        or bool(row._state.fields_cache)
    )


@cache
def _insertion(
    model: type[models.Model], using: str
) -> tuple[str, list[tuple[str, Callable[[Any, Any], Any]]]]:
    """Return the statement, and for each value where a row has it and what prepares it.

    For a model whose fields store what the row has: none has a `pre_save()` that makes a value.
    """
    key = model._meta.auto_field
    fields = [field for field in model._meta.concrete_fields if field is not key]
    query, row = InsertQuery(model), SimpleNamespace()
    vars(row).update({field.attname: Later(field.attname, field) for field in fields})
    query.insert_values(fields, [row])  # type: ignore[list-item]
    compiler = query.get_compiler(using=using)
    if connections[using].vendor == "postgresql":
        compiler.returning_fields = [key]
    ((sql, parameters),) = compiler.as_sql()
    return sql, [(later.name, later.output_field.get_db_prep_save) for later in parameters]
