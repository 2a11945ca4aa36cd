"""Pages of admin sites and Wagtail, which expect contrib's messages."""

from __future__ import annotations

from django.apps import apps
from django.http import HttpRequest
from django.urls import NoReverseMatch, get_script_prefix, reverse

WAGTAIL = "wagtail"
ADMIN_ROOTS = {"django.contrib.admin": "admin:index", "wagtail.admin": "wagtailadmin_home"}
"""The name of the first page of an admin, by the app that must be installed."""
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
    return any(map(_is_wagtail_module, modules)) or _is_below_an_admin(request.path)


def _is_wagtail_module(module: str) -> bool:
    return module.partition(".")[0] == WAGTAIL and module != WAGTAIL_SITE_VIEWS


def _is_below_an_admin(path: str) -> bool:
    # Other apps and the site add pages to an admin, such as /admin/doc/, with its base template.
    roots = map(_root_of, (name for app, name in ADMIN_ROOTS.items() if apps.is_installed(app)))
    return any(root is not None and path.startswith(root) for root in roots)


def _root_of(name: str) -> str | None:
    try:
        root = reverse(name)
    except NoReverseMatch:
        return None
    # Below an admin at the root of the site are also the site's own pages.
    return None if root == get_script_prefix() else root
