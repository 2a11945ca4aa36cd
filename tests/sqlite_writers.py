"""Eight threads that write to SQLite with the settings of `startproject`.

Run it with the path of a database file. Prints the number of writes, and the errors of the others.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import django
from django.conf import settings

from demo import settings as demo

THREADS, TIMES = 8, 4


def set_up(path):
    names = [name for name in dir(demo) if name.isupper()]
    given = {name: getattr(demo, name) for name in names}
    # The default timeout, transaction mode and journal mode.
    given["DATABASES"] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path}}
    given["PERSISTENT_MESSAGES"] = {"LETTERS": True, "SEND_RATE": None}
    settings.configure(**given)
    django.setup()


def writes_of(people, hand):
    from persistent_messages import INFO, Folder, mailbox, send_letter, send_message
    from persistent_messages.models import Message

    mine, other = people[hand], people[hand + THREADS]
    both = type(mine).objects.filter(pk__in=[mine.pk, other.pk])
    rows = Message.objects
    return [
        lambda: send_message([mine.pk, other.pk], INFO, "By their keys"),
        lambda: send_message((user for user in (mine, other)), INFO, "By a generator"),
        lambda: send_message(both, INFO, "By a queryset"),
        lambda: send_letter(mine, other, "", "A letter"),
        lambda: mailbox.mark_read(other, Folder.INBOX, rows.all()),
        lambda: mailbox.delete(mine, Folder.INBOX, rows.all()),
        lambda: mailbox.delete(other, Folder.INBOX, rows.letters()),
    ]


def error_of(write):
    try:
        write()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main(path):
    set_up(path)
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0)
    model = get_user_model()
    model.objects.bulk_create(model(username=f"person-{number}") for number in range(2 * THREADS))
    people, start = list(model.objects.order_by("pk")), Barrier(THREADS)

    def work(hand):
        start.wait(timeout=60)
        errors = [error_of(write) for write in writes_of(people, hand) * TIMES]
        connections.close_all()
        return errors

    with ThreadPoolExecutor(THREADS) as pool:
        errors = [error for errors in pool.map(work, range(THREADS)) for error in errors]
    print(errors.count(""), sorted({*errors} - {""}))


if __name__ == "__main__":
    main(sys.argv[1])
