"""The storage keeps the promises of `django.contrib.messages`, for visitors and for users.

The list of behaviors is that of Django's own tests of storages.
"""

import random
import string
import unittest
from http import HTTPStatus

import pytest
from asgiref.sync import async_to_sync
from django import forms
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages import Message as ContribMessage
from django.contrib.messages import constants, get_level, get_messages, set_level
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.test import MessagesTestMixin
from django.contrib.messages.views import SuccessMessageMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path
from django.utils import translation
from django.utils.safestring import SafeData, mark_safe
from django.utils.translation import gettext_lazy
from django.views.generic import FormView

import persistent_messages
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage
from tests.storage.browsers import Browser, texts

LEVELS = ["debug", "info", "success", "warning", "error"]
MIDDLEWARE = "django.contrib.messages.middleware.MessageMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
CROSS = "persistent_messages.middleware.HtmxMessagesMiddleware"


# A small site

TEMPLATE = """<ul>{% for message in messages %}
<li{% if message.tags %} class="{{ message.tags }}"{% endif %}>{{ message }}</li>
{% endfor %}</ul>"""


def add(request, name):
    options = {"fail_silently": True} if "silently" in request.POST else {}
    for text in request.POST.getlist("messages"):
        getattr(messages, name)(request, text, **options)
    return HttpResponseRedirect("/show/")


def show(request):
    return HttpResponse(engines["django"].from_string(TEMPLATE).render(request=request))


def show_late(request):
    return TemplateResponse(request, engines["django"].from_string(TEMPLATE))


def show_nothing(request):
    return HttpResponse("Nothing to say")


async def add_async(request):
    messages.success(request, "Saved in the loop")
    return HttpResponseRedirect("/show/")


class ContactForm(forms.Form):
    name = forms.CharField()


class ContactView(SuccessMessageMixin, FormView):
    form_class = ContactForm
    success_url = "/show/"
    success_message = "%(name)s was created"


class ShortCircuit:
    """A middleware that answers by itself: what stands below it never sees the request."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return HttpResponse("Closed", status=503)


urlpatterns = [
    path("add/<str:name>/", add),
    path("async/", add_async),
    path("contact/", ContactView.as_view()),
    path("show/", show),
    path("late/", show_late),
    path("quiet/", show_nothing),
]

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture(params=["visitor", "user"])
def anyone(request, db):
    return Browser(request.getfixturevalue("user") if request.param == "user" else AnonymousUser())


@pytest.fixture(params=["visitor", "client"])
def web(request):
    """The test client, once with nobody and once with Sally logged in."""
    return request.getfixturevalue(request.param)


def add_of_each_level(storage):
    storage.add(constants.INFO, "A generic info message")
    storage.add(29, "Some custom level")
    storage.add(constants.DEBUG, "A debugging message", extra_tags="extra-tag")
    storage.add(constants.WARNING, "A warning")
    storage.add(constants.ERROR, "An error")
    storage.add(constants.SUCCESS, "This was a triumph.")


# Adding


def test_repr_names_storage_and_request():
    request = HttpRequest()
    request.session = {}
    storage = PersistentMessageStorage(request)
    assert repr(storage) == "<PersistentMessageStorage: request=<HttpRequest>>"


def test_add_sets_added_new_and_counts(anyone):
    storage = anyone.request()._messages
    assert not storage.added_new
    storage.add(constants.INFO, "One")
    assert storage.added_new
    storage.add(constants.INFO, "Two", extra_tags="tag")
    assert len(storage) == 2


def test_response_without_messages_stores_nothing(anyone):
    request = anyone.request()
    response = HttpResponse()
    assert anyone.answer(request, response) is None
    assert not response.cookies
    assert not anyone.session
    assert not Message.objects.exists()


def test_added_messages_wait_for_next_page(anyone):
    request = anyone.request()
    request._messages.add(constants.INFO, "One")
    request._messages.add(constants.ERROR, "Two", extra_tags="tag")
    assert not anyone.answer(request)
    assert anyone.waiting() == [
        ContribMessage(constants.INFO, "One"),
        ContribMessage(constants.ERROR, "Two"),
    ]


def test_empty_message_is_ignored(anyone):
    request = anyone.request()
    assert messages.info(request, "") is None
    assert not request._messages.added_new
    assert len(request._messages) == 0


def test_same_text_twice_is_two_messages(anyone):
    anyone.add(constants.INFO, "Again")
    anyone.add(constants.INFO, "Again")
    assert texts(anyone.waiting()) == ["Again", "Again"]


def test_message_may_be_any_object_with_str(anyone):
    anyone.add(constants.ERROR, ValueError("went wrong"))
    assert texts(anyone.waiting()) == ["went wrong"]


# Reading


def test_shown_message_is_gone_on_next_page(anyone):
    anyone.add(constants.INFO, "One")
    assert texts(anyone.page()) == ["One"]
    assert anyone.page() == []


def test_unshown_message_still_waits(anyone):
    anyone.add(constants.INFO, "One")
    anyone.answer(anyone.request())
    assert texts(anyone.page()) == ["One"]


def test_waiting_and_added_messages_are_shown_together_once(anyone):
    anyone.add(constants.INFO, "One")
    request = anyone.request()
    request._messages.add(constants.INFO, "Two")
    assert texts(request._messages) == ["One", "Two"]
    anyone.answer(request)
    assert anyone.page() == []


def test_message_added_after_iteration_waits_for_next_page(anyone):
    anyone.add(constants.INFO, "One")
    request = anyone.request()
    assert texts(request._messages) == ["One"]
    request._messages.add(constants.INFO, "Two")
    anyone.answer(request)
    assert texts(anyone.page()) == ["Two"]
    assert anyone.page() == []


def test_iterating_twice_gives_same_messages(anyone):
    anyone.add(constants.INFO, "One")
    storage = anyone.request()._messages
    storage.add(constants.INFO, "Two")
    assert not storage.used
    first = list(storage)
    assert storage.used
    assert texts(first) == ["One", "Two"]
    assert list(storage) == first


def test_iterating_again_includes_messages_added_since(anyone):
    storage = anyone.request()._messages
    storage.add(constants.INFO, "One")
    list(storage)
    storage.add(constants.INFO, "Two")
    assert texts(storage) == ["One", "Two"]


def test_contains_finds_waiting_and_added_messages(anyone):
    anyone.add(constants.INFO, "Waiting")
    storage = anyone.request()._messages
    storage.add(constants.INFO, "Added")
    assert ContribMessage(constants.INFO, "Waiting") in storage
    assert ContribMessage(constants.INFO, "Added") in storage
    assert ContribMessage(constants.ERROR, "Added") not in storage
    assert ContribMessage(constants.INFO, "Other") not in storage


def test_len_bool_and_contains_consume_nothing(anyone):
    anyone.add(constants.INFO, "One")
    request = anyone.request()
    assert len(request._messages) == 1
    assert bool(request._messages)
    assert ContribMessage(constants.INFO, "One") in request._messages
    assert not request._messages.used
    anyone.answer(request)
    assert texts(anyone.page()) == ["One"]


def test_length_does_not_change_after_iteration(anyone):
    anyone.add(constants.INFO, "One")
    storage = anyone.request()._messages
    storage.add(constants.INFO, "Two")
    assert len(storage) == 2
    list(storage)
    assert len(storage) == 2


def test_empty_storage_is_false(anyone):
    storage = anyone.request()._messages
    assert not storage
    assert list(storage) == []


def test_get_messages_returns_the_storage(anyone):
    request = anyone.request()
    assert get_messages(request) is request._messages


def test_added_messages_follow_waiting_ones_in_order(anyone):
    for number in range(4):
        anyone.add(constants.INFO, f"Number {number}")
    assert texts(anyone.waiting()) == [f"Number {number}" for number in range(4)]


def test_update_leaves_no_unstored_messages(anyone):
    """The middleware raises `ValueError` in DEBUG if `update()` returns unstored messages."""
    request = anyone.request()
    for number in range(30):
        request._messages.add(constants.INFO, f"{number} " + "long " * 100)
    list(request._messages)
    request._messages.add(constants.INFO, "last")
    assert not anyone.answer(request)
    assert texts(anyone.waiting()) == ["last"]


# Levels


def test_default_level_is_info(anyone):
    request = anyone.request()
    assert get_level(request) == constants.INFO
    add_of_each_level(request._messages)
    assert len(request._messages) == 5


def test_level_functions_work_without_storage_on_request(anyone):
    request = anyone.request()
    del request._messages
    assert get_level(request) == constants.INFO
    assert set_level(request, 30) is False


@pytest.mark.parametrize(("level", "count"), [(5, 6), (30, 2)])
def test_set_level_filters_messages(anyone, level, count):
    request = anyone.request()
    assert set_level(request, level) is True
    assert get_level(request) == level
    add_of_each_level(request._messages)
    assert len(request._messages) == count


def test_set_level_to_none_restores_setting(anyone, settings):
    settings.MESSAGE_LEVEL = constants.WARNING
    request = anyone.request()
    set_level(request, constants.DEBUG)
    set_level(request, None)
    assert get_level(request) == constants.WARNING


def test_message_level_setting_filters_messages(anyone, settings):
    settings.MESSAGE_LEVEL = 29
    request = anyone.request()
    assert get_level(request) == 29
    add_of_each_level(request._messages)
    assert len(request._messages) == 3


def test_level_may_be_numeric_string(anyone):
    request = anyone.request()
    messages.add_message(request, "30", "Thirty")
    assert [message.level for message in request._messages] == [30]


# Tags


def test_each_level_has_level_tag(anyone):
    storage = anyone.request()._messages
    storage.level = 0
    add_of_each_level(storage)
    expected = ["info", "", "debug", "warning", "error", "success"]
    assert [message.level_tag for message in storage] == expected


def test_tags_are_extra_tags_and_level_tag(anyone):
    storage = anyone.request()._messages
    storage.level = 0
    add_of_each_level(storage)
    storage.add(constants.INFO, "No tags", extra_tags=None)
    expected = ["info", "", "extra-tag debug", "warning", "error", "success", "info"]
    assert [message.tags for message in storage] == expected


@pytest.mark.parametrize(("given", "tags"), [("", "info"), (None, "info"), ("a b", "a b info")])
def test_extra_tags_are_kept_until_next_page(anyone, given, tags):
    anyone.add(constants.INFO, "Tagged", given)
    [message] = anyone.page()
    assert message.tags == tags


def test_message_tags_setting_overrides_defaults(anyone, settings):
    settings.MESSAGE_TAGS = {
        constants.DEBUG: "",
        constants.WARNING: "",
        constants.ERROR: "bad",
        29: "custom",
    }
    storage = anyone.request()._messages
    storage.level = 0
    add_of_each_level(storage)
    expected = ["info", "custom", "extra-tag", "", "bad", "success"]
    assert [message.tags for message in storage] == expected


def test_message_tags_setting_is_read_at_use(anyone):
    anyone.add(constants.ERROR, "Wrong")
    [message] = anyone.waiting()
    assert message.level_tag == "error"
    with override_settings(MESSAGE_TAGS={constants.ERROR: "danger"}):
        assert message.level_tag == "danger"
    assert message.level_tag == "error"


# Texts


def test_lazy_translation_uses_language_active_when_shown(anyone):
    storage = anyone.request()._messages
    with translation.override("en"):
        storage.add(constants.INFO, gettext_lazy("Yes"))
        assert len(storage) == 1
    with translation.override("de"):
        assert texts(storage) == [translation.gettext("Yes")] == ["Ja"]


def test_lazy_translation_uses_language_active_at_end_of_response(anyone):
    request = anyone.request()
    with translation.override("en"):
        request._messages.add(constants.INFO, gettext_lazy("Yes"))
    with translation.override("de"):
        anyone.answer(request)
    with translation.override("fr"):
        assert anyone.waiting() == [ContribMessage(constants.INFO, "Ja")]


def test_lazy_tags_are_stored_as_text(anyone):
    anyone.add(constants.INFO, "Tagged", gettext_lazy("Yes"))
    [message] = anyone.page()
    assert message.tags == "Yes info"


def test_safe_text_is_safe_on_next_page(anyone):
    anyone.add(constants.INFO, mark_safe("<b>Hello</b>"))
    [message] = anyone.page()
    assert isinstance(message.message, SafeData)
    assert isinstance(str(message), SafeData)
    assert message.message == "<b>Hello</b>"


def test_other_text_is_unsafe_on_next_page(anyone):
    anyone.add(constants.INFO, "<b>Hello</b>")
    [message] = anyone.page()
    assert not isinstance(message.message, SafeData)
    assert not isinstance(str(message), SafeData)


@pytest.mark.parametrize("text", ["\\te,st", ';m"e', "\u2019", '1"2', "🙂 \u202e", "a\nb", " "])
def test_special_characters_are_kept(anyone, text):
    anyone.add(constants.INFO, text)
    assert [message.message for message in anyone.page()] == [text]


# The functions of contrib


def test_contrib_shortcuts_add_their_level(anyone, settings):
    settings.MESSAGE_LEVEL = constants.DEBUG
    request = anyone.request()
    for name in LEVELS:
        getattr(messages, name)(request, name, extra_tags="x", fail_silently=False)
    assert [(message.level, message.message) for message in request._messages] == [
        (getattr(constants, name.upper()), name) for name in LEVELS
    ]


@pytest.mark.parametrize("add", [messages.add_message, persistent_messages.add_message])
def test_add_message_rejects_value_that_is_no_request(add):
    with pytest.raises(TypeError, match="must be an HttpRequest object, not 'NoneType'"):
        add(None, constants.INFO, "Hello")
    with pytest.raises(TypeError, match="must be an HttpRequest object, not 'str'"):
        add("request", constants.INFO, "Hello", fail_silently=True)


@pytest.mark.parametrize("add", [messages.add_message, persistent_messages.add_message])
def test_add_message_without_middleware_raises_message_failure(add):
    with pytest.raises(messages.MessageFailure, match=MIDDLEWARE.replace(".", r"\.")):
        add(RequestFactory().get("/"), constants.INFO, "Hello")


@pytest.mark.parametrize("add", [messages.add_message, persistent_messages.add_message])
def test_add_message_without_middleware_can_fail_silently(add):
    assert add(RequestFactory().get("/"), constants.INFO, "Hello", fail_silently=True) is None


@pytest.mark.parametrize("add", [messages.add_message, persistent_messages.add_message])
def test_add_message_accepts_request_wrapper(anyone, add):
    class Wrapper:
        def __init__(self, request):
            self._request = request

        def __getattr__(self, name):
            return getattr(self._request, name)

    request = anyone.request()
    add(Wrapper(request), constants.INFO, "Hello")
    assert texts(request._messages) == ["Hello"]
    with pytest.raises(messages.MessageFailure):
        add(Wrapper(RequestFactory().get("/")), constants.INFO, "Hello")


# Whole requests


@pytest.mark.parametrize("name", LEVELS)
def test_message_is_shown_after_redirect(web, settings, name):
    settings.MESSAGE_LEVEL = constants.DEBUG
    sent = [f"Message {number}" for number in range(5)]
    response = web.post(f"/add/{name}/", {"messages": sent}, follow=True)
    assert response.redirect_chain == [("/show/", 302)]
    level = getattr(constants, name.upper())
    assert list(response.context["messages"]) == [ContribMessage(level, text) for text in sent]
    html = response.content.decode()
    assert [html.count(text) for text in sent] == [1] * 5
    assert html.count(f'<li class="{name}">') == 5


def test_template_response_shows_messages_once(web):
    web.post("/add/info/", {"messages": ["Hello"]})
    assert "Hello" in web.get("/late/").content.decode()
    assert "Hello" not in web.get("/late/").content.decode()


def test_messages_of_several_posts_wait_for_page(web, settings):
    settings.MESSAGE_LEVEL = constants.DEBUG
    expected = []
    for name in LEVELS:
        sent = [f"{name} {number}" for number in range(3)]
        web.post(f"/add/{name}/", {"messages": sent})
        expected += [ContribMessage(getattr(constants, name.upper()), text) for text in sent]
    assert list(web.get("/show/").context["messages"]) == expected


def test_page_that_shows_no_messages_keeps_them(web):
    web.post("/add/info/", {"messages": ["Hello"]})
    web.get("/quiet/")
    assert "Hello" in web.get("/show/").content.decode()


def test_template_context_has_default_levels(web):
    context = web.get("/show/").context
    assert context["DEFAULT_MESSAGE_LEVELS"] == constants.DEFAULT_LEVELS


def test_unsafe_text_is_escaped(web):
    web.post("/add/info/", {"messages": ["<b>Hello</b>"]})
    assert "&lt;b&gt;Hello&lt;/b&gt;" in web.get("/show/").content.decode()


def test_success_message_mixin_works(web):
    response = web.post("/contact/", {"name": "Eve"}, follow=True)
    assert list(response.context["messages"]) == [
        ContribMessage(constants.SUCCESS, "Eve was created")
    ]


@pytest.mark.parametrize("name", LEVELS)
def test_site_without_middleware_gets_message_failure(web, settings, name):
    settings.MIDDLEWARE = [row for row in settings.MIDDLEWARE if row not in (MIDDLEWARE, CROSS)]
    settings.MESSAGE_LEVEL = constants.DEBUG
    with pytest.raises(messages.MessageFailure):
        web.post(f"/add/{name}/", {"messages": ["Hello"]})


def test_site_without_middleware_can_fail_silently(web, settings):
    settings.MIDDLEWARE = [row for row in settings.MIDDLEWARE if row not in (MIDDLEWARE, CROSS)]
    response = web.post("/add/info/", {"messages": ["Hello"], "silently": "1"}, follow=True)
    assert response.status_code == HTTPStatus.OK
    assert "Hello" not in response.content.decode()


def test_site_without_authentication_treats_users_as_visitors(visitor, settings):
    settings.MIDDLEWARE = [row for row in settings.MIDDLEWARE if row != AUTHENTICATION]
    visitor.post("/add/info/", {"messages": ["Hello"]})
    response = visitor.get("/show/")
    assert list(response.context["messages"]) == [ContribMessage(constants.INFO, "Hello")]
    assert not Message.objects.exists()
    assert list(visitor.get("/show/").context["messages"]) == []


def test_getters_and_counts_work_without_authentication(db):
    request = RequestFactory().get("/")
    request.session = {}
    storage = PersistentMessageStorage(request)
    storage.add(constants.INFO, "Hello")
    assert list(storage.get_persistent()) == []
    assert list(storage.get_persistent_unread()) == []
    assert storage.count_unread() == 1
    assert storage.count_persistent_unread() == 0
    with pytest.raises(NotImplementedError):
        storage.add(persistent_messages.INFO, "Kept")


def test_response_of_outer_middleware_needs_no_storage(web, settings):
    settings.MIDDLEWARE = [f"{__name__}.ShortCircuit", *settings.MIDDLEWARE]
    assert web.get("/show/").status_code == HTTPStatus.SERVICE_UNAVAILABLE


def test_response_of_inner_middleware_loses_no_message(web, settings):
    web.post("/add/info/", {"messages": ["Hello"]})
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, f"{__name__}.ShortCircuit"]):
        closed = Client()  # a client loads its middleware once
        closed.cookies = web.cookies
        assert closed.get("/show/").status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "Hello" in web.get("/show/").content.decode()


def test_middleware_accepts_request_without_storage():
    response = HttpResponse()
    middleware = MessageMiddleware(lambda request: response)
    assert middleware.process_response(HttpRequest(), response) is response


@pytest.mark.parametrize("signed_in", [False, True])
def test_async_view_adds_message(user, signed_in, monkeypatch):
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)
    browser = AsyncClient()
    if signed_in:
        browser.force_login(user)
    response = async_to_sync(browser.get)("/async/")
    assert response.status_code == HTTPStatus.FOUND
    assert Message.objects.count() == signed_in
    response = async_to_sync(browser.get)("/show/")
    assert "Saved in the loop" in response.content.decode()
    response = async_to_sync(browser.get)("/show/")
    assert "Saved in the loop" not in response.content.decode()


# assertMessages


class Assert(MessagesTestMixin, unittest.TestCase):
    """Gives the functions here what a site's test case has."""


class Response:
    """What assertMessages wants of a response: the request."""

    def __init__(self, request):
        self.wsgi_request = request


def test_assert_messages_accepts_each_level(anyone, settings):
    settings.MESSAGE_LEVEL = constants.DEBUG
    request = anyone.request()
    for name in LEVELS:
        getattr(messages, name)(request, f"{name} message.")
    Assert().assertMessages(
        Response(request),
        [ContribMessage(getattr(constants, name.upper()), f"{name} message.") for name in LEVELS],
    )


def test_assert_messages_compares_tags(anyone):
    request = anyone.request()
    messages.info(request, "First", extra_tags="one")
    messages.error(request, "Second", extra_tags="two")
    Assert().assertMessages(
        Response(request),
        [
            ContribMessage(constants.INFO, "First", "one"),
            ContribMessage(constants.ERROR, "Second", "two"),
        ],
    )


def test_assert_messages_accepts_custom_level(anyone, settings):
    settings.MESSAGE_TAGS = {42: "custom"}
    request = anyone.request()
    messages.add_message(request, 42, "Custom")
    Assert().assertMessages(Response(request), [ContribMessage(42, "Custom")])


def test_assert_messages_compares_order(anyone):
    request = anyone.request()
    messages.info(request, "First")
    messages.warning(request, "Second")
    expected = [
        ContribMessage(constants.WARNING, "Second"),
        ContribMessage(constants.INFO, "First"),
    ]
    Assert().assertMessages(Response(request), expected, ordered=False)
    with pytest.raises(AssertionError, match="Lists differ"):
        Assert().assertMessages(Response(request), expected)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    "expected",
    [
        [],
        [ContribMessage(constants.INFO, "Other")],
        [ContribMessage(constants.ERROR, "First")],
        [ContribMessage(constants.INFO, "First"), ContribMessage(constants.INFO, "First")],
    ],
    ids=["none", "other text", "other level", "one more"],
)
def test_assert_messages_fails_for_other_messages(anyone, expected, ordered):
    request = anyone.request()
    messages.info(request, "First")
    with pytest.raises(AssertionError):
        Assert().assertMessages(Response(request), expected, ordered=ordered)


def test_assert_messages_works_after_redirect(web):
    response = web.post("/add/success/", {"messages": ["One", "Two"]})
    expected = [
        ContribMessage(constants.SUCCESS, "One"),
        ContribMessage(constants.SUCCESS, "Two"),
    ]
    Assert().assertMessages(response, expected)
    Assert().assertMessages(response, expected[::-1], ordered=False)


def test_assert_messages_works_after_page_showed_them(web):
    response = web.post("/add/success/", {"messages": ["One"]}, follow=True)
    Assert().assertMessages(response, [ContribMessage(constants.SUCCESS, "One")])


def test_assert_messages_accepts_persistent_levels(client, send):
    send("Kept", persistent_messages.WARNING)
    Assert().assertMessages(
        client.get("/show/"), [ContribMessage(persistent_messages.WARNING, "Kept")]
    )


# Visitors get exactly `FallbackStorage`


class StoragePair:
    """Two visitors who do the same: one has our storage, one has Django's."""

    def __init__(self):
        self.browsers = [
            Browser(AnonymousUser()),
            Browser(AnonymousUser(), FallbackStorage),
        ]

    def do(self, action):
        """Run `action(storage)` in a request of each; returns what both could not store."""
        results = []
        for browser in self.browsers:
            request = browser.request()
            seen = action(request._messages)
            results.append((seen, browser.answer(request)))
        ours, theirs = results
        assert ours == theirs
        assert self.stored(self.browsers[0]) == self.stored(self.browsers[1])
        return self.stored(self.browsers[0])

    @staticmethod
    def stored(browser):
        """Return what lies in the cookie and what in the session."""
        cookie, session = FallbackStorage(browser.request()).storages
        in_cookie = cookie._decode(browser.cookies.get("messages"))
        return in_cookie, session.deserialize_messages(browser.session.get("_messages", "[]"))


def read(storage):
    return [(message.level, message.message, message.tags) for message in storage]


def random_text(length, seed=42):
    """Return text that does not get shorter by compression, the same each time."""
    return "".join(random.Random(seed).choices(string.ascii_letters + string.digits, k=length))


# Four of this length fit into a cookie, a fifth does not.
BIG = int((CookieStorage.max_cookie_size - 54) / 4.5 - 37)


def test_visitor_messages_are_stored_in_cookie():
    pair = StoragePair()
    cookie, session = pair.do(
        lambda storage: [storage.add(constants.INFO, str(number) * 100) for number in range(5)]
    )
    assert len(cookie) == 5
    assert session == []
    pair.do(read)
    assert pair.do(read) == (None, [])
    assert not Message.objects.exists()


def test_visitor_messages_beyond_cookie_size_are_stored_in_session():
    pair = StoragePair()
    cookie, session = pair.do(
        lambda storage: [
            storage.add(constants.INFO, random_text(BIG, number)) for number in range(5)
        ]
    )
    assert len([message for message in cookie if isinstance(message, ContribMessage)]) == 4
    assert cookie[-1] == CookieStorage.not_finished
    assert len(session) == 1
    pair.do(lambda storage: None)
    pair.do(lambda storage: storage.add(constants.ERROR, "More", "tag"))
    pair.do(read)
    assert pair.do(read) == (None, [])


def test_long_visitor_message_is_stored_in_session():
    pair = StoragePair()
    cookie, session = pair.do(lambda storage: storage.add(constants.INFO, random_text(5000), "tag"))
    assert cookie == [CookieStorage.not_finished]
    assert len(session) == 1
    pair.do(lambda storage: len(storage))
    pair.do(read)


def test_visitor_storage_equals_fallback_storage():
    pair = StoragePair()
    pair.do(lambda storage: storage.add(constants.INFO, mark_safe("<b>One</b>"), "a"))
    pair.do(lambda storage: (len(storage), bool(storage)))
    pair.do(lambda storage: (read(storage), storage.add(constants.INFO, "Two")))
    pair.do(lambda storage: (storage.add(constants.DEBUG, "Low"), storage.added_new))
    pair.do(lambda storage: (storage.add(constants.WARNING, "Three"), read(storage)))
    pair.do(lambda storage: ContribMessage(constants.INFO, "Two") in storage)
    assert pair.do(read) == (None, [])


def test_visitor_message_is_contrib_message():
    browser = Browser(AnonymousUser())
    request = browser.request()
    request._messages.add(constants.INFO, "Added")
    assert [type(message) for message in request._messages] == [ContribMessage]
    browser.add(constants.INFO, "Waiting")
    assert [type(message) for message in browser.page()] == [ContribMessage]


def test_forged_cookie_is_ignored():
    browser = Browser(AnonymousUser())
    browser.add(constants.INFO, "Hello")
    browser.cookies["messages"] = browser.cookies["messages"][1:]
    assert browser.waiting() == []


def test_visitor_cookie_follows_session_cookie_settings(settings):
    settings.SESSION_COOKIE_DOMAIN = ".example.com"
    settings.SESSION_COOKIE_SECURE = True
    settings.SESSION_COOKIE_HTTPONLY = True
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    browser, response = Browser(AnonymousUser()), HttpResponse()
    request = browser.request()
    request._messages.add(constants.INFO, "Hello")
    browser.answer(request, response)
    cookie = response.cookies["messages"]
    assert cookie["domain"] == ".example.com"
    assert cookie["secure"] is True
    assert cookie["httponly"] is True
    assert cookie["samesite"] == "Strict"
    assert cookie["expires"] == ""


def test_visitor_messages_take_no_query(visitor, django_assert_num_queries):
    with django_assert_num_queries(0):
        visitor.post("/add/info/", {"messages": ["Hello"]})
        assert "Hello" in visitor.get("/show/").content.decode()


def test_visitors_do_not_see_each_others_messages(visitor):
    visitor.post("/add/info/", {"messages": ["Hello"]})
    assert "Hello" not in Client().get("/show/").content.decode()


def test_users_do_not_see_each_others_messages(client, other):
    client.post("/add/info/", {"messages": ["Hello"]})
    browser = Client()
    browser.force_login(other)
    assert "Hello" not in browser.get("/show/").content.decode()
    assert "Hello" in client.get("/show/").content.decode()
