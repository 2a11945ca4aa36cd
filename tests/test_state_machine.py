"""Compare any sequence of actions with a model of the mailbox.

Two users write, open, move, undo and delete in several tabs, while notices and broadcasts arrive,
are renewed, resolved and withdrawn. The model is a list of rows for each user, in the order of
arrival.
"""

import os
import re
from dataclasses import dataclass, field
from itertools import count

import pytest
from django.contrib import messages as contrib_messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from persistent_messages import (
    INFO,
    Folder,
    add_message,
    broadcast,
    resolve,
    send_letter,
    send_message,
)
from persistent_messages.inbox.filters import Filter
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage

from .effort import example_count
from .pages import HTMX, browser_of, rows

NAMES = ("sally", "harry")
BOXES = {
    "inbox": Folder.INBOX,
    "archive": Folder.ARCHIVE,
    "sent": Folder.SENT,
    "trash": Folder.TRASH,
}
names = st.sampled_from(NAMES)
picks = st.integers(0, 30)
keys = st.sampled_from(["quota", "invited"])
# A page with a strip, which shows the result of an action and its undo.
SHOWN = {"pm-part": ["strip"], "pm-from": "row"}
BOX_OF = {folder: box for box, folder in BOXES.items() if box != "unread"}


@dataclass(eq=False)
class Row:
    """A row of a user in the model."""

    pk: int
    folder: Folder
    thread: object
    sent: bool = False
    read: bool = False
    read_by: int | None = None  # which change
    moved_by: int | None = None
    key: str | None = None
    times: int = 1
    broadcast: int | None = None
    text: str = ""


@dataclass
class Tab:
    """A page at the time it was rendered: the newest message of its list."""

    owner: str
    box: str
    newest: int


@dataclass
class Change:
    """A change that can be undone."""

    owner: str
    number: int
    folder: Folder
    url: str


@dataclass
class ExpectedMailbox:
    """The expected mailbox of a user."""

    rows: list[Row] = field(default_factory=list)
    passing: list[str] = field(default_factory=list)

    def rows_in(self, folder):
        return [row for row in self.rows if row.folder == folder]

    def heads(self, folder):
        """Return the list of a folder, newest first."""
        found, threads = [], set()
        for row in reversed(self.rows_in(folder)):
            if row.thread not in threads:
                found.append(row)
                threads.add(row.thread)
        return found

    def unread(self):
        """Return the Unread folder, newest first."""
        return [row for row in self.heads(Folder.INBOX) if not row.read]

    def update_heads(self):
        """Mark the head of a conversation in the inbox as unread while any of its letters is."""
        waiting = {row.thread for row in self.rows_in(Folder.INBOX) if not row.read}
        for row in self.heads(Folder.INBOX):
            if row.thread in waiting:
                row.read, row.read_by = False, None


class Mailboxes(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.numbers = count(1)
        self.users = {name: get_user_model().objects.create(username=name) for name in NAMES}
        self.browsers = {name: browser_of(user) for name, user in self.users.items()}
        self.model = {name: ExpectedMailbox() for name in NAMES}
        self.tabs: list[Tab] = []
        self.changes: list[Change] = []
        self.broadcasts = []

    def teardown(self):
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    # Arrivals

    @rule(name=names)
    def send_notice(self, name):
        send_message(self.users[name], INFO, f"Notice {next(self.numbers)}")
        self._arrived(name)

    @rule(name=names)
    def add_notice_in_view(self, name):
        add_message(self._request(name), INFO, f"Notice {next(self.numbers)}")
        self._arrived(name)

    @rule(name=names, key=keys)
    def send_keyed_notice(self, name, key):
        """Replace the notice with the key in the inbox."""
        send_message(self.users[name], INFO, f"Notice {next(self.numbers)}", key=key)
        self._renewed(name, key)

    def _renewed(self, name, key, **more):
        mailbox = self.model[name]
        before = [row for row in mailbox.rows_in(Folder.INBOX) if key and row.key == key]
        for row in before:
            mailbox.rows.remove(row)
        self._arrived(name, key=key, times=before[-1].times + 1 if before else 1, **more)

    @rule(key=keys)
    def resolve_key(self, key):
        """Remove the notice from the inboxes, but not from other folders."""
        had = 0
        for mailbox in self.model.values():
            found = [row for row in mailbox.rows if row.key == key]
            inbox = [row for row in found if row.folder == Folder.INBOX]
            had += bool(inbox)
            for row in found:
                row.key = row.moved_by = None
            for row in inbox:
                mailbox.rows.remove(row)
        assert resolve(self.users.values(), key) == had

    @rule(key=st.none() | keys, first=names)
    def send_broadcast(self, key, first):
        """Let both users visit the site in either order; each gets one copy."""
        text = f"Broadcast {next(self.numbers)}"
        sent = broadcast(INFO, text, key=key)
        self.broadcasts.append(sent)
        for name in sorted(NAMES, key=lambda name: name != first):
            for _ in range(2):
                self._request(name)._messages.count_persistent_unread()
            self._renewed(name, key, broadcast=sent.pk, text=text)

    @precondition(lambda self: self.broadcasts)
    @rule(pick=picks)
    def edit_broadcast(self, pick):
        """Change the copies that are not in the trash."""
        sent, text = self.broadcasts[pick % len(self.broadcasts)], f"Edit {next(self.numbers)}"
        copies = [row for row in self._copies_of(sent) if row.folder != Folder.TRASH]
        for row in copies:
            row.text = text
        assert sent.edit(message=text) == len(copies)

    @precondition(lambda self: self.broadcasts)
    @rule(pick=picks)
    def withdraw_broadcast(self, pick):
        """Remove the copies from inboxes and archives, but not from the trash."""
        sent = self.broadcasts.pop(pick % len(self.broadcasts))
        removed = 0
        for row in self._copies_of(sent):
            if row.folder == Folder.TRASH:
                row.moved_by = None
            else:
                removed += 1
                for mailbox in self.model.values():
                    mailbox.rows = [other for other in mailbox.rows if other is not row]
        assert sent.withdraw() == removed

    def _copies_of(self, sent):
        rows = [row for mailbox in self.model.values() for row in mailbox.rows]
        return [row for row in rows if row.broadcast == sent.pk]

    @rule(name=names, many=st.integers(1, 3))
    def add_one_shot_messages(self, name, many):
        request = self._request(name)
        for _ in range(many):
            text = f"Once {next(self.numbers)}."
            contrib_messages.success(request, text)
            self.model[name].passing.append(text)
        request._messages.update(contrib_response())

    def _request(self, name):
        request = Client().get("/").wsgi_request
        request.user = self.users[name]
        request._messages = PersistentMessageStorage(request)
        return request

    def _arrived(self, name, thread=None, **more):
        row = Message.objects.visible_to(self.users[name]).latest("pk")
        thread = thread or object()
        self.model[name].rows.append(Row(row.pk, Folder(row.folder), thread, **more))

    # Letters

    @rule(name=names)
    def write_letter(self, name):
        other = NAMES[name == NAMES[0]]
        send_letter(self.users[name], self.users[other], "", f"Letter {next(self.numbers)}")
        self._sent(name, other, object())

    @rule(name=names, pick=picks)
    def reply_to_letter(self, name, pick):
        mine = [row for row in self.model[name].rows if hasattr(row.thread, "letters")]
        mine = [row for row in mine if row.folder != Folder.TRASH]
        if not mine:
            return
        row, other = mine[pick % len(mine)], NAMES[name == NAMES[0]]
        url = reverse("message_reply", args=[row.pk])
        form = self.browsers[name].get(url).context["form"]
        self.model[name].passing.clear()
        token = form["letter"].value()
        answer = {"letter": token, "message": f"Answer {next(self.numbers)}"}
        assert self.browsers[name].post(url, answer).status_code == 302
        self.model[name].passing.append("Sent to ")
        self._sent(name, other, row.thread)

    def _sent(self, name, other, thread):
        thread = thread if isinstance(thread, Thread) else Thread()
        self._arrived(name, thread, sent=True, read=True)
        self._arrived(other, thread)

    # Reading

    @rule(name=names)
    def show_waiting_messages(self, name):
        mailbox, page = self.model[name], self.browsers[name].get("/").text
        told = re.findall(r"<bdi>(Once \d+\.|Sent to )", page)
        assert told == mailbox.passing
        mailbox.passing.clear()

    @rule(name=names, box=st.sampled_from(list(BOXES)))
    def open_folder(self, name, box):
        page = self.browsers[name].get("/messages/", {"box": box}, headers=HTMX)
        expected = [row.pk for row in self.model[name].heads(BOXES[box])][:25]
        assert rows(page) == expected
        self.model[name].passing.clear()  # out of band
        self.tabs.append(Tab(name, box, expected[0] if expected else 0))

    @rule(name=names, pick=picks)
    def open_message(self, name, pick):
        row = self._picked(name, pick)
        if row is not None:
            page = self.browsers[name].get(reverse("message_detail", args=[row.pk]))
            assert page.status_code == 200
            self.model[name].passing.clear()
            number = next(self.numbers)
            for letter in self.model[name].rows:
                # The page of a trashed letter shows only trashed letters of the conversation.
                seen = (letter.folder == Folder.TRASH) == (row.folder == Folder.TRASH)
                if letter.thread is row.thread and seen and not letter.read:
                    letter.read, letter.read_by = True, number

    def _picked(self, name, pick):
        mine = self.model[name].rows
        return mine[pick % len(mine)] if mine else None

    # Actions on one message

    @rule(name=names, pick=picks, verb=st.sampled_from(["read", "unread", "archive", "restore"]))
    def change_row(self, name, pick, verb):
        row = self._picked(name, pick)
        if row is None:
            return
        address = {"read": "message_mark_read", "unread": "message_mark_unread"}
        url = reverse(address.get(verb, f"message_{verb}"), args=[row.pk])
        # The list that the row is in.
        shown = {**SHOWN, "pm-filter": f"?box={BOX_OF[row.folder]}"}
        answer = self.browsers[name].post(url, shown, headers=HTMX)
        self.model[name].passing.clear()
        beside = [r for r in self.model[name].rows_in(row.folder) if r.thread is row.thread]
        if verb == "unread":
            beside = beside[-1:]
        self._apply(name, verb, row.folder, beside, answer)

    @rule(name=names, pick=picks)
    def delete_row(self, name, pick):
        row = self._picked(name, pick)
        if row is None:
            return
        beside = [r for r in self.model[name].rows_in(row.folder) if r.thread is row.thread]
        final = {"final": "1"} if row.folder == Folder.TRASH else {}
        url = reverse("message_delete", args=[row.pk])
        answer = self.browsers[name].post(url, {**SHOWN, **final}, headers=HTMX)
        self.model[name].passing.clear()
        self._apply(name, "delete", row.folder, beside, answer)

    def _apply(self, name, verb, folder, chosen, answer):
        number, done = next(self.numbers), []
        for row in chosen:
            if verb == "read" and not row.read:
                row.read, row.read_by = True, number
                done.append(row)
            elif verb == "unread":
                row.read, row.read_by = False, None
            elif verb == "archive" and folder == Folder.INBOX:
                row.folder, row.moved_by = Folder.ARCHIVE, number
                done.append(row)
            elif verb == "restore" and folder in (Folder.ARCHIVE, Folder.TRASH):
                row.folder = Folder.SENT if row.sent else Folder.INBOX
                row.moved_by = None
            elif verb == "delete" and folder == Folder.TRASH:
                self.model[name].rows.remove(row)
            elif verb == "delete":
                row.folder, row.moved_by = Folder.TRASH, number
                done.append(row)
        self.model[name].update_heads()
        url = re.search(r"/messages/undo/[^/\"]+/", answer.text)
        assert bool(url) == bool(done)
        if done:
            self.changes.append(Change(name, number, folder, url[0]))

    # Bulk actions

    @precondition(lambda self: self.tabs)
    @rule(pick=picks, verb=st.sampled_from(["read", "delete"]))
    def act_on_all_in_stale_tab(self, pick, verb):
        """Messages that arrived after the page was rendered are left alone."""
        tab = self.tabs[pick % len(self.tabs)]
        if verb == "read" and tab.box != "inbox":
            return
        url = reverse("message_mark_all_read" if verb == "read" else "message_delete_all")
        asked = {**SHOWN, "newest": tab.newest, "pm-filter": f"?box={tab.box}"}
        answer = self.browsers[tab.owner].post(url, asked, headers=HTMX)
        self.model[tab.owner].passing.clear()
        mailbox, folder = self.model[tab.owner], BOXES[tab.box]
        chosen = [row for row in mailbox.rows_in(folder) if row.pk <= tab.newest]
        self._apply(tab.owner, verb, folder, chosen, answer)

    @precondition(lambda self: self.changes)
    @rule(pick=picks)
    def undo_change(self, pick):
        """Undo exactly the rows that have not changed since."""
        change = self.changes[pick % len(self.changes)]
        assert self.browsers[change.owner].post(change.url, headers=HTMX).status_code == 200
        self.model[change.owner].passing.clear()
        for row in self.model[change.owner].rows:
            if row.read_by == change.number and row.folder == change.folder:
                row.read, row.read_by = False, None
            elif row.moved_by == change.number:
                row.folder, row.moved_by = change.folder, None
        self.model[change.owner].update_heads()

    # Invariants

    @invariant()
    def mailboxes_equal_model(self):
        for name, user in self.users.items():
            mailbox = self.model[name]
            kept = Message.objects.visible_to(user).order_by("pk")
            found = [(row.pk, Folder(row.folder), row.read, row.times) for row in kept]
            expected = [(row.pk, row.folder, row.read, row.times) for row in mailbox.rows]
            assert found == expected
            said = {row.pk: row.message for row in kept}
            assert all(said[row.pk] == row.text for row in mailbox.rows if row.broadcast)
            for folder in BOXES.values():
                heads = Message.objects.owned_by(user).in_folder(folder).thread_heads()
                assert [row.pk for row in heads] == [row.pk for row in mailbox.heads(folder)]
            trashed = Message.objects.owned_by(user).exclude(trashed_at=None)
            assert set(trashed) == set(Message.objects.owned_by(user).in_folder(Folder.TRASH))
            # Every count equals the length of its list.
            unread = [row.pk for row in mailbox.unread()]
            listed = Filter(box="unread").rows_of(user)
            assert [row.pk for row in listed] == unread
            assert Message.objects.count_unread_of(user, 1000) == len(unread)
            assert self._request(name)._messages.count_persistent_unread() == len(unread)


class Thread:
    """A conversation in the model."""

    letters = True


def contrib_response():
    from django.http import HttpResponse

    return HttpResponse()


@pytest.mark.django_db
def test_random_actions_keep_mailboxes_consistent():
    run_state_machine_as_test(
        Mailboxes,
        settings=settings(
            max_examples=example_count(25),
            stateful_step_count=40,
            deadline=None,
            derandomize=bool(os.environ.get("CI")),
            suppress_health_check=list(HealthCheck),
        ),
    )
