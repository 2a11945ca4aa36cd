"""Preferences, and their effect on messages."""

from datetime import timedelta

import pytest
from anymail.signals import AnymailTrackingEvent, EventType, tracking
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import persistent_messages
from persistent_messages import (
    Folder,
    Topic,
    export_mailbox,
    export_preferences,
    mail_failed,
    send_message,
    wants,
)
from persistent_messages.mailbox import outbox
from persistent_messages.models import DueMail, Message, Preference
from persistent_messages.preferences import choices
from persistent_messages.preferences.choices import Choice
from persistent_messages.preferences.forms import PreferencesForm
from persistent_messages.topics import MAIL_CHOICES, topics
from tests.documentation import blocks_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _topics(register):
    register(billing={}, security={"mandatory": True, "mail": "now"}, news={"mail": "weekly"})


def choose(user, topic, *, in_inbox=True, mail=""):
    choices.save(user, {topic: Choice(in_inbox, mail)})


# Topics


def test_topic_rejects_unknown_mail_choice():
    with pytest.raises(ValueError, match="mail must be one of now, unread"):
        Topic("other", "Other", mail="monthly")
    for mail in MAIL_CHOICES:
        assert Topic("other", "Other", mail=mail).mail == mail


# wants


@pytest.mark.parametrize("channel", ["inbox", "mail"])
def test_users_want_topics_by_default(user, channel):
    assert [wants(user, topic, channel) for topic in topics] == [True] * 3


def test_user_does_not_want_refused_topic(user, other):
    choose(user, "billing", in_inbox=False, mail="never")

    assert not wants(user, "billing", "inbox")
    assert not wants(user, topics["billing"], "mail")
    assert wants(user, "news", "inbox")
    assert wants(other, "billing", "inbox")


def test_mandatory_topic_stays_in_inbox(user):
    choose(user, "security", in_inbox=False)

    assert wants(user, "security", "inbox")


def test_user_wants_no_mail_while_paused(user):
    now = timezone.now()
    for until, expected in [(now + timedelta(1), False), (now - timedelta(1), True), (None, False)]:
        choices.pause([user.pk], until)
        assert wants(user, "security", "mail") is expected
        assert wants(user, "security", "inbox")


def test_wants_takes_one_query(user):
    with CaptureQueriesContext(connection) as queries:
        wants(user, "news", "mail")
    assert len(queries) == 1


def test_unknown_topic_or_channel_is_named_in_error(user):
    with pytest.raises(ValueError, match="topic must be registered, not 'nws'"):
        wants(user, "nws", "mail")
    with pytest.raises(ValueError, match="channel must be one of inbox, mail, not 'sms'"):
        wants(user, "news", "sms")


@pytest.mark.parametrize(
    "function", [lambda who: wants(who, "news", "mail"), export_preferences, export_mailbox]
)
@pytest.mark.parametrize("who", [None, AnonymousUser(), get_user_model()(), Message(pk=1), "a"])
def test_who_is_no_saved_user_is_named_in_error(db, function, who):
    with pytest.raises((TypeError, ValueError), match="user must be a"):
        function(who)


@pytest.mark.parametrize("who", [get_user_model()(), Message(pk=1)])
def test_bounce_of_unsaved_user_or_other_model_is_rejected(user, who):
    with pytest.raises((TypeError, ValueError), match="who must be a"):
        mail_failed(who)
    assert not Preference.objects.exists()


def test_functions_take_key_of_user(user):
    choose(user, "news", mail="never")
    assert not wants(user.pk, "news", "mail")
    assert export_preferences(user.pk) == export_preferences(user)
    assert list(export_mailbox(user.pk)) == list(export_mailbox(user))


def test_preference_for_removed_topic_is_kept(user, other):
    """The site may register the topic again, so the row is kept and exported."""
    choose(user, "gone", in_inbox=False, mail="never")

    assert export_preferences(user)["topics"] == [
        {"topic": "gone", "in_inbox": False, "mail": "never"}
    ]
    form = PreferencesForm(user)
    assert not [name for name in form.fields if "gone" in name]
    form = PreferencesForm(user, {"mail-billing": "daily"})
    assert form.is_valid()
    form.save()
    assert (
        choices.choices_of([user.pk], ["gone"], "default").chosen(user.pk, "gone").mail == "never"
    )
    with pytest.raises(ValueError, match="topic must be registered, not 'gone'"):
        wants(user, "gone", "mail")


def test_message_of_removed_topic_is_delivered_as_without_topic(user):
    choose(user, "gone", in_inbox=False, mail="never")
    Message.objects.bulk_create([Message(user=user, level=120, message="Old", topic="gone")])
    message = Message.objects.get()

    assert choices.topic_of(message) == ""
    assert outbox.Posting([message], email=True).folder_of(message) == Folder.INBOX


# Rows


def test_default_preferences_are_not_stored(user):
    choose(user, "billing", in_inbox=False)
    choose(user, "news", mail="never")
    assert Preference.objects.count() == 2
    choose(user, "billing")
    assert [row.topic for row in Preference.objects.all()] == ["news"]


def test_new_choice_replaces_previous_choice(user):
    choose(user, "billing", in_inbox=False)
    choose(user, "billing", mail="daily")
    assert Preference.objects.values_list("in_inbox", "mail").get() == (True, "daily")


def test_preferences_are_exported_as_json_values(user):
    assert export_preferences(user)["topics"] == []
    choose(user, "billing", in_inbox=False)
    choices.save(user, {"_letters": Choice(mail="daily")})
    choices.pause([user.pk], timezone.now().replace(microsecond=0))

    exported = export_preferences(user)

    assert exported["topics"] == [
        {"topic": "letters", "in_inbox": True, "mail": "daily"},
        {"topic": "billing", "in_inbox": False, "mail": None},
    ]
    assert exported["mail_is_paused"] is True
    assert exported["mail_is_paused_until"].startswith(f"{timezone.now():%Y-%m-%d}")


def test_deleted_user_leaves_no_preference_or_due_mail(user):
    choose(user, "billing", mail="daily")
    send_message(user, 120, "Hello", topic="billing")
    user.delete()
    assert not Preference.objects.exists()
    assert not DueMail.objects.exists()


@pytest.mark.parametrize("who", ["user", "SALLY@example.com"])
def test_bounce_pauses_all_mail(user, other, who):
    assert mail_failed(user if who == "user" else who) == 1
    assert not wants(user, "news", "mail")
    assert wants(other, "news", "mail")


@pytest.mark.parametrize("kind", [EventType.BOUNCED, EventType.COMPLAINED, EventType.OPENED])
def test_documented_anymail_receiver_pauses_mail_after_bounce(user, other, kind):
    [block] = [block for block in blocks_in("python") if "anymail.signals" in block.text]
    names = {}
    exec(block.text, names)
    event = AnymailTrackingEvent(event_type=kind, recipient="sally@example.com")
    tracking.connect(names["pause_mail"])
    try:
        tracking.send(sender=object, event=event, esp_name="Postmark")
    finally:
        tracking.disconnect(names["pause_mail"])

    assert wants(user, "news", "mail") == (kind == EventType.OPENED)
    assert wants(other, "news", "mail")


@pytest.mark.parametrize("who", ["", "nobody@example.com"])
def test_bounce_of_unknown_address_pauses_nothing(user, who):
    assert mail_failed(who) == 0
    assert not Preference.objects.exists()


# The inbox


def test_message_not_wanted_in_inbox_goes_to_archive(user, other):
    choose(user, "billing", in_inbox=False)

    send_message([user, other], 120, "Paid", topic="billing")
    send_message(user, 120, "Other", topic="news")

    rows = Message.objects.order_by("pk").values_list("user__username", "message", "folder")
    assert {(name, text): Folder(folder) for name, text, folder in rows} == {
        ("sally", "Paid"): Folder.ARCHIVE,
        ("harry", "Paid"): Folder.INBOX,
        ("sally", "Other"): Folder.INBOX,
    }
    assert Message.objects.count_unread_of(user, 9) == 1


def test_one_shot_message_ignores_inbox_choice(user):
    choose(user, "billing", in_inbox=False)
    send_message(user, 20, "Paid", topic="billing")
    assert Message.objects.get().folder == Folder.ONE_SHOT


def test_keyed_notice_is_renewed_in_archive(user):
    choose(user, "billing", in_inbox=False)
    for count in range(3):
        send_message(user, 120, f"{count} invoices", topic="billing", key="invoices")
    assert [(m.message, m.folder) for m in Message.objects.all()] == [
        ("2 invoices", Folder.ARCHIVE)
    ]
    choose(user, "billing")
    send_message(user, 120, "3 invoices", topic="billing", key="invoices")
    assert Message.objects.filter(folder=Folder.INBOX).count() == 1


@pytest.mark.parametrize(
    ("options", "expected"), [({}, 0), ({"topic": "billing"}, 1), ({"email": True}, 1)]
)
def test_preferences_are_queried_at_most_once_per_batch(user, other, options, expected):
    with CaptureQueriesContext(connection) as queries:
        send_message([user, other], 120, "Hello", **options)
    asked = [q for q in queries if '_preference"' in q["sql"] or "_preference`" in q["sql"]]
    assert len(asked) == expected


def test_add_message_follows_preferences(rf, user):
    choose(user, "billing", in_inbox=False)
    rf_request = rf.get("/")
    rf_request.session, rf_request.user = {}, user
    rf_request._messages = persistent_messages.storage.PersistentMessageStorage(rf_request)

    row = persistent_messages.info(rf_request, "Paid", topic="billing")

    assert row.folder == Folder.ARCHIVE


# Due mail


def due():
    return list(DueMail.objects.order_by("pk").values_list("user__username", "choice"))


def test_topic_has_default_mail_choice(user):
    send_message(user, 120, "Hello", topic="news")
    send_message(user, 120, "Hello", topic="billing")
    assert due() == [("sally", "weekly")]


@pytest.mark.parametrize("mail", MAIL_CHOICES)
def test_mail_choice_of_user_overrides_topic(user, mail):
    choose(user, "news", mail=mail)
    send_message(user, 120, "Hello", topic="news", email=True)
    assert due() == ([] if mail == "never" else [("sally", mail)])


def test_unread_mail_is_due_after_delay(user, settings):
    settings.PERSISTENT_MESSAGES = {"EMAIL_DELAY": timedelta(hours=3)}
    choose(user, "news", mail="unread")
    send_message(user, 120, "Hello", topic="news")
    wait = DueMail.objects.get().due - timezone.now()
    assert timedelta(hours=2.9) < wait <= timedelta(hours=3)


@pytest.mark.parametrize(("mail", "days"), [("daily", 1), ("weekly", 7)])
def test_digest_is_due_at_digest_hour(user, settings, mail, days):
    settings.PERSISTENT_MESSAGES = {"DIGEST_HOUR": 5}
    settings.TIME_ZONE = "Asia/Tokyo"
    choose(user, "news", mail=mail)
    send_message(user, 120, "Hello", topic="news")

    moment = timezone.localtime(DueMail.objects.get().due, timezone.get_default_timezone())

    assert (moment.hour, moment.minute) == (5, 0)
    assert timedelta() < moment - timezone.now() <= timedelta(days)
    assert mail == "daily" or moment.weekday() == 0


def test_message_during_pause_is_due_as_digest_after_pause(user):
    until = timezone.now().replace(microsecond=0) + timedelta(3)
    choices.pause([user.pk], until)
    send_message(user, 120, "Hello", topic="security")
    assert DueMail.objects.values_list("choice", "due").get() == ("daily", until)


def test_no_mail_is_due_after_bounce(user):
    mail_failed(user)
    send_message(user, 120, "Hello", topic="security")
    send_message(user, 20, "Hello", email=True)
    assert due() == []


def test_rolled_back_message_has_no_due_mail(user):

    with transaction.atomic():
        send_message(user, 120, "Hello", topic="news")
        transaction.set_rollback(True)
    assert due() == []
