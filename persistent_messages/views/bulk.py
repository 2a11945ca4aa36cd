"""Views that act on many messages: a whole list, or the selected ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from persistent_messages.conf import get_config
from persistent_messages.constants import Folder
from persistent_messages.inbox.bulk_actions import CHANGES, BulkAction, read_token
from persistent_messages.inbox.filters import Filter, parse_key
from persistent_messages.inbox.page import COUNT_LIMIT, InboxPage, total_label
from persistent_messages.web import page_state, responses
from persistent_messages.web.decorators import changes_state
from persistent_messages.web.responses import bulk_action_response

MAX_IDS = 500  # well below DATA_UPLOAD_MAX_NUMBER_FIELDS, which is 1,000 by default


@changes_state
def message_mark_all_read(request: HttpRequest) -> HttpResponse:
    """Mark the filtered list as read, up to the newest message of the page; in steps."""
    inbox, newest = _shown_inbox(request)
    if request.method != "POST":
        question = _("Mark all messages as read?")
        return responses.confirm_response(request, question, _("Mark all as read"), **_scope(inbox))
    return _act_on_all(request, "read", inbox, newest)


@changes_state
def message_delete_all(request: HttpRequest) -> HttpResponse:
    """Delete the filtered list, up to the newest message of the page; in steps."""
    inbox, newest = _shown_inbox(request)
    if request.method != "POST":
        return _ask_to_delete_all(request, inbox, newest)
    return _act_on_all(request, "delete", inbox, newest)


def _ask_to_delete_all(request: HttpRequest, inbox: InboxPage, newest: int) -> HttpResponse:
    messages = inbox.filter.messages_of(request.user).up_to(newest)
    count = messages.count_up_to(COUNT_LIMIT + 1)
    is_final = inbox.filter.folder == Folder.TRASH
    if is_final:
        question = _permanent_deletion_question(count)
        notes = [_("You can’t undo this.")]
    else:
        question = ngettext(
            "Delete %(count)s message in “%(folder)s”?",
            "Delete all %(count)s messages in “%(folder)s”?",
            count,
        )
        notes = [_("You can undo this, or find them in the trash.")]
    if inbox.is_filtered:
        only = _("Only messages under the filter “%(filter)s” will be deleted.")
        notes.insert(0, only % {"filter": inbox.filter_name})
    return responses.confirm_response(
        request,
        question % {"count": total_label(count), "folder": inbox.box_name},
        _("Delete permanently") if is_final else _("Delete all"),
        note=" ".join(notes),
        deletes=True,
        **_scope(inbox),
    )


def _act_on_all(request: HttpRequest, verb: str, inbox: InboxPage, newest: int) -> HttpResponse:
    task = BulkAction.of_list(verb, inbox.filter, newest)
    if request.POST.get("pm-from") == "strip" and not get_config().STRIP_LETTERS:
        task = replace(task, leaves_letters=True)  # the strip does not show letters
    return bulk_action_response(request, task)


@changes_state
def message_bulk(request: HttpRequest) -> HttpResponse:
    """Act on the selected messages, if they are still in their folder; in steps.

    With `every` in the form, act on the whole list, up to the newest message of the page.
    """
    if request.method != "POST":
        return redirect("message_list")
    folder = page_state.posted_filter(request).folder
    ids = {key for text in request.POST.getlist("ids") if (key := parse_key(text)) is not None}
    if len(ids) > MAX_IDS:
        words = _("Select at most %(limit)d messages.") % {"limit": MAX_IDS}
        return responses.error_response(request, words)
    action = request.POST.get("do", "")
    is_every = request.POST.get("every") == "1"
    if action == "delete" and folder == Folder.TRASH and request.POST.get("final") != "1":
        return (
            _confirm_permanent_deletion_of_all(request)
            if is_every
            else _confirm_permanent_deletion(request, ids)
        )
    if action not in CHANGES:
        return responses.error_response(request, _("Unknown action."))
    if is_every:
        return bulk_action_response(request, BulkAction.of_list(action, *_whole_list(request)))
    return bulk_action_response(request, BulkAction.of_rows(action, folder, ids))


def _whole_list(request: HttpRequest) -> tuple[Filter, int]:
    # Without `newest`, select nothing: messages that arrived after the page are left alone.
    filter_, newest = page_state.posted_filter(request), parse_key(request.POST.get("newest"))
    return filter_, 0 if filter_.words or newest is None else newest


def _confirm_permanent_deletion_of_all(request: HttpRequest) -> HttpResponse:
    filter_, newest = _whole_list(request)
    count = filter_.rows_of(request.user).up_to(newest).count_up_to(COUNT_LIMIT + 1)
    fields: dict[str, Any] = {"every": 1, "newest": newest, "do": "delete", "final": 1}
    fields["pm-filter"] = filter_.query()
    question = _permanent_deletion_question(count) % {"count": total_label(count)}
    return responses.confirm_response(
        request,
        question,
        _("Delete permanently"),
        note=_("You can’t undo this."),
        deletes=True,
        **fields,
    )


def _permanent_deletion_question(count: int) -> str:
    return ngettext(
        "Permanently delete %(count)s message?", "Permanently delete %(count)s messages?", count
    )


@changes_state
def message_go_on(request: HttpRequest) -> HttpResponse:
    """Run the next step of the bulk action that `token` in the form describes.

    A page with JavaScript requests it automatically; without JavaScript, the page has a button.
    """
    if request.method != "POST":
        return redirect("message_list")
    task = read_token(request.user, request.POST.get("token", ""))
    if task is None:
        return responses.error_response(request, _("This action can no longer be continued."))
    return bulk_action_response(request, task)


def _shown_inbox(request: HttpRequest) -> tuple[InboxPage, int]:
    # Act up to the newest message of the requesting page, or of the current list: messages that
    # arrive later are left alone. Select nothing for a search, whose page offers no such action.
    asked = request.POST or request.GET
    filter_ = page_state.posted_filter(request) if request.POST else Filter.from_query(request.GET)
    if request.POST.get("pm-from") in ("strip", "bell"):
        filter_ = Filter()  # they show the inbox, even next to a list with a filter
    inbox = InboxPage(request, filter_)
    newest = parse_key(asked.get("newest"))
    if newest is not None:
        inbox.newest = newest
    return inbox, 0 if filter_.words else inbox.newest


def _scope(inbox: InboxPage) -> dict[str, Any]:
    return {"newest": inbox.newest, "pm-filter": inbox.query}


def _confirm_permanent_deletion(request: HttpRequest, ids: set[int]) -> HttpResponse:
    question = _permanent_deletion_question(len(ids)) % {"count": len(ids)}
    fields: dict[str, Any] = {"ids": sorted(ids), "do": "delete", "final": 1}
    fields["pm-filter"] = request.POST.get("pm-filter", "")
    return responses.confirm_response(
        request,
        question,
        _("Delete permanently"),
        note=_("You can’t undo this."),
        deletes=True,
        **fields,
    )
