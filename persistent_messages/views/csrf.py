"""CSRF: fresh tokens for open pages, and the failure page."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views import csrf
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from persistent_messages.web import htmx
from persistent_messages.web.decorators import check_charset


@login_not_required
@ensure_csrf_cookie
@require_safe
def message_token(request: HttpRequest) -> HttpResponse:
    """Return a CSRF token for a page whose token was rotated, for example by a log-in."""
    check_charset(request)
    return htmx.never_cache(HttpResponse(get_token(request), content_type="text/plain"))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Tell the user that a form has expired. A view for the setting `CSRF_FAILURE_VIEW`.

    Renders a page of the site with status 403 for the URLs of this app. Other URLs get Django's
    default response, and so do swaps, whose script then fetches a fresh token.
    """
    match = request.resolver_match
    is_ours = match is not None and match.func.__module__.startswith(__package__)
    if not is_ours or htmx.wants_fragment(request):
        return cast("HttpResponse", csrf.csrf_failure(request, reason))
    context = {"words": _("This form has expired. Please send it again."), "address": request.path}
    page = "persistent_messages/message/refused.html"
    return htmx.never_cache(render(request, page, {**context, "pm_page": True}, status=403))
