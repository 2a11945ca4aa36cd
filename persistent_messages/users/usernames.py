"""Look up users by typed usernames, in the same way as Django's log-in does."""

from __future__ import annotations

import unicodedata
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist, ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet

from persistent_messages.constants import storable

MAX_LENGTH = 254
"""The maximum length of a username. Normalizing longer texts is slow; log-in does not, either."""
BATCH_SIZE = 100
"""The maximum number of names in one query, which has a column for each."""


def find_by_username(people: QuerySet[Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the users among `people` whose usernames are in `names`, by name.

    As in Django's log-in, names are normalized and compared by the database, or by
    `get_by_natural_key()` if the manager of the user model overrides it. One query; with such a
    manager, one for each spelling of a name, and one more. Ambiguous names are left out.
    """
    wanted = list(dict.fromkeys(names))
    if _has_own_lookup():
        return _by_natural_key(people, wanted)
    found: dict[str, Any] = {}
    rest = iter(wanted)
    while batch := list(islice(rest, BATCH_SIZE)):
        found |= _by_field(people, batch)
    return found


def user_named(name: str) -> Any:
    """Return the user with the username `name`, active or not, as log-in finds it.

    For arguments of commands: raises `ArgumentTypeError` if there is no such user.
    """
    user = find_by_username(get_user_model()._base_manager.all(), [name]).get(name)
    if user is None:
        raise ArgumentTypeError(f"There is no user named {name!r}.")
    return user


def is_username_of(user: Any, name: str) -> bool:
    """Return whether a spelling of `name` is exactly the username of `user`; no query."""
    return str(user.get_username()) in spellings(name)


def spellings(name: str) -> list[str]:
    """Return `name` as normalized by log-in and by the user model, and unchanged."""
    text = storable(name).strip()
    if len(text) > MAX_LENGTH:
        return [text]
    normalize = getattr(get_user_model(), "normalize_username", str)
    found = [unicodedata.normalize("NFKC", text), str(normalize(text)), text]
    return list(dict.fromkeys(filter(None, found)))


def _has_own_lookup() -> bool:
    method = getattr(type(get_user_model()._default_manager), "get_by_natural_key", None)
    # Compare the module's name, because it cannot be imported before the app registry is ready.
    return method is not None and method.__module__ != "django.contrib.auth.base_user"


def _by_field(people: QuerySet[Any], names: list[str]) -> dict[str, Any]:
    username = get_user_model().USERNAME_FIELD
    values = {name: list(_values(name)) for name in names}
    # The database decides which user a name means. For example, MariaDB ignores case and accents.
    means = {
        f"pm_means_{number}": Q(**{f"{username}__in": values[name]})
        for number, name in enumerate(names)
        if values[name]
    }
    if not means:
        return {}
    all_values = [value for name in names for value in values[name]]
    columns = {
        column: ExpressionWrapper(condition, output_field=BooleanField())
        for column, condition in means.items()
    }
    rows = people.filter(**{f"{username}__in": all_values}).annotate(**columns)
    persons = {person.pk: person for person in rows}.values()  # a join may repeat some
    found = {}
    for number, name in enumerate(names):
        meant = [p for p in persons if values[name] and getattr(p, f"pm_means_{number}")]
        if (person := _unambiguous(meant, values[name])) is not None:
            found[name] = person
    return found


def _unambiguous(people: list[Any], values: list[Any]) -> Any:
    # Prefer the exact spelling: both "ﬁ" and "fi" may exist.
    for value in values:
        same = [person for person in people if person.get_username() == value]
        if len(same) == 1:
            return same[0]
    return people[0] if len(people) == 1 else None


def _values(name: str) -> Iterator[Any]:
    # Skip values that the username field cannot have. It may be a number.
    field: Any = get_user_model()._meta.get_field(get_user_model().USERNAME_FIELD)
    target = getattr(field, "target_field", field)
    ranges = [v for v in target.validators if isinstance(v, (MinValueValidator, MaxValueValidator))]
    for text in spellings(name):
        with suppress(ValidationError, TypeError, ValueError, OverflowError):
            value = target.to_python(text)
            for check_range in ranges:
                check_range(value)
            yield value


def _by_natural_key(people: QuerySet[Any], names: list[str]) -> dict[str, Any]:
    manager = get_user_model()._default_manager.db_manager(people.db)
    meant = {
        name: person
        for name in names
        if (person := _find_by_natural_key(manager, name)) is not None
    }
    keys = {person.pk for person in meant.values()}
    username = get_user_model().USERNAME_FIELD
    # Make the query even if nobody was found, so that it does not reveal who exists.
    nobody = {f"{username}__in": [value for name in names for value in _values(name)]}
    there = {person.pk: person for person in people.filter(**{"pk__in": keys} if keys else nobody)}
    return {name: there[person.pk] for name, person in meant.items() if person.pk in there}


def _find_by_natural_key(manager: Any, name: str) -> Any:
    # Always try every spelling, so that the number of queries reveals nothing.
    found = [_get_by_natural_key(manager, text) for text in spellings(name)]
    return next((person for person in found if person is not None), None)


def _get_by_natural_key(manager: Any, username: str) -> Any:
    try:
        return manager.get_by_natural_key(username)
    except (ObjectDoesNotExist, MultipleObjectsReturned):
        return None
    except (ValidationError, TypeError, ValueError, OverflowError):  # not valid for the field
        return None
