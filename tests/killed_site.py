"""The site whose server is killed: the inbox, and URLs that write what a request asks for.

Only the processes of that server import this module.
"""

import os

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.urls import include, path

import persistent_messages
from persistent_messages.mailbox import delivery

# A small batch size, so that a few recipients take several statements.
delivery.MAX_BATCH_SIZE = delivery.BATCH_SIZE = delivery.RANGE_SIZE = 5


def name_worker(get_response):
    """Return the ID of the process."""

    def middleware(request):
        response = get_response(request)
        response["X-Worker"] = str(os.getpid())
        return response

    return middleware


def notice(request):
    persistent_messages.info(request, request.POST["text"])
    return HttpResponse(status=201)


def passing(request):
    messages.success(request, request.POST["text"])
    return HttpResponse(status=201)


def everybody(request):
    people = get_user_model().objects.all()
    persistent_messages.send_message(people, persistent_messages.INFO, request.POST["text"])
    return HttpResponse(status=201)


urlpatterns = [
    path("notice/", notice),
    path("passing/", passing),
    path("everybody/", everybody),
    path("messages/", include("persistent_messages.urls")),
]
