"""The pages of the inbox."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe
from django_htmx.http import push_url, replace_url

from persistent_messages.inbox.filters import Filter
from persistent_messages.inbox.page import InboxPage
from persistent_messages.web import decorators, htmx, page_state, redirects
from persistent_messages.web.redirects import is_on_this_site


@require_safe
@decorators.signed_in
def message_list(request: HttpRequest) -> HttpResponse:
    """Show a page of a folder, newest first; the query string has the filter and the position."""
    inbox = InboxPage(request, Filter.from_query(request.GET))
    context = {"inbox": inbox, "pm_is_page": True, "pm_last_day": request.GET.get("day", "")}
    if request.GET.get(htmx.FRAGMENT) == "every" and htmx.wants_fragment(request):
        return htmx.skip_messages(
            htmx.fragment_only(request, f"{htmx.INBOX}#every", {"inbox": inbox})
        )
    # A further page is appended to the list; anything else is a new view with its own URL.
    further = inbox.filter.before is not None
    here, shown = (
        redirects.address_without_fragment(request),
        page_state.filter_at(redirects.current_path_or_blank(request)),
    )
    asked, joins = request.GET.get(htmx.FRAGMENT), further and htmx.wants_fragment(request)
    if joins and shown is not None:
        # The URL says how far the list is open, so that reloading shows the same rows.
        until = inbox.page.messages[-1].pk if inbox.page.messages else shown.until
        here = request.path + shown.query(until=until)
    if (shown is not None or not further) and is_on_this_site(request, here):
        context["pm_here"] = here
    if not joins:
        inbox.prefetch()
    partial = "rows" if further else "found" if asked == "pane" else "inbox"
    page = "persistent_messages/message/list.html"
    response = htmx.page_or_fragment(request, page, f"{htmx.INBOX}#{partial}", context)
    if asked in ("view", "pane") and htmx.wants_fragment(request):
        # A search makes one history entry, however often it changes during typing.
        is_same = asked == "pane" and shown is not None and bool(shown.q or shown == inbox.filter)
        (replace_url if is_same else push_url)(response, here)
    elif joins and shown is not None:
        replace_url(response, here)
    return response


@require_safe
@decorators.signed_in
def message_latest(request: HttpRequest) -> HttpResponse:
    """Show the newest messages for the bell; redirect to the inbox if it is not a swap."""
    if not htmx.wants_fragment(request):
        return redirect("message_list")
    context = {"inbox": InboxPage(request)}
    return htmx.fragment_only(request, f"{htmx.INBOX}#latest", context)
