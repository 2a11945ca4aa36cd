"""Replace the test database, for example with one that cannot be reached."""

import socket
import sqlite3
from contextlib import closing, contextmanager
from urllib.parse import quote

from django.core.signals import request_finished
from django.db import close_old_connections, connections

SERVER = ("USER", "PASSWORD", "HOST", "PORT", "NAME")
NOWHERE = "/nowhere/there/is/none.sqlite3"


@contextmanager
def replaced_database(**settings):
    """Replace the connection with a new one that has other settings; yield it."""
    ours = connections["default"]
    other = ours.copy()
    other.settings_dict.update(settings)
    connections["default"] = other
    try:
        yield other
    finally:
        other.close()
        connections["default"] = ours


def unreachable_database():
    """Make the database unreachable."""
    return replaced_database(**_unreachable_settings())


def _unreachable_settings():
    if connections["default"].vendor == "sqlite":
        return {"NAME": NOWHERE}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"HOST": "127.0.0.1", "PORT": free.getsockname()[1]}


def break_connection(connection):
    """Break the connection, as a server that shuts down does; it cannot be reopened."""
    server = connection.copy()
    connection.settings_dict.update(_unreachable_settings())
    if connection.vendor == "sqlite":
        connection.close()
        return
    mine, kill = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"),
        "mysql": ("SELECT connection_id()", "KILL %s"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(mine)
        number = cursor.fetchone()
    with server.cursor() as cursor:
        cursor.execute(kill, number)
    server.close()


@contextmanager
def shared_database(folder):
    """Use a database that other processes can see, too; yield its URL.

    This is the test database, or on SQLite, where that is in memory, a copy of it in a file.
    """
    ours = connections["default"]
    if ours.vendor == "sqlite":
        path = folder / "others.sqlite3"
        ours.ensure_connection()
        with closing(sqlite3.connect(path)) as copy:
            ours.connection.backup(copy)
        with replaced_database(NAME=str(path)):
            yield f"sqlite:///{path}"
    else:
        server = {name: quote(str(ours.settings_dict[name]), safe="") for name in SERVER}
        yield "{ENGINE}://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(
            **{**server, "ENGINE": ours.vendor}
        )


def close_response(response):
    """Close a response as a server does, but keep the connection of the test."""
    request_finished.disconnect(close_old_connections)
    try:
        response.close()
    finally:
        request_finished.connect(close_old_connections)
