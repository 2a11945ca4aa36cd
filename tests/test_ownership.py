"""Every URL, method, user and mode, from the URLconf, so that new views are tested, too.

Nobody but the owner can read or change anything. The owner can change only the own mailbox, except
by sending a letter, and only with POST, except by opening a message.
"""

import re
from functools import partial
from itertools import product

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from persistent_messages import INFO, Folder, send_letter, send_message
from persistent_messages.letters import policy
from persistent_messages.letters.reports import report
from persistent_messages.models import Block, Message, Report

from .pages import ALL, ANYBODYS, BOOSTED, HTMX, undo_token
from .plans import PLANS, app_statements

METHODS = ("get", "head", "options", "put", "patch", "delete", "post")
WAYS = {"plain": {}, "htmx": HTMX, "boosted": BOOSTED}
SECRET = "xyzzy-"  # the beginning of every word that only the owner may see
OPENING = "message_detail"
# The only thing an owner may do to other mailboxes: reply.
WRITING = {"message_reply"}


class Site:
    """Create Sally's mailbox with messages of every kind, and other users."""

    def __init__(self, owner):
        people = get_user_model().objects
        self.owner = owner
        self.other = people.create_user("harry")
        self.sender = people.create_user("ida")
        self.staff = people.create_user("mara", is_staff=True, is_superuser=True)
        third = people.create_user(f"{SECRET}third")
        policy.block(owner, third)
        for folder in (Folder.INBOX, Folder.ARCHIVE, Folder.TRASH):
            Message.objects.create(
                user=owner,
                folder=folder,
                level=INFO,
                subject=f"{SECRET}subject",
                message=f"{SECRET}text",
                moved_at=timezone.now(),
                trashed_at=timezone.now() if folder == Folder.TRASH else None,
                url=f"/project/?{SECRET}",
            )
        sent = send_letter(self.sender, owner, f"{SECRET}rota", f"{SECRET}letter")
        self.letter = Message.objects.get(user=owner, letter=sent.letter)
        Message.objects.filter(pk=self.letter.pk).update(url=f"/project/?{SECRET}")
        report(owner, self.letter, f"{SECRET}reason")
        send_message([self.other, self.sender, self.staff], INFO, "Of their own")

    def browser(self, who):
        browser = Client()
        if who != "anonymous":
            browser.force_login(getattr(self, who))
        return browser

    def address(self, name, message):
        given = {
            "message_id": lambda: message.pk,
            "block_id": lambda: Block.objects.get().pk,
            "token": lambda: undo_token(message),
        }
        return reverse(name, kwargs={key: given[key]() for key in ALL[name]})

    def ask(self, *asked):
        return self.request(*asked)()

    def request(self, browser, method, name, way, message):
        query = "?quote=1&q=&box=inbox&to=&after=0"
        data = {
            "ids": list(Message.objects.values_list("pk", flat=True)),
            "do": "delete",
            "final": "1",
            "newest": "9" * 18,
            "message": "An answer",
            "pm-part": ["list", "strip", "counter", "latest"],
            "pm-row": [message.pk],
            "pm-notice": [message.pk],
            "pm-from": "row",
        }
        sent = {"data": data} if method == "post" else {}
        url = self.address(name, message) + query
        return partial(getattr(browser, method), url, headers=WAYS[way], **sent)


@pytest.fixture
def site(user, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    return Site(user)


def state(*models, **of):
    return [list(model.objects.filter(**of).order_by("pk").values()) for model in models]


def response_contents(response):
    """Return everything in a response: its body, its headers, its cookies."""
    return f"{response.headers} {response.cookies} {getattr(response, 'text', '')}"


@pytest.mark.parametrize("who", ["anonymous", "other", "sender", "staff"])
@pytest.mark.parametrize("name", ALL)
def test_other_users_cannot_read_or_change_mailbox(site, name, who):
    browser, owner = site.browser(who), {"user": site.owner}
    before = [state(Message, **owner), state(Block, Report)]

    for message in Message.objects.filter(**owner):
        for method, way in product(METHODS, WAYS):
            answer = site.ask(browser, method, name, way, message)
            what = f"{method} {way} {message.folder}: {answer.status_code}"
            # The log-in page has the requested URL, which the visitor already knows.
            assert SECRET not in response_contents(answer), what
            if who == "anonymous" and name not in ANYBODYS:
                assert answer.status_code in {200, 302, 405}, what
                assert not getattr(answer, "text", ""), what
            if who != "anonymous" and ALL[name]:
                # Requests by the app's own elements get a fragment, even on a boosted page.
                swapped = way == "htmx" or (way == "boosted" and method == "post")
                assert answer.status_code in {302, 400, 404, 405} or swapped, what

    assert [state(Message, **owner), state(Block, Report)] == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ALL)
def test_owner_changes_own_mailbox_and_only_by_post(site, name, way):
    browser, message = site.browser("owner"), site.letter
    owner = {"user": site.owner}
    others = [{"user": person} for person in (site.other, site.sender, site.staff)]
    before = state(Message, **owner), state(Block, Report)
    before_of_others = [state(Message, **of) for of in others]

    for method in METHODS[:-1]:
        if (name, method) != (OPENING, "get"):
            site.ask(browser, method, name, way, message)
            assert (state(Message, **owner), state(Block, Report)) == before, method
    site.ask(browser, "post", name, way, message)

    if name not in WRITING:
        assert [state(Message, **of) for of in others] == before_of_others


@pytest.mark.parametrize("name", [n for n, takes in ALL.items() if "message_id" in takes])
def test_missing_and_foreign_messages_have_same_response(site, name):
    """Otherwise, trying numbers would reveal which messages exist."""
    # With the same number of digits, because the response may contain the requested number.
    browser, taken = site.browser("other"), {*Message.objects.values_list("pk", flat=True)}
    # A free number with the same number of digits.
    highest = int("9" * len(str(site.letter.pk)))
    nobodys = Message(pk=next(pk for pk in range(highest, 0, -1) if pk not in taken))

    for method, way in product(METHODS, WAYS):
        foreign = site.ask(browser, method, name, way, site.letter)
        missing = site.ask(browser, method, name, way, nobodys)
        assert foreign.status_code == missing.status_code, (method, way)
        for answer in (foreign, missing):
            answer.headers.pop("Expires", None)  # the time of each
        assert foreign.headers == missing.headers, (method, way)


# Code that starts from a mailbox filters by its owner, so that the planner needs only one partition
# of a table that is partitioned by user.
TABLES = re.compile(rf"(?:FROM|UPDATE|JOIN) .{Message._meta.db_table}.")
OWNERS = re.compile(r".user_id. (?:= \(?\d|IN \(\d)")


def statements_without_owner(queries, mailboxes=1):
    """Return the statements on the table that do not name the owner of a mailbox."""
    found = [sql for sql in app_statements(queries) if not sql.startswith("INSERT")]
    return [
        sql
        for sql in found
        if len(TABLES.findall(sql)) > len(OWNERS.findall(sql))
        or len(PLANS[connection.vendor](sql)["tables"]) > mailboxes
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ALL)
def test_each_statement_of_page_filters_by_owner(site, name, way):
    browser, wrong = site.browser("owner"), []

    messages = Message.objects.filter(user=site.owner)
    for message in messages if "message_id" in ALL[name] else messages[:1]:
        for method in ("get", "post"):
            ask = site.request(browser, method, name, way, message)
            with CaptureQueriesContext(connection) as queries:
                ask()
            wrong += statements_without_owner(queries, 2 if name in WRITING else 1)

    assert wrong == []


def test_statements_of_reply_to_notice_filter_by_owner(site):
    send_message(site.owner, INFO, "Can you?", from_user=site.other)
    notice = Message.objects.latest("pk")

    with CaptureQueriesContext(connection) as queries:
        send_letter(site.owner, None, "", "Yes.", notice)

    assert statements_without_owner(queries, 2) == []


def test_statements_of_one_shot_messages_filter_by_owner(site):
    browser = site.browser("owner")

    with CaptureQueriesContext(connection) as queries:
        browser.post(reverse("message_mark_all_read"), {"newest": "9"})
        browser.get(reverse("message_list"))

    assert any(sql.startswith("DELETE") for sql in app_statements(queries))
    assert statements_without_owner(queries) == []
