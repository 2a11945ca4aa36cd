"""The admin of broadcasts: add with a preview, edit, withdraw, and count recipients."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone, translation
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext

from persistent_messages.constants import Folder
from persistent_messages.db.deletion import RenamedRow
from persistent_messages.models import Broadcast, Message, Receipt
from persistent_messages.notices import audiences, broadcasts, sending
from persistent_messages.notices.sending import supported_language
from persistent_messages.rendering import rows
from persistent_messages.rendering.row_actions import page_context

from .base import COUNT_LIMIT, AnyAdmin, CappedPaginator
from .broadcast_form import PREVIEWED, BroadcastForm, as_message, other_languages

SAMPLE_SIZE = 1000
"""The number of users that the size of a site's audience is estimated from."""
WRITTEN = ("level", "topic", "subject", "message", "url", "action", "starts", "expires")


class Preview(NamedTuple):
    """A preview of the message in one language."""

    language: str
    name: str
    is_right_to_left: bool
    notice: dict[str, Any]
    row: dict[str, Any] | None
    """None on a site without the URLs of the app."""


@admin.register(Broadcast)
class BroadcastAdmin(AnyAdmin):
    """Messages to all users in an audience; the form can also send to selected users."""

    list_display = ("id", "title", "audience_name", "state", "starts", "expires", "created")
    list_display_links = ("id", "title")
    ordering = ("-id",)
    paginator = CappedPaginator
    show_full_result_count = False
    actions = ("withdraw_chosen",)
    form = BroadcastForm
    change_form_template = "admin/persistent_messages/broadcast/change_form.html"
    readonly_fields = ("state", "received")

    class Media:
        css = {"all": ["persistent_messages/persistent_messages.css"]}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: broadcasts are withdrawn instead, together with their copies."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False for withdrawn broadcasts, and for those whose receipts were pruned."""
        if obj is not None and (obj.withdrawn_at, obj.receipt_count) != (None, None):
            return False
        return super().has_change_permission(request, obj)

    # Columns

    @admin.display(description=_("message"))
    def title(self, broadcast: Broadcast) -> str:
        """Show the subject, or the beginning of the text."""
        return str(broadcast)

    @admin.display(description=_("audience"))
    def audience_name(self, broadcast: Broadcast) -> str:
        """Show the name of the audience."""
        return audiences.label_of(broadcast.audience)

    @admin.display(description=_("status"))
    def state(self, broadcast: Broadcast) -> str:
        """Show whether the broadcast is running."""
        if broadcast.withdrawn_at is not None:
            return pgettext("broadcast", "Withdrawn")
        if broadcast.is_running:
            return pgettext("broadcast", "Running")
        is_over = broadcast.expires is not None and broadcast.expires <= timezone.now()
        return pgettext("broadcast", "Ended") if is_over else pgettext("broadcast", "Scheduled")

    @admin.display(description=_("received"))
    def received(self, broadcast: Broadcast) -> str:
        """Show how many users received, read and deleted it, up to `COUNT_LIMIT`; one query.

        Only how many received it once its receipts were pruned.
        """
        if broadcast.receipt_count is not None:
            count = number_format(broadcast.receipt_count, force_grouping=True)
            return _("%(got)s received") % {"got": count}
        got, read, deleted = count_copies(broadcast)
        more = "+" if got > COUNT_LIMIT else ""
        numbers = (min(got, COUNT_LIMIT), read, deleted)
        got_, read_, deleted_ = (number_format(n, force_grouping=True) + more for n in numbers)
        return _("%(got)s received, %(read)s read, %(deleted)s deleted") % {
            "got": got_,
            "read": read_,
            "deleted": deleted_,
        }

    # The form

    def get_form(self, request: HttpRequest, obj: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Return the form itself, which adds the fields for the site's languages."""
        return BroadcastForm

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Make all fields of a withdrawn broadcast read-only."""
        if obj is not None and not self.has_change_permission(request, obj):
            return (*self.readonly_fields, "audience_name", *WRITTEN)
        return self.readonly_fields

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the message and its translations, and the recipients of an existing broadcast."""
        if obj is not None and not self.has_change_permission(request, obj):
            return [(None, {"fields": ["state", "received", "audience_name", *WRITTEN]})]
        sent = ["state", "received"] if obj is not None else []
        chosen = ["audience", "recipients"] if obj is None else ["audience"]
        key = ["key"] if obj is None else []
        translations = [
            (name, {"fields": BroadcastForm.names_of_translations(code), "classes": ["collapse"]})
            for code, name in other_languages()
        ]
        return [(None, {"fields": [*sent, *chosen, *WRITTEN, *key]}), *translations]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Add the previews to the context."""
        form = context["adminform"].form
        shown = getattr(form, "preview", None)
        context["pm_can_send"] = self._may_write(request, kwargs.get("obj"))
        if shown is not None:
            count, is_exact = reach_of(form)
            context["pm_previews"] = list(previews_of(shown))
            context["pm_digest"] = form.digest
            context["pm_previewed"] = PREVIEWED
            context["pm_reach"] = reach_label(count, is_exact=is_exact)
        return super().render_change_form(request, context, *args, **kwargs)

    def _may_write(self, request: HttpRequest, obj: Any) -> bool:
        if obj is None:
            return self.has_add_permission(request)
        return self.has_change_permission(request, obj)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Return the unsaved broadcast, or the existing row when editing."""
        return form.instance if change else form.sent

    def save_model(self, request: HttpRequest, obj: Broadcast, form: Any, change: bool) -> None:
        """Store or edit the broadcast, or send the message to the selected users."""
        if change:
            broadcasts.replace(obj, form.sent)
        elif form.is_to_chosen_users:
            count = sending.send(
                form.users,
                lambda code: obj.in_language(supported_language(code)),
                email=False,
                min_interval=None,
            )
            self.message_user(request, sent_label(count))
        else:
            broadcasts.store(obj)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Do nothing, because the form has no related objects."""

    def construct_change_message(self, request: HttpRequest, form: Any, *args: Any) -> Any:
        """Log the number of recipients of a message to selected users."""
        if not form.instance.pk and form.is_to_chosen_users:
            return sent_label(len(form.users))
        return super().construct_change_message(request, form, *args)

    def response_add(self, request: HttpRequest, obj: Broadcast, *args: Any, **kwargs: Any) -> Any:
        """Redirect as usual after sending to selected users, which stores no broadcast."""
        if obj.pk is not None:
            return super().response_add(request, obj, *args, **kwargs)
        return self.response_post_save_add(request, obj)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Log the addition, without the text of a message to selected users."""
        if obj.pk is None:
            obj = RenamedRow(obj, _("Message to chosen users"))
        return super().log_addition(request, obj, message)

    # Withdrawing

    def get_urls(self) -> Any:
        """Add the URL for withdrawing a broadcast."""
        withdraw = self.admin_site.admin_view(self.withdraw_view)
        name = "persistent_messages_broadcast_withdraw"
        return [path("<path:object_id>/withdraw/", withdraw, name=name), *super().get_urls()]

    def withdraw_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for confirmation, and withdraw the broadcast on POST."""
        broadcast = self.get_object(request, unquote(object_id))
        if broadcast is None:
            raise Http404
        if not self.has_change_permission(request, broadcast):
            raise PermissionDenied
        if request.method == "POST":
            self._withdraw(request, broadcast)
            return HttpResponseRedirect(reverse("admin:persistent_messages_broadcast_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Withdraw “%(title)s”?") % {"title": broadcast},
            "opts": self.opts,
            "original": broadcast,
            "received": self.received(broadcast),
        }
        return render(request, "admin/persistent_messages/broadcast/withdraw.html", context)

    @admin.action(description=_("Withdraw"), permissions=["change"])
    def withdraw_chosen(self, request: HttpRequest, queryset: QuerySet[Broadcast]) -> None:
        """Withdraw the selected broadcasts."""
        for broadcast in queryset.filter(withdrawn_at=None):
            self._withdraw(request, broadcast)

    def _withdraw(self, request: HttpRequest, broadcast: Broadcast) -> None:
        label = withdrawn_label(broadcast.withdraw())
        self.log_change(request, broadcast, label)
        self.message_user(request, f"{broadcast}: {label}")


def count_copies(broadcast: Broadcast) -> tuple[int, int, int]:
    """Return how many users received, read and deleted it; one query.

    Counts at most `COUNT_LIMIT` users, plus one if there are more.
    """
    copy = Message.objects.filter(pk=OuterRef("message_id"), user=OuterRef("user"))
    receipts = Receipt.objects.filter(broadcast=broadcast).exclude(message_id=None)
    found = receipts.order_by("user")[: COUNT_LIMIT + 1].values_list(
        Subquery(copy.values("folder")[:1]), Subquery(copy.values("read_at")[:1])
    )
    states = list(found)
    counted = states[:COUNT_LIMIT]
    read = sum(read_at is not None for _folder, read_at in counted)
    deleted = sum(folder in (None, Folder.TRASH) for folder, _read_at in counted)
    return len(states), read, deleted


def previews_of(broadcast: Broadcast) -> list[Preview]:
    """Return a preview in each language of the site."""
    languages = [(settings.LANGUAGE_CODE, ""), *other_languages()]
    names = dict(settings.LANGUAGES)
    found = []
    for code, name in languages:
        with translation.override(code):
            message, page = as_message(broadcast, code), page_context()
            has_pages = bool(page.inbox)
            found.append(
                Preview(
                    code,
                    str(name or names.get(code, code)),
                    translation.get_language_bidi(),
                    rows.notice_of(message, has_pages=has_pages).values,
                    rows.RowValues(page, has_date=False).of(message).values if has_pages else None,
                )
            )
    return found


def reach_of(form: Any) -> tuple[int, bool]:
    """Return the number of recipients, and whether it is exact."""
    if form.is_to_chosen_users:
        return len(form.users), True
    return audiences.estimate(form.sent.audience, SAMPLE_SIZE)


def reach_label(count: int, *, is_exact: bool) -> str:
    """Return a text with the number of users that it will reach."""
    if is_exact:
        text = ngettext(
            "This will reach %(count)s user.", "This will reach %(count)s users.", count
        )
    else:
        text = ngettext(
            "This will reach about %(count)s user.",
            "This will reach about %(count)s users.",
            count,
        )
    return text % {"count": number_format(count, force_grouping=True)}


def sent_label(count: int) -> str:
    """Return a text with the number of users that it was sent to."""
    text = ngettext("Sent to %(count)s user.", "Sent to %(count)s users.", count)
    return text % {"count": number_format(count, force_grouping=True)}


def withdrawn_label(count: int) -> str:
    """Return a text with the number of mailboxes that it was removed from."""
    text = ngettext(
        "Withdrawn from %(count)s mailbox.", "Withdrawn from %(count)s mailboxes.", count
    )
    return text % {"count": number_format(count, force_grouping=True)}
