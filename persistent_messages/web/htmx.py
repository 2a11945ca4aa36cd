"""Whether HTMX gets a page or a fragment, and how a fragment is rendered.

A page of ours that acts tells with its request which of our parts it shows: an answer carries those
out of band, and no other. The parts say so in hidden `<output>` elements, `pm-part`, `pm-row` and
`pm-notice`, which `hx-include` gathers, and which no form of the site sends by itself.

Whether the answer is a page or a fragment, a request of ours says in its address, or among what it
posts: htmx 4 sets `HX-Request-Type` by itself, by what the page around our part has, and a whole
page would hand out messages with a strip that htmx throws away.
"""

from __future__ import annotations

from typing import Any, ParamSpec, TypeVar

import django
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.utils.cache import add_never_cache_headers, patch_vary_headers

P = ParamSpec("P")
Response = TypeVar("Response", bound=HttpResponseBase)

INBOX = "persistent_messages/message/includes/inbox.html"
ROW = "persistent_messages/message/includes/row.html"
NOTICE = "persistent_messages/message/includes/message_li.html"
STRIP = "persistent_messages/message/includes/messages.html"
TOASTS = "persistent_messages/message/includes/toasts.html"
COUNTER = "persistent_messages/message/includes/counter.html"
THREAD = "persistent_messages/message/includes/thread.html"
CONFIRM = "persistent_messages/message/includes/confirm.html"

FRAGMENT = "pm-fragment"
"""Asks for a fragment, whatever the headers say: "view" is a new one of the inbox, which gets its
address; "pane" the same without its head; "every" how many there are; "part" what the address has
to give."""

# What decides between page and fragment, for caches.
VARY = ("HX-Request", "HX-Request-Type", "HX-Boosted", "HX-History-Restore-Request")


def wants_fragment(request: HttpRequest) -> bool:
    """Tell whether the answer is swapped into a page.

    Always where a part of ours asks. Else boosted links and what says "full" want all of it; what
    goes back in history does in any case, as a plain visit does.
    """
    htmx = getattr(request, "htmx", None)
    if not htmx or htmx.history_restore_request:
        return False
    return _is_asked_by_our_script(request) or (not htmx.boosted and htmx.request_type != "full")


def _is_asked_by_our_script(request: HttpRequest) -> bool:
    return FRAGMENT in request.GET or FRAGMENT in request.POST or "pm-part" in request.POST


def page_or_fragment(
    request: HttpRequest, page: str, fragment: str, context: dict[str, Any]
) -> HttpResponse:
    """Render the template `page`, or for a swap `fragment`, a template or "template#partial"."""
    if not wants_fragment(request):
        return never_cache(render(request, page, {**context, "pm_page": True}))
    return fragment_only(request, fragment, context)


def fragment_only(request: HttpRequest, fragment: str, context: dict[str, Any]) -> HttpResponse:
    """Render `fragment`, of which there is no page."""
    context = {**context, "pm_fragment": True}
    return never_cache(HttpResponse(render_fragment(request, fragment, context)))


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


def skip_messages(response: Response) -> Response:
    """Mark an answer that a page asked for by itself: people may have left that page meanwhile.

    `HtmxMessagesMiddleware` hands no messages out with it.
    """
    vars(response)["pm_skips_messages"] = True
    return response


def never_cache(response: Response) -> Response:
    """Have no cache keep or mix up `response`: it differs by user, and for HTMX."""
    patch_vary_headers(response, VARY)
    add_never_cache_headers(response)
    return response
