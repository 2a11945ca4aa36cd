"""The reference of the documentation is complete, and has nothing that does not exist."""

import inspect
import re
from dataclasses import fields

import pytest
from django.core.management import get_commands
from django.dispatch import Signal
from django.template import engines
from django.urls import reverse

import persistent_messages
from persistent_messages import signals, storage
from persistent_messages.conf import Config
from persistent_messages.constants import DEFAULT_LEVELS
from persistent_messages.models import Message
from persistent_messages.notices import Notice
from persistent_messages.templatetags.persistent_messages import register
from persistent_messages.urls import urlpatterns

from .documentation import ROOT, blocks_in, first_column, read

PACKAGE = ROOT / "persistent_messages"
REFERENCE = "docs/reference"


def source(pattern):
    paths = sorted(PACKAGE.rglob(pattern))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def terms(name):
    """Return the terms in the definition lists of a page."""
    lines = re.findall(r"^(`.*`)\n: ", read(name), re.MULTILINE)
    return [term for line in lines for term in re.findall("`([^`]+)`", line)]


def test_settings_are_documented_with_defaults():
    page = f"{REFERENCE}/settings.md"
    [block] = [block for block in blocks_in("python") if block.page == page]
    given = {}
    exec(block.text, given)

    defaults = {field.name: field.default for field in fields(Config)}
    listed = given["PERSISTENT_MESSAGES"]
    listed["CHANNELS"] = tuple(listed["CHANNELS"])
    assert list(listed.items()) == list(defaults.items())
    assert {*terms(page)} > {*defaults}


def test_urls_are_documented():
    listed = re.findall(
        r"^\| `(message_\w+)` \| (?:`([^`]*)`)? *\|", read(f"{REFERENCE}/urls.md"), re.MULTILINE
    )

    assert sorted(listed) == sorted((each.name, str(each.pattern)) for each in urlpatterns)


def test_checks_are_documented():
    ids = re.findall(r'"(persistent_messages\.[EW]\d{3})"', source("*.py"))

    assert sorted(first_column(f"{REFERENCE}/checks.md")) == sorted({*ids})


def test_css_properties_are_documented_with_defaults():
    sheet = source("persistent_messages.css")
    [root] = re.findall(r":where\(:root\) \{\n(.*?)\n\}", sheet, re.DOTALL)
    listed = re.findall(
        r"^\| `(--[\w-]+)` \| `(.*?)` \|", read(f"{REFERENCE}/css.md"), re.MULTILINE
    )

    assert listed == re.findall(r"(--[\w-]+): (.*?);", root)


def test_keyboard_shortcuts_are_documented():
    page = (PACKAGE / "templates/persistent_messages/message/includes/toasts.html").read_text(
        "utf-8"
    )
    keys = re.findall(r"<kbd>(?:\{% translate \"(\w+)\".*?%\}|(.+?))</kbd>", page)

    assert sorted({*first_column(f"{REFERENCE}/keys.md")}) == sorted(
        {word or key for word, key in keys}
    )


def test_templates_are_documented():
    folder = PACKAGE / "templates" / "persistent_messages"
    templates = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    listed = [name for name in first_column(f"{REFERENCE}/templates.md") if "." in name]

    assert sorted(listed) == sorted(templates)


@pytest.mark.parametrize("name", ["messages", "inbox", "thread", "letter"])
def test_partials_are_documented(name):
    path = f"persistent_messages/message/includes/{name}.html"
    text = (PACKAGE / "templates" / path).read_text("utf-8")
    page = read(f"{REFERENCE}/templates.md")
    [described] = re.findall(rf"^\| `message/includes/{name}.html` .*$", page, re.MULTILINE)
    described += "".join(
        re.findall(rf"`{name}.html` has(?: the partials)?(.*?)[;.]", page, re.DOTALL)
    )

    partials = re.findall(r"\{% partialdef (\w+)", text)
    assert partials
    assert [each for each in partials if f"`{each}`" not in described] == []
    assert engines["django"].get_template(path)


def test_blocks_of_base_template_are_documented():
    frame = (PACKAGE / "templates/persistent_messages/base.html").read_text("utf-8")
    blocks = {*re.findall(r"\{% block (pm_\w+) %\}", frame)}

    assert {*first_column(f"{REFERENCE}/templates.md", "## Blocks")[: len(blocks)]} == blocks


def test_template_tags_and_filters_are_documented():
    text = read(f"{REFERENCE}/tags.md")
    names = {*register.tags, *register.filters} - {"startpartial"}  # an old name of partialdef

    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
    described = re.findall(r"\{% (?!load)(\w+)|\|(\w+) *\}\}", text)
    assert {word for pair in described for word in pair if word} <= names


def test_signals_are_documented():
    names = {name for name, value in vars(signals).items() if isinstance(value, Signal)}

    assert {*first_column(f"{REFERENCE}/signals.md")} == names


def test_commands_are_documented():
    commands = [name for name, app in get_commands().items() if app == "persistent_messages"]

    headings = re.findall(r"^## `(\w+)`", read(f"{REFERENCE}/commands.md"), re.MULTILINE)
    assert sorted(headings) == sorted(commands)


def test_public_names_are_documented():
    pages = read(f"{REFERENCE}/api.md") + read(f"{REFERENCE}/signals.md")
    names = [*persistent_messages.__all__, "Channel", "Notice"]

    assert [name for name in names if not re.search(rf"\b{name}\b", pages)] == []


def test_levels_are_documented_with_numbers():
    page = f"{REFERENCE}/api.md"
    listed = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|", read(page), re.MULTILINE)

    assert {name: int(level) for name, level, _ in listed} == DEFAULT_LEVELS
    assert all(int(level) == int(base) + 100 for _, level, base in listed)


@pytest.mark.parametrize(
    ("name", "heading", "function"),
    [
        ("docs/guides/messages.md", "| argument", persistent_messages.add_message),
        ("docs/guides/notices.md", "| attribute", Notice),
    ],
)
def test_arguments_are_documented(name, heading, function):
    table = read(name).partition(heading)[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)

    if inspect.isclass(function):
        public = [name for name in vars(function) if not name.startswith("_")]
        named = [name for name in public if not inspect.isroutine(getattr(function, name))]
    else:
        named = [name for name in inspect.signature(function).parameters if name != "request"]
    assert sorted(listed) == sorted(named)


def test_storage_methods_are_documented():
    methods = {
        name for name in vars(storage.PersistentMessageStorage) if re.match(r"(get_|count_)", name)
    }
    assert {*first_column(f"{REFERENCE}/storage.md")} == methods


def test_documented_message_attributes_exist():
    names = [name.partition(".")[2] for name in first_column(f"{REFERENCE}/message.md")]
    message = Message(level=120, message="Hello")

    assert len(names) > 25
    assert [name for name in names if not hasattr(message, name)] == []


def test_pages_open_to_visitors_are_documented(visitor):
    values = {"message_id": 1, "block_id": 1, "token": "x"}
    answered = set()
    for each in urlpatterns:
        given = {name: values[name] for name in each.pattern.converters}
        response = visitor.get(reverse(each.name, kwargs=given))
        if not response.headers.get("Location", "").startswith(reverse("login")):
            answered.add(each.name)

    sentence = re.search(r"Only (.*?) answer visitors", read(f"{REFERENCE}/urls.md"), re.DOTALL)
    assert {*re.findall(r"`(\w+)`", sentence[1])} == answered
