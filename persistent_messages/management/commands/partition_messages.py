"""`manage.py partition_messages`: print SQL that partitions the table by user, on PostgreSQL."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from persistent_messages.models import Message

PARTITIONS = range(2, 1025)
REFUSALS = {
    "sqlite": "SQLite has no partitions.",
    "mysql": "A partitioned table of MariaDB or MySQL cannot have foreign keys, which ours has.",
}
# Objects that the new table would silently lack, or cannot have, as the id alone is not unique.
IN_THE_WAY = """
SELECT 'the foreign key ' || conname || ' of ' || conrelid::regclass FROM pg_constraint
    WHERE confrelid = %(name)s::regclass AND contype = 'f'
UNION ALL SELECT 'the trigger ' || tgname FROM pg_trigger
    WHERE tgrelid = %(name)s::regclass AND NOT tgisinternal
UNION ALL SELECT 'the policy ' || polname FROM pg_policy WHERE polrelid = %(name)s::regclass
UNION ALL SELECT 'the publication ' || pubname FROM pg_publication_rel
    JOIN pg_publication ON pg_publication.oid = prpubid WHERE prrelid = %(name)s::regclass
"""
TABLE = """
SELECT nspname, relkind, array_to_string(reloptions, ', '), pg_get_userbyid(relowner)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = %(name)s::regclass
"""
GRANTS = """
SELECT string_agg(privilege_type, ', '),
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
    FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = %(name)s::regclass GROUP BY grantee
"""
SEQUENCE = """
SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = pg_get_serial_sequence(%(name)s, 'id')::regclass
"""
# Definitions from the database, so that indexes of later migrations are included.
INDEXES = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = %(name)s::regclass AND NOT EXISTS (
        SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
    ORDER BY relname
"""
CONSTRAINTS = """
SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = %(name)s::regclass AND contype IN ('p', 'f', 'u', 'x') ORDER BY conname
"""


class Command(BaseCommand):
    """Prints SQL without running it, so that it can be reviewed before changing a large table."""

    help = (
        "Prints the SQL, as one transaction, that replaces the table of messages with one that has "
        "hash partitions by user, on PostgreSQL. The command itself changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument(
            "--partitions", type=int, default=16, help="number of partitions, default: 16"
        )
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, help='alias of the database, default: "default"'
        )

    def handle(self, *, partitions: int, database: str, **options: Any) -> None:
        """Print the SQL. Raises `CommandError` if it would fail, or lose something."""
        if partitions not in PARTITIONS:
            raise CommandError(f"--partitions must be from {PARTITIONS[0]} to {PARTITIONS[-1]}.")
        vendor = connections[database].vendor
        if vendor != "postgresql":
            raise CommandError(REFUSALS.get(vendor, f"This SQL is for PostgreSQL, not {vendor}."))
        statements = list(Conversion(connections[database]).statements(partitions))
        self.stdout.write("\n".join(f"{statement};" for statement in statements))


class Conversion:
    """The conversion of the current table, read from the catalog, to a partitioned one."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.quote = connection.ops.quote_name
        self.name = Message._meta.db_table
        if self.name not in connection.introspection.table_names():
            raise CommandError(f"The table {self.name} does not exist: run migrate first.")
        ((schema, kind, self.options, self.owner),) = self.ask(TABLE)
        if kind == "p":
            raise CommandError(f"{self.name} is already partitioned.")
        if reasons := [reason for (reason,) in self.ask(IN_THE_WAY)]:
            raise CommandError(f"{self.name} cannot be replaced: {'; '.join(reasons)}.")
        self.schema = self.quote(schema)
        self.table = self.at(self.name)
        self.id, self.user = (self.quote(name) for name in ("id", "user_id"))

    def ask(self, query: str, name: str = "") -> list[tuple[Any, ...]]:
        """Return the result of a catalog query for the table, or for the relation `name`."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, {"name": name or self.quote(self.name)})
            return list(cursor.fetchall())

    def at(self, name: str) -> str:
        """Return `name` qualified with the schema of the table."""
        return f"{self.schema}.{self.quote(name)}"

    def statements(self, partitions: int) -> Iterator[str]:
        """Yield the statements."""
        whole, table = self.at(f"{self.name}_whole"), self.table
        yield "BEGIN"
        yield f"SET LOCAL ROLE {self.quote(self.owner)}"
        yield f"ALTER TABLE {table} RENAME TO {self.quote(f'{self.name}_whole')}"
        yield (
            f"CREATE TABLE {table} (LIKE {whole} INCLUDING ALL EXCLUDING INDEXES EXCLUDING "
            f"IDENTITY) PARTITION BY HASH ({self.user})"
        )
        options = f" WITH ({self.options})" if self.options else ""
        for number in range(partitions):
            yield (
                f"CREATE TABLE {self.at(f'{self.name}_p{number}')} PARTITION OF {table} "
                f"FOR VALUES WITH (MODULUS {partitions}, REMAINDER {number}){options}"
            )
        yield f"INSERT INTO {table} SELECT * FROM {whole}"  # noqa: S608 (names, quoted)
        yield from self.sequence()
        yield f"DROP TABLE {whole}"
        for name, definition in self.constraints():
            yield f"ALTER TABLE {table} ADD CONSTRAINT {self.quote(name)} {definition}"
        for (definition,) in self.ask(INDEXES):
            yield definition
        for privileges, grantee in self.ask(GRANTS):
            yield f"GRANT {privileges} ON {table} TO {grantee}"
        yield f"ANALYZE {table}"
        yield "COMMIT"

    def sequence(self) -> Iterator[str]:
        """Yield the statements for a sequence with the same name that continues the old one.

        PostgreSQL supports identity columns on partitioned tables only since version 17.
        """
        ((schema, name),) = self.ask(SEQUENCE)
        sequence, old = f"{self.quote(schema)}.{self.quote(name)}", f"{name}_whole"
        grants = self.ask(GRANTS, sequence)
        yield f"ALTER SEQUENCE {sequence} RENAME TO {self.quote(old)}"
        yield f"CREATE SEQUENCE {sequence} OWNED BY {self.table}.{self.id}"
        old = f"{self.quote(schema)}.{self.quote(old)}"
        yield f"SELECT setval('{sequence}', last_value, is_called) FROM {old}"  # noqa: S608 (too)
        yield f"ALTER TABLE {self.table} ALTER COLUMN {self.id} SET DEFAULT nextval('{sequence}')"
        for privileges, grantee in grants:
            yield f"GRANT {privileges} ON SEQUENCE {sequence} TO {grantee}"

    def constraints(self) -> Iterator[tuple[str, str]]:
        """Yield the name and definition of each key; check constraints are already included."""
        for name, kind, definition in self.ask(CONSTRAINTS):
            # The id is first, so that the admin, which knows only the id, still uses the index.
            yield name, f"PRIMARY KEY ({self.id}, {self.user})" if kind == "p" else definition
