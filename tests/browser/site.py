"""What browser tests add to the demo site: a strict policy, and pages with more of our parts."""

from django.urls import include, path
from django.views.generic import TemplateView


def strict_policy(get_response):
    """Allow the pages nothing but what their own address serves."""

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
