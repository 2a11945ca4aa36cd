"""The column of a notice's key and its unique constraint, the same on every database."""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, Q, UniqueConstraint


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
