"""Transactions: which one is open."""

from __future__ import annotations

from typing import Any

from django.db import connections


def outermost_transaction(using: str) -> Any:
    """Return the outermost `atomic` block that is open, None for none. No query.

    It may be a key of a dictionary with weak keys. A function that `atomic` decorates has the same
    block each time.
    """
    blocks = connections[using].atomic_blocks
    return blocks[0] if blocks else None
