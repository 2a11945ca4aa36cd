"""All that the app knows of HTMX: page or fragment, parts out of band, signing in, events.

A page of ours that acts tells with its request which of our parts it shows: an answer carries those
out of band, and no other. The parts say so in hidden `<output>` elements, `pm-part`, `pm-row` and
`pm-notice`, which `hx-include` gathers, and which no form of the site sends by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import django
from django.conf import settings
from django.contrib import messages as contrib_messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect, reswap, trigger_client_event

from . import outage, undo
from .constants import Folder
from .counter import counter_context, forget_unread, unread_to_limit
from .filters import Filter
from .inbox import Inbox
from .mailbox import Change
from .models import Message
from .safety import check_charset, leads_back
from .storage import PersistentMessageStorage

P = ParamSpec("P")
Response = TypeVar("Response", bound=HttpResponse)

INBOX = "persistent_messages/message/includes/inbox.html"
ROW = "persistent_messages/message/includes/row.html"
NOTICE = "persistent_messages/message/includes/message_li.html"
STRIP = "persistent_messages/message/includes/messages.html"
COUNTER = "persistent_messages/message/includes/counter.html"
THREAD = "persistent_messages/message/includes/thread.html"
CONFIRM = "persistent_messages/message/includes/confirm.html"

# What decides between page and fragment, for caches.
VARY = ("HX-Request", "HX-Request-Type", "HX-Boosted", "HX-History-Restore-Request")


# Page or fragment


def wants_fragment(request: HttpRequest) -> bool:
    """Tell whether the answer is swapped into a page; boosted links and history want all of it."""
    htmx = getattr(request, "htmx", None)
    return bool(
        htmx
        and not htmx.boosted
        and not htmx.history_restore_request
        and htmx.request_type != "full"
    )


def page_or_fragment(
    request: HttpRequest, page: str, fragment: str, context: dict[str, Any]
) -> HttpResponse:
    """Render the template `page`, or for a swap `fragment`, a template or "template#partial"."""
    if not wants_fragment(request):
        return private(render(request, page, context))
    return fragment_only(request, fragment, context)


def fragment_only(request: HttpRequest, fragment: str, context: dict[str, Any]) -> HttpResponse:
    """Render `fragment`, of which there is no page."""
    context = {**context, "pm_fragment": True}
    return private(HttpResponse(render_fragment(request, fragment, context)))


def render_fragment(request: HttpRequest, fragment: str, context: dict[str, Any]) -> str:
    """Return `fragment`, a template or "template#partial", as HTML."""
    name, _, partial = fragment.partition("#")
    template = get_partial(name, partial) if partial else get_template(name)
    return str(template.render(context, request))


def get_partial(name: str, partial: str) -> Any:
    """Return a partial of a template, with whatever loaders the site has.

    Django 6.0 knows "name#partial". On 5.2 the tags leave the partials with their template, and
    that package's loader, which a site need not have, is not asked.
    """
    if django.VERSION >= (6, 0):
        return get_template(f"{name}#{partial}")
    backend: Any = get_template(name)
    try:
        proxy = backend.template.extra_data["partials"][partial]
    except KeyError:
        raise TemplateDoesNotExist(f"{name}#{partial}", backend=backend.backend) from None
    proxy.engine = backend.template.engine
    return type(backend)(proxy, backend.backend)


def aside(response: Response) -> Response:
    """Mark an answer that a page asked for by itself: people may have left that page meanwhile.

    `HtmxMessagesMiddleware` hands no messages out with it.
    """
    vars(response)["pm_aside"] = True
    return response


def private(response: Response) -> Response:
    """Have no cache keep or mix up `response`: it differs by user, and for HTMX."""
    patch_vary_headers(response, VARY)
    add_never_cache_headers(response)
    return response


# Where to


def current_path(request: HttpRequest) -> str:
    """Return the path of the page that people look at: of the page that asked, if HTMX did.

    "/" where that is none to come back to.
    """
    htmx = getattr(request, "htmx", None)
    try:
        path = htmx.current_url_abs_path if htmx else request.get_full_path()
    except ValueError:  # a header says what it likes, "http://[" for one
        path = None
    return path if path and leads_back(request, path) else "/"


def next_url(request: HttpRequest) -> str:
    """Return where the form asked to go afterwards, if that is on this site; else the inbox."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    return wanted if leads_back(request, wanted) else resolve_url("message_list")


def signed_in(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Ask visitors to sign in, the whole page of them: never inside a row of the inbox."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        check_charset(request)
        try:
            if outage.signed_in_user(request) is not None:
                return view(request, *args, **kwargs)
        except outage.ERRORS as error:
            if outage.noted(request, error):
                return _out_of_reach()
            raise
        sign_in: HttpResponse = redirect_to_login(
            current_path(request), resolve_url(settings.LOGIN_URL)
        )
        htmx = getattr(request, "htmx", None)
        # What goes back in history takes the whole page that it is led to.
        if htmx and not htmx.history_restore_request:
            sign_in = HttpResponseClientRedirect(sign_in["Location"])
        return private(sign_in)

    # Django's LoginRequiredMiddleware would answer a swap with a redirect: we ask ourselves.
    return login_not_required(wrapped)


def _out_of_reach() -> HttpResponse:
    # Without what context processors and the frame of the site add, which might ask the database.
    # htmx 2 swaps no such answer, but says that there was one; htmx 4 would swap it.
    page = get_template("persistent_messages/message/unreachable.html").render()
    return private(reswap(HttpResponse(page, status=503), "none"))


# Actions


def confirm(request: HttpRequest, question: str, button: str, **fields: Any) -> HttpResponse:
    """Answer a GET to an address that changes something: ask, in a form that posts to it.

    `fields` go along as hidden fields; a list gives several of a name.
    """
    hidden = [
        (name, value)
        for name, values in fields.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    context = {
        "question": question,
        "button": button,
        "hidden": hidden,
        "next": next_url(request),
    }
    page = "persistent_messages/message/confirm.html"
    return page_or_fragment(request, page, CONFIRM, context)


def refuse(request: HttpRequest, words: str) -> HttpResponse:
    """Say in words what cannot be done: a page with 400; to a swap 200, or nobody sees them."""
    told = Message(level=contrib_messages.ERROR, message=words)
    page = "persistent_messages/message/refused.html"
    response = page_or_fragment(request, page, f"{STRIP}#said", {"words": words, "pm_told": told})
    if not wants_fragment(request):
        response.status_code = 400
    return response


def done(
    request: HttpRequest, said: str, change: Change | None = None, message: Message | None = None
) -> HttpResponse:
    """Answer an action on `message`, or on more than one where it is None.

    A plain form goes on to its `next`, with what was `said` as a one-shot message. A swap gets the
    parts that its page shows out of band, or just the changed one as content where the request
    names none. Both offer to undo `change`. The event `pm:changed` tells the number of unread
    messages, up to the limit of the counter and one more.
    """
    undo_url = ""
    if change is not None and change.can_be_undone:
        undo_url = resolve_url("message_undo", undo.token(request.user, change))
    if not wants_fragment(request):
        tell_later(request, said, undo_url)
        return HttpResponseRedirect(next_url(request))
    forget_unread(request)
    told = Message(level=contrib_messages.SUCCESS, message=said, url=undo_url, extra_tags=undo.UNDO)
    html = "".join(part.strip() for part in _changed_parts(request, told, message))
    response = private(HttpResponse(html))
    return trigger_client_event(response, "pm:changed", {"unread": unread_to_limit(request)})


def tell_later(request: HttpRequest, said: str, undo_url: str = "") -> None:
    """Queue what was done for the page that comes next, with its undo."""
    storage = getattr(request, "_messages", None)
    if isinstance(storage, PersistentMessageStorage):
        storage.add(contrib_messages.SUCCESS, said, extra_tags=undo.UNDO, url=undo_url)
    else:
        contrib_messages.success(request, said, fail_silently=True)


def said(request: HttpRequest, words: str) -> str:
    """Return what was done as a part that goes into the strip of the page, if it has one."""
    told = Message(level=contrib_messages.SUCCESS, message=words)
    return render_fragment(request, f"{STRIP}#said", {"pm_told": told})


def _changed_parts(request: HttpRequest, told: Message, message: Message | None) -> Iterator[str]:
    shown = set(request.POST.getlist("pm-part"))
    acted_from = request.POST.get("pm-from") or request.POST.get("do")
    row_shown = message is not None and (
        acted_from == "row" or str(message.pk) in request.POST.getlist("pm-row")
    )
    view = Inbox(request, asked_filter(request))
    context: dict[str, Any] = {
        "pm_oob": bool(shown),
        # What closed by itself says nothing.
        "pm_told": told if acted_from else None,
        # The acting button is replaced by the answer: its successor takes the focus.
        "pm_focus": acted_from,
        "inbox": view,
        "pm_is_page": request.POST.get("pm-page") == "1",
    }
    if message is None and (not shown or "list" in shown):
        yield render_fragment(request, f"{INBOX}#list", context)
    elif message is not None and (not shown or row_shown):
        partial = ROW if view.keeps(message) else f"{INBOX}#gone"
        yield render_fragment(request, partial, {**context, "message": message})
    if message is not None and shown & {"list", "latest"}:
        counted = {**context, "pm_list_shown": "list" in shown}
        yield render_fragment(request, f"{INBOX}#totals", counted)
    if acted_from == "bell":
        yield render_fragment(request, f"{INBOX}#latest", {**context, "inbox": Inbox(request)})
    if "strip" in shown:
        yield from _strip_parts(request, context, message)
    elif "list" in shown:
        yield render_fragment(request, f"{INBOX}#status", context)
    if "counter" in shown:
        yield render_fragment(request, COUNTER, {**context, **counter_context(request)})


def _strip_parts(
    request: HttpRequest, context: dict[str, Any], message: Message | None
) -> Iterator[str]:
    if context["pm_told"]:
        yield render_fragment(request, f"{STRIP}#said", context)
    if message is None or (not message.read and message.folder == Folder.INBOX):
        yield render_fragment(request, f"{STRIP}#oob", context)
    elif str(message.pk) in request.POST.getlist("pm-notice"):
        # Only its notice goes: whoever is at another one stays there.
        yield render_fragment(request, f"{STRIP}#closed", {**context, "message": message})


def asked_filter(request: HttpRequest) -> Filter:
    """Return the filter of the list that the acting page shows, from its first page on."""
    return replace(Filter.from_query(QueryDict(request.POST.get("pm-filter", "")[1:])), before=None)
