"""The values of rows and notices, and their templates."""

import gc
import re
import sys
from datetime import timedelta

import pytest
from django.contrib import messages as contrib_messages
from django.contrib.messages.storage.base import Message as ContribMessage
from django.template import Context, engines
from django.test import RequestFactory
from django.test.signals import template_rendered
from django.urls import clear_url_caches, include, path
from django.utils import timezone
from django.utils.formats import date_format, time_format
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import override
from hypothesis import given
from hypothesis import strategies as st

import persistent_messages
from persistent_messages.constants import Folder
from persistent_messages.inbox.filters import Filter
from persistent_messages.inbox.page import InboxPage
from persistent_messages.models import Message
from persistent_messages.rendering import render_cache
from persistent_messages.web import htmx
from tests.hostile import fuzz, odd_texts, payloads
from tests.pages import soup, text_of, texts

LONG_AGO = timezone.now() - timedelta(days=800)
LATER = timezone.now() + timedelta(days=800, hours=12)
LEVELS = [*persistent_messages.PERSISTENT_MESSAGE_LEVELS, contrib_messages.INFO, 33, 150]

# Values that a database might return, and texts that look like placeholders of a pattern.
tricky = odd_texts | st.sampled_from(
    [
        "%",
        "%%",
        "%s",
        "%(title)s",
        "%(key)s",
        render_cache.MARKER,
        f"{render_cache.MARKER}title{render_cache.MARKER}",
    ]
)
safe = payloads.map(mark_safe)
messages = st.builds(
    Message,
    pk=st.integers(1, 2**63 - 1),
    user_id=st.just(1),
    folder=st.sampled_from([Folder.INBOX, Folder.SENT, Folder.ARCHIVE, Folder.TRASH]),
    from_name=st.just("") | tricky,
    to_name=st.just("") | st.lists(tricky, max_size=3).map("\n".join),
    level=st.sampled_from(LEVELS),
    subject=st.just("") | tricky,
    topic=st.just("") | tricky,
    times=st.sampled_from([1, 2, 1234]),
    action=st.just("") | tricky,
    message=tricky | safe,
    is_safe=st.booleans(),
    extra_tags=st.sampled_from(["", "big red"]) | tricky,
    url=st.sampled_from(["", "/reports/7/", "https://elsewhere.example/"]),
    created=st.just(LONG_AGO),
    read_at=st.sampled_from([None, LONG_AGO]),
    expires=st.sampled_from([None, LATER]),
    close_timeout=st.sampled_from([None, 0, 5000]),
    thread_position=st.sampled_from([None, 1, 2, 17]),
    thread_length=st.sampled_from([None, 1, 3]),
    reply_snippet=st.just("") | tricky,
)
languages = st.sampled_from(["en", "de", "ar", "ja"])


def context_of(**more):
    request = RequestFactory().get("/messages/?box=trash&x=%(title)s&y=<b>")
    inbox = InboxPage(request, Filter(q=more.pop("words", "")))
    return {"request": request, "inbox": inbox, "csrf_token": "t%(key)sken", **more}


def show(source, **more):
    template = engines["django"].from_string("{% load persistent_messages %}" + source)
    return template.template.render(Context(context_of(**more)))


def rows(found, **more):
    return show(
        "{% lines_of found as lines %}{% for line in lines %}{{ line.row }}{% endfor %}",
        found=found,
        **more,
    )


def notices(found, **more):
    return show("{% notices found %}", found=found, **more)


def render_separately(name, message, **more):
    """Render the template for this message without the cache."""
    return show(f'{{% include "{name}" %}}', message=message, **more)


@fuzz(150)
@given(
    st.lists(messages, min_size=1, max_size=3),
    languages,
    st.sampled_from(["", "a", "pwn <", "\u00c9 ss", '"a b" <']),
)
def test_cached_rows_equal_separately_rendered_rows(found, language, words):
    with override(language):
        expected = [render_separately(htmx.ROW, message, words=words) for message in found]
        assert rows(found, words=words) == "".join(expected)


@fuzz(150)
@given(st.lists(messages, min_size=1, max_size=3), languages)
def test_cached_notices_equal_separately_rendered_notices(found, language):
    with override(language):
        expected = [render_separately(htmx.NOTICE, message) for message in found]
        for _ in range(2):
            assert notices(found) == "".join(expected)


@fuzz(50)
@given(st.sampled_from(LEVELS), payloads, st.sampled_from(["", "big red", "pm-undo"]))
def test_cached_contrib_message_equals_separately_rendered_message(level, text, tags):
    found = ContribMessage(level, text, tags)

    assert notices([found]) == render_separately(htmx.NOTICE, found)


def test_template_is_rendered_once_for_similar_notices():
    found = [
        Message(pk=number, level=persistent_messages.INFO, message=f"Number {number}")
        for number in range(1, 30)
    ]
    render_cache._caches.clear()
    rendered = []

    def note(template, **kwargs):
        rendered.append(template.name)

    template_rendered.connect(note)
    try:
        html = notices(found) + notices(found)
    finally:
        template_rendered.disconnect(note)

    assert rendered.count(htmx.NOTICE) == 1
    assert html.count("Number 17") > 2


def calls_of(run):
    """Count the function calls of `run`, including C functions, which is machine-independent."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    run()  # templates are compiled, patterns are made
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def test_row_takes_few_function_calls():
    found = [
        Message(pk=number, level=persistent_messages.INFO, subject="Hello", message="World")
        for number in range(1, 31)
    ]

    few, many = calls_of(lambda: rows(found[:5])), calls_of(lambda: rows(found))

    assert (many - few) / 25 < MOST_CALLS


MOST_CALLS = 450
"""For a row. A template variable takes about twenty calls, formatting a date about a hundred."""


def test_overridden_row_takes_no_more_calls_than_its_template(client, user, send, settings):
    for number in range(25):
        send(f"Number {number}", url="/" * (number % 2))
    page = client.get("/messages/").text
    built_in = calls_of(lambda: client.get("/messages/"))
    name, source = htmx.ROW, engines["django"].get_template(htmx.ROW).template.source
    loaders = [("django.template.loaders.locmem.Loader", {name: source}), *LOADERS]
    options = {
        **settings.TEMPLATES[0]["OPTIONS"],
        "loaders": [("django.template.loaders.cached.Loader", [*loaders, *SITE_LOADERS])],
    }
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False, "OPTIONS": options}]

    overridden = client.get("/messages/").text
    assert len(soup(overridden).select(".pm-row")) == len(soup(page).select(".pm-row")) == 25
    # It is rendered for each message, and the built-in template once for each kind of row.
    assert calls_of(lambda: client.get("/messages/")) <= 1.5 * built_in


def test_cache_keeps_languages_and_csrf_tokens_apart():
    message = Message(pk=7, level=persistent_messages.ERROR, message="Disk full")

    for language, word in (("en", "Error"), ("de", "Fehler"), ("en", "Error")):
        for token in ("one", "another"):
            with override(language):
                html = notices([message], csrf_token=token)
            (label,) = texts(html, ".pm-vh")
            assert label.startswith(word)
            tokens = [field.attrs for field in soup(html).select("input")]
            assert {"type": "hidden", "name": "csrfmiddlewaretoken", "value": token} in tokens


def test_page_without_csrf_token_renders_none():
    message = Message(pk=7, level=persistent_messages.INFO, message="Hello")

    for token in ("one", None, "NOTPROVIDED"):
        html = notices([message], csrf_token=token)
        names = [field["name"] for field in soup(html).select("input")]
        assert ("csrfmiddlewaretoken" in names) == (token == "one")


def test_csrf_token_is_read_only_if_needed():
    """Reading the token sets a cookie or, with CSRF_USE_SESSIONS, creates a session."""
    asked = []
    token = SimpleLazyObject(lambda: asked.append(True) or "token")
    passing = ContribMessage(contrib_messages.INFO, "Saved.")
    staying = Message(pk=7, level=persistent_messages.INFO, message="Hello")

    notices([passing], csrf_token=token)
    assert asked == []
    notices([passing, staying], csrf_token=token)
    assert asked == [True]


def test_site_without_urls_of_app_needs_no_request(settings):
    settings.ROOT_URLCONF = "tests.site_without_urls"
    found = [
        Message(pk=7, level=persistent_messages.INFO, message="Hello"),
        ContribMessage(contrib_messages.INFO, "Saved."),
    ]

    html = notices(found, request=None)

    assert len(soup(html).select(".pm-notice")) == 2
    assert soup(html).select("form") == []


def test_cache_keeps_url_prefixes_apart(settings, monkeypatch):
    """A URLconf whose prefix changes with each request, as in some packages."""
    settings.ROOT_URLCONF = __name__
    message = Message(pk=7, folder=Folder.TRASH, level=persistent_messages.INFO, message="Hello")
    passing = ContribMessage(contrib_messages.INFO, "Saved.")

    for tenant in ("one", "another", "one"):
        mounted = [path(f"{tenant}/", include("persistent_messages.urls"))]
        monkeypatch.setattr(sys.modules[__name__], "urlpatterns", mounted, raising=False)
        clear_url_caches()
        html = notices([message, passing]) + rows([message])
        addresses = re.findall(r'(?:href|action|hx-post|hx-get)="([^"]*)', html)
        assert len(addresses) > 5
        assert {address.split("/")[1] for address in addresses} == {tenant}


def test_thread_length_uses_number_format_of_site(settings):
    settings.USE_THOUSAND_SEPARATOR = True
    message = Message(pk=7654321, level=120, message="Hello", from_name="H", thread_position=1234)

    html = rows([message])

    assert html == render_separately(htmx.ROW, message)
    assert texts(html, ".pm-count") == ["1,234 1,234 messages"]
    assert "7,654,321" not in html


def test_cache_is_released_with_its_template(settings):
    """Without a cached loader, each page has a new template."""
    options = {**settings.TEMPLATES[0]["OPTIONS"], "loaders": LOADERS}
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False, "OPTIONS": options}]
    message = Message(pk=7, level=persistent_messages.INFO, message="Hello")
    render_cache._caches.clear()

    for _ in range(5):
        assert notices([message, message])
    gc.collect()

    assert len(render_cache._caches) <= 1


LOADERS = ["django.template.loaders.app_directories.Loader"]
SITE_LOADERS = ["django.template.loaders.filesystem.Loader"]
OWN_NOTICE = "<li class=own>{{ message.message|upper }}{% if message.pk == 2 %}!{% endif %}</li>"
OWN_ROW = (
    "{% load persistent_messages %}{% row_of message as row %}"
    "<li class=own>{{ message.level_tag }} {{ row.title }}</li>"
)


@pytest.mark.parametrize(
    ("show_all", "name", "source", "expected"),
    [
        (notices, htmx.NOTICE, OWN_NOTICE, ["A", "B!"]),
        (rows, htmx.ROW, OWN_ROW, ["error a", "error b"]),
    ],
)
def test_template_of_site_gets_each_message(tmp_path, settings, show_all, name, source, expected):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(source)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    found = [
        Message(pk=number, level=persistent_messages.ERROR, message=text)
        for number, text in ((1, "a"), (2, "b"))
    ]

    assert texts(show_all(found), ".own") == expected


def test_first_row_of_older_page_takes_focus():
    found = [Message(pk=pk, level=persistent_messages.INFO, message="Hello") for pk in (3, 2)]
    request = RequestFactory().get("/")
    further = InboxPage(request, Filter(before=9))

    for inbox, fragment, focused in ((further, True, 1), (further, False, 0)):
        html = rows(found, inbox=inbox, pm_fragment=fragment)
        links = soup(html).select(".pm-row-link")
        assert ["data-pm-focus" in link.attrs for link in links] == [bool(focused), False]


@pytest.mark.parametrize(
    ("age", "word"),
    [
        (timedelta(seconds=-30), "now"),  # by the clock of another server
        (timedelta(seconds=2), "now"),
        (timedelta(seconds=63), "1 min"),
        (timedelta(minutes=59, seconds=30), "59 min"),
        (timedelta(minutes=60, seconds=3), "1 h"),
        (timedelta(hours=23, minutes=50), "23 h"),
    ],
)
def test_row_link_has_age_in_its_label(age, word):
    created = timezone.now() - age
    message = Message(pk=7, level=persistent_messages.INFO, message="Hello", created=created)

    (link,) = soup(rows([message])).select(".pm-row-link")

    assert link["aria-label"].endswith(f", {word}")


@pytest.mark.parametrize("created", [timezone.now(), LONG_AGO])
def test_row_below_day_heading_shows_time(created):
    message = Message(pk=7, level=persistent_messages.INFO, message="Hello", created=created)

    (moment,) = soup(rows([message])).select("time")

    assert text_of(moment) == time_format(timezone.localtime(created), "TIME_FORMAT")
    assert moment["datetime"] == created.isoformat(timespec="seconds")


def test_row_without_day_heading_shows_date_of_other_days():
    for created, form in ((timezone.now(), "TIME_FORMAT"), (LONG_AGO, "SHORT_DATETIME_FORMAT")):
        message = Message(pk=7, level=persistent_messages.INFO, message="Hello", created=created)

        (moment,) = soup(rows([message], pm_has_date=True)).select("time")

        assert text_of(moment) == date_format(timezone.localtime(created), form)


@pytest.mark.parametrize(
    ("url", "offered"),
    [
        ("/messages/undo/abc/", True),
        ("https://elsewhere.example/messages/undo/abc/", False),
        ("//elsewhere.example/", False),
        ("/\\elsewhere.example/", False),
        ("", False),
    ],
)
def test_undo_button_requires_local_undo_url(url, offered):
    """A site may cache the tag's output, but the form has a CSRF token of one user."""
    done = Message(level=contrib_messages.SUCCESS, message="Done.", extra_tags="pm-undo", url=url)

    posting = [
        form["action"] for form in soup(notices([done])).select("form") if form["method"] == "post"
    ]

    assert posting == ([url] if offered else [])
    (notice,) = soup(notices([done])).select(".pm-notice")
    assert "pm-undo" not in notice.get("class", "").split()
    assert soup(notice).find_all(True)
