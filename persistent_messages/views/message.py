"""Views of one message: show it, and act on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRedirect

from persistent_messages import mailbox
from persistent_messages.conf import get_config
from persistent_messages.constants import Folder
from persistent_messages.http.visibility import is_shown_to_person
from persistent_messages.inbox import bulk_actions
from persistent_messages.inbox.bulk_actions import BulkAction
from persistent_messages.inbox.filters import Filter, parse_key
from persistent_messages.labels import BOX_NAMES
from persistent_messages.letters.conversation import Conversation
from persistent_messages.models import Message
from persistent_messages.rendering.toasts import bulk_result_text
from persistent_messages.web import decorators, htmx, page_state, redirects, responses
from persistent_messages.web.decorators import changes_state, check_charset
from persistent_messages.web.lookups import for_write


@require_safe
@decorators.signed_in
def message_detail(request: HttpRequest, message_id: int) -> HttpResponse:
    """Show one message and mark it as read. This is the only GET that changes anything.

    HEAD requests and prefetching change nothing. `?follow=1` redirects to the `url` of the message,
    if it has one. `?next=` is the page that the message was opened from, to which its actions
    return. A fragment with `?after=<id>` has the letters that followed in the conversation.
    """
    message = get_object_or_404(Message.objects.visible_to(request.user).current(), pk=message_id)
    place = [parse_key(request.GET.get(name)) for name in ("before", "after")]
    is_part = any(key is not None for key in place) and htmx.wants_fragment(request)
    before, after = place if is_part else (place[0], None)
    conversation = Conversation(request, message, before, after)
    context: dict[str, Any] = {"message": message}
    if message.is_from_user:
        context["conversation"] = conversation
    unread = [post for post in _posts(context) if not post.read] or not message.read
    if unread and is_shown_to_person(request):
        mailbox.mark_thread_read(request.user, message)
        _refresh(message, "read_at")
    if message.url and request.GET.get("follow") == "1":
        return htmx.never_cache(HttpResponseRedirect(message.url))
    if after is not None and conversation.page.older:
        return htmx.never_cache(
            HttpResponseClientRedirect(reverse("message_detail", args=[message.pk]))
        )
    if is_part:
        return htmx.fragment_only(request, f"{htmx.THREAD}#posts", context)
    context |= _list_context(request, message)
    page = "persistent_messages/message/detail.html"
    fragment = "persistent_messages/message/includes/message.html"
    return htmx.page_or_fragment(request, page, fragment, context)


def _list_context(request: HttpRequest, message: Message) -> dict[str, Any]:
    # The neighbors are those in the list that the message was opened from, or in the inbox.
    back = redirects.next_url(request)
    filter_ = page_state.filter_at(back)
    here = filter_ or Filter()
    newer, older = (None, None) if here.words else here.neighbors_of(request.user, message.pk)
    return {
        "pm_back": back,
        "pm_back_label": BOX_NAMES[here.box] if filter_ else _("Back"),
        "pm_kept": urlencode({"next": back}) if redirects.origin_page(back) else "",
        "pm_writes_letters": get_config().LETTERS,
        "newer": newer,
        "older": older,
    }


def _posts(context: dict[str, Any]) -> list[Message]:
    # Loaded before they are marked as read, because the page shows which are new.
    return context["conversation"].posts if "conversation" in context else []


# Acting on one message


def acts_on_message(
    view: Callable[[HttpRequest, Message], HttpResponse],
) -> Callable[..., HttpResponse]:
    """Look up the message with `message_id` in the user's mailbox, and pass it to `view`.

    If the message was permanently deleted, for example in another tab, it is removed from the page
    that still shows it.
    """

    @wraps(view)
    def wrapped(request: HttpRequest, /, message_id: int) -> HttpResponse:
        try:
            message = _own_message(request, message_id)
        except Http404:
            if not _is_from_our_page(request):
                raise
            return _gone_response(request, message_id)
        return view(request, message)

    return wrapped


@changes_state
def message_open(request: HttpRequest, message_id: int) -> HttpResponse:
    """Mark one message as read and redirect to its `url`, never to a URL from the request."""
    message = _own_message(request, message_id)
    if not message.url:
        return redirect("message_detail", message.pk)
    if request.method != "POST":
        question = _("Open “%(title)s”?") % {"title": message.title}
        return responses.confirm_response(request, question, _("Open"))
    _write(request, message, "read")
    return HttpResponseRedirect(message.url)


@changes_state
@acts_on_message
def message_mark_read(request: HttpRequest, message: Message) -> HttpResponse:
    """Mark one message as read. Closing a notice does this, too."""
    question, text = _("Mark “%(title)s” as read?"), _("“%(title)s” marked as read.")
    return _ask_or_act(request, message, "read", question, _("Mark as read"), text)


@changes_state
@acts_on_message
def message_mark_unread(request: HttpRequest, message: Message) -> HttpResponse:
    """Mark one message as unread."""
    question, text = _("Mark “%(title)s” as unread?"), _("“%(title)s” marked as unread.")
    return _ask_or_act(request, message, "unread", question, _("Mark as unread"), text)


@changes_state
@acts_on_message
def message_archive(request: HttpRequest, message: Message) -> HttpResponse:
    """Move one message from the inbox to the archive."""
    question, text = _("Archive “%(title)s”?"), _("“%(title)s” archived.")
    return _ask_or_act(request, message, "archive", question, pgettext("verb", "Archive"), text)


@changes_state
@acts_on_message
def message_restore(request: HttpRequest, message: Message) -> HttpResponse:
    """Move one message from the archive or the trash back to the inbox or sent messages."""
    question, text = _("Move “%(title)s” to the inbox?"), _("“%(title)s” restored.")
    return _ask_or_act(request, message, "restore", question, _("Move to inbox"), text)


@changes_state
@acts_on_message
def message_delete(request: HttpRequest, message: Message) -> HttpResponse:
    """Move one message to the trash, or delete a trashed one permanently after confirmation."""
    is_final = message.folder == Folder.TRASH
    if request.method != "POST":
        question = _("Permanently delete “%(title)s”?") if is_final else _("Delete “%(title)s”?")
        button = _("Delete permanently") if is_final else _("Delete")
        return responses.confirm_response(
            request,
            question % {"title": message.title},
            button,
            note=_("You can’t undo this.") if is_final else "",
            deletes=True,
            final=int(is_final),
        )
    if is_final and request.POST.get("final") != "1":
        # For example the second request of a double click: the first one moved the message.
        return responses.action_response(
            request,
            _("“%(title)s” deleted.") % {"title": message.title},
            None,
            message,
            offers_restore=True,
        )
    if is_final:
        change, rest = _write(request, message, "delete")
        if rest is not None:
            return responses.action_response(request, bulk_result_text(change), change, rest=rest)
        return responses.action_response(
            request, _("“%(title)s” permanently deleted.") % {"title": message.title}
        )
    return _act(request, message, "delete", _("“%(title)s” deleted."))


@login_not_required  # visitors have one-shot messages, too
@require_safe
def message_dismiss(request: HttpRequest) -> HttpResponse:
    """Close a one-shot message, which is only on the page: its row has been removed."""
    check_charset(request)
    if htmx.wants_fragment(request):
        return htmx.never_cache(HttpResponse())
    return htmx.never_cache(HttpResponseRedirect(redirects.next_url(request)))


# Helpers


def _own_message(request: HttpRequest, message_id: int) -> Message:
    # In any folder, so that archiving a message twice, for example in two tabs, is no error.
    rows = for_write(request, Message.objects.visible_to(request.user))
    message: Message = get_object_or_404(rows, pk=message_id)
    return message


def _write(
    request: HttpRequest, message: Message, verb: str
) -> tuple[mailbox.Change, BulkAction | None]:
    # In a list, a letter represents its whole conversation.
    folder = Folder(message.folder)
    if message.is_letter:
        return bulk_actions.run_step(request.user, BulkAction.of_rows(verb, folder, {message.pk}))
    rows = Message.objects.filter(pk=message.pk)
    return bulk_actions.CHANGES[verb](request.user, folder, rows), None


def _ask_or_act(
    request: HttpRequest, message: Message, verb: str, question: str, button: str, text: str
) -> HttpResponse:
    if request.method != "POST":
        return responses.confirm_response(request, question % {"title": message.title}, button)
    return _act(request, message, verb, text)


def _act(request: HttpRequest, message: Message, verb: str, text: str) -> HttpResponse:
    change, rest = _write(request, message, verb)
    if rest is not None:
        return responses.action_response(request, bulk_result_text(change), change, rest=rest)
    _refresh(message, "folder", "read_at")
    is_elsewhere = _is_elsewhere(request, message) if verb in UNCHANGED_TEXTS else not change.count
    if is_elsewhere:
        text = _location_text(message)
    elif not change.count:
        text = str(UNCHANGED_TEXTS[verb])
    put_away = message.folder in (Folder.ARCHIVE, Folder.TRASH)
    return responses.action_response(
        request,
        text % {"title": message.title},
        change,
        message,
        offers_restore=is_elsewhere and put_away,
    )


def _is_from_our_page(request: HttpRequest) -> bool:
    is_post = request.method == "POST"
    return is_post and "pm-from" in request.POST and htmx.wants_fragment(request)


def _gone_response(request: HttpRequest, message_id: int) -> HttpResponse:
    gone = Message(pk=message_id, folder=Folder.TOMBSTONE)
    return responses.action_response(request, _("This message no longer exists."), None, gone)


def _is_elsewhere(request: HttpRequest, message: Message) -> bool:
    # If the list shows another folder, its row is out of date.
    is_row = request.POST.get("pm-from") == "row"
    return is_row and message.folder != page_state.posted_filter(request).folder


UNCHANGED_TEXTS = {
    "read": gettext_lazy("“%(title)s” was already marked as read."),
    "unread": gettext_lazy("“%(title)s” was already marked as unread."),
}


def _location_text(message: Message) -> str:
    """Return a text that says which folder another request has moved `message` to."""
    return {
        Folder.ARCHIVE: _("“%(title)s” was already archived."),
        Folder.SENT: _("“%(title)s” is in your sent messages."),
        Folder.TRASH: _("“%(title)s” is in the trash."),
    }.get(Folder(message.folder), _("“%(title)s” is in the inbox."))


def _refresh(message: Message, *fields: str) -> None:
    try:
        message.refresh_from_db(
            fields=fields, from_queryset=Message.objects.on_primary().owned_by(message.user_id)
        )
    except Message.DoesNotExist:
        raise Http404("The message has been permanently deleted.") from None
