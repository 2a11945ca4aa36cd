"""Any request to any URL in the URLconf, so that new views are tested, too.

Whatever the URL, the data and the headers, there is never a server error, a payload in the
response, a redirect to another site, or a change in another user's mailbox.
"""

from itertools import cycle, product
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .effort import some_of
from .fuzz_requests import (
    ADDRESSES,
    FIELDS,
    FORM,
    IN_PARTS,
    FuzzRequest,
    HostileSite,
    Placeholder,
    as_header,
    methods_and_fields,
    requests,
    url_placeholders,
)
from .hostile import ODD, OTHER_SITE, PAYLOADS, SECRET, WHOLE, assert_harmless, fuzz, rolled_back
from .pages import ABSURD, MODES

# The views that write to other users.
WRITING = {"message_compose", "message_reply"}


@pytest.fixture
def site(db, settings):
    settings.PERSISTENT_MESSAGES = {
        "LETTERS": True,
        # Small, so that every page has a next one.
        "PAGE_SIZE": 3,
        "STRIP_LIMIT": 3,
        "SEARCH_WINDOW": 4,
    }
    return HostileSite()


def send_and_check(site, name, asked):
    """Send a request of Sally; hold the answer and what it changed against what is promised."""
    answer = asked.send(site, name, "owner")

    # These two lead to the stored address of the message, wherever that is.
    leads = (name, asked.method) in {("message_open", "POST"), ("message_detail", "GET")}
    assert_harmless(answer, *([OTHER_SITE] if leads else []))
    content = answer.getvalue()
    assert SECRET not in f"{answer.headers}{content.decode()}"
    assert answer.streaming or len(content) < 1_000_000
    (blocks, before), (blocks_now, after) = site.theirs, site.of_others()
    assert (blocks_now, after[: len(before)]) == (blocks, before)
    sent = after[len(before) :]
    assert name in WRITING or not sent
    assert {row["from_user_id"] for row in sent} <= {site.owner.pk}
    return answer


HOSTILE = [*PAYLOADS[::2], *ODD, *WHOLE, *ABSURD, Placeholder("long"), b"\xff\xfe"]


def hostile_requests(name, methods, names):
    """Yield requests with a hostile value in all that a view asks for, and in the headers."""
    ways, kinds = cycle(MODES.values()), cycle([FORM, IN_PARTS, IN_PARTS])
    # Half a surrogate pair can be written in UTF-7.
    charsets = [(value, None) for value in HOSTILE] + [(value, "utf-7") for value in ODD[1:3]]
    for number, ((value, charset), method) in enumerate(product(charsets, methods)):
        says = as_header(value) if isinstance(value, str) else "x"
        headers = dict.fromkeys(("Referer", "HX-Target", "HX-Trigger", "X-Forwarded-Host"), says)
        way = {**next(ways), "HX-Current-URL": says}
        if number % 5 == 0:
            way |= {"HX-Current-URL": quote(says), "HX-Current-URL-URI-AutoEncoded": "true"}
        yield FuzzRequest(
            method=method,
            places=url_placeholders(name, number, "own" if number % 4 < 2 else "message"),
            fields=[(field, value) for field in names],
            kind=next(kinds),
            charset=charset,
            headers={**headers, **way, "Host": "testserver"},
        )


@pytest.mark.parametrize("name", ADDRESSES)
def test_hostile_value_in_each_field_is_harmless(site, name):
    requests = hostile_requests(name, *methods_and_fields(site, name))
    for asked in some_of(requests, [*ADDRESSES].index(name)):
        with rolled_back():
            send_and_check(site, name, asked)


@pytest.mark.parametrize("name", ADDRESSES)
def test_random_request_of_user_is_harmless(site, name):
    for wild, examples in requests(name, *methods_and_fields(site, name)):

        @fuzz(examples)
        @given(asked=wild)
        def run(asked):
            with rolled_back():
                send_and_check(site, name, asked)

        run()


@pytest.mark.parametrize("name", ADDRESSES)
def test_response_to_ten_thousand_field_values_is_short(site, name):
    """Django returns 400 for more than a thousand fields, but only if they are read."""
    ways = product(*methods_and_fields(site, name), (900, 10_000))
    for method, field, count in some_of(ways, [*ADDRESSES].index(name)):
        pairs = [(field, str(number)) for number in range(count)]
        asked = FuzzRequest(method=method, places=url_placeholders(name, 1), fields=pairs)
        with rolled_back():
            answer = send_and_check(site, name, asked)
        assert answer.streaming or len(answer.content) < 100_000


def test_hostile_request_of_visitor_changes_and_reveals_nothing(site):
    before = site.all()

    for name in ADDRESSES:
        requests = hostile_requests(name, ["GET", "POST"], FIELDS[::2])
        for asked in some_of(requests, [*ADDRESSES].index(name)):
            assert_harmless(asked.send(site, name))

    assert site.all() == before


@fuzz(100)
@given(data=st.data())
def test_random_request_of_visitor_is_harmless(site, data):
    name = data.draw(st.sampled_from(list(ADDRESSES)))
    wild, _examples = data.draw(st.sampled_from(requests(name, ["GET", "POST"], FIELDS[::2])))

    assert_harmless(data.draw(wild).send(site, name))
