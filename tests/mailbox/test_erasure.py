"""Erasing a mailbox permanently, in batches; letters to others stay."""

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.utils import timezone

import persistent_messages
from persistent_messages import (
    INFO,
    Folder,
    erase_mailbox,
    mailbox,
    mailbox_changed,
    send_letter,
    send_message,
)
from persistent_messages.letters import policy, reports
from persistent_messages.mailbox import erasure
from persistent_messages.models import (
    Block,
    Broadcast,
    DueMail,
    Message,
    Preference,
    Receipt,
)
from persistent_messages.preferences import choices
from tests.pages import fill


@pytest.fixture(autouse=True)
def letters(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}


def test_erase_removes_all_folders_and_keeps_other_mailboxes(user, other, send):
    for folder in Folder:
        fill(user, 2, folder=folder)
    send_letter(user, other, "Lunch?", "At noon.")
    send("Yours", to=other)

    assert erase_mailbox(user) == 2 * len(Folder) + 1

    assert not Message.objects.filter(user=user).exists()
    assert {m.message for m in Message.objects.filter(user=other)} == {"At noon.", "Yours"}
    assert erase_mailbox(user) == 0


def test_erase_removes_blocks_by_user_but_not_of_user(user, other):
    policy.block(user, other)
    policy.block(other, user)

    erase_mailbox(user.pk)

    assert [block.user for block in Block.objects.all()] == [other]


def test_erase_removes_due_mail_and_keeps_preferences(user, other):
    choices.never_mail(user.pk, ["news"])
    send_letter(other, user, "Lunch?", "At noon.")
    send_letter(user, other, "Dinner?", "At eight.")

    erase_mailbox(user)

    assert [row.user for row in DueMail.objects.all()] == [other]
    assert Preference.objects.get().user == user


def test_erase_can_be_interrupted_and_resumed(
    user, monkeypatch, django_capture_on_commit_callbacks
):
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
def test_erase_rejects_value_that_is_no_user(db, nobody):
    with pytest.raises((TypeError, ValueError), match="user must be"):
        erase_mailbox(nobody)


def create_related_rows(user, other):
    """Create rows by and about `user` in every table."""
    send_message(user, INFO, "Hers")
    letter = send_letter(user, other, "Lunch?", "At noon.")
    reply = send_letter(other, None, "", "At eight.", Message.objects.get(user=other))
    for one, another in ((user, other), (other, user)):
        policy.block(one, another)
    reports.report(user, Message.objects.get(user=user, letter=reply.letter), "Rude")
    reports.report(other, Message.objects.get(user=other, letter=letter.letter), "Dull")
    choices.never_mail(user.pk, ["news"])
    choices.pause([user.pk], None)
    Receipt.objects.create(broadcast=Broadcast.objects.create(level=120, message="All"), user=user)
    DueMail.objects.create(user=user, message_id=1, choice="now", due=timezone.now())


def columns_containing(words):
    """Return the models and columns in which any of `words` is stored."""
    found = set()
    for model in apps.get_app_config("persistent_messages").get_models():
        for row in model._base_manager.values():
            found |= {
                (model.__name__, column)
                for column, value in row.items()
                if any(word in str(value) for word in words)
            }
    return found


def test_deleted_account_leaves_only_letters_and_reports_of_others(other):
    """See the documentation: letters in other mailboxes and in reports, with the name."""
    user = get_user_model().objects.create(
        pk=870_001,  # a number that occurs nowhere else
        username="sally",
        first_name="Sally",
        last_name="Ride",
        email="sally@example.com",
    )
    create_related_rows(user, other)
    tables = {model for model, _column in columns_containing(["870001"])}
    assert tables == {"Message", "Block", "Report", "Receipt", "Preference", "DueMail"}

    user.delete()

    assert columns_containing(["870001", "sally@example.com"]) == set()
    assert columns_containing(["sally", "Sally Ride"]) == {
        ("Message", "from_name"),
        ("Message", "name_details"),
        ("Message", "to_name"),
        ("Report", "accused_name"),
        ("Report", "excerpt"),
    }
    left = Message.objects.values_list("user", "message").order_by("message")
    assert list(left) == [(other.pk, "At eight."), (other.pk, "At noon.")]
    assert not Block.objects.exists()
    assert not Preference.objects.exists()


def test_erasure_functions_are_public():
    assert {"erase_mailbox", "export_mailbox", "prune_messages"} <= {*persistent_messages.__all__}
