"""What a site may listen to. All are sent after the transaction that wrote the rows has committed.

A receiver that raises is logged by Django and stops neither the others nor the request.
"""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

messages_delivered: Final = Signal()
"""Rows were added. `sender` is the model; `messages` the list of rows, one batch of one statement;
`email` whether the caller asked to mail them too."""

mailbox_changed: Final = Signal()
"""Rows of one mailbox were marked or moved. `sender` is the model; `user_id` the owner's key;
`action` one of "read", "unread", "move", "restore", "delete", "undo"; `count` how many, never 0."""

letter_sent: Final = Signal()
"""A letter was sent. `sender` is the model; `letter` the row in the mailbox of who sent it;
`messages` the list of rows of its recipients, for which `messages_delivered` is sent too."""

letter_reported: Final = Signal()
"""A recipient reported a letter. `sender` is the model `Report`; `report` the row."""
