"""The translation catalogs: complete, compiled, correct plurals, and used on the pages."""

import gettext
import re

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.urls import reverse
from django.utils import translation

from persistent_messages.labels import BOX_NAMES

from .catalogs import (
    DEMO,
    LANGUAGES,
    LOCALE,
    Entry,
    Key,
    entries,
    po_path,
    read_po,
    strings_in_python,
    strings_in_template,
    strings_of_the_sources,
)
from .pages import soup

BOXES = {
    "ar": ["البريد الوارد", "غير مقروءة", "الأرشيف", "البريد المرسل", "المهملات"],
    "de": ["Posteingang", "Ungelesen", "Archiv", "Gesendet", "Papierkorb"],
    "es": ["Bandeja de entrada", "No leídos", "Archivo", "Enviados", "Papelera"],
    "fr": ["Boîte de réception", "Non lus", "Archives", "Envoyés", "Corbeille"],
    "ja": ["受信トレイ", "未読", "アーカイブ", "送信済み", "ゴミ箱"],
    "pt-br": ["Caixa de entrada", "Não lidas", "Arquivo", "Enviadas", "Lixeira"],
    "zh-hans": ["收件箱", "未读", "归档", "已发送", "回收站"],
}
QUOTES = {
    "ar": "«»",
    "de": "„“",
    "es": "«»",
    "fr": "«»",
    "ja": "「」",
    "pt-br": "“”",
    "zh-hans": "“”",
}
# Together, these numbers use every plural form of every language.
COUNTS = (0, 1, 2, 3, 11, 100, 1_000_000)
# Arabic expresses zero, one and two without a number.
NUMBERLESS = {"ar": (0, 1, 2)}

each_language = pytest.mark.parametrize("code", LANGUAGES)
each_catalog = pytest.mark.parametrize("locale", [LOCALE, DEMO / "locale"], ids=["app", "demo"])


# The files of the catalogs


@each_catalog
def test_catalogs_exist_for_seven_languages(locale):
    assert {path.name for path in locale.iterdir()} == set(LANGUAGES.values())


@each_catalog
@each_language
def test_each_source_string_is_in_catalog(code, locale):
    assert strings_of_the_sources(locale) - {entry.key for entry in entries(code, locale)} == set()


@each_catalog
@each_language
def test_each_catalog_string_is_in_sources(code, locale):
    assert {entry.key for entry in entries(code, locale)} - strings_of_the_sources(locale) == set()


@each_catalog
@each_language
def test_each_string_is_translated(code, locale):
    unsaid = [
        entry.key.text for entry in entries(code, locale) if not all(map(str.strip, entry.forms))
    ]
    assert unsaid == []


@each_catalog
@each_language
def test_no_translation_is_fuzzy_or_obsolete(code, locale):
    text = po_path(code, locale).read_text(encoding="utf-8")
    assert [entry.key.text for entry in read_po(text) if "fuzzy" in entry.flags] == []
    assert "#~" not in text


@each_catalog
@each_language
def test_catalog_header_names_language_and_no_person(code, locale):
    [header] = read_po(po_path(code, locale).read_text(encoding="utf-8").split("\n\n")[0])[0].forms
    fields = dict(line.split(": ", 1) for line in header.splitlines())
    assert fields["Language"] == LANGUAGES[code]
    assert fields["Content-Type"] == "text/plain; charset=UTF-8"
    assert "Plural-Forms" in fields
    assert fields.keys().isdisjoint({"Last-Translator", "Language-Team", "PO-Revision-Date"})
    assert "@" not in header


@each_catalog
@each_language
def test_compiled_catalog_equals_source_catalog(code, locale):
    expected = {}
    for key, forms, _flags in read_po(po_path(code, locale).read_text(encoding="utf-8")):
        text = key.text if key.context is None else f"{key.context}\x04{key.text}"
        for number, form in enumerate(forms):
            expected[text if key.plural is None else (text, number)] = form
    with po_path(code, locale).with_suffix(".mo").open("rb") as file:
        assert gettext.GNUTranslations(file)._catalog == expected


# Placeholders

PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?[-#0 +]*\d*(?:\.\d+)?([a-zA-Z%])")


def placeholders(text):
    return sorted((name or "", conversion) for name, conversion in PLACEHOLDER.findall(text))


def has_same_placeholders(said, text, *, may_lack_number):
    """Return whether `said` has the same placeholders as `text`."""
    given, wanted = placeholders(said), placeholders(text)
    named = all(name for name, _conversion in wanted)
    return set(given) <= set(wanted) if may_lack_number and named else given == wanted


@each_catalog
@each_language
def test_translation_has_placeholders_of_its_string(code, locale):
    numberless = NUMBERLESS.get(code, ())
    wrong = [
        (entry.key.text, form)
        for entry in entries(code, locale)
        for number, form in enumerate(entry.forms)
        if not has_same_placeholders(
            form,
            entry.key.plural or entry.key.text,
            may_lack_number=bool(entry.key.plural) and number in numberless,
        )
    ]
    assert wrong == []


@each_language
@pytest.mark.parametrize("count", COUNTS)
def test_plural_strings_can_be_formatted_for_any_count(code, count):
    counting = [key for key in strings_of_the_sources() if key.plural is not None]
    assert counting
    with translation.override(code):
        for context, text, plural in counting:
            if context is None:
                said = translation.ngettext(text, plural, count)
            else:
                said = translation.npgettext(context, text, plural, count)
            names = [name for name, _conversion in placeholders(plural)]
            arguments = dict.fromkeys(names, count) if all(names) else (count,) * len(names)
            # Raises an error if it has more or fewer placeholders than values.
            assert (said % arguments).strip()


@each_language
def test_translation_uses_quotes_of_its_language(code):
    opening, closing = QUOTES[code]
    quoting = [entry for entry in entries(code) if "“" in entry.key.text]
    assert quoting
    for entry in quoting:
        name = re.search(r"“(%\(\w+\)s)”", entry.key.text)[1]
        for form in entry.forms:
            # French uses no-break spaces inside.
            assert f"{opening}{name}{closing}" in form.replace("\N{NO-BREAK SPACE}", "")
            assert sorted(set(form) & set("\"'«»„“”「」")) == sorted({opening, closing})


# Plurals


def new_messages(code, count):
    with translation.override(code):
        said = translation.ngettext("%(count)s new message", "%(count)s new messages", count)
        return said % {"count": count}


@pytest.mark.parametrize(
    ("code", "count", "expected_text"),
    [
        ("ar", 0, "لا رسائل جديدة"),
        ("ar", 1, "رسالة جديدة واحدة"),
        ("ar", 2, "رسالتان جديدتان"),
        ("ar", 3, "3 رسائل جديدة"),
        ("ar", 11, "11 رسالةً جديدة"),
        ("ar", 100, "100 رسالة جديدة"),
        ("fr", 0, "0 nouveau message"),
        ("fr", 1, "1 nouveau message"),
        ("fr", 2, "2 nouveaux messages"),
        ("de", 0, "0 neue Nachrichten"),
        ("de", 1, "1 neue Nachricht"),
        ("de", 2, "2 neue Nachrichten"),
        ("es", 1, "1 mensaje nuevo"),
        ("es", 2, "2 mensajes nuevos"),
        ("es", 1_000_000, "1000000 de mensajes nuevos"),
        ("pt-br", 0, "0 mensagem nova"),
        ("pt-br", 1, "1 mensagem nova"),
        ("pt-br", 2, "2 mensagens novas"),
        ("ja", 1, "新着メッセージ1件"),
        ("ja", 2, "新着メッセージ2件"),
        ("zh-hans", 1, "1 条新消息"),
        ("zh-hans", 2, "2 条新消息"),
    ],
)
def test_count_uses_plural_form_of_language(code, count, expected_text):
    assert new_messages(code, count) == expected_text


# The pages


def text_of(element):
    parts = [child if isinstance(child, str) else text_of(child) for child in element.children]
    return " ".join(" ".join(parts).split())


def filters(response):
    """Return the names of the folders in their links."""
    nav = soup(response).select_one(".pm-filters")
    links = nav.select("a")
    return [text_of(link) for link in links][: len(BOX_NAMES)]


def in_language(client, code, url=None):
    """Request a page with the language of a browser."""
    response = client.get(url or reverse("message_list"), headers={"Accept-Language": code})
    assert response.status_code == 200
    assert response["Content-Language"] == code
    return response


@each_language
def test_inbox_shows_folder_names_in_language_of_reader(client, send, code):
    send("Hello")
    response = in_language(client, code)
    # Unread has the count, too.
    assert [name.rstrip("1 ") for name in filters(response)] == BOXES[code]
    [heading] = soup(response).select("h1")
    assert text_of(heading) == BOXES[code][0]


@each_language
def test_folder_page_has_translated_title(client, code):
    for box, name in zip(BOX_NAMES, BOXES[code], strict=True):
        response = in_language(client, code, reverse("message_list", query={"box": box}))
        [heading] = soup(response).select("h1")
        assert text_of(heading) == name


def test_language_without_catalog_falls_back_to_english(client):
    names = ["Inbox", "Unread", "Archive", "Sent", "Trash"]
    assert filters(client.get(reverse("message_list"))) == names
    response = client.get(reverse("message_list"), headers={"Accept-Language": "tlh"})
    assert filters(response) == names


def test_first_available_accepted_language_is_used(client):
    response = client.get(
        reverse("message_list"), headers={"Accept-Language": "tlh, fr-CH;q=0.9, de;q=0.5"}
    )
    assert filters(response) == BOXES["fr"]


@pytest.fixture
def without_demo_templates(settings):
    """Use only the bundled templates, as on a site without overrides."""
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]


def frame_of(response):
    [frame] = soup(response).select("html")
    return frame["lang"], frame["dir"]


@each_language
@pytest.mark.usefixtures("without_demo_templates")
def test_bundled_page_has_direction_of_language(client, code):
    direction = "rtl" if code == "ar" else "ltr"
    assert frame_of(in_language(client, code)) == (code, direction)


@each_language
@pytest.mark.usefixtures("without_demo_templates")
def test_bundled_base_template_has_language_and_direction(code):
    with translation.override(code):
        request = RequestFactory().get("/")
        html = render_to_string("persistent_messages/base.html", {"messages": []}, request)
    assert frame_of(html) == (code, "rtl" if code == "ar" else "ltr")
    [title] = soup(html).select("title")
    assert text_of(title) == BOXES[code][0]


@pytest.mark.parametrize("name", ["message_list", "home", "project", "bootstrap"])
def test_demo_is_right_to_left_in_arabic(client, name):
    assert settings.TEMPLATES[0]["DIRS"]
    assert frame_of(in_language(client, "ar", reverse(name))) == ("ar", "rtl")


@each_language
def test_demo_is_translated(client, code):
    page = in_language(client, code, reverse("project"))
    said = [
        text_of(element)
        for element in soup(page).find_all(True)
        if element.name in ("a", "button", "h1")
    ]
    with translation.override(code):
        for words in ("Project", "Skip to content", "Spring meetup"):
            assert translation.gettext(words) != words
            assert translation.gettext(words) in said


# The parsers above find what they should.


def test_strings_in_python_finds_each_gettext_function():
    source = """
_("a" "b")
translation.gettext_lazy("c")
ngettext("%d d", "%d ds", n)
pgettext("verb", "e")
npgettext("verb", "f", "fs", n)
other("g")
"""
    assert set(strings_in_python(source)) == {
        Key(None, "ab", None),
        Key(None, "c", None),
        Key(None, "%d d", "%d ds"),
        Key("verb", "e", None),
        Key("verb", "f", "fs"),
    }


def test_strings_in_python_rejects_concatenated_strings():
    with pytest.raises(ValueError, match="malformed"):
        list(strings_in_python("_('Delete ' + name)"))


def test_strings_in_template_finds_each_tag():
    source = """{% load i18n %}
{% translate "It's a" %}{% translate "b" as b %}<a title="{% translate 'c' context "verb" %}">
{% blocktranslate with name=user.name %}d “{{ name }}” 100%{% endblocktranslate %}
{% blocktranslate count n=n %}{{ n }} e{% plural %}{{ n }} es{% endblocktranslate %}
{% blocktranslate trimmed context "verb" count counter=n %}
  f
{% plural %}
  fs
{% endblocktranslate %}
{{ _("g") }}{{ value|default:_("h") }}{# {% translate "i" %} #}
{% comment %}{% translate "j" %}{% endcomment %}
"""
    assert set(strings_in_template(source)) == {
        Key(None, "It's a", None),
        Key(None, "b", None),
        Key("verb", "c", None),
        Key(None, "d “%(name)s” 100%%", None),
        Key(None, "%(n)s e", "%(n)s es"),
        Key("verb", "f", "fs"),
        Key(None, "g", None),
        Key(None, "h", None),
    }


def test_read_po_reads_all_parts_of_entry():
    text = r"""
msgid ""
msgstr ""
"Language: de\n"

#, fuzzy, python-format
msgctxt "verb"
msgid "a \"%d\""
msgid_plural ""
"as "
"%d"
msgstr[0] "b"
msgstr[1] ""
"""
    assert read_po(text) == [
        Entry(Key(None, "", None), ["Language: de\n"], ""),
        Entry(Key("verb", 'a "%d"', "as %d"), ["b", ""], "#, fuzzy, python-format"),
    ]


def test_placeholder_mismatch_is_detected():
    assert has_same_placeholders("so viele: %d", "%d many", may_lack_number=False)
    assert has_same_placeholders("keine", "%(count)s many", may_lack_number=True)
    assert not has_same_placeholders("keine", "%(count)s many", may_lack_number=False)
    assert not has_same_placeholders("keine", "%d many", may_lack_number=True)  # "%" would raise
    assert not has_same_placeholders("%s", "%d", may_lack_number=True)
    assert not has_same_placeholders("%(name)s", "%(title)s", may_lack_number=True)
