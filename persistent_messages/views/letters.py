"""Views of letters between users: write, reply, block, report."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRedirect

from persistent_messages import mailbox
from persistent_messages.constants import Folder
from persistent_messages.exceptions import LetterRefused
from persistent_messages.http import draft_cookie
from persistent_messages.inbox.filters import parse_key
from persistent_messages.letters import autocomplete, policy, replies, reports, sending, throttling
from persistent_messages.letters.conversation import Conversation, reply_form
from persistent_messages.letters.forms import LetterForm, ReplyForm, ReportForm
from persistent_messages.models import Block, Message
from persistent_messages.users.names import join_labels, name_of
from persistent_messages.web import decorators, htmx, redirects, responses
from persistent_messages.web.decorators import changes_state, letters_enabled
from persistent_messages.web.lookups import for_write

BLOCKS_SHOWN = 500
LETTER = "persistent_messages/message/includes/letter.html"


# Writing


@changes_state
@letters_enabled
def message_compose(request: HttpRequest) -> HttpResponse:
    """Write a letter. `?to=` (usernames) and `?subject=` set the form's initial values.

    With `pm-field` in the form, only that field is validated, and nothing is sent.
    """
    form = _letter_form(request)
    if request.method != "POST":
        return _letter_response(request, form)
    sent = _send(request, form)
    if sent is None:
        return _letter_response(request, form)
    responses.queue_message(request, _sent_text(sent))
    address = reverse("message_detail", args=[sent.own.pk])
    if sent.own.folder == Folder.TOMBSTONE:  # sent before, and permanently deleted since
        address = reverse("message_list")
    redirection = (
        HttpResponseClientRedirect if htmx.wants_fragment(request) else HttpResponseRedirect
    )
    response = htmx.never_cache(redirection(address))
    draft_cookie.forget_draft(request, response, form.draft)
    return response


def _letter_form(request: HttpRequest) -> LetterForm:
    urls = {"url": reverse("message_compose"), "people_url": reverse("message_people")}
    if request.method == "POST":
        return LetterForm(request.user, request.POST, **urls)
    names = (name.replace("\0", "") for name in request.GET.getlist("to"))
    initial = {"to": ", ".join(names), "subject": request.GET.get("subject", "").replace("\0", "")}
    return LetterForm(request.user, initial=initial, **urls)


def _send(request: HttpRequest, form: LetterForm | ReplyForm) -> sending.Sent | None:
    # Returns None if the form is to be shown again with its errors.
    asked = request.POST.get("pm-field")
    if asked:
        form.keep_errors_of(asked)
        return None
    sent = form.send() if form.is_valid() else None
    if sent is None:
        form.focus_first_error()
    return sent


def _sent_text(sent: sending.Sent) -> str:
    text = _("Sent to %(names)s.") % {"names": join_labels(map(name_of, sent.recipients))}
    if sent.previous_recipients:
        before = _("Already sent to %(names)s.")
        text += " " + before % {"names": join_labels(map(name_of, sent.previous_recipients))}
    return text


def _letter_response(request: HttpRequest, form: LetterForm) -> HttpResponse:
    if "pm-field" in request.POST:
        return _field_response(request, {"form": form})
    page = "persistent_messages/message/compose.html"
    return htmx.page_or_fragment(request, page, LETTER, {"form": form})


def _field_response(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    # Always a fragment, although htmx 4 requests a full page here, because the field selects itself
    # from the response. The strip of a full page would show messages that htmx discards.
    return htmx.skip_messages(htmx.fragment_only(request, LETTER, context))


@require_safe
@decorators.signed_in
@letters_enabled
def message_people(request: HttpRequest) -> HttpResponse:
    """Suggest names that complete the last one in `?to=`, within `LOOKUP_RATE`."""
    typed = ",".join(request.GET.getlist("to")).replace("\0", "")
    names, _comma, begun = typed.rpartition(",")
    chosen = {name.strip() for name in names.split(",")}
    # Above the rate there are no suggestions, but a name can still be typed.
    was_sought = autocomplete.is_searchable(begun) and throttling.allow_lookups(request.user)
    found = autocomplete.suggestions(request.user, begun) if was_sought else []
    offered = [person for person in found if person.typed not in chosen]
    context = {"people": offered, "begun": begun.strip(), "was_sought": was_sought}
    return htmx.skip_messages(htmx.fragment_only(request, f"{LETTER}#people", context))


@changes_state
@letters_enabled
def message_reply(request: HttpRequest, message_id: int) -> HttpResponse:
    """Reply to a letter. The form is also below the conversation. `?quote=1` quotes the letter.

    With `pm-quote` in the form, the quotation is added to the text, and nothing is sent.
    With `pm-field` in the form, only that field is validated, and nothing is sent.
    """
    message = _own_message(request, message_id)
    if request.method != "POST":
        conversation = Conversation(request, message)
        if conversation.other is None:  # say so before anybody writes a text in vain
            return responses.error_response(request, conversation.refusal_reason)
        quote = replies.quote(message) if request.GET.get("quote") else ""
        form = reply_form(request.user, message, initial={"message": quote})
        return _reply_form_response(request, message, form)
    if "pm-quote" in request.POST:
        return _reply_form_response(request, message, _form_with_quote(request, message))
    form = reply_form(request.user, message, request.POST)
    sent = _send(request, form)
    if sent is None:
        return _reply_form_response(request, message, form)
    response = _reply_response(request, message, sent)
    draft_cookie.forget_draft(request, response, form.draft)
    return response


def _form_with_quote(request: HttpRequest, message: Message) -> ReplyForm:
    typed = request.POST.get("message", "").replace("\0", "").rstrip()
    text = "\n\n".join(filter(None, [typed, replies.quote(message)]))
    form = reply_form(request.user, message, initial={"message": text})
    form.focus_message(is_swapped=htmx.wants_fragment(request))
    return form


def _reply_response(request: HttpRequest, message: Message, sent: sending.Sent) -> HttpResponse:
    """Append the letters that arrived after the last letter of the page, including the reply.

    If the page does not name its last letter, append only the reply, unless it was sent before.
    """
    address, after = (
        reverse("message_detail", args=[message.pk]),
        parse_key(request.POST.get("after")),
    )
    if after is None:
        after = sent.own.pk - int(sent.is_new)
    conversation = Conversation(request, message, after=after)
    is_page = not htmx.wants_fragment(request)
    # The page of the form alone has no conversation to append to.
    is_alone = urlsplit(redirects.current_path(request)).path == request.path
    if is_page or is_alone or conversation.page.older:
        responses.queue_message(request, _sent_text(sent))
        redirection = HttpResponseRedirect if is_page else HttpResponseClientRedirect
        return htmx.never_cache(redirection(address))
    if any(not post.read for post in conversation.posts):
        mailbox.mark_thread_read(request.user, message)
    empty = reply_form(request.user, message)
    empty.focus_message(is_swapped=True)
    context = {"message": message, "conversation": conversation}
    parts = [
        htmx.render_fragment(request, f"{htmx.THREAD}#posts", context),
        htmx.render_fragment(request, LETTER, {**context, "form": empty, "pm_oob": True}),
        htmx.render_fragment(request, f"{htmx.THREAD}#said", {"said": _sent_text(sent)}),
    ]
    headers = {"HX-Retarget": ".pm-posts", "HX-Reswap": "beforeend settle:0ms"}
    return htmx.never_cache(HttpResponse("".join(parts), headers=headers))


def _reply_form_response(request: HttpRequest, message: Message, form: Any) -> HttpResponse:
    context = {"message": message, "form": form}
    if "pm-field" in request.POST:
        return _field_response(request, context)
    page = "persistent_messages/message/compose.html"
    return htmx.page_or_fragment(request, page, LETTER, context)


# Blocking


@changes_state
@letters_enabled
def message_block(request: HttpRequest, message_id: int) -> HttpResponse:
    """Block the other person in a conversation, who is not told."""
    message = _own_message(request, message_id)
    other = Conversation(request, message).other
    if other is None:
        return responses.error_response(request, _("There is no one to block."))
    if request.method != "POST":
        question = _("Block %(name)s? You won’t be able to send each other messages.")
        return responses.confirm_response(
            request, question % {"name": name_of(other).label}, _("Block")
        )
    try:
        policy.block(request.user, other)
    except LetterRefused as refused:
        return responses.error_response(request, refused.reason)
    return responses.action_response(
        request, _("%(name)s is blocked.") % {"name": name_of(other).name}
    )


@require_safe
@decorators.signed_in
@letters_enabled
def message_blocked(request: HttpRequest) -> HttpResponse:
    """List the users that the user has blocked, latest first."""
    page = "persistent_messages/message/blocked.html"
    fragment = "persistent_messages/message/includes/blocked.html"
    context = {"blocks": policy.blocks_of(request.user)[:BLOCKS_SHOWN]}
    return htmx.page_or_fragment(request, page, fragment, context)


@changes_state
@letters_enabled
def message_unblock(request: HttpRequest, block_id: int) -> HttpResponse:
    """Unblock a user."""
    block = get_object_or_404(for_write(request, policy.blocks_of(request.user)), pk=block_id)
    name = name_of(block.blocked)
    if request.method != "POST":
        question = _("Unblock %(name)s? You’ll be able to send each other messages again.")
        return responses.confirm_response(request, question % {"name": name.label}, _("Unblock"))
    Block.objects.filter(pk=block.pk).delete()
    return responses.action_response(
        request, _("%(name)s is no longer blocked.") % {"name": name.name}
    )


# Reporting


@changes_state
@letters_enabled
def message_report(request: HttpRequest, message_id: int) -> HttpResponse:
    """Report a received letter to the moderators."""
    message = _own_message(request, message_id)
    if not Conversation(request, message).may_be_reported:
        return responses.error_response(request, _("You can only report messages you received."))
    form = ReportForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            reports.report(request.user, message, form.cleaned_data["reason"])
        except LetterRefused as refused:
            return responses.error_response(request, refused.reason)
        return responses.action_response(request, _("Reported. A moderator will review it."))
    page = "persistent_messages/message/report.html"
    return htmx.page_or_fragment(request, page, LETTER, {"message": message, "form": form})


# Helpers


def _own_message(request: HttpRequest, message_id: int) -> Message:
    rows = Message.objects.visible_to(request.user).current()
    message: Message = get_object_or_404(for_write(request, rows), pk=message_id)
    return message
