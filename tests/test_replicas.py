"""A replica that lags: pages read from it, but actions and the pages after them use the primary.

The router is the one in docs/growing.md. The replica is a second database with the same tables,
which `catch_up` updates.
"""

import sys
from contextlib import contextmanager
from types import ModuleType

import multidb
import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.messages import INFO as ONE_SHOT
from django.contrib.sessions.models import Session
from django.db import connections
from django.urls import reverse
from django.utils import timezone
from multidb.pinning import pin_this_thread, unpin_this_thread

from persistent_messages import INFO, Folder, LetterRefused, send_letter, send_message
from persistent_messages.admin.messages import MessageAdmin
from persistent_messages.letters import policy, reports
from persistent_messages.letters.conversation import reply_form
from persistent_messages.models import Block, Message, Preference, Report

from .growing import code_block, settings_of
from .pages import ALL, ANYBODYS, HTMX, READING, announced_unread, prepare, rows, texts, undo_token

COOKIE = "multidb_pin_writes"
MODES = {"plain": {}, "htmx": HTMX}
MODELS = (get_user_model(), Session, Message, Block)


@pytest.fixture
def site(other_database, settings, monkeypatch):
    """Use the router and the settings of the chapter with an empty replica."""
    other_database("replica")
    module = ModuleType("mysite.replicas")
    exec(code_block("mysite/replicas.py"), vars(module))
    monkeypatch.setitem(sys.modules, "mysite", ModuleType("mysite"))
    monkeypatch.setitem(sys.modules, "mysite.replicas", module)
    monkeypatch.setenv("REPLICA_URL", "sqlite://:memory:")
    new = settings_of(
        "mysite/settings.py: replicas", MIDDLEWARE=settings.MIDDLEWARE, DATABASES={}, DEBUG=False
    )
    assert set(new.pop("DATABASES")) == {"replica"}
    for name, value in new.items():
        setattr(settings, name, value)
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    monkeypatch.setattr(multidb, "replicas", None)
    yield
    unpin_this_thread()


@pytest.fixture
def queried(site):
    """Record the queries to each of the two databases, in order."""
    log = []

    def note(alias):
        def noting(execute, sql, params, many, context):
            if not sql.startswith(("SAVEPOINT", "RELEASE")):
                log.append((alias, sql))
            return execute(sql, params, many, context)

        return noting

    with (
        connections["default"].execute_wrapper(note("primary")),
        connections["replica"].execute_wrapper(note("replica")),
    ):
        yield log


def catch_up():
    """Copy all rows of the primary to the replica."""
    for model in reversed(MODELS):
        model.objects.using("replica").delete()
    for model in MODELS:
        model.objects.using("replica").bulk_create(model.objects.using("default"))


@pytest.fixture
def letter(user, other, site):
    """Create an unread letter from Harry in Sally's inbox, after a notice."""
    send_message(user, INFO, "Maintenance on Sunday")
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")
    return primary(Message).get(user=user, letter=sent.letter)


def primary(model):
    return model.objects.using("default")


def stored():
    """Return all rows of the primary except one-shot messages."""
    rows = primary(Message).exclude(folder=Folder.ONE_SHOT)
    return [
        list(found.order_by("pk").values())
        for found in (rows, *(primary(model).all() for model in (Block, Report, Preference)))
    ]


def aliases(queried):
    return {alias for alias, _ in queried}


def address(name, message):
    given = {
        "message_id": lambda: message.pk,
        "block_id": lambda: primary(Block).get().pk,
        "token": lambda: undo_token(message),
    }
    return reverse(name, kwargs={key: given[key]() for key in ALL[name]})


def data_for(name, message):
    """Return the data to post to a URL from a page with all parts."""
    return {
        **prepare(name, message),
        "pm-part": ["list", "strip", "counter", "latest"],
        "to": "harry",
        "message": "Thursday is fine.",
        "letter": reply_form(message.user, message)["letter"].value(),
        "newest": "9" * 18,
        "mail-": "never",
    }


PAGES = [
    "/messages/",
    "/messages/?box=unread&level=info",
    "/messages/?q=thursday",
    "/messages/?box=trash&before=9",
    "/messages/latest/",
    "/messages/news/?after=0&pm-fragment=part",
    "/messages/blocked/",
    "/messages/write/",
    "/messages/write/people/?to=ha",
    "/messages/export/",
]
CHANGING = sorted(
    {*ALL} - {*READING, *ANYBODYS, "message_people", "message_blocked", "message_export"}
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", PAGES)
def test_reading_page_queries_only_replica(client, letter, queried, place, mode):
    catch_up()
    queried.clear()

    answer = client.get(place, headers=MODES[mode])

    # Only with htmx, because these have no page of their own.
    moved = mode == "plain" and place.startswith("/messages/latest/")
    assert answer.status_code == (302 if moved else 200)
    assert aliases(queried) == {"replica"}
    assert COOKIE not in answer.cookies


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CHANGING)
def test_confirmation_page_queries_only_replica(client, letter, queried, name, mode):
    policy.block(letter.user, get_user_model().objects.create_user("ida"))
    prepare(name, letter)
    catch_up()
    url = address(name, letter)
    queried.clear()

    answer = client.get(url, headers=MODES[mode])

    assert answer.status_code in {200, 302}
    assert "primary" not in aliases(queried)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CHANGING)
def test_action_queries_only_primary(client, letter, queried, name, mode):
    """Even the users are missing on the replica."""
    policy.block(letter.user, get_user_model().objects.create_user("ida"))
    data, url, before = data_for(name, letter), address(name, letter), stored()
    queried.clear()

    answer = client.post(url, data, headers=MODES[mode])

    assert answer.status_code in {200, 302}
    assert aliases(queried) == {"primary"}
    assert stored() != before
    assert COOKIE in answer.cookies


def test_response_reflects_action(client, letter, queried):
    catch_up()
    url = address("message_archive", letter)

    answer = client.post(url, data_for("message_archive", letter), headers=HTMX)

    assert announced_unread(answer) == 1
    assert letter.pk not in rows(answer)


def test_pages_after_action_read_primary_until_replica_catches_up(client, letter, queried):
    catch_up()
    client.post(address("message_archive", letter), headers=HTMX)

    queried.clear()
    assert letter.pk not in rows(client.get("/messages/"))
    assert aliases(queried) == {"primary"}
    # A page does not make it longer.
    assert COOKIE not in client.get("/messages/").cookies

    del client.cookies[COOKIE]  # too old
    queried.clear()
    assert letter.pk in rows(client.get("/messages/"))
    assert aliases(queried) == {"replica"}
    catch_up()
    assert letter.pk not in rows(client.get("/messages/"))


def test_opening_unread_message_reads_primary_after_write(client, letter, queried):
    catch_up()
    queried.clear()

    answer = client.get(address("message_detail", letter))

    first = next(i for i, (_, sql) in enumerate(queried) if sql.startswith("UPDATE"))
    assert aliases(queried[:first]) == {"replica"}
    assert aliases(queried[first:]) == {"primary"}
    assert texts(answer, ".pm-badge") == ["1"]
    assert primary(Message).get(pk=letter.pk).read
    assert COOKIE in answer.cookies


def test_opening_read_message_queries_only_replica(client, letter, queried):
    primary(Message).update(read_at=timezone.now())
    catch_up()
    queried.clear()

    client.get(address("message_detail", letter))

    assert aliases(queried) == {"replica"}


def test_one_shot_message_is_shown_once(client, letter, queried):
    catch_up()

    client.post(address("message_archive", letter))  # shows the result on the next page
    catch_up()  # the replica knows that it waits, and then no more for a while
    shown = [client.get("/messages/").text.count("archived.") for _ in range(3)]

    assert shown == [1, 0, 0]
    assert not primary(Message).in_folder(Folder.ONE_SHOT)


def test_one_shot_message_is_read_from_replica_and_deleted_on_primary(client, letter, queried):
    send_message(letter.user, ONE_SHOT, "It is ready.")
    catch_up()
    queried.clear()

    pages = [client.get("/messages/") for _ in range(2)]

    assert ["It is ready." in page.text for page in pages] == [True, False]
    assert queried[0][0] == "replica"
    assert not primary(Message).in_folder(Folder.ONE_SHOT)


# Without a middleware that selects the primary, or with a router that ignores requests,
# the app itself reads the data for a decision from the primary.


@pytest.fixture
def replica_by_default(settings, site):
    """By this router all that names no database is read from the replica, but what a test sets up.

    A context in which that is so.
    """
    settings.DATABASE_ROUTERS = ["multidb.PinningReplicaRouter"]
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]

    @contextmanager
    def context():
        unpin_this_thread()
        yield
        pin_this_thread()

    pin_this_thread()
    return context


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CHANGING)
def test_action_finds_rows_missing_on_replica(client, user, other, replica_by_default, name, mode):
    catch_up()
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")
    letter = primary(Message).get(user=user, letter=sent.letter)
    policy.block(user, primary(get_user_model()).create(username="ida"))
    data, url, before = data_for(name, letter), address(name, letter), stored()

    with replica_by_default():
        answer = client.post(url, data, headers=MODES[mode])

    assert answer.status_code in {200, 302}
    assert stored() != before


def test_block_missing_on_replica_refuses_letter(user, other, replica_by_default):
    catch_up()
    policy.block(user, other)

    with replica_by_default(), pytest.raises(LetterRefused):
        send_letter(other, user, "Rota", "Can you take Thursday?")


def test_letters_missing_on_replica_count_towards_rate(user, other, replica_by_default, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "1/h"}
    catch_up()
    send_letter(other, user, "Rota", "Can you take Thursday?")

    with replica_by_default(), pytest.raises(LetterRefused):
        send_letter(other, user, "Rota", "Can you take Friday?")


def test_reply_finds_latest_writer_missing_on_replica(user, other, replica_by_default):
    ida = primary(get_user_model()).create(username="ida")
    catch_up()
    sent = send_letter(user, [other, ida], "Rota", "Who takes Thursday?")
    send_letter(ida, None, "", "I do.", primary(Message).get(user=ida, letter=sent.letter))

    with replica_by_default():
        answer = send_letter(user, None, "", "Thank you.", sent)

    assert answer.to_user_id == ida.pk


def test_report_includes_letters_missing_on_replica(user, other, replica_by_default):
    catch_up()
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")

    received = primary(Message).get(user=user, letter=sent.letter)

    with replica_by_default():
        report = reports.report(user, received)

    assert [entry["text"] for entry in report.excerpt] == ["Can you take Thursday?"]


def test_user_missing_on_replica_gets_mail(
    replica_by_default, mailoutbox, django_capture_on_commit_callbacks
):
    person = primary(get_user_model()).create(username="ida", email="ida@example.com")

    with replica_by_default(), django_capture_on_commit_callbacks(execute=True):
        send_message(person, INFO, "Welcome", email=True)

    assert [mail.to for mail in mailoutbox] == [["ida@example.com"]]


def test_queryset_of_users_is_read_from_primary(replica_by_default):
    people = [primary(get_user_model()).create(username=f"person-{n}") for n in range(3)]

    with replica_by_default():
        newest = get_user_model().objects.order_by("-pk")[:2]
        assert send_message(newest, INFO, "Welcome") == 2

    assert {*primary(Message).values_list("user", flat=True)} == {p.pk for p in people[1:]}


def test_admin_deletes_rows_missing_on_replica(replica_by_default, user):
    catch_up()
    send_message(user, INFO, "Hello")
    keys = [primary(Message).get().pk]
    chosen = Message.objects.using("replica").filter(pk__in=keys)

    with replica_by_default():
        MessageAdmin(Message, admin.site).delete_queryset(None, chosen)

    assert primary(Message).get().folder == Folder.TRASH
