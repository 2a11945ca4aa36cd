"""The view that pages poll to stay up to date.

A page sends what it shows, and the response has only the parts that differ.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from persistent_messages.db import outage
from persistent_messages.inbox.counter import count_label
from persistent_messages.inbox.filters import parse_key
from persistent_messages.letters.conversation import Conversation
from persistent_messages.models import Message
from persistent_messages.users import accounts
from persistent_messages.web import decorators, htmx
from persistent_messages.web.decorators import check_charset
from persistent_messages.web.polling import (
    STATE_HEADER,
    ShownParts,
    keep_session_unchanged,
    tabs_key,
)

STOP = 286
"""The status that makes htmx stop polling."""


@login_not_required
@require_safe
def message_news(request: HttpRequest) -> HttpResponseBase:
    """Return the parts of a page that have changed, out of band; 204 if nothing has.

    At most one query each for the counter, the notices, the rows and the newer messages, and one
    each to render changed rows and totals. Returns 286 if the page's user is no longer signed in.
    With `?of=<id>`, it only returns how many replies the conversation of that message got after
    `?after=<id>`. Does not keep a session alive, and shows no one-shot messages. Redirects to the
    inbox if it is not a swap.
    """
    if htmx.FRAGMENT not in request.GET:
        return _visit(request)
    check_charset(request)
    keep_session_unchanged(request)
    response = outage.response_or(
        request, lambda: _answer(request), lambda: HttpResponse(status=503)
    )
    return htmx.skip_messages(htmx.never_cache(response))


@decorators.signed_in
def _visit(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    return redirect("message_list")


def _answer(request: HttpRequest) -> HttpResponse:
    user = accounts.signed_in_user(request)
    if user is None or request.GET.get("user", tabs_key(user)) != tabs_key(user):
        return HttpResponse(status=STOP)
    if (of := parse_key(request.GET.get("of"))) is not None:
        return _replies(request, user, of)
    shown = ShownParts(request, user)
    html = "".join(part.strip() for part in shown.changed_parts())
    response = HttpResponse(html) if html else HttpResponse(status=204)
    response[STATE_HEADER] = shown.unread.state
    return response


def _replies(request: HttpRequest, user: Any, of: int) -> HttpResponse:
    message = Message.objects.visible_to(user).letters().filter(pk=of).first()
    after, news = parse_key(request.GET.get("after")), 0
    if message is not None and after is not None:
        news = Conversation(request, message).news_after(after)
    if not news:
        return HttpResponse(status=204)
    context = {"message": message, "news": news, "news_label": count_label(news)}
    return htmx.fragment_only(request, f"{htmx.THREAD}#news", context)
