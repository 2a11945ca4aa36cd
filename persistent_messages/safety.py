"""What a request may say: which address to go on to."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme


def leads_back(request: HttpRequest, url: str) -> bool:
    """Tell whether one may go on to `url`: it is on this site, and has at most 2048 characters."""
    hosts = {request.get_host()}
    return url_has_allowed_host_and_scheme(url, hosts, require_https=request.is_secure())
