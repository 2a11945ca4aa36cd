"""Concurrent requests, as of two tabs, a double click or a nightly job.

A server error would be raised by the test client, so a deadlock fails a test.
"""

import re
from copy import deepcopy
from datetime import timedelta
from itertools import chain, cycle

import pytest
from django.contrib.auth import get_user_model
from django.contrib.messages import SUCCESS, success
from django.core.management import call_command
from django.db import OperationalError, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import path, reverse
from django.utils import timezone

import persistent_messages
from demo.urls import urlpatterns as demo_pages
from persistent_messages import (
    WARNING,
    Folder,
    broadcast,
    mailbox,
    resolve,
    send_letter,
    send_message,
)
from persistent_messages.mailbox import undo_tokens
from persistent_messages.mailbox.deadlocks import is_deadlock
from persistent_messages.models import Broadcast, Message, Receipt, Report

from .pages import (
    HTMX,
    address,
    browser_of,
    count_heads,
    fields_of,
    fill,
    form_to,
    rows_by_folder,
    soup,
    thread_parts,
)
from .parallel import run_concurrently

TABS = 6
User = get_user_model()


def say(request):
    success(request, request.POST["text"])
    return HttpResponse()


urlpatterns = [*demo_pages, path("say/", say)]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def no_send_rate(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": None, "STRIP_LIMIT": 1000}


@pytest.fixture(autouse=True)
def _nothing_logged(caplog):
    yield
    records = caplog.get_records("call")
    assert [r.getMessage() for r in records if r.name.startswith("persistent_messages")] == []


@pytest.fixture
def tabs(user):
    return [browser_of(user) for _ in range(TABS)]


@pytest.fixture
def letter(user, other):
    """Return a letter from Harry in Sally's inbox."""
    sent = send_letter(other, user, "Rota", "Number 0")
    return Message.objects.get(user=user, letter=sent.letter)


def post(tab, url, data=None, headers=None):
    return lambda: tab.post(url, data or {}, headers=headers or {})


def get(tab, url):
    return lambda: tab.get(url)


def interleave(*kinds):
    """Interleave tasks of several kinds."""
    return chain.from_iterable(zip(*kinds, strict=True))


def statuses(responses):
    return {response.status_code for response in responses if hasattr(response, "status_code")}


def numbers_on(response):
    return re.findall(r"Number (\d+)", response.text)


def one_shot(user):
    return Message.objects.owned_by(user).in_folder(Folder.ONE_SHOT)


# One-shot messages


def test_concurrent_tabs_show_each_waiting_message_at_least_once(user, tabs):
    fill(user, 50, level=SUCCESS, folder=Folder.ONE_SHOT)

    pages = run_concurrently(get(tab, "/") for tab in tabs * 2)

    assert statuses(pages) == {200}
    assert {n for page in pages for n in numbers_on(page)} == {str(n) for n in range(50)}
    assert not one_shot(user).exists()
    assert numbers_on(tabs[0].get("/")) == []


def test_message_arriving_during_display_is_shown_at_least_once(user, tabs):
    arrivals = [lambda n=n: send_message(user, SUCCESS, f"Number {n}") for n in range(60)]

    answers = run_concurrently(interleave(arrivals, [get(tab, "/") for tab in tabs * 10]))

    pages = [*(page for page in answers if page != 1), tabs[0].get("/")]
    assert statuses(pages) == {200}
    assert {n for page in pages for n in numbers_on(page)} == {str(n) for n in range(60)}
    assert not one_shot(user).exists()


def test_message_queued_during_display_is_shown_at_least_once(user, tabs):
    turns = cycle(tabs)
    queue = [post(next(turns), "/say/", {"text": f"Number {n}"}) for n in range(60)]

    answers = run_concurrently(interleave(queue, [get(tab, "/") for tab in tabs * 10]))

    # Each tab is a separate browser, and shows what its own requests queued.
    pages = [*answers, *(tab.get("/") for tab in tabs)]
    assert statuses(pages) == {200}
    assert {n for page in pages for n in numbers_on(page)} == {str(n) for n in range(60)}
    assert not one_shot(user).exists()


@pytest.mark.parametrize("length", [1, 3000], ids=["cookie", "session"])
def test_concurrent_log_ins_keep_queued_messages(visitor, user, length):
    # Messages that are too long for a cookie are in the session.
    filler = "".join(chr(0x4E00 + number * 7 % 20000) for number in range(length))
    for number in range(3):
        visitor.post("/say/", {"text": f"Number {number} {filler}"})
    tabs = [Client() for _ in range(TABS)]
    for tab in tabs:
        tab.cookies = deepcopy(visitor.cookies)
    sally = {"username": "sally", "password": "secret"}

    answers = run_concurrently(post(tab, reverse("login"), sally) for tab in tabs)
    pages = run_concurrently(get(tab, "/") for tab in tabs)

    assert statuses(answers) == {302}
    assert statuses(pages) == {200}
    assert {n for page in pages for n in numbers_on(page)} == {"0", "1", "2"}
    assert [numbers_on(tab.get("/")) for tab in tabs] == [[]] * TABS


# Actions on everything up to a bound


def bulk_form(tab, name):
    """Return the data of the form for actions on the whole list."""
    shown = fields_of(form_to(tab.get("/messages/"), address("message_bulk")))
    page = tab.get(address(name, newest=shown["newest"][0]))
    return fields_of(form_to(page, address(name)))


@pytest.mark.parametrize("name", ["message_mark_all_read", "message_delete_all"])
def test_concurrent_actions_on_all_ignore_arriving_messages(user, other, letter, tabs, name):
    seen = [letter.pk, *fill(user, 30)]
    form = bulk_form(tabs[0], name)
    notices = [lambda: send_message(user, persistent_messages.INFO, "Later") for _ in tabs]
    answers = [lambda: send_letter(other, None, "", "Later", copy_of(letter, other)) for _ in tabs]

    done = run_concurrently(
        interleave(notices, [post(tab, address(name), form) for tab in tabs], answers)
    )

    assert statuses(done) == {302}
    later = Message.objects.owned_by(user).filter(message="Later", to_name="")
    assert later.in_folder(Folder.INBOX).unread().count() == 2 * TABS
    before = Message.objects.filter(pk__in=seen)
    if name == "message_mark_all_read":
        assert not before.unread().exists()
    else:
        assert before.in_folder(Folder.TRASH).count() == len(seen)
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


def copy_of(letter, owner):
    return Message.objects.get(letter=letter.letter, user=owner)


# The same form twice


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize(
    ("name", "folder"),
    [("message_delete", Folder.TRASH), ("message_archive", Folder.ARCHIVE)],
)
def test_concurrent_moves_of_message_move_it_once(user, letter, tabs, name, folder, headers):
    notice = fill(user, 1)[0]
    chosen = [letter, Message.objects.get(pk=notice)]

    answers = run_concurrently(
        post(tab, address(name, one), {}, headers) for one in chosen for tab in tabs
    )

    assert statuses(answers) == {200 if headers else 302}
    assert rows_by_folder(user)[folder] == 2
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


def test_concurrent_permanent_deletions_succeed_once(user, letter, tabs):
    trashed = [letter.pk, *fill(user, 3, folder=Folder.TRASH, moved_at=timezone.now())]
    tabs[0].post(address("message_delete", letter))

    answers = run_concurrently(
        post(tab, reverse("message_delete", args=[key]), {"final": "1"}, HTMX)
        for key in trashed
        for tab in tabs
    )

    # Later requests find nothing.
    assert statuses(answers) <= {200, 404}
    assert not Message.objects.filter(pk__in=trashed).exists()


def test_concurrent_undos_revert_once(user, letter, tabs):
    fill(user, 3)
    tabs[0].post(address("message_delete_all"))
    actions = [form["action"] for form in soup(tabs[0].get("/")).select("form")]
    (undo,) = [action for action in actions if "/undo/" in action]

    answers = run_concurrently(
        post(tab, undo, {"pm-from": "list", "pm-part": "strip"}, HTMX) for tab in tabs
    )

    assert statuses(answers) == {200}
    assert sum("Undone." in answer.text for answer in answers) == 1
    assert rows_by_folder(user) == {Folder.INBOX: 4}
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_concurrent_submissions_send_one_letter(user, other, letter, tabs, headers):
    compose, reply = reverse("message_compose"), reverse("message_reply", args=[letter.pk])
    forms = {
        compose: {"to": "harry", "subject": "New", "message": "Hello"},
        reply: {"message": "Yes."},
    }
    for url, given in forms.items():
        form = form_to(tabs[0].get(url), url)
        forms[url] = {**fields_of(form), **given}

    answers = run_concurrently(
        post(tab, url, form, headers) for url, form in forms.items() for tab in tabs
    )

    assert statuses(answers) <= {200, 302}
    for subject in ("New", "Rota"):
        sent = Message.objects.filter(from_user=user, subject=subject).exclude(letter=None)
        assert sorted(sent.values_list("user", "folder")) == sorted(
            [(user.pk, Folder.SENT), (other.pk, Folder.INBOX)]
        )
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


def test_concurrent_reports_create_one_report(letter, tabs):
    url = reverse("message_report", args=[letter.pk])

    answers = run_concurrently(post(tab, url, {"reason": "Rude."}) for tab in tabs)

    assert statuses(answers) == {302}
    assert Report.objects.count() == 1


# Different actions at the same time


def on_each_row(tabs, keys, *tasks):
    """Run all `tasks`, each with a tab and a key, on each of the rows."""
    turns = cycle(tabs)
    return run_concurrently(task(next(turns), key) for key in keys for task in tasks)


def act(name, **data):
    return lambda tab, key: post(tab, reverse(name, args=[key]), data)


def read(tab, key):
    return get(tab, reverse("message_detail", args=[key]))


def conversations(user, other, count):
    """Create conversations of three letters in the inbox of `user`; return their heads."""
    keys = []
    for _ in range(count):
        first = send_letter(other, user, "Rota", "Number 1")
        last = [send_letter(other, None, "", "More", first) for _ in range(2)][-1]
        keys.append(copy_of(last, user).pk)
    return keys


def test_concurrent_read_and_delete_do_not_fail(user, other, tabs):
    keys = [*fill(user, 10), *conversations(user, other, 5)]

    answers = on_each_row(tabs, keys, read, act("message_delete"), act("message_mark_read"))

    assert statuses(answers) == {200, 302}
    rows = Message.objects.filter(pk__in=keys)
    assert rows.in_folder(Folder.TRASH).exclude(moved_at=None).count() == len(keys)
    assert not rows.unread().exists()
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


def test_concurrent_read_and_permanent_deletion_do_not_fail(user, other, tabs):
    keys = [*fill(user, 10), *conversations(user, other, 5)]
    on_each_row(tabs, keys, act("message_delete"))

    answers = on_each_row(
        tabs, keys, read, act("message_delete", final="1"), read, act("message_restore")
    )

    assert statuses(answers) <= {200, 302, 404}
    left = Message.objects.filter(pk__in=keys)
    assert not left.exclude(folder__in=(Folder.INBOX, Folder.TRASH)).exists()
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


def test_concurrent_archive_and_delete_leave_row_in_one_folder(user, other, tabs):
    keys = [*fill(user, 10), *conversations(user, other, 5)]
    all_rows = Message.objects.owned_by(user).count()

    answers = on_each_row(tabs, keys, act("message_archive"), act("message_delete"))

    assert statuses(answers) == {302}
    moved = rows_by_folder(user)
    del moved[Folder.ONE_SHOT]  # what was said about it
    assert sum(moved.values()) == all_rows
    assert set(moved) <= {Folder.ARCHIVE, Folder.TRASH}
    assert not Message.objects.filter(pk__in=keys, moved_at=None).exists()
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


def test_concurrent_bulk_actions_do_not_fail(user, other, tabs):
    keys = [*fill(user, 60), *conversations(user, other, 5)]
    all_rows = Message.objects.owned_by(user).count()
    bulk, ways = reverse("message_bulk"), ["message_mark_all_read", "message_delete_all"]
    forms = [(address(name), bulk_form(tabs[0], name)) for name in ways] + [
        (bulk, {"ids": keys, "do": "unread"}),
        (bulk, {"ids": keys, "do": "restore", "pm-filter": "?box=trash"}),
        (bulk, {"ids": keys[::-1], "do": "archive"}),
    ]
    turns = cycle(tabs)

    answers = run_concurrently(
        post(next(turns), url, form) for _ in range(4) for url, form in forms
    )

    assert statuses(answers) == {302}
    rows = Message.objects.owned_by(user).exclude(folder=Folder.ONE_SHOT)
    assert rows.count() == all_rows
    put_away = rows.filter(folder__in=(Folder.ARCHIVE, Folder.TRASH))
    assert not put_away.filter(moved_at=None).exists()
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


def test_concurrent_bulk_actions_and_pruning_do_not_fail(user, other, tabs):
    long_ago = timezone.now() - timedelta(days=40)
    keys = [*fill(user, 40), *conversations(user, other, 10)]
    trashed = {"folder": Folder.TRASH, "moved_at": long_ago, "trashed_at": long_ago}
    Message.objects.owned_by(user).update(**trashed)
    fresh = fill(user, 40)
    bulk = reverse("message_bulk")
    restored = {"ids": keys, "do": "restore", "pm-filter": "?box=trash"}
    deleted = {"ids": keys + fresh, "do": "delete"}
    archived = {"ids": keys + fresh, "do": "archive"}
    turns = cycle(tabs)

    answers = run_concurrently(
        interleave(
            *([post(next(turns), bulk, form)] * 5 for form in (restored, deleted, archived)),
            [lambda: call_command("prune_messages", verbosity=0)] * 5,
        )
    )
    call_command("prune_messages", verbosity=0)

    assert statuses(answers) == {302}
    rows = Message.objects.owned_by(user).exclude(folder=Folder.ONE_SHOT)
    assert not rows.filter(trashed_at__lt=long_ago + timedelta(days=1)).exists()
    assert not rows.in_folder(Folder.TRASH).filter(trashed_at=None).exists()
    assert not rows.exclude(folder=Folder.TRASH).exclude(trashed_at=None).exists()
    assert rows.filter(pk__in=fresh).count() == len(fresh)
    put_away = rows.filter(folder__in=(Folder.ARCHIVE, Folder.TRASH))
    assert not put_away.filter(moved_at=None).exists()
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


# Notices with a key


def send_keyed(users, **kwargs):
    return lambda: send_message(users, WARNING, "Hello", key="quota", **kwargs)


def keyed_notices(*users):
    """Return the folder and the count of the notice for each user."""
    rows = Message.objects.filter(user__in=users, key="quota").order_by("user")
    return [(row.user, Folder(row.folder), row.times) for row in rows]


def test_concurrent_keyed_sends_create_one_notice(user, other):
    assert run_concurrently(send_keyed(user) for _ in range(40)) == [1] * 40

    assert keyed_notices(user) == [(user, Folder.INBOX, 40)]


def test_concurrent_keyed_sends_in_any_order_create_one_notice_each(user, other):
    people = [user, other, *(User.objects.create(username=f"u{n}") for n in range(10))]
    orders = [people, people[::-1], people[3:] + people[:3], User.objects.all()]

    assert run_concurrently(send_keyed(orders[n % 4]) for n in range(24)) == [12] * 24

    assert keyed_notices(*people) == [
        (person, Folder.INBOX, 24) for person in sorted(people, key=by_key)
    ]


def test_concurrent_keyed_sends_in_transactions_create_one_notice(user, other):
    def in_a_transaction():
        with transaction.atomic():
            send_message(user, WARNING, "Something else")
            return send_keyed(user)()

    results = run_concurrently(retry_on_error(in_a_transaction) for _ in range(20))

    assert results == [1] * 20
    assert keyed_notices(user) == [(user, Folder.INBOX, 20)]


def test_notices_archived_during_keyed_sends_are_counted_once(user, tabs):
    turns = cycle(tabs)
    archive = [archive_all(next(turns), user) for _ in range(20)]

    run_concurrently(interleave([send_keyed(user) for _ in range(20)], archive))
    archive_all(tabs[0], user)()

    found = keyed_notices(user)
    assert {folder for _, folder, _ in found} == {Folder.ARCHIVE}
    # Each sending is counted, whichever notice it renewed.
    assert sum(times for *_, times in found) == 20
    assert not Message.objects.filter(is_live=True).exists()


def test_concurrent_send_undo_and_resolve_leave_at_most_one_notice(user, other, tabs):
    turns = cycle(tabs)
    undo = [undo_of_archiving(next(turns), user) for _ in range(12)]
    resolving = [lambda: resolve([other, user], "quota")] * 12

    run_concurrently(interleave([send_keyed([user, other]) for _ in range(12)], undo, resolving))

    live = Message.objects.filter(is_live=True)
    assert live.count() == len({row.user_id for row in live})
    send_keyed([user, other])()
    assert [row[1] for row in keyed_notices(user, other) if row[1] == Folder.INBOX] == [
        Folder.INBOX
    ] * 2
    resolve([user, other], "quota")
    assert not Message.objects.exclude(key=None).exists()


# Broadcasts


def copies(*users):
    """Return the rows of each user, oldest first."""
    rows = Message.objects.filter(user__in=users).order_by("user", "pk")
    return [(row.user, row.message) for row in rows]


@pytest.mark.parametrize("key", [None, "maintenance"])
def test_broadcast_is_copied_once_by_concurrent_tabs(user, other, tabs, key):
    others = [browser_of(other) for _ in tabs]
    for text in ("Sunday", "Monday"):
        broadcast(WARNING, text, key=key)

    pages = run_concurrently(get(tab, "/messages/") for tab in interleave(tabs, others))

    assert statuses(pages) == {200}
    assert Receipt.objects.count() == 4
    arrived = ["Monday"] if key else ["Sunday", "Monday"]
    for person in (user, other):
        assert copies(person) == [(person, text) for text in arrived]


def test_broadcast_withdrawn_during_arrival_leaves_no_copy(tabs):
    people = [User.objects.create(username=f"u{n}") for n in range(24)]
    sent = broadcast(WARNING, "Sunday")
    arrivals = [get(browser_of(person), "/messages/") for person in people]
    arrivals.insert(12, lambda: Broadcast.objects.get().withdraw())

    run_concurrently(arrivals)

    assert copies(*people) == []
    assert sent.receipts.count() < 24 or sent.receipts.exclude(message_id=None).count() == 24


def test_broadcast_edited_during_arrival_has_new_text_in_all_copies():
    people = [User.objects.create(username=f"u{n}") for n in range(24)]
    broadcast(WARNING, "Sunday")
    arrivals = [get(browser_of(person), "/messages/") for person in people]
    arrivals.insert(8, lambda: Broadcast.objects.get().edit(message="Monday"))
    arrivals.insert(16, lambda: Broadcast.objects.get().edit(message="Tuesday"))

    run_concurrently(arrivals)
    run_concurrently(get(browser_of(person), "/messages/") for person in people)

    assert [text for _, text in copies(*people)] == ["Tuesday"] * 24


def test_concurrent_edits_leave_equal_copies():
    people = [User.objects.create(username=f"u{n}") for n in range(24)]
    broadcast(WARNING, "Sunday")
    run_concurrently(get(browser_of(person), "/messages/") for person in people)

    edits = [lambda n=n: Broadcast.objects.get().edit(message=f"Version {n}") for n in range(6)]
    assert run_concurrently(edits) == [24] * 6

    assert {text for _, text in copies(*people)} == {Broadcast.objects.get().message}


def test_broadcast_moved_during_withdrawal_is_deleted_or_in_trash(user, tabs):
    broadcast(WARNING, "Sunday")
    tabs[0].get("/messages/")
    (row,) = Message.objects.all()
    delete = [post(tab, address("message_delete", row)) for tab in tabs]
    archive = [post(tab, address("message_archive", row)) for tab in tabs]
    withdraw = [lambda: Broadcast.objects.get().withdraw()] * TABS

    run_concurrently(interleave(withdraw, archive, delete))
    Broadcast.objects.get().withdraw()

    assert {row.folder for row in Message.objects.filter(pk=row.pk)} <= {Folder.TRASH}


def test_user_deleted_during_broadcast_arrival_leaves_no_rows(user, tabs):
    for number in range(3):
        broadcast(WARNING, f"Number {number}")

    run_concurrently([get(tabs[0], "/"), get(tabs[1], "/"), user.delete, get(tabs[2], "/")])

    assert not Message.objects.exists()
    assert not Receipt.objects.exists()


def archive_all(tab, user):
    def archive_all():
        keys = list(Message.objects.inbox_of(user).values_list("pk", flat=True))
        return tab.post(reverse("message_bulk"), {"ids": keys, "do": "archive"}) if keys else None

    return archive_all


def undo_of_archiving(tab, user):
    def undo_of_archiving():
        change = mailbox.archive(user, Folder.INBOX, Message.objects.all())
        return tab.post(reverse("message_undo", args=[undo_tokens.make_token(user, change)]))

    return undo_of_archiving


def by_key(person):
    return person.pk


def retry_on_error(task):
    """Retry a transaction that the database may abort, as a site does."""

    def retry_on_error():
        try:
            return task()
        except OperationalError as error:
            if not is_deadlock(error):
                raise
        return retry_on_error()

    return retry_on_error
