"""What a request may say: in which charset, and which address to go on to."""

from __future__ import annotations

import codecs

from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme


def check_charset(request: HttpRequest) -> None:
    """Raise `BadRequest`, answered with 400, where a request says it is not in UTF-8.

    Django does so for one kind of form. In UTF-7, say, somebody can write half a surrogate pair,
    which no database stores and no answer can hold.
    """
    if codecs.lookup(request.encoding or "utf-8").name != "utf-8":
        raise BadRequest("The charset must be UTF-8.")


def leads_back(request: HttpRequest, url: str) -> bool:
    """Tell whether one may go on to `url`: it is on this site, and has at most 2048 characters."""
    # The check drops tabs and line ends, as browsers do; a redirect encodes them.
    hosts = {request.get_host()}
    return url.isprintable() and url_has_allowed_host_and_scheme(
        url, hosts, require_https=request.is_secure()
    )
