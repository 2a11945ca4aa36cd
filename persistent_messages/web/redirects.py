"""Where a response may lead: paths on this site only."""

from __future__ import annotations

from django.http import HttpRequest, QueryDict
from django.shortcuts import resolve_url
from django.utils.encoding import escape_uri_path
from django.utils.http import url_has_allowed_host_and_scheme

from .htmx import FRAGMENT


def address_without_fragment(request: HttpRequest) -> str:
    """Return the address of the request as people see it: without what asks for a fragment."""
    query = request.GET.copy()
    query.pop(FRAGMENT, None)
    words = query.urlencode()
    return f"{escape_uri_path(request.path)}{'?' if words else ''}{words}"


def current_path(request: HttpRequest) -> str:
    """Return the path of the page that people look at: of the page that asked, if HTMX did.

    "/" where that is none to come back to.
    """
    return current_path_or_blank(request) or "/"


def current_path_or_blank(request: HttpRequest) -> str:
    """Return that path, "" where it is none to come back to."""
    htmx = getattr(request, "htmx", None)
    try:
        path = htmx.current_url_abs_path if htmx else request.get_full_path()
    except ValueError:  # a header says what it likes, "http://[" for one
        path = None
    return path if path and is_on_this_site(request, path) else ""


def next_url(request: HttpRequest) -> str:
    """Return where the form asked to go afterwards, if that is on this site; else the inbox."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    return wanted if is_on_this_site(request, wanted) else resolve_url("message_list")


def origin_page(path: str) -> str:
    """Return the page to go back to from a message that was opened at `path`.

    "" for the inbox as it is without a filter. From another page of ours it is where that leads.
    """
    inbox = resolve_url("message_list")
    address, _, query = path.partition("?")
    if address != inbox and address.startswith(inbox):
        return QueryDict(query).get("next", "")
    return "" if path == inbox else path


def is_on_this_site(request: HttpRequest, url: str) -> bool:
    """Tell whether one may go on to `url`: it is on this site, and has at most 2048 characters."""
    # The check drops tabs and line ends, as browsers do; a redirect encodes them.
    hosts = {request.get_host()}
    return url.isprintable() and url_has_allowed_host_and_scheme(
        url, hosts, require_https=request.is_secure()
    )
