"""Views of the demo site, as a site of yours would write them."""

import random
from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

import persistent_messages
from persistent_messages.delivery import outbox
from persistent_messages.models import Broadcast

from .mail import mails_to
from .notices import InvitedToTeam, Maintenance, StorageNearlyFull

MAIL_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

# Arguments of add_message() for the buttons on the home page.
KINDS = {
    "one-shot": {"level": messages.SUCCESS, "message": gettext_lazy("Your changes were saved.")},
    "notice": {
        "level": persistent_messages.INFO,
        "topic": "maintenance",
        "subject": gettext_lazy("Maintenance on Sunday"),
        "message": gettext_lazy("The site is read-only from 06:00 to 06:30."),
    },
    "warning": {
        "level": persistent_messages.WARNING,
        "topic": "billing",
        "subject": gettext_lazy("Your card ending 4242 expires soon"),
        "message": gettext_lazy("Update it before the end of the month to keep your plan."),
        "expires": timedelta(days=8),
    },
    "error": {
        "level": persistent_messages.ERROR,
        "subject": gettext_lazy("Nightly export failed"),
        "message": gettext_lazy(
            "The disk quota was reached. Nothing was lost; the next run is at 02:00."
        ),
    },
    "closing": {
        "level": persistent_messages.SUCCESS,
        "subject": gettext_lazy("Contacts imported"),
        "message": gettext_lazy(
            "1,284 people added. This notice closes by itself in five seconds."
        ),
        "close_timeout": 5000,
    },
}
# The labels of those buttons.
LABELS = {
    "one-shot": gettext_lazy("Add a message: one-shot"),
    "notice": gettext_lazy("Add a message: notice"),
    "warning": gettext_lazy("Add a message: warning"),
    "error": gettext_lazy("Add a message: error"),
    "closing": gettext_lazy("Add a message: closing"),
}


# The labels of the buttons for notices. Each shows another way to use the classes in demo.notices.
NOTICES = {
    "storage": gettext_lazy("Storage runs full"),
    "resolve": gettext_lazy("Storage is free again"),
    "invite": gettext_lazy("Invite me to a team"),
    "broadcast": gettext_lazy("Broadcast to everybody"),
    "withdraw": gettext_lazy("Withdraw the broadcast"),
}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the counter, the strip, and a button for each kind of message."""
    return render(request, "demo/home.html", {"labels": LABELS, "notices": NOTICES})


@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """Add a message. For htmx requests, the middleware adds it to the response."""
    kind = request.POST.get("kind", "")
    if kind not in KINDS:
        messages.error(request, _("Unknown kind of message."))
    elif kind != "one-shot" and not request.user.is_authenticated:
        messages.warning(request, _("Log in first: this message needs a mailbox."))
    else:
        arguments = dict(KINDS[kind])
        if "expires" in arguments:
            arguments["expires"] = timezone.now() + arguments["expires"]
        persistent_messages.add_message(request, **arguments)
    if request.htmx:
        return HttpResponse(_("Added."))
    return redirect("home")


@require_POST
@login_required
def notify(request: HttpRequest) -> HttpResponse:
    """Send, renew or resolve a notice, or broadcast one."""
    what, done = request.POST.get("notice", ""), _("Added.")
    if what == "storage":
        # A different percentage each time. The inbox has one such notice, however often it is sent.
        percent = random.randint(90, 99)
        StorageNearlyFull(percent=percent, project="Archive 2019").send(request=request)
    elif what == "resolve":
        StorageNearlyFull.resolve(request.user)
        done = _("Resolved.")
    elif what == "invite":
        InvitedToTeam(team="Atlas", inviter="Priya Raman").send(request=request)
    elif what == "broadcast":
        withdraw_maintenance()
        Maintenance().broadcast(expires=timezone.now() + timedelta(hours=1))
        done = _("Everybody gets it with their next page.")
    elif what == "withdraw":
        withdraw_maintenance()
        done = _("Withdrawn.")
    if request.htmx:
        return HttpResponse(done)
    messages.success(request, done)
    return redirect("home")


def withdraw_maintenance() -> None:
    """Withdraw earlier broadcasts of this button, but not those made in the admin."""
    for broadcast in Broadcast.objects.filter(key=Maintenance.key, withdrawn_at=None):
        broadcast.withdraw()


@require_safe
def project(request: HttpRequest) -> HttpResponse:
    """Show the inbox inside another page."""
    # The strip in the base template leaves out the notices, which the list shows.
    return render(request, "demo/project.html", {"hide_persistent": True})


@require_safe
def bootstrap(request: HttpRequest) -> HttpResponse:
    """Show the strip, the bell and the inbox on a page of a Bootstrap 5 site."""
    return render(request, "demo/bootstrap.html", {"hide_persistent": True})


@require_safe
@login_required
def mail(request: HttpRequest) -> HttpResponse:
    """Send the due mail, for which a site runs `send_due_mail`, and show the mail of the user."""
    for _counts in outbox.send_due():
        pass
    mails = [
        {
            "name": name,
            "subject": each["Subject"],
            "sender": each["From"],
            "text": each.get_body(("plain",)).get_content(),
            "unsubscribe": (each["List-Unsubscribe"] or "").strip(" <>"),
        }
        for name, each in mails_to(request.user.email)
    ]
    return render(request, "demo/mail.html", {"mails": mails})


@require_safe
@login_required
def mail_html(request: HttpRequest, name: str) -> HttpResponse:
    """Show the HTML of a mail, as a mail program does."""
    found = dict(mails_to(request.user.email)).get(name)
    if found is None:
        raise Http404
    html = found.get_body(("html",)).get_content()
    return HttpResponse(html, headers={"Content-Security-Policy": MAIL_POLICY})
