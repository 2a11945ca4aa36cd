"""The table of messages in partitions: how many, the environment says; by default it has none."""

import os
from io import StringIO

from django.core.management import call_command
from django.db import connection

from persistent_messages.models import Message

TABLE = Message._meta.db_table
PARTITIONS = int(os.environ.get("PARTITIONS") or 0)


def partition():
    """Turn the table into one of PARTITIONS, if the environment asks for them."""
    if PARTITIONS:
        run(sql(PARTITIONS))


def sql(partitions, **options):
    """What the command prints."""
    out = StringIO()
    call_command("partition_messages", partitions=partitions, stdout=out, **options)
    return out.getvalue()


def run(statements):
    with connection.cursor() as cursor:
        cursor.execute(statements)


def parents():
    """The table of each partition, and what their indexes are called there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT part.relname, whole.relname FROM pg_inherits "
            "JOIN pg_class part ON part.oid = inhrelid JOIN pg_class whole ON whole.oid = inhparent"
        )
        return dict(cursor.fetchall())
