"""The column of a notice's key, and the constraint on it, alike on every database."""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, Q, UniqueConstraint


class KeyField(CharField):  # type: ignore[type-arg]
    """A text that equals no other: by default MariaDB takes "a" and "A" for the same."""

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        """Compare byte by byte where the database would not."""
        parameters: dict[str, Any] = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


class SparseUniqueConstraint(UniqueConstraint):
    """A unique constraint on rows whose first field is not null.

    The others are not in its index where the database has partial indexes. In Django's own words,
    `condition`, a database without them would have no constraint at all.
    """

    def _in(self, schema_editor: Any) -> UniqueConstraint:
        is_set = Q((f"{self.fields[0]}__isnull", False))
        partial = schema_editor.connection.features.supports_partial_indexes
        condition = is_set if partial else None
        return UniqueConstraint(fields=self.fields, name=self.name, condition=condition)

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        """Return the SQL of the constraint within that of a new table."""
        return self._in(schema_editor).constraint_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        """Return the SQL that adds the constraint to a table."""
        return self._in(schema_editor).create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        """Return the SQL that removes it."""
        return self._in(schema_editor).remove_sql(model, schema_editor)
