"""Any text of a user and any argument of a site: never an error, and never markup.

In pages, fragments, out-of-band parts, mails and the admin.
"""

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email import message_from_bytes, policy
from itertools import product

import pytest
from django.contrib import admin
from django.contrib.messages.storage.base import Message as ContribMessage
from django.core import mail
from django.http import HttpResponse
from django.shortcuts import render
from django.test import Client, TestCase
from django.urls import reverse
from django.utils.functional import lazystr
from django.utils.safestring import SafeData, mark_safe
from hypothesis import given
from hypothesis import strategies as st

from persistent_messages import INFO, LetterRefused, send_letter, send_message
from persistent_messages.constants import Folder, storable
from persistent_messages.letters.reports import report
from persistent_messages.models import Block, Message, Report
from persistent_messages.storage import PersistentMessageStorage
from persistent_messages.text.plain import has_visible_text

from .effort import some_of
from .fuzz_requests import ADDRESSES, HostileSite, url_placeholders
from .hostile import (
    ODD,
    PAYLOADS,
    WHOLE,
    ResponseReader,
    assert_harmless,
    fuzz,
    odd_texts,
    rolled_back,
    target_of,
    texts,
    urls,
)
from .pages import HTMX

UTC, EAST = timezone.utc, timezone(timedelta(hours=14))
SITE = ("/", "/project/", "/bootstrap/")


@pytest.fixture
def site(db, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "PAGE_SIZE": 3, "SEND_RATE": None}
    # A time zone where it may already be tomorrow, so that times are never those of UTC.
    settings.TIME_ZONE = "Pacific/Kiritimati"
    return HostileSite()


# Texts of users


def request_all_pages(site, words):
    """Ask for every page, by itself or by HTMX, and do everything there is to do; check all."""
    browser = site.browser()
    site.mine = list(Message.objects.filter(user=site.owner).order_by("pk"))
    keys = [message.pk for message in site.mine]
    stored = {message.url for message in site.mine}
    for url in SITE:
        assert_harmless(browser.get(url))
    for number, name in enumerate(ADDRESSES):
        places = url_placeholders(name, len(keys) - 1 - number % 5).items()
        url = reverse(name, kwargs={key: site.make(thing) for key, thing in places})
        query = {"q": words, "to": words[:100], "subject": words, "quote": "1"}
        assert_harmless(browser.get(url, query, headers=HTMX if number % 2 else {}))
        data = {"pm-part": ["list", "strip", "counter", "latest"], "pm-row": keys, "ids": keys}
        data |= {"do": "unread", "pm-from": "row", "message": words, "to": words, "reason": words}
        with rolled_back():
            assert_harmless(browser.post(url, data, headers={} if number % 2 else HTMX), *stored)


@fuzz(10)
@given(
    text=texts,
    subject=texts.map(lambda text: text[:255]),
    tags=texts.map(lambda text: text[:128]),
    name=texts.map(lambda text: storable(text)[:100]),
    markdown=st.booleans(),
)
def test_user_text_is_escaped_on_all_pages(site, settings, text, subject, tags, name, markdown):
    settings.PERSISTENT_MESSAGES = {**settings.PERSISTENT_MESSAGES, "MARKDOWN": markdown}
    with rolled_back():
        site.mallory.first_name = site.mallory.last_name = name
        site.mallory.save()
        for level in (20, INFO):
            send_message(site.owner, level, text or "x", subject=subject, extra_tags=tags)
        with suppress(LetterRefused):  # of spaces, say
            send_letter(site.mallory, site.owner, mark_safe(subject), mark_safe(text))
        request_all_pages(site, text)


@fuzz(30)
@given(text=texts.filter(str.strip), subject=texts.map(lambda text: text[:255]))
def test_text_is_shown_completely(site, text, subject):
    with rolled_back():
        send_message(site.owner, INFO, text, subject=subject)
        message = Message.objects.latest("pk")
        page = assert_harmless(site.browser().get(reverse("message_detail", args=[message.pk])))
    # An invisible text is not used as a title, or as the name of a link.
    for written in filter(has_visible_text, (text, subject)):
        assert "".join(storable(written).split()) in "".join(page.text.split())


@fuzz(10)
@given(text=texts.filter(str.strip), name=texts.map(lambda text: storable(text)[:100]))
def test_user_text_is_escaped_in_admin(site, admin_client, text, name):
    with rolled_back():
        site.mallory.first_name = name
        site.mallory.save()
        send_letter(site.mallory, site.owner, text[:255], text)
        report(site.owner, Message.objects.filter(user=site.owner).latest("pk"), text)
        send_message(site.owner, INFO, text, extra_tags=text[:128])
        for model in (Message, Block, Report):
            assert admin.site.is_registered(model)
            place = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            look = [reverse(f"{place}_changelist"), f"{reverse(f'{place}_changelist')}?q=sally"]
            look += [reverse(f"{place}_change", args=[row.pk]) for row in model.objects.all()[:3]]
            for url in look:
                assert_harmless(admin_client.get(url), ours=False)


# Texts of a site

SAFE = tuple(map(mark_safe, PAYLOADS[:2]))
TEXTS = (*PAYLOADS[:3], *SAFE, *ODD, *map(lazystr, (*SAFE, *ODD[:2])), "x" * 256)
MOMENTS = tuple(
    moment.replace(tzinfo=zone)
    for moment in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    for zone in (None, UTC, EAST)
)
OBJECTS = (None, True, -1, 5.5, float("nan"), float("inf"), 10**400, 2**63, "x", b"x", [1])
OBJECTS += (object(), ContribMessage(20, "x"), Message(), "\ud800", "x" * 100_000)
VALUES = {
    "message": TEXTS + OBJECTS,
    "subject": TEXTS + OBJECTS,
    "extra_tags": TEXTS + OBJECTS,
    "expires": MOMENTS + OBJECTS,
    "url": WHOLE + OBJECTS,
    "level": OBJECTS,
    "close_timeout": OBJECTS,
    # If the key is valid, but no user has it, the database raises the error.
    "user": tuple(value for value in OBJECTS if value != -1),
}
REFUSALS = (TypeError, ValueError, NotImplementedError, LetterRefused)


def add(browser, message, shows, levels, **arguments):
    """Add messages in a request of whoever has that browser, to be shown by it or by the next."""
    request = browser.get(reverse("message_dismiss"), headers=HTMX).wsgi_request
    request._messages = PersistentMessageStorage(request)
    for level in levels:
        # Safe text from the site itself stays HTML, so it is not tested here.
        text = "" + str(message) if isinstance(str(message), SafeData) else message
        with suppress(*REFUSALS):
            request._messages.add(level, text, **arguments)
    answer = render(request, "demo/home.html", {"kinds": ()}) if shows else HttpResponse()
    answer.wsgi_request = request
    assert_harmless(answer)
    request._messages.update(answer)
    browser.cookies.update(answer.cookies)


def send_everywhere(site, message, levels=(20, INFO), user=None, **arguments):
    """Send by all that the app has for it, to Sally and to a visitor; look at what comes of it."""
    owner, visitor = site.browser(), Client()
    for browser, shows in product((owner, visitor), (True, False)):
        add(browser, message, shows, levels, user=user, **arguments)
    for level in levels:
        with suppress(*REFUSALS):
            send_message(user or site.owner, level, message, from_user=site.mallory, **arguments)
    with suppress(*REFUSALS):
        send_letter(site.mallory, user or site.owner, arguments.get("subject", ""), message)
    newest = Message.objects.filter(user=site.owner, folder=Folder.INBOX)
    for message in (newest.filter(letter=None).latest("pk"), newest.latest("pk")):
        assert_harmless(owner.get(reverse("message_detail", args=[message.pk])))
    assert_harmless(owner.get("/bootstrap/"))
    assert_harmless(visitor.get("/"))


@pytest.mark.parametrize("argument", VALUES)
def test_hostile_argument_is_rejected_by_name_or_harmless(site, argument):
    for value in some_of(VALUES[argument], [*VALUES].index(argument)):
        given = {"levels": [value]} if argument == "level" else {argument: value}
        with rolled_back():
            send_everywhere(site, **{"message": "Hello", **given})


@fuzz(30)
@given(message=odd_texts, subject=odd_texts)
def test_hostile_text_of_site_is_harmless(site, message, subject):
    with rolled_back():
        send_everywhere(site, message, subject=subject)


@fuzz(60)
@given(url=urls | odd_texts)
def test_stored_url_is_safe(site, url):
    owner = site.browser()
    with rolled_back():
        try:
            for level in (20, INFO):
                send_message(site.owner, level, "Hello", url=url, extra_tags="pm-undo")
        except ValueError:
            return
        message = Message.objects.latest("pk")
        answer = owner.post(reverse("message_open", args=[message.pk]))
        page = assert_harmless(owner.get("/bootstrap/"), ours=False)
        for way in (answer["Location"], *page.ways):
            assert target_of(way)[0] in {"http", "https"}


# Mails


@fuzz(40)
@given(text=odd_texts.filter(storable), subject=odd_texts.map(lambda text: text[:255]))
def test_mail_has_one_subject_and_escaped_text(site, text, subject):
    mail.outbox.clear()
    with rolled_back(), TestCase.captureOnCommitCallbacks(execute=True):
        send_message(site.owner, INFO, text, subject=subject, from_user=site.other, email=True)

    (sent,) = mail.outbox
    read = message_from_bytes(sent.message().as_bytes(), policy=policy.default)
    assert [part.get_content_type() for part in read.walk()] == [
        *("multipart/alternative", "text/plain", "text/html")
    ]
    reader = ResponseReader("http://testserver/")
    reader.feed(read.get_body(["html"]).get_content())
    assert not reader.marks, reader.marks
    names = {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted"}
    assert {name for name in read if not name.startswith(("Content-", "MIME-"))} == names
    assert (read["To"], read["Reply-To"]) == (site.owner.email, None)
