"""The translation catalogs, and the strings in the sources that they translate."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from django.utils.translation.template import templatize

import persistent_messages

PACKAGE = Path(persistent_messages.__file__).parent
LOCALE = PACKAGE / "locale"
DEMO = PACKAGE.parent / "demo"

# Language codes, and the directories of their catalogs.
LANGUAGES = {
    "ar": "ar",
    "de": "de",
    "es": "es",
    "fr": "fr",
    "ja": "ja",
    "pt-br": "pt_BR",
    "zh-hans": "zh_Hans",
}


# Reading the catalogs


class Key(NamedTuple):
    """The key of a string in a catalog."""

    context: str | None
    text: str
    plural: str | None


class Entry(NamedTuple):
    key: Key
    forms: list[str]
    flags: str


def po_path(code, locale=LOCALE):
    return locale / LANGUAGES[code] / "LC_MESSAGES" / "django.po"


def read_po(text):
    """Return the entries of a catalog, its header first; fail at an unknown line."""
    entries = []
    for block in re.split(r"\n\s*\n", text.strip()):
        strings, flags, name = {}, "", None
        for line in block.splitlines():
            if line.startswith("#,"):
                flags += line
            elif match := re.fullmatch(r'(?:(msg\w+(?:\[\d\])?) )?(".*")', line):
                name = match[1] or name
                strings[name] = strings.get(name, "") + ast.literal_eval(match[2])
            else:
                raise AssertionError(f"What is {line!r}?")
        forms = [said for name, said in strings.items() if name.startswith("msgstr")]
        key = Key(strings.get("msgctxt"), strings["msgid"], strings.get("msgid_plural"))
        entries.append(Entry(key, forms, flags))
    return entries


def entries(code, locale=LOCALE):
    header, *others = read_po(po_path(code, locale).read_text(encoding="utf-8"))
    assert header.key == Key(None, "", None)
    return others


# Reading the sources

PLAIN = {"_", "gettext", "gettext_lazy", "gettext_noop"}
PLURAL = {"ngettext", "ngettext_lazy"}
WITH_CONTEXT = {"pgettext", "pgettext_lazy"}
BOTH = {"npgettext", "npgettext_lazy"}
LOOKUPS = PLAIN | PLURAL | WITH_CONTEXT | BOTH
LITERAL = r"""[ru]?(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""


def key_of(name, words):
    context = words.pop(0) if name in WITH_CONTEXT | BOTH else None
    plural = words[1] if name in PLURAL | BOTH else None
    return Key(context, words[0], plural)


def strings_in_python(source):
    """Yield the keys of all gettext calls; fail if an argument is not a literal."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in LOOKUPS:
            taken = 1 + (name in PLURAL | BOTH) + (name in WITH_CONTEXT | BOTH)
            yield key_of(name, [ast.literal_eval(argument) for argument in node.args[:taken]])


def strings_in_template(source):
    """Yield the keys of all tags and `_("…")` in a template, as makemessages finds them."""
    call = re.compile(rf"\b({'|'.join(LOOKUPS)})\(((?:\s*{LITERAL}\s*,?)+)")
    for match in call.finditer(templatize(source)):
        yield key_of(match[1], [ast.literal_eval(word) for word in re.findall(LITERAL, match[2])])


@cache
def strings_of_the_sources(locale=LOCALE):
    """Return the keys in code and templates that the catalogs in `locale` translate."""
    code, pages = locale.parent, (PACKAGE if locale == LOCALE else PACKAGE.parent) / "templates"
    found = set()
    for path in code.rglob("*.py"):
        found.update(strings_in_python(path.read_text(encoding="utf-8")))
    for path in (*pages.rglob("*.html"), *pages.rglob("*.txt")):
        found.update(strings_in_template(path.read_text(encoding="utf-8")))
    return frozenset(found)
