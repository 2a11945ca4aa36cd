"""Concurrent processes that send mail and are killed at any moment.

Nobody is left out. For each killed process, at most one mail is sent twice: the one that was being
sent, with the same `Message-ID`.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils import timezone

from persistent_messages import Topic, send_message
from persistent_messages.models import DueMail
from persistent_messages.topics import topics
from tests.databases import shared_database

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = 400
KILLS = 8
LONGEST = 120  # seconds, after which something must be hanging


@pytest.fixture(autouse=True)
def _topics(monkeypatch):
    monkeypatch.setitem(topics, "waits", Topic("waits", "Waits", mail="unread"))
    monkeypatch.setitem(topics, "daily", Topic("daily", "Daily", mail="daily"))


@contextmanager
def mail_server(folder):
    """Run a mail server; yield its port and its log."""
    place, log = folder / "port", folder / "log"
    log.touch()
    command = [sys.executable, "-m", "tests.delivery.mail_server", str(place), str(log)]
    server = subprocess.Popen(command, cwd=settings.BASE_DIR)
    try:
        until = time.monotonic() + 30
        while not (place.exists() and place.read_text()):
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield place.read_text(), log
    finally:
        server.kill()
        server.wait()


def start(url, port, folder):
    """Run the command in a separate process."""
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "SMTP_PORT": port,
        "MAIL_JOURNAL": str(folder),
        "DJANGO_SETTINGS_MODULE": "tests.delivery.killed_settings",
    }
    command = [sys.executable, "manage.py", "send_due_mail", "--verbosity", "0"]
    return subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment)


def accepted_mails(log):
    """Return the `Message-ID`s of accepted mails by recipient."""
    found = defaultdict(list)
    for line in log.read_text().splitlines():
        recipient, identity = line.split()
        found[recipient].append(identity)
    return found


def end_leases():
    """Let the claims of killed processes expire."""
    DueMail.objects.exclude(claim=None).update(due=timezone.now())


def kill_while_sending(url, port, folder, log):
    """Kill two processes at different moments, after a few more mails."""
    processes = [start(url, port, folder) for _ in range(2)]
    before, some = len(log.read_text().splitlines()), random.randint(1, 12)
    until = time.monotonic() + LONGEST
    while len(log.read_text().splitlines()) < before + some:
        if all(process.poll() is not None for process in processes):
            break
        assert time.monotonic() < until
        time.sleep(0.001)
    killed = 0
    for process in processes:
        time.sleep(random.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    return killed


def test_killed_sender_leaves_no_mail_unsent(tmp_path):
    people = get_user_model().objects.bulk_create(
        get_user_model()(username=f"p{n}", email=f"p{n}@example.com") for n in range(PEOPLE)
    )
    with shared_database(tmp_path) as url, mail_server(tmp_path) as (port, log):
        send_message(people, 120, "Hello", topic="waits")
        DueMail.objects.update(due=timezone.now())
        killed = 0
        while killed < KILLS and DueMail.objects.exists():
            killed += kill_while_sending(url, port, tmp_path, log)
            end_leases()
        assert start(url, port, tmp_path).wait(LONGEST) == 0

        found = accepted_mails(log)
        assert found.keys() == {person.email for person in people}
        assert not DueMail.objects.exists()
        twice = {name: ids for name, ids in found.items() if len(ids) > 1}
        assert killed >= KILLS / 2
        assert sum(len(ids) - 1 for ids in twice.values()) <= killed
        assert all(len(set(ids)) == 1 for ids in twice.values()), twice


def test_concurrent_senders_send_each_mail_once(tmp_path):
    people = get_user_model().objects.bulk_create(
        get_user_model()(username=f"p{n}", email=f"p{n}@example.com") for n in range(700)
    )
    with shared_database(tmp_path) as url, mail_server(tmp_path) as (port, log):
        for _ in range(3):  # one digest for each user
            send_message(people, 120, "Hello", topic="daily")
        DueMail.objects.update(due=timezone.now())
        processes = [start(url, port, tmp_path) for _ in range(3)]

        assert [process.wait(LONGEST) for process in processes] == [0, 0, 0]

        found = accepted_mails(log)
        assert found.keys() == {person.email for person in people}
        assert {len(ids) for ids in found.values()} == {1}
        assert not DueMail.objects.exists()
