"""What staff do about letters: who has blocked whom, and the reports of recipients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib import messages as contrib_messages
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .models import Report
from .policy import has_field

COUNT_LIMIT = 10_000

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    AnyAdmin, AnyPaginator = admin.ModelAdmin, Paginator


class CappedPaginator(AnyPaginator):
    """Pages over the first rows only: counting the table would read all of it."""

    @cached_property
    def count(self) -> int:
        """Count the rows, up to `COUNT_LIMIT`; one bounded query."""
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNT_LIMIT].count())


class BlockAdmin(AnyAdmin):
    """Who has blocked whom: to look at, and to remove."""

    list_display = ("id", "user", "blocked", "created")
    list_select_related = ("user", "blocked")
    ordering = ("-id",)
    raw_id_fields = ("user", "blocked")
    paginator = CappedPaginator
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: people decide this for themselves."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: people decide this for themselves."""
        return False


class OpenFilter(admin.SimpleListFilter):
    """Open reports, or settled ones."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        """Offer both."""
        return [("open", _("Open")), ("settled", _("Settled"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the chosen ones."""
        chosen = {"open": True, "settled": False}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(settled_at__isnull=chosen)


class ReportAdmin(AnyAdmin):
    """Letters that were reported: read what was written, and act."""

    list_display = ("id", "created", "accused_name", "reporter", "reason_begins", "settled_at")
    list_filter = (OpenFilter,)
    list_select_related = ("reporter",)
    ordering = ("-id",)
    paginator = CappedPaginator
    show_full_result_count = False
    fields = (
        "created",
        "accused_name",
        "reporter",
        "reason",
        "letters",
        "settled_at",
        "settled_by",
    )
    actions = ("settle", "deactivate")

    def has_deactivate_permission(self, request: HttpRequest) -> bool:
        """Offer it only where the user model of the site has the fields for it."""
        return has_field("is_active") and has_field("is_staff")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: recipients report."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep a report as it was made."""
        return self.fields

    @admin.display(description=_("reason"))
    def reason_begins(self, report: Report) -> str:
        """Show how the reason begins."""
        return Truncator(report.reason).chars(80)

    @admin.display(description=_("letters"))
    def letters(self, report: Report) -> SafeString:
        """Show the letters as they were, oldest first."""
        rows = ((row["at"], row["from"], row["subject"], row["text"]) for row in report.excerpt)
        return format_html_join("", "<p>{} <b>{}</b> {}<br>{}</p>", rows)

    @admin.action(description=_("Settle: nothing more to do"))
    def settle(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Close the chosen reports."""
        count = queryset.filter(settled_at=None).update(
            settled_at=timezone.now(), settled_by=request.user
        )
        said = ngettext("%(count)d report settled.", "%(count)d reports settled.", count)
        self.message_user(request, said % {"count": count})

    @admin.action(
        description=_("Deactivate the accounts of who wrote them, and settle"),
        permissions=["deactivate"],
    )
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Close the accounts of the accused to log-in and letters; needs the right to change users.

        Never those of staff.
        """
        people = get_user_model()
        right = f"{people._meta.app_label}.{get_permission_codename('change', people._meta)}"
        if not cast("Any", request.user).has_perm(right):
            self.message_user(request, _("You may not change users."), contrib_messages.ERROR)
            return
        accused = queryset.exclude(accused=None).values("accused")
        reached = people._base_manager.filter(pk__in=accused, is_staff=False, is_active=True)
        count = reached.update(is_active=False)
        said = ngettext("%(count)d account deactivated.", "%(count)d accounts deactivated.", count)
        self.message_user(request, said % {"count": count})
        self.settle(request, queryset)
