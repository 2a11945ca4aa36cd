"""Audiences: the users that a broadcast reaches."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils.translation import gettext_lazy as _

from persistent_messages.mailbox.writes import primary_database
from persistent_messages.models import AUDIENCE_LENGTH
from persistent_messages.users.accounts import has_user_field

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[[Any], bool])

EVERYBODY, STAFF, GROUP = "everybody", "staff", "group:"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Audience(NamedTuple):
    """A function of the site that decides whether a broadcast reaches a user."""

    name: str
    label: Any
    """The name in the admin; may be lazy."""
    includes: Callable[[Any], bool]


registered: dict[str, Audience] = {}
"""The audiences of the site by name, in the order of registration."""


def audience(name: str, label: Any) -> Callable[[Function], Function]:
    """Register a function `(user) -> bool` as the audience `name`, shown as `label` in the admin.

    The function is called once for each user and broadcast, when the user visits the site. If a
    name is registered again, the later function is used. Raises `TypeError` or `ValueError`.
    """
    if not isinstance(name, str):
        raise TypeError(f"An audience's name must be a str, not {name!r}.")
    if not _NAME.fullmatch(name) or len(name) > AUDIENCE_LENGTH or name in (EVERYBODY, STAFF):
        raise ValueError(
            f"An audience's name must be at most {AUDIENCE_LENGTH} lowercase letters, digits, "
            f"hyphens and underscores, not begin with the last two, and be neither {EVERYBODY!r} "
            f"nor {STAFF!r}; not {name!r}."
        )
    if not label:
        raise ValueError(f"The audience {name!r} needs a label.")

    def register(function: Function) -> Function:
        if not callable(function):
            raise TypeError(f"The audience {name!r} must be a function, not {function!r}.")
        registered[name] = Audience(name, label, function)
        return function

    return register


def clean_audience(name: Any) -> str:
    """Return `name` if the audience exists; one query for a group. Raises `ValueError` if not."""
    value = getattr(name, "name", name) if isinstance(name, Audience) else name
    if not isinstance(value, str):
        raise TypeError(f"audience must be the name of one, not {value!r}.")
    if value in (EVERYBODY, *registered) or (value == STAFF and has_user_field("is_staff")):
        return value
    if _is_group(value) and has_user_field("groups"):
        name = value.removeprefix(GROUP)
        # MariaDB also finds names that differ in case, accents and trailing spaces.
        if name in _groups().filter(name=name).values_list("name", flat=True):
            return value
    known = ", ".join(repr(name) for name, _ in choices(with_groups=False))
    raise ValueError(f"audience must be {known} or 'group:<name>', not {value!r}.")


def choices(*, with_groups: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield the name and the label of each audience; one query for the groups."""
    yield EVERYBODY, _("Everybody")
    if has_user_field("is_staff"):
        yield STAFF, _("Administrators")
    yield from ((each.name, each.label) for each in registered.values())
    if with_groups and has_user_field("groups"):
        for name in _groups().order_by("name").values_list("name", flat=True):
            yield f"{GROUP}{name}", _("Group: %(name)s") % {"name": name}


def label_of(name: str) -> str:
    """Return the name of the audience in the admin; no query."""
    if _is_group(name):
        return str(_("Group: %(name)s") % {"name": name.removeprefix(GROUP)})
    return str(dict(choices(with_groups=False)).get(name, name))


def is_function(name: str) -> bool:
    """Return whether the audience `name` is a function of the site."""
    return name not in (EVERYBODY, STAFF) and not _is_group(name)


def possible(names: set[str], user: Any) -> set[str]:
    """Return those of `names` that include `user`, and all that are functions.

    One query if there are groups among them.
    """
    found = {name for name in names if name == EVERYBODY or name in registered}
    if STAFF in names and getattr(user, "is_staff", False):
        found.add(STAFF)
    groups = {name.removeprefix(GROUP) for name in names if _is_group(name)}
    if groups and has_user_field("groups"):
        joined = user.groups.using(primary_database()).filter(name__in=groups)
        found |= {f"{GROUP}{name}" for name in joined.values_list("name", flat=True)}
    return found


def includes(name: str, user: Any) -> bool:
    """Call the function of the audience `name`; log an error and return False if it fails."""
    try:
        # A savepoint, so that an error in a query does not break the outer transaction.
        with transaction.atomic(using=primary_database()):
            return bool(registered[name].includes(user))
    except Exception:
        logger.exception("The audience %r failed for the user %s.", name, user.pk)
        return False


def estimate(name: str, sample_size: int) -> tuple[int, bool]:
    """Return the estimated number of users in the audience, and whether it is exact.

    For a function, the estimate is based on the `sample_size` latest users.
    """
    people: QuerySet[Any] = get_user_model()._base_manager.all()
    if has_user_field("is_active"):
        people = people.filter(is_active=True)
    if name == STAFF:
        people = people.filter(is_staff=True)
    elif _is_group(name):
        people = people.filter(groups__name=name.removeprefix(GROUP))
    total = people.count()
    if not is_function(name):
        return total, True
    sample = list(people.order_by("-pk")[:sample_size])
    included = sum(includes(name, user) for user in sample)
    if len(sample) == total:
        return included, True
    return round(total * included / max(1, len(sample))), False


def _is_group(name: str) -> bool:
    return name.startswith(GROUP)


def _groups() -> QuerySet[Any]:
    field: Any = get_user_model()._meta.get_field("groups")
    groups: type[Model] = field.related_model
    return groups._base_manager.using(primary_database())
