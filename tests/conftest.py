"""What the tests share: people, their messages, and ways to ask for a page."""

from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils import translation

import persistent_messages
from persistent_messages.models import Message

from .partitions import partition

BROWSER = Path(__file__).parent / "browser"
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/messages/"}


# There are none elsewhere.
collect_ignore = [] if connection.vendor == "postgresql" else ["test_partitions.py"]


def pytest_collection_modifyitems(items):
    # Playwright leaves an event loop in the thread: what needs none of it runs before.
    items.sort(key=lambda item: BROWSER in item.path.parents)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """The test database; with PARTITIONS=4 in the environment its messages lie in so many."""
    with django_db_blocker.unblock():
        partition()


@pytest.fixture(autouse=True)
def _english():
    # The test client leaves the language of its last request behind.
    with translation.override("en"):
        yield


@pytest.fixture
def user(db):
    return get_user_model().objects.create_user(
        "sally", "sally@example.com", "secret", first_name="Sally", last_name="Ride"
    )


@pytest.fixture
def other(db):
    return get_user_model().objects.create_user("harry", "harry@example.com", "secret")


@pytest.fixture
def client(user):
    """A browser in which Sally is logged in."""
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def visitor(db):
    """A browser in which nobody is logged in."""
    return Client()


@pytest.fixture
def send(user):
    """Send Sally a message; returns its row."""

    def send(text="Hello", level=persistent_messages.INFO, to=None, **kwargs):
        assert persistent_messages.send_message(to or user, level, text, **kwargs) == 1
        return Message.objects.latest("pk")

    return send
