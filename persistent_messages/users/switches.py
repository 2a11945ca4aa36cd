"""Impersonation: sessions of staff who have taken the place of a user."""

from __future__ import annotations

from typing import Any

SWITCHED = "_pm_switched"


def remember_log_out(sender: Any, request: Any, user: Any, **_: Any) -> None:  # noqa: ARG001
    """Remember which user logged out in `request`; a receiver of `user_logged_out`."""
    if request is not None and user is not None:
        vars(_django_request(request))[SWITCHED] = user.pk


def remember_switch(sender: Any, request: Any, user: Any, **_: Any) -> None:  # noqa: ARG001
    """Mark the session if `user` replaces another user; a receiver of `user_logged_in`.

    django-hijack logs the user in without a log-out; django-loginas logs out first, in the same
    request.
    """
    if request is None:
        return
    known = vars(_django_request(request))
    before = known.get("_cached_user") or known.get("_acached_user")
    keys = {known.get(SWITCHED), getattr(before, "pk", None)} - {None, user.pk}
    if keys:
        request.session[SWITCHED] = True


def is_switched(request: Any) -> bool:
    """Return whether the user of this session is impersonated.

    Call this after the user has been looked up, which loads the session, so that it needs no query.
    """
    session = getattr(request, "session", None)
    return session is not None and SWITCHED in session


def _django_request(request: Any) -> Any:
    # Django REST framework wraps the request.
    return getattr(request, "_request", request)
