"""RESULTS.md with a section for each database, which a run updates."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import django
from django.db import connection
from django.utils import timezone

from persistent_messages.models import Message

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Benchmarks

Written by `python3 dev.py bench`. Each figure is a ratio of medians: the case against the bare
statement or page, in turn, in one process. "3.00 × 50 µs" took three times the bare 50 µs.
N is the number of messages in the mailbox, all of them unread, beside the mailboxes of 10,000 other
users.
"""


def write(results, storage, settled=RESULTS):
    """Update the section of this database in the report, and keep the others."""
    before = settled.read_text(encoding="utf-8") if settled.exists() else HEAD
    _head, *sections = re.split(r"^(?=## )", before, flags=re.MULTILINE)
    title = f"## {connection.display_name}"
    kept = [section for section in sections if not section.startswith(f"{title} ")]
    own = "\n".join([f"{title} {_version()}", "", *_lines(results), "", *_storage(storage), ""])
    parts = [HEAD.strip(), *sorted([*map(str.strip, kept), own.strip()])]
    settled.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def renew(results, storage, settled=RESULTS):
    """Replace earlier results of the same cases, and `storage`; add new cases at the top."""
    before = settled.read_text(encoding="utf-8")
    title = f"## {connection.display_name} "
    head, begin, rest = before.partition(title)
    section, following, others = rest.partition("\n\n## ")
    lines = section.split("\n| storage |")[0].rstrip().splitlines()
    for line in results:
        kept = [each for each in lines if not each.startswith(f"| {line.case} | {line.size:,} |")]
        lines = kept
    top = next(number for number, each in enumerate(lines) if each.startswith("|---")) + 1
    lines[top:top] = list(_lines(results))[2:]
    own = "\n".join([*lines, "", *_storage(storage)])
    end = "" if following else "\n"
    settled.write_text(head + begin + own + end + following + others, encoding="utf-8")


def _version():
    numbers = connection.get_database_version()
    return (
        f"{'.'.join(map(str, numbers))}\n\nPython {platform.python_version()}, "
        f"Django {django.get_version()}, {timezone.localdate().isoformat()}."
    )


def _lines(results):
    yield "| case | N | queries | rows visited | measured | to reach | |"
    yield "|---|---:|---:|---:|---|---|---|"
    for line in results:
        yield (
            f"| {line.case} | {line.size:,} | {line.queries} | {line.visited} | {line.measured} "
            f"| {line.aim} | {'met' if line.met else '**not met**'} |"
        )


def _storage(storage):
    yield "| storage | bytes a message |"
    yield "|---|---:|"
    for name, size in storage.items():
        yield f"| {name} | {size:,.0f} |"


def storage_of_a_message():
    """Return the bytes of a message without its text, in the table and in each index."""
    count, table = Message.objects.count(), Message._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE oid = %s::regclass "
                "OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %s::regclass)",
                [table, table],
            )
        elif connection.vendor == "sqlite":
            cursor.execute(
                "SELECT name, SUM(pgsize) FROM dbstat WHERE name IN "
                "(SELECT name FROM sqlite_master WHERE tbl_name = %s) GROUP BY name",
                [table],
            )
        else:
            cursor.execute(
                "SELECT index_name, stat_value * @@innodb_page_size FROM mysql.innodb_index_stats "
                "WHERE database_name = DATABASE() AND table_name = %s AND stat_name = 'size'",
                [table],
            )
        sizes = {name: size / count for name, size in cursor.fetchall()}
        text = "LENGTH(subject) + LENGTH(message)"
        cursor.execute(f"SELECT AVG({text}) FROM {connection.ops.quote_name(table)}")
        sizes[table if table in sizes else "PRIMARY"] -= float(cursor.fetchone()[0])
    return dict(sorted(sizes.items())) | {"all of it": sum(sizes.values())}
