"""The search page: results, highlighting and excerpts, all escaped."""

import html
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils.safestring import mark_safe

from persistent_messages import Folder
from tests.pages import (
    HTMX,
    address,
    canonical,
    fields_of,
    fill,
    fill_every_folder,
    messages_on,
    rows,
    soup,
    text_of,
    texts,
)

INBOX = "/messages/"
LEVELS = {"Error": 140, "Warning": 130, "Success": 125, "Info": 120, "Debug": 110}


@pytest.fixture
def full_mailbox(user):
    fill_every_folder(user, LEVELS.values())


def marked(page):
    """Return the highlighted text in the rows."""
    (found,) = soup(page).select(".pm-list")
    return [text_of(e) for e in soup(found).select("mark")]


def search(client, words, headers=None, **query):
    return client.get(INBOX, {"q": words, **query}, headers=headers or {})


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_search_finds_all_words_in_subject_text_and_names(client, other, send, headers):
    other.first_name = "Harriet Quimby"
    other.save()
    subject = send("First", subject="The nightly export")
    text = send("The nightly run")
    name = send("Another nightly run", from_user=other)
    send("Daily")

    assert rows(search(client, "nightly", headers)) == [name.pk, text.pk, subject.pk]
    assert rows(search(client, "NIGHTLY Export", headers)) == [subject.pk]
    assert rows(search(client, "quimby run", headers)) == [name.pk]
    assert rows(search(client, "nightly daily", headers)) == []


def test_search_is_limited_to_current_folder_and_level(client, full_mailbox):
    page = search(client, "quota", box="archive", level="error")

    assert {(m.folder, m.level) for m in messages_on(page)} == {(Folder.ARCHIVE, 140)}
    (form,) = soup(page).select(".pm-search")
    sent = fields_of(form)
    assert sent == {"box": ["archive"], "level": ["error"], "q": ["quota"]}


TEXT = 'Tom & "Jerry" <b>bold</b> it\'s 100% &amp; a_b'


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("<b>", ["<b>"]),
        ('"', ['"', '"']),
        ("&", ["&", "&"]),
        ("it's", ["it's"]),
        ("amp", ["amp"]),
        ("%", ["%"]),
        ("a_b", ["a_b"]),
        ("TOM jerry", ["Tom", "Jerry"]),
        ("b", ["b", "b", "b", "b"]),
        ("amp; <b>", ["<b>", "amp;"]),
        (".", []),
        ("quot", []),
        ("#x", []),
        ("\\", []),
    ],
)
def test_matches_are_highlighted_and_text_is_escaped(client, send, words, expected, safe):
    # The plain text of the message is the same in both cases.
    text = html.escape(TEXT) if safe else TEXT
    send(mark_safe(text) if safe else text, subject="Rest")

    page = search(client, words)

    # Compare the stored text, because markup escapes some characters.
    if not safe or rows(page):
        assert marked(page) == expected
    for snippet in soup(page).select(".pm-snippet"):
        assert {e.name for e in soup(snippet).find_all(True)} <= {"p", "b", "bdi", "mark"}
        assert len(soup(snippet).select("b")) == 1, "that of the name"
        assert "".join(text_of(snippet).split()).endswith("".join(TEXT.split()))


INJECTIONS = [
    "<script>alert(1)</script>",
    '" onfocus="alert(1)" autofocus="',
    "' onfocus='alert(1)' x='",
    '"><img src=x onerror=alert(1)>',
    "</title><script>alert(1)</script>",
    "&quot; onfocus=alert(1)",
    "{{ 7|add:7 }}{% now 'Y' %}",
    "&box=trash#x",
    "%22%3E%3Cscript%3E",
    "\r\nSet-Cookie: a=b",
]


@pytest.mark.parametrize("words", INJECTIONS)
@pytest.mark.parametrize("hit", [False, True])
def test_search_words_are_escaped(client, user, settings, words, hit):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 1, "SEARCH_WINDOW": 3}
    if hit:
        fill(user, 3, subject=words, message=words)
    fill(user, 4 if not hit else 0)
    plain = search(client, "unharmed")

    for headers in ({}, HTMX):
        page = search(client, words, headers)
        assert page.status_code == 200
        assert bool(rows(page)) is hit
        assert_harmless(page)
        (field,) = soup(page).find_all(attrs={"type": "search"})
        assert set(field.attrs) == set(search_field(plain).attrs)
        assert field["value"].split() == words.split()
        # Every URL on the page with the words has exactly these words.
        for element in soup(page).find_all(True):
            for name in ("href", "hx-get", "value"):
                query = parse_qs(urlsplit(element.get(name) or "").query)
                for said in query.get("q", []):
                    assert said.split() == words.split(), (name, element)
        for link in soup(soup(page).select(".pm-list")[0]).select("a"):
            if "pm-more" not in link.get("class", "").split():
                continue
            assert_harmless(client.get(link["hx-get"], headers=HTMX))
        (pane,) = soup(page).select(".pm-pane")
        data = {**fields_of(pane), "do": "read", "ids": rows(page), "pm-part": ["list", "strip"]}
        here = {**HTMX, "HX-Current-URL": "http://testserver" + page.wsgi_request.get_full_path()}
        assert_harmless(client.post(address("message_bulk"), data, headers=here))


def search_field(page):
    (field,) = soup(page).find_all(attrs={"type": "search"})
    return field


def assert_harmless(page):
    for element in soup(page).find_all(True):
        names = element.attrs
        assert not [name for name in names if name.startswith("on")], element
        assert element.name not in {"img", "iframe"}
        assert element.name != "script" or "src" in names
    assert "14" not in texts(page, ".pm-empty")


def test_excerpt_shows_text_around_match(client, send):
    words = " ".join(f"word{number}" for number in range(400))
    send(f"{words} needle {words}", subject="Haystack")

    near = search(client, "word1 needle")
    far = search(client, "needle")

    (snippet,) = texts(far, ".pm-snippet")
    assert "needle" in snippet
    assert "word399" in snippet
    assert "word0 " in snippet
    assert "word300" not in snippet
    assert snippet.count("…") == 2
    assert marked(far) == ["needle"]
    assert len(snippet) < 300
    assert "word0" in texts(near, ".pm-snippet")[0]


def test_excerpt_of_early_match_starts_at_beginning(client, send):
    send("The needle is here. " + "Hay. " * 100, subject="Haystack")

    (snippet,) = texts(search(client, "needle"), ".pm-snippet")

    assert "The needle is here." in snippet.replace("  ", " ")


@pytest.mark.parametrize("place", range(140, 175, 5))
def test_excerpt_contains_match_at_any_position(client, send, place):
    send("x" * (place - 1) + " needle " + "y" * 200, subject="Haystack")

    assert marked(search(client, "needle")) == ["needle"]


def test_excerpt_strips_safe_markup(client, send):
    send(mark_safe("<p>" + "Hay. " * 100 + "A <em>needle</em> &amp; thread.</p>"), subject="Hay")

    page = search(client, "needle")

    (snippet,) = soup(page).select(".pm-snippet")
    assert not soup(snippet).select("em")
    assert marked(page) == ["needle"]
    assert "needle" in text_of(snippet)
    assert "& thread." in text_of(snippet)


def test_search_without_match_has_text_and_clear_link(client, full_mailbox):
    page = search(client, "haystack", box="archive", level="error")

    (empty,) = soup(page).select(".pm-empty")
    assert "No match for “haystack”" in text_of(empty)
    (link,) = soup(empty).select("a")
    assert canonical(link["href"]) == canonical(f"{INBOX}?box=archive&level=error")


def test_search_while_typing_does_not_move_focus(client, full_mailbox):
    """The field searches after a pause, and must keep the focus of a user who continues to type."""
    for words in ("quota", "haystack", ""):
        page = search(client, words, HTMX)
        # The part that the field swaps in, without the heading.
        (pane,) = soup(page).select(".pm-pane")
        assert not soup(pane).select("[data-pm-focus]"), words


def test_search_continues_beyond_window_on_demand(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 5, "PAGE_SIZE": 3}
    needle = fill(user, 1, message="A needle")
    fill(user, 12)
    seen, url = [], f"{INBOX}?q=needle"

    while url:
        page = client.get(url, headers=HTMX)
        seen.append(rows(page))
        more = [e for e in soup(page).select(".pm-more") if e.name == "a"]
        assert [text_of(link) for link in more] in ([], ["Search older messages"])
        url = more[0]["hx-get"] if more else None

    assert seen == [[], [], needle]


def test_end_of_search_has_text_and_takes_focus(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 5}
    keys = fill(user, 7)

    page = search(client, "needle", HTMX, before=keys[4])

    (end,) = soup(page).select(".pm-end")
    assert text_of(end) == "No older matches."
    assert "data-pm-focus" in end.attrs


def test_search_offers_no_action_on_all(client, full_mailbox):
    page = search(client, "quota")

    assert rows(page)
    assert texts(page, ".pm-all") == [""], "without words it is not shown"
    assert not [e for e in soup(page).select("a") if "/delete/all/" in e["href"]]


@pytest.mark.parametrize("words", ["x" * 5000, "a " * 500, "\x00", "  ", "\u202e", "%", "_", "'"])
def test_invalid_search_words_cause_no_error(client, full_mailbox, words):
    for headers in ({}, HTMX):
        page = search(client, words, headers)
        assert page.status_code == 200
        assert len(search_field(page)["value"] or "") <= 100
