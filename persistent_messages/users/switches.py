"""Sessions whose user was replaced by another without a log-out: staff who impersonate a user."""

from __future__ import annotations

from typing import Any

SWITCHED = "_pm_switched"


def remember_log_out(sender: Any, request: Any, user: Any, **_: Any) -> None:  # noqa: ARG001
    """Remember who logged out in `request`; a receiver of `user_logged_out`."""
    if request is not None and user is not None:
        vars(_django_request(request))[SWITCHED] = user.pk


def remember_switch(sender: Any, request: Any, user: Any, **_: Any) -> None:  # noqa: ARG001
    """Mark the session if `user` takes somebody else's place; a receiver of `user_logged_in`.

    Django-hijack logs the other user in on top, django-loginas logs out first, in one request.
    """
    if request is None:
        return
    known = vars(_django_request(request))
    before = known.get("_cached_user") or known.get("_acached_user")
    keys = {known.get(SWITCHED), getattr(before, "pk", None)} - {None, user.pk}
    if keys:
        request.session[SWITCHED] = True


def is_switched(request: Any) -> bool:
    """Tell whether the user of this session took somebody else's place. No query of its own.

    Ask only where the user is known: that has loaded the session.
    """
    session = getattr(request, "session", None)
    return session is not None and SWITCHED in session


def _django_request(request: Any) -> Any:
    # Django REST framework wraps it.
    return getattr(request, "_request", request)
