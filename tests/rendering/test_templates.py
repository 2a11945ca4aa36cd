"""Templates that a site includes, overrides and loads: strip, inbox, counter, base template."""

import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib import messages as contrib_messages
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.base import Message as ContribMessage
from django.contrib.messages.storage.cookie import CookieStorage
from django.template import TemplateDoesNotExist, engines
from django.template.loader import get_template
from django.test import RequestFactory
from django.test.html import parse_html
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import mark_safe
from django.utils.translation import override
from django_htmx.middleware import HtmxDetails

import persistent_messages
from persistent_messages import mailbox
from persistent_messages.constants import Folder
from persistent_messages.inbox.page import InboxPage
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage
from persistent_messages.web import htmx
from tests.pages import canonical, soup, text_of, texts

STRIP = "persistent_messages/message/includes/messages.html"
OLD_STRIP = "persistent_messages/message/includes/messages.jquery.html"
INBOX = "persistent_messages/message/includes/inbox.html"
COUNTER = "{% load persistent_messages %}{% unread_counter %}"
TEMPLATES = Path(apps.get_app_config("persistent_messages").path) / "templates"
FILES = sorted(TEMPLATES.rglob("*.html"))
PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.messages.context_processors.messages",
]


def close_button(notice):
    (button,) = soup(notice).select("button")
    return button.attrs


def matching_elements(html, pattern):
    """How many elements have attributes that match."""
    return [
        element for element in soup(html).find_all(True) if re.search(pattern, str(element.attrs))
    ]


@pytest.fixture
def ask(user):
    """A request of Sally's, or of somebody else, as the middleware leaves it."""

    def ask(whose=None, address="/projects/?tab=2", **headers):
        request = RequestFactory().get(address, headers=headers)
        request.user = whose or user
        request.session = {}
        request.htmx = HtmxDetails(request)
        request._messages = PersistentMessageStorage(request)
        return request

    return ask


@pytest.fixture
def show(ask):
    """Render template code for a request."""

    def show(code, request=None, **context):
        return engines["django"].from_string(code).render(context, request or ask())

    return show


@pytest.fixture
def strip(show):
    def strip(request=None, flags="", **context):
        return show(f'{{% include "{STRIP}" {flags} %}}', request, **context)

    return strip


@pytest.fixture
def templates(settings, tmp_path):
    """Templates of the site itself, by name; the demo's are gone."""

    def templates(**files):
        for name, code in files.items():
            file = tmp_path / name.replace("__", "/").replace("_html", ".html")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code)
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]

    return templates


@pytest.fixture
def no_urls(settings):
    settings.ROOT_URLCONF = "tests.site_without_urls"
    with pytest.raises(NoReverseMatch):
        reverse("message_list")


# The strip


def test_strip_shows_unread_and_one_shot_messages(strip, send, ask):
    read = send("Read before")
    request = ask()
    read.user.persistent_messages.update(read_at=read.created)
    send("Stays")
    send("Passes", contrib_messages.INFO)

    html = strip(request)

    assert len(soup(html).select(".pm-notice")) == 2
    (notices,), (passing,) = texts(html, ".pm-notices"), texts(html, ".pm-passing")
    assert "Stays" in notices
    assert "Passes" in passing
    assert "Read before" not in html


def test_strip_without_messages_keeps_its_containers(strip):
    # A later response is swapped into them.
    html = strip()

    assert soup(html).select(".pm-notice") == []
    assert len(soup(html).select(".pm-notices")) == len(soup(html).select(".pm-passing")) == 1


def test_one_shot_messages_are_in_live_region(strip):
    (passing,) = soup(strip()).select(".pm-passing")

    assert passing["aria-live"] == "polite"


def test_close_button_names_its_message(strip, send):
    send("The disk quota was reached.", subject="Export failed")
    send("Your changes were saved.", contrib_messages.SUCCESS)

    notice, passing = soup(strip()).select(".pm-notice")

    assert close_button(notice)["aria-label"] == "Close “Export failed” and mark it as read"
    assert close_button(passing)["aria-label"] == "Close “Your changes were saved.”"


@pytest.mark.parametrize("level", [contrib_messages.SUCCESS, persistent_messages.SUCCESS])
def test_close_button_label_of_safe_markup_is_plain_text(strip, send, level):
    send(mark_safe('Deleted. <a class="x" href="/undo/">Undo &amp; go back</a>'), level)

    (notice,) = soup(strip()).select(".pm-notice")

    label = close_button(notice)["aria-label"].replace("&amp;", "&")
    assert label.startswith("Close “Deleted. Undo & go back”")
    assert set(close_button(notice)) <= {"class", "name", "value", "aria-label", "title"}
    assert [e["href"] for e in soup(notice).select("a")] == ["/undo/"]


def test_close_form_of_persistent_message_marks_as_read(strip, send):
    message = send("Hello")
    url = reverse("message_mark_read", args=[message.pk])

    (form,) = soup(strip()).select("form")

    assert form["method"] == "post"
    assert form["action"] == form["hx-post"] == url
    assert "csrfmiddlewaretoken" in str(form)
    fields = {e.get("name"): e.get("value") for e in soup(form).find_all(True)}
    assert fields["next"] == "/projects/?tab=2"


def test_close_form_of_one_shot_message_does_not_post(strip, send):
    send("Hello", contrib_messages.INFO)

    (form,) = soup(strip()).select("form")

    assert form["method"] == "get"
    assert form["hx-get"] == reverse("message_dismiss")
    assert "csrfmiddlewaretoken" not in str(form)


@pytest.mark.parametrize("timeout", [0, 5000, 12_345_678])
@pytest.mark.parametrize("level", [contrib_messages.INFO, persistent_messages.INFO])
def test_message_with_timeout_has_timeout_attribute(strip, send, level, timeout, settings):
    """The timeout is in milliseconds."""
    settings.USE_THOUSAND_SEPARATOR = True
    send("Hello", level, close_timeout=timeout)

    (notice,) = soup(strip()).select(".pm-notice")

    # The script waits while it is hovered or focused, which a delay of htmx does not.
    assert notice["data-pm-timeout"] == str(timeout)
    (form,) = soup(notice).select("form")
    assert form["hx-trigger"] == "submit"
    (closing,) = texts(notice, ".pm-closing")
    assert closing.startswith("Closes in ")


@pytest.mark.parametrize("level", [contrib_messages.INFO, persistent_messages.INFO])
def test_message_without_timeout_has_no_timeout_attribute(strip, send, level):
    send("Hello", level)

    (notice,) = soup(strip()).select(".pm-notice")

    assert "data-pm-timeout" not in notice.attrs
    assert texts(notice, ".pm-closing") == []


@pytest.mark.parametrize("count", [3, 4, 9])
def test_fourth_and_later_notices_are_folded(strip, send, count):
    """The style sheet does this, so that the next one moves up when one is removed."""
    for number in range(count):
        send(f"Number {number}")

    (notices,) = soup(strip()).select(".pm-notices")

    items = [child for child in notices.children if child.name == "li"]
    shown = [item for item in items if "pm-notice" in item.get("class", "").split()]
    assert len(shown) == count
    more = [text_of(summary) for summary in soup(notices).select("summary")]
    assert more == (["All notices"] if count > 3 else [])
    if more:
        (last,) = [item for item in items if "pm-more-notices" in item.get("class", "").split()]
        assert len(soup(last).select("details")) == 1
        assert items.index(last) == count, "it stands after all of them"
        assert "open" not in soup(last).select("details")[0].attrs


def test_all_one_shot_messages_are_shown(strip, send):
    for number in range(12):
        send(f"Number {number}", contrib_messages.INFO)

    assert len(soup(strip()).select(".pm-notice")) == 12


@pytest.mark.parametrize(("count", "shown", "more"), [(50, 50, 0), (51, 50, 1)])
def test_strip_shows_fifty_one_shot_messages_and_hints_at_more(
    strip, user, send, count, shown, more
):
    send("Kept")
    Message.objects.bulk_create(
        Message(
            user=user, level=contrib_messages.INFO, folder=Folder.ONE_SHOT, message=f"N{number}"
        )
        for number in range(count)
    )

    html = strip()

    assert html.count("<bdi>N") == shown
    assert html.count("More messages will appear on the next page.") == more


def test_hide_persistent_omits_notices(strip, send):
    send("Stays")
    send("Passes", contrib_messages.INFO)

    html = strip(flags="with hide_persistent=True")

    assert "Passes" in html
    assert "Stays" not in html


def test_close_all_adds_button(strip, send):
    send("First")
    newest = send("Second")
    url = reverse("message_mark_all_read")

    without = strip()
    html = strip(flags="with close_all=True")

    (form,) = soup(html).find_all(attrs={"action": url})
    fields = {e.get("name"): e.get("value") for e in soup(form).find_all(True)}
    assert fields["newest"] == str(newest.pk)
    assert text_of(form) == "Close all"
    assert url not in without


def test_close_all_button_is_hidden_without_notices(strip, send):
    send("Passes", contrib_messages.INFO)

    assert "Close all" not in strip(flags="with close_all=True")


def test_strip_included_twice_has_same_content_and_unique_ids(show, send, user, ask):
    send("Stays")
    send("Passes", contrib_messages.INFO)
    request = ask()

    html = show(f'{{% include "{STRIP}" %}}{{% include "{STRIP}" %}}', request)

    assert html.count("<bdi>Stays</bdi>") == html.count("<bdi>Passes</bdi>") == 2
    ids = [e["id"] for e in soup(html).select("[id]")]
    assert len(ids) == len(set(ids))


def test_inbox_included_twice_has_unique_ids(show, send):
    send("Stays")

    html = show(f'{{% include "{INBOX}" %}}{{% include "{INBOX}" %}}')

    assert len(soup(html).select(".pm-item")) == 2
    ids = [e["id"] for e in soup(html).select("[id]")]
    assert len(ids) == len(set(ids))


def test_visitor_sees_messages_of_cookie(visitor):
    page = visitor.post("/add/", {"kind": "one-shot"}, follow=True).content.decode()

    (notice,) = soup(page).select(".pm-notice")
    assert "Your changes were saved." in text_of(notice)
    assert close_button(notice)["aria-label"] == "Close “Your changes were saved.”"
    assert soup(visitor.get("/").content.decode()).select(".pm-notice") == []


@pytest.mark.parametrize("who", ["visitor", "client"])
def test_cookie_message_is_one_shot_at_any_level(who, request):
    """It may be from a storage that the site used before, so there is no row to mark as read."""
    browser = request.getfixturevalue(who)
    storage = CookieStorage(RequestFactory().get("/"))
    browser.cookies["messages"] = storage._encode([ContribMessage(persistent_messages.INFO, "Old")])
    template = f'{{% include "{STRIP}" with close_all=True %}}'

    asked = browser.get(reverse("message_dismiss"), headers={"HX-Request": "true"}).wsgi_request
    html = engines["django"].from_string(template).render({}, asked)

    (notice,) = soup(html).select(".pm-notice")
    assert "Old" in text_of(notice)
    (form,) = soup(notice).select("form")
    assert form["action"] == reverse("message_dismiss")


def test_strip_works_without_urls_of_app(strip, send, no_urls):
    """Without the URLs, everything but the views works."""
    send("Stays", subject="Subject", close_timeout=5000)
    send("Passes", contrib_messages.INFO)

    html = strip(flags="with close_all=True")

    assert "Stays" in html
    assert "Passes" in html
    assert not soup(html).select("form, a, button")


def test_extra_tags_are_css_classes(strip, send):
    send("Hello", extra_tags="flash wide")

    (notice,) = soup(strip()).select(".pm-notice")

    assert {"flash", "wide", "pm-info"} <= set(notice.get("class", "").split())


@pytest.mark.parametrize(
    ("level", "word"),
    [(110, "Debug"), (120, "Info"), (125, "Success"), (130, "Warning"), (140, "Error")],
)
def test_level_is_named_in_words(strip, send, level, word):
    send("Hello", level)

    (notice,) = soup(strip()).select(".pm-notice")

    assert texts(notice, ".pm-vh") == [f"{word}:"]
    assert f"pm-{word.lower()}" in notice.get("class", "").split()


def test_old_template_path_of_strip_is_alias(show, send):
    send("Stays")

    old, new = show(f'{{% include "{OLD_STRIP}" %}}'), show(f'{{% include "{STRIP}" %}}')

    token = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')
    assert parse_html(token.sub("", old)) == parse_html(token.sub("", new))
    assert "jquery" not in old.lower()


def test_flags_work_with_old_template_path(show, send):
    send("Stays")

    assert "Stays" not in show(f'{{% include "{OLD_STRIP}" with hide_persistent=True %}}')


def test_navigation_example_of_2011_works(show, send, ask):
    nav = (
        "{% if messages.count_persistent_unread > 0 %}"
        "({{ messages.count_persistent_unread }}){% endif %}"
    )
    assert show(nav) == ""

    send("Stays")

    assert show(nav) == "(1)"
    assert show(nav, ask(AnonymousUser())) == ""


def test_loop_of_django_documentation_works(show, send):
    loop = (
        "{% if messages %}<ul>{% for message in messages %}"
        "<li{% if message.tags %} class='{{ message.tags }}'{% endif %}>{{ message }}</li>"
        "{% endfor %}</ul>{% endif %}"
    )
    assert show(loop) == ""

    send("Passes", contrib_messages.INFO)
    send("A <b> text", subject="Stays")

    assert show(loop) == (
        "<ul><li class='info'>Passes</li><li class='info unread'>Stays: A &lt;b&gt; text</li></ul>"
    )


# The inbox inside another page


def test_embedded_inbox_needs_only_request_and_messages_processors(show, send, settings, user):
    settings.TEMPLATES = [
        {**settings.TEMPLATES[0], "OPTIONS": {"context_processors": list(PROCESSORS)}}
    ]
    message = send("Hello")

    html = show(f'{{% include "{INBOX}" %}}')

    (item,) = soup(html).select(".pm-item")
    assert item["data-pm-message"] == str(message.pk)
    assert [e.name for e in soup(html).select(".pm-title")] == ["h2"], "the page has its own h1"
    assert "csrfmiddlewaretoken" in html


def test_embedded_inbox_is_empty_for_visitor(show, ask, send):
    send("Hello")

    assert show(f'{{% include "{INBOX}" %}}', ask(AnonymousUser())).strip() == ""


def test_embedded_inbox_links_to_older_messages(show, send, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    *_, last, newest = [send(f"Number {number}") for number in range(4)]

    (link,) = soup(show(f'{{% include "{INBOX}" %}}')).select(".pm-more")

    older = {"before": last.pk, "newest": newest.pk}
    assert canonical(link["href"]) == canonical(reverse("message_list", query=older))


def test_context_variables_of_site_do_not_affect_inbox(show, send):
    send("Hello")
    theirs = {
        "page": "theirs",
        "cursor": "theirs",
        "oob": "theirs",
        "focus": "list",
        "fragment": True,
        "message": "theirs",
    }

    plain, beside = show(f'{{% include "{INBOX}" %}}'), show(f'{{% include "{INBOX}" %}}', **theirs)

    token = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')
    assert parse_html(token.sub("", plain)) == parse_html(token.sub("", beside))


def test_pages_need_only_request_and_messages_processors(client, send, settings):
    settings.TEMPLATES = [
        {**settings.TEMPLATES[0], "DIRS": [], "OPTIONS": {"context_processors": list(PROCESSORS)}}
    ]
    message = send("Hello")

    for name, args in [
        ("message_list", []),
        ("message_detail", [message.pk]),
        ("message_delete", [message.pk]),
        ("message_delete_all", []),
    ]:
        page = client.get(reverse(name, args=args))
        assert page.status_code == 200
        assert "Hello" in page.content.decode() or name == "message_delete_all"


# The counter


@pytest.fixture
def unread(user):
    def unread(count):
        Message.objects.bulk_create(
            Message(user=user, level=120, message="Hello") for _ in range(count)
        )

    return unread


def read_out(html):
    return texts(html, ".pm-vh")


@pytest.mark.parametrize(
    ("count", "badge", "words"),
    [
        (1, "1", "1 unread"),
        (98, "98", "98 unread"),
        (99, "99", "99 unread"),
        (100, "99+", "more than 99 unread"),
        (250, "99+", "more than 99 unread"),
    ],
)
def test_counter_shows_and_reads_out_unread_count(show, unread, count, badge, words):
    unread(count)

    html = show(COUNTER)

    (shown,) = soup(html).select(".pm-badge")
    assert text_of(shown) == badge
    assert shown["aria-hidden"] == "true", "the words beside it are read out"
    assert read_out(html) == [words]


def test_counter_of_read_inbox_keeps_empty_container(show, send, user):
    send("Hello")
    user.persistent_messages.update(read_at="2020-01-01T00:00Z")

    html = show(COUNTER)

    assert len(soup(html).select(".pm-unread")) == 1
    assert text_of(soup(html)) == ""


def test_counter_excludes_one_shot_trashed_and_expired_messages(show, send):
    send("Passes", contrib_messages.INFO)
    send("Too late", expires=datetime(2020, 1, 1, tzinfo=timezone.utc))
    trash = Message.objects.filter(pk=send("In the trash").pk)
    mailbox.delete(trash.get().user, persistent_messages.Folder.INBOX, trash)

    assert soup(show(COUNTER)).select(".pm-badge") == []


def test_counter_is_empty_for_visitor_without_query(show, ask, send, django_assert_num_queries):
    send("Hello")

    with django_assert_num_queries(0):
        assert show(COUNTER, ask(AnonymousUser())) == ""


def test_counter_is_empty_without_request():
    code = engines["django"].from_string(COUNTER)

    assert code.render({}) == ""


def test_repeated_counter_takes_one_query(show, send, django_assert_num_queries):
    send("Hello")

    with django_assert_num_queries(1):
        html = show(COUNTER + "{% unread_counter %}{% unread_counter %}")

    assert texts(html, ".pm-badge") == ["1", "1", "1"]


@pytest.mark.parametrize("limit", [1, 99, 500])
def test_counter_query_has_limit(show, unread, settings, django_assert_num_queries, limit):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": limit}
    unread(3)

    with django_assert_num_queries(1) as queries:
        show(COUNTER)

    assert f"LIMIT {limit + 1}" in queries[0]["sql"]


def test_counter_works_without_urls_of_app(show, send, no_urls):
    send("Hello")

    assert texts(show(COUNTER), ".pm-badge") == ["1"]


# The frame


def test_bundled_base_template_loads_all_assets(client, send, settings):
    [engine] = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": []}]
    send("Hello", subject="In the strip")

    page = client.get(reverse("message_list")).content.decode()

    loaded = [e.get("src") or "" for e in soup(page).select("script")]
    assert [url for url in loaded if "htmx" in url and "persistent_messages" not in url]
    assert "/static/persistent_messages/persistent_messages.js" in loaded
    styles = [e["href"] for e in soup(page).select("link")]
    assert "/static/persistent_messages/persistent_messages.css" in styles
    (config,) = soup(page).find_all(attrs={"name": "htmx-config"})
    assert '"allowEval": false' in config["content"]


def test_base_template_of_site_applies_to_all_pages(client, send, templates):
    templates(
        site_html="<html><title>{% block title %}{% endblock %} | Northwind</title>"
        "<body><h6>Northwind</h6>{% block content %}{% endblock %}</body></html>",
        persistent_messages__base_html='{% extends "site.html" %}'
        "{% block title %}{% block pm_title %}{% endblock %}{% endblock %}"
        "{% block content %}{% block pm_content %}{% endblock %}{% endblock %}",
    )
    message = send("Hello")

    for name, args, title in [
        ("message_list", [], "(1) Inbox | Northwind"),
        ("message_detail", [message.pk], "Hello | Northwind"),
        ("message_mark_read", [message.pk], "Mark “Hello” as read? | Northwind"),
        ("message_delete_all", [], "Delete 1 message in “Inbox”? | Northwind"),
    ]:
        page = client.get(reverse(name, args=args)).content.decode()
        assert "<h6>Northwind</h6>" in page, name
        assert [text_of(e) for e in soup(page).select("title")] == [title]
        assert len(soup(page).select("h1")) == 1
    fragment = client.get(reverse("message_list"), headers={"HX-Request": "true"})
    assert b"Northwind" not in fragment.content
    assert soup(fragment.content.decode()).select(".pm-item")


def test_bundled_base_template_needs_no_site_template(client, send, templates):
    templates()
    send("Hello")

    page = client.get(reverse("message_list")).content.decode()

    assert soup(page).select(".pm-item")
    assert len(soup(page).select(".pm-flash")) == 1, "it has the strip"
    assert [e["lang"] for e in soup(page).select("html")] == ["en"]
    scripts = [e.attrs for e in soup(page).select("script")]
    assert scripts
    assert all("src" in script for script in scripts)


@pytest.mark.parametrize(("language", "direction"), [("en", "ltr"), ("ar", "rtl")])
def test_bundled_base_template_has_lang_and_dir_attributes(client, templates, language, direction):
    templates()

    with override(language):  # the test client leaves the language of its last request active
        page = client.get(reverse("message_list"), headers={"Accept-Language": language})

    (html,) = soup(page.content.decode()).select("html")
    assert html["lang"] == language
    assert html["dir"] == direction


def test_site_can_extend_bundled_page(client, send, templates):
    ours = (TEMPLATES / "persistent_messages/message/list.html").read_text()
    templates(
        persistent_messages__message__list_html='{% extends "ours.html" %}'
        "{% block pm_content %}<h6>Above</h6>{{ block.super }}{% endblock %}",
        ours_html=ours,
    )
    send("Hello")

    page = client.get(reverse("message_list")).content.decode()
    fragment = client.get(reverse("message_list"), headers={"HX-Request": "true"})

    assert "<h6>Above</h6>" in page
    assert soup(page).select(".pm-item")
    assert soup(fragment.content.decode()).select(".pm-item")


# Loading


@pytest.mark.parametrize(
    "loaders",
    [
        ["django.template.loaders.filesystem.Loader"],
        [("django.template.loaders.cached.Loader", ["django.template.loaders.filesystem.Loader"])],
        ["django.template.loaders.app_directories.Loader"],
    ],
)
def test_pages_and_fragments_work_with_custom_loaders(client, send, settings, loaders):
    (backend,) = settings.TEMPLATES
    options = {**backend["OPTIONS"], "loaders": loaders}
    settings.TEMPLATES = [{**backend, "DIRS": [TEMPLATES], "APP_DIRS": False, "OPTIONS": options}]
    message = send("Hello")
    close = reverse("message_mark_read", args=[message.pk])

    page = client.get(reverse("message_list")).content.decode()
    fragment = client.get(reverse("message_list"), headers={"HX-Request": "true"})
    parts = {"pm-part": ["list", "strip", "counter"], "pm-from": "row"}
    parts |= {"pm-row": message.pk, "pm-notice": message.pk}
    answer = client.post(close, parts, headers={"HX-Request": "true"})

    assert soup(page).select(".pm-item")
    assert soup(fragment.content.decode()).select(".pm-item")
    # The row, the notice, the toast, the counter, and the two counts of the list.
    assert len(matching_elements(answer.text, "hx-swap-oob")) == 6


def test_partial_can_be_loaded_repeatedly(ask, send):
    send("Hello")

    first, second = (
        htmx.get_partial(INBOX, "rows").render({"inbox": InboxPage(request)}, request)
        for request in (ask(), ask())
    )

    assert len(soup(first).select(".pm-item")) == len(soup(second).select(".pm-item")) == 1


@pytest.mark.parametrize(("name", "partial"), [(INBOX, "nothing"), ("nowhere.html", "rows")])
def test_unknown_partial_raises_template_does_not_exist(name, partial):
    with pytest.raises(TemplateDoesNotExist) as caught:
        htmx.get_partial(name, partial)

    assert (partial if name == INBOX else name) in str(caught.value)


def test_templates_use_no_undefined_variables(client, send, settings):
    # With `string_if_invalid`, every missing variable in a template becomes visible.
    (backend,) = settings.TEMPLATES
    options = {**backend["OPTIONS"], "string_if_invalid": "MISSING"}
    settings.TEMPLATES = [{**backend, "DIRS": [], "OPTIONS": options}]
    message = send("Hello")
    send("Passes", contrib_messages.INFO)
    parts = {"pm-part": ["list", "strip", "counter"], "pm-from": "row"}
    parts |= {"pm-row": message.pk, "pm-notice": message.pk}

    answers = [
        client.get(reverse("message_list")),
        client.get(reverse("message_list"), headers={"HX-Request": "true"}),
        client.get(reverse("message_delete", args=[message.pk])),
        client.get(reverse("message_delete_all")),
        client.post(
            reverse("message_mark_unread", args=[message.pk]), parts, headers={"HX-Request": "true"}
        ),
        client.get(reverse("message_detail", args=[message.pk])),
    ]

    assert [answer.status_code for answer in answers] == [200] * 6
    assert not [answer for answer in answers if b"MISSING" in answer.content]


# Rules for all files


def code_of(file):
    """Return the markup of a template without comments and tags."""
    code = re.sub(r"{% comment.*?{% endcomment %}", "", file.read_text(), flags=re.DOTALL)
    return re.sub(r"{#.*?#}", "", code, flags=re.DOTALL)


def test_template_files_are_found():
    assert len(FILES) >= 11


# Mails have inline styles.
SHOWN = [file for file in FILES if "email" not in file.parts]


@pytest.mark.parametrize("file", SHOWN, ids=lambda file: file.name)
def test_templates_obey_strict_content_security_policy(file):
    markup = code_of(file)

    assert not re.search(r"<style|<iframe|<object", markup, re.IGNORECASE)
    for script in re.findall(r"<script[^>]*>.*?</script>", markup, re.IGNORECASE | re.DOTALL):
        assert re.fullmatch(r"<script src=\"{% static '[^']+' %}\" defer></script>", script)
    assert not re.search(r"\sstyle\s*=", markup, re.IGNORECASE)
    assert not re.search(r"\son[a-z]+\s*=", markup, re.IGNORECASE)
    assert not re.search(r"hx-on|hx-vars|javascript:|js:", markup, re.IGNORECASE)
    json = r"(?!'{\"[a-zA-Z-]+\": \"[a-z]+\"}')"
    assert not re.search(rf"hx-(vals|headers)={json}", markup), "JSON, no expression"
    assert not re.search(r"hx-trigger=\"[^\"]*\[", markup), "a filter would need eval"
    assert not re.search(r"(src|href)=\"(https?:)?//|data:", markup), "nothing from elsewhere"


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if "admin" not in file.parts],  # its classes are those of Django
    ids=lambda file: file.name,
)
def test_names_in_template_files_have_prefix(file):
    markup = code_of(file)
    # The classes in a message's tags are the site's own.
    markup = markup.replace("{{ message.extra_tags }}", "")
    # The IDs of the app's forms begin with it, and so do those of the wrappers of crispy-forms.
    markup = re.sub(r"(div_)?{{ (field.auto_id|widget.attrs.id) }}", "pm-x", markup)
    markup = re.sub(r"{%.*?%}", " ", markup, flags=re.DOTALL)
    markup = re.sub(r"{{.*?}}", "x", markup, flags=re.DOTALL)

    names = " ".join(re.findall(r"\b(?:class|id)=\"([^\"]*)\"", markup)).split()

    assert not [name for name in names if name != "pm" and not name.startswith("pm-")]


def test_names_in_rendered_pages_have_prefix(client, send, templates):
    templates()
    for _ in range(5):
        message = send("Hello", subject="Subject")
    send("Passes", contrib_messages.INFO)
    pages = [
        client.get(reverse("message_list")),
        client.get(reverse("message_delete", args=[message.pk])),
        client.get(reverse("message_detail", args=[message.pk])),
    ]

    for page in pages:
        found = soup(page.content.decode()).find_all(True)
        names = {name for element in found for name in element.get("class", "").split()}
        names |= {e["id"] for e in found if "id" in e.attrs}
        assert not {name for name in names if name != "pm" and not name.startswith("pm-")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_templates_do_not_disable_escaping(file):
    code = file.read_text()

    assert not re.search(r"\|\s*safe(seq)?\b", code)
    assert "autoescape" not in code
    assert "mark_safe" not in code


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_templates_start_with_required_context(file):
    opening = re.sub(r"^{% extends [^%]*%}\s*", "", file.read_text())

    assert opening.startswith("{% comment %}")
    assert "Needs:" in opening.partition("{% endcomment %}")[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_templates_include_whole_files(file):
    # On Django 5.2, "x.html#y" needs a loader that a site may not have.
    assert not re.search(r"{% include [^%]*#", file.read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_extending_templates_define_no_partials(file):
    # Partials are not inherited.
    code = file.read_text()

    assert not ("{% extends" in code and "{% partialdef" in code)
    get_template(str(file.relative_to(TEMPLATES)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_all_template_texts_are_translatable(file):
    markup = re.sub(
        r"{% blocktranslate.*?{% endblocktranslate %}", "", code_of(file), flags=re.DOTALL
    )
    markup = re.sub(r"{%.*?%}|{{.*?}}", "", markup, flags=re.DOTALL)

    # The content of htmx-config is JSON with names of its own; that of a style is shown nowhere.
    words = re.sub(r"content='[^']*'|<style>.*?</style>|&\w+;", "", markup, flags=re.DOTALL)
    # The names of fragments, which only htmx reads, are not shown.
    words = re.sub(r"<output hidden [^>]*>[a-z]*</output>", "", words)
    assert not re.findall(r"(?:aria-label|title|placeholder|alt)=\"[^\"]*[A-Za-z][^\"]*\"", words)
    assert not re.findall(r"[A-Za-z]{2,}", re.sub(r"<[^>]*>", "", words))


def test_inbox_works_without_time_zone_support(client, send, settings):
    settings.USE_TZ = False
    send("Hello")

    page = client.get("/messages/")

    assert "Today" in page.text
    assert "Hello" in page.text
