"""A server under ASGI, people who listen to it, and a Redis that can be killed."""

import shutil
import socket
import subprocess

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from redis import Redis
from redis.exceptions import ConnectionError as Unreachable

from tests.pages import browser_of

from .server import Listener, served, wait_until


@pytest.fixture
def live(settings):
    """Switch live updates on."""

    def live(address="memory", **others):
        given = django_settings.PERSISTENT_MESSAGES
        settings.PERSISTENT_MESSAGES = {**given, "LIVE": address, **others}

    live()
    return live


@pytest.fixture(scope="session")
def server_port(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), served() as port:
        yield port


@pytest.fixture
def port(live, transactional_db, server_port):
    return server_port


@pytest.fixture
def ann(transactional_db):
    return get_user_model().objects.create_user("ann")


@pytest.fixture
def ben(transactional_db):
    return get_user_model().objects.create_user("ben")


@pytest.fixture
def listen(port):
    """Have a user listen, in a browser of their own or in `browser`; closed at the end."""
    opened = []

    def listen(user, browser=None, **headers):
        opened.append(Listener(port, browser or browser_of(user), **headers))
        return opened[-1]

    yield listen
    for listener in opened:
        listener.close()


class RedisServer:
    """A Redis of our own, which keeps nothing."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        path = shutil.which("redis-server")
        assert path, "no Redis: apt-get install redis-server"
        self.process = subprocess.Popen([path, *options], stdout=subprocess.DEVNULL)
        wait_until(self.answers)

    def answers(self):
        with Redis.from_url(self.address) as client:
            try:
                return client.ping()
            except Unreachable:
                return False

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis_server():
    server = RedisServer()
    server.start()
    yield server
    server.kill()
