"""Additions to the demo site for browser tests: a strict policy, and pages with more parts."""

from django.urls import include, path
from django.views.generic import TemplateView


def strict_policy(get_response):
    """Allow pages to load content only from their own origin."""

    def middleware(request):
        response = get_response(request)
        response["Content-Security-Policy"] = (
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        return response

    return middleware


urlpatterns = [
    path("both/", TemplateView.as_view(template_name="both.html")),
    path("twice/", TemplateView.as_view(template_name="twice.html")),
    path("", include("demo.urls")),
]
