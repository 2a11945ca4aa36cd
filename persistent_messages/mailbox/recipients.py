"""The recipients of a message: a stream of keys, or batches that only the database reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet

from persistent_messages.db.compiled import KeyList

from .validation import clean_user_key

BATCH_SIZE = 500
PAGE_SIZE = 2000
"""Keys that one query reads from a queryset."""


class Batch(NamedTuple):
    """Some of the recipients. Each recipient is in exactly one batch."""

    people: QuerySet[Any]
    """The users, ordered by key."""
    keys: list[Any] | None
    """Their keys; None if they have not been read."""
    is_named: bool
    """Whether the caller named each user, so that a missing one is an error."""


def key_list(keys: Collection[Any]) -> KeyList:
    """Return user keys as a value for `__in` lookups."""
    return KeyList(keys, get_user_model()._meta.pk)


def recipient_batches(
    users: Any, using: str, size: int, range_size: int = 0, *, in_order: bool = False
) -> Iterator[Batch]:
    """Yield `users` in batches of at most `size`, or ranges of `range_size` keys.

    With `range_size`, a queryset is divided into ranges of keys, and only the last key of each
    range is read. Otherwise keys are read in pages with one query each. No cursor stays open
    between two batches, so each batch may have its own transaction. Takes and raises the same as
    `recipient_keys`. With `in_order`, a list is sorted by key, as querysets are in any case.
    """
    everybody = get_user_model()._base_manager.using(using).order_by("pk")
    users = _members_of_group(users)
    if not isinstance(users, QuerySet):
        named = recipient_keys(users, using)
        if in_order and isinstance(users, Collection):
            named = iter(sorted(named))
        for keys in _pages(named, size):
            yield Batch(everybody.filter(pk__in=key_list(keys)), keys, is_named=True)
        return
    _check_model(users)
    if not _may_be_narrowed(users):
        for keys in _pages(_keys_of_queryset(users, using), size):
            yield Batch(everybody.filter(pk__in=key_list(keys)), keys, is_named=False)
    elif range_size:
        yield from _ranges(users.using(using), everybody, range_size)
    else:
        for keys in _pages(_keys_by_page(users.using(using)), size):
            yield Batch(everybody.filter(pk__in=key_list(keys)), keys, is_named=False)


def _pages(keys: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while page := list(islice(keys, size)):
        yield page


def _keys_by_page(users: QuerySet[Any]) -> Iterator[Any]:
    rest = users
    while page := list(_ordered_keys(rest)[:PAGE_SIZE]):
        yield from page
        if len(page) < PAGE_SIZE:
            return
        rest = users.filter(pk__gt=page[-1])


def _ranges(users: QuerySet[Any], everybody: QuerySet[Any], size: int) -> Iterator[Batch]:
    bounds: dict[str, Any] = {}
    while True:
        last = list(_ordered_keys(users.filter(**bounds))[size - 1 : size])
        if last:
            bounds["pk__lte"] = last[0]
        # The bounds apply outside, too, or the database would look at all users. The subquery
        # keeps users unique, whatever the queryset joins or groups.
        chosen = users.filter(**bounds).order_by().values("pk")
        yield Batch(everybody.filter(**bounds, pk__in=chosen), None, is_named=False)
        if not last:
            return
        bounds = {"pk__gt": last[0]}


def _ordered_keys(users: QuerySet[Any]) -> QuerySet[Any, Any]:
    # The order puts the duplicates of a join next to each other, so `distinct()` costs little.
    return users.order_by("pk").values_list("pk", flat=True).distinct()


def _may_be_narrowed(users: QuerySet[Any]) -> bool:
    """Return whether a condition on the key can be added without changing what else it selects.

    It cannot if a row depends on the other rows, as in a slice or with a window function.
    """
    query = users.query
    expressions = (*query.annotations.values(), query.where)
    return not (
        query.is_sliced
        or query.combinator
        or query.distinct_fields
        or any(getattr(each, "contains_over_clause", False) for each in expressions)
    )


def recipient_keys(users: Any, using: str) -> Iterator[Any]:
    """Yield the keys of `users`, each once.

    `users` is a user, a key, an iterable of users and keys, a group or a queryset. Iterables and
    querysets are streamed. Keys without a user instance are looked up in batches. Raises
    `TypeError` or `ValueError` on reaching an invalid one.
    """
    users = _members_of_group(users)
    if isinstance(users, QuerySet):
        _check_model(users)
        return _keys_of_queryset(users, using)
    if isinstance(users, (str, bytes, Model)) or not isinstance(users, Iterable):
        users = [users]
    return _distinct_keys(_existing_keys(iter(users), using))


def _members_of_group(group: Any) -> Any:
    """Return the users in `group`; return the object itself if it is not a group."""
    model = get_user_model()
    if not isinstance(group, Model) or isinstance(group, model):
        return group
    kinds = [f.related_model for f in model._meta.many_to_many if f.name == "groups"]
    if not kinds or not isinstance(group, kinds[0]):
        return group
    if group.pk is None:
        raise ValueError(f"users must be a saved group, not {group!r}.")
    return model._base_manager.filter(groups=group.pk)


def _check_model(users: QuerySet[Any]) -> None:
    if not issubclass(users.model, get_user_model()):
        raise TypeError(f"users must be a queryset of users, not of {users.model.__name__}.")


def _keys_of_queryset(users: QuerySet[Any], using: str) -> Iterator[Any]:
    if not _may_be_narrowed(users):
        return _distinct_keys(iter(users.using(using).values_list("pk", flat=True)))
    return _ordered_keys(users.using(using)).iterator(chunk_size=2000)


def _distinct_keys(keys: Iterable[Any]) -> Iterator[Any]:
    seen: set[Any] = set()
    for key in keys:
        if key not in seen:
            seen.add(key)
            yield key


def _existing_keys(users: Iterator[Any], using: str) -> Iterator[Any]:
    people = get_user_model()._base_manager.using(using)
    while batch := list(islice(users, BATCH_SIZE)):
        keys = [clean_user_key("users", user) for user in batch]
        unseen = {key for key, user in zip(keys, batch, strict=True) if not isinstance(user, Model)}
        if unseen:
            unseen -= set(people.filter(pk__in=unseen).values_list("pk", flat=True))
        _check_none_missing(unseen)
        yield from keys


def _check_none_missing(keys: Iterable[Any]) -> None:
    if missing := sorted(map(repr, keys)):
        raise ValueError(f"users: there is no user with the key {missing[0]}.")


def check_all_there(batch: Batch, count: int) -> None:
    """Raise `ValueError` if `count` users were found, but the caller named another, who is missing.

    One query, or none if all were found.
    """
    if batch.is_named and count < len(batch.keys or ()):
        _check_none_missing({*(batch.keys or ())} - {*batch.people.values_list("pk", flat=True)})
