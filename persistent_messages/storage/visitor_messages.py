"""A visitor's one-shot messages with the interface of a QuerySet."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Q
from django.db.models.constants import LOOKUP_SEP
from django.db.models.query import FlatValuesListIterable, ValuesIterable
from typing_extensions import Self

from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet

Test = Callable[[Any], bool]
Select = Callable[[list[Any]], list[Any]]
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "exact": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, values: value in values,
    "range": lambda value, limits: limits[0] <= value <= limits[1],
    "contains": lambda value, text: text in value,
    "startswith": lambda value, text: value.startswith(text),
    "endswith": lambda value, text: value.endswith(text),
}
IGNORES_CASE = {f"i{name}": name for name in ("exact", "contains", "startswith", "endswith")}


class VisitorMessages(MessageQuerySet):
    """The one-shot messages of a visitor, in place of a user's QuerySet of rows.

    Supports iterating, counting, slicing, ordering, and filtering by attributes of the messages.
    Lazy; no query.
    """

    consume: Callable[[Select], list[Any]]
    peek: Callable[[Select], list[Any]]
    tests: tuple[Test, ...] = ()
    _fields: tuple[str, ...] | None  # of `values()`

    @classmethod
    def of(
        cls, *, peek: Callable[[Select], list[Any]], consume: Callable[[Select], list[Any]]
    ) -> VisitorMessages:
        """Return an instance. `peek` finds messages, `consume` also counts them as shown."""
        found = cls(Message)
        found.peek, found.consume = peek, consume
        found.query.set_empty()  # so that nothing can read or change the table
        return found

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone.peek, clone.consume, clone.tests = self.peek, self.consume, self.tests
        return clone

    def _select(self, messages: list[Any]) -> list[Any]:
        found = [message for message in messages if all(test(message) for test in self.tests)]
        for name in reversed(self.query.order_by):
            found = _sorted(found, str(name))
        if not self.query.standard_ordering:
            found.reverse()
        return found[self.query.low_mark : self.query.high_mark]

    def _fetch_all(self) -> None:
        if self._result_cache is not None:
            return
        if self._fields is None:
            self._result_cache = self.consume(self._select)
        else:  # as with rows, values do not count as shown
            self._result_cache = [self._values_of(message) for message in self.peek(self._select)]

    def _values_of(self, message: Any) -> Any:
        names = self._fields or [field.attname for field in Message._meta.concrete_fields]
        values = {name: getattr(message, name) for name in names}
        if self._iterable_class is ValuesIterable:
            return values
        row = tuple(values.values())
        return row[0] if self._iterable_class is FlatValuesListIterable else row

    def _filter_or_exclude_inplace(self, negate: bool, args: Any, kwargs: Any) -> None:  # noqa: FBT001 (Django's)
        wanted = Q(*args, **kwargs)
        self.tests = (*self.tests, _test_of(~wanted if negate else wanted))

    def none(self) -> Self:
        """Return an empty QuerySet."""
        clone = self._clone()
        clone.tests = (lambda _message: False,)
        return clone

    def iterator(self, chunk_size: int | None = None) -> Iterator[Any]:
        """Return an iterator over the messages."""
        return iter(self)

    def count(self) -> int:
        """Return the number of messages without counting any as shown."""
        return len(self.peek(self._select) if self._result_cache is None else self._result_cache)

    def exists(self) -> bool:
        """Return whether there are any messages without counting any as shown."""
        return self.count() > 0


def _sorted(messages: list[Any], name: str) -> list[Any]:
    attribute = name.removeprefix("-")
    if attribute in ("pk", "id"):  # a visitor's messages have no key; the oldest comes first
        return messages[::-1] if name != attribute else messages

    def key(message: Any) -> tuple[bool, Any]:
        value = getattr(message, attribute)
        return value is not None, value

    return sorted(messages, key=key, reverse=name != attribute)


def _test_of(wanted: Q) -> Test:
    parts: list[Any] = wanted.children
    tests = [_test_of(part) if isinstance(part, Q) else _compared(*part) for part in parts]
    combine = any if wanted.connector == Q.OR else all
    return lambda message: wanted.negated != combine(test(message) for test in tests)


def _compared(lookup: str, wanted: Any) -> Test:
    name, _, how = lookup.partition(LOOKUP_SEP)
    if how == "isnull" or wanted is None:
        is_null = wanted is None or wanted
        return lambda message: (getattr(message, name) is None) == is_null
    ignores_case = how in IGNORES_CASE
    compare = COMPARISONS.get(IGNORES_CASE.get(how, how or "exact"))
    if compare is None:
        raise FieldError(f"The messages of a visitor cannot be filtered by {lookup!r}.")
    target = str(wanted).casefold() if ignores_case else wanted

    def test(message: Any) -> bool:
        value = getattr(message, name)
        if value is None:
            return False
        return bool(compare(str(value).casefold() if ignores_case else value, target))

    return test
