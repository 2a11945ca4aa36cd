"""Hostile input for the fuzz tests, and what it must never cause."""

import os
import re
from contextlib import contextmanager
from functools import cache
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from .effort import example_count

# Part of the name of each element and attribute that a payload would create.
MARK = "pwn"
PAYLOADS = (
    "<script>pwn()</script>",
    "<pwn>",
    '"><img src=x onerror=pwn() pwn>',
    "' onmouseover='pwn()' pwn='",
    '" autofocus onfocus="pwn()" pwn="',
    "javascript:pwn()",
    '<a pwn href="javascript:pwn()">x</a>',
    "</title></textarea></script><svg/onload=pwn() pwn>",
    "--><pwn>",
    "&lt;pwn&gt; &#60;pwn&#62; &amp;lt;pwn&amp;gt;",
    "{{ pwn }}{% pwn %}",
    '[x](javascript:pwn()) ![x](//evil.example/pwn) <https://x/"><pwn>',
    "https://x.example/'onclick=pwn()\"pwn=1<pwn>",
    '"}\' hx-on:load="pwn()" pwn',
    "\u202eevil\u202c\u2066<pwn>\u2069",
)
OTHER_SITE = "https://elsewhere.example/x?y=1"
"""The `url` of a stored message: the only address of another site that a response may have."""
SECRET = "xyzzy"
"""Part of every text in another user's mailbox."""

# Texts

payloads = st.sampled_from(PAYLOADS)
texts = st.lists(payloads | st.text(max_size=20), min_size=1, max_size=3).map("".join)
# NUL, half surrogate pairs, direction marks, and the rest of Unicode.
ODD = ("\0", "\ud800", "\udfff<pwn>", "a\0b", "\u202e", "\x85\u2028\x1c", "\ufeff", "%s%(x)s{0}")
anything = st.text(st.characters(), max_size=20) | st.sampled_from(ODD)
odd_texts = st.lists(payloads | anything, min_size=1, max_size=3).map("".join)

# Addresses

HOSTS = ("testserver", "localhost", "127.0.0.1:8000", "LOCALHOST", "testserver.", "testserver:99")
BEFORE = ("", "", " ", "\t", "\x01", "\u3000", "/", "x")
SCHEMES = ("", "http:", "https:", "HTTP:", "javascript:pwn()//", "data:", "java\nscript:")
SLASHES = ("", "/", "//", "///", "////", "\\\\", "/\\", "/\t/", "/\x00/", "/%0a/", "/%2f")
PLACES = ("", "testserver", "evil.example", "testserver@evil.example", "evil.example\\@testserver")
PLACES += ("testserver.evil.example", "[evil", "[::1", "evil\u2100.example", "testserver:80:80")
PATHS = ("", "/messages/", "//evil.example/x", "/..//evil.example", "?a=[&b", '#"><pwn>')
WHOLE = ("//evil.example/x", "////evil.example", "/\\evil.example", "https:evil.example")
WHOLE += ("\\\\evil.example", "/project/", "?box=trash", "data:text/html,<pwn>")
WHOLE += ("http://[evil", "//[::1", "http://evil\u2100.example/", "http://testserver@evil.example")
WHOLE += ("javascript:pwn()", " javascript:pwn()")
pieces = map(st.sampled_from, (BEFORE, SCHEMES, SLASHES, PLACES, PATHS))
urls = st.sampled_from(WHOLE) | st.tuples(*pieces).map("".join)

# Tests


def fuzz(examples):
    """Return Hypothesis settings for a number of examples, which are the same in every CI run."""
    return settings(
        max_examples=example_count(examples),
        deadline=None,
        derandomize=bool(os.environ.get("CI")),
        # Each example runs in its own transaction, which is rolled back, so fixtures can be shared.
        suppress_health_check=list(HealthCheck),
        phases=set(Phase) - {Phase.explain},
    )


@contextmanager
def rolled_back():
    """Roll back all writes of an example."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# Checks

NEVER = {"applet", "base", "embed", "frame", "iframe", "img", "math", "object", "style", "video"}
LEADING = {"action", "formaction", "href", "hx-delete", "hx-get", "hx-patch", "hx-post", "hx-put"}
LEADING |= {"data", "poster", "src", "xlink:href"}
REDIRECTING = ("Location", "HX-Redirect", "HX-Location", "HX-Push-Url", "HX-Replace-Url", "Refresh")
HANDLER = re.compile(r" (on|hx-on|style$|style )")
IGNORED_BY_BROWSERS = "".join(map(chr, range(33)))


@cache
def target_of(url, here="http://testserver/messages/x/"):
    """Return the scheme and host that a browser at `here` requests for `url`."""
    # As in the URL standard: strip control characters at the ends and all tabs and newlines, treat
    # backslashes as slashes, and allow any number of slashes before the host.
    url = re.sub("[\t\r\n]", "", url.strip(IGNORED_BY_BROWSERS)).replace("\\", "/")
    own = urlsplit(here)
    url = re.sub("^/{2,}", "//", url)
    if match := re.match("(?i)(https?):(/*)", url):
        relative = match[1].lower() == own.scheme and len(match[2]) < 2
        rest = url[match.end() :]
        url = match[2] + rest if relative else f"{match[1]}://{rest}"
    try:
        parts = urlsplit(urljoin(here, url))
    except ValueError:  # such as "//[": no browser goes anywhere
        return own.scheme, own.netloc
    return parts.scheme, parts.netloc


def is_same_site(url, here):
    """Return whether `url` leads a browser at `here` to the same site, encrypted or not."""
    scheme, host = target_of(url, here)
    own = urlsplit(here)
    return host == own.netloc and scheme in {own.scheme, "https"}


class ResponseReader(HTMLParser):
    """Parses a response as a browser does, and collects forbidden markup and the text."""

    def __init__(self, here):
        super().__init__()
        self.here, self.marks, self.faults, self.words, self.ways = here, [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        names = " ".join((tag, *given))
        if tag in NEVER or (tag == "script" and not given.get("src", "").startswith("/static/")):
            self.faults.append(f"<{tag}>: {attrs}")
        if MARK in names:
            self.marks.append(f"<{tag}> {attrs}")
        if HANDLER.search(names):
            self.faults.append(f"<{tag}> {attrs}")
        for name in LEADING & set(given):
            self.check(tag, given[name] or "", given.get("rel") or "")

    def check(self, tag, url, rel):
        self.ways.append(url)
        # Addresses in texts are linked, even if they lead to other sites.
        linked = tag == "a" and "nofollow" in rel
        safe = linked and target_of(url, self.here)[0] in {"http", "https", "mailto"}
        if not safe and not is_same_site(url, self.here):
            self.faults.append(f"<{tag}> leads to {url!r}")

    def handle_comment(self, data):
        self.faults.append(f"<!--{data}-->")

    def handle_pi(self, data):
        self.faults.append(f"<?{data}>")

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        """The visible text with single spaces."""
        return " ".join("".join(self.words).split())


def request_path(answer):
    """Return the path of the request."""
    request = answer.wsgi_request
    return f"{request.scheme}://{request.get_host()}{request.path}"


def assert_harmless(answer, *also_to, ours=True):
    """Fail if a response is a server error, contains a payload, or leads to another site.

    The URLs `also_to` are allowed. The markup of Django's own pages, which are not `ours`, is not
    checked.
    """
    assert answer.status_code < 500, answer.status_code
    here = request_path(answer)
    for name in REDIRECTING:
        if name in answer.headers and answer[name] not in also_to:
            assert is_same_site(answer[name], here), answer[name]
    reader = ResponseReader(here)
    if answer.streaming:  # a file to download, which no browser shows
        assert answer["Content-Disposition"].startswith("attachment")
        return reader
    reader.feed(answer.content.decode())
    reader.close()
    assert not reader.marks, reader.marks
    assert not (ours and reader.faults), reader.faults
    return reader
