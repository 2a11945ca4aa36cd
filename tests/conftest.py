"""Shared fixtures: users, their messages, and clients."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import translation

import persistent_messages
from persistent_messages import Topic
from persistent_messages.models import Message
from persistent_messages.notices import running
from persistent_messages.topics import topics

from .effort import WHOLE
from .partitions import partition

BROWSER = Path(__file__).parent / "browser"
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/messages/"}


# There are none elsewhere.
collect_ignore = [] if connection.vendor == "postgresql" else ["test_partitions.py"]


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run slow tests, and try all examples")


def pytest_configure(config):
    if config.option.slow:
        os.environ[WHOLE] = "yes"


def pytest_collection_modifyitems(config, items):
    if not config.option.slow:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]
    # Playwright leaves an event loop in the thread, so run its tests last.
    items.sort(key=lambda item: BROWSER in item.path.parents)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Set up the test database; PARTITIONS=4 in the environment partitions its messages."""
    with django_db_blocker.unblock():
        partition()


@pytest.fixture(scope="session")
def other_databases(django_db_setup, django_db_blocker):
    """Create additional databases with empty tables; return their settings by alias.

    They are connected before any test begins, because tests do not allow new connections.
    """
    described = {
        alias: {
            **connections.settings["default"],
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ":memory:",
            "OPTIONS": {},
            "TEST": {},
        }
        for alias in ("old", "replica")
    }
    connections.settings.update(described)
    with django_db_blocker.unblock():
        for alias in described:
            call_command("migrate", database=alias, verbosity=0)
    connected = [connections[alias] for alias in described]
    for alias in described:
        del connections.settings[alias]
    yield described
    for each in connected:
        each.connection.close()  # Django itself closes none in memory


@pytest.fixture
def other_database(other_databases, db, monkeypatch):
    """Use one of them in a test, which is rolled back there, too."""
    with ExitStack() as stack:

        def other_database(alias):
            monkeypatch.setitem(connections.settings, alias, other_databases[alias])
            stack.enter_context(transaction.atomic(alias))
            stack.callback(transaction.set_rollback, True, alias)

        yield other_database


@pytest.fixture(autouse=True)
def _english():
    # The test client leaves the language of its last request active.
    with translation.override("en"):
        yield


@pytest.fixture(autouse=True)
def _no_broadcast_runs(monkeypatch):
    """Clear the caches of the process, because tests count the queries of pages."""
    nothing = running.Listed(float("inf"), [])
    monkeypatch.setattr(running._Process, "listed", nothing)
    running.uncommitted.clear()
    cache.delete(running.KEY)


@pytest.fixture
def user(db):
    return get_user_model().objects.create_user(
        "sally", "sally@example.com", "secret", first_name="Sally", last_name="Ride"
    )


@pytest.fixture
def other(db):
    return get_user_model().objects.create_user("harry", "harry@example.com", "secret")


@pytest.fixture
def register(monkeypatch):
    """Have the site these topics and no others: what each takes, by its name."""

    def register(**wanted):
        for name in list(topics):
            monkeypatch.delitem(topics, name)
        for name, options in wanted.items():
            monkeypatch.setitem(topics, name, Topic(name, **{"label": name.title(), **options}))

    return register


@pytest.fixture
def client(user):
    """Return a client in which Sally is logged in."""
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def visitor(db):
    """Return a client in which nobody is logged in."""
    return Client()


@pytest.fixture
def send(user):
    """Return a function that sends Sally a message and returns its row."""

    def send(text="Hello", level=persistent_messages.INFO, to=None, **kwargs):
        assert persistent_messages.send_message(to or user, level, text, **kwargs) == 1
        return Message.objects.latest("pk")

    return send
