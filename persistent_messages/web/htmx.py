"""Decide whether htmx gets a page or a fragment, and render fragments.

A request of our pages lists the parts that the page shows, and the response returns only those out
of band. The parts are named in hidden `<output>` elements, `pm-part`, `pm-row` and `pm-notice`.
`hx-include` collects them, and the site's own forms do not submit them.

A request of our pages also says in its URL or its data that it wants a fragment. The header
`HX-Request-Type` is not enough: htmx 4 derives it from the page around our part, and a full page
would show messages in a strip that htmx discards.
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
"""The parameter that asks for a fragment, whatever the headers say.

"view" is a new view of the inbox, with its own URL. "pane" is a view without the head. "every" is
the number of messages in the list. "part" is the fragment of any other URL.
"""

# The headers that decide between page and fragment.
VARY = ("HX-Request", "HX-Request-Type", "HX-Boosted", "HX-History-Restore-Request")


def wants_fragment(request: HttpRequest) -> bool:
    """Return whether the response will be swapped into a page.

    Requests of our own parts always want a fragment. Other htmx requests do unless they are boosted
    or have the request type "full". History restores and plain visits never do.
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
    """Render the template `page`, or `fragment` for a swap: a template or "template#partial"."""
    if not wants_fragment(request):
        return never_cache(render(request, page, {**context, "pm_page": True}))
    return fragment_only(request, fragment, context)


def fragment_only(request: HttpRequest, fragment: str, context: dict[str, Any]) -> HttpResponse:
    """Render `fragment`, which has no page of its own."""
    context = {**context, "pm_fragment": True}
    return never_cache(HttpResponse(render_fragment(request, fragment, context)))


def render_fragment(request: HttpRequest, fragment: str, context: dict[str, Any]) -> str:
    """Return `fragment`, a template or "template#partial", as HTML."""
    name, _, partial = fragment.partition("#")
    template = get_partial(name, partial) if partial else get_template(name)
    return str(template.render(context, request))


def get_partial(name: str, partial: str) -> Any:
    """Return a partial of a template, whatever template loaders the site uses.

    Django 6.0 supports "name#partial". On Django 5.2, the partials are in the `extra_data` of their
    template, so that a site does not need the loader of django-template-partials.
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
    """Have `HtmxMessagesMiddleware` add no messages to `response`.

    For requests that a page makes automatically: the user may have left the page in the meantime.
    """
    vars(response)["pm_skips_messages"] = True
    return response


def never_cache(response: Response) -> Response:
    """Prevent caching of `response`, which varies by user and by the htmx headers."""
    patch_vary_headers(response, VARY)
    add_never_cache_headers(response)
    return response
