"""A server that is killed many times at any moment during a stream of writes.

Every acknowledged write is stored once. Every other write is stored as a whole, or not at all.
"""

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Event, Thread
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import get_random_string

from persistent_messages import Folder
from persistent_messages.letters.forms import LetterForm, ReplyForm
from persistent_messages.mailbox.threads import BATCH_SIZE, update_thread_heads
from persistent_messages.models import Message

from .databases import shared_database
from .effort import example_count
from .pages import browser_of, count_heads, fill, thread_parts

pytestmark = pytest.mark.django_db(transaction=True)

KILLS = example_count(200)
PEOPLE = 12
TYPISTS = 4
ENOUGH = 300
LONGEST = 300  # seconds, after which something must be hanging


@contextmanager
def served(url, log):
    """Serve the site with two processes of two threads; yields it and its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "tests.killed_settings",
        }
        number = listening.fileno()
        options = ["--workers=2", "--threads=2", "--preload", "--no-control-socket"]
        options += [f"--bind=fd://{number}", "demo.wsgi"]
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options],
            cwd=settings.BASE_DIR,
            env=environment,
            stderr=log,
            pass_fds=[number],
        )
        try:
            yield server, listening.getsockname()[1]
        finally:
            server.terminate()
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@dataclass(frozen=True)
class Write:
    """One thing to do, known by its name."""

    kind: str
    name: str
    url: str
    data: dict[str, Any]
    until_done: bool = False
    """Whether to send it until it is acknowledged, as people do who see no answer."""


class Typist(Thread):
    """Somebody who writes all the time."""

    def __init__(self, user, writes, port):
        super().__init__()
        token = get_random_string(32)
        self.token = {"csrfmiddlewaretoken": token}
        session = browser_of(user).cookies[settings.SESSION_COOKIE_NAME].value
        self.headers = {
            "Cookie": f"{settings.SESSION_COOKIE_NAME}={session}; csrftoken={token}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self.writes, self.port = writes, port
        self.over = Event()
        self.begun, self.acknowledged = [], []
        self.unanswered, self.unexpected = 0, []
        self.last_worker = None

    def run(self):
        for write in self.writes:
            if self.over.is_set():
                return
            self.begun.append(write)
            while not (acknowledged := self.send(write)) and write.until_done:
                if self.over.is_set():
                    return
            if acknowledged:
                self.acknowledged.append(write)

    def send(self, write):
        """Send a form; tells whether it was acknowledged."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(
                "POST", write.url, urlencode({**write.data, **self.token}), self.headers
            )
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.unanswered += 1
            return False
        finally:
            connection.close()
        self.last_worker = int(answer.headers["X-Worker"])
        # Each of them redirects, or confirms a write.
        if answer.status not in (201, 302):
            self.unexpected.append((write, answer.status))
        return True


COPIES = {"notice": 1, "passing": 1, "everybody": PEOPLE, "letter": 3, "answer": 2}
"""Of each kind that writes its name: how many rows there are of it, if any."""
MOVES = {"message_delete": Folder.TRASH, "message_archive": Folder.ARCHIVE}
"""Of each kind that moves something: where to."""


def writes_of(user, people, talks, notices):
    """Yield what `user` does: of every kind one after the other, in ever new orders.

    Each conversation is answered or moved once, so that nothing later sets right what was left.
    """
    recipients = ", ".join(person.username for person in people)
    kinds, numbers = [*COPIES, *MOVES], count()
    while True:
        random.shuffle(kinds)
        for kind in kinds:
            name = f"{kind} {user.pk} {next(numbers)}"
            text = {"message": name}
            if kind == "letter":
                text |= {"to": recipients, "letter": LetterForm(user)["letter"].value()}
                yield Write(kind, name, reverse("message_compose"), text, until_done=True)
            elif kind == "answer":
                last = next(talks)
                text |= {"letter": ReplyForm(user, reply_to=last)["letter"].value()}
                url = reverse("message_reply", args=[last.pk])
                yield Write(kind, name, url, text, until_done=True)
            elif kind in MOVES:
                key = next(talks).pk if kind == "message_archive" else next(notices)
                yield Write(kind, str(key), reverse(kind, args=[key]), {})
            else:
                yield Write(kind, name, f"/{kind}/", {"text": name})


def kill_repeatedly(server, typists):
    """Kill the process that answered one of them last, again and again.

    It ends once each kind of write was acknowledged, too: on a busy machine that takes longer.
    """
    killed, until = set(), time.monotonic() + LONGEST
    while len(killed) < KILLS or kinds_acknowledged(typists) < {*COPIES, *MOVES}:
        assert server.poll() is None
        assert time.monotonic() < until, f"only {len(killed)} processes could be killed"
        time.sleep(random.uniform(0, 0.1))
        alive = {typist.last_worker for typist in typists} - killed - {None}
        if alive:
            worker = random.choice(sorted(alive))
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)


def kinds_acknowledged(typists):
    return {write.kind for typist in typists for write in list(typist.acknowledged)}


def typist_of(people, number, port):
    """Make the typist of one of `people`, with enough to answer, to move and to delete."""
    user, *others = people[number : number + 3]
    writes = writes_of(
        user, others, iter(create_conversations(user, others[0], ENOUGH)), iter(fill(user, ENOUGH))
    )
    return Typist(user, writes, port)


def create_conversations(user, partner, times):
    """Have conversations with letters in three folders; returns the last letter of each."""
    folders = [Folder.ARCHIVE, Folder.SENT, Folder.INBOX, Folder.INBOX]
    threads = [uuid4() for _ in range(times)]
    fields = {"user": user, "level": 120, "message": "Hello"}
    Message.objects.bulk_create(
        Message(
            thread=thread,
            thread_position=position,
            letter=uuid4(),
            folder=folder,
            moved_at=timezone.now() if folder == Folder.ARCHIVE else None,
            from_user=user if folder == Folder.SENT else partner,
            to_name=partner.username if folder == Folder.SENT else "",
            **fields,
        )
        for thread in threads
        for position, folder in enumerate(folders, start=1)
    )
    mine = Message.objects.owned_by(user)
    for begin in range(0, times, BATCH_SIZE):
        update_thread_heads(Message.objects.all(), [user.pk], threads[begin : begin + BATCH_SIZE])
    return list(mine.filter(thread__in=threads, thread_position=len(folders)))


def stream(server, port, people):
    """Have all type while the server is killed; returns them."""
    typists = [typist_of(people, number, port) for number in range(TYPISTS)]
    for typist in typists:
        typist.start()
    try:
        kill_repeatedly(server, typists)
    finally:
        for typist in typists:
            typist.over.set()
        for typist in typists:
            typist.join()
    return typists


def test_killed_server_keeps_all_acknowledged_writes(tmp_path):
    with shared_database(tmp_path) as url, (tmp_path / "log").open("w+") as log:
        people = [get_user_model().objects.create_user(f"person-{n}") for n in range(PEOPLE)]
        with served(url, log) as (server, port):
            typists = stream(server, port, people)
        log.seek(0)

        assert "Traceback" not in log.read()
        assert [typist.unexpected for typist in typists] == [[]] * TYPISTS
        # The kills did interrupt writes.
        assert sum(typist.unanswered for typist in typists) > KILLS / 10
        begun = [write for typist in typists for write in typist.begun]
        acknowledged = [write for typist in typists for write in typist.acknowledged]
        for kind, copies in COPIES.items():
            rows = Message.objects.filter(message__startswith=f"{kind} ")
            found = Counter(rows.values_list("message", flat=True))
            assert named(kind, acknowledged) <= set(found) <= named(kind, begun)
            assert set(found.values()) == {copies}, kind
            assert rows.values("user", "message").distinct().count() == rows.count(), kind
        for kind, folder in MOVES.items():
            moved = Message.objects.filter(pk__in=named(kind, acknowledged))
            places = Counter(moved.exclude(moved_at=None).values_list("folder", flat=True))
            assert places == {folder: len(named(kind, acknowledged))}
        assert count_heads() == dict.fromkeys(thread_parts(), 1)


def named(kind, writes):
    return {write.name for write in writes if write.kind == kind}
