"""The view of live events: a stream that an open page listens to."""

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
    """Tell the page that something changed, as server-sent events, and never what.

    204, on which browsers ask no more, where the site has no live events or does not run under
    ASGI, and where nobody is signed in. 429 if the user has too many streams in this process. Keeps
    no session alive, and hands out no one-shot message.
    """
    keep_session_unchanged(request)
    # Under WSGI a stream that does not end would block the process.
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
    # GZipMiddleware would compress each event by itself, and browsers read the first one only.
    request.META.pop("HTTP_ACCEPT_ENCODING", None)
    # So that nginx passes on each event at once.
    response["X-Accel-Buffering"] = "no"
    return response
