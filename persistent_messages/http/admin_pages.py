"""Pages of admin sites and Wagtail, which expect contrib's messages."""

from __future__ import annotations

from django.apps import apps
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

WAGTAIL = "wagtail"
# These views serve the site's own pages.
WAGTAIL_SITE_VIEWS = "wagtail.views"


def is_admin_page(request: HttpRequest) -> bool:
    """Return whether the request is for a page of an admin site or of Wagtail's admin.

    The default of `PLAIN_PAGES`. Pages of the site that Wagtail serves do not count. No query.
    """
    match = request.resolver_match
    if match is None:
        return False
    if "admin" in match.app_names:
        return True
    view = getattr(match.func, "view_class", None)
    classes = view.__mro__ if isinstance(view, type) else ()
    modules = {match.func.__module__, *(each.__module__ for each in classes)}
    return any(map(_is_wagtail_module, modules)) or _is_in_wagtail_admin(request)


def _is_wagtail_module(module: str) -> bool:
    return module.partition(".")[0] == WAGTAIL and module != WAGTAIL_SITE_VIEWS


def _is_in_wagtail_admin(request: HttpRequest) -> bool:
    # Includes the site's own views in Wagtail's admin.
    if not apps.is_installed("wagtail.admin"):
        return False
    try:
        return request.path.startswith(reverse("wagtailadmin_home"))
    except NoReverseMatch:
        return False
