"""Impersonation: sessions of staff who have taken the place of a user."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY

SWITCHED = "_pm_switched"
IMPERSONATION_KEYS = ("hijack_history", "loginas_from_user")
"""The keys in the session of django-hijack and django-loginas."""


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
    """Return whether the user of this session has replaced another one.

    Call this after the user has been looked up, which loads the session, so that it needs no query.
    """
    return _in_session(request, SWITCHED) is not None


def is_impersonated(request: Any, user: Any) -> bool:
    """Return whether it is certain that somebody else uses the account of `user`.

    Either the session says so, or a middleware such as that of django-impersonate has replaced the
    user of the session. No query, as for `is_switched`.
    """
    if not getattr(getattr(request, "session", None), "accessed", True):
        return False  # it did not say who the user is
    owner = _in_session(request, SESSION_KEY)
    if owner is not None and owner != _session_value(user):
        return True
    return any(_in_session(request, key) for key in IMPERSONATION_KEYS)


def _in_session(request: Any, key: str) -> Any:
    session: Any = getattr(request, "session", None)
    # A test may use any object as the session.
    can_be_read = hasattr(session, "get") and hasattr(session, "__contains__")
    return session.get(key) if can_be_read and key in session else None


def _session_value(user: Any) -> str:
    # As in `django.contrib.auth.login`.
    meta = getattr(user, "_meta", None)
    return str(user.pk) if meta is None else str(meta.pk.value_to_string(user))


def _django_request(request: Any) -> Any:
    # Django REST framework wraps the request.
    return getattr(request, "_request", request)
