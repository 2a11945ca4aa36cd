"""Topics: what the notices of a site are about, by names that people understand."""

from __future__ import annotations

import re
from typing import Any

TOPIC_LENGTH = 50
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

NOW, UNREAD, DAILY, WEEKLY, NEVER = "now", "unread", "daily", "weekly", "never"
MAIL_CHOICES = (NOW, UNREAD, DAILY, WEEKLY, NEVER)
"""How a message is mailed: at once, if it is unread after EMAIL_DELAY, in a digest, or not."""

LETTERS = "_letters"
"""The topic of letters between users. No topic that is registered has such a name."""
OTHERS = ""
"""The topic of notices without one."""
MAIL = "_mail"
"""Stands in the place of a topic for all mail."""

topics: dict[str, Topic] = {}
"""The topics of the site by their names, in the order in which they were registered."""


class Topic:
    """What some notices are about, such as billing. Creating a topic registers it.

    If a name is registered again, the later label is used, so a site can rename a topic of an app.
    """

    def __init__(
        self, name: str, label: Any, *, mandatory: bool = False, mail: str | None = None
    ) -> None:
        """Register the topic `name`, which people read as `label`.

        `name` is used in addresses and in the database. The notices of a `mandatory` topic are
        shown in every inbox; of others, users choose. `mail` is how all notices of the topic are
        mailed to users who have not chosen: "now", "unread" (if unread after EMAIL_DELAY), "daily",
        "weekly" or "never"; None: those sent with `email=True` at once, and no others. Raises
        `TypeError` or `ValueError`.
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
    """Return what people read of the topic `name`: "" for none, its name if it is unknown."""
    return str(topics[name]) if name in topics else name
