"""One message to many users: copied by the database in batches, for any queryset."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import NotSupportedError, connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Window
from django.db.models.functions import Rank
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.safestring import SafeData, mark_safe

from persistent_messages import (
    INFO,
    WARNING,
    Folder,
    Topic,
    mailbox,
    messages_delivered,
    send_message,
)
from persistent_messages.mailbox import delivery, recipients
from persistent_messages.mailbox.validation import new_message
from persistent_messages.models import DueMail, Message, Preference
from persistent_messages.topics import topics

pytestmark = pytest.mark.django_db

MARIADB = connection.vendor == "mysql"
User = get_user_model()


@pytest.fixture
def people():
    """Twenty-five users."""
    User.objects.bulk_create(User(username=f"person-{n:02}") for n in range(25))
    return list(User.objects.order_by("pk"))


@pytest.fixture
def batches_of_ten(monkeypatch):
    monkeypatch.setattr(delivery, "RANGE_SIZE", 10)
    monkeypatch.setattr(delivery, "BATCH_SIZE", 10)
    monkeypatch.setattr(delivery, "MAX_BATCH_SIZE", 10)
    monkeypatch.setattr(recipients, "PAGE_SIZE", 10)
    monkeypatch.setattr(recipients, "BATCH_SIZE", 10)


@pytest.fixture
def listen():
    """Connect a receiver, and record its batches."""
    connected = []

    def listen(**attributes):
        batches = []

        def receive(messages, **kwargs):
            batches.append(messages)

        vars(receive).update(attributes)
        messages_delivered.connect(receive)
        connected.append(receive)
        return batches

    yield listen
    for receive in connected:
        messages_delivered.disconnect(receive)


@pytest.fixture
def topic():
    yield Topic("weather", "Weather")
    topics.pop("weather")


def owners():
    return list(Message.objects.order_by("user").values_list("user", flat=True))


def keys_of(users):
    return sorted(user.pk for user in users)


def statements(send):
    """Return the first words of the statements of `send`, except those for transactions."""
    with CaptureQueriesContext(connection) as queries:
        send()
    verbs = [query["sql"].split()[0] for query in queries]
    bounds = {"BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"}
    return [verb for verb in verbs if verb not in bounds]


# Stored rows


@pytest.mark.parametrize("key", [None, "quota"])
def test_copied_row_equals_row_saved_for_receivers(people, topic, listen, key):
    said = {
        "subject": "Größe\n🎉",
        "extra_tags": "a b",
        "url": "/storage/",
        "action": "Upgrade",
        "topic": topic,
        "expires": timezone.now() + timedelta(days=1),
        "close_timeout": 5000,
    }
    sent = (WARNING, mark_safe("<b>100 %</b> of 'é' %s"))

    assert send_message(User.objects.all(), *sent, **said, key=key) == 25
    copies = list(Message.objects.order_by("user").values())
    Message.objects.all().delete()
    listen()
    assert send_message(User.objects.all(), *sent, **said, key=key) == 25
    rows = list(Message.objects.order_by("user").values())

    for row in (*copies, *rows):
        assert timezone.now() - row.pop("created") < timedelta(minutes=1)
        del row["id"]
    assert copies == rows
    assert isinstance(Message.objects.first().message, SafeData)


def test_copied_row_has_sender(people, user):
    send_message(User.objects.exclude(pk=user.pk), INFO, mark_safe("<b>Hi</b>"), from_user=user)

    rows = Message.objects.all()
    assert {(row.from_user, row.from_name, row.is_safe) for row in rows} == {
        (user, "Sally Ride", False)
    }


def test_one_shot_message_is_copied_to_one_shot_folder(people):
    send_message(User.objects.all(), 20, "Saved")

    assert set(Message.objects.values_list("folder", flat=True)) == {Folder.ONE_SHOT}


def test_copied_rows_are_searchable_and_counted(people):
    send_message(User.objects.all(), INFO, "Größe")

    box = Message.objects.inbox_of(people[3])
    assert len(box.search(people[3], ["grosse"], 10, 100).messages) == 1
    assert Message.objects.count_unread_of(people[3], 99) == 1


def test_long_text_is_copied(people):
    assert send_message(User.objects.all(), INFO, "x" * 500_000) == 25

    assert {len(row.message) for row in Message.objects.all()} == {500_000}


# Statements and receivers


def test_each_range_takes_two_statements(people, batches_of_ten):
    found = statements(lambda: send_message(User.objects.all(), INFO, "Hello"))

    lock = ["UPDATE"] if connection.vendor == "sqlite" else []
    # On MariaDB, the keys are read first and then sent.
    copy = ["SELECT", "SET", "INSERT"] if MARIADB else ["INSERT"]
    assert found == [*lock, *["SELECT", *copy] * 3]
    assert owners() == keys_of(people)


def test_statement_count_does_not_depend_on_users(people):
    few = statements(lambda: send_message(User.objects.filter(pk=people[0].pk), INFO, "Hello"))
    many = statements(lambda: send_message(User.objects.all(), INFO, "Hello"))

    assert few == many


def test_rows_are_read_for_connected_receivers(people, batches_of_ten, listen):
    batches = listen()

    with transaction.atomic():
        send_message(User.objects.all(), INFO, "Hello")
    transaction.get_connection().run_on_commit.clear()

    assert batches == []
    assert owners() == keys_of(people)


def test_receivers_get_rows_after_commit(
    people, batches_of_ten, listen, django_capture_on_commit_callbacks
):
    batches = listen()

    with django_capture_on_commit_callbacks(execute=True):
        send_message(User.objects.all(), INFO, "Hello")

    assert [len(batch) for batch in batches] == [10, 10, 5]
    rows = [row.pk for batch in batches for row in batch]
    assert sorted(rows) == sorted(Message.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("wanted", [True, False])
def test_receiver_can_decline_by_wants(people, listen, wanted, django_capture_on_commit_callbacks):
    asked = []

    def wants(*, message, email):
        asked.append((message.message, email))
        return wanted

    batches = listen(wants=wants)

    with django_capture_on_commit_callbacks(execute=True):
        send_message(User.objects.all(), INFO, "Hello")

    assert asked == [("Hello", False)]
    assert len(batches) == int(wanted)
    assert owners() == keys_of(people)


@pytest.mark.parametrize("users", [User.objects.all, lambda: list(User.objects.all())])
@pytest.mark.parametrize("key", [None, "quota"])
def test_only_users_with_preferences_for_the_topic_get_rows(
    people, batches_of_ten, topic, listen, django_capture_on_commit_callbacks, users, key
):
    batches = listen(wants=lambda **_: False)
    Preference.objects.bulk_create(
        [
            Preference(user=people[3], topic=topic.name, in_inbox=False),
            Preference(user=people[15], topic=topic.name, mail="daily"),
            Preference(user=people[16], topic="other", in_inbox=False),
        ]
    )

    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            assert send_message(users(), INFO, "Hello", topic=topic, key=key) == 25

    assert {row.user for batch in batches for row in batch} == {people[3], people[15]}
    rows = Message.objects.exclude(user=people[3])
    assert set(rows.values_list("folder", "times")) == {(Folder.INBOX, 2 if key else 1)}
    assert rows.count() == (24 if key else 48)
    archived = Message.objects.filter(user=people[3])
    assert {row.folder for row in archived} == {Folder.ARCHIVE}
    assert {due.user for due in DueMail.objects.all()} == {people[15]}


def test_users_without_preferences_for_the_topic_cost_no_rows(people, batches_of_ten, topic):
    found = statements(lambda: send_message(User.objects.all(), INFO, "Hello", topic=topic))

    # One more query for each range than without a topic.
    assert found.count("INSERT") == 3
    assert found.count("SELECT") == (9 if MARIADB else 6)


def test_all_users_with_preferences_for_the_topic(people, batches_of_ten, topic):
    Preference.objects.bulk_create(
        Preference(user=person, topic=topic.name, in_inbox=False) for person in people
    )

    for users in (User.objects.all(), people):
        assert send_message(users, INFO, "Hello", topic=topic, key="quota") == 25
        assert send_message(users, INFO, "Hello", topic=topic) == 25

    assert set(Message.objects.values_list("folder", flat=True)) == {Folder.ARCHIVE}
    assert Message.objects.count() == 75


def test_topic_that_is_mailed_needs_rows(people, topic, monkeypatch):
    monkeypatch.setattr(topic, "mail", "daily")

    assert send_message(User.objects.all(), INFO, "Hello", topic=topic) == 25

    assert DueMail.objects.count() == 25


def test_mail_is_sent_to_each_user(people, mailoutbox, django_capture_on_commit_callbacks):
    User.objects.update(email="person@example.com")

    with django_capture_on_commit_callbacks(execute=True):
        send_message(User.objects.all(), INFO, "Hello", email=True)

    assert len(mailoutbox) == 25


# Kinds of querysets


def ranked():
    return User.objects.annotate(rank=Window(Rank(), order_by=F("username").desc()))


KINDS = {
    "all": (User.objects.all, range(25)),
    "ordered": (lambda: User.objects.order_by("-username"), range(25)),
    "sliced": (lambda: User.objects.order_by("-username")[2:15], range(10, 23)),
    "distinct": (User.objects.distinct, range(25)),
    "filtered": (lambda: User.objects.filter(username__endswith="3"), [3, 13, 23]),
    "joined": (lambda: User.objects.filter(groups__name__in=["One", "Two"]), range(12)),
    "joined and sliced": (
        lambda: User.objects.filter(groups__name__in=["One", "Two"]).order_by("username")[:14],
        range(7),
    ),
    "excluded": (lambda: User.objects.exclude(groups__name="One"), range(12, 25)),
    "counted": (
        lambda: User.objects.annotate(n=Count("groups")).filter(n__gt=1),
        range(12),
    ),
    "ranked": (lambda: ranked().filter(rank__lte=12), range(13, 25)),
    "existing": (
        lambda: User.objects.filter(~Exists(Group.objects.filter(name="Two", user=OuterRef("pk")))),
        range(12, 25),
    ),
    "of a group": (lambda: Group.objects.get(name="One").user_set.all(), range(12)),
    "union": (
        lambda: User.objects.filter(username__endswith="3").union(
            User.objects.filter(username__lt="person-05")
        ),
        [0, 1, 2, 3, 4, 13, 23],
    ),
    "difference": (
        lambda: User.objects.all().difference(User.objects.filter(username__gt="person-02")),
        range(3),
    ),
    "combined": (
        lambda: User.objects.filter(username="person-20") | User.objects.filter(groups__name="One"),
        [*range(12), 20],
    ),
    "keys": (lambda: User.objects.values_list("pk", flat=True), range(25)),
    "values": (lambda: User.objects.values("username"), range(25)),
    "parts of users": (lambda: User.objects.only("username"), range(25)),
    "with relations": (lambda: User.objects.prefetch_related("groups"), range(25)),
    "without notice": (lambda: User.objects.filter(persistent_messages=None), range(25)),
    "empty": (User.objects.none, []),
    "matching nobody": (lambda: User.objects.filter(username="nobody"), []),
}


@pytest.fixture
def groups(people):
    for name in ("One", "Two"):
        Group.objects.create(name=name).user_set.add(*people[:12])


@pytest.mark.parametrize("way", ["copies", "keyed copies", "rows", "steps"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_user_of_queryset_gets_one_message(people, groups, batches_of_ten, listen, kind, way):
    make, numbers = KINDS[kind]
    options = {
        "keyed copies": {"key": "quota"},
        "steps": {"atomic": False},
    }.get(way, {})
    if way == "rows":
        listen()

    assert send_message(make(), INFO, "Hello", **options) == len(numbers)

    assert owners() == [people[number].pk for number in numbers]


def test_distinct_on_queryset_is_supported(people):
    User.objects.filter(pk__gt=people[9].pk).update(last_name="Later")
    users = User.objects.order_by("last_name", "pk").distinct("last_name")

    if connection.features.can_distinct_on_fields:
        assert send_message(users, INFO, "Hello") == 2
        assert owners() == [people[0].pk, people[10].pk]
    else:
        with pytest.raises(NotSupportedError):
            send_message(users, INFO, "Hello")
        assert owners() == []


@pytest.mark.parametrize("way", [{}, {"key": "quota"}, {"atomic": False}])
def test_queryset_of_other_model_is_rejected(people, way):
    Group.objects.create(name="One")

    with pytest.raises(TypeError, match="users must be a queryset of users, not of Group"):
        send_message(Group.objects.all(), INFO, "Hello", **way)


@pytest.mark.parametrize("way", [{}, {"key": "quota"}, {"atomic": False}])
def test_users_are_read_from_database_of_messages(people, other_database, way):
    other_database("old")
    User.objects.using("old").create(username="of-the-other-database")

    users = User.objects.using("old").filter(username__contains="-")

    assert send_message(users, INFO, "Hello", **way) == 25
    assert owners() == keys_of(people)
    assert not Message.objects.using("old").exists()


def test_subquery_from_other_database_is_rejected(people, other_database):
    other_database("old")
    chosen = User.objects.using("old").values("pk")

    with pytest.raises(ValueError, match="different databases"):
        send_message(User.objects.filter(pk__in=chosen), INFO, "Hello")
    assert owners() == []


def test_failing_queryset_sends_nothing(people, batches_of_ten):
    users = User.objects.extra(where=["no_such_column = 1"])

    with pytest.raises(Exception, match="no_such_column"), transaction.atomic():
        send_message(users, INFO, "Hello")
    assert owners() == []


# Lists of users


@pytest.mark.parametrize("named", [list, iter, lambda users: [user.pk for user in users]])
@pytest.mark.parametrize("key", [None, "quota"])
def test_listed_users_get_copies(people, batches_of_ten, named, key):
    assert send_message(named(people), INFO, "Hello", key=key) == 25

    assert owners() == keys_of(people)


@pytest.fixture(params=["copies", "rows", "rows by topic"])
def way(request, listen, topic):
    """Return options of `send_message` by which copies or rows are inserted."""
    if request.param == "rows":
        listen()
    return {"topic": topic} if request.param == "rows by topic" else {}


@pytest.fixture
def leave(people, topic):
    """Return a function that deletes a user's account, who has preferences for the topic."""

    def leave(person):
        Preference.objects.create(user=person, topic=topic.name, mail="daily")
        User.objects.filter(pk=person.pk).delete()

    return leave


@pytest.mark.parametrize("key", [None, "quota"])
@pytest.mark.parametrize("some", [slice(25), slice(17, 18)])
def test_deleted_named_user_is_refused_and_nothing_is_sent(
    people, batches_of_ten, way, leave, key, some
):
    leave(people[17])

    with pytest.raises(ValueError, match=f"there is no user with the key {people[17].pk}"):
        send_message(people[some], INFO, "Hello", key=key, **way)
    assert owners() == []


def test_deleted_user_is_refused(people, leave, way):
    leave(people[17])

    with pytest.raises(ValueError, match=f"there is no user with the key {people[17].pk}"):
        send_message(people[17], INFO, "Hello", **way)
    assert owners() == []


# Keys


def times():
    return list(Message.objects.order_by("user").values_list("times", flat=True))


def test_keyed_notice_counts_per_user(people, batches_of_ten):
    for number in (3, 3, 12, 3):
        send_message(people[number], WARNING, "Before", key="quota")
    for _ in range(2):
        send_message(people[20:], WARNING, "Before", key="quota")

    assert send_message(User.objects.all(), WARNING, "Hello", key="quota") == 25

    assert times() == [1, 1, 1, 4, 1, 1, 1, 1, 1, 1, 1, 1, 2, *[1] * 7, *[3] * 5]
    assert set(Message.objects.values_list("message", "is_live", "key")) == {
        ("Hello", True, "quota")
    }


def test_renewed_notice_is_newest_and_unread(people):
    send_message(User.objects.all(), WARNING, "Before", key="quota")
    send_message(User.objects.all(), INFO, "Something else")
    mailbox.mark_read(people[4], Folder.INBOX, Message.objects.all())

    send_message(User.objects.all(), WARNING, "Hello", key="quota")

    rows = Message.objects.inbox_of(people[4]).order_by("-pk")
    assert [(row.message, row.read) for row in rows] == [("Hello", False), ("Something else", True)]


def test_archived_or_expired_notice_is_not_renewed(people):
    past = timezone.now() - timedelta(days=1)
    send_message(User.objects.filter(pk=people[0].pk), WARNING, "Old", key="quota", expires=past)
    send_message(people[1:], WARNING, "Old", key="quota")
    mailbox.archive(people[1], Folder.INBOX, Message.objects.all())

    send_message(User.objects.all(), WARNING, "Hello", key="quota")

    found = Message.objects.filter(message="Hello").order_by("user")
    assert [row.times for row in found] == [1, 1, *[2] * 23]
    assert [row.user for row in Message.objects.filter(message="Old")] == [people[1]]


def test_renewal_within_interval_changes_only_text_and_count(people):
    send_message(people[:10], WARNING, "Before", key="quota")
    Message.objects.filter(user=people[0]).update(created=timezone.now() - timedelta(hours=2))
    before = list(Message.objects.order_by("user").values_list("pk", flat=True))
    new = new_message(WARNING, "Hello", key="quota")

    count = mailbox.deliver_to(User.objects.all(), new, min_interval=timedelta(hours=1))

    assert count == 25
    after = list(Message.objects.order_by("user").values_list("pk", flat=True))
    assert [old in after for old in before] == [False, *[True] * 9]
    assert set(Message.objects.values_list("message", flat=True)) == {"Hello"}
    assert times() == [*[2] * 10, *[1] * 15]


def test_statement_count_of_keyed_send_is_limited(people):
    send_message(User.objects.all(), WARNING, "Before", key="quota")

    found = statements(lambda: send_message(User.objects.all(), WARNING, "Hello", key="quota"))

    assert len(found) <= 7
    assert found.count("INSERT") == found.count("DELETE") == 1


# Progress, and batches with their own transactions


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("key", [None, "quota"])
def test_progress_is_called_after_each_batch(people, batches_of_ten, atomic, key):
    told = []

    send_message(User.objects.all(), INFO, "Hi", progress=told.append, atomic=atomic, key=key)
    send_message(people, INFO, "Hi", progress=told.append, atomic=atomic, key=key)
    send_message(User.objects.none(), INFO, "Hi", progress=told.append, atomic=atomic, key=key)

    assert told == [10, 20, 25] * 2


def test_progress_must_be_callable(people):
    with pytest.raises(TypeError, match="progress must be callable, not 'yes'"):
        send_message(people, INFO, "Hi", progress="yes")
    assert owners() == []


@pytest.mark.parametrize(("atomic", "left"), [(True, 0), (False, 20)])
@pytest.mark.parametrize("key", [None, "quota"])
def test_error_keeps_nothing_or_whole_batches(people, batches_of_ten, atomic, left, key):
    def stop(count):
        if count == 20:
            raise LookupError("Enough")

    with pytest.raises(LookupError, match="Enough"):
        send_message(User.objects.all(), INFO, "Hi", progress=stop, atomic=atomic, key=key)
    assert owners() == keys_of(people[:left])


def test_unknown_user_keeps_previous_batches(people, batches_of_ten):
    with pytest.raises(ValueError, match="no user with the key"):
        send_message([*people, people[-1].pk + 1000], INFO, "Hi", atomic=False)

    assert owners() == keys_of(people[:20])


def test_partial_keyed_send_can_be_repeated_without_duplicates(people, batches_of_ten):
    def stop(count):
        raise LookupError

    with pytest.raises(LookupError):
        send_message(User.objects.all(), INFO, "Hi", key="news", atomic=False, progress=stop)

    assert send_message(User.objects.all(), INFO, "Hi", key="news", atomic=False) == 25
    assert owners() == keys_of(people)


def test_non_atomic_send_is_rejected_in_transaction(people):
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        send_message(User.objects.all(), INFO, "Hi", atomic=False)
    assert owners() == []


@pytest.mark.django_db(transaction=True)
def test_non_atomic_send_commits_and_signals_each_batch(people, batches_of_ten, listen):
    batches, seen = listen(), []

    def look(count):
        assert not connection.in_atomic_block
        seen.append((count, sum(map(len, batches))))

    send_message(User.objects.all(), INFO, "Hi", atomic=False, progress=look)

    assert seen == [(10, 10), (20, 20), (25, 25)]


@pytest.mark.django_db(transaction=True)
def test_atomic_send_signals_after_final_commit(people, batches_of_ten, listen):
    batches, seen = listen(), []

    send_message(
        User.objects.all(), INFO, "Hi", progress=lambda count: seen.append((count, len(batches)))
    )

    assert seen == [(10, 0), (20, 0), (25, 0)]
    assert len(batches) == 3
