"""The URLs of the demo, and an empty page to compare with."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def nothing(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 (Django's signature)
    """Return a line of text, which is the minimum cost of a page."""
    return HttpResponse("Nothing.")


urlpatterns = [path("nothing/", nothing), path("", include("demo.urls"))]
