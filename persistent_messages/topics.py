"""Topics of notices, such as billing."""

from __future__ import annotations

import re
from typing import Any

TOPIC_LENGTH = 50
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

NOW, UNREAD, DAILY, WEEKLY, NEVER = "now", "unread", "daily", "weekly", "never"
MAIL_CHOICES = (NOW, UNREAD, DAILY, WEEKLY, NEVER)
"""How a message is mailed: at once, if unread after EMAIL_DELAY, in a digest, or never."""

LETTERS = "_letters"
"""The topic of letters between users. A registered topic cannot have this name."""
OTHERS = ""
"""The topic of notices without a topic."""
MAIL = "_mail"
"""Used instead of a topic in preferences for all mail."""

topics: dict[str, Topic] = {}
"""The topics of the site by name, in the order of registration."""


class Topic:
    """A subject of notices, such as billing. Creating a topic registers it.

    If a name is registered again, the later topic is used, so a site can rename a topic of an app.
    """

    def __init__(
        self, name: str, label: Any, *, mandatory: bool = False, mail: str | None = None
    ) -> None:
        """Register the topic `name`, which is shown to users as `label`.

        `name` is used in URLs and in the database. Users cannot turn off a `mandatory` topic in the
        inbox. `mail` is how notices of the topic are mailed to users who have not chosen: "now",
        "unread" (if unread after EMAIL_DELAY), "daily", "weekly" or "never". With None, notices
        sent with `email=True` are mailed at once, and no others. Raises `TypeError` or
        `ValueError`.
        """
        if not isinstance(name, str):
            raise TypeError(f"A topic's name must be a str, not {name!r}.")
        if not _NAME.fullmatch(name) or len(name) > TOPIC_LENGTH:
            raise ValueError(
                f"A topic's name must be at most {TOPIC_LENGTH} lowercase letters, digits, "
                f"hyphens and underscores, and not begin with the last two; not {name!r}."
            )
        if not label:
            raise ValueError(f"The topic {name!r} needs a label.")
        if mail is not None and mail not in MAIL_CHOICES:
            raise ValueError(
                f"mail must be one of {', '.join(MAIL_CHOICES)}, or None; not {mail!r}."
            )
        self.name = name
        self.label = label
        self.mandatory = bool(mandatory)
        self.mail = mail
        topics[name] = self

    def __str__(self) -> str:
        return str(self.label)

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"


def topic_label(name: str) -> str:
    """Return the label of the topic `name`, or `name` itself if it is not registered."""
    return str(topics[name]) if name in topics else name
