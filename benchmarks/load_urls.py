"""The addresses of the demo, and a page that does nothing to compare with."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def nothing(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 (Django's signature)
    """Answer with a line of text: what any page costs here."""
    return HttpResponse("Nothing.")


urlpatterns = [path("nothing/", nothing), path("", include("demo.urls"))]
