"""A mailbox is erased for good, in batches, and what its owner wrote to others stays."""

import pytest
from django.contrib.auth import get_user_model

import persistent_messages
from persistent_messages import Folder, erase_mailbox, mailbox, mailbox_changed, send_letter
from persistent_messages.letters import policy
from persistent_messages.mailbox import erasure
from persistent_messages.models import Block, DueMail, Message, Preference
from persistent_messages.preferences import choices
from tests.pages import fill


@pytest.fixture(autouse=True)
def letters(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}


def test_all_folders_go_and_others_keep_what_they_have(user, other, send):
    for folder in Folder:
        fill(user, 2, folder=folder)
    send_letter(user, other, "Lunch?", "At noon.")
    send("Yours", to=other)

    assert erase_mailbox(user) == 2 * len(Folder) + 1

    assert not Message.objects.filter(user=user).exists()
    assert {m.message for m in Message.objects.filter(user=other)} == {"At noon.", "Yours"}
    assert erase_mailbox(user) == 0


def test_whom_the_user_blocked_is_forgotten_and_who_blocked_the_user_is_not(user, other):
    policy.block(user, other)
    policy.block(other, user)

    erase_mailbox(user.pk)

    assert [block.user for block in Block.objects.all()] == [other]


def test_due_mail_goes_and_what_the_user_chose_stays(user, other):
    choices.never_mail(user.pk, ["news"])
    send_letter(other, user, "Lunch?", "At noon.")
    send_letter(user, other, "Dinner?", "At eight.")

    erase_mailbox(user)

    assert [row.user for row in DueMail.objects.all()] == [other]
    assert Preference.objects.get().user == user


def test_it_can_be_stopped_and_started_again(user, monkeypatch, django_capture_on_commit_callbacks):
    monkeypatch.setattr(erasure, "BATCH_SIZE", 3)
    fill(user, 8)
    told = []
    mailbox_changed.connect(
        lambda **kwargs: told.append(kwargs["count"]), weak=False, dispatch_uid="x"
    )
    try:
        with django_capture_on_commit_callbacks(execute=True):
            batches = mailbox.erase(user)
            assert next(batches) == 3
            batches.close()
            assert Message.objects.count() == 5
            assert list(mailbox.erase(user)) == [3, 2]
    finally:
        mailbox_changed.disconnect(dispatch_uid="x")
    assert told == [3, 3, 2]


@pytest.mark.parametrize("nobody", [None, "sally!", 2.5, get_user_model()()])
def test_who_is_no_user_has_no_mailbox(db, nobody):
    with pytest.raises((TypeError, ValueError), match="user must be"):
        erase_mailbox(nobody)


def test_a_deleted_account_leaves_only_what_it_wrote_to_others(user, other, send):
    """Promise of the docs: nothing of theirs but letters in other mailboxes, under their name."""
    send("Hers")
    send_letter(user, other, "Lunch?", "At noon.")
    send_letter(other, user, "Dinner?", "At eight.")
    policy.block(user, get_user_model().objects.create(username="third"))

    user.delete()

    (received,) = Message.objects.filter(user=other, folder=Folder.INBOX)
    assert (received.from_user, received.from_name, received.message) == (
        None,
        "Sally Ride",
        "At noon.",
    )
    assert [m.message for m in Message.objects.filter(folder=Folder.SENT)] == ["At eight."]
    assert Message.objects.count() == 2
    assert not Block.objects.exists()


def test_the_names_are_public():
    assert {"erase_mailbox", "export_mailbox", "prune_messages"} <= {*persistent_messages.__all__}
