"""Messages to many users beside concurrent writes."""

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, transaction

from persistent_messages import INFO, WARNING, Folder, Topic, send_message
from persistent_messages.mailbox import delivery, recipients
from persistent_messages.mailbox.deadlocks import is_deadlock
from persistent_messages.models import Message, Preference
from persistent_messages.topics import topics
from tests.parallel import run_concurrently

pytestmark = pytest.mark.django_db(transaction=True)
User = get_user_model()


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(delivery, "RANGE_SIZE", 7)
    monkeypatch.setattr(delivery, "BATCH_SIZE", 5)
    monkeypatch.setattr(recipients, "PAGE_SIZE", 8)


@pytest.fixture
def people():
    User.objects.bulk_create(User(username=f"person-{n:02}") for n in range(40))
    return list(User.objects.order_by("pk"))


@pytest.fixture(params=["copies", "rows", "both"])
def topic(request, people):
    """A topic whose notices are copied, made in Python, or either, by preferences."""
    if request.param == "copies":
        yield ""
        return
    Preference.objects.bulk_create(
        Preference(user=person, topic="weather", mail="daily") for person in people[::3]
    )
    yield Topic("weather", "Weather", mail="daily" if request.param == "rows" else None)
    topics.pop("weather")


def send_to_all(**options):
    return lambda: send_message(User.objects.all(), WARNING, "Hello", **options)


def retry_on_error(write):
    """Retry a site's own transaction after a deadlock."""

    def attempts():
        for _ in range(30):
            if (code := error_of(write)) is None:
                return
            codes.add(code)
        raise AssertionError(codes)

    codes = set()
    attempts.codes = codes
    return attempts


def error_of(write):
    try:
        with transaction.atomic():
            write()
    except OperationalError as error:
        if not is_deadlock(error):
            raise
        return error.args[0]
    return None


def interleave(*kinds):
    return [task for tasks in zip(*kinds, strict=True) for task in tasks]


@pytest.mark.parametrize("atomic", [True, False])
def test_concurrent_sends_reach_all_users(people, atomic):
    assert run_concurrently([send_to_all(atomic=atomic)] * 20) == [40] * 20

    assert Message.objects.count() == 800
    rows = Message.objects.values("user").distinct()
    assert rows.count() == 40


@pytest.mark.parametrize("key", [None, "quota"])
def test_concurrent_sends_in_different_orders_do_not_deadlock(people, key, topic):
    """This matters in a transaction of the site, where a deadlock cannot be retried."""

    def send_to(users):
        def send():
            with transaction.atomic():
                return send_message(users, WARNING, "Hello", key=key, topic=topic)

        return send

    sends = interleave([send_to(people)] * 6, [send_to(people[::-1])] * 6)

    assert run_concurrently(sends) == [40] * 12


@pytest.mark.parametrize("atomic", [True, False])
def test_concurrent_keyed_sends_are_counted(people, atomic):
    def named(users):
        return lambda: send_message(users, WARNING, "Hello", key="quota", atomic=atomic)

    kinds = send_to_all(key="quota", atomic=atomic), named(people), named(people[5:25])

    results = run_concurrently(interleave(*([kind] * 3 for kind in kinds)))

    assert sorted(results) == [20] * 3 + [40] * 6
    rows = list(Message.objects.order_by("user"))
    assert [row.user for row in rows] == people
    assert [row.times for row in rows] == [6] * 5 + [9] * 20 + [6] * 15


def test_concurrent_keyed_sends_leave_one_notice_in_archive(people, topic):
    Preference.objects.update(in_inbox=False)

    run_concurrently([send_to_all(key="quota", topic=topic)] * 30)

    archiving = people[::3] if topic else []
    assert [row.user for row in Message.objects.order_by("user", "pk")] == people
    archived = Message.objects.filter(folder=Folder.ARCHIVE).order_by("user")
    assert [row.user for row in archived] == archiving


@pytest.mark.parametrize("key", [None, "quota"])
@pytest.mark.parametrize("atomic", [True, False])
def test_concurrent_account_deletion_does_not_break_send(people, key, atomic, topic):
    send_to_all(key="quota", topic=topic)()
    deletions = [retry_on_error(User.objects.get(pk=person.pk).delete) for person in people[::2]]
    sends = [send_to_all(key=key, topic=topic, atomic=atomic)] * 5

    results = run_concurrently(interleave(*(deletions[n::4] for n in range(4)), sends))

    sent = [result for result in results if isinstance(result, int)]
    assert len(sent) == 5
    assert all(20 <= count <= 40 for count in sent)
    assert list(User.objects.order_by("pk")) == people[1::2]
    assert {row.user for row in Message.objects.all()} == set(people[1::2])


def test_concurrent_send_causes_no_error_1467_in_single_sends(people):
    """On MariaDB, an INSERT ... SELECT would make them fail with error 1467."""

    def one_by_one(some):
        def write():
            for person in some:
                User.objects.filter(pk=person.pk).update(first_name="Changed")
                Message.objects.create(user=person, level=INFO, message="One")

        return retry_on_error(write)

    singles = [one_by_one(people[number::8]) for number in range(8)]

    run_concurrently(interleave(singles, [send_to_all()] * 8))

    assert Message.objects.count() == 8 * 40 + 40
    assert 1467 not in set().union(*(single.codes for single in singles))
