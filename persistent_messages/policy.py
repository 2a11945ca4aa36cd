"""Who may write letters to whom, and how many: the one place that forms and API ask."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import router
from django.db.models import Q, QuerySet
from django.utils import formats, timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .conf import get_config
from .drafts import block_model, message_model
from .exceptions import LetterRefused

if TYPE_CHECKING:
    from .models import Block

SUGGESTIONS = 8
MIN_LETTERS = 2
"""What a search for people needs: nobody lists them all by single letters."""
MAX_LETTERS = 254
"""No name has more, nor a mail address; and SQLite refuses to look for 50,000."""


def has_field(name: str) -> bool:
    """Tell whether the user model of the site has the field `name`."""
    try:
        get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def active_users(user: Any) -> QuerySet[Any]:  # noqa: ARG001 (the signature of RECIPIENTS)
    """Return all active users; the default of the setting RECIPIENTS. Lazy."""
    people = get_user_model()._default_manager.all()
    return people.filter(is_active=True) if has_field("is_active") else people


def recipients_of(user: Any) -> QuerySet[Any]:
    """Return those to whom `user` may write, as the setting RECIPIENTS has it; lazy.

    Without inactive ones, those who blocked `user`, those whom `user` blocked, and `user`.
    """
    allowed: QuerySet[Any] = import_string(get_config().RECIPIENTS)(user)
    if has_field("is_active"):
        allowed = allowed.filter(is_active=True)
    return (
        allowed.exclude(pk=user.pk)
        .exclude(pk__in=block_model().objects.filter(user=user.pk).values("blocked"))
        .exclude(pk__in=block_model().objects.filter(blocked=user.pk).values("user"))
    )


def _reached_by(user: Any) -> QuerySet[Any]:
    # Where writes go: a replica may not know yet who blocked whom.
    people = recipients_of(user)
    return people.using(router.db_for_write(people.model))


def named(user: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return those of `names` to whom `user` may write, by user name; one query.

    Who is missing is unknown, inactive, out of bounds or blocked: nobody can tell which.
    """
    field = get_user_model().USERNAME_FIELD
    found = _reached_by(user).filter(**{f"{field}__in": list(names)})
    return {person.get_username(): person for person in found}


def suggestions(user: Any, text: str) -> list[Any]:
    """Return up to 8 of those to whom `user` may write whose names begin with `text`; one query.

    None for less than two characters, or more than a name has. In the order of their user names.
    """
    text = text.strip()
    if not MIN_LETTERS <= len(text) <= MAX_LETTERS:
        return []
    name = get_user_model().USERNAME_FIELD
    begins = Q(**{f"{name}__istartswith": text})
    for field in filter(has_field, ("first_name", "last_name")):
        begins |= Q(**{f"{field}__istartswith": text})
    found = recipients_of(user).filter(begins)
    # By key: a join in RECIPIENTS, by the teams that two share say, gives a person more than once.
    people = found.model._base_manager.using(found.db).filter(pk__in=found.values("pk"))
    return list(people.order_by(name)[:SUGGESTIONS])


def check(user: Any, recipients: Collection[Any]) -> None:
    """Raise `LetterRefused` unless `user` may write to `recipients` now; at most two queries.

    The same words for whoever cannot be reached, whatever the reason.
    """
    if not recipients:
        raise LetterRefused("to_users", _("Say to whom it goes."))
    if len(recipients) > get_config().MAX_RECIPIENTS:
        raise LetterRefused("to_users", too_many())
    if any(person.pk == user.pk for person in recipients):
        raise LetterRefused("to_users", _("You cannot write to yourself."))
    keys = [person.pk for person in recipients]
    reached = set(_reached_by(user).filter(pk__in=keys).values_list("pk", flat=True))
    for person in recipients:
        if person.pk not in reached:
            raise LetterRefused("to_users", undeliverable(person.get_username()))
    retry_at = next_letter_at(user)
    if retry_at is not None:
        words = _("You have sent many letters. You can send the next one at %(time)s.")
        local = timezone.localtime(retry_at) if timezone.is_aware(retry_at) else retry_at
        time = formats.date_format(
            local + timedelta(minutes=1), "DATETIME_FORMAT"
        )  # never too soon
        raise LetterRefused("from_user", words % {"time": time}, retry_at=retry_at)


def undeliverable(name: str) -> str:
    """Say that a letter does not reach `name`; for an unknown one as for one who blocked."""
    return _("A letter to “%(name)s” cannot be delivered.") % {"name": name}


def too_many() -> str:
    """Say how many a letter goes to at most."""
    limit = get_config().MAX_RECIPIENTS
    words = ngettext(
        "A letter goes to %(limit)d person at most.",
        "A letter goes to %(limit)d people at most.",
        limit,
    )
    return words % {"limit": limit}


def next_letter_at(user: Any) -> datetime | None:
    """Return when SEND_RATE lets `user` send again, None for now; one bounded query.

    What was deleted meanwhile counts as well.
    """
    rate = get_config().rate
    if rate is None:
        return None
    since = timezone.now() - rate.period
    sent = message_model().objects.at_source().sent_since(user, since)
    times = list(sent.values_list("created", flat=True)[rate.limit - 1 : rate.limit])
    return times[0] + rate.period if times else None


# Blocking


def block(user: Any, other: Any) -> Block:
    """Have no letter of `other` reach `user`, who may undo it; two queries at most."""
    return block_model().objects.get_or_create(user_id=user.pk, blocked_id=other.pk)[0]


def blocks_of(user: Any) -> QuerySet[Block]:
    """Return whom `user` has blocked, latest first; lazy."""
    return block_model().objects.filter(user=user.pk).select_related("blocked").order_by("-pk")
