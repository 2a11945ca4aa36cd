"""Sending letters: the stored rows, the policy, and the thread heads."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from django.utils.safestring import mark_safe

import persistent_messages
from persistent_messages import Folder, LetterRefused, conf, mailbox, send_letter
from persistent_messages.letters import policy, replies, reports, sending
from persistent_messages.mailbox import pruning, threads
from persistent_messages.models import Block, Message, Report
from tests.pages import listed_texts, rows_by_folder


@pytest.fixture(autouse=True)
def letters_on(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}


@pytest.fixture
def third(db):
    return get_user_model().objects.create_user("ida", "ida@example.com", "secret")


def copy_of(letter, owner):
    return Message.objects.get(letter=letter.letter, user=owner)


def refused(*args, **kwargs):
    before = Message.objects.count()
    with pytest.raises(LetterRefused) as error:
        send_letter(*args, **kwargs)
    assert Message.objects.count() == before
    return error.value


def converse(one, other, count):
    """Let two users write to each other in turn; return the last letter."""
    last = send_letter(one, other, "Rota", "Number 1")
    for number in range(2, count + 1):
        writer = other if number % 2 == 0 else one
        last = send_letter(writer, None, "", f"Number {number}", copy_of(last, writer))
    return last


# Stored rows


def test_letter_creates_one_row_for_recipient_and_one_for_sender(user, other):
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")

    own, copy = copy_of(sent, other), copy_of(sent, user)
    assert (own.folder, copy.folder) == (Folder.SENT, Folder.INBOX)
    assert (own.subject, own.message) == (copy.subject, copy.message) == ("Rota", sent.message)
    assert own.thread == copy.thread is not None
    assert (own.from_user, copy.from_user) == (other, other)
    assert (own.to_user, own.to_names) == (user, ["Sally Ride"])
    assert (copy.to_user, copy.to_names) == (None, [])
    assert (own.read, copy.read) == (True, False)
    assert Message.objects.count() == 2


def test_letter_to_several_creates_one_row_for_sender(user, other, third):
    sent = send_letter(other, [user, third, user], "Rota", "Who takes Thursday?")

    assert Message.objects.owned_by(other).count() == 1
    assert sent.to_names == ["Sally Ride", "ida"]
    assert sent.to_user is None
    assert {row.user for row in Message.objects.in_folder(Folder.INBOX)} == {user, third}


def test_copy_of_recipient_does_not_name_other_recipients(user, other, third):
    sent = send_letter(other, [user, third], "Rota", "Who takes Thursday?")

    for person in (user, third):
        assert copy_of(sent, person).to_name == ""


@pytest.mark.parametrize("count", [1, 20])
def test_query_count_of_send_does_not_depend_on_recipients(other, count):
    people = [get_user_model().objects.create_user(f"person-{n}") for n in range(count)]

    with CaptureQueriesContext(connection) as queries:
        send_letter(other, people, "Rota", "Hello")

    inserts = [query for query in queries if query["sql"].startswith("INSERT")]
    assert len(inserts) == 2  # one for the mail
    assert len(queries) <= 9, [query["sql"] for query in queries]


@pytest.mark.parametrize("size", [0, 300])
def test_query_count_of_reply_does_not_depend_on_mailbox_size(user, other, size):
    for owner in (user, other):
        Message.objects.bulk_create(
            Message(user=owner, level=120, message="Hello") for _ in range(size)
        )
    copy = copy_of(send_letter(other, user, "Rota", "Hello"), user)

    with CaptureQueriesContext(connection) as queries:
        send_letter(user, None, "", "Hello yourself", copy)

    assert len(queries) <= 14, [query["sql"] for query in queries]


def test_letter_sends_signals_after_commit(user, other, django_capture_on_commit_callbacks):
    heard = []

    def hear(**told):
        heard.append(told)

    persistent_messages.letter_sent.connect(hear)
    persistent_messages.messages_delivered.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            sent = send_letter(other, user, "Rota", "Hello")
            assert heard == []
    finally:
        persistent_messages.letter_sent.disconnect(hear)
        persistent_messages.messages_delivered.disconnect(hear)

    assert [message.user for told in heard for message in told["messages"]] == [user, user]
    (own,) = [told["letter"] for told in heard if "letter" in told]
    assert own == sent


def test_user_text_is_never_safe(user, other):
    """Otherwise, users could insert HTML into other users' pages."""
    sent = send_letter(other, user, mark_safe("<b>S</b>"), mark_safe("<script>"))

    assert not copy_of(sent, user).is_safe
    assert sent.message == "<script>"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("  two\r\nlines  ", "two\nlines"),
        ("N\x00UL and half \ud800 a pair", "NUL and half  a pair"),
        ("turned \u202eround", "turned round"),
        ("isolated \u2067עברית\u2069", "isolated \u2067עברית\u2069"),
    ],
)
def test_text_is_stored_without_control_characters(user, other, text, stored):
    sent = send_letter(other, user, f"S\n{text}", text)

    sent.refresh_from_db()
    assert sent.message == stored
    assert "\n" not in sent.subject
    assert "\x00" not in sent.subject


# Refused letters


@pytest.mark.parametrize("text", ["", "   ", "\n\t\r\n", "\x00", "\u202e"])
def test_letter_without_visible_text_is_refused(user, other, text):
    assert refused(other, user, "Rota", text).argument == "message"


def test_text_has_maximum_length(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "MESSAGE_LENGTH": 10}

    assert send_letter(other, user, "", "x" * 10)
    error = refused(other, user, "", "x" * 13)
    assert error.argument == "message"
    assert "at most 10 characters" in str(error)
    assert "this one has 13" in str(error)


def test_subject_has_maximum_length(user, other):
    assert send_letter(other, user, "s" * 255, "Hello")
    assert refused(other, user, "s" * 256, "Hello").argument == "subject"


def test_letter_to_nobody_or_to_oneself_is_refused(user, other):
    assert refused(other, [], "Rota", "Hello").argument == "to_users"
    assert refused(other, None, "Rota", "Hello").argument == "to_users"
    assert "yourself" in str(refused(other, [user, other], "Rota", "Hello"))


def test_number_of_recipients_is_limited(other):
    people = [get_user_model().objects.create_user(f"person-{n}") for n in range(21)]

    assert send_letter(other, people[:20], "Rota", "Hello")
    assert "20 people" in str(refused(other, people, "Rota", "Hello"))


def test_one_unreachable_recipient_stops_whole_letter(user, other, third):
    third.is_active = False
    third.save()

    assert refused(other, [user, third], "Rota", "Hello").argument == "to_users"


def test_error_does_not_reveal_why_recipient_is_unreachable(user, other, third, settings):
    """Otherwise, the error would reveal whether a user exists."""
    words = set()
    Block.objects.create(user=user, blocked=other)
    words.add(str(refused(other, user, "Rota", "Hello").reason))
    Block.objects.all().delete()
    Block.objects.create(user=other, blocked=user)
    words.add(str(refused(other, user, "Rota", "Hello").reason))
    Block.objects.all().delete()
    user.is_active = False
    user.save()
    words.add(str(refused(other, user, "Rota", "Hello").reason))
    user.is_active = True
    user.save()
    settings.PERSISTENT_MESSAGES = {
        "LETTERS": True,
        "RECIPIENTS": "tests.letters.test_sending.nobody",
    }
    words.add(str(refused(other, user, "Rota", "Hello").reason))
    words.add(str(policy.undeliverable_text("sally")))

    assert words == {"Your message can’t be delivered to “sally”."}


def nobody(user):
    return get_user_model().objects.none()


@pytest.mark.parametrize("wrong", ["sally", 5, [5], object(), ["sally"]])
def test_recipient_that_is_no_user_raises_error(other, wrong):
    with pytest.raises((TypeError, ValueError), match="to_users"):
        send_letter(other, wrong, "Rota", "Hello")


def test_unsaved_sender_raises_error(user):
    with pytest.raises((TypeError, ValueError), match="from_user"):
        send_letter(get_user_model()(username="new"), user, "Rota", "Hello")


# Rates


def test_send_rate_is_enforced_and_error_names_next_time(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "2/h"}
    first = send_letter(other, user, "", "One")
    send_letter(other, user, "", "Two")

    error = refused(other, user, "", "Three")

    assert error.argument == "from_user"
    assert error.retry_at == first.created + timedelta(hours=1)
    Message.objects.filter(letter=first.letter).update(
        created=timezone.now() - timedelta(hours=1, seconds=1)
    )
    assert send_letter(other, user, "", "Three")


def test_letter_to_several_counts_once_towards_rate(user, other, third, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "2/h"}
    send_letter(other, [user, third], "", "One")

    assert send_letter(other, [user, third], "", "Two")


def test_deleted_letter_counts_towards_rate(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "2/h"}
    for text in ("One", "Two"):
        sent = Message.objects.filter(pk=send_letter(other, user, "", text).pk)
        mailbox.delete(other, Folder.SENT, sent)
        mailbox.delete(other, Folder.TRASH, sent)

    assert refused(other, user, "", "Three").argument == "from_user"
    spent = Message.objects.owned_by(other)
    assert {(row.folder, row.message, row.subject, row.to_name) for row in spent} == {
        (Folder.TOMBSTONE, "", "", "")
    }
    assert not Message.objects.visible_to(other).exists()


def test_tombstone_that_no_longer_counts_is_pruned(user, other):
    sent = Message.objects.filter(pk=send_letter(other, user, "", "One").pk)
    mailbox.delete(other, Folder.SENT, sent)
    mailbox.delete(other, Folder.TRASH, sent)
    assert sum(pruning.prune(pruning.prunable(30)["tombstones"])) == 0

    (row,) = sent
    assert row.trashed_at is None
    assert row.expires - row.created >= conf.MAX_RATE_PERIOD
    sent.update(expires=timezone.now() - timedelta(seconds=1))

    assert {why: sum(pruning.prune(rows)) for why, rows in pruning.prunable(30).items()} == {
        "expired": 0,
        "trash": 0,
        "tombstones": 1,
    }


def test_received_letter_does_not_count_towards_rate(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "1/h"}
    send_letter(user, other, "", "One")

    assert send_letter(other, user, "", "Mine")


def test_same_letter_sent_again_creates_no_row(user, other):
    letter = uuid.uuid4()
    first = sending.send(other, [user], "", "Hello", letter=letter).own
    again = sending.send(other, [user], "", "Hello", letter=letter).own

    assert again == first
    assert Message.objects.count() == 2


# Replies


def test_reply_goes_to_other_participant(user, other):
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")

    answer = send_letter(user, None, "", "Yes.", copy_of(sent, user))

    copy = copy_of(answer, other)
    assert (copy.folder, copy.thread, copy.subject) == (Folder.INBOX, sent.thread, "Rota")
    assert (sent.thread_position, answer.thread_position) == (1, 2)


def test_sender_may_write_again_before_reply(user, other):
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")

    more = send_letter(other, None, "", "Or Friday?", sent)

    assert copy_of(more, user).thread == sent.thread
    assert more.thread_position == 2


def test_reply_to_letter_to_several_goes_only_to_sender(user, other, third):
    sent = send_letter(other, [user, third], "Rota", "Who?")

    send_letter(user, None, "", "I.", copy_of(sent, user))

    assert Message.objects.owned_by(third).count() == 1


def test_sender_of_letter_to_several_replies_to_latest_writer(user, other, third):
    sent = send_letter(other, [user, third], "Rota", "Who?")
    assert refused(other, None, "", "Nobody?", sent).argument == "reply_to"
    send_letter(user, None, "", "I.", copy_of(sent, user))

    answer = send_letter(other, None, "", "Thanks.", sent)

    assert answer.to_user == user


def test_notice_from_user_can_be_replied_to(user, other, send):
    notice = send("Your order is on its way.", from_user=other)

    answer = send_letter(user, None, "", "Thank you!", notice)

    notice.refresh_from_db()
    assert copy_of(answer, other).folder == Folder.INBOX
    assert notice.thread == answer.thread
    assert (notice.thread_position, answer.thread_position) == (1, 2)


def test_reply_to_unsuitable_message_is_refused(user, other, third, send):
    received = copy_of(send_letter(other, user, "Rota", "Hello"), user)
    assert refused(third, None, "", "Mine", received).argument == "reply_to"  # foreign
    assert refused(user, None, "", "Hello", send("Notice")).argument == "reply_to"
    assert refused(user, third, "", "Hello", received).argument == "to_users"

    mailbox.delete(user, Folder.INBOX, Message.objects.filter(pk=received.pk))
    received.refresh_from_db()
    assert "Restore" in str(refused(user, None, "", "Hello", received))

    mailbox.restore(user, Folder.TRASH, Message.objects.filter(pk=received.pk))
    Message.objects.filter(pk=received.pk).update(expires=timezone.now())
    received.refresh_from_db()
    assert refused(user, None, "", "Hello", received).argument == "reply_to"


def test_block_added_since_stops_reply(user, other):
    received = copy_of(send_letter(other, user, "Rota", "Hello"), user)
    policy.block(other, user)

    assert refused(user, None, "", "Hello", received).argument == "to_users"


def test_deleted_account_leaves_letters_with_name(user, other):
    received = copy_of(send_letter(other, user, "Rota", "Hello"), user)
    answer = send_letter(user, None, "", "Yes.", received)
    other.delete()

    received.refresh_from_db()
    answer.refresh_from_db()
    assert (received.from_user, received.from_name) == (None, "harry")
    assert (answer.to_user, answer.to_names) == (None, ["harry"])
    assert "no longer exists" in str(refused(user, None, "", "Still there?", received))


def test_quote_marks_each_line(user, other):
    sent = send_letter(other, user, "", "One\n\nTwo")

    assert replies.quote(sent) == "> One\n> \n> Two\n"


# Which letter heads its conversation


def test_newest_letter_of_folder_is_head_of_conversation(user, other):
    converse(other, user, 5)

    assert listed_texts(user, Folder.INBOX) == ["Number 5"]
    assert listed_texts(user, Folder.SENT) == ["Number 4"]
    assert listed_texts(other, Folder.INBOX) == ["Number 4"]
    assert listed_texts(other, Folder.SENT) == ["Number 5"]


def test_two_conversations_have_two_heads(user, other):
    converse(other, user, 3)
    converse(other, user, 1)

    assert listed_texts(user, Folder.INBOX) == ["Number 1", "Number 3"]


@pytest.mark.parametrize("away", [mailbox.archive, mailbox.delete])
def test_moved_conversation_has_one_head_in_target_folder(user, other, away):
    thread = converse(other, user, 5).thread
    rows = Message.objects.filter(thread=thread)
    target = Folder.TRASH if away is mailbox.delete else Folder.ARCHIVE

    change = away(user, Folder.INBOX, rows)

    assert change.count == 3
    assert listed_texts(user, Folder.INBOX) == []
    assert listed_texts(user, target) == ["Number 5"]
    assert mailbox.undo(user, change) == 3
    assert listed_texts(user, Folder.INBOX) == ["Number 5"]
    assert listed_texts(user, target) == []


def test_later_letter_joins_archived_conversation(user, other):
    thread = converse(other, user, 3).thread
    rows = Message.objects.filter(thread=thread)
    mailbox.archive(user, Folder.INBOX, rows)
    own = Message.objects.filter(user=other, folder=Folder.SENT).latest("pk")
    send_letter(other, None, "", "Later", own)
    assert listed_texts(user, Folder.INBOX) == ["Later"]
    assert listed_texts(user, Folder.ARCHIVE) == ["Number 3"]

    mailbox.archive(user, Folder.INBOX, rows)

    assert listed_texts(user, Folder.ARCHIVE) == ["Later"]


def test_deleting_head_promotes_previous_letter(user, other):
    last = converse(other, user, 3)
    head = Message.objects.filter(pk=copy_of(last, user).pk)

    mailbox.delete(user, Folder.INBOX, head)

    assert listed_texts(user, Folder.INBOX) == ["Number 1"]
    assert listed_texts(user, Folder.TRASH) == ["Number 3"]
    mailbox.delete(user, Folder.TRASH, head)
    assert listed_texts(user, Folder.TRASH) == []
    assert rows_by_folder(user) == {Folder.INBOX: 1, Folder.SENT: 1}


def test_pruning_head_promotes_previous_letter(user, other):
    last = converse(other, user, 3)
    mailbox.delete(user, Folder.INBOX, Message.objects.filter(thread=last.thread))
    head = Message.objects.filter(pk=copy_of(last, user).pk)
    head.update(trashed_at=timezone.now() - timedelta(days=31))

    assert sum(pruning.prune(pruning.prunable(30)["trash"])) == 1

    assert listed_texts(user, Folder.TRASH) == ["Number 1"]


def test_deletion_by_one_participant_keeps_letters_of_other(user, other):
    thread = converse(other, user, 4).thread
    for folder in (Folder.INBOX, Folder.SENT):
        mailbox.delete(user, folder, Message.objects.filter(thread=thread))
    mailbox.delete(user, Folder.TRASH, Message.objects.filter(thread=thread))

    assert rows_by_folder(other) == {Folder.INBOX: 2, Folder.SENT: 2}


def test_heads_of_many_conversations_are_updated_in_batches(user, other, settings, monkeypatch):
    monkeypatch.setattr("persistent_messages.mailbox.threads.BATCH_SIZE", 3)
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": None}
    for _ in range(6):
        converse(other, user, 3)
    newest = Message.objects.latest("pk").pk
    later = Message.objects.filter(user=other, folder=Folder.SENT).latest("pk")
    send_letter(other, None, "", "Later", later)

    mailbox.delete(user, Folder.INBOX, Message.objects.filter(pk__lte=newest))

    assert listed_texts(user, Folder.INBOX) == ["Later"]
    assert listed_texts(user, Folder.TRASH) == ["Number 3"] * 6


# What a row shows about its conversation


def thread_summaries(owner):
    """Return the thread length and the reply snippet of the rows in each folder."""
    heads = Message.objects.owned_by(owner).letters().filter(superseded_by=None).order_by("pk")
    return {Folder(row.folder): (row.thread_length, row.reply_snippet) for row in heads}


def test_row_has_snippet_of_own_reply(user, other):
    converse(other, user, 4)

    assert thread_summaries(user) == {Folder.INBOX: (4, "Number 4"), Folder.SENT: (4, "")}
    assert thread_summaries(other) == {Folder.INBOX: (4, ""), Folder.SENT: (4, "")}
    send_letter(other, None, "", "Number 5", copy_of(Message.objects.latest("pk"), other))
    assert thread_summaries(user) == {Folder.INBOX: (5, ""), Folder.SENT: (5, "")}
    assert thread_summaries(other) == {Folder.INBOX: (5, "Number 5"), Folder.SENT: (5, "")}


def test_row_has_snippet_of_second_letter_in_succession(user, other):
    last = converse(other, user, 2)
    send_letter(user, None, "", "And " * 100, last)

    length, snippet = thread_summaries(user)[Folder.INBOX]
    assert length == 3
    assert snippet.startswith("And And And")
    assert len(snippet) == 160


def test_deleted_reply_is_removed_from_snippet_and_length(user, other):
    thread = converse(other, user, 4).thread
    rows = Message.objects.filter(thread=thread)
    before = thread_summaries(user)

    change = mailbox.delete(user, Folder.SENT, rows)

    assert thread_summaries(user) == {Folder.INBOX: (2, ""), Folder.TRASH: (2, "")}
    mailbox.undo(user, change)
    assert thread_summaries(user) == before
    mailbox.delete(user, Folder.SENT, rows)
    mailbox.restore(user, Folder.TRASH, rows)
    assert thread_summaries(user) == before
    mailbox.delete(user, Folder.SENT, rows)
    mailbox.delete(user, Folder.TRASH, rows)
    assert thread_summaries(user) == {Folder.INBOX: (2, "")}


def test_deleting_last_reply_shows_previous_one(user, other):
    own = send_letter(user, None, "", "Number 3", converse(other, user, 2))

    mailbox.delete(user, Folder.SENT, Message.objects.filter(pk=own.pk))

    assert thread_summaries(user)[Folder.INBOX] == (2, "Number 2")


def test_archived_conversation_keeps_snippet_and_counts_later_letters(user, other):
    thread = converse(other, user, 4).thread
    mailbox.archive(user, Folder.INBOX, Message.objects.filter(thread=thread))
    assert thread_summaries(user)[Folder.ARCHIVE] == (4, "Number 4")

    own = Message.objects.filter(user=other, folder=Folder.SENT).latest("pk")
    send_letter(other, None, "", "Later", own)

    assert thread_summaries(user) == {
        Folder.ARCHIVE: (5, ""),
        Folder.INBOX: (5, ""),
        Folder.SENT: (5, ""),
    }


def test_pruning_updates_thread_length(user, other):
    last = converse(other, user, 3)
    mailbox.delete(user, Folder.INBOX, Message.objects.filter(thread=last.thread))
    Message.objects.filter(pk=copy_of(last, user).pk).update(
        trashed_at=timezone.now() - timedelta(days=31)
    )

    assert sum(pruning.prune(pruning.prunable(30)["trash"])) == 1

    assert thread_summaries(user)[Folder.TRASH] == (1, "")


def test_repeated_update_of_thread_heads_writes_nothing(user, other):
    thread = converse(other, user, 4).thread

    with CaptureQueriesContext(connection) as queries:
        threads.update_thread_heads(Message.objects.all(), [user.pk, other.pk], [thread])

    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SELECT"]


# Accounts that are deleted in the meantime


@pytest.mark.parametrize("gone", ["sender", "recipient", "both"])
def test_letter_of_account_deleted_since_is_refused(user, other, third, gone):
    """Only the sender's earlier rows exist; the letter has written nothing."""
    going = {"sender": [other], "recipient": [user], "both": [other, user]}[gone]
    get_user_model().objects.filter(pk__in=[person.pk for person in going]).delete()

    error = refused(other, [third, user], "Rota", "Hello")

    assert "can’t be delivered" in error.reason
    assert not Message.objects.exists()


def test_reply_to_account_deleted_since_is_refused(user, other):
    letter = copy_of(send_letter(other, user, "Rota", "Hello"), user)
    get_user_model().objects.filter(pk=other.pk).delete()

    assert refused(user, None, "", "Yes.", letter).reason
    assert Message.objects.owned_by(user).get() == letter


@pytest.mark.parametrize("gone", ["user", "other"])
def test_block_of_account_deleted_since_is_refused(user, other, gone):
    get_user_model().objects.filter(username={"user": "sally", "other": "harry"}[gone]).delete()

    with pytest.raises(LetterRefused):
        policy.block(user, other)
    assert not Block.objects.exists()


def test_letter_of_account_deleted_since_can_be_reported(user, other):
    received = copy_of(send_letter(other, user, "Rota", "Hello"), user)
    get_user_model().objects.filter(pk=other.pk).delete()

    report = reports.report(user, received)

    assert (report.accused, report.accused_name) == (None, "harry")


def test_report_by_account_deleted_since_is_refused(user, other):
    received = copy_of(send_letter(other, user, "Rota", "Hello"), user)
    get_user_model().objects.filter(pk=user.pk).delete()

    with pytest.raises(LetterRefused):
        reports.report(user, received)


# Who may be written to


@pytest.mark.parametrize("blocker", ["user", "other"])
def test_unreachable_users_are_not_found_by_name(request, user, other, third, blocker):
    third.is_active = False
    third.save()
    blocker = request.getfixturevalue(blocker)
    policy.block(blocker, other if blocker == user else user)

    assert policy.find_recipients(user, ["harry", "ida", "nobody"]) == {}


def team_mates(user):
    return get_user_model().objects.filter(groups__user=user)


def test_letter_reaches_recipient_with_duplicate_rows_once(settings, user, other):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "RECIPIENTS": team_mates}
    for name in ("Choir", "Kitchen"):
        group = Group.objects.create(name=name)
        group.user_set.add(user, other)

    assert send_letter(user, other, "Rota", "Who cooks?").to_names == ["harry"]


def test_blocking_twice_creates_one_block(user, other):
    assert policy.block(user, other) == policy.block(user, other)
    assert list(policy.blocks_of(user)) == list(Block.objects.all())
    assert not policy.blocks_of(other).exists()


# Reports


def test_report_keeps_excerpt_after_deletion(user, other):
    last = converse(other, user, 13)
    copy = copy_of(last, user)

    found = reports.report(user, copy, "Rude.")
    copy.delete()
    other.delete()

    found.refresh_from_db()
    assert (found.reporter, found.accused, found.accused_name) == (user, None, "harry")
    assert [row["text"] for row in found.excerpt] == [f"Number {n}" for n in range(4, 14)]
    assert found.reason == "Rude."


def test_reporting_twice_creates_one_report(user, other):
    copy = copy_of(send_letter(other, user, "", "Hello"), user)

    assert reports.report(user, copy) == reports.report(user, copy, "Again")
    assert Report.objects.count() == 1


def test_only_received_letter_can_be_reported(user, other, send):
    sent = send_letter(other, user, "", "Hello")
    for reporter, message in ((other, sent), (user, send("Notice")), (other, copy_of(sent, user))):
        with pytest.raises(LetterRefused):
            reports.report(reporter, message)
    assert not Report.objects.exists()


# Words


def test_refusal_is_in_language_of_reader(user, other):
    with translation.override("de"):
        german = refused(other, user, "", "").reason

    assert german != refused(other, user, "", "").reason


# Letters switched off


@pytest.mark.parametrize("config", [{}, {"LETTERS": False}])
@pytest.mark.parametrize("kind", [LetterRefused, ImproperlyConfigured])
def test_letter_is_refused_if_letters_are_disabled(settings, user, other, config, kind):
    settings.PERSISTENT_MESSAGES = config

    with pytest.raises(kind, match="LETTERS"):
        send_letter(user, other, "Rota", "Hello")

    assert not Message.objects.exists()
