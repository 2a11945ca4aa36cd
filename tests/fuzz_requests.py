"""A site with hostile content and random requests, for the fuzz tests."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from pathlib import Path
from urllib.parse import quote, quote_plus

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.messages import constants as contrib
from django.http import QueryDict
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone
from hypothesis import strategies as st

import persistent_messages
from persistent_messages import ERROR, INFO, Folder, send_letter, send_message
from persistent_messages.inbox.bulk_actions import CHANGES
from persistent_messages.inbox.filters import BOXES, LEVELS
from persistent_messages.letters import policy
from persistent_messages.letters.forms import LetterForm, ReplyForm, ReportForm
from persistent_messages.models import Block, Message, Report
from persistent_messages.urls import urlpatterns

from .hostile import (
    HOSTS,
    OTHER_SITE,
    PAYLOADS,
    SECRET,
    odd_texts,
    payloads,
    rolled_back,
    texts,
    urls,
)
from .pages import ABSURD, HTMX, MODES, browser_of, undo_token

ADDRESSES = {p.name: p.pattern.converters for p in urlpatterns}
# Every parameter name in the code, so that new ones are tried, too.
# The columns that a reply updates in the mailbox of its recipient.
SETTLED = {"superseded_by": None, "thread_length": None, "reply_snippet": ""}

PACKAGE = Path(persistent_messages.__file__).parent
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.glob("*.py")))
ASKED = set(re.findall(r'\.get(?:list)?\(\s*"([\w-]+)"', SOURCES))
OF_FORMS = {*LetterForm.base_fields, *ReplyForm.base_fields, *ReportForm.base_fields}
HEADERS = sorted(name for name in ASKED if name[0].isupper())
FIELDS = sorted(ASKED - set(HEADERS) | OF_FORMS)


@dataclass(frozen=True)
class Placeholder:
    """A value that is known only after the site is set up."""

    kind: str
    number: int = 0


class HostileSite:
    """Sally's mailbox with payloads, and other users whose names are payloads."""

    def __init__(self):
        people = get_user_model().objects
        self.owner = people.create_user("sally", "sally@example.com", first_name=PAYLOADS[0])
        self.other = people.create_user("harry", "harry@example.com")
        self.mallory = people.create_user(PAYLOADS[2], first_name=PAYLOADS[7], last_name="<pwn>")
        blocked = people.create_user(PAYLOADS[3])
        for number, folder in enumerate(sorted(set(Folder) - {Folder.TOMBSTONE})):
            self.fill(folder, number)
        for text in PAYLOADS[:3]:
            send_letter(self.mallory, [self.owner, self.other], text, "".join(PAYLOADS))
        send_letter(self.mallory, self.other, f"{PAYLOADS[1]}{SECRET}", SECRET)
        send_letter(self.owner, [self.mallory, self.other], PAYLOADS[4], PAYLOADS[5])
        send_message([self.owner, self.other], INFO, PAYLOADS[1], from_user=self.mallory)
        self.messages = list(Message.objects.order_by("pk"))
        self.mine = [message for message in self.messages if message.user == self.owner]
        self.blocks = [policy.block(person, blocked) for person in (self.owner, self.other)]
        self.sessions = {
            who: browser_of(getattr(self, who)).cookies["sessionid"].value
            for who in ("owner", "other")
        }
        self.theirs = self.of_others()

    def fill(self, folder, number):
        for owner, secret in ((self.owner, ""), (self.other, SECRET)):
            Message.objects.create(
                user=owner,
                folder=folder,
                level=contrib.INFO if folder == Folder.ONE_SHOT else ERROR,
                subject=f"{PAYLOADS[number]}{secret}",
                message=f"{PAYLOADS[-number]}{secret}",
                extra_tags=PAYLOADS[2 + number],
                url=f"{OTHER_SITE}{secret}",
                close_timeout=number,
                moved_at=timezone.now(),
                trashed_at=timezone.now() if folder == Folder.TRASH else None,
                expires=timezone.now() + timedelta(days=9),
            )

    def make(self, value):
        """Return the value of a `Thing`, or any other value unchanged."""
        if not isinstance(value, Placeholder):
            return value
        number = value.number
        if value.kind == "long":
            return "x" * 60_000
        if value.kind == "letter":
            return LetterForm([self.owner, self.other][number % 2])._new_token()
        if value.kind == "block":
            return str(self.blocks[number % 2].pk)
        mailbox = self.messages if value.kind == "message" else self.mine
        message = mailbox[number % len(mailbox)]
        if value.kind != "undo":
            return str(message.pk)
        token = undo_token(self.messages[number % len(self.messages)])
        return [token, token, token[:-1], f"x{token}"][number % 4]

    def browser(self, who="owner"):
        """Return a client in which a user is logged in."""
        browser = Client()
        browser.cookies["sessionid"] = self.sessions[who]
        return browser

    def of_others(self):
        """Return all rows of other owners, without the columns that a reply updates."""
        rows = Message.objects.exclude(user=self.owner).order_by("pk").values()
        blocks = Block.objects.exclude(user=self.owner).order_by("pk").values()
        return list(blocks), [{**row, **SETTLED} for row in rows]

    def all(self):
        models = (Message, Block, Report)
        return [list(model.objects.order_by("pk").values()) for model in models]


# Requests

numbers = st.integers(0, 60)
placeholders = st.builds(
    Placeholder, st.sampled_from(["message", "own", "block", "undo", "letter"]), numbers
)
own = st.builds(Placeholder, st.just("own"), numbers)
long = st.builds(Placeholder, st.just("long"))
octets = st.binary(max_size=8) | st.sampled_from([b"\xff\xfe", b"\xc0\xaf", b"+ADw-pwn+AD4-"])
absurd = st.sampled_from([*ABSURD, str(2**63), "9" * 19])
values = st.one_of(odd_texts, urls, octets, absurd, placeholders, long)
KEYS = ("ids", "newest", "before", "until", "after", "pm-row", "pm-notice")
SENSIBLE = {
    **dict.fromkeys(KEYS, own),
    "box": st.sampled_from(list(BOXES)),
    "level": st.sampled_from(list(LEVELS)),
    "q": st.sampled_from(["pwn", "<", "&lt;", "amp", "script img"]),
    "do": st.sampled_from(list(CHANGES)),
    "final": st.just("1"),
    "every": st.just("1"),
    "follow": st.just("1"),
    "next": urls,
    "pm-filter": texts.map(lambda text: f"?box=trash&q={quote(text)}") | st.just("?box=archive"),
    "pm-part": st.sampled_from(["list", "strip", "counter", "latest"]),
    "pm-from": st.sampled_from(["row", "strip", "bell", "list"]),
    "to": st.sampled_from(["harry", f"harry,{PAYLOADS[2]}", "sa", '"><']),
    "letter": st.builds(Placeholder, st.just("letter"), numbers),
    "pm-field": st.sampled_from(["to", "subject", "message"]),
}


@st.composite
def fields(draw, asked):
    """Return values for the fields that a view reads, and for some others."""
    more = draw(st.lists(st.sampled_from(FIELDS), max_size=2))
    given = [(name, draw(st.none() | SENSIBLE.get(name, values) | values)) for name in asked + more]
    return [(name, value) for name, value in given if value is not None]


def as_header(text):
    """Return a header as a server passes it on: bytes decoded as Latin-1, without newlines."""
    return re.sub("[\0\r\n]", "", text).encode("utf-8", "surrogatepass").decode("latin-1")


in_latin = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
switches = st.sampled_from(["true", "false", "full", "partial", "prefetch", "", "evil.example"])
header_values = st.one_of(urls.map(as_header), payloads.map(as_header), switches, in_latin)
OF_HTMX = ["Boosted", "Current-URL", "History-Restore-Request", "Preloaded", "Prompt", "Request"]
OF_HTMX += ["Request-Type", "Source", "Target", "Trigger", "Trigger-Name"]
OF_HTTP = ["Accept", "Accept-Language", "Origin", "Purpose", "Range", "Referer", "Sec-Fetch-Site"]
OF_HTTP += ["Sec-Purpose", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"]
OF_HTTP += ["X-HTTP-Method-Override", "X-CSRFToken", "X-Requested-With", *HEADERS]
SENT = [f"HX-{name}{more}" for name, more in product(OF_HTMX, ["", "-URI-AutoEncoded"])] + OF_HTTP


@st.composite
def headers(draw):
    """Return headers of a plain or an htmx request, and any others."""
    way = draw(st.sampled_from(list(MODES.values())))
    more = draw(st.dictionaries(st.sampled_from(SENT), header_values, max_size=3))
    host = draw(st.sampled_from(HOSTS))
    current = draw(urls.map(as_header) | header_values.map(f"http://{host}/".__add__))
    said = draw(st.sampled_from(["", "plain", "plain", "encoded"]))
    if said:
        way = {**way, "HX-Current-URL": quote(current) if said == "encoded" else current}
    if said == "encoded":
        way["HX-Current-URL-URI-AutoEncoded"] = "true"
    return {**more, **way, "Host": host}


KINDS = {"block_id": "block", "token": "undo"}


def url_placeholders(name, number, kind="own"):
    """Return an argument of a URL that belongs to Sally or to another user."""
    return {key: Placeholder(KINDS.get(key, kind), number) for key in ADDRESSES[name]}


def url_arguments(name, *wild):
    """Return the arguments of a URL for its converters."""
    found = {}
    for key, converter in ADDRESSES[name].items():
        right = st.builds(
            Placeholder, st.sampled_from([KINDS.get(key, "own")] * 2 + ["message"]), numbers
        )
        # Everything that the converter accepts.
        passing = st.from_regex(converter.regex, fullmatch=True)
        found[key] = st.one_of(right, passing, *wild) if wild else right
    return st.fixed_dictionaries(found)


FORM, IN_PARTS = "application/x-www-form-urlencoded", "multipart/form-data"
AS_TEST = {"Host": "testserver"}
# These two encodings can express half a surrogate pair.
WIDE = ["utf-7", "raw_unicode_escape"]
CHARSETS = [None, *WIDE, *WIDE, "utf-8", "latin-1", "utf-16", "nonsense"]


@dataclass(frozen=True)
class FuzzRequest:
    """Return a request whose values are filled in by the site."""

    method: str
    places: dict
    fields: list = field(default_factory=list)
    in_body: bool = True
    octets: bytes | None = None
    kind: str = FORM
    charset: str | None = None
    headers: dict = field(default_factory=lambda: AS_TEST)
    secure: bool = False

    def send(self, site, name, who=None):
        place = {key: site.make(value) for key, value in self.places.items()}
        in_body = self.in_body and self.method == "POST"
        query = "" if in_body else self._as_form(site)
        charset = f"; charset={self.charset}" if self.charset else ""
        return Client().generic(
            self.method,
            f"{reverse(name, kwargs=place)}?{query}",
            self._body(site) if in_body else self.octets or b"",
            secure=self.secure,
            headers={**self.headers, "Cookie": f"sessionid={site.sessions[who]}" if who else ""},
            # Without a body, the client would leave out the content type.
            CONTENT_TYPE=f"{self.kind}; boundary=x{charset}",
        )

    def _octets(self, site, value):
        made = site.make(value)
        charset = self.charset if self.charset in WIDE else "utf-8"
        return made if isinstance(made, bytes) else made.encode(charset, "surrogatepass")

    def _as_form(self, site):
        pairs = [(name, self._octets(site, value)) for name, value in self.fields]
        return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)

    def _body(self, site):
        if self.octets is not None:
            return self.octets
        if self.kind != IN_PARTS:
            return self._as_form(site).encode()
        parts = []
        for name, value in self.fields:
            head = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
            parts += [head.encode(), self._octets(site, value), b"\r\n"]
        return b"".join([*parts, b"--x--\r\n"])


def requests(name, methods, asked):
    """Return requests as pages send them, each with one hostile value, and their number."""
    tame = {
        "method": st.sampled_from(methods),
        "places": url_arguments(name),
        "kind": st.sampled_from([FORM, IN_PARTS]),
        "headers": st.sampled_from(list(MODES.values())).map(AS_TEST.__or__),
    }
    huge = st.sampled_from([str(2**63), "9" * 30, "9" * 5000])
    in_charset = {"charset": st.sampled_from(CHARSETS), "in_body": st.booleans()}
    wild = [
        (20, {"fields": fields(asked), "in_body": st.booleans()}),
        (15, {"headers": headers(), "secure": st.booleans()}),
        (6, {"fields": fields(asked), **in_charset}),
        (6, {"octets": st.binary(), "kind": st.sampled_from([FORM, IN_PARTS, "text/html"])}),
        (
            8,
            {
                "places": url_arguments(name, huge),
                "method": st.sampled_from([*methods, "HEAD", "PUT"]),
            },
        ),
    ]
    return [(st.builds(FuzzRequest, **{**tame, **chosen}), examples) for examples, chosen in wild]


# Parameters of views


class RecordingQueryDict(QueryDict):
    """A QueryDict that records which fields are read."""

    names = set()

    def __getitem__(self, name):
        self.names.add(name)
        return super().__getitem__(name)

    def getlist(self, name, default=None):
        self.names.add(name)
        return super().getlist(name, default)


def record_fields(get_response):
    """A middleware that records which fields the views read."""

    def watch(request):
        request.GET = RecordingQueryDict(request.GET.urlencode())
        request.POST = RecordingQueryDict(request.POST.urlencode())
        return get_response(request)

    return watch


METHODS_AND_FIELDS = {}


def methods_and_fields(site, name):
    """Find out which methods a view allows and which fields it reads, by requesting it once."""
    if name not in METHODS_AND_FIELDS:
        methods = set()
        RecordingQueryDict.names.clear()
        with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, f"{__name__}.record_fields"]):
            for number, method, do in product((1, 4), ("GET", "POST"), ("", "read")):
                fields = [("do", do), ("pm-part", "strip")]
                asked = FuzzRequest(
                    method, url_placeholders(name, number), fields, headers=AS_TEST | HTMX
                )
                with rolled_back():
                    answer = asked.send(site, name, "owner")
                if answer.status_code != 405:
                    methods.add(method)
        METHODS_AND_FIELDS[name] = sorted(methods), sorted(RecordingQueryDict.names)
    return METHODS_AND_FIELDS[name]
