"""The admin of blocks and reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django.contrib import admin
from django.contrib import messages as contrib_messages
from django.contrib.auth import get_permission_codename, get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from persistent_messages.models import Block, Report
from persistent_messages.users.accounts import has_user_field
from persistent_messages.users.names import Name, name_of

from .base import CappedPaginator, PrivateLogAdmin, account_link


@admin.register(Block)
class BlockAdmin(PrivateLogAdmin):
    """Blocks, which staff can view and delete."""

    list_display = ("id", "owner", "blocked_user", "created")
    list_select_related = ("user", "blocked")
    fields = ("owner", "blocked_user", "created")
    ordering = ("-id",)
    paginator = CappedPaginator
    show_full_result_count = False

    @admin.display(description=_("user"), ordering=None)
    def owner(self, block: Block) -> str:
        """Link to the user who made the block."""
        return account_link(block.user)

    @admin.display(description=_("blocked"), ordering=None)
    def blocked_user(self, block: Block) -> str:
        """Link to the blocked user."""
        return account_link(block.blocked)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: users decide this for themselves."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: users decide this for themselves."""
        return False


class OpenFilter(admin.SimpleListFilter):
    """Filter for open or resolved reports."""

    title = _("status")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        """Return both choices."""
        return [("open", pgettext_lazy("report", "Open")), ("resolved", _("Resolved"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the selected choice."""
        chosen = {"open": True, "resolved": False}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(resolved_at__isnull=chosen)


@admin.register(Report)
class ReportAdmin(PrivateLogAdmin):
    """Reported letters, which staff can read and resolve."""

    list_display = (
        "id",
        "created",
        "accused_user",
        "reporter_user",
        "reason_begins",
        "resolution_time",
    )
    list_filter = (OpenFilter,)
    list_select_related = ("accused", "reporter")
    ordering = ("-id",)
    paginator = CappedPaginator
    show_full_result_count = False
    fields = (
        "created",
        "accused_user",
        "reporter_user",
        "reason",
        "letters",
        "resolution_time",
        "resolver",
    )
    actions = ("resolve", "deactivate")

    def has_deactivate_permission(self, request: HttpRequest) -> bool:
        """Return whether staff may resolve reports, and the user model has the needed fields."""
        may_resolve = self.has_change_permission(request)
        return may_resolve and has_user_field("is_active") and has_user_field("is_staff")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: only recipients report letters."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Make all fields read-only."""
        return self.fields

    @admin.display(description=_("reported user"), ordering=None)
    def accused_user(self, report: Report) -> str:
        """Show the sender's name at the time, with a link to the account."""
        if report.accused is None:
            return report.accused_name
        name = Name(report.accused_name, name_of(report.accused).detail)
        return account_link(report.accused, name)

    @admin.display(description=_("reporter"), ordering=None)
    def reporter_user(self, report: Report) -> str:
        """Link to the reporter."""
        return account_link(report.reporter)

    @admin.display(description=_("resolved at"), ordering=None)
    def resolution_time(self, report: Report) -> datetime | None:
        """Show when the report was resolved."""
        return report.resolved_at

    @admin.display(description=_("resolved by"))
    def resolver(self, report: Report) -> str:
        """Link to the user who resolved the report."""
        return account_link(report.resolved_by)

    @admin.display(description=_("reason"))
    def reason_begins(self, report: Report) -> str:
        """Show the beginning of the reason."""
        return Truncator(report.reason).chars(80)

    @admin.display(description=_("messages"))
    def letters(self, report: Report) -> SafeString:
        """Show the letters as they were when reported, oldest first."""
        rows = ((row["at"], row["from"], row["subject"], row["text"]) for row in report.excerpt)
        return format_html_join("", "<p>{} <b>{}</b> {}<br>{}</p>", rows)

    @admin.action(description=_("Resolve"), permissions=["change"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Resolve the selected reports."""
        count = queryset.filter(resolved_at=None).update(
            resolved_at=timezone.now(), resolved_by=request.user
        )
        text = ngettext("%(count)d report resolved.", "%(count)d reports resolved.", count)
        self.message_user(request, text % {"count": count})

    @admin.action(
        description=_("Deactivate the senders’ accounts and resolve"),
        permissions=["deactivate"],
    )
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Deactivate the accounts of the reported users, except staff, and resolve the reports.

        Requires the permission to change users.
        """
        people = get_user_model()
        codename = get_permission_codename("change", people._meta)
        permission = f"{people._meta.app_label}.{codename}"
        if not cast("Any", request.user).has_perm(permission):
            self.message_user(
                request, _("You don’t have permission to change users."), contrib_messages.ERROR
            )
            return
        accused = queryset.exclude(accused=None).values("accused")
        reached = people._base_manager.filter(pk__in=accused, is_staff=False, is_active=True)
        count = reached.update(is_active=False)
        text = ngettext("%(count)d account deactivated.", "%(count)d accounts deactivated.", count)
        self.message_user(request, text % {"count": count})
        self.resolve(request, queryset)
