"""Request pages, and find elements in them."""

import json
from collections import Counter
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from bs4 import BeautifulSoup, Tag
from bs4.element import PreformattedString
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from persistent_messages import Folder
from persistent_messages.inbox import bulk_actions
from persistent_messages.mailbox import Change, undo_tokens
from persistent_messages.models import Message
from persistent_messages.urls import urlpatterns

HTMX = {"HX-Request": "true"}
BOOSTED = {**HTMX, "HX-Boosted": "true"}
RESTORED = {**HTMX, "HX-History-Restore-Request": "true"}
WHOLE = {**HTMX, "HX-Request-Type": "full"}
MODES = {"plain": {}, "htmx": HTMX, "boosted": BOOSTED, "restored": RESTORED, "full": WHOLE}
PAGES = {mode: headers for mode, headers in MODES.items() if mode != "htmx"}

# Every URL and its arguments, from the URLconf. A new view is tested automatically, as one that
# changes something.
ALL = {pattern.name: set(pattern.pattern.converters) for pattern in urlpatterns}
# The views of letters are in tests/views/test_letters.py, because they need more than a message.
LETTERS = tuple(p.name for p in urlpatterns if p.callback.__module__.endswith(".views.letters"))
# The views of preferences are in tests/views/test_preferences.py.
PREFERENCES = ("message_preferences", "message_export", "message_unsubscribe")
# The stream of events is not a page; its tests are in tests/live.
ELSEWHERE = (*LETTERS, *PREFERENCES, "message_events")
TAKES = {name: takes for name, takes in ALL.items() if name not in ELSEWHERE}
READING = ("message_list", "message_detail", "message_latest", "message_news")
# These do not require a log-in, because they neither read nor write messages.
ANYBODYS = ("message_dismiss", "message_events", "message_token", "message_unsubscribe")
CHANGING = tuple(name for name in TAKES if name not in READING + ANYBODYS)
# These do not ask a single question.
ASKING = tuple(name for name in CHANGING if name not in ("message_bulk", "message_go_on"))
ON_ONE = tuple(name for name in CHANGING if "message_id" in TAKES[name])
ON_ALL = ("message_mark_all_read", "message_delete_all")

ABSURD = (
    "abc",
    "-1",
    "",
    "1.5",
    "9" * 20,
    "9" * 5000,
    "١٢",
    "²",
    "1\x00",
    "\x00",
    " 1",
    "0x1",
    "1_0",
)


# Requests


def browser_of(user, **kwargs):
    """Return a client in which `user` is logged in."""
    browser = Client(**kwargs)
    browser.force_login(user)
    return browser


def undo_token(message):
    """Return a token that marks a read message as unread again."""
    change = Change("read", Folder(message.folder), message.read_at or timezone.now(), count=1)
    return undo_tokens.make_token(message.user, change)


def address(name, message=None, **query):
    given = {
        "message_id": lambda: message.pk,
        "token": lambda: undo_token(message),
    }
    return reverse(name, kwargs={key: given[key]() for key in TAKES[name]}, query=query)


def ask(browser, method, name, message=None, headers=None, data=None, **query):
    url = address(name, message, **query)
    return getattr(browser, method)(url, data=data, headers=headers or {})


def prepare(name, message):
    """Prepare `message` for the view `name`; return the data to post."""
    now = timezone.now()
    state = {
        "message_mark_unread": {"read_at": now},
        "message_undo": {"read_at": now},
        "message_restore": {"folder": Folder.ARCHIVE, "moved_at": now},
        "message_open": {"url": "/project/"},
    }
    if name in state:
        Message.objects.filter(pk=message.pk).update(**state[name])
        message.refresh_from_db()
    if name == "message_go_on":
        task = bulk_actions.BulkAction.of_rows("read", Folder(message.folder), {message.pk})
        return {"token": bulk_actions.make_token(message.user, task)}
    return {"ids": [message.pk], "do": "read"} if name == "message_bulk" else {}


def is_changed(message, name):
    """Return whether the view `name` has changed `message`."""
    message.refresh_from_db()
    folder, read = {
        "message_mark_unread": (Folder.INBOX, False),
        "message_undo": (Folder.INBOX, False),
        "message_archive": (Folder.ARCHIVE, False),
        "message_restore": (Folder.INBOX, False),
        "message_delete": (Folder.TRASH, False),
        "message_delete_all": (Folder.TRASH, False),
    }.get(name, (Folder.INBOX, True))
    moved = message.moved_at is not None
    away = folder in {Folder.ARCHIVE, Folder.TRASH}
    return (message.folder, message.read, moved) == (folder, read, away)


def act(browser, name, message=None, *parts, **data):
    """Post as a page with `parts` does with htmx; `row=True` includes the row."""
    if data.pop("row", False):
        data["pm-row"] = [message.pk]
    return ask(browser, "post", name, message, HTMX, {"pm-part": list(parts), **data})


def fill(user, count, **fields):
    """Add `count` messages to a mailbox; return the keys, newest first."""
    fields = {"folder": Folder.INBOX, "level": 120, **fields}
    if fields["folder"] == Folder.TRASH:
        fields.setdefault("trashed_at", timezone.now())
    Message.objects.bulk_create(
        Message(user=user, **{"message": f"Number {number}", **fields}) for number in range(count)
    )
    found = Message.objects.filter(user=user).order_by("-pk")[:count]
    return [message.pk for message in found]


def fill_every_folder(user, levels):
    """Add two messages of each level to each folder, one of them read."""
    now = timezone.now()
    for folder in (Folder.INBOX, Folder.ARCHIVE, Folder.SENT, Folder.TRASH):
        away = {"moved_at": now} if folder in {Folder.ARCHIVE, Folder.TRASH} else {}
        sent = (
            {"from_user": user, "letter": uuid4(), "to_name": "Harry"}
            if folder == Folder.SENT
            else {}
        )
        for level in levels:
            for read in ({}, {"read_at": now}):
                text = "The disk quota was reached."
                fill(user, 1, folder=folder, level=level, message=text, **away, **sent, **read)


def listed_texts(user, folder):
    """Return the texts of the rows in the list of a folder."""
    rows = Message.objects.owned_by(user).in_folder(folder).thread_heads()
    return [row.message for row in rows]


def rows_by_folder(user):
    """Return the number of rows in each folder of a mailbox."""
    return dict(Counter(Message.objects.owned_by(user).values_list("folder", flat=True)))


def count_heads():
    """Return the number of thread heads of each conversation in each folder and mailbox."""
    rows = Message.objects.exclude(thread=None).filter(superseded_by=None)
    return Counter(rows.values_list("user", "folder", "thread"))


def thread_parts():
    """Return each conversation in each folder and mailbox."""
    return set(Message.objects.exclude(thread=None).values_list("user", "folder", "thread"))


def mailbox_rows(user):
    """Return all rows of a mailbox, to compare them later."""
    return list(Message.objects.filter(user=user).order_by("pk").values())


# Elements


def soup(page):
    """Parse a page, which may be a response, HTML, or a parsed element.

    The content of `<template>` elements is removed, because it is not displayed.
    """
    if isinstance(page, Tag):
        return page
    return _parsed(page if isinstance(page, str) else page.text)


@lru_cache(8)  # a test often looks at the same page several times
def _parsed(html):
    found = BeautifulSoup(html, "html.parser", multi_valued_attributes=None)
    for template in found.find_all("template"):
        template.clear()
    return found


def text_of(element):
    """Return the visible text of an element."""
    shown = [child for child in element.children if not is_hidden(child)]
    parts = [text_of(child) if isinstance(child, Tag) else child for child in shown]
    return " ".join(" ".join(parts).split())


def is_hidden(child):
    if isinstance(child, Tag):
        return child.has_attr("hidden")
    return isinstance(child, PreformattedString)  # such as a comment


def texts(page, selector):
    return [text_of(element) for element in soup(page).select(selector)]


def outermost(response):
    """Return the top-level elements."""
    return soup(response).find_all(recursive=False)


def rows(page):
    """Return the keys of the rows in the inbox."""
    found = soup(page).select("[data-pm-message]")
    return [int(element["data-pm-message"]) for element in found]


def messages_on(page):
    """Return the messages of the rows in the inbox."""
    found = Message.objects.in_bulk(rows(page))
    return [found[key] for key in rows(page)]


def canonical(url):
    """Return a URL without empty parameters."""
    parts = urlsplit(url)
    return parts.path, parse_qs(parts.query)


def older_link(page):
    return next((e for e in soup(page).select(".pm-more") if e.name == "a"), None)


def swaps(response):
    """Return the values of `hx-swap-oob` in a response."""
    return [element["hx-swap-oob"] for element in soup(response).select("[hx-swap-oob]")]


def is_page(response):
    return b"<html" in response.content


def announced_unread(response):
    return json.loads(response["HX-Trigger"])["pm:changed"]["unread"]


def values_of(page, name):
    """Return the values of the fields with this name, in order."""
    return [element.get("value") for element in soup(page).find_all(attrs={"name": name})]


def form_to(page, action):
    """Return the form that posts to a URL itself or with one of its buttons."""
    for form in soup(page).select("form"):
        if action in [form.get("action"), *map(formaction, soup(form).select("button"))]:
            return form
    raise AssertionError(f"no form posts to {action}")


def formaction(button):
    return button.get("formaction")


def fields_of(form, tick=()):
    """Return the data of a form in which the messages `tick` are selected."""
    sent = {}
    for element in soup(form).select("input"):
        field = element.attrs
        ticked = field.get("type") != "checkbox" or int(field.get("value", 0)) in tick
        # A field with an attribute `form` belongs to another form.
        if field.get("name") and ticked and "disabled" not in field and "form" not in field:
            sent.setdefault(field["name"], []).append(field.get("value", ""))
    return sent


def included_fields(page, selector):
    """Return the values that `hx-include` adds: the parts of the page."""
    sent, wanted = {}, {name.strip().removeprefix(".") for name in selector.split(",")}
    for element in soup(page).find_all(True):
        if wanted & set(element.get("class", "").split()) and "name" in element.attrs:
            # The value of an output is its text.
            value = element.get("value") or text_of(element)
            sent.setdefault(element["name"], []).append(value)
    return sent


def press(browser, page, button, tick=(), here="/messages/"):
    """Press a button as htmx does: its own values override its form, and that its includes."""
    control = button.attrs
    (form,) = [form for form in soup(page).select("form") if button in form.select("button")]
    control = {**form.attrs, **control}
    data = {**included_fields(page, control["hx-include"]), **fields_of(form, tick)}
    if "name" in button.attrs:
        data[control["name"]] = control["value"]
    data.update(json.loads(control.get("hx-vals") or "{}"))
    headers = {**HTMX, "HX-Current-URL": f"http://testserver{here}"}
    return browser.post(control["hx-post"], data, headers=headers)


def button_of(page, action, **wanted):
    """Return the button that posts to a URL with htmx."""
    whole = soup(page)
    for form in [whole] if whole.name == "form" else whole.select("form"):
        for button in form.select("button"):
            control = {**form.attrs, **button.attrs}
            if control.get("hx-post") == action and wanted.items() <= control.items():
                return button
    raise AssertionError(f"no button posts to {action}")


def log_in_of(response):
    """Return the `next` of a redirect to the log-in page; fail for any other response."""
    target = urlsplit(response.get("HX-Redirect") or response["Location"])
    assert target.path == reverse("login")
    assert b"<html" not in response.content
    (back,) = parse_qs(target.query)["next"]
    return back
