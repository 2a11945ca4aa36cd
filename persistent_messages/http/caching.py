"""Cache headers: a response with data from a mailbox is private, and one with messages uncached.

Code that reads a mailbox marks the request. The response gets its headers from the storage or from
`HtmxMessagesMiddleware`.
"""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import add_never_cache_headers, patch_cache_control

PRIVATE, NO_STORE = 1, 2
MEMO = "_pm_cacheability"

# The header that `add_never_cache_headers()` sets.
NOWHERE = "max-age=0, no-cache, no-store, must-revalidate, private"
VALIDATORS = ("ETag", "Last-Modified")
# Headers that override Cache-Control for CDNs and reverse proxies.
CDN_HEADERS = ("CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires")


def mark_private(request: HttpRequest) -> None:
    """Mark the response as private, because it depends on the user's mailbox."""
    _mark(request, PRIVATE)


def mark_no_store(request: HttpRequest) -> None:
    """Mark the response as uncacheable, because it shows messages that must not reappear."""
    _mark(request, NO_STORE)


def _mark(request: HttpRequest, cacheability: int) -> None:
    memo = vars(request)
    memo[MEMO] = max(cacheability, memo.get(MEMO, 0))
    # Django's cache middleware reads this; `cache_page` runs before the headers are set.
    memo["_cache_update_cache"] = False


def set_cache_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Set the cache headers of `response` if the request was marked."""
    cacheability = vars(request).get(MEMO, 0)
    if cacheability == NO_STORE:
        prevent_caching(response)
    elif cacheability == PRIVATE:
        patch_cache_control(response, private=True)
        _remove_headers(response, CDN_HEADERS)


def prevent_caching(response: HttpResponseBase) -> None:
    """Prevent all caches, including the browser's, from storing or revalidating `response`."""
    _remove_headers(response, (*CDN_HEADERS, *VALIDATORS))
    if response.headers.get("Cache-Control") != NOWHERE:  # both middleware and storage call this
        _remove_headers(response, ("Expires",))
        add_never_cache_headers(response)


def _remove_headers(response: HttpResponseBase, names: tuple[str, ...]) -> None:
    for name in names:
        response.headers.pop(name, None)
