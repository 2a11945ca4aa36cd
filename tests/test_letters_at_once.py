"""Letters that are written, answered and moved at the same moment, from several connections."""

import uuid
from itertools import cycle

import pytest
from django.contrib.auth import get_user_model

from persistent_messages import (
    Folder,
    LetterRefused,
    letters,
    mailbox,
    policy,
    pruning,
    send_letter,
)
from persistent_messages.models import Block, Message

from .pages import heads, parts
from .parallel import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def any_rate(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": None}


def copy_of(letter, owner):
    return Message.objects.get(letter=letter.letter, user=owner)


def test_answers_from_both_ends_keep_one_head_and_their_order(user, other):
    first = send_letter(other, user, "Rota", "Number 1")
    ends = cycle([(user, copy_of(first, user)), (other, first)])
    at_once(
        lambda writer=writer, mine=mine: send_letter(writer, None, "", "More", mine)
        for writer, mine in (next(ends) for _ in range(24))
    )

    assert heads() == dict.fromkeys(parts(), 1)
    for owner in (user, other):
        places = Message.objects.owned_by(owner).order_by("thread_position")
        assert list(places.values_list("thread_position", flat=True)) == list(range(1, 26))


def test_arrivals_and_moves_leave_no_letter_without_a_row(user, other):
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
    at_once(task for pair in zip(letters_sent, moves, strict=False) for task in pair)

    assert Message.objects.owned_by(user).count() == 21
    assert heads() == dict.fromkeys(parts(), 1)


def test_pruning_beside_arrivals_and_moves_leaves_one_head(user, other):
    first = send_letter(other, user, "Rota", "Number 1")
    rows = Message.objects.filter(thread=first.thread, user=user)
    in_trash = rows.in_folder(Folder.TRASH)
    tasks = cycle(
        [
            lambda: send_letter(other, None, "", "More", first),
            lambda: mailbox.delete(user, Folder.INBOX, rows.filter(followed_by=None)),
            lambda: sum(pruning.prune(in_trash.filter(pk__lte=first.pk + 40).order_by("pk"))),
            lambda: mailbox.restore(user, Folder.TRASH, rows),
        ]
    )
    at_once(next(tasks) for _ in range(60))

    assert heads() == dict.fromkeys(parts(), 1)


def test_one_form_sent_by_many_tabs_is_one_letter(user, other):
    letter = uuid.uuid4()

    sent = at_once(
        lambda: letters.send(other, [user], "Rota", "Hello", letter=letter) for _ in range(12)
    )

    assert len({row.pk for row in sent}) == 1
    assert Message.objects.count() == 2


def test_the_rate_is_exact(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "5/h"}

    results = at_once(lambda: send_letter(other, user, "Rota", "Hello") for _ in range(18))

    refused = [result for result in results if isinstance(result, LetterRefused)]
    assert len(refused) == 13
    assert Message.objects.in_folder(Folder.SENT).count() == 5


def test_letters_to_the_same_people_in_another_order_do_not_wait_for_each_other(other):
    people = [get_user_model().objects.create_user(f"person-{n}") for n in range(6)]
    orders = [people, people[::-1], people[3:] + people[:3]]

    results = at_once(
        lambda order=order: send_letter(order[0], order[1:], "", "Hello") for order in orders * 6
    )

    assert not [result for result in results if isinstance(result, LetterRefused)]
    assert Message.objects.in_folder(Folder.INBOX).count() == 18 * 5


def test_blocking_at_once_is_one_block(user, other):
    at_once(lambda: policy.block(user, other) for _ in range(12))

    assert Block.objects.count() == 1
