"""The storage backend of `django.contrib.messages`: in the database, in the browser."""

from .database import PersistentMessageStorage

__all__ = ["PersistentMessageStorage"]
