"""Pages of the demo site: what a site of yours would write."""

from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

import persistent_messages

# What the buttons of the home page add: arguments for add_message.
KINDS = {
    "one-shot": {"level": messages.SUCCESS, "message": "Your changes were saved."},
    "notice": {
        "level": persistent_messages.INFO,
        "subject": "Maintenance on Sunday",
        "message": "The site is read-only from 06:00 to 06:30.",
    },
    "warning": {
        "level": persistent_messages.WARNING,
        "subject": "Your card ending 4242 expires soon",
        "message": "Update it before the end of the month to keep your plan.",
        "expires": timedelta(days=8),
    },
    "error": {
        "level": persistent_messages.ERROR,
        "subject": "Nightly export failed",
        "message": "The disk quota was reached. Nothing was lost; the next run is at 02:00.",
    },
    "closing": {
        "level": persistent_messages.SUCCESS,
        "subject": "Contacts imported",
        "message": "1,284 people added. This notice closes by itself in five seconds.",
        "close_timeout": 5000,
    },
}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the counter, the strip, and a button for each kind of message."""
    return render(request, "demo/home.html", {"kinds": KINDS})


@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """Add a message of one kind; the middleware puts it on the page when HTMX asked."""
    kind = request.POST.get("kind", "")
    if kind not in KINDS:
        messages.error(request, "There is no such kind of message.")
    elif kind != "one-shot" and not request.user.is_authenticated:
        messages.warning(request, "Only for people who are logged in: we must know whose it is.")
    else:
        arguments = dict(KINDS[kind])
        if "expires" in arguments:
            arguments["expires"] = timezone.now() + arguments["expires"]
        persistent_messages.add_message(request, **arguments)
    if request.htmx:
        return HttpResponse("Added.")
    return redirect("home")


@require_safe
def project(request: HttpRequest) -> HttpResponse:
    """Show the inbox inside another page."""
    return render(request, "demo/project.html")


@require_safe
def bootstrap(request: HttpRequest) -> HttpResponse:
    """Show strip, bell and inbox inside a page of a Bootstrap 5 site."""
    return render(request, "demo/bootstrap.html")
