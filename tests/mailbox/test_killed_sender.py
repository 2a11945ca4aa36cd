"""A process that is killed while sending to many users: all or nothing, or whole batches."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model

from persistent_messages import INFO, send_message
from persistent_messages.models import Message
from tests.databases import shared_database

pytestmark = pytest.mark.django_db(transaction=True)

BATCH = 5
PEOPLE = 12 * BATCH
User = get_user_model()


@pytest.fixture
def url(tmp_path):
    User.objects.bulk_create(User(username=f"person-{n:02}") for n in range(PEOPLE))
    with shared_database(tmp_path) as url:
        yield url


def send_and_kill(url, way, key, after):
    """Kill a sending process as soon as it has reported progress `after` times."""
    sender = subprocess.Popen(
        [sys.executable, "-m", "tests.killed_sender", way, key],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with sender:
        for _ in range(after):
            assert sender.stdout.readline() != ""
        sender.send_signal(signal.SIGKILL)
        rest = sender.stdout.read()
    assert sender.returncode == -signal.SIGKILL
    return "done" in rest


def owners():
    return list(Message.objects.order_by("user").values_list("user", flat=True))


def all_users():
    return list(User.objects.order_by("pk").values_list("pk", flat=True))


@pytest.mark.parametrize("key", ["", "quota"])
@pytest.mark.parametrize("after", [1, 6, 12])
def test_killed_atomic_send_delivers_all_or_nothing(url, key, after):
    done = send_and_kill(url, "atomic", key, after)

    assert owners() in ([], all_users())
    assert done <= (owners() == all_users())


@pytest.mark.parametrize("key", ["", "quota"])
@pytest.mark.parametrize("after", [1, 6, 11])
def test_killed_non_atomic_send_delivers_whole_batches(url, key, after):
    send_and_kill(url, "steps", key, after)

    sent = len(owners())
    assert sent >= after * BATCH
    assert sent % BATCH == 0
    assert owners() == all_users()[:sent]


def test_killed_keyed_send_can_be_repeated_without_duplicates(url):
    for after in (3, 1, 7):
        send_and_kill(url, "steps", "quota", after)
    assert len(owners()) == len({*owners()}) >= 7 * BATCH

    assert send_message(User.objects.all(), INFO, "Hello", key="quota", atomic=False) == PEOPLE
    assert owners() == all_users()


def test_killed_renewal_keeps_previous_notice(url):
    send_message(User.objects.all(), INFO, "Before", key="quota")

    done = send_and_kill(url, "atomic", "quota", 8)

    assert owners() == all_users()
    texts = set(Message.objects.values_list("message", "times"))
    assert texts in ({("Before", 1)}, {("Hello", 2)})
    assert done <= (texts == {("Hello", 2)})
