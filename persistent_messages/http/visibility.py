"""Whether a person will see the response to a request: only such responses hand messages out."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase

# A browser says what it fetches for: pages and frames, and "empty" for what a script asks.
DISPLAY_DESTINATIONS = {"document", "iframe", "frame", "embed", "object", "fragment", "empty"}
# Over plain HTTP it only says what it takes: these first where it asks for a part of a page.
SUBRESOURCE_TYPES = ("image/", "video/", "audio/", "font/", "text/css", "application/font")
# A client that is told to go elsewhere shows the messages there.
LEAVING = ("HX-Redirect", "HX-Refresh", "HX-Location")
# Of a form that is not valid: a site that answers so has htmx show it.
UNPROCESSABLE = 422
PREFETCH_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")


def is_shown_to_person(request: HttpRequest) -> bool:
    """Tell whether a person will see the response, as far as the request says.

    Not for HEAD, for a browser that fetches ahead, or for images, scripts and beacons.
    """
    return (
        request.method not in ("HEAD", "OPTIONS")
        and not is_prefetch(request)
        and (_is_for_display(request))
    )


def is_prefetch(request: HttpRequest) -> bool:
    """Tell whether the browser, or htmx, fetches a page that may never be opened."""
    purposes = " ".join(request.headers.get(name, "") for name in PREFETCH_HEADERS).lower()
    if "prefetch" in purposes or "prerender" in purposes or "preview" in purposes:
        return True
    return request.headers.get("HX-Preloaded", "").lower() == "true"


def _is_for_display(request: HttpRequest) -> bool:
    destination = request.headers.get("Sec-Fetch-Dest", "").strip().lower()
    mode = request.headers.get("Sec-Fetch-Mode", "").strip().lower()
    if mode == "no-cors" and destination in ("", "empty"):  # a beacon, an image: no script reads it
        return False
    if destination:
        return destination in DISPLAY_DESTINATIONS
    return not request.headers.get("Accept", "").strip().lower().startswith(SUBRESOURCE_TYPES)


def is_discarded(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Tell whether htmx throws `response` away, as far as one can know.

    It shows nothing of a page that sends it elsewhere; htmx 2 nothing of an error, either.
    """
    if request.headers.get("HX-Request") != "true":
        return False
    if any(response.has_header(header) for header in LEAVING):
        return True
    # htmx 4, which says what kind of answer it wants, shows errors, too.
    swaps_errors = "HX-Request-Type" in request.headers
    return (
        response.status_code >= 400 and response.status_code != UNPROCESSABLE and not swaps_errors
    )
