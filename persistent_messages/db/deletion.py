"""Delete the rows of a deleted user, and count them for the confirmation page of the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import CASCADE, Model, QuerySet
from django.utils.functional import SimpleLazyObject

if TYPE_CHECKING:
    LazyRow = SimpleLazyObject[Model]
else:
    LazyRow = SimpleLazyObject


class RenamedRow(LazyRow):
    """A row that is displayed as `str(text)`, for pages that render `str(row)`."""

    def __init__(self, row: Model, text: object) -> None:
        super().__init__(lambda: row)
        self.__dict__["_text"] = text

    def __str__(self) -> str:
        return str(self.__dict__["_text"])


class CountedRows(set[Any]):
    """A set of rows that also counts rows it does not contain."""

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
    """Delete the rows of a deleted user, as `CASCADE` does; for `on_delete`.

    The collector of the admin, which lists what would be deleted, only gets their number, with one
    query. The rows are private, and there may be millions.
    """
    if hasattr(collector, "model_objs"):
        _count(collector, sub_objs)
    elif collector.can_fast_delete(sub_objs):
        collector.fast_deletes.append(sub_objs)
    else:
        CASCADE(collector, field, sub_objs, using)


# Otherwise, Django would evaluate the queryset to check whether it is empty.
cascade.lazy_sub_objs = True  # type: ignore[attr-defined]


def _count(collector: Any, objs: QuerySet[Any]) -> None:
    model, count = objs.model, objs.count()
    if not count:
        return
    rows = collector.model_objs.setdefault(model, CountedRows(model))
    if not rows.uncollected:
        # One line for all rows, which also makes the admin check the permission to delete them.
        # It is not a link, because there is no page for an empty key.
        collector.add_edge(None, RenamedRow(model(pk=""), rows))
    rows.uncollected += count
