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

from .hostile import check, fuzz, payloads, rolled_back, texts
from .pages import HTMX
from .strangers import House, as_header

PAGES = ("/", reverse_lazy("message_list"))


@pytest.fixture
def house(db):
    return House()


def signed(*messages):
    """Return a cookie as the storage writes it."""
    return CookieStorage(Client().get("/").wsgi_request)._encode(messages)


def as_visitor_and_as_sally(house, cookie):
    """Return the header with this cookie of messages."""
    for session in ("", f"; sessionid={house.sessions['owner']}"):
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
def test_tampered_message_cookie_is_harmless(house, data):
    genuine = signed(ContribMessage(20, SAID))
    cookie = data.draw(tampered(genuine).filter(lambda cookie: cookie != genuine))
    for headers in as_visitor_and_as_sally(house, cookie):
        with rolled_back():
            for url in PAGES:
                assert SAID not in check(Client().get(url, headers=headers)).text
            check(Client().post("/add/", {"kind": "one-shot"}, headers=headers | HTMX))


STRIP = Template(
    '{% include "persistent_messages/message/includes/messages.html" with close_all=True %}'
)


@fuzz(40)
@given(
    level=st.sampled_from([20, 120, 199, 1000]) | st.integers(), text=texts, tags=st.none() | texts
)
def test_message_in_cookie_is_escaped(house, level, text, tags):
    cookie = signed(ContribMessage(level, text, tags), ContribMessage(120, text, "pm-undo"))
    for headers in as_visitor_and_as_sally(house, cookie):
        with rolled_back():
            for url in PAGES:
                check(Client().get(url, headers=headers))
            request = Client().get(reverse("message_dismiss"), headers=headers | HTMX).wsgi_request
            context = Context({"request": request, "messages": get_messages(request)})
            answer = HttpResponse(STRIP.render(context))
            answer.wsgi_request = request
            check(answer)


@fuzz(30)
@given(session=wild)
def test_forged_session_cookie_means_visitor(house, session):
    for url in PAGES:
        check(Client().get(url, headers={"Cookie": f"sessionid={session}"}))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
verbs, folders = st.sampled_from(["read", "move", "x"]), st.integers(-1, 6) | st.floats(0, 5)
changes = st.tuples(verbs | json, folders | json, st.integers() | json, folders | json).map(list)


@fuzz(60)
@given(value=changes | json)
def test_signed_undo_token_with_any_content_is_harmless(house, value):
    token = signing.dumps(value, salt=f"{undo_tokens.SALT}.{house.owner.pk}")
    url = reverse("message_undo", args=[token])
    with rolled_back():
        check(house.browser().post(url, headers=HTMX))
        assert house.of_others() == house.theirs
        assert "no longer" in check(house.browser("other").post(url, headers=HTMX)).text
