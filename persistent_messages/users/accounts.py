"""Whether an account still exists. A deleted or deactivated user is treated as a visitor."""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from typing import Any

from django.apps import apps
from django.contrib import auth
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import router
from django.db.models import Model
from django.http import HttpRequest

MEMO = "_pm_deleted_accounts"

# The keys of accounts that the current request deleted; None outside of requests.
_deleted: ContextVar[set[Any] | None] = ContextVar("persistent_messages_deleted", default=None)


def watch_deletions(request: HttpRequest) -> None:
    """Start to remember the accounts that `request` deletes."""
    _deleted.set(vars(request).setdefault(MEMO, set()))


def remember_deleted(instance: Any, **_: Any) -> None:
    """Remember that the account `instance` was deleted. A receiver of `post_delete`."""
    remember_missing(instance.pk)


def remember_missing(key: Any) -> None:
    """Remember that the account may be missing, so that `has_mailbox` checks the database."""
    keys = _deleted.get()
    if keys is not None:
        keys.add(key)


def signed_in_user(request: HttpRequest) -> Any:
    """Return the signed-in user, or None for visitors; may query, as `request.user` does.

    Returns None if the account has been deleted or deactivated.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    return user if has_mailbox(user) else None


def has_mailbox(user: Any) -> bool:
    """Return whether `user` is an account that will be able to read messages.

    No query, unless an account with this key was deleted in this request. One query then checks
    whether that was rolled back.
    """
    key = user.pk
    if key is None:  # Django clears the key of a deleted object
        return False
    if not isinstance(user, _owner_model()) and isinstance(user, Model):
        return False  # a site that signs in instances of another model
    if not getattr(user, "is_active", True) and not _may_sign_in(user):
        return False
    return key not in (_deleted.get() or ()) or account_exists(key)


def closed_account_key(request: HttpRequest) -> Any:
    """Return the key of the account in the session if it is no longer allowed to sign in.

    For example, it was deactivated during the request. None if the session has not been accessed.
    No query.
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


def has_user_field(name: str) -> bool:
    """Return whether the user model has the field `name`."""
    try:
        auth.get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def account_exists(key: Any) -> bool:
    """Return whether the account exists; one query to the primary database."""
    model = auth.get_user_model()
    return model._base_manager.using(router.db_for_write(model)).filter(pk=key).exists()


def _may_sign_in(user: Any) -> bool:
    # Django's AllowAllUsersModelBackend signs inactive users in.
    return any(
        backend.user_can_authenticate(user)
        for backend in auth.get_backends()
        if hasattr(backend, "user_can_authenticate")
    )
