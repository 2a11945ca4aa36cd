"""Brokers carry events between processes: Redis, PostgreSQL, memory."""

import os
import shutil
import threading

import pytest
from django.conf import settings
from django.db import connection
from redis import Redis

from persistent_messages import INFO, send_message
from persistent_messages.live import events
from persistent_messages.live.brokers import EVERYBODY, broker_for, encode
from persistent_messages.live.hub import Hub
from persistent_messages.models import Message

from .server import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESSES = ["memory"]
if shutil.which("redis-server") or os.environ.get("CI"):
    ADDRESSES.append("redis")
if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):
    ADDRESSES.append("postgresql")


class Process:
    """What another process of the site hears."""

    def __init__(self, broker):
        self.broker, self.heard, self.links = broker, [], 0
        arguments = [self.heard.append, self.link]
        self.thread = threading.Thread(target=broker.listen, args=arguments, daemon=True)
        self.thread.start()
        wait_until(lambda: self.links)

    def link(self):
        self.links += 1

    def end(self):
        self.broker.close()
        self.thread.join()


@pytest.fixture
def listening():
    """Have a process listen by a broker."""
    processes = []

    def listening(broker):
        processes.append(Process(broker))
        return processes[-1]

    yield listening
    for process in processes:
        process.end()


@pytest.fixture(autouse=True)
def _disconnect(live):
    yield
    events.disconnect()


@pytest.fixture
def address(request):
    if request.param == "redis":
        return request.getfixturevalue("redis_server").address
    return request.param


@pytest.mark.parametrize("address", ADDRESSES, indirect=True)
def test_published_events_reach_other_processes(address, listening):
    publisher = broker_for(address)
    others = [listening(publisher)]
    if address != "memory":  # that is for one
        others.append(listening(broker_for(address)))

    publisher.publish(["one", "two"])

    for other in others:
        wait_until(lambda heard=other.heard: heard == ["one", "two"])


@pytest.mark.parametrize("address", ADDRESSES, indirect=True)
def test_event_for_many_users_arrives(address, listening):
    broker = broker_for(address)
    process = listening(broker)
    texts = encode("changed", [events.user_name(number) for number in range(500)])

    broker.publish(texts)

    wait_until(lambda: process.heard == texts)


def test_event_size_is_limited():
    names = [events.user_name(number) for number in range(400)]
    texts = encode("changed", names)

    assert max(len(text.encode()) for text in texts) < 8000
    assert all(text.startswith('["changed", ') for text in texts)
    assert all(sum(name in text for text in texts) == 1 for name in names)
    assert encode("changed", map(str, range(100_000))) == [f'["changed", "{EVERYBODY}"]']
    assert encode("changed", []) == []


@pytest.mark.parametrize(
    "text",
    ["x", "5", "null", "[]", '["changed", {}]', '["ended", []]', "\ufffd"],
)
def test_invalid_event_is_logged_and_ignored(text, caplog):
    events.hear(Hub(), text)

    assert "invalid event" in caplog.text


if "postgresql" in ADDRESSES:

    def test_listener_takes_no_connection_from_pool(listening, monkeypatch):
        # The package for pools is not installed, so opening one would fail.
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "pool", {"max_size": 1})

        process = listening(broker_for("postgresql"))

        monkeypatch.undo()
        broker_for("postgresql").publish(["one"])
        wait_until(lambda: process.heard == ["one"])


def end_listening(address):
    """Have the server end the connections of those who listen."""
    if address == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN %'"
            )
    else:
        with Redis.from_url(address) as client:
            client.client_kill_filter(_type="pubsub")


@pytest.mark.parametrize("address", [name for name in ADDRESSES if name != "memory"], indirect=True)
def test_listener_reconnects_after_disconnect(address, listening):
    process = listening(broker_for(address))

    end_listening(address)

    wait_until(lambda: process.links == 2)
    broker_for(address).publish(["one"])
    wait_until(lambda: process.heard == ["one"])


@pytest.mark.skipif("redis" not in ADDRESSES, reason="no redis-server")
def test_listener_reconnects_after_redis_restart(redis_server, listening):
    publisher = broker_for(redis_server.address)
    process = listening(broker_for(redis_server.address))
    publisher.publish(["before"])
    wait_until(lambda: process.heard == ["before"])

    redis_server.kill()
    with pytest.raises(Exception, match="refused"):
        publisher.publish(["while it is away"])
    publisher.publish(["too"])  # it is not even asked again, for a moment
    redis_server.start()

    # Listeners learn that events may have been missed.
    wait_until(lambda: process.links == 2)
    wait_until(lambda: publisher.publish(["after"]) or "after" in process.heard)
    assert process.heard[:4] == ["before", "while it is away", "too", "after"]


@pytest.mark.skipif("redis" not in ADDRESSES, reason="no redis-server")
def test_unreachable_redis_does_not_block_sending(redis_server, live, ann, caplog):
    live(redis_server.address)
    redis_server.kill()

    assert send_message(ann, INFO, "Hello") == 1
    assert Message.objects.owned_by(ann).count() == 1
    assert "did not accept an event" in caplog.text
    redis_server.start()


@pytest.mark.skipif("redis" not in ADDRESSES, reason="no redis-server")
def test_streams_continue_after_redis_restart(redis_server, live, ann, listen):
    live(redis_server.address)
    listener = listen(ann)
    assert listener.is_there()
    send_message(ann, INFO, "Hello")
    assert listener.has("change")

    redis_server.kill()
    redis_server.start()
    listener.events.clear()

    # Nothing is sent, but an event may have been missed in the meantime.
    assert listener.has("change")
    listener.events.clear()
    send_message(ann, INFO, "Hello")
    assert listener.has("change")


@pytest.mark.parametrize("address", ADDRESSES, indirect=True)
def test_stream_gets_events_from_each_broker(address, live, ann, listen):
    live(address)
    listener = listen(ann)
    assert listener.is_there()

    for count in (1, 2, 3):
        send_message(ann, INFO, "Hello")
        assert listener.has("change", times=count)
