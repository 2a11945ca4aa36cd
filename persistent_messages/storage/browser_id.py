"""The browser that a request comes from, identified by a number in a cookie of its own."""

from __future__ import annotations

from secrets import randbelow
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.http.response import HttpResponseBase

COOKIE = "pm_browser"
DIGITS = 18  # fits the column


class BrowserId:
    """The number of the browser that sent `request`."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.is_new = False
        self.number = self._from_cookie()
        """None if the browser has none yet."""

    def _from_cookie(self) -> int | None:
        number = self.request.COOKIES.get(COOKIE, "")
        if number.isascii() and number.isdigit() and len(number) <= DIGITS:
            return int(number)
        return None

    def get_or_create(self) -> int | None:
        """Return the number, creating it if needed; None if the request has no session."""
        if self.number is None and self._has_session():
            self.number, self.is_new = randbelow(10**DIGITS), True
        return self.number

    def _has_session(self) -> bool:
        session: Any = getattr(self.request, "session", None)
        if not hasattr(session, "session_key"):
            return False
        # Logging in over another user's session flushes it, and leaves no key until it is saved.
        return session.session_key is not None or SESSION_KEY in session

    def set_cookie(self, response: HttpResponseBase) -> None:
        """Set the cookie on `response` if the number is new."""
        if self.is_new:
            response.set_cookie(
                COOKIE,
                str(self.number),
                domain=settings.SESSION_COOKIE_DOMAIN,
                path=settings.SESSION_COOKIE_PATH,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite=settings.SESSION_COOKIE_SAMESITE,
            )
