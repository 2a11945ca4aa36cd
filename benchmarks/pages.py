"""The pages for the benchmarks, with and without the app."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path

from persistent_messages.constants import Folder
from persistent_messages.models import Message

PAGE_SIZE = 25
PARAGRAPHS = range(40)


def bare(request: HttpRequest) -> HttpResponse:
    """Show a page with the name of the user."""
    return render(request, "benchmarks/bare.html", {"paragraphs": PARAGRAPHS})


def asking(request: HttpRequest) -> HttpResponse:
    """Show the same page after looking for messages."""
    return render(request, "benchmarks/asking.html", {"paragraphs": PARAGRAPHS})


def strip(request: HttpRequest) -> HttpResponse:
    """Show the same page with the counter and the strip."""
    return render(request, "benchmarks/strip.html", {"paragraphs": PARAGRAPHS})


def bare_list(request: HttpRequest, before: int = 0) -> HttpResponse:
    """Show a simple list as a site might write it: one query, one loop, no actions."""
    return _list(request, "benchmarks/bare_list.html", before)


def plain_inbox(request: HttpRequest, before: int = 0) -> HttpResponse:
    """Show the same list with a checkbox and three buttons in each row, without style or htmx."""
    return _list(request, "benchmarks/plain_inbox.html", before)


def inbox(request: HttpRequest, using: str | None = None) -> HttpResponse:
    """Show the inbox on a page of the site, with the template engine `using`."""
    return render(request, "benchmarks/inbox.html", using=using)


def _list(request: HttpRequest, template: str, before: int) -> HttpResponse:
    rows = Message.objects.filter(user=request.user, folder=Folder.INBOX).order_by("-pk")
    if before:
        rows = rows.filter(pk__lt=before)
    return render(request, template, {"rows": rows[:PAGE_SIZE]})


urlpatterns = [
    path("bare/", bare),
    path("asking/", asking),
    path("strip/", strip),
    path("list/", bare_list),
    path("list/<int:before>/", bare_list),
    path("plain/", plain_inbox),
    path("plain/<int:before>/", plain_inbox),
    path("inbox/", inbox),
    path("inbox/overridden/", inbox, {"using": "overridden"}),
    path("messages/", include("persistent_messages.urls")),
    path("log-in/", bare, name="login"),
]
