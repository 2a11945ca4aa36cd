"""What two tabs, a double click or a job of the night do at the same moment, through real requests.

No answer is an error of the server, which the test client would raise: so a deadlock fails here.
"""

import re
from copy import deepcopy
from datetime import timedelta
from itertools import chain, cycle

import pytest
from django.contrib.messages import SUCCESS, success
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client
from django.urls import path, reverse
from django.utils import timezone

import persistent_messages
from demo.urls import urlpatterns as demo_pages
from persistent_messages import Folder, send_letter, send_message
from persistent_messages.models import Message, Report

from .pages import (
    HTMX,
    address,
    attributes,
    browser_of,
    fields_of,
    fill,
    form_to,
    heads,
    named,
    parts,
    rows_by_folder,
)
from .parallel import at_once

TABS = 6


def say(request):
    success(request, request.POST["text"])
    return HttpResponse()


urlpatterns = [*demo_pages, path("say/", say)]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def any_rate(settings):
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
    """A letter of Harry's in Sally's inbox."""
    sent = send_letter(other, user, "Rota", "Number 0")
    return Message.objects.get(user=user, letter=sent.letter)


def post(tab, url, data=None, headers=None):
    return lambda: tab.post(url, data or {}, headers=headers or {})


def get(tab, url):
    return lambda: tab.get(url)


def mixed(*kinds):
    """The tasks of several kinds in turns."""
    return chain.from_iterable(zip(*kinds, strict=True))


def statuses(responses):
    return {response.status_code for response in responses if hasattr(response, "status_code")}


def numbers_on(response):
    return re.findall(r"Number (\d+)", response.text)


def one_shot(user):
    return Message.objects.owned_by(user).in_folder(Folder.ONE_SHOT)


# What is shown once


def test_two_tabs_show_each_message_that_waits_at_least_once(user, tabs):
    fill(user, 50, level=SUCCESS, folder=Folder.ONE_SHOT)

    pages = at_once(get(tab, "/") for tab in tabs * 2)

    assert statuses(pages) == {200}
    assert {n for page in pages for n in numbers_on(page)} == {str(n) for n in range(50)}
    assert not one_shot(user).exists()
    assert numbers_on(tabs[0].get("/")) == []


def test_what_arrives_while_tabs_show_messages_is_shown_at_least_once(user, tabs):
    arrivals = [lambda n=n: send_message(user, SUCCESS, f"Number {n}") for n in range(60)]

    answers = at_once(mixed(arrivals, [get(tab, "/") for tab in tabs * 10]))

    pages = [*(page for page in answers if page != 1), tabs[0].get("/")]
    assert statuses(pages) == {200}
    assert {n for page in pages for n in numbers_on(page)} == {str(n) for n in range(60)}
    assert not one_shot(user).exists()


def test_what_tabs_queue_while_others_show_it_is_shown_at_least_once(user, tabs):
    turns = cycle(tabs)
    queue = [post(next(turns), "/say/", {"text": f"Number {n}"}) for n in range(60)]

    answers = at_once(mixed(queue, [get(tab, "/") for tab in tabs * 10]))

    pages = [*answers, tabs[0].get("/")]
    assert statuses(pages) == {200}
    assert {n for page in pages for n in numbers_on(page)} == {str(n) for n in range(60)}
    assert not one_shot(user).exists()


@pytest.mark.parametrize("length", [1, 3000], ids=["cookie", "session"])
def test_logging_in_in_many_tabs_at_once_keeps_what_was_queued_before(visitor, user, length):
    # What is too long for a cookie lies in the session.
    filler = "".join(chr(0x4E00 + number * 7 % 20000) for number in range(length))
    for number in range(3):
        visitor.post("/say/", {"text": f"Number {number} {filler}"})
    tabs = [Client() for _ in range(TABS)]
    for tab in tabs:
        tab.cookies = deepcopy(visitor.cookies)
    sally = {"username": "sally", "password": "secret"}

    answers = at_once(post(tab, reverse("login"), sally) for tab in tabs)
    pages = at_once(get(tab, "/") for tab in tabs)

    assert statuses(answers) == {302}
    assert statuses(pages) == {200}
    assert {n for page in pages for n in numbers_on(page)} == {"0", "1", "2"}
    assert [numbers_on(tab.get("/")) for tab in tabs] == [[]] * TABS


# Everything up to a bound


def bulk_form(tab, name):
    """The form of the page that acts on all of the list it shows, as it is filled in now."""
    shown = fields_of(form_to(tab.get("/messages/"), address("message_bulk")))
    page = tab.get(address(name, newest=shown["newest"][0]))
    return fields_of(form_to(page, address(name)))


@pytest.mark.parametrize("name", ["message_mark_all_read", "message_delete_all"])
def test_acting_on_all_leaves_what_arrives_meanwhile(user, other, letter, tabs, name):
    seen = [letter.pk, *fill(user, 30)]
    form = bulk_form(tabs[0], name)
    notices = [lambda: send_message(user, persistent_messages.INFO, "Later") for _ in tabs]
    answers = [lambda: send_letter(other, None, "", "Later", copy_of(letter, other)) for _ in tabs]

    done = at_once(mixed(notices, [post(tab, address(name), form) for tab in tabs], answers))

    assert statuses(done) == {302}
    later = Message.objects.owned_by(user).filter(message="Later", to_name="")
    assert later.in_folder(Folder.INBOX).unread().count() == 2 * TABS
    before = Message.objects.filter(pk__in=seen)
    if name == "message_mark_all_read":
        assert not before.unread().exists()
    else:
        assert before.in_folder(Folder.TRASH).count() == len(seen)
    assert heads() == dict.fromkeys(parts(), 1)


def copy_of(letter, owner):
    return Message.objects.get(letter=letter.letter, user=owner)


# The same form twice


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize(
    ("name", "folder"),
    [("message_delete", Folder.TRASH), ("message_archive", Folder.ARCHIVE)],
)
def test_a_form_sent_many_times_at_once_moves_once(user, letter, tabs, name, folder, headers):
    notice = fill(user, 1)[0]
    chosen = [letter, Message.objects.get(pk=notice)]

    answers = at_once(post(tab, address(name, one), {}, headers) for one in chosen for tab in tabs)

    assert statuses(answers) == {200 if headers else 302}
    assert rows_by_folder(user)[folder] == 2
    assert heads() == dict.fromkeys(parts(), 1)


def test_a_message_deleted_for_good_many_times_at_once_goes_once(user, letter, tabs):
    trashed = [letter.pk, *fill(user, 3, folder=Folder.TRASH, moved_at=timezone.now())]
    tabs[0].post(address("message_delete", letter))

    answers = at_once(
        post(tab, reverse("message_delete", args=[key]), {"final": "1"}, HTMX)
        for key in trashed
        for tab in tabs
    )

    # Whoever comes late finds nothing any more.
    assert statuses(answers) <= {200, 404}
    assert not Message.objects.filter(pk__in=trashed).exists()


def test_an_undo_sent_many_times_at_once_takes_back_once(user, letter, tabs):
    fill(user, 3)
    tabs[0].post(address("message_delete_all"))
    actions = [attributes(form)["action"] for form in named(tabs[0].get("/"), "form")]
    (undo,) = [action for action in actions if "/undo/" in action]

    answers = at_once(
        post(tab, undo, {"pm-from": "list", "pm-part": "strip"}, HTMX) for tab in tabs
    )

    assert statuses(answers) == {200}
    assert sum("4 messages are as before." in answer.text for answer in answers) == 1
    assert rows_by_folder(user) == {Folder.INBOX: 4}
    assert heads() == dict.fromkeys(parts(), 1)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_a_letter_sent_many_times_at_once_is_one_letter(user, other, letter, tabs, headers):
    compose, reply = reverse("message_compose"), reverse("message_reply", args=[letter.pk])
    forms = {
        compose: {"to": "harry", "subject": "New", "message": "Hello"},
        reply: {"message": "Yes."},
    }
    for url, given in forms.items():
        form = form_to(tabs[0].get(url), url)
        forms[url] = {**fields_of(form), **given}

    answers = at_once(post(tab, url, form, headers) for url, form in forms.items() for tab in tabs)

    assert statuses(answers) <= {200, 302}
    for subject in ("New", "Rota"):
        sent = Message.objects.filter(from_user=user, subject=subject).exclude(letter=None)
        assert sorted(sent.values_list("user", "folder")) == sorted(
            [(user.pk, Folder.SENT), (other.pk, Folder.INBOX)]
        )
    assert heads() == dict.fromkeys(parts(), 1)


def test_a_report_sent_many_times_at_once_is_one_report(letter, tabs):
    url = reverse("message_report", args=[letter.pk])

    answers = at_once(post(tab, url, {"reason": "Rude."}) for tab in tabs)

    assert statuses(answers) == {302}
    assert Report.objects.count() == 1


# One does this, another that


def each_row(tabs, keys, *tasks):
    """Do all of `tasks`, each made from a tab and a key, to each of the rows."""
    turns = cycle(tabs)
    return at_once(task(next(turns), key) for key in keys for task in tasks)


def act(name, **data):
    return lambda tab, key: post(tab, reverse(name, args=[key]), data)


def read(tab, key):
    return get(tab, reverse("message_detail", args=[key]))


def conversations(user, other, count):
    """The heads of as many conversations in the inbox of `user`, of three letters each."""
    keys = []
    for _ in range(count):
        first = send_letter(other, user, "Rota", "Number 1")
        last = [send_letter(other, None, "", "More", first) for _ in range(2)][-1]
        keys.append(copy_of(last, user).pk)
    return keys


def test_reading_beside_deleting_never_fails(user, other, tabs):
    keys = [*fill(user, 10), *conversations(user, other, 5)]

    answers = each_row(tabs, keys, read, act("message_delete"), act("message_mark_read"))

    assert statuses(answers) == {200, 302}
    rows = Message.objects.filter(pk__in=keys)
    assert rows.in_folder(Folder.TRASH).exclude(moved_at=None).count() == len(keys)
    assert not rows.unread().exists()
    assert heads() == dict.fromkeys(parts(), 1)


def test_reading_beside_deleting_for_good_never_fails(user, other, tabs):
    keys = [*fill(user, 10), *conversations(user, other, 5)]
    each_row(tabs, keys, act("message_delete"))

    answers = each_row(
        tabs, keys, read, act("message_delete", final="1"), read, act("message_restore")
    )

    assert statuses(answers) <= {200, 302, 404}
    left = Message.objects.filter(pk__in=keys)
    assert not left.exclude(folder__in=(Folder.INBOX, Folder.TRASH)).exists()
    assert heads() == dict.fromkeys(parts(), 1)


def test_archiving_beside_deleting_leaves_each_row_in_one_of_both(user, other, tabs):
    keys = [*fill(user, 10), *conversations(user, other, 5)]
    all_rows = Message.objects.owned_by(user).count()

    answers = each_row(tabs, keys, act("message_archive"), act("message_delete"))

    assert statuses(answers) == {302}
    moved = rows_by_folder(user)
    del moved[Folder.ONE_SHOT]  # what was said about it
    assert sum(moved.values()) == all_rows
    assert set(moved) <= {Folder.ARCHIVE, Folder.TRASH}
    assert not Message.objects.filter(pk__in=keys, moved_at=None).exists()
    assert heads() == dict.fromkeys(parts(), 1)


def test_acting_on_all_in_many_ways_never_fails(user, other, tabs):
    keys = [*fill(user, 60), *conversations(user, other, 5)]
    all_rows = Message.objects.owned_by(user).count()
    bulk, ways = reverse("message_bulk"), ["message_mark_all_read", "message_delete_all"]
    forms = [(address(name), bulk_form(tabs[0], name)) for name in ways] + [
        (bulk, {"ids": keys, "do": "unread"}),
        (bulk, {"ids": keys, "do": "restore", "pm-filter": "?box=trash"}),
        (bulk, {"ids": keys[::-1], "do": "archive"}),
    ]
    turns = cycle(tabs)

    answers = at_once(post(next(turns), url, form) for _ in range(4) for url, form in forms)

    assert statuses(answers) == {302}
    rows = Message.objects.owned_by(user).exclude(folder=Folder.ONE_SHOT)
    assert rows.count() == all_rows
    put_away = rows.filter(folder__in=(Folder.ARCHIVE, Folder.TRASH))
    assert not put_away.filter(moved_at=None).exists()
    assert heads() == dict.fromkeys(parts(), 1)


def test_acting_on_many_beside_pruning_never_fails(user, other, tabs):
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

    answers = at_once(
        mixed(
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
    assert heads() == dict.fromkeys(parts(), 1)
