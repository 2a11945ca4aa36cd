"""The pages that act on many messages at once: all of a list, the ticked ones, and the undo."""

from __future__ import annotations

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from . import htmx, mailbox, undo
from .constants import Folder
from .counter import label
from .filters import Filter, number
from .inbox import Inbox
from .models import Message
from .querysets import MessageQuerySet
from .views import changes_state

MAX_IDS = 500  # Django takes a thousand fields
COUNT_LIMIT = 10_000


@changes_state
def message_mark_all_read(request: HttpRequest) -> HttpResponse:
    """Mark the filtered list read, as far as the page that asked could show it."""
    inbox, messages = _all_shown(request)
    if request.method != "POST":
        question = _("Mark all messages as read?")
        return htmx.confirm(request, question, _("Mark all read"), **_scope(inbox))
    change = mailbox.mark_read(request.user, inbox.filter.folder, messages)
    return htmx.done(request, _said_of_many(change), change)


@changes_state
def message_delete_all(request: HttpRequest) -> HttpResponse:
    """Delete the filtered list, as far as the page that asked could show it."""
    inbox, messages = _all_shown(request)
    if request.method != "POST":
        count = messages.count_to(COUNT_LIMIT + 1)
        if inbox.filter.folder == Folder.TRASH:
            question = ngettext(
                "Delete %(count)s message for good?", "Delete %(count)s messages for good?", count
            )
        else:
            question = ngettext("Delete %(count)s message?", "Delete %(count)s messages?", count)
        question %= {"count": label(count, COUNT_LIMIT)}
        return htmx.confirm(request, question, _("Delete all"), **_scope(inbox))
    change = mailbox.delete(request.user, inbox.filter.folder, messages)
    return htmx.done(request, _said_of_many(change), change)


@changes_state
def message_bulk(request: HttpRequest) -> HttpResponse:
    """Act on the messages that are ticked, of the folder in which they were."""
    if request.method != "POST":
        return redirect("message_list")
    folder = htmx.asked_filter(request).folder
    ids = {key for text in request.POST.getlist("ids") if (key := number(text)) is not None}
    if len(ids) > MAX_IDS:
        words = _("Tick %(limit)d messages at most.") % {"limit": MAX_IDS}
        return htmx.refuse(request, words)
    ticked = Message.objects.at_source().owned_by(request.user).filter(pk__in=ids)
    action = request.POST.get("do", "")
    if action == "delete" and folder == Folder.TRASH and request.POST.get("final") != "1":
        return _ask_for_good(request, ids)
    if action not in BULK:
        return htmx.refuse(request, _("There is nothing of that name to do."))
    threads = ticked.threads(MAX_IDS)
    # A row stands for its whole conversation in that folder.
    rows = Message.objects.filter(Q(pk__in=ids) | Q(thread__in=threads)) if threads else ticked
    change = BULK[action](request.user, folder, rows)
    return htmx.done(request, _said_of_many(change), change)


BULK: dict[str, mailbox.Write] = {
    "read": mailbox.mark_read,
    "unread": mailbox.mark_unread,
    "archive": mailbox.archive,
    "restore": mailbox.restore,
    "delete": mailbox.delete,
}


@changes_state
def message_undo(request: HttpRequest, token: str) -> HttpResponse:
    """Take the action back that `token` stands for, for exactly the rows it touched."""
    change = undo.change_of(request.user, token)
    if change is None:
        return htmx.refuse(request, _("This can no longer be undone."))
    if request.method != "POST":
        return htmx.confirm(request, _("Undo the last change?"), _("Undo"))
    count = mailbox.undo(request.user, change)
    said = ngettext("%(count)d message is as before.", "%(count)d messages are as before.", count)
    return htmx.done(request, said % {"count": count})


def _all_shown(request: HttpRequest) -> tuple[Inbox, MessageQuerySet]:
    # Up to the first message of the page that asked, else of the list as it is now: what comes
    # later stays as it is, unseen. After a search nothing: its page offers no such action.
    asked = request.POST or request.GET
    filter_ = htmx.asked_filter(request) if request.POST else Filter.from_query(request.GET)
    if request.POST.get("pm-from") in ("strip", "bell"):
        filter_ = Filter()  # they show the inbox, whatever the list beside them shows
    inbox = Inbox(request, filter_)
    newest = number(asked.get("newest"))
    if newest is not None:
        inbox.newest = newest
    messages = filter_.messages_of(request.user).up_to(inbox.newest)
    return inbox, messages.none() if filter_.words else messages


def _scope(inbox: Inbox) -> dict[str, object]:
    return {"newest": inbox.newest, "pm-filter": inbox.query}


def _ask_for_good(request: HttpRequest, ids: set[int]) -> HttpResponse:
    question = ngettext(
        "Delete %(count)d message for good?", "Delete %(count)d messages for good?", len(ids)
    )
    fields = {"ids": sorted(ids), "do": "delete", "final": 1}
    fields["pm-filter"] = request.POST.get("pm-filter", "")
    return htmx.confirm(request, question % {"count": len(ids)}, _("Delete for good"), **fields)


def _said_of_many(change: mailbox.Change) -> str:
    count = change.count
    said = {
        "read": ngettext(
            "%(count)d message marked as read.", "%(count)d messages marked as read.", count
        ),
        "unread": ngettext(
            "%(count)d message marked as unread.", "%(count)d messages marked as unread.", count
        ),
        "delete": ngettext(
            "%(count)d message deleted for good.", "%(count)d messages deleted for good.", count
        ),
        "restore": ngettext("%(count)d message restored.", "%(count)d messages restored.", count),
        Folder.ARCHIVE: ngettext(
            "%(count)d message archived.", "%(count)d messages archived.", count
        ),
        Folder.TRASH: ngettext("%(count)d message deleted.", "%(count)d messages deleted.", count),
    }
    return said[change.target or change.action] % {"count": count}
