"""A site that does not include the URLs of the app."""

from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse(), name="home")]
