"""Who may write to whom, and how often. Both the forms and the API use this module."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.db.models import Exists, Manager, OuterRef, QuerySet
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from persistent_messages.conf import get_config, naming
from persistent_messages.db.times import after, ago
from persistent_messages.exceptions import LetterRefused
from persistent_messages.mailbox import locks
from persistent_messages.models import Block, Message
from persistent_messages.users.accounts import has_user_field
from persistent_messages.users.names import addressable_name
from persistent_messages.users.usernames import find_by_username


def active_users(user: Any) -> QuerySet[Any]:  # noqa: ARG001 (the signature of RECIPIENTS)
    """Return all active users; the default of the setting RECIPIENTS. Lazy."""
    people = get_user_model()._default_manager.all()
    return people.filter(is_active=True) if has_user_field("is_active") else people


def possible_recipients(user: Any) -> QuerySet[Any]:
    """Return the active users that RECIPIENTS allows for `user`, without `user`; lazy.

    Blocks are not considered.
    """
    allowed = get_config().call("RECIPIENTS", user)
    with naming("RECIPIENTS"):
        if not isinstance(allowed, (QuerySet, Manager)):
            raise TypeError(f"it must return a QuerySet, not {allowed!r}.")
        if has_user_field("is_active"):
            allowed = allowed.filter(is_active=True)
        people: QuerySet[Any] = allowed.exclude(pk=user.pk)
    return people


def allowed_recipients(user: Any) -> QuerySet[Any]:
    """Return the users that `user` may write to; lazy.

    These are `possible_recipients()` without users who blocked `user` or whom `user` blocked.
    """
    blocks, person = Block.objects.all(), OuterRef("pk")
    # A lookup in the index for each user, because a user may have thousands of blocks.
    return possible_recipients(user).filter(
        ~Exists(blocks.filter(user=user.pk, blocked=person)),
        ~Exists(blocks.filter(user=person, blocked=user.pk)),
    )


def _allowed_recipients_on_primary(user: Any) -> QuerySet[Any]:
    # A replica may not have the latest blocks.
    people = allowed_recipients(user)
    return people.using(router.db_for_write(people.model))


def find_recipients(user: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the users with the typed usernames `names` that `user` may write to, by name.

    Usernames are matched as by Django's log-in, see `find_by_username`; three queries. A missing
    user is unknown, inactive, not allowed or blocked. The result does not reveal which.
    """
    people = possible_recipients(user)
    people = people.using(router.db_for_write(people.model))
    found = find_by_username(people, names)
    reached = {person.pk for person in without_blocked(user, found.values())}
    return {name: person for name, person in found.items() if person.pk in reached}


def includes_self(user: Any, names: Iterable[str]) -> bool:
    """Return whether one of the typed usernames `names` is that of `user`; one query."""
    people = get_user_model()._base_manager
    return bool(
        find_by_username(people.using(router.db_for_write(people.model)).filter(pk=user.pk), names)
    )


def without_blocked(user: Any, people: Iterable[Any]) -> list[Any]:
    """Return those of `people` who neither blocked `user` nor are blocked; two queries.

    The queries are made even if `people` is empty, so that they do not reveal who exists.
    """
    found = {person.pk: person for person in people}
    keys = [user.pk, *found]
    blocks = Block.objects.using(router.db_for_write(Block))
    blocked = blocks.filter(user=user.pk, blocked__in=keys).values_list("blocked", flat=True)
    blocking = blocks.filter(user__in=keys, blocked=user.pk).values_list("user", flat=True)
    excluded = {*blocked, *blocking}
    return [person for key, person in found.items() if key not in excluded]


def blocked_by(user: Any, people: Iterable[Any]) -> set[Any]:
    """Return the keys of `people` that `user` has blocked; one query."""
    keys = [user.pk, *(person.pk for person in people)]
    blocks = Block.objects.filter(user=user.pk, blocked__in=keys)
    return set(blocks.values_list("blocked", flat=True))


def check_may_send(user: Any, recipients: Collection[Any]) -> None:
    """Raise `LetterRefused` unless `user` may write to `recipients` now; at most two queries.

    The error is the same for every unreachable user, whatever the reason.
    """
    if not recipients:
        raise LetterRefused("to_users", _("Add at least one recipient."))
    if len(recipients) > get_config().MAX_RECIPIENTS:
        raise LetterRefused("to_users", recipient_limit_text())
    if any(person.pk == user.pk for person in recipients):
        raise LetterRefused("to_users", _("You can’t send a message to yourself."))
    keys = [person.pk for person in recipients]
    reached = set(
        _allowed_recipients_on_primary(user).filter(pk__in=keys).values_list("pk", flat=True)
    )
    for person in recipients:
        if person.pk not in reached:
            raise LetterRefused("to_users", undeliverable_text(addressable_name(person)))
    retry_at = next_letter_at(user)
    if retry_at is not None:
        words = _("You’ve reached the sending limit. You can send again at %(time)s.")
        local = timezone.localtime(retry_at) if timezone.is_aware(retry_at) else retry_at
        rounded_up = local + timedelta(minutes=1)  # the format has no seconds
        # The sentence ends with the full stop of "p.m.".
        time = formats.date_format(rounded_up, "DATETIME_FORMAT").removesuffix(".")
        raise LetterRefused("from_user", words % {"time": time}, retry_at=retry_at)


def lookup_limit_text() -> str:
    """Return the error for exceeding LOOKUP_RATE."""
    return _("You’ve looked up too many names. Wait a moment, then try again.")


def undeliverable_text(name: str) -> str:
    """Return the error for an unreachable user, whether unknown or blocked."""
    return _("Your message can’t be delivered to “%(name)s”.") % {"name": name}


def recipient_limit_text() -> str:
    """Return the error for too many recipients."""
    limit = get_config().MAX_RECIPIENTS
    words = ngettext(
        "You can send a message to at most %(limit)d person.",
        "You can send a message to at most %(limit)d people.",
        limit,
    )
    return words % {"limit": limit}


def next_letter_at(user: Any) -> datetime | None:
    """Return when SEND_RATE allows `user` to send again, None for now; one bounded query.

    Letters that the user has deleted since still count.
    """
    rate = get_config().rate
    if rate is None:
        return None
    sent = Message.objects.on_primary().sent_since(user, ago(rate.period))
    times = list(sent.values_list("created", flat=True)[rate.limit - 1 : rate.limit])
    return after(times[0], rate.period) if times else None


# Blocking


def block(user: Any, other: Any) -> Block:
    """Block letters between `user` and `other`; at most four queries.

    Raises `LetterRefused` if one of them has been deleted.
    """
    rows = Message.objects.on_primary()
    with transaction.atomic(using=rows.db):
        if len(locks.lock_mailboxes(rows, [user.pk, other.pk])) < len({user.pk, other.pk}):
            raise LetterRefused("other", _("There is no one to block."))
        return Block.objects.get_or_create(user_id=user.pk, blocked_id=other.pk)[0]


def blocks_of(user: Any) -> QuerySet[Block]:
    """Return the blocks by `user` with the blocked users, latest first; lazy."""
    return Block.objects.filter(user=user.pk).select_related("blocked").order_by("-pk")
