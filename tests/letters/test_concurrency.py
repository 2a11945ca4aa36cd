"""Letters that are sent, replied to and moved concurrently."""

import uuid
from contextlib import suppress
from functools import partial
from itertools import cycle

import pytest
from django.contrib.auth import get_user_model

from persistent_messages import INFO, Folder, LetterRefused, mailbox, send_letter, send_message
from persistent_messages.letters import policy, sending
from persistent_messages.mailbox import pruning
from persistent_messages.mailbox.deadlocks import retry_on_deadlock
from persistent_messages.models import Block, Message
from tests.pages import count_heads, thread_parts
from tests.parallel import run_concurrently

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_send_rate(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": None}


def copy_of(letter, owner):
    return Message.objects.get(letter=letter.letter, user=owner)


def test_concurrent_replies_keep_one_head_and_order(user, other):
    first = send_letter(other, user, "Rota", "Number 1")
    ends = cycle([(user, copy_of(first, user)), (other, first)])
    run_concurrently(
        lambda writer=writer, mine=mine: send_letter(writer, None, "", "More", mine)
        for writer, mine in (next(ends) for _ in range(24))
    )

    assert count_heads() == dict.fromkeys(thread_parts(), 1)
    for owner in (user, other):
        places = Message.objects.owned_by(owner).order_by("thread_position")
        assert list(places.values_list("thread_position", flat=True)) == list(range(1, 26))


def test_concurrent_arrivals_and_moves_keep_one_head(user, other):
    first = send_letter(other, user, "Rota", "Number 1")
    rows = Message.objects.filter(thread=first.thread)
    moves = cycle(
        [
            lambda: mailbox.archive(user, Folder.INBOX, rows),
            lambda: mailbox.restore(user, Folder.ARCHIVE, rows),
            lambda: mailbox.delete(user, Folder.INBOX, rows),
            lambda: mailbox.restore(user, Folder.TRASH, rows),
        ]
    )
    letters_sent = (lambda: send_letter(other, None, "", "More", first) for _ in range(20))
    run_concurrently(task for pair in zip(letters_sent, moves, strict=False) for task in pair)

    assert Message.objects.owned_by(user).count() == 21
    assert count_heads() == dict.fromkeys(thread_parts(), 1)


def test_concurrent_prune_arrivals_and_moves_keep_one_head(user, other):
    first = send_letter(other, user, "Rota", "Number 1")
    rows = Message.objects.filter(thread=first.thread, user=user)
    in_trash = rows.in_folder(Folder.TRASH)
    tasks = cycle(
        [
            lambda: send_letter(other, None, "", "More", first),
            lambda: mailbox.delete(user, Folder.INBOX, rows.filter(superseded_by=None)),
            lambda: sum(pruning.prune(in_trash.filter(pk__lte=first.pk + 40).order_by("pk"))),
            lambda: mailbox.restore(user, Folder.TRASH, rows),
        ]
    )
    run_concurrently(next(tasks) for _ in range(60))

    assert count_heads() == dict.fromkeys(thread_parts(), 1)


def test_form_sent_concurrently_creates_one_letter(user, other):
    letter = uuid.uuid4()

    sent = run_concurrently(
        lambda: sending.send(other, [user], "Rota", "Hello", letter=letter) for _ in range(12)
    )

    assert len({each.own.pk for each in sent}) == 1
    assert Message.objects.count() == 2


def test_corrected_form_sent_concurrently_creates_two_letters(user, other):
    letter = uuid.uuid4()

    sent = run_concurrently(
        lambda text=text: sending.send(other, [user], "Rota", text, letter=letter)
        for text in ["Helo", "Hello"] * 6
    )

    assert len({each.own.pk for each in sent}) == 2
    received = Message.objects.inbox_of(user).order_by("message")
    assert [row.message for row in received] == ["Hello", "Helo"]


def test_form_with_growing_recipients_reaches_each_once(other):
    people = [get_user_model().objects.create_user(f"person-{n}") for n in range(6)]
    letter = uuid.uuid4()

    run_concurrently(
        lambda count=count: sending.send(other, people[:count], "", "Hello", letter=letter)
        for count in [1, 3, 6, 2] * 3
    )

    received = Message.objects.in_folder(Folder.INBOX).values_list("user", flat=True)
    assert sorted(received) == sorted(person.pk for person in people)


def test_send_rate_is_exact_under_concurrency(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "5/h"}

    results = run_concurrently(lambda: send_letter(other, user, "Rota", "Hello") for _ in range(18))

    refused = [result for result in results if isinstance(result, LetterRefused)]
    assert len(refused) == 13
    assert Message.objects.in_folder(Folder.SENT).count() == 5


def test_letters_to_same_users_in_other_order_do_not_deadlock(other):
    people = [get_user_model().objects.create_user(f"person-{n}") for n in range(6)]
    orders = [people, people[::-1], people[3:] + people[:3]]

    results = run_concurrently(
        lambda order=order: send_letter(order[0], order[1:], "", "Hello") for order in orders * 6
    )

    assert not [result for result in results if isinstance(result, LetterRefused)]
    assert Message.objects.in_folder(Folder.INBOX).count() == 18 * 5


def test_concurrent_blocks_create_one_block(user, other):
    run_concurrently(lambda: policy.block(user, other) for _ in range(12))

    assert Block.objects.count() == 1


# Accounts that are deleted in the meantime


@pytest.mark.parametrize("goes", ["sender", "recipient"])
def test_concurrent_account_deletion_and_letters_raise_nothing(user, goes):
    """Neither when sending the letter nor when deleting the account."""
    people = [get_user_model().objects.create_user(f"person-{n}") for n in range(12)]
    tasks = []
    for person in people:
        ends = (person, user) if goes == "sender" else (user, person)
        send = [lambda ends=ends: send_letter(*ends, "Rota", "Hello")] * 4
        tasks += [*send, lambda person=person: fresh_copy(person).delete(), *send]

    results = run_concurrently(tasks)

    assert get_user_model().objects.count() == 1
    assert not Message.objects.exclude(user=user).exists()
    refused = [result for result in results if isinstance(result, LetterRefused)]
    assert {row.user_id for row in Message.objects.all()} <= {user.pk}
    sent = 12 * 8 - len(refused)
    assert Message.objects.owned_by(user).count() == sent
    words = {str(result.reason) for result in refused}
    names = ["Sally Ride"] if goes == "sender" else [person.username for person in people]
    assert len(words) <= len(names)
    assert all("can’t be delivered" in word for word in words)


def test_concurrent_account_deletion_and_notices_raise_nothing(user):
    """Where the account is deleted: that is the site's own page, or the admin's.

    But on MariaDB, where Django's own statements may be broken off as a deadlock.
    """
    people = [get_user_model().objects.create_user(f"person-{n}") for n in range(12)]

    def notice(person):
        with suppress(ValueError):  # the user is gone
            send_message(person, INFO, "Hello")

    tasks = []
    for person in people:
        send = [lambda person=person: notice(person)] * 4
        tasks += [*send, partial(delete, person), *send]
    run_concurrently(tasks)

    assert get_user_model().objects.count() == 1
    assert not Message.objects.exists()


@retry_on_deadlock
def delete(person):
    fresh_copy(person).delete()


def fresh_copy(person):
    return get_user_model().objects.get(pk=person.pk)
