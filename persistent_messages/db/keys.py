"""The column of a notice's key, its unique constraint, and an index of some rows only."""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, Index, Q, UniqueConstraint


class KeyField(CharField):  # type: ignore[type-arg]
    """A text that is compared exactly. By default, MariaDB treats "a" and "A" as equal."""

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        """Set a binary collation on MariaDB."""
        parameters: dict[str, Any] = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


class SparseUniqueConstraint(UniqueConstraint):
    """A unique constraint on rows whose first field is not null.

    Other rows are not in the index if the database supports partial indexes. If it does not, Django
    ignores a constraint with a `condition`, while this class creates it without one.
    """

    def _in(self, schema_editor: Any) -> UniqueConstraint:
        is_set = Q((f"{self.fields[0]}__isnull", False))
        partial = schema_editor.connection.features.supports_partial_indexes
        condition = is_set if partial else None
        return UniqueConstraint(fields=self.fields, name=self.name, condition=condition)

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        """Return the SQL of the constraint for a new table."""
        return self._in(schema_editor).constraint_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        """Return the SQL that adds the constraint to a table."""
        return self._in(schema_editor).create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        """Return the SQL that removes the constraint."""
        return self._in(schema_editor).remove_sql(model, schema_editor)


class SparseIndex(Index):
    """An index of the rows whose text field `unless_empty` is not empty.

    Without partial indexes, the index has all rows; with Django's `condition`, there would be no
    index. Queries have to exclude the empty string, or planners will not use the index.
    """

    def __init__(self, *, unless_empty: str, **options: Any) -> None:
        super().__init__(**options)
        self.unless_empty = unless_empty

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        """Return the arguments for a migration."""
        path, arguments, options = super().deconstruct()
        return path, arguments, {**options, "unless_empty": self.unless_empty}

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **options: Any) -> Any:
        """Return the SQL that adds the index to a table."""
        partial = schema_editor.connection.features.supports_partial_indexes
        condition = ~Q((self.unless_empty, "")) if partial else None
        index = Index(fields=self.fields, name=self.name, condition=condition)
        return index.create_sql(model, schema_editor, using, **options)
