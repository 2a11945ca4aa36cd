"""Signals. All are sent after the transaction that wrote the rows has committed.

Errors in receivers are logged, and stop neither other receivers nor the request.
"""

from __future__ import annotations

from typing import Any, Final

from django.dispatch import Signal


class DeliverySignal(Signal):
    """A signal for new rows, which are only read if a receiver wants them.

    A receiver may have an attribute `wants`, a function that takes the arguments of `is_wanted` and
    returns whether the receiver wants the rows. A receiver without it wants all rows.
    """

    def is_wanted(self, sender: Any, **named: Any) -> bool:
        """Return whether any receiver wants the rows described by `named`."""
        receivers = [each for kind in self._live_receivers(sender) for each in kind]
        wishes = (getattr(receiver, "wants", None) for receiver in receivers)
        return any(wants is None or wants(**named) for wants in wishes)


messages_delivered: Final = DeliverySignal()
"""Rows were added. `sender` is the model, `messages` the list of rows of one batch, and `email`
says whether the caller asked to mail them. With a receiver, messages to many users are created in
Python; without one, the database copies them itself."""

messages_copied: Final = Signal()
"""The database copied a message into many mailboxes, so no rows were read. `sender` is the model,
and `user_ids` the list of the owners' keys, or None if they are not known."""

mail_due: Final = DeliverySignal()
"""Mail is to be sent now. `sender` is the model, `mails` a list of pairs of a `DueMail` and its
message, and `claim` the claim of these rows. The `DueMail` of a one-shot message is not stored."""

mailbox_changed: Final = Signal()
"""Rows of one mailbox were changed. `sender` is the model, `user_id` the owner's key, and `count`
the number of rows, never 0. `action` is "read", "unread", "move", "restore", "delete" or "undo";
"resolve" or "edit" if the site removed or changed notices; or "erase" if the mailbox was erased."""

letter_sent: Final = Signal()
"""A letter was sent. `sender` is the model, `letter` the sender's copy, and `messages` the list of
recipients' rows, for which `messages_delivered` is also sent."""

letter_reported: Final = Signal()
"""A recipient reported a letter. `sender` is the model `Report`, and `report` the row."""
