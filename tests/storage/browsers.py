"""A browser for tests of the storage without a client."""

from django.contrib import messages
from django.http import HttpResponse
from django.test import RequestFactory

from persistent_messages.storage import PersistentMessageStorage
from tests.databases import close_response


class Browser:
    """A browser that keeps its cookies and its session between requests."""

    def __init__(self, user, storage=PersistentMessageStorage):
        self.user = user
        self.storage = storage
        self.session = {}
        self.cookies = {}

    def request(self):
        request = RequestFactory().get("/")
        request.COOKIES = dict(self.cookies)
        request.session = self.session
        request.user = self.user
        request._messages = self.storage(request)
        return request

    def answer(self, request, response=None):
        """Send the response to `request`; return the messages that could not be stored."""
        response = response or HttpResponse()
        unstored = request._messages.update(response)
        for name, morsel in response.cookies.items():
            if morsel["max-age"] == 0 or not morsel.value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value
        close_response(response)
        return unstored

    def add(self, level, text, extra_tags=""):
        """Make a request that adds one message and shows none."""
        request = self.request()
        messages.add_message(request, level, text, extra_tags)
        self.answer(request)

    def waiting(self):
        """Return the messages that the next page would show, without counting them as shown."""
        return list(self.request()._messages)

    def page(self):
        """Return the messages that the next page shows, and send its response."""
        request = self.request()
        shown = list(request._messages)
        self.answer(request)
        return shown


def texts(shown):
    return [str(message) for message in shown]
