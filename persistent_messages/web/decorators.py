"""Decorators for views."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect, reswap

from persistent_messages.conf import get_config
from persistent_messages.db import outage
from persistent_messages.users import accounts

from .htmx import never_cache, wants_fragment
from .redirects import current_path

MISSING = "persistent_messages/message/missing.html"
UNAVAILABLE = "persistent_messages/message/unavailable.html"
UNREACHABLE = "persistent_messages/message/unreachable.html"

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def signed_in(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Redirect visitors to the log-in page, as a whole page even if htmx asked for a fragment."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        check_charset(request)
        return outage.response_or(
            request,
            lambda: _answer(request, *args, **kwargs),
            lambda: _unreachable_response(request),
        )

    def _answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            if accounts.signed_in_user(request) is not None:
                return view(request, *args, **kwargs)
        except Http404:
            if wants_fragment(request):
                raise  # the script shows a message
            return _missing_response(request)
        return _sign_in_response(request)

    # Django's LoginRequiredMiddleware would redirect a swap, so the log-in is checked above.
    return login_not_required(wrapped)


def _sign_in_response(request: HttpRequest) -> HttpResponse:
    sign_in: HttpResponse = redirect_to_login(
        current_path(request), resolve_url(settings.LOGIN_URL)
    )
    htmx = getattr(request, "htmx", None)
    # A history restore follows redirects and takes the whole page.
    if htmx and not htmx.history_restore_request:
        sign_in = HttpResponseClientRedirect(sign_in["Location"])
    return never_cache(sign_in)


def _unreachable_response(request: HttpRequest) -> HttpResponse:
    address = current_path(request) if request.method in ("GET", "HEAD") else ""
    context = {"address": address}
    try:
        request.user = AnonymousUser()  # no user can be looked up
        page = render_to_string(UNAVAILABLE, {**context, "pm_page": True}, request)
    except Exception:
        # The site's base template or a context processor needs the database, too.
        page = render_to_string(UNREACHABLE, context)
    # htmx 2 does not swap a 503, but sends an event; htmx 4 would swap it.
    return never_cache(reswap(HttpResponse(page, status=503), "none"))


def _missing_response(request: HttpRequest) -> HttpResponse:
    # The same page whether the object does not exist or belongs to another user.
    return never_cache(render(request, MISSING, {"pm_page": True}, status=404))


def check_charset(request: HttpRequest) -> None:
    """Raise `BadRequest` if the charset of the request is not UTF-8.

    Django checks this for one form encoding only. Other charsets, such as UTF-7, can express half a
    surrogate pair, which can neither be stored nor rendered.
    """
    if codecs.lookup(request.encoding or "utf-8").name != "utf-8":
        raise BadRequest("The charset must be UTF-8.")


def changes_state(view: Callable[Concatenate[HttpRequest, P], HttpResponse]) -> View[P]:
    """Require a signed-in user; allow GET to ask for confirmation, and POST to act."""
    return csrf_protect(require_http_methods(["GET", "HEAD", "POST"])(signed_in(view)))


def letters_enabled(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Raise `Http404` unless the setting `LETTERS` is on."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not get_config().LETTERS:
            raise Http404("PERSISTENT_MESSAGES['LETTERS'] is not True.")
        return view(request, *args, **kwargs)

    return wrapped
