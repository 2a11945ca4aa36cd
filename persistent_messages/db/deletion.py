"""What the deletion of an account does to its rows, and what the admin prints of them before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import CASCADE, Model, QuerySet
from django.utils.functional import SimpleLazyObject

if TYPE_CHECKING:
    LazyRow = SimpleLazyObject[Model]
else:
    LazyRow = SimpleLazyObject


class RenamedRow(LazyRow):
    """A row under another text than its own, `str(text)`: for pages that print `str(row)`."""

    def __init__(self, row: Model, text: object) -> None:
        super().__init__(lambda: row)
        self.__dict__["_text"] = text

    def __str__(self) -> str:
        return str(self.__dict__["_text"])


class CountedRows(set[Any]):
    """Rows of a model of which some are known by their number only."""

    def __init__(self, model: type[Model]) -> None:
        super().__init__()
        self.options = model._meta
        self.uncollected = 0

    def __len__(self) -> int:
        return super().__len__() + self.uncollected

    def __str__(self) -> str:
        one, many = self.options.verbose_name, self.options.verbose_name_plural
        return f"{self.uncollected} {one if self.uncollected == 1 else many}"


def cascade(collector: Any, field: Any, sub_objs: QuerySet[Any], using: str) -> None:
    """Delete the rows of a deleted user, as `CASCADE` does and as quickly; for `on_delete`.

    The collector of the admin, which only lists what a deletion would take, gets their number with
    one query, and no row: they are private, and there may be a million.
    """
    if hasattr(collector, "model_objs"):
        _count(collector, sub_objs)
    elif collector.can_fast_delete(sub_objs):
        collector.fast_deletes.append(sub_objs)
    else:
        CASCADE(collector, field, sub_objs, using)


# Else Django reads the rows to see whether there are any.
cascade.lazy_sub_objs = True  # type: ignore[attr-defined]


def _count(collector: Any, objs: QuerySet[Any]) -> None:
    model, count = objs.model, objs.count()
    if not count:
        return
    rows = collector.model_objs.setdefault(model, CountedRows(model))
    if not rows.uncollected:
        # One line for all of them: by it the admin also finds out whether the staff may delete
        # such rows. There is no page of an empty key, so it is no link.
        collector.add_edge(None, RenamedRow(model(pk=""), rows))
    rows.uncollected += count
