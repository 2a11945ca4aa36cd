"""The storage backend for `django.contrib.messages`: its database and browser halves."""

from .database import PersistentMessageStorage

__all__ = ["PersistentMessageStorage"]
