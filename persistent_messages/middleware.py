"""Show pending messages with any htmx response of the site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from .http import caching
from .http.visibility import LEAVING
from .models import Message
from .web import htmx


class HtmxMessagesMiddleware:
    """Append the strip out of band to htmx responses that do not show the messages themselves.

    It is appended only if there are new messages: added by the request, or one-shot messages. It is
    not appended if htmx would not swap it: a status other than 2xx, or 204 or 286; a streaming,
    non-HTML or compressed response; a whole document; or a redirect. At most one query. A response
    with the strip is not cached. Place it after the session, authentication, message and
    django-htmx middleware, and after any middleware that compresses.
    """

    sync_capable = True
    async_capable = True

    def __init__(
        self,
        get_response: (
            Callable[[HttpRequest], HttpResponseBase]
            | Callable[[HttpRequest], Awaitable[HttpResponseBase]]
        ),
    ) -> None:
        self.get_response: Any = get_response
        self.async_mode = iscoroutinefunction(get_response)
        if self.async_mode:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Process the request, in an event loop if the middleware is async."""
        if self.async_mode:
            return self._acall(request)
        response: HttpResponseBase = self.get_response(request)
        return self.process_response(request, response)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self.get_response(request)
        if not swaps_html(request, response):
            caching.set_cache_headers(request, response)
            return response
        return await sync_to_async(self.process_response)(request, response)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Return `response`, with the strip appended if there are new messages."""
        if isinstance(response, HttpResponse) and swaps_html(request, response):
            storage: Any = getattr(request, "_messages", None)
            if storage is not None and not storage.used and _has_news(storage):
                html = htmx.render_fragment(request, f"{htmx.STRIP}#oob", {"pm_oob": True})
                _append(response, html)
                caching.prevent_caching(htmx.never_cache(response))
        caching.set_cache_headers(request, response)
        return response


def swaps_html(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether htmx will swap `response` into the page."""
    return bool(
        getattr(request, "htmx", None)
        and request.method != "HEAD"
        and not getattr(response, "pm_skips_messages", False)
        and 200 <= response.status_code < 300
        and response.status_code not in (204, 205, 286)
        and not response.streaming
        and not response.has_header("Content-Encoding")
        and not any(response.has_header(header) for header in LEAVING)
        and response.headers.get("Content-Type", "").startswith("text/html")
        and not _is_document(response)
    )


def _is_document(response: Any) -> bool:
    # htmx replaces the page with a document, or selects a part of it. Out-of-band content would be
    # swapped into the old page.
    begin = response.content[:1000].lower()
    return b"<!doctype" in begin or b"<html" in begin


def _has_news(storage: Any) -> bool:
    # Unread persistent messages are already in the strip of the page.
    return storage.added_new or any(
        not (isinstance(message, Message) and message.is_persistent)
        for message in storage._loaded_messages
    )


def _append(response: HttpResponse, html: str) -> None:
    response.content += html.encode(response.charset, "xmlcharrefreplace")
    if response.has_header("Content-Length"):
        response["Content-Length"] = str(len(response.content))
