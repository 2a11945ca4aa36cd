"""The pages of letters between users: write, answer, block, report."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget

from . import htmx, letters, policy
from .conf import get_config
from .conversation import Conversation, reply_form
from .drafts import display_name
from .forms import LetterForm, ReplyForm, ReportForm
from .models import Block, Message
from .views import P, changes_state, sought

BLOCKS_SHOWN = 500
LETTER = "persistent_messages/message/includes/letter.html"


def switched_on(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Answer 404 unless the site lets its users write to each other."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not get_config().LETTERS:
            raise Http404("PERSISTENT_MESSAGES['LETTERS'] is not True.")
        return view(request, *args, **kwargs)

    return wrapped


# Writing


@changes_state
@switched_on
def message_compose(request: HttpRequest) -> HttpResponse:
    """Write a letter; `?to=` (user names) and `?subject=` fill the form in beforehand.

    With `pm-field` in the form it only checks that one field, and sends nothing.
    """
    form = _letter_form(request)
    if request.method != "POST":
        return _show_letter(request, form)
    sent = _sent(request, form)
    if sent is None:
        return _show_letter(request, form)
    htmx.tell_later(request, _("Sent to %(names)s.") % {"names": ", ".join(sent.to_names)})
    address = reverse("message_detail", args=[sent.pk])
    if htmx.wants_fragment(request):
        return htmx.private(HttpResponseClientRedirect(address))
    return HttpResponseRedirect(address)


def _letter_form(request: HttpRequest) -> LetterForm:
    urls = {"url": reverse("message_compose"), "people_url": reverse("message_people")}
    if request.method == "POST":
        return LetterForm(request.user, request.POST, **urls)
    names = (name.replace("\0", "") for name in request.GET.getlist("to"))
    initial = {"to": ", ".join(names), "subject": request.GET.get("subject", "").replace("\0", "")}
    return LetterForm(request.user, initial=initial, **urls)


def _sent(request: HttpRequest, form: LetterForm | ReplyForm) -> Message | None:
    # None: the form is to be shown again, with what is wrong.
    asked = request.POST.get("pm-field")
    if asked:
        form.only(asked)
        return None
    sent = form.send() if form.is_valid() else None
    if sent is None:
        form.focus_issue()
    return sent


def _show_letter(request: HttpRequest, form: LetterForm) -> HttpResponse:
    if "pm-field" in request.POST:
        return _show_field(request, {"form": form})
    page = "persistent_messages/message/compose.html"
    return htmx.page_or_fragment(request, page, LETTER, {"form": form})


def _show_field(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    # Never the page, whose strip would hand messages out that nobody gets to see: htmx 4 asks for
    # all of it, since the field selects itself from the answer.
    return htmx.aside(htmx.fragment_only(request, LETTER, context))


@require_safe
@htmx.signed_in
@switched_on
def message_people(request: HttpRequest) -> HttpResponse:
    """Offer names that complete the last one in `?to=`, of those whom the user may write to."""
    names, _comma, begun = request.GET.get("to", "").replace("\0", "").rpartition(",")
    chosen = {name.strip() for name in names.split(",")}
    people = [
        person
        for person in policy.suggestions(request.user, begun)
        if person.get_username() not in chosen
    ]
    context = {"people": people, "begun": begun.strip()}
    return htmx.aside(htmx.fragment_only(request, f"{LETTER}#people", context))


@changes_state
@switched_on
def message_reply(request: HttpRequest, message_id: int) -> HttpResponse:
    """Answer a letter; the form is also below the conversation. `?quote=1` quotes the letter.

    With `pm-field` in the form it only checks that one field, and sends nothing.
    """
    message = _own(request, message_id)
    if request.method != "POST":
        quote = letters.quoted(message) if request.GET.get("quote") else ""
        form = reply_form(request.user, message, initial={"message": quote})
        return _show_reply(request, message, form)
    form = reply_form(request.user, message, request.POST)
    sent = _sent(request, form)
    if sent is None:
        return _show_reply(request, message, form)
    said = _("Sent to %(names)s.") % {"names": ", ".join(sent.to_names)}
    if not htmx.wants_fragment(request):
        htmx.tell_later(request, said)
        return redirect("message_detail", message.pk)
    empty = {"message": message, "form": reply_form(request.user, message), "pm_oob": True}
    parts = [
        htmx.render_fragment(request, f"{htmx.THREAD}#post", {"message": message, "post": sent}),
        htmx.render_fragment(request, LETTER, empty),
        htmx.said(request, said),
    ]
    response = htmx.private(HttpResponse("".join(parts)))
    return reswap(retarget(response, ".pm-posts"), "beforeend")


def _show_reply(request: HttpRequest, message: Message, form: Any) -> HttpResponse:
    context = {"message": message, "form": form}
    if "pm-field" in request.POST:
        return _show_field(request, context)
    page = "persistent_messages/message/compose.html"
    return htmx.page_or_fragment(request, page, LETTER, context)


# Blocking


@changes_state
@switched_on
def message_block(request: HttpRequest, message_id: int) -> HttpResponse:
    """Have no more letters of who is at the other end of a letter; who is not told."""
    message = _own(request, message_id)
    other = Conversation(request, message).other
    if other is None:
        return htmx.refuse(request, _("There is nobody to block."))
    if request.method != "POST":
        question = _("Block %(name)s? No letter reaches you from there, and none goes there.")
        return htmx.confirm(request, question % {"name": _name(message)}, _("Block"))
    policy.block(request.user, other)
    return htmx.done(request, _("%(name)s is blocked.") % {"name": _name(message)})


@require_safe
@htmx.signed_in
@switched_on
def message_blocked(request: HttpRequest) -> HttpResponse:
    """Show whom the user has blocked, latest first."""
    page = "persistent_messages/message/blocked.html"
    fragment = "persistent_messages/message/includes/blocked.html"
    context = {"blocks": policy.blocks_of(request.user)[:BLOCKS_SHOWN]}
    return htmx.page_or_fragment(request, page, fragment, context)


@changes_state
@switched_on
def message_unblock(request: HttpRequest, block_id: int) -> HttpResponse:
    """Let letters pass again."""
    block = get_object_or_404(sought(request, policy.blocks_of(request.user)), pk=block_id)
    name = display_name(block.blocked)
    if request.method != "POST":
        question = _("Let letters of %(name)s pass again?")
        return htmx.confirm(request, question % {"name": name}, _("Unblock"))
    Block.objects.filter(pk=block.pk).delete()
    return htmx.done(request, _("%(name)s is no longer blocked.") % {"name": name})


# Reporting


@changes_state
@switched_on
def message_report(request: HttpRequest, message_id: int) -> HttpResponse:
    """Show the staff a letter that the user received."""
    message = _own(request, message_id)
    if not Conversation(request, message).may_be_reported:
        return htmx.refuse(request, _("Only letters that you received can be reported."))
    form = ReportForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        letters.report(request.user, message, form.cleaned_data["reason"])
        return htmx.done(request, _("Reported. The staff will look at it."))
    page = "persistent_messages/message/report.html"
    return htmx.page_or_fragment(request, page, LETTER, {"message": message, "form": form})


# What they share


def _own(request: HttpRequest, message_id: int) -> Message:
    rows = Message.objects.kept_by(request.user).current()
    return get_object_or_404(sought(request, rows), pk=message_id)


def _name(message: Message) -> str:
    return message.from_name or ", ".join(message.to_names)
