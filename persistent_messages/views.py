"""The pages: look the message up in the mailbox of its owner, act, answer as page or fragment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.db import router
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from . import htmx, mailbox
from .constants import Folder
from .conversation import Conversation
from .counter import label
from .filters import Filter, number
from .inbox import Inbox
from .models import Message
from .safety import check_charset, leads_back

P = ParamSpec("P")
Row = TypeVar("Row", bound=Model)
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def changes_state(view: Callable[Concatenate[HttpRequest, P], HttpResponse]) -> View[P]:
    """Let signed-in people ask by GET and act by POST."""
    return csrf_protect(require_http_methods(["GET", "HEAD", "POST"])(htmx.signed_in(view)))


# Looking


@require_safe
@htmx.signed_in
def message_list(request: HttpRequest) -> HttpResponse:
    """Show a page of a folder, newest first, as its query string filters and places it."""
    inbox = Inbox(request, Filter.from_query(request.GET))
    context = {"inbox": inbox, "pm_is_page": True, "pm_last_day": request.GET.get("day", "")}
    # A further page joins the list that is there; anything else is a new view, with its address.
    further = inbox.filter.before is not None
    here = request.get_full_path()
    if not further and leads_back(request, here):
        context["pm_here"] = here
    fragment = f"{htmx.INBOX}#{'rows' if further else 'inbox'}"
    page = "persistent_messages/message/list.html"
    return htmx.page_or_fragment(request, page, fragment, context)


@require_safe
@htmx.signed_in
def message_latest(request: HttpRequest) -> HttpResponse:
    """Show the newest few, for the bell; a page of its own is the inbox."""
    if not htmx.wants_fragment(request):
        return redirect("message_list")
    context = {"inbox": Inbox(request)}
    return htmx.fragment_only(request, f"{htmx.INBOX}#latest", context)


@require_safe
@htmx.signed_in
def message_news(request: HttpRequest) -> HttpResponse:
    """Say how many messages came after `?after=<id>`: 204 for none; never the messages.

    A page of its own is the inbox.
    """
    if not htmx.wants_fragment(request):
        return redirect("message_list")
    inbox = Inbox(request, Filter.from_query(request.GET))
    after = number(request.GET.get("after"))
    news = 0 if after is None else inbox.news_after(after)
    if not news:
        return htmx.private(HttpResponse(status=204))
    context = {"inbox": inbox, "news": news, "news_label": label(news)}
    return htmx.fragment_only(request, f"{htmx.INBOX}#news", context)


@require_safe
@htmx.signed_in
def message_detail(request: HttpRequest, message_id: int) -> HttpResponse:
    """Show one message and mark it read: opening is the one GET that changes something.

    Not for HEAD, nor for a browser that only fetches ahead.
    """
    message = get_object_or_404(Message.objects.kept_by(request.user).current(), pk=message_id)
    before = number(request.GET.get("before"))
    context: dict[str, Any] = {"message": message}
    if message.from_name or message.is_letter:
        context["conversation"] = Conversation(request, message, before)
    unread = [post for post in _posts(context) if not post.read] or not message.read
    if unread and request.method == "GET" and not _fetches_ahead(request):
        mailbox.open_thread(request.user, message)
        _reread(message, "read_at")
    if before is not None and htmx.wants_fragment(request):
        return htmx.fragment_only(request, f"{htmx.THREAD}#posts", context)
    page = "persistent_messages/message/detail.html"
    fragment = "persistent_messages/message/includes/message.html"
    return htmx.page_or_fragment(request, page, fragment, context)


def _posts(context: dict[str, Any]) -> list[Message]:
    # Read before they are marked: the page says which are new.
    return context["conversation"].posts if "conversation" in context else []


# Acting on one message


@changes_state
def message_open(request: HttpRequest, message_id: int) -> HttpResponse:
    """Mark one message read and go where it leads, which is only ever its stored address."""
    message = _own_message(request, message_id)
    if not message.url:
        return redirect("message_detail", message.pk)
    if request.method != "POST":
        question = _("Open “%(title)s”?") % {"title": message.title}
        return htmx.confirm(request, question, _("Open"))
    _write(request, message, mailbox.mark_read)
    return HttpResponseRedirect(message.url)


@changes_state
def message_mark_read(request: HttpRequest, message_id: int) -> HttpResponse:
    """Mark one message read: what closing it means."""
    question, said = _("Mark “%(title)s” as read?"), _("“%(title)s” marked as read.")
    return _ask_or_act(request, message_id, mailbox.mark_read, question, _("Mark as read"), said)


@changes_state
def message_mark_unread(request: HttpRequest, message_id: int) -> HttpResponse:
    """Mark one message unread."""
    question, said = _("Mark “%(title)s” as unread?"), _("“%(title)s” marked as unread.")
    return _ask_or_act(
        request, message_id, mailbox.mark_unread, question, _("Mark as unread"), said
    )


@changes_state
def message_archive(request: HttpRequest, message_id: int) -> HttpResponse:
    """Move one message out of the inbox."""
    question, said = _("Archive “%(title)s”?"), _("“%(title)s” archived.")
    return _ask_or_act(
        request, message_id, mailbox.archive, question, pgettext("verb", "Archive"), said
    )


@changes_state
def message_restore(request: HttpRequest, message_id: int) -> HttpResponse:
    """Move one message from the archive or the trash back into the inbox."""
    question, said = _("Move “%(title)s” to the inbox?"), _("“%(title)s” restored.")
    return _ask_or_act(request, message_id, mailbox.restore, question, _("Move to inbox"), said)


@changes_state
def message_delete(request: HttpRequest, message_id: int) -> HttpResponse:
    """Move one message to the trash; from there delete it for good, once that was confirmed."""
    message = _own_message(request, message_id)
    for_good = message.folder == Folder.TRASH
    if request.method != "POST":
        question = _("Delete “%(title)s” for good?") if for_good else _("Delete “%(title)s”?")
        button = _("Delete for good") if for_good else _("Delete")
        return htmx.confirm(
            request, question % {"title": message.title}, button, final=int(for_good)
        )
    if for_good and request.POST.get("final") != "1":
        # The second click of a double click, say: the first one did what was asked.
        return htmx.done(
            request, _("“%(title)s” deleted.") % {"title": message.title}, None, message
        )
    if for_good:
        _write(request, message, mailbox.delete)
        return htmx.done(request, _("“%(title)s” deleted for good.") % {"title": message.title})
    return _act(request, message, mailbox.delete, _("“%(title)s” deleted."))


@login_not_required  # visitors have such messages too
@require_safe
def message_dismiss(request: HttpRequest) -> HttpResponse:
    """Close a message that was shown once: it is gone already, only the page still has it."""
    check_charset(request)
    if htmx.wants_fragment(request):
        return htmx.private(HttpResponse())
    return htmx.private(HttpResponseRedirect(htmx.next_url(request)))


# What the views share


def _own_message(request: HttpRequest, message_id: int) -> Message:
    # Whatever its folder: who archives twice, in two tabs say, meets no error.
    return get_object_or_404(sought(request, Message.objects.kept_by(request.user)), pk=message_id)


def sought(request: HttpRequest, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Return `rows`, for a POST read where it will write: a replica may lag."""
    return rows.using(router.db_for_write(rows.model)) if request.method == "POST" else rows


def _write(request: HttpRequest, message: Message, write: mailbox.Write) -> mailbox.Change:
    # In a list it stands for its whole conversation there.
    chosen = {"thread": message.thread} if message.is_letter else {"pk": message.pk}
    return write(request.user, Folder(message.folder), Message.objects.filter(**chosen))


def _ask_or_act(
    request: HttpRequest,
    message_id: int,
    write: mailbox.Write,
    question: str,
    button: str,
    said: str,
) -> HttpResponse:
    message = _own_message(request, message_id)
    if request.method != "POST":
        return htmx.confirm(request, question % {"title": message.title}, button)
    return _act(request, message, write, said)


def _act(request: HttpRequest, message: Message, write: mailbox.Write, said: str) -> HttpResponse:
    change = _write(request, message, write)
    _reread(message, "folder", "read_at")
    if not change.count:
        said = _("“%(title)s” was so already.")
    return htmx.done(request, said % {"title": message.title}, change, message)


def _reread(message: Message, *fields: str) -> None:
    try:
        message.refresh_from_db(
            fields=fields, from_queryset=Message.objects.at_source().owned_by(message.user_id)
        )
    except Message.DoesNotExist:
        raise Http404("It was deleted for good meanwhile.") from None


def _fetches_ahead(request: HttpRequest) -> bool:
    purpose = request.headers.get("Sec-Purpose", "") + request.headers.get("Purpose", "")
    return "prefetch" in purpose or request.headers.get("HX-Preloaded") == "true"
