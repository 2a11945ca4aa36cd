"""The open transaction."""

from __future__ import annotations

from typing import Any

from django.db import connections


def outermost_transaction(using: str) -> Any:
    """Return the outermost open `atomic` block, or None. No query.

    It can be a key of a `WeakKeyDictionary`. A function decorated with `atomic` uses the same block
    in every call.
    """
    blocks = connections[using].atomic_blocks
    return blocks[0] if blocks else None
