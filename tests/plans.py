"""The plan of a statement on each database: the indexes it uses, and the rows it reads."""

import json
import re

from django.db import connection

from .partitions import TABLE, parents


def app_statements(queries):
    return [query["sql"] for query in queries if TABLE in query["sql"]]


# Plans


def sqlite_plan(sql):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        steps = [row[3] for row in cursor.fetchall()]
    touching = [step for step in steps if TABLE in step]
    return {
        "tables": {TABLE} if touching else set(),
        "indexes": {name for step in touching for name in re.findall(r"INDEX (\w+)", step)},
        "scans": [step for step in touching if step.startswith("SCAN")],
        "sorts": [step for step in steps if "USE TEMP B-TREE" in step],
    }


def postgresql_nodes(sql, how=""):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({how}FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    (found,) = plan if isinstance(plan, list) else json.loads(plan)
    waiting, nodes = [found["Plan"]], []
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes


def postgresql_plan(sql):
    nodes, whole = postgresql_nodes(sql), parents()
    tables = {node["Relation Name"] for node in nodes if "Relation Name" in node}
    indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
    return {
        "tables": {name for name in tables - {*whole.values()} if whole.get(name, name) == TABLE},
        # Replace the names in partitions by those of the whole table.
        "indexes": {whole.get(name, name) for name in indexes},
        "scans": [node for node in nodes if node["Node Type"] == "Seq Scan"],
        "sorts": [node for node in nodes if "Sort" in node["Node Type"]],
    }


def mysql_plan(sql):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        names = [column[0] for column in cursor.description]
        steps = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    # The union of the strip's halves is not a table.
    touching = [step for step in steps if step["table"] == TABLE]
    return {
        "tables": {step["table"] for step in touching},
        # Several indexes are written "a,b", and a rowid filter "a|b".
        "indexes": {
            name for step in touching for name in re.split("[,|]", step["key"] or "") if name
        },
        "scans": [step for step in touching if step["type"] in {"ALL", "index"}],
        "sorts": [step for step in touching if "filesort" in (step["Extra"] or "")],
    }


PLANS = {"sqlite": sqlite_plan, "postgresql": postgresql_plan, "mysql": mysql_plan}


def sqlite_effort(sql):
    """Count the steps of SQLite's virtual machine."""
    steps = []
    with connection.cursor() as cursor:
        connection.connection.set_progress_handler(lambda: steps.append(1), 1)
        try:
            cursor.execute(sql)
            cursor.fetchall()
        finally:
            connection.connection.set_progress_handler(None, 1)
    return len(steps)


def postgresql_effort(sql):
    """Count the rows that PostgreSQL reads."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in postgresql_nodes(sql, "ANALYZE, ")
        if "Relation Name" in node
    )


def mysql_effort(sql):
    """Count the index entries and rows that MariaDB reads."""

    def read(cursor):
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(count) for _, count in cursor.fetchall())

    with connection.cursor() as cursor:
        before = read(cursor)
        cursor.execute(sql)
        cursor.fetchall()
        return read(cursor) - before


# The work of a statement, independent of other load on the machine.
EFFORTS = {"sqlite": sqlite_effort, "postgresql": postgresql_effort, "mysql": mysql_effort}
