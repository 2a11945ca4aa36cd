"""The storage behaves like Django's `FallbackStorage` on the same input, step by step."""

import random

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages import Message as ContribMessage
from django.contrib.messages import constants, get_messages
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.test import MessagesTestMixin
from django.http import HttpResponse, HttpResponseRedirect
from django.template import engines
from django.test import SimpleTestCase
from django.urls import path

from persistent_messages.models import Message
from tests.storage.browsers import Browser, texts

# What a step of a request does with its storage, and returns.
STEPS = {
    "add": lambda storage, text: storage.add(constants.INFO, text, "tag"),
    "empty": lambda storage, text: storage.add(constants.INFO, ""),
    "low": lambda storage, text: storage.add(constants.DEBUG, text),
    "list": lambda storage, text: [(m.level, m.message, m.tags) for m in storage],
    "first": lambda storage, text: str(next(iter(storage), None)),
    "len": lambda storage, text: len(storage),
    "bool": lambda storage, text: bool(storage),
    "in": lambda storage, text: [
        ContribMessage(constants.INFO, f"{number}.{place}") in storage
        for number in range(4)
        for place in range(4)
    ],
    "used": lambda storage, text: storage.used,
    "added_new": lambda storage, text: storage.added_new,
    "unused": lambda storage, text: setattr(storage, "used", False),
    "spent": lambda storage, text: setattr(storage, "used", True),
}
LOOK = ["list", "len", "in", "used", "added_new", "list"]

# Sequences of requests; those of the issue first.
SEQUENCES = [
    [["add", "add"], ["list", "unused", "add"], ["list"], ["list"]],
    [["add"], ["list", "unused"], ["list"], ["list"]],
    [["add", "list", "unused"], ["list"], ["list"]],
    [["add", "list", "unused", "add", "list"], ["list"]],
    [["add", "list", "unused", "list"], ["list"]],
    [["add"], ["first", "unused", "add"], ["list"]],
    [["add"], ["spent"], ["list"]],
    [["add"], ["spent", "add"], ["list"], ["list"]],
    [["add"], ["add", "spent"], ["list"], ["list"]],
    [["add"], ["spent", "unused"], ["list"]],
    [["add"], ["list", "unused", "spent"], ["list"]],
    [["add"], ["len", "unused", "spent", "add"], ["list"]],
    [["add"], ["add"], ["first"], ["list"]],
    [["add"], ["list", "add"], ["add"], ["list"]],
    [["add"], ["list", "add", "list"], ["list"]],
    [["add"], ["low", "empty", "used", "added_new"], ["list"]],
]


def at_random(seed):
    dice = random.Random(seed)
    return [dice.choices([*STEPS, "add", "list"], k=dice.randint(0, 5)) for _ in range(4)]


def transcript(browser, requests, *, update_twice=False):
    """Return all results of the storages of these requests, including those after a response."""
    told, storages = [], []
    for number, steps in enumerate(requests):
        request, response = browser.request(), HttpResponse()
        storage = request._messages
        for place, step in enumerate(steps):
            told.append((number, step, STEPS[step](storage, f"{number}.{place}")))
        if update_twice:
            storage.update(response)
        told.append((number, "unstored", browser.answer(request, response)))
        told += [(number, "after", step, STEPS[step](storage, "")) for step in LOOK]
        storages.append(storage)
    for number, storage in enumerate(storages):
        told += [(number, "at last", step, STEPS[step](storage, "")) for step in LOOK]
    return [*told, ("waits", texts(browser.waiting()))]


@pytest.mark.parametrize("whose", ["visitor", "user"])
@pytest.mark.parametrize("update_twice", [False, True])
@pytest.mark.parametrize("requests", [*SEQUENCES, *map(at_random, range(60))], ids=str)
def test_each_step_behaves_like_fallback_storage(user, whose, requests, update_twice):
    theirs = transcript(
        Browser(AnonymousUser(), FallbackStorage), requests, update_twice=update_twice
    )
    ours = transcript(
        Browser(user if whose == "user" else AnonymousUser()), requests, update_twice=update_twice
    )
    # An update that leaves nothing may return a list or None.
    assert [step for step in ours if "unstored" not in step] == [
        step for step in theirs if "unstored" not in step
    ]


# The tests of a site


def add(request):
    for text in request.GET.getlist("text"):
        get_messages(request).add(constants.SUCCESS, text)
    return HttpResponseRedirect("/show/")


def show(request):
    template = engines["django"].from_string(
        "{% for message in messages %}{{ message }} {% endfor %}"
    )
    return HttpResponse(template.render(request=request))


def read(request):
    """Show messages with the getter of 2011, and one that the page adds."""
    get_messages(request).add(constants.SUCCESS, "Now")
    source = "{% for message in messages.get_nonpersistent %}{{ message }} {% endfor %}"
    return HttpResponse(engines["django"].from_string(source).render(request=request))


urlpatterns = [path("add/", add), path("show/", show), path("read/", read)]


pytestmark = pytest.mark.urls(__name__)


class Site(MessagesTestMixin, SimpleTestCase):
    """The assertions of a site's test case."""


@pytest.fixture(params=["visitor", "client"])
def web(request):
    """Return the client of a visitor, and one in which Sally is logged in."""
    client = request.getfixturevalue(request.param)
    site = Site()
    site.client = client
    return site


def success(*given):
    return [ContribMessage(constants.SUCCESS, text) for text in given]


def test_assert_messages_works_after_redirect_was_followed(web):
    """`assertRedirects` requests the page, which shows them."""
    response = web.client.get("/add/?text=One&text=Two")
    web.assertRedirects(response, "/show/")
    web.assertMessages(response, success("One", "Two"))
    assert texts(get_messages(response.wsgi_request)) == ["One", "Two"]
    assert web.client.get("/show/").text == ""
    assert not Message.objects.exists()


def test_reading_after_response_consumes_nothing(web):
    response = web.client.get("/add/?text=One")
    web.assertMessages(response, success("One"))
    web.assertRedirects(response, "/show/")
    web.assertMessages(response, success("One"))
    later = web.client.get("/add/?text=Two")
    web.assertMessages(later, success("Two"))
    assert web.client.get("/show/").text == "Two "


def test_assert_messages_works_after_get_nonpersistent(web):
    web.client.get("/add/?text=One&text=Two")
    page = web.client.get("/read/")
    assert page.text == "One Two Now "
    web.client.get("/show/")
    web.assertMessages(page, success("One", "Two", "Now"))
    assert ContribMessage(constants.SUCCESS, "One") in get_messages(page.wsgi_request)
    assert web.client.get("/show/").text == ""


def test_get_nonpersistent_after_response_consumes_nothing(web):
    response = web.client.get("/add/?text=One&text=Two")
    page = web.client.get("/show/")
    for storage in map(get_messages, (response.wsgi_request, page.wsgi_request)):
        for _ in range(2):
            assert texts(storage.get_nonpersistent()) == ["One", "Two"]
            assert storage.get_nonpersistent().count() == 2
    web.assertMessages(response, success("One", "Two"))
    assert web.client.get("/show/").text == ""


def test_later_messages_do_not_belong_to_earlier_response(web):
    first, second = web.client.get("/add/?text=One"), web.client.get("/add/?text=Two")
    page = web.client.get("/show/")
    last = web.client.get("/add/?text=Three")
    web.assertMessages(page, success("One", "Two"))
    web.assertMessages(first, success("One"))
    assert ContribMessage(constants.SUCCESS, "Two") in get_messages(second.wsgi_request)
    web.assertMessages(last, success("Three"))


def test_messages_of_response_are_readable_after_user_is_deleted(client, user):
    response, page = client.get("/add/?text=One"), client.get("/show/")
    user.delete()
    for answer in (response, page):
        assert texts(get_messages(answer.wsgi_request)) == ["One"]


def test_assert_messages_works_beyond_page_limit(client):
    """More than a page shows, for example from an import that reports each row."""
    given = [f"Row {number}" for number in range(70)]
    response = client.post("/add/", query_params={"text": given})
    client.get("/show/")
    Site().assertMessages(response, success(*given))
    assert len(get_messages(response.wsgi_request)) == 70
