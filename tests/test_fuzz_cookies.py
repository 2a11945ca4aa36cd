"""Any cookie and any undo token: values from a browser are not trusted."""

import pytest
from django.contrib.messages import get_messages
from django.contrib.messages.storage.base import Message as ContribMessage
from django.contrib.messages.storage.cookie import CookieStorage
from django.core import signing
from django.http import HttpResponse
from django.template import Context, Template
from django.test import Client
from django.urls import reverse, reverse_lazy
from hypothesis import given
from hypothesis import strategies as st

from persistent_messages.mailbox import undo_tokens

from .fuzz_requests import HostileSite, as_header
from .hostile import assert_harmless, fuzz, payloads, rolled_back, texts
from .pages import HTMX

PAGES = ("/", reverse_lazy("message_list"))


@pytest.fixture
def site(db):
    return HostileSite()


def signed(*messages):
    """Return a cookie as the storage writes it."""
    return CookieStorage(Client().get("/").wsgi_request)._encode(messages)


def as_visitor_and_as_sally(site, cookie):
    """Return the header with this cookie of messages."""
    for session in ("", f"; sessionid={site.sessions['owner']}"):
        yield {"Cookie": f"messages={cookie}{session}"}


def no_semicolon(text):
    """Remove characters from `text` that would end the value of a cookie."""
    return text.replace(";", "")


wild = (st.text(st.characters(min_codepoint=32, max_codepoint=255)) | payloads.map(as_header)).map(
    no_semicolon
)


@st.composite
def tampered(draw, cookie):
    """Return a cookie that was truncated or changed, or any other value."""
    at, more = draw(st.integers(0, len(cookie) - 1)), draw(wild)
    changed = cookie[:at] + more + cookie[at + draw(st.integers(0, 3)) :]
    return draw(
        st.sampled_from([changed, cookie[:at], f'"{cookie}', more, f"{more}:{cookie}" * 99])
    )


SAID = "Said to a visitor"


@fuzz(60)
@given(data=st.data())
def test_tampered_message_cookie_is_harmless(site, data):
    genuine = signed(ContribMessage(20, SAID))
    cookie = data.draw(tampered(genuine).filter(lambda cookie: cookie != genuine))
    for headers in as_visitor_and_as_sally(site, cookie):
        with rolled_back():
            for url in PAGES:
                assert SAID not in assert_harmless(Client().get(url, headers=headers)).text
            assert_harmless(Client().post("/add/", {"kind": "one-shot"}, headers=headers | HTMX))


STRIP = Template(
    '{% include "persistent_messages/message/includes/messages.html" with close_all=True %}'
)


@fuzz(40)
@given(
    level=st.sampled_from([20, 120, 199, 1000]) | st.integers(), text=texts, tags=st.none() | texts
)
def test_message_in_cookie_is_escaped(site, level, text, tags):
    cookie = signed(ContribMessage(level, text, tags), ContribMessage(120, text, "pm-undo"))
    for headers in as_visitor_and_as_sally(site, cookie):
        with rolled_back():
            for url in PAGES:
                assert_harmless(Client().get(url, headers=headers))
            request = Client().get(reverse("message_dismiss"), headers=headers | HTMX).wsgi_request
            context = Context({"request": request, "messages": get_messages(request)})
            answer = HttpResponse(STRIP.render(context))
            answer.wsgi_request = request
            assert_harmless(answer)


@fuzz(30)
@given(session=wild)
def test_forged_session_cookie_means_visitor(site, session):
    for url in PAGES:
        assert_harmless(Client().get(url, headers={"Cookie": f"sessionid={session}"}))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
verbs, folders = st.sampled_from(["read", "move", "x"]), st.integers(-1, 6) | st.floats(0, 5)
changes = st.tuples(verbs | json, folders | json, st.integers() | json, folders | json).map(list)


@fuzz(60)
@given(value=changes | json)
def test_signed_undo_token_with_any_content_is_harmless(site, value):
    token = signing.dumps(value, salt=f"{undo_tokens.SALT}.{site.owner.pk}")
    url = reverse("message_undo", args=[token])
    with rolled_back():
        assert_harmless(site.browser().post(url, headers=HTMX))
        assert site.of_others() == site.theirs
        assert "no longer" in assert_harmless(site.browser("other").post(url, headers=HTMX)).text
