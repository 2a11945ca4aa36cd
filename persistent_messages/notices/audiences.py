"""Audiences: whom a broadcast reaches."""

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

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[[Any], bool])

EVERYBODY, STAFF, GROUP = "everybody", "staff", "group:"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Audience(NamedTuple):
    """A function of the site that says whom a broadcast reaches."""

    name: str
    label: Any
    """What staff reads of it; may be lazy."""
    includes: Callable[[Any], bool]


registered: dict[str, Audience] = {}
"""The audiences of the site by their names, in the order in which they were registered."""


def audience(name: str, label: Any) -> Callable[[Function], Function]:
    """Register a function `(user) -> bool` as the audience `name`, which staff reads as `label`.

    It is asked once for each user and broadcast, when the user comes. A name that is registered
    again has the later function. Raises `TypeError` or `ValueError`.
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
    """Return `name` if it is that of an audience; for a group one query. Raises `ValueError`."""
    value = getattr(name, "name", name) if isinstance(name, Audience) else name
    if not isinstance(value, str):
        raise TypeError(f"audience must be the name of one, not {value!r}.")
    if value in (EVERYBODY, *registered) or (value == STAFF and _has_field("is_staff")):
        return value
    if _is_group(value) and _groups().filter(name=value.removeprefix(GROUP)).exists():
        return value
    known = ", ".join(repr(name) for name, _ in choices(with_groups=False))
    raise ValueError(f"audience must be {known} or 'group:<name>', not {value!r}.")


def choices(*, with_groups: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield the audiences that there are, each with its label; for the groups one query."""
    yield EVERYBODY, _("Everybody")
    if _has_field("is_staff"):
        yield STAFF, _("Administrators")
    yield from ((each.name, each.label) for each in registered.values())
    if with_groups and _has_field("groups"):
        for name in _groups().order_by("name").values_list("name", flat=True):
            yield f"{GROUP}{name}", _("Group: %(name)s") % {"name": name}


def label_of(name: str) -> str:
    """Return what staff reads of the audience `name`; no query."""
    if _is_group(name):
        return str(_("Group: %(name)s") % {"name": name.removeprefix(GROUP)})
    return str(dict(choices(with_groups=False)).get(name, name))


def is_asked(name: str) -> bool:
    """Tell whether a function of the site says whom `name` includes: then it is asked once."""
    return name not in (EVERYBODY, STAFF) and not _is_group(name)


def possible(names: set[str], user: Any) -> set[str]:
    """Return those of `names` that include `user`, or may do so if a function is asked.

    One query if there are groups among them.
    """
    found = {name for name in names if name == EVERYBODY or name in registered}
    if STAFF in names and getattr(user, "is_staff", False):
        found.add(STAFF)
    groups = {name.removeprefix(GROUP) for name in names if _is_group(name)}
    if groups and _has_field("groups"):
        joined = user.groups.using(primary_database()).filter(name__in=groups)
        found |= {f"{GROUP}{name}" for name in joined.values_list("name", flat=True)}
    return found


def includes(name: str, user: Any) -> bool:
    """Ask the function of the audience `name`; one that fails says no, and is logged."""
    try:
        with transaction.atomic(using=primary_database()):  # or its error would break ours
            return bool(registered[name].includes(user))
    except Exception:
        logger.exception("The audience %r failed for the user %s.", name, user.pk)
        return False


def estimate(name: str, sample_size: int) -> tuple[int, bool]:
    """Return about how many users the audience `name` has, and whether that is exact.

    For a function of the site, by asking it for the `sample_size` latest users.
    """
    people: QuerySet[Any] = get_user_model()._base_manager.all()
    if _has_field("is_active"):
        people = people.filter(is_active=True)
    if name == STAFF:
        people = people.filter(is_staff=True)
    elif _is_group(name):
        people = people.filter(groups__name=name.removeprefix(GROUP))
    total = people.count()
    if not is_asked(name):
        return total, True
    sample = list(people.order_by("-pk")[:sample_size])
    included = sum(includes(name, user) for user in sample)
    if len(sample) == total:
        return included, True
    return round(total * included / max(1, len(sample))), False


def _is_group(name: str) -> bool:
    return name.startswith(GROUP)


def _has_field(name: str) -> bool:
    return any(field.name == name for field in get_user_model()._meta.get_fields())


def _groups() -> QuerySet[Any]:
    field: Any = get_user_model()._meta.get_field("groups")
    groups: type[Model] = field.related_model
    return groups._base_manager.using(primary_database())
