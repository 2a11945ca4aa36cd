"""Actions on more messages than one request changes: in steps, with one undo."""

import re
import uuid
from datetime import timedelta

import pytest
from django.core import signing
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from persistent_messages import Folder
from persistent_messages.inbox import bulk_actions
from persistent_messages.inbox.bulk_actions import BulkAction
from persistent_messages.models import Message
from tests.pages import (
    HTMX,
    address,
    browser_of,
    count_heads,
    fields_of,
    is_page,
    mailbox_rows,
    soup,
    texts,
    thread_parts,
)
from tests.pages import fill as newest_first

GO_ON = address("message_go_on")
READ_ALL = address("message_mark_all_read")
DELETE_ALL = address("message_delete_all")
SHOWN = {"pm-part": ["list", "strip", "counter"], "pm-from": "list", "pm-filter": "?"}


@pytest.fixture(autouse=True)
def step_size(monkeypatch):
    monkeypatch.setattr(bulk_actions, "MAX_ROWS", 4)
    return 4


def fill(user, count, **fields):
    """Fill the mailbox with messages; returns their keys, the newest last."""
    return newest_first(user, count, **fields)[::-1]


def page_of(name, key):
    return reverse(name, args=[key])


def conversation(user, count, **fields):
    """Letters of one conversation, whose newest one is its head; returns their keys."""
    thread = uuid.uuid4()
    keys = [
        fill(user, 1, thread=thread, letter=uuid.uuid4(), thread_position=number + 1, **fields)[0]
        for number in range(count)
    ]
    Message.objects.filter(pk__in=keys[:-1]).update(superseded_by=keys[-1])
    return keys


def first(browser, url, newest, **data):
    return browser.post(url, {**SHOWN, "newest": newest, **data}, headers=HTMX)


def continue_form(answer):
    """The form that goes on, None at the end."""
    (*_, form) = [None, *soup(answer).select(".pm-progress")]
    return form


def go_on(browser, form, headers=HTMX, **data):
    assert form["action"] == GO_ON
    shown = SHOWN if headers else {}
    return browser.post(GO_ON, {**shown, **fields_of(form), **data}, headers=headers or {})


def run_to_end(browser, answer, most=30):
    """Go on until all is done, as a page with JavaScript does; returns all the answers."""
    answers = [answer]
    while (form := continue_form(answers[-1])) is not None:
        assert form["hx-trigger"] == "load, submit"
        answers.append(go_on(browser, form))
        assert len(answers) < most
    return answers


def undo_url(answer):
    found = re.findall(r"/messages/undo/[^/\"]+/", answer.text)
    return found[-1] if found else None


def folders(keys):
    found = Message.objects.in_bulk(keys)
    return [found[key].folder if key in found else None for key in keys]


# Steps


@pytest.mark.parametrize("url", [READ_ALL, DELETE_ALL])
def test_action_on_all_runs_in_steps_and_one_undo_reverts_all(client, user, url):
    keys = [*fill(user, 6), *conversation(user, 3), *fill(user, 4), *conversation(user, 11)]
    before = mailbox_rows(user)
    newest = keys[-1]

    answers = run_to_end(client, first(client, url, newest))

    assert len(answers) > 5
    assert [undo_url(answer) for answer in answers[:-1]] == [None] * (len(answers) - 1)
    assert "24 messages" in " ".join(texts(answers[-1], ".pm-notice"))
    rows = Message.objects.owned_by(user)
    times = rows.values_list("read_at" if url == READ_ALL else "moved_at", flat=True)
    assert len(set(times)) == 1
    assert set(times) != {None}
    assert set(count_heads()) == thread_parts()

    undone = run_to_end(client, client.post(undo_url(answers[-1]), SHOWN, headers=HTMX))

    assert len(undone) == 6
    assert "Undone." in " ".join(texts(undone[-1], ".pm-notice"))
    after = mailbox_rows(user)
    for row in (*before, *after):
        row.pop("superseded_by")  # the value only shows that there is a newer message
        row.pop("thread_length")  # the thread heads of these letters were never updated
    assert after == before
    assert set(count_heads()) == thread_parts()
    assert set(count_heads().values()) == {1}


@pytest.mark.parametrize("url", [READ_ALL, DELETE_ALL])
def test_request_changes_at_most_one_step_of_rows(client, user, url, step_size):
    keys = [*fill(user, 9), *conversation(user, 9), *conversation(user, 2), *conversation(user, 3)]
    done = []

    answer = first(client, url, keys[-1])
    while True:
        column = "read_at" if url == READ_ALL else "moved_at"
        done.append(Message.objects.exclude(**{column: None}).count())
        form = continue_form(answer)
        if form is None:
            break
        answer = go_on(client, form)

    assert (
        max(later - earlier for earlier, later in zip([0, *done], done, strict=False)) <= step_size
    )
    assert done[-1] == len(keys)


def test_queries_per_step_do_not_depend_on_remaining_rows(client, user):
    found = []
    for count in (10, 200):
        keys = fill(user, count)
        with CaptureQueriesContext(connection) as queries:
            answer = first(client, DELETE_ALL, keys[-1])
        form = continue_form(answer)
        with CaptureQueriesContext(connection) as later:
            go_on(client, form)
        found.append((len(queries), len(later)))
        Message.objects.all().delete()

    assert found[0] == found[1]


def test_small_conversation_is_not_split_across_steps(client, user):
    conversation(user, 3), conversation(user, 3)
    newest = fill(user, 1)[0]

    first(client, DELETE_ALL, newest)

    moved = Message.objects.in_folder(Folder.TRASH)
    assert (moved.count(), moved.letters().count()) == (4, 3)
    assert len(moved.thread_ids()) == 1


def test_newest_letter_of_long_conversation_is_changed_last(client, user):
    keys = conversation(user, 10)

    answer = first(client, READ_ALL, keys[-1])

    assert [row.read for row in Message.objects.order_by("pk")] == [True] * 4 + [False] * 6
    assert Message.objects.count_unread_of(user, 9) == 1
    run_to_end(client, answer)
    assert Message.objects.count_unread_of(user, 9) == 0


@pytest.mark.parametrize("do", ["read", "archive", "delete"])
def test_action_on_row_of_long_conversation_runs_in_steps(client, user, do):
    keys = conversation(user, 10)
    fill(user, 2)
    name = {"read": "message_mark_read"}.get(do, f"message_{do}")

    answers = run_to_end(client, client.post(page_of(name, keys[-1]), SHOWN, headers=HTMX))

    assert len(answers) == 3
    assert undo_url(answers[-1])
    column = "read_at" if do == "read" else "moved_at"
    assert set(Message.objects.exclude(**{column: None})) == set(
        Message.objects.filter(pk__in=keys)
    )


@pytest.mark.parametrize("do", ["read", "unread", "archive", "delete"])
def test_action_on_selection_runs_in_steps(client, user, do):
    state = {"read_at": timezone.now()} if do == "unread" else {}
    keys = [key for _ in range(6) for key in conversation(user, 3, **state)]
    kept = fill(user, 2)
    before = states = list(Message.objects.filter(pk__in=kept).values())
    data = {"do": do, "ids": keys[2::3], "pm-from": do}

    answers = run_to_end(
        client, client.post(address("message_bulk"), {**SHOWN, **data}, headers=HTMX)
    )

    assert len(answers) == (2 if do == "unread" else 6)
    states = list(Message.objects.filter(pk__in=kept).values())
    assert states == before
    done = {
        "read": Message.objects.exclude(read_at=None),
        "unread": Message.objects.filter(read_at=None, pk__in=keys),
        "archive": Message.objects.in_folder(Folder.ARCHIVE),
        "delete": Message.objects.in_folder(Folder.TRASH),
    }[do]
    assert done.count() == (6 if do == "unread" else 18)


def test_trash_is_emptied_in_steps(client, user):
    now = timezone.now()
    keys = fill(user, 11, folder=Folder.TRASH, moved_at=now, trashed_at=now)

    answers = run_to_end(client, first(client, DELETE_ALL, keys[-1], **{"pm-filter": "?box=trash"}))

    assert len(answers) == 3
    assert undo_url(answers[-1]) is None
    assert not Message.objects.exists()


@pytest.mark.parametrize("level", ["?level=error", "?box=unread&level=error", "?box=unread"])
def test_steps_change_only_rows_of_filtered_list(client, user, level):
    fill(user, 5, level=140), fill(user, 5), fill(user, 5, level=140, read_at=timezone.now())
    newest = Message.objects.latest("pk").pk
    wanted = Message.objects.all()
    if "level" in level:
        wanted = wanted.filter(level=140)
    if "unread" in level:
        wanted = wanted.filter(read_at=None)
    expected = set(wanted)

    run_to_end(client, first(client, DELETE_ALL, newest, **{"pm-filter": level}))

    assert set(Message.objects.in_folder(Folder.TRASH)) == expected


# Messages queued in the meantime


def test_progress_bar_shows_finished_and_total_rows(client, user):
    newest = fill(user, 10)[-1]

    answer = first(client, DELETE_ALL, newest)

    for done in ("4", "8"):
        (bar,) = soup(answer).select("progress")
        assert (bar["value"], bar["max"]) == (done, "10")
        assert f"{done} messages deleted." in bar["aria-label"]
        answer = go_on(client, continue_form(answer))
    assert soup(answer).select("progress") == []


def test_progress_bar_is_indeterminate_above_count_limit(client, user, monkeypatch):
    monkeypatch.setattr(bulk_actions, "COUNT_LIMIT", 3)
    newest = fill(user, 10)[-1]

    (bar,) = soup(first(client, DELETE_ALL, newest)).select("progress")

    assert "value" not in bar.attrs


def test_list_is_refreshed_by_first_and_last_step(client, user):
    newest = fill(user, 14)[-1]

    answers = run_to_end(client, first(client, DELETE_ALL, newest))

    assert [bool(soup(answer).select(".pm-pane")) for answer in answers] == [
        True,
        False,
        False,
        True,
    ]
    assert all("pm-unread" in answer.text for answer in answers)


def test_progress_bar_is_shown_on_page_without_strip(client, user):
    newest = fill(user, 10)[-1]
    shown = {**SHOWN, "pm-part": ["list", "counter"]}

    answer = client.post(READ_ALL, {**shown, "newest": newest}, headers=HTMX)
    for _ in range(2):
        assert re.search(r'hx-swap-oob="(beforeend:.pm-rest|outerHTML:.pm-going)"', answer.text)
        answer = go_on(client, continue_form(answer), **{"pm-part": ["list", "counter"]})

    assert continue_form(answer) is None
    assert 'hx-swap-oob="delete:.pm-going"' in answer.text


# Without JavaScript


def test_page_without_javascript_offers_to_continue(user):
    browser = browser_of(user, enforce_csrf_checks=True)
    keys = fill(user, 10)
    (pane,) = soup(browser.get("/messages/")).select(".pm-pane")

    page = browser.post(DELETE_ALL, fields_of(pane))
    for done in (4, 8):
        assert page.status_code == 200
        assert is_page(page)
        assert any(f"{done} messages deleted." in said for said in texts(page, ".pm-passing"))
        assert folders(keys) == [Folder.INBOX] * (10 - done) + [Folder.TRASH] * done
        assert undo_url(page)
        (form,) = soup(page).select(".pm-form")
        assert form["action"] == GO_ON
        page = browser.post(GO_ON, fields_of(form))

    assert (page.status_code, page["Location"]) == (302, "/messages/")
    assert folders(keys) == [Folder.TRASH] * 10


def test_interrupted_action_keeps_finished_steps_and_their_undo(client, user):
    keys = fill(user, 10)
    page = client.post(DELETE_ALL, {"newest": keys[-1]})

    client.post(undo_url(page))

    assert folders(keys) == [Folder.INBOX] * 10


# Bad input


def test_token_of_another_user_is_rejected(client, user, other):
    keys, his = fill(user, 10), fill(other, 10)
    form = continue_form(first(client, DELETE_ALL, his[-1]))
    before = mailbox_rows(user), mailbox_rows(other)

    answer = go_on(browser_of(other), form, headers=None)

    assert answer.status_code == 400
    assert is_page(answer)
    assert "This action can no longer be continued." in answer.text
    assert (mailbox_rows(user), mailbox_rows(other)) == before
    assert folders(keys).count(Folder.TRASH) == 4


@pytest.mark.parametrize("token", ["", "x", "x:y:z", "\0", "é" * 3000, None])
@pytest.mark.parametrize("headers", [{}, HTMX])
def test_forged_token_is_rejected_with_error_message(client, user, token, headers):
    fill(user, 10)
    before = mailbox_rows(user)

    answer = client.post(GO_ON, {} if token is None else {"token": token}, headers=headers)

    assert answer.status_code == (200 if headers else 400)
    assert "This action can no longer be continued." in answer.text
    assert mailbox_rows(user) == before


def test_expired_token_and_undo_token_are_rejected(client, user, monkeypatch):
    keys = fill(user, 10)
    undo = undo_url(client.post(DELETE_ALL, {"newest": keys[4]}))
    token = undo.split("/")[-2]
    assert client.post(GO_ON, {"token": token}).status_code == 400

    form = continue_form(first(client, READ_ALL, keys[-1]))
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + 25 * 3600)
    client.force_login(user)
    assert go_on(client, form, headers=None).status_code == 400


def test_get_request_changes_nothing(client, user):
    fill(user, 10)
    before = mailbox_rows(user)

    assert client.get(GO_ON)["Location"] == "/messages/"
    assert mailbox_rows(user) == before


def test_repeated_continue_request_changes_only_original_rows(client, user):
    keys = fill(user, 10)
    form = continue_form(first(client, DELETE_ALL, keys[-1]))
    later = fill(user, 3)

    for _ in range(5):
        go_on(client, form)

    assert folders(keys) == [Folder.TRASH] * 10
    assert folders(later) == [Folder.INBOX] * 3


def test_rows_restored_between_steps_are_not_moved_again(client, user):
    keys = fill(user, 10)
    form = continue_form(first(client, DELETE_ALL, keys[-1]))
    client.post(page_of("message_restore", keys[-1]))
    client.post(page_of("message_archive", keys[0]))
    client.post(page_of("message_delete", keys[1]))
    moved = Message.objects.get(pk=keys[1]).moved_at

    run_to_end(client, go_on(client, form))

    assert folders(keys) == [Folder.ARCHIVE, *[Folder.TRASH] * 8, Folder.INBOX]
    assert Message.objects.get(pk=keys[1]).moved_at == moved


def test_rows_trashed_between_steps_are_not_permanently_deleted(client, user):
    now = timezone.now() - timedelta(hours=1)
    old = fill(user, 1)
    keys = fill(user, 10, folder=Folder.TRASH, moved_at=now, trashed_at=now)
    newest = fill(user, 1, folder=Folder.TRASH, moved_at=now, trashed_at=now)[0]
    form = continue_form(first(client, DELETE_ALL, newest, **{"pm-filter": "?box=trash"}))
    client.post(page_of("message_delete", old[0]))

    run_to_end(client, go_on(client, form, **{"pm-filter": "?box=trash"}))

    assert folders([*old, *keys]) == [Folder.TRASH, *[None] * 10]


def test_token_with_many_keys_can_be_read_back(user, other):
    task = BulkAction.of_rows("delete", Folder.TRASH, set(range(2**62, 2**62 + 500)))

    assert bulk_actions.read_token(user, bulk_actions.make_token(user, task)) == task
    assert bulk_actions.read_token(other, bulk_actions.make_token(user, task)) is None
