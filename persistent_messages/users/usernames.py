"""Users by what somebody typed: whoever would log in with it."""

from __future__ import annotations

import unicodedata
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
"""Characters of a username: log-in normalizes no longer ones, which would take long."""
BATCH_SIZE = 100
"""Names that one query looks for: each is a column of its result."""


def find_by_username(people: QuerySet[Any], names: Iterable[str]) -> dict[str, Any]:
    """Return those of `names` that are the username of one of `people`, with that user.

    As Django's log-in has it: normalized, and compared by the database or, where the manager of the
    user model has its own, by `get_by_natural_key`. One query; for a manager of that kind one for
    each spelling of a name, and one more. Ambiguous names are left out.
    """
    wanted = list(dict.fromkeys(names))
    if _has_own_lookup():
        return _by_natural_key(people, wanted)
    found: dict[str, Any] = {}
    rest = iter(wanted)
    while some := list(islice(rest, BATCH_SIZE)):
        found |= _by_field(people, some)
    return found


def user_named(name: str) -> Any:
    """Return the user who would log in as `name`, active or not; None if there is none."""
    return find_by_username(get_user_model()._base_manager.all(), [name]).get(name)


def is_username_of(user: Any, name: str) -> bool:
    """Tell whether `name` is the username of `user` however it is compared; no query."""
    return str(user.get_username()) in spellings(name)


def spellings(name: str) -> list[str]:
    """Return `name` normalized as log-in and the user model do, and as it is."""
    text = storable(name).strip()
    if len(text) > MAX_LENGTH:
        return [text]
    normalize = getattr(get_user_model(), "normalize_username", str)
    found = [unicodedata.normalize("NFKC", text), str(normalize(text)), text]
    return list(dict.fromkeys(filter(None, found)))


def _has_own_lookup() -> bool:
    method = getattr(type(get_user_model()._default_manager), "get_by_natural_key", None)
    # By its module: this one is imported before the registry of apps is ready, and that may not be.
    return method is not None and method.__module__ != "django.contrib.auth.base_user"


def _by_field(people: QuerySet[Any], names: list[str]) -> dict[str, Any]:
    username = get_user_model().USERNAME_FIELD
    values = {name: list(_values(name)) for name in names}
    # The database says whom each name means: MariaDB compares without case and accents, say.
    means = {
        f"pm_means_{number}": Q(**{f"{username}__in": values[name]})
        for number, name in enumerate(names)
        if values[name]
    }
    if not means:
        return {}
    everyone = [value for name in names for value in values[name]]
    columns = {
        column: ExpressionWrapper(condition, output_field=BooleanField())
        for column, condition in means.items()
    }
    rows = people.filter(**{f"{username}__in": everyone}).annotate(**columns)
    persons = {person.pk: person for person in rows}.values()  # a join gives some more than once
    found = {}
    for number, name in enumerate(names):
        meant = [p for p in persons if values[name] and getattr(p, f"pm_means_{number}")]
        if (person := _unambiguous(meant, values[name])) is not None:
            found[name] = person
    return found


def _unambiguous(people: list[Any], values: list[Any]) -> Any:
    # As spelled before as compared: "ﬁ" and "fi" may both be there.
    for value in values:
        same = [person for person in people if person.get_username() == value]
        if len(same) == 1:
            return same[0]
    return people[0] if len(people) == 1 else None


def _values(name: str) -> Iterator[Any]:
    # What no such field holds is nobody's name: a number may be asked for, too.
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
    # A query for nobody as well, so that their number does not tell who exists.
    nobody = {f"{username}__in": [value for name in names for value in _values(name)]}
    there = {person.pk: person for person in people.filter(**{"pk__in": keys} if keys else nobody)}
    return {name: there[person.pk] for name, person in meant.items() if person.pk in there}


def _find_by_natural_key(manager: Any, name: str) -> Any:
    # All of them in any case: the number of queries tells nothing.
    found = [_get_by_natural_key(manager, text) for text in spellings(name)]
    return next((person for person in found if person is not None), None)


def _get_by_natural_key(manager: Any, username: str) -> Any:
    try:
        return manager.get_by_natural_key(username)
    except (ObjectDoesNotExist, MultipleObjectsReturned):
        return None
    except (ValidationError, TypeError, ValueError, OverflowError):  # no value of that field
        return None
