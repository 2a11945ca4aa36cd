"""What caches may keep: no answer that tells something of a mailbox, and never a message again.

Whoever knows what a response tells marks its request. The response gets its headers when the
storage, or `HtmxMessagesMiddleware`, sees it.
"""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import add_never_cache_headers, patch_cache_control

PRIVATE, NO_STORE = 1, 2
MEMO = "_pm_cacheability"

# What `add_never_cache_headers` sets.
NOWHERE = "max-age=0, no-cache, no-store, must-revalidate, private"
VALIDATORS = ("ETag", "Last-Modified")
# They tell the caches of a site, and those before it, what Cache-Control does not.
CDN_HEADERS = ("CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires")


def mark_private(request: HttpRequest) -> None:
    """Note that the answer tells something of a mailbox: a number, or that nothing waits."""
    _mark(request, PRIVATE)


def mark_no_store(request: HttpRequest) -> None:
    """Note that the answer shows messages, which are not to come again from a cache."""
    _mark(request, NO_STORE)


def _mark(request: HttpRequest, cacheability: int) -> None:
    memo = vars(request)
    memo[MEMO] = max(cacheability, memo.get(MEMO, 0))
    # Django's own caches ask this: `cache_page` keeps the answer before anybody sets its headers.
    memo["_cache_update_cache"] = False


def set_cache_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Have caches treat `response` as what it tells asks for; as it is where it tells nothing."""
    cacheability = vars(request).get(MEMO, 0)
    if cacheability == NO_STORE:
        prevent_caching(response)
    elif cacheability == PRIVATE:
        patch_cache_control(response, private=True)
        _remove_headers(response, CDN_HEADERS)


def prevent_caching(response: HttpResponseBase) -> None:
    """Have no cache keep `response`, the browser's neither, nor take what it has for the same."""
    _remove_headers(response, (*CDN_HEADERS, *VALIDATORS))
    if response.headers.get("Cache-Control") != NOWHERE:  # once: middleware and storage ask
        _remove_headers(response, ("Expires",))
        add_never_cache_headers(response)


def _remove_headers(response: HttpResponseBase, names: tuple[str, ...]) -> None:
    for name in names:
        response.headers.pop(name, None)
