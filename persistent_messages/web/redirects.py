"""Targets of redirects and links back: paths on this site only."""

from __future__ import annotations

from django.http import HttpRequest, QueryDict
from django.shortcuts import resolve_url
from django.utils.encoding import escape_uri_path
from django.utils.http import url_has_allowed_host_and_scheme

from .htmx import FRAGMENT


def address_without_fragment(request: HttpRequest) -> str:
    """Return the URL of the request without the parameter that asks for a fragment."""
    query = request.GET.copy()
    query.pop(FRAGMENT, None)
    words = query.urlencode()
    return f"{escape_uri_path(request.path)}{'?' if words else ''}{words}"


def current_path(request: HttpRequest) -> str:
    """Return the path of the page in the browser, which for htmx requests is the requesting page.

    "/" if that is not a page on this site.
    """
    return current_path_or_blank(request) or "/"


def current_path_or_blank(request: HttpRequest) -> str:
    """Return the path of the page in the browser; "" if that is not a page on this site."""
    htmx = getattr(request, "htmx", None)
    try:
        path = htmx.current_url_abs_path if htmx else request.get_full_path()
    except ValueError:  # an invalid header, such as "http://["
        path = None
    return path if path and is_on_this_site(request, path) else ""


def next_url(request: HttpRequest) -> str:
    """Return the `next` parameter if it is on this site, or else the URL of the inbox."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    return wanted if is_on_this_site(request, wanted) else resolve_url("message_list")


def origin_page(path: str) -> str:
    """Return the page to go back to from a message that was opened from `path`.

    "" for the inbox without a filter. For any other page of the app, the page that it goes back to.
    """
    inbox = resolve_url("message_list")
    address, _, query = path.partition("?")
    if address != inbox and address.startswith(inbox):
        return QueryDict(query).get("next", "")
    return "" if path == inbox else path


def is_on_this_site(request: HttpRequest, url: str) -> bool:
    """Return whether `url` is a safe target of a redirect on this site."""
    # Django's check ignores tabs and newlines, as browsers do, but a redirect would encode them.
    hosts = {request.get_host()}
    return url.isprintable() and url_has_allowed_host_and_scheme(
        url, hosts, require_https=request.is_secure()
    )
