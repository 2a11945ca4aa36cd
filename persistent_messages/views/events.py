"""The view of live updates: a stream for open pages."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from persistent_messages.conf import get_config
from persistent_messages.db import outage
from persistent_messages.live import events
from persistent_messages.live.streams import briefly_connected, open_stream
from persistent_messages.users import accounts
from persistent_messages.web import htmx
from persistent_messages.web.polling import keep_session_unchanged

TOO_MANY = 429


@login_not_required
@require_GET
def message_events(request: HttpRequest) -> HttpResponseBase:
    """Stream server-sent events that notify a page of changes, without their content.

    Returns 204, after which browsers do not reconnect, if the site has no live updates, does not
    run under ASGI, or nobody is signed in. Returns 429 if the user has too many streams in this
    process. Does not keep a session alive, and shows no one-shot messages.
    """
    keep_session_unchanged(request)
    # Under WSGI, an endless stream would block the process.
    if not events.is_on() or not isinstance(request, ASGIRequest):
        return HttpResponse(status=204)
    response = outage.response_or(
        request, lambda: _answer(request), lambda: HttpResponse(status=503)
    )
    return htmx.skip_messages(htmx.never_cache(response))


def _answer(request: HttpRequest) -> HttpResponseBase:
    with briefly_connected():
        user = accounts.signed_in_user(request)
    if user is None:
        return HttpResponse(status=204)
    hub, limit = events.link().hub(), get_config().LIVE_CONNECTIONS
    if hub.count(events.user_name(user.pk)) >= limit:
        return HttpResponse(status=TOO_MANY)
    events_of_user = open_stream(request, user, hub, limit)
    response = StreamingHttpResponse(events_of_user, content_type="text/event-stream")
    # GZipMiddleware would compress each event separately, and browsers read only the first one.
    request.META.pop("HTTP_ACCEPT_ENCODING", None)
    # Makes nginx pass each event on immediately.
    response["X-Accel-Buffering"] = "no"
    return response
