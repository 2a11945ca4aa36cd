"""Pause mail to users whose mail was returned."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Model

from persistent_messages.mailbox.validation import clean_user_key
from persistent_messages.preferences import choices


def mail_failed(who: Any) -> int:
    """Implement `api.mail_failed`."""
    if isinstance(who, Model):
        keys = [clean_user_key("who", who)]
    else:
        model: Any = get_user_model()
        users = model._base_manager.filter(**{f"{model.get_email_field_name()}__iexact": str(who)})
        keys = list(users.values_list("pk", flat=True)) if who else []
    choices.pause(keys, until=None)
    return len(keys)
