"""What a site may listen to. All are sent after the transaction that wrote the rows has committed.

A receiver that raises is logged by Django and stops neither the others nor the request.
"""

from __future__ import annotations

from typing import Any, Final

from django.dispatch import Signal


class DeliverySignal(Signal):
    """A signal about new rows, which are not even read where no receiver wants them.

    A receiver with an attribute `wants`, a function of the arguments of `is_wanted`, wants those
    for which it returns True; one without wants all.
    """

    def is_wanted(self, sender: Any, **named: Any) -> bool:
        """Tell whether a receiver wants rows that are described by `named`."""
        receivers = [each for kind in self._live_receivers(sender) for each in kind]
        wishes = (getattr(receiver, "wants", None) for receiver in receivers)
        return any(wants is None or wants(**named) for wants in wishes)


messages_delivered: Final = DeliverySignal()
"""Rows were added. `sender` is the model; `messages` the list of rows, one batch of one statement;
`email` whether the caller asked to mail them too. A receiver has all rows read that are sent to
many users at once; without any, the database copies them itself."""

mail_due: Final = Signal()
"""Mail is to be sent at once. `sender` is the model; `mails` the list of pairs of a `DueMail`,
which is not stored where the message is shown once, and its message; `claim` that of these rows."""

mailbox_changed: Final = Signal()
"""Rows of one mailbox were marked or moved. `sender` is the model; `user_id` the owner's key;
`action` one of "read", "unread", "move", "restore", "delete", "undo", or "resolve" where the site
removed notices, "edit" where it changed them, "erase" where it erased the mailbox; `count` how
many, never 0."""

letter_sent: Final = Signal()
"""A letter was sent. `sender` is the model; `letter` the row in the mailbox of who sent it;
`messages` the list of rows of its recipients, for which `messages_delivered` is sent too."""

letter_reported: Final = Signal()
"""A recipient reported a letter. `sender` is the model `Report`; `report` the row."""
