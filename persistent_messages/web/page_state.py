"""The state of the page that sent a request: the filter of its list."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest, QueryDict
from django.shortcuts import resolve_url

from persistent_messages.inbox.filters import Filter


def filter_at(path: str) -> Filter | None:
    """Return the filter of the inbox page at `path`; None if it is another page."""
    address, _, query = path.partition("?")
    return Filter.from_query(QueryDict(query)) if address == resolve_url("message_list") else None


def posted_filter(request: HttpRequest) -> Filter:
    """Return the filter of the list on the page that posted the request, without its position."""
    return filter_from(request.POST)


def filter_from(asked: QueryDict) -> Filter:
    """Return the filter in the parameters `asked`, without its position."""
    filter_ = Filter.from_query(QueryDict(asked.get("pm-filter", "")[1:]))
    return replace(filter_, before=None, until=None)
