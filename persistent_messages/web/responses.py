"""Responses to actions: confirm pages, errors, and the changed parts out of band."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.contrib import messages as contrib_messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.translation import gettext as _
from django_htmx.http import trigger_client_event

from persistent_messages.constants import Folder
from persistent_messages.inbox import bulk_actions
from persistent_messages.inbox.bulk_actions import BulkAction
from persistent_messages.inbox.counter import counter_context, reset_unread_count, unread_count
from persistent_messages.inbox.filters import MAX_PAGES, parse_key
from persistent_messages.inbox.page import InboxPage
from persistent_messages.mailbox import undo_tokens
from persistent_messages.mailbox.changes import Change
from persistent_messages.models import Message
from persistent_messages.rendering.toasts import bulk_result_text
from persistent_messages.storage import PersistentMessageStorage

from .htmx import (
    CONFIRM,
    COUNTER,
    INBOX,
    ROW,
    STRIP,
    never_cache,
    page_or_fragment,
    render_fragment,
    wants_fragment,
)
from .page_state import posted_filter
from .redirects import next_url


def confirm_response(
    request: HttpRequest,
    question: str,
    button: str,
    address: str = "",
    *,
    note: str = "",
    deletes: bool = False,
    **fields: Any,
) -> HttpResponse:
    """Return a page that asks for confirmation, with a form that posts to the URL of the request.

    The form posts to `address` if it is given. `note` explains the consequences, and `deletes`
    makes the button look dangerous. `fields` become hidden fields; a list becomes one for each
    item.
    """
    hidden = [
        (name, value)
        for name, values in fields.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    context = {
        "question": question,
        "button": button,
        "note": note,
        "deletes": deletes,
        "hidden": hidden,
        "action": address or request.path,
        "next": next_url(request),
    }
    page = "persistent_messages/message/confirm.html"
    return page_or_fragment(request, page, CONFIRM, context)


def error_response(request: HttpRequest, words: str) -> HttpResponse:
    """Return an error: a page with status 400, or for a swap a toast with 200, as htmx needs."""
    toast = Message(level=contrib_messages.ERROR, message=words)
    page = "persistent_messages/message/refused.html"
    response = page_or_fragment(request, page, f"{STRIP}#said", {"words": words, "pm_toast": toast})
    if not wants_fragment(request):
        response.status_code = 400
    return response


def action_response(
    request: HttpRequest,
    text: str,
    change: Change | None = None,
    message: Message | None = None,
    rest: BulkAction | None = None,
    *,
    offers_restore: bool = False,
) -> HttpResponse:
    """Return the response to an action on `message`, or on several messages if it is None.

    A plain form redirects to its `next`, with `text` as a one-shot message. A swap gets the parts
    of its page that have changed out of band. If the request names no parts, it gets the changed
    row or list as content. Both offer to undo `change`, or with `offers_restore` to move `message`
    to the inbox. The event `pm:changed` has the unread count, up to the limit of the counter plus
    one.

    If there is a `rest`, a plain form gets a page that asks to continue. A swap gets a progress bar
    that continues automatically, and offers to undo at the end.
    """
    undo_url, tag = "", undo_tokens.UNDO_TAG
    if message is not None and offers_restore:
        undo_url, tag = resolve_url("message_restore", message.pk), undo_tokens.RESTORE_TAG
    elif change is not None and change.can_be_undone:
        undo_url = resolve_url("message_undo", undo_tokens.make_token(request.user, change))
    if not wants_fragment(request):
        queue_message(request, text, undo_url, tag)
        return (
            _continue_response(request, rest) if rest else HttpResponseRedirect(next_url(request))
        )
    reset_unread_count(request)
    toast = Message(level=contrib_messages.SUCCESS, message=text, url=undo_url, extra_tags=tag)
    if _is_continuation(request) and rest:
        # The list was updated by the first step, and is updated again by the last one.
        parts = _progress_parts(request, toast, rest)
    else:
        parts = chain(
            _changed_parts(request, toast, message, rest), _progress_parts(request, toast, rest)
        )
    response = never_cache(HttpResponse("".join(part.strip() for part in parts)))
    return trigger_client_event(response, "pm:changed", {"unread": unread_count(request)})


def _continue_response(request: HttpRequest, rest: BulkAction) -> HttpResponse:
    question, button = _("Continue with the remaining messages?"), _("Continue")
    address = resolve_url("message_go_on")
    return confirm_response(
        request, question, button, address, token=bulk_actions.make_token(request.user, rest)
    )


def _is_continuation(request: HttpRequest) -> bool:
    return "token" in request.POST


def _progress_parts(request: HttpRequest, toast: Message, rest: BulkAction | None) -> Iterator[str]:
    # The first step adds the progress bar, and the last one removes it.
    if rest is None and not _is_continuation(request):
        return
    shown = request.POST.getlist("pm-part")
    place = ".pm-said" if {"strip", "said"} & {*shown} else ".pm-rest"
    context = {
        # Later steps replace the bar where it is.
        "pm_place": "" if _is_continuation(request) else place,
        "pm_toast": toast,
        "pm_rest": rest,
        "pm_rest_token": bulk_actions.make_token(request.user, rest) if rest else "",
        "pm_from": request.POST.get("pm-from") or "list",
        "pm_next": next_url(request),
    }
    yield render_fragment(request, f"{STRIP}#progress", context)
    if rest and _is_continuation(request) and "counter" in shown:
        yield render_fragment(request, COUNTER, {"pm_oob": True, **counter_context(request)})


def queue_message(
    request: HttpRequest, text: str, undo_url: str = "", tag: str = undo_tokens.UNDO_TAG
) -> None:
    """Queue `text` as a one-shot message for the next page, with a URL to undo the action."""
    storage = getattr(request, "_messages", None)
    if isinstance(storage, PersistentMessageStorage):
        storage.add(contrib_messages.SUCCESS, text, extra_tags=tag, url=undo_url)
    else:
        contrib_messages.success(request, text, fail_silently=True)


def _changed_parts(
    request: HttpRequest, toast: Message, message: Message | None, rest: BulkAction | None
) -> Iterator[str]:
    shown = set(request.POST.getlist("pm-part"))
    acted_from = request.POST.get("pm-from") or request.POST.get("do")
    row_shown = message is not None and (
        acted_from == "row" or str(message.pk) in request.POST.getlist("pm-row")
    )
    view = InboxPage(request, posted_filter(request))
    further = sum(parse_key(text) or 0 for text in request.POST.getlist("pm-further"))
    view.pages = min(1 + further, MAX_PAGES)
    context: dict[str, Any] = {
        "pm_oob": bool(shown),
        # A notice that closed by itself needs no toast.
        "pm_toast": toast if acted_from and not rest else None,
        # The response replaces the button that was pressed, so its successor takes the focus. A
        # request that the page made automatically leaves the focus alone.
        "pm_focus": None if _is_continuation(request) else acted_from,
        "inbox": view,
        "pm_is_page": request.POST.get("pm-page") == "1",
        "pm_has_date": "list" not in shown,
    }
    if (message is None and not shown) or (
        # A toast has no row. What it undoes or restores may belong anywhere in the list.
        "list" in shown and (message is None or acted_from == "list")
    ):
        view.prefetch()
        yield render_fragment(request, f"{INBOX}#list", context)
    elif message is not None and (not shown or row_shown):
        partial = ROW if view.keeps(message) else f"{INBOX}#gone"
        yield render_fragment(request, partial, {**context, "message": message})
    if message is not None and shown & {"list", "latest"}:
        counted = {**context, "pm_list_shown": "list" in shown}
        yield render_fragment(request, f"{INBOX}#totals", counted)
    if acted_from == "bell":
        yield render_fragment(request, f"{INBOX}#latest", {**context, "inbox": InboxPage(request)})
    if shown & {"strip", "said"}:
        if context["pm_toast"]:
            yield render_fragment(request, f"{STRIP}#said", context)
    elif "list" in shown:
        yield render_fragment(request, f"{INBOX}#status", context)
    if "strip" in shown:
        yield from _notice_parts(request, context, message)
    if "counter" in shown:
        yield render_fragment(request, COUNTER, {**context, **counter_context(request)})


def _notice_parts(
    request: HttpRequest, context: dict[str, Any], message: Message | None
) -> Iterator[str]:
    if message is None or (not message.read and message.folder == Folder.INBOX):
        yield render_fragment(request, f"{STRIP}#oob", context)
    elif str(message.pk) in request.POST.getlist("pm-notice"):
        # Remove only this notice, so that the focus stays on another one.
        yield render_fragment(request, f"{STRIP}#closed", {**context, "message": message})


def bulk_action_response(request: HttpRequest, task: BulkAction) -> HttpResponse:
    """Run the next step of `task`, and return its response, which continues with the rest."""
    change, rest = bulk_actions.run_step(request.user, task)
    text = bulk_result_text(change, goes_on=rest is not None)
    return action_response(request, text, change, rest=rest)
