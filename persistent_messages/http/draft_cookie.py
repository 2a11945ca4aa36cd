"""Drafts: texts that were not sent are stored in the browser, and a cookie has their names.

The script keeps a draft as long as its name is in the cookie. Sending the letter removes its name,
and logging out removes all names. If the session just expires, the names stay, so that the text is
available after the next log-in.
"""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac

COOKIE = "pm_drafts"
MAX_AGE = 30 * 24 * 60 * 60
LOGGED_OUT = "_pm_logged_out"
_DRAFT_NAME = re.compile(r"[\w-]{1,50}", re.ASCII)


def draft_name(user: Any, form: str) -> str:
    """Return the name of the draft of `user` in `form`, without revealing the user's key."""
    owner = salted_hmac("persistent_messages.drafts", str(user.pk), algorithm="sha256")
    return f"{owner.hexdigest()[:12]}-{form}"


def forget_draft(request: HttpRequest, response: HttpResponseBase, name: str) -> None:
    """Remove the draft `name` from the cookie after the letter was sent."""
    names = request.COOKIES.get(COOKIE, "").split(".")
    if name not in names:
        return
    rest = [other for other in names if other != name and _DRAFT_NAME.fullmatch(other)]
    if rest:
        secure = request.is_secure()
        value = ".".join(rest)
        response.set_cookie(COOKIE, value, max_age=MAX_AGE, secure=secure, samesite="Lax")
    else:
        response.delete_cookie(COOKIE, samesite="Lax")


def remember_log_out(sender: Any, request: Any, **_kwargs: Any) -> None:  # noqa: ARG001 (a receiver)
    """Remember that the user logged out in `request`; a receiver of `user_logged_out`."""
    if request is not None:
        vars(getattr(request, "_request", request))[LOGGED_OUT] = True


def forget_drafts_after_log_out(request: HttpRequest, response: HttpResponseBase) -> None:
    """Delete the cookie if the user has just logged out."""
    if vars(request).get(LOGGED_OUT) and COOKIE in request.COOKIES:
        response.delete_cookie(COOKIE, samesite="Lax")
