"""Partition the table of messages if the environment asks for it."""

import os
from io import StringIO

from django.core.management import call_command
from django.db import connection

from persistent_messages.models import Message

TABLE = Message._meta.db_table
PARTITIONS = int(os.environ.get("PARTITIONS") or 0)


def partition():
    """Partition the table if PARTITIONS is set in the environment."""
    if PARTITIONS:
        run(sql(PARTITIONS))


def sql(partitions, **options):
    """Return the output of the command."""
    out = StringIO()
    call_command("partition_messages", partitions=partitions, stdout=out, **options)
    return out.getvalue()


def run(statements):
    with connection.cursor() as cursor:
        cursor.execute(statements)


def parents():
    """Return the table of each partition, and the names of the indexes there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT part.relname, whole.relname FROM pg_inherits "
            "JOIN pg_class part ON part.oid = inhrelid JOIN pg_class whole ON whole.oid = inhparent"
        )
        return dict(cursor.fetchall())
