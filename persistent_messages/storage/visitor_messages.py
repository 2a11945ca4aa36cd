"""A visitor's one-shot messages with the interface of a QuerySet."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from django.db.models.constants import LOOKUP_SEP
from typing_extensions import Self

from persistent_messages.models import Message
from persistent_messages.querysets import MessageQuerySet

Test = Callable[[Any], bool]
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "exact": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, values: value in values,
}


class VisitorMessages(MessageQuerySet):
    """The one-shot messages of a visitor, in place of a user's QuerySet of rows.

    Supports iterating, counting, slicing, and filtering by attributes of the messages. Lazy; no
    query.
    """

    consume: Callable[[Test], list[Any]]
    peek: Callable[[Test], list[Any]]
    tests: tuple[Test, ...] = ()

    @classmethod
    def of(
        cls, *, peek: Callable[[Test], list[Any]], consume: Callable[[Test], list[Any]]
    ) -> VisitorMessages:
        """Return an instance. `peek` finds messages, `consume` also counts them as shown."""
        found = cls(Message)
        found.peek, found.consume = peek, consume
        return found.none()

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone.peek, clone.consume, clone.tests = self.peek, self.consume, self.tests
        return clone

    def _passes(self, message: Any) -> bool:
        return all(test(message) for test in self.tests)

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            self._result_cache = self.consume(self._passes)

    def _filter_or_exclude_inplace(self, negate: bool, args: Any, kwargs: Any) -> None:  # noqa: FBT001 (Django's)
        if args:
            raise TypeError("A visitor's messages are filtered by keywords only.")
        wanted = [_compared(name, value) for name, value in kwargs.items()]
        self.tests = (
            *self.tests,
            lambda message: negate != all(test(message) for test in wanted),
        )

    def __getitem__(self, key: Any) -> Any:
        """Return one message, or a list for a slice."""
        self._fetch_all()
        return self._result_cache[key]  # type: ignore[index]

    def iterator(self, chunk_size: int | None = None) -> Iterator[Any]:
        """Return an iterator over the messages."""
        return iter(self)

    def count(self) -> int:
        """Return the number of messages without counting any as shown."""
        return len(self.peek(self._passes))

    def exists(self) -> bool:
        """Return whether there are any messages without counting any as shown."""
        return self.count() > 0

    def last(self) -> Any:
        """Return the latest message, or None."""
        return next(reversed(list(self)), None)


def _compared(lookup: str, value: Any) -> Test:
    name, _, how = lookup.partition(LOOKUP_SEP)
    compare = COMPARISONS[how or "exact"]
    return lambda message: bool(compare(getattr(message, name), value))
