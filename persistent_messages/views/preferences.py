"""Views of the preferences: their page, the export, and unsubscribing from mail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import chain, islice

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import retarget

from persistent_messages.inbox.export import export_lines
from persistent_messages.preferences import choices, tokens
from persistent_messages.preferences.forms import PreferencesForm, topic_label
from persistent_messages.users.accounts import account_exists
from persistent_messages.web import decorators, htmx, responses
from persistent_messages.web.decorators import changes_state

FORM = "persistent_messages/message/includes/preferences.html"
LINES = 1000
"""The number of lines of an export that are read at a time under ASGI."""


@changes_state
def message_preferences(request: HttpRequest) -> HttpResponse:
    """Show and save the user's preferences for each topic."""
    url = reverse("message_preferences")
    form = PreferencesForm(request.user, request.POST or None, url=url)
    if request.method != "POST":
        page = "persistent_messages/message/preferences.html"
        return htmx.page_or_fragment(request, page, FORM, {"form": form})
    if not form.is_valid():
        return _invalid_response(request, form)
    was_returned = form.is_returned
    form.save()
    if htmx.wants_fragment(request) and not was_returned:
        return _saved_response(request, url)
    responses.queue_message(request, _("Saved."))
    return redirect("message_preferences")


def _saved_response(request: HttpRequest, url: str) -> HttpResponse:
    response = responses.action_response(request, _("Saved."))
    if "pm-wrong" in request.POST:  # the page still shows the errors
        form = PreferencesForm(request.user, url=url, is_saved=True)
        context = {"form": form, "pm_oob": True}
        response.content += htmx.render_fragment(request, FORM, context).encode()
    return response


def _invalid_response(request: HttpRequest, form: PreferencesForm) -> HttpResponse:
    page = "persistent_messages/message/preferences.html"
    response = htmx.page_or_fragment(request, page, FORM, {"form": form})
    if not htmx.wants_fragment(request):
        return response
    # Without a settle delay, in which htmx would not notice a new choice.
    response["HX-Reswap"] = "outerHTML settle:0ms"
    return retarget(response, ".pm-choices")


@require_safe
@decorators.signed_in
def message_export(request: HttpRequest) -> StreamingHttpResponse:
    """Return everything that is stored about the user as a JSON Lines file."""
    lines = export_lines(request.user.pk)
    # Query before the response begins, so that the user gets an error page during an outage.
    lines = chain([next(lines, "")], lines)
    parts = _in_thread(lines) if isinstance(request, ASGIRequest) else lines
    response = StreamingHttpResponse(parts, content_type="application/jsonl")
    response["Content-Disposition"] = 'attachment; filename="messages.jsonl"'
    return htmx.never_cache(response)


async def _in_thread(lines: Iterator[str]) -> AsyncIterator[str]:
    """Yield `lines` in batches in an event loop, where Django would first read all of them."""
    while part := await sync_to_async(_next_part)(lines):
        yield part


def _next_part(lines: Iterator[str]) -> str:
    return "".join(islice(lines, LINES))


@login_not_required
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def message_unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Turn off mail for the topics in `token`; a GET asks for confirmation.

    Mail programs post to it without a log-in, cookies or a CSRF token (RFC 8058). The signed token
    authorizes the request, and allows nothing else.
    """
    decorators.check_charset(request)
    found = tokens.read_token(token)
    if found is None or not account_exists(found.user_id):
        context = {"pm_page": True}
        return htmx.never_cache(render(request, decorators.MISSING, context, status=404))
    names = {"topics": ", ".join(topic_label(topic) for topic in found.topics)}
    if request.method != "POST":
        question = _("Stop mail about “%(topics)s”?")
        return responses.confirm_response(request, question % names, _("Unsubscribe"))
    choices.never_mail(found.user_id, found.topics)
    words = _("You won’t get any more mail about “%(topics)s”.") % names
    page = "persistent_messages/message/unsubscribed.html"
    return htmx.never_cache(render(request, page, {"words": words, "pm_page": True}))
