"""Whether an account is still there: whoever was deleted or deactivated meanwhile is a visitor."""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from typing import Any

from django.apps import apps
from django.contrib import auth
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Model
from django.http import HttpRequest

MEMO = "_pm_deleted_accounts"

# The keys of accounts that the current request deleted; None outside of requests.
_deleted: ContextVar[set[Any] | None] = ContextVar("persistent_messages_deleted", default=None)


def watch_deletions(request: HttpRequest) -> None:
    """Remember from now on which accounts `request` deletes."""
    _deleted.set(vars(request).setdefault(MEMO, set()))


def remember_deleted(instance: Any, **_: Any) -> None:
    """Remember that this account was deleted. A receiver of `post_delete`."""
    remember_missing(instance.pk)


def remember_missing(key: Any) -> None:
    """Remember that there may be no account with this key: `has_mailbox` will ask."""
    keys = _deleted.get()
    if keys is not None:
        keys.add(key)


def signed_in_user(request: HttpRequest) -> Any:
    """Return who is signed in, None for visitors. May ask the database, as `request.user` does.

    An account that was deleted or deactivated meanwhile is a visitor.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    return user if has_mailbox(user) else None


def has_mailbox(user: Any) -> bool:
    """Tell whether `user` is an account that will be able to read messages.

    No query, but where an account of this key was deleted in this request: that may have been
    rolled back, so the table is asked.
    """
    key = user.pk
    if key is None:  # what Django makes of an object that it deleted
        return False
    if not isinstance(user, _owner_model()) and isinstance(user, Model):
        return False  # some sites sign in others than their users: those have no mailbox
    if not getattr(user, "is_active", True) and not _may_sign_in(user):
        return False
    return key not in (_deleted.get() or ()) or account_exists(key)


def closed_account_key(request: HttpRequest) -> Any:
    """Return the key of the account that the session signed in, but that may not be any more.

    It was deactivated, say, by another object than `request.user`. None where nobody has looked
    for the user in the session. No query.
    """
    session: Any = getattr(request, "session", None)
    if not getattr(session, "accessed", False) or request.user.is_authenticated:
        return None
    try:
        return auth.get_user_model()._meta.pk.to_python(session.get(auth.SESSION_KEY))
    except ValidationError:
        return None


@cache
def _owner_model() -> Any:
    return apps.get_model("persistent_messages", "Message")._meta.get_field("user").related_model


def account_exists(key: Any) -> bool:
    """Tell whether there is an account of this key; one query, where writes go."""
    model = auth.get_user_model()
    return model._base_manager.using(router.db_for_write(model)).filter(pk=key).exists()


def _may_sign_in(user: Any) -> bool:
    # Some sites sign inactive users in, by a backend of Django's that says so.
    return any(
        backend.user_can_authenticate(user)
        for backend in auth.get_backends()
        if hasattr(backend, "user_can_authenticate")
    )
