"""The view behind “Undo”."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from persistent_messages.inbox.bulk_actions import BulkAction
from persistent_messages.mailbox import undo_tokens
from persistent_messages.web import responses
from persistent_messages.web.decorators import changes_state
from persistent_messages.web.responses import bulk_action_response


@changes_state
def message_undo(request: HttpRequest, token: str) -> HttpResponse:
    """Undo the change in `token` for exactly the rows that it changed; in steps."""
    change = undo_tokens.read_token(request.user, token)
    if change is None:
        return responses.error_response(request, _("This can no longer be undone."))
    if request.method != "POST":
        return responses.confirm_response(request, _("Undo the last change?"), _("Undo"))
    return bulk_action_response(request, BulkAction.of_undo(change))
