"""Search compares the visible text, folded, and is the same on every database."""

import html
import re
import unicodedata

import pytest
from django.http import QueryDict
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from persistent_messages import INFO, Folder, mailbox, send_letter, send_message
from persistent_messages.inbox.filters import Filter
from persistent_messages.models import Message
from persistent_messages.rendering.highlighting import excerpt, highlight
from persistent_messages.text.plain import has_visible_text, to_plain_text
from persistent_messages.text.search import (
    SEARCH_LENGTH,
    find_first_match,
    find_matches,
    fold,
    search_text,
)
from tests.hostile import fuzz, odd_texts


def terms(q):
    query = QueryDict(mutable=True)
    query["q"] = q
    return Filter.from_query(query).words


def found(user, q, box="inbox"):
    return Filter(box=box, q=q).page_of(user).messages


# Search terms


@pytest.mark.parametrize(
    ("q", "words"),
    [
        ("nightly export", ["nightly", "export"]),
        ('"nightly export" now', ["nightly export", "now"]),
        ("„nächster Tag“", ["nachster tag"]),
        ("„nächster Tag”", ["nachster tag"]),
        ("“next day” ”nästa dag”", ["next day", "nasta dag"]),
        ("«le jour» »der Tag«", ["le jour", "der tag"]),
        ("「東京 都」", ["東京 都"]),
        ('"one"', ["one"]),
        ('"a\t b"', ["a b"]),
        ('"nightly export', ["nightly", "export"]),
        ("“nightly", ["nightly"]),
        ('5" disk', ['5"', "disk"]),
        ('a"b c"d', ['a"b', 'c"d']),
        ('"', ['"']),
        ('""', ['""']),
        ('" "', []),
        ("\u202e \u0301", []),
        ('"a b" "c d" e f g h i j', ["a b", "c d", "e", "f", "g", "h", "i", "j"]),
        ("a b c d e f g h i j", list("abcdefgh")),
    ],
)
def test_query_is_split_into_words_and_quoted_phrases(q, words):
    assert terms(q) == words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ÜBER", "uber"),
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("ﬁne", "fine"),
        ("e\u0301te\u0301", "ete"),
        ("Ёж", "еж"),
        ("Άλφα", "αλφα"),
        ("ＡＢＣ １", "abc 1"),
        ("co\u00adop", "coop"),
        ("it’s", "it's"),
        ("مَرحبا", "مرحبا"),
        ("ガギ", "ガギ"),
        ("カ\u3099", "ガ"),
        ("ｶﾞ", "ガ"),
        ("한글", "한글"),
        (unicodedata.normalize("NFD", "한글"), "한글"),
        (" a \r\n\t b\u00a0c ", "a b c"),
    ],
)
def test_fold_normalizes_case_and_accents(text, folded):
    assert fold(text) == folded


@fuzz(200)
@given(odd_texts)
def test_fold_is_idempotent(text):
    assert fold(fold(text)) == fold(text)


# Matches


@pytest.mark.parametrize(
    ("text", "q"),
    [
        ("Fahrt ÜBER Land", "über"),
        ("Fahrt über Land", "ÜBER"),
        ("Fahrt u\u0308ber Land", "über"),
        ("Fahrt über Land", "uber"),
        ("STRASSE", "straße"),
        ("Straße", "STRASSE"),
        ("ПРИВЕТ", "привет"),
        ("İstanbul", "istanbul"),
        ("ﬁne", "fine"),
        ("It’s late", "it's"),
        ("100% of a_b\\c", "100% a_b\\c"),
        ("one\r\n  two", '"one two"'),
        ("Das ist ein\nMärchen", "„ein märchen“"),
        (mark_safe("R&amp;D, &lt;b&gt; and &uuml;ber"), "r&d <b> über"),
        (mark_safe("R&#38;D"), "R&D"),
        (mark_safe("<b>bo</b>ld"), "bold"),
        (mark_safe("<p>one</p><p>two</p>"), '"one two"'),
        (mark_safe("one<br>two"), '"one two"'),
    ],
)
def test_search_finds_visible_text(user, send, text, q):
    message = send(text)

    assert found(user, q) == [message]


@pytest.mark.parametrize(
    ("text", "q"),
    [
        (mark_safe('<a href="https://x.org/needle" class="big">Here</a>'), "href"),
        (mark_safe('<a href="https://x.org/needle" class="big">Here</a>'), "needle"),
        (mark_safe('<a href="https://x.org/needle" class="big">Here</a>'), "big"),
        (mark_safe("R&amp;D"), "amp"),
        (mark_safe("<p>one</p><p>two</p>"), "onetwo"),
        (mark_safe("<style>needle {}</style><script>needle()</script>Hay"), "needle"),
        (mark_safe("<!-- needle -->Hay"), "needle"),
        ("two one", '"one two"'),
        ("one two", '"one  two x"'),
        ("か", "が"),
        ("が", "か"),
        ("🍺", "🍣"),
        ("ひらがな", "ヒラガナ"),
        ("søster", "soster"),
    ],
)
def test_search_does_not_find_markup(user, send, text, q):
    send(text)

    assert found(user, q) == []


@pytest.mark.parametrize("subject", ["Zwölf", "Twelve"])
def test_phrase_does_not_match_across_fields(user, send, subject):
    message = send("Monkeys came", subject=subject, from_user=user)

    assert found(user, f'"{subject} Monkeys"') == []
    assert found(user, f'{subject} "monkeys CAME"') == [message]


# The stored text


def stored_search_text(**fields):
    return Message.objects.get(**fields).search_text


def test_plain_ascii_message_stores_no_search_text(user, send):
    assert stored_search_text(pk=send("Order 17 has been shipped.", subject="Your order").pk) == ""


def test_each_way_to_create_message_stores_search_text(user, other, client, send):
    send("Größe")
    send_message([user, other], INFO, "Größe")
    send_letter(other, user, "", "Größe")
    Message.objects.create(user=user, level=INFO, message="Größe")
    Message(user=user, level=INFO, message="Größe").save()
    Message.objects.bulk_create(Message(user=user, level=INFO, message="Größe") for _ in range(2))

    assert set(Message.objects.values_list("search_text", flat=True)) == {
        "grosse",
        "harry\ngrosse",
        "harry\nsally ride\nsally\ngrosse",
    }
    assert len(found(user, "GRÖSSE")) == Message.objects.inbox_of(user).count() == 7


@pytest.mark.parametrize("fields", [None, ["message"], ["message", "read_at"]])
def test_saving_changed_text_updates_search_text(user, send, fields):
    send("Größe")
    message = Message.objects.inbox_of(user).get()
    message.message = "Länge"
    message.save(update_fields=fields)

    assert found(user, "größe") == []
    assert found(user, "länge") == [message]


@pytest.mark.parametrize("loaded", [["message"], ["message", "read_at"], ["subject", "message"]])
def test_saving_deferred_instance_updates_search_text(user, send, loaded):
    send("Größe", subject="Maß")
    message = Message.objects.only(*loaded).get()
    message.message = "Länge"
    message.save()

    assert found(user, "größe") == []
    assert found(user, "länge") == found(user, "maß") == [message]


@pytest.mark.parametrize("fields", [["message"], ("subject", "message"), ["message", "read_at"]])
def test_bulk_update_updates_search_text(user, send, fields):
    send("Größe")
    send("Weite")
    messages = list(Message.objects.inbox_of(user).order_by("pk"))
    for message in messages:
        message.message = f"Nicht {message.message}"
    assert Message.objects.bulk_update((message for message in messages), fields) == 2

    assert found(user, "nicht größe") == messages[:1]
    assert len(found(user, "nicht")) == 2


def test_saving_other_fields_keeps_search_text(user, send):
    key = send("Größe").pk
    message = Message.objects.only("read_at").get(pk=key)
    message.save()
    Message.objects.inbox_of(user).get().save(update_fields=["folder"])

    assert stored_search_text(pk=key) == "grosse"


def test_permanent_deletion_clears_search_text_of_tombstone(user, other):
    sent = send_letter(user, other, "Größe", "Größe")
    for folder in (Folder.SENT, Folder.TRASH):
        mailbox.delete(user, folder, Message.objects.filter(pk=sent.pk))

    assert (Message.objects.get(pk=sent.pk).folder, stored_search_text(pk=sent.pk)) == (
        Folder.TOMBSTONE,
        "",
    )


def test_pages_defer_search_text(user, send, django_assert_num_queries):
    send("Größe")
    for ask in (
        lambda: Filter().page_of(user).messages,
        lambda: Filter(q="größe").page_of(user).messages,
        lambda: Message.objects.strip_of(user, 10),
        lambda: list(Message.objects.inbox_of(user)),
    ):
        (message,) = ask()
        assert message.get_deferred_fields() == {"search_text"}
        with django_assert_num_queries(0):
            assert message.title == "Größe"


@pytest.mark.parametrize(
    ("columns", "is_html", "kept"),
    [
        (("Subject", "Text", "Sally", "Harry\nIda"), False, ""),
        (("Subject", "Text & <b>", "", ""), False, ""),
        (("Subject", "Text", "", ""), True, ""),
        (
            ("Subject", "Text &amp;", "Sally", "Harry\nIda"),
            True,
            "subject\nsally\nharry\nida\ntext &",
        ),
        (("S", "One\ntwo", "", ""), False, "s\none two"),
        (("", "É", "", ""), False, "e"),
        (("", "e", "É", ""), False, "e\ne"),
    ],
)
def test_search_text_omits_what_columns_contain(columns, is_html, kept):
    subject, text, sender, recipients = columns
    assert search_text(subject, text, sender, recipients, is_html=is_html) == kept


@pytest.mark.parametrize("text", ["x" * 10**6, "é" * 10**6, "ﷺ" * 10**6, "<p>é" * 10**6])
@pytest.mark.parametrize("is_html", [False, True])
def test_search_text_has_maximum_length(text, is_html):
    kept = search_text("Subject", text, "Sally", "Harry\n" * 20, is_html=is_html)

    assert kept.startswith("subject\nsally\nharry\n")
    assert len(kept) <= SEARCH_LENGTH


# How much is read


def long_rows(user, count, text="é" * 5000, **fields):
    fields = {"user": user, "folder": Folder.INBOX, "level": INFO, **fields}
    Message.objects.bulk_create(Message(message=text, **fields) for _ in range(count))


def windows(user, q):
    """How many rows each window of a search had, by where it ended."""
    place, sizes = Filter(q=q), []
    rows = list(place.rows_of(user).values_list("pk", flat=True))
    while True:
        page = place.page_of(user)
        last = page.further
        sizes.append(len([pk for pk in rows if last is None or pk >= last]) - sum(sizes))
        if last is None:
            return sizes
        place = Filter(q=q, before=last)


def test_search_window_is_smaller_for_long_messages(user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 50}
    long_rows(user, 40)

    sizes = windows(user, "needle")

    assert sum(sizes) == 40
    assert len(sizes) >= 4
    assert max(sizes) <= 10, "50,000 characters"


def test_search_reads_at_least_one_message(user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 1}
    long_rows(user, 3)

    assert windows(user, "needle") == [1, 1, 1]
    long_rows(user, 1, "A nädel")
    assert len(found(user, "nadel")) == 1


def test_search_window_is_full_for_short_messages(user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 50}
    long_rows(user, 120, "Größe")

    assert windows(user, "needle") == [50, 50, 20]


def test_search_window_counts_letters_of_conversation(user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 50}
    long_rows(user, 40, "Größe", thread_position=20)

    sizes = windows(user, "needle")
    assert sum(sizes) == 40
    assert max(sizes) <= 3


def test_page_offers_to_search_older_messages(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 10}
    long_rows(user, 5, "é" * 9000)

    assert "Search older messages" in client.get("/messages/", {"q": "needle"}).text


# Highlighting


@pytest.mark.parametrize(
    ("text", "q", "marked"),
    [
        ("Fahrt ÜBER Land", "über", ["ÜBER"]),
        ("Straße und STRASSE", "strasse", ["Straße", "STRASSE"]),
        ("ein ﬁnger", "fin", ["ﬁn"]),
        ("ein ﬁnger", "i", ["i", "ﬁ"]),
        ("e\u0301te\u0301", "ete", ["e\u0301te\u0301"]),
        ("co\u00adop", "coop", ["co\u00adop"]),
        ("one\n two", '"one two"', ["one\n two"]),
        ("İİi", "i", ["İ", "İ", "i"]),
        ("カ\u3099", "ガ", ["カ\u3099"]),
        ("<b>&amp;</b> é", "<b> &amp;", ["<b>", "&amp;"]),
        ("nightly", "night nightly", ["nightly"]),
        ("nothing", "x", []),
    ],
)
def test_matches_are_highlighted(text, q, marked):
    shown = highlight(text, terms(q))

    assert [
        html.unescape(piece) for piece in re.findall("<mark>(.*?)</mark>", shown, re.DOTALL)
    ] == marked
    assert html.unescape(re.sub("</?mark>", "", shown)) == text


@fuzz(200)
@given(odd_texts, st.data())
def test_matches_fold_to_search_words(text, data):
    words = [*map(fold, text.split()[:3]), data.draw(st.sampled_from(["a", "ss", "<", "&"]))]
    words = [word for word in words if word]
    end = 0
    for start, stop in find_matches(text, words):
        assert end <= start < stop <= len(text)
        end = stop
    shown = highlight(text, words)
    assert html.unescape(re.sub("</?mark>", "", shown)) == html.unescape(html.escape(text))
    assert bool(find_matches(text, words)) == bool(find_first_match(text, words))


@pytest.mark.parametrize("before", ["hay ", "ﬀ ", "e\u0301 ", "ß "])
def test_excerpt_contains_match(before):
    message = Message(level=INFO, message=before * 900 + "ÜBER " + "hay " * 90)

    assert "ÜBER" in excerpt(message, ["uber"])


# Visible text


@pytest.mark.parametrize(
    "text", ["", " ", "\u200b", "\u00ad\u202e", "\u3164", "\u2800", "\n\t", "\u0301"]
)
def test_invisible_characters_are_not_visible_text(text):
    assert not has_visible_text(text)


@pytest.mark.parametrize("text", ["a", ".", "🎉", "\u200bа", "1", "e\u0301", "한"])
def test_visible_characters_are_visible_text(text):
    assert has_visible_text(text)


@fuzz(100)
@given(odd_texts)
def test_plain_text_of_escaped_text_is_original_text(text):
    assert to_plain_text(html.escape(text)) in (text.strip(), html.escape(text))
