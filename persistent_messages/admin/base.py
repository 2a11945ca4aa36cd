"""Shared by the admins of messages and letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import capfirst

from persistent_messages.db.deletion import RenamedRow
from persistent_messages.users.names import Name, name_of

COUNT_LIMIT = 10_000

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    AnyAdmin, AnyPaginator = admin.ModelAdmin, Paginator


class CappedPaginator(AnyPaginator):
    """A paginator that counts only the first rows, because counting the table would read it all."""

    @cached_property
    def count(self) -> int:
        """Count the rows, up to `COUNT_LIMIT`; one bounded query."""
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNT_LIMIT].count())


def account_link(user: Any, name: Name | None = None) -> str:
    """Return `name`, or the name of `user`, as a link to the user's admin page if there is one.

    Does not use `str(user)`, which fails for user models whose username is a number.
    """
    if user is None:
        return "-"
    label, model = (name or name_of(user)).label, user._meta
    try:
        page = f"admin:{model.app_label}_{model.model_name}_change"
        return format_html('<a href="{}">{}</a>', reverse(page, args=[quote(user.pk)]), label)
    except NoReverseMatch:
        return label


class PrivateLogAdmin(AnyAdmin):
    """Names rows by number for staff who may not view them, and in the admin's log.

    The log is kept, and may be shown to people who may not read messages.
    """

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the row; without its text for staff who may delete it but not view it."""
        row = super().get_object(request, *args, **kwargs)
        if row is None or self.has_view_permission(request, row):
            return row
        return self.numbered(row)

    def numbered(self, row: Any) -> Any:
        """Return `row` with a name such as "Message 17"."""
        return RenamedRow(row, f"{capfirst(self.opts.verbose_name)} {row.pk}")

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Log the row by number."""
        return super().log_addition(request, self.numbered(obj), message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Log the row by number."""
        return super().log_change(request, self.numbered(obj), message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Log each row by number."""
        rows: Any = [self.numbered(row) for row in queryset]
        return super().log_deletions(request, rows)
