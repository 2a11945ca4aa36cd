"""A process that sends a message to all users in small batches, until it is killed.

Prints the number of users after each batch. The arguments are "atomic" or "steps", and the key of
the message.
"""

import sys

import django


def main(way, key):
    django.setup()
    from django.contrib.auth import get_user_model

    from persistent_messages import INFO, send_message
    from persistent_messages.mailbox import delivery

    delivery.BATCH_SIZE = delivery.RANGE_SIZE = 5
    users = get_user_model().objects.all()

    def say(count):
        print(count, flush=True)

    send_message(users, INFO, "Hello", key=key or None, atomic=way == "atomic", progress=say)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
