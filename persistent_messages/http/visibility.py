"""Whether a person will see a response. Other responses must not count messages as shown."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase

# Values of Sec-Fetch-Dest for pages and frames; "empty" is a request by a script.
DISPLAY_DESTINATIONS = {"document", "iframe", "frame", "embed", "object", "fragment", "empty"}
# Over plain HTTP there is only Accept, which begins with one of these for a subresource.
SUBRESOURCE_TYPES = ("image/", "video/", "audio/", "font/", "text/css", "application/font")
# With these headers, the next page shows the messages.
LEAVING = ("HX-Redirect", "HX-Refresh", "HX-Location")
# The status of an invalid form. Sites that use it configure htmx to swap it.
UNPROCESSABLE = 422
PREFETCH_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")


def is_shown_to_person(request: HttpRequest) -> bool:
    """Return whether a person will see the response, as far as the request tells.

    False for HEAD requests, for prefetching, and for images, scripts and beacons.
    """
    return (
        request.method not in ("HEAD", "OPTIONS")
        and not is_prefetch(request)
        and _is_for_display(request)
    )


def is_prefetch(request: HttpRequest) -> bool:
    """Return whether the browser or htmx prefetches a page that may never be shown."""
    purposes = " ".join(request.headers.get(name, "") for name in PREFETCH_HEADERS).lower()
    if "prefetch" in purposes or "prerender" in purposes or "preview" in purposes:
        return True
    return request.headers.get("HX-Preloaded", "").lower() == "true"


def _is_for_display(request: HttpRequest) -> bool:
    destination = request.headers.get("Sec-Fetch-Dest", "").strip().lower()
    mode = request.headers.get("Sec-Fetch-Mode", "").strip().lower()
    if mode == "no-cors" and destination in ("", "empty"):  # a beacon, which no script reads
        return False
    if destination:
        return destination in DISPLAY_DESTINATIONS
    return not request.headers.get("Accept", "").strip().lower().startswith(SUBRESOURCE_TYPES)


def is_discarded(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether htmx will discard `response`, as far as the headers tell.

    htmx discards a response that redirects it. htmx 2 also discards errors.
    """
    if request.headers.get("HX-Request") != "true":
        return False
    if any(response.has_header(header) for header in LEAVING):
        return True
    # htmx 4, which sends this header, also swaps errors.
    swaps_errors = "HX-Request-Type" in request.headers
    return (
        response.status_code >= 400 and response.status_code != UNPROCESSABLE and not swaps_errors
    )
