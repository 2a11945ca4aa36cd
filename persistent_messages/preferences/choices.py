"""Read and write preferences. Rows are sparse: the site's defaults are not stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections, router, transaction
from django.db.models import QuerySet
from django.utils import timezone

from persistent_messages.conf import get_config
from persistent_messages.models import Preference
from persistent_messages.topics import LETTERS, MAIL, NEVER, NOW, OTHERS, topics

CHANNELS = ("inbox", "mail")


class Choice(NamedTuple):
    """A user's preferences for one topic."""

    in_inbox: bool = True
    mail: str = ""
    """One of `MAIL_CHOICES`; "" for the site's default."""


class Pause(NamedTuple):
    """A pause of all mail to a user."""

    until: datetime | None
    """None if mail to the address was returned, until the user ends the pause."""


class Choices:
    """The preferences of some users for some topics."""

    def __init__(self, rows: Collection[tuple[Any, str, bool, str, datetime | None]]) -> None:
        now = timezone.now()
        self._chosen: dict[tuple[Any, str], Choice] = {}
        self._pauses: dict[Any, Pause] = {}
        for user_id, topic, in_inbox, mail, until in rows:
            if topic != MAIL:
                self._chosen[user_id, topic] = Choice(in_inbox, mail)
            elif until is None or until > now:
                self._pauses[user_id] = Pause(until)

    def chosen(self, user_id: Any, topic: str) -> Choice:
        """Return the user's preferences for `topic`, or the defaults."""
        return self._chosen.get((user_id, topic), Choice())

    def is_in_inbox(self, user_id: Any, topic: str) -> bool:
        """Return whether notices of `topic` go to the inbox of the user."""
        return not may_leave_inbox(topic) or self.chosen(user_id, topic).in_inbox

    def mail(self, user_id: Any, topic: str, *, email: bool) -> str:
        """Return how a message of `topic` is mailed to the user, one of `MAIL_CHOICES`.

        `email` says whether it was sent with `email=True`. Pauses are not considered.
        """
        if topic == OTHERS and not email:
            return NEVER
        return self.chosen(user_id, topic).mail or default_mail(topic) or (NOW if email else NEVER)

    def pause_of(self, user_id: Any) -> Pause | None:
        """Return the current pause of mail to the user, or None."""
        return self._pauses.get(user_id)


def choices_of(users: Collection[Any], about: Collection[str], using: str) -> Choices:
    """Return the preferences of the users with these keys for the topics `about`; one query."""
    rows = Preference.objects.using(using).filter(user__in=users, topic__in={*about, MAIL})
    return Choices(rows.values_list("user_id", "topic", "in_inbox", "mail", "until"))


def users_who_chose(topic: str, using: str) -> QuerySet[Preference, Any]:
    """Return the keys of the users with preferences for `topic`, as a subquery."""
    return Preference.objects.using(using).filter(topic=topic).values("user")


def topic_of(message: Any) -> str:
    """Return the topic whose preferences apply to `message`; `OTHERS` if it has none."""
    if message.letter is not None:
        return LETTERS
    return message.topic if message.topic in topics else OTHERS


def default_mail(topic: str) -> str:
    """Return how messages of `topic` are mailed to users who have not chosen.

    "" means that only messages sent with `email=True` are mailed, at once.
    """
    if topic == LETTERS:
        return get_config().MAIL_LETTERS
    return (topics[topic].mail or "") if topic in topics else ""


def may_leave_inbox(topic: str) -> bool:
    """Return whether users may turn off the inbox for `topic`, so that it is archived at once."""
    return topic in topics and not topics[topic].mandatory


def known_topics() -> list[str]:
    """Return the topics on the preferences page in their order; `OTHERS` is last."""
    return [*topics, *([LETTERS] if get_config().LETTERS else []), OTHERS]


def wants(user_id: Any, topic: Any, channel: str) -> bool:
    """Implement `api.wants` for the user with this key."""
    if channel not in CHANNELS:
        raise ValueError(f"channel must be one of {', '.join(CHANNELS)}, not {channel!r}.")
    name = getattr(topic, "name", topic)
    if name not in (*topics, LETTERS, OTHERS):
        known = ", ".join(map(repr, topics)) or "none"
        raise ValueError(f"topic must be registered, not {name!r}; known: {known}.")
    choices = choices_of([user_id], [name], primary())
    if channel == "inbox":
        return choices.is_in_inbox(user_id, name)
    return choices.pause_of(user_id) is None and choices.mail(user_id, name, email=True) != NEVER


def export(user_id: Any) -> dict[str, Any]:
    """Implement `api.export_preferences` for the user with this key."""
    rows = _rows_of(user_id).order_by("topic")
    pauses = [row.until for row in rows if row.topic == MAIL]
    return {
        "mail_is_paused": bool(pauses),
        "mail_is_paused_until": pauses[0].isoformat() if pauses and pauses[0] else None,
        "topics": [
            {"topic": row.topic.lstrip("_"), "in_inbox": row.in_inbox, "mail": row.mail or None}
            for row in rows
            if row.topic != MAIL
        ],
    }


def save(user: Any, chosen: Mapping[str, Choice]) -> None:
    """Store the preferences of `user` for the topics in `chosen`. At most two statements."""
    rows = [
        Preference(user_id=user.pk, topic=topic, in_inbox=choice.in_inbox, mail=choice.mail)
        for topic, choice in chosen.items()
        if choice != Choice()
    ]
    stored = {row.topic for row in rows}
    with transaction.atomic(using=primary()):
        _rows_of(user.pk).filter(topic__in=chosen.keys() - stored).delete()
        _upsert(rows, ["in_inbox", "mail"])


def never_mail(user_id: Any, about: Collection[str]) -> None:
    """Turn off mail for the topics `about` for the user with this key. One statement."""
    _upsert([Preference(user_id=user_id, topic=topic, mail=NEVER) for topic in about], ["mail"])


def pause(users: Collection[Any], until: datetime | None) -> None:
    """Pause all mail to the users with these keys; None: until they end it. One statement."""
    _upsert(
        [Preference(user_id=key, topic=MAIL, mail=NEVER, until=until) for key in users], ["until"]
    )


def resume(user: Any) -> None:
    """End the pause of mail to `user`. One statement."""
    _rows_of(user.pk).filter(topic=MAIL).delete()


def replica() -> str:
    """Return the alias of the database that preferences are read from."""
    return router.db_for_read(Preference)


def primary() -> str:
    """Return the alias of the database that preferences are written to."""
    return router.db_for_write(Preference)


def _rows_of(user_id: Any) -> QuerySet[Preference]:
    return Preference.objects.using(primary()).filter(user=user_id)


def _upsert(rows: list[Preference], changed: list[str]) -> None:
    if not rows:
        return
    features = connections[primary()].features
    # MariaDB does not take the fields; it uses any unique constraint, and there is only one.
    fields = ["user", "topic"] if features.supports_update_conflicts_with_target else None
    Preference.objects.using(primary()).bulk_create(
        rows, update_conflicts=True, update_fields=changed, unique_fields=fields
    )
