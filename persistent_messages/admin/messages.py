"""The admin of messages: staff search by owner, read, add and delete messages.

It is made for a table with a hundred million rows: no query counts it, sorts it or lists all users.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import QuerySet
from django.forms import ModelForm, TypedChoiceField
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from persistent_messages import mailbox
from persistent_messages.constants import DEFAULT_TAGS, INFO, Folder
from persistent_messages.inbox.filters import BOXES
from persistent_messages.labels import BOX_NAMES, LEVEL_NAMES
from persistent_messages.mailbox.validation import clean_close_timeout, clean_expires, clean_url
from persistent_messages.models import Message
from persistent_messages.users.usernames import find_by_username

from .base import CappedPaginator, PrivateLogAdmin, account_link

FOLDERS: dict[int, Any] = {
    Folder.ONE_SHOT: _("Shown once"),
    **{folder: BOX_NAMES[box] for box, folder in BOXES.items() if box != "unread"},
    Folder.TOMBSTONE: _("Permanently deleted"),
}
LEVELS: dict[int, Any] = {level: LEVEL_NAMES[tag] for level, tag in DEFAULT_TAGS.items()}

if TYPE_CHECKING:
    MessageForm = ModelForm[Message]
else:
    MessageForm = ModelForm


class NumberFilter(admin.SimpleListFilter):
    """A filter by a column with fixed choices, so that the table is not read to find them."""

    names: dict[int, Any]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        """Return every value that has a name."""
        return [(str(int(number)), name) for number, name in self.names.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the selected value; ignore unknown values."""
        value = self.value()
        known = {str(int(number)) for number in self.names}
        return queryset.filter((self.parameter_name, value)) if value in known else queryset


class FolderFilter(NumberFilter):
    """Filter by folder."""

    title = _("folder")
    parameter_name = "folder"
    names = FOLDERS


class LevelFilter(NumberFilter):
    """Filter by one of the app's own levels."""

    title = _("level")
    parameter_name = "level"
    names = LEVELS


@contextmanager
def _as_validation_error() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValidationError(str(error)) from None


class NewMessageForm(MessageForm):
    """A notice from staff to one user."""

    level = TypedChoiceField(
        label=_("level"),
        coerce=int,
        choices=list(LEVELS.items()),
        initial=INFO,
    )

    class Meta:
        model = Message
        fields = ("user", "level", "subject", "message", "url", "expires", "close_timeout")

    def clean_url(self) -> str:
        """Accept what `send_message` accepts."""
        with _as_validation_error():
            return clean_url(self.cleaned_data["url"])

    def clean_expires(self) -> datetime | None:
        """Accept what `send_message` accepts."""
        with _as_validation_error():
            return clean_expires(self.cleaned_data["expires"])

    def clean_close_timeout(self) -> int | None:
        """Accept what `send_message` accepts."""
        with _as_validation_error():
            return clean_close_timeout(self.cleaned_data["close_timeout"])


ACCOUNT_FIELDS = {"user": "owner", "from_user": "sender", "to_user": "recipient"}
"""Methods that link to an account, in place of fields that render `str(user)`."""


@admin.register(Message)
class MessageAdmin(PrivateLogAdmin):
    """Messages, which staff can view, add and delete, but not change."""

    list_display = ("id", "created", "owner", "folder_name", "level", "title", "is_read")
    list_display_links = ("id", "title")
    list_filter = (FolderFilter, LevelFilter)
    list_per_page = 50
    list_select_related = ("user",)
    ordering = ("-id",)
    paginator = CappedPaginator
    raw_id_fields = ("user",)
    search_help_text = _("The owner’s exact username.")
    show_full_result_count = False

    def get_search_fields(self, request: HttpRequest) -> tuple[str]:
        """Search by the owner's username, which is the only search that uses an index."""
        return (f"user__{get_user_model().USERNAME_FIELD}__exact",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Keep the mailbox of the user with this username; one query for the user."""
        if not search_term:
            return queryset, False
        people = get_user_model()._base_manager.all()
        owner = find_by_username(people, [search_term]).get(search_term)
        return (queryset.none() if owner is None else queryset.filter(user=owner.pk)), False

    def has_change_permission(self, request: HttpRequest, obj: Message | None = None) -> bool:
        """Return False: messages that were sent are not changed."""
        return False

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the form for adding a notice, or the default form for viewing a row."""
        if obj is None:
            kwargs["form"] = NewMessageForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields for adding a notice, or all fields of a row."""
        if obj is None:
            return NewMessageForm.Meta.fields
        return [ACCOUNT_FIELDS.get(str(name), name) for name in super().get_fields(request, obj)]

    @admin.display(description=_("user"), ordering=None)
    def owner(self, message: Message) -> str:
        """Link to the owner of the mailbox."""
        return account_link(message.user)

    @admin.display(description=_("sender"))
    def sender(self, message: Message) -> str:
        """Link to the sender's account."""
        return account_link(message.from_user)

    @admin.display(description=_("recipient"))
    def recipient(self, message: Message) -> str:
        """Link to the recipient's account."""
        return account_link(message.to_user)

    @admin.display(description=_("folder"))
    def folder_name(self, message: Message) -> Any:
        """Show the name of the folder."""
        return FOLDERS[Folder(message.folder)]

    @admin.display(description=_("message"))
    def title(self, message: Message) -> str:
        """Show the subject, or the beginning of the text."""
        return message.title

    @admin.display(description=_("read"), boolean=True)
    def is_read(self, message: Message) -> bool:
        """Show whether it was opened or closed."""
        return message.read

    def save_model(self, request: HttpRequest, obj: Message, form: Any, change: bool) -> None:
        """Deliver the notice as the API does."""
        obj.prepare_text()
        mailbox.deliver([obj])

    def delete_model(self, request: HttpRequest, obj: Message) -> None:
        """Move the message to the trash, or delete it permanently if it is there."""
        mailbox.delete(obj.user_id, Folder(obj.folder), Message.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        """Move messages to the trash, and permanently delete those already there."""
        chosen: defaultdict[tuple[Any, int], list[int]] = defaultdict(list)
        rows = queryset.using(router.db_for_write(Message)).order_by()
        for owner, folder, pk in rows.values_list("user_id", "folder", "pk"):
            chosen[owner, folder].append(pk)
        for (owner, folder), ids in chosen.items():
            mailbox.delete(owner, Folder(folder), Message.objects.filter(pk__in=ids))
