"""Fill the mailboxes for the benchmarks, mostly in the database itself."""

from django.contrib.auth import get_user_model
from django.db import connection

from persistent_messages import INFO
from persistent_messages.constants import Folder
from persistent_messages.models import Message

OTHERS = 10_000
OF_OTHERS = 100_000
SEED = 1000
TEXT = "Filters keep their place when you go back. Exports are twice as quick as they were."


def fill(sizes):
    """Create 10,000 users with 100,000 messages, and for each size an owner of so many unread ones.

    Returns the owners by size.
    """
    people = get_user_model()
    people.objects.bulk_create(
        (people(username=f"person-{number}") for number in range(min(OTHERS, 10 * max(sizes)))),
        batch_size=5000,
    )
    others = list(people.objects.values_list("pk", flat=True))
    per_person = OF_OTHERS // OTHERS
    Message.objects.bulk_create(
        (row(key, number) for number in range(per_person) for key in others), batch_size=5000
    )
    owners = {}
    for size in sizes:
        owners[size] = people.objects.create(username=f"owner-of-{size}")
        _multiply(owners[size].pk, size)
    _look_around()
    return owners


def row(owner, number=0):
    """Return an unsaved message."""
    return Message(
        user_id=owner, folder=Folder.INBOX, level=INFO, subject=f"Number {number}", message=TEXT
    )


def fill_users(count):
    """Add `count` users, doubling their number with each INSERT."""
    people = get_user_model()
    people.objects.bulk_create(
        people(username=f"user{number}") for number in range(min(count, SEED))
    )
    table = connection.ops.quote_name(people._meta.db_table)
    fields = [field for field in people._meta.concrete_fields if not field.primary_key]
    names = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    while (there := people.objects.filter(username__startswith="user").count()) < count:
        # Make unique usernames by appending a suffix that no username has yet.
        new = (
            f"CONCAT(username, '-{there}')"
            if connection.vendor == "mysql"
            else f"username || '-{there}'"
        )
        values = ", ".join(
            new if field.column == "username" else connection.ops.quote_name(field.column)
            for field in fields
        )
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} "
                "WHERE username LIKE %s LIMIT %s",
                ["user%", count - there],
            )
    _look_around()


def _multiply(owner, size):
    Message.objects.bulk_create(row(owner, number) for number in range(min(size, SEED)))
    names = [
        connection.ops.quote_name(field.column)
        for field in Message._meta.concrete_fields
        if not field.primary_key
    ]
    table, columns = connection.ops.quote_name(Message._meta.db_table), ", ".join(names)
    while (count := Message.objects.filter(user=owner).count()) < size:
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} "
                "WHERE user_id = %s LIMIT %s",
                [owner, size - count],
            )


def _look_around():
    # Update the statistics, as the database does by itself sooner or later.
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")
        elif connection.vendor == "sqlite":
            cursor.execute("PRAGMA optimize")
