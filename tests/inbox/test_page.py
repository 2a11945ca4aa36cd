"""A page of the inbox: each part is read once, on first use, and bounded."""

from datetime import timedelta
from itertools import product

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import QueryDict
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from persistent_messages.constants import Folder
from persistent_messages.inbox import counter
from persistent_messages.inbox.counter import reset_unread_count, unread_count
from persistent_messages.inbox.filters import BOXES, LEVELS, MAX_KEY, Filter
from persistent_messages.inbox.page import InboxPage
from persistent_messages.labels import BOX_NAMES, FILTER_NAMES, LEVEL_NAMES
from persistent_messages.models import Message

pytestmark = pytest.mark.django_db

TABLE = Message._meta.db_table


@pytest.fixture
def make_inbox(user):
    """An inbox as a request of Sally's sees it."""

    def make_inbox(of=user, **place):
        request = RequestFactory().get("/")
        request.user = of
        return InboxPage(request, Filter(**place))

    return make_inbox


def fill(user, count=1, **fields):
    """Rows of a mailbox; returns them, oldest first."""
    fields = {"user": user, "folder": Folder.INBOX, "level": 120, "message": "Hello", **fields}
    Message.objects.bulk_create(Message(**fields) for _ in range(count))
    return list(Message.objects.filter(user=user).order_by("-pk")[:count])[::-1]


def cost(ask):
    with CaptureQueriesContext(connection) as queries:
        ask()
    return len(queries)


# Each part


def test_inbox_page_is_lazy(user, make_inbox, django_assert_num_queries):
    fill(user)
    with django_assert_num_queries(0):
        for box in BOXES:
            inbox = make_inbox(box=box, level="error", q="hello", before=7)
            said = [
                inbox.query,
                inbox.boxes,
                inbox.box_name,
                inbox.without_words,
                inbox.filter_name,
            ]
            assert all(said)
            assert inbox.trash_days == 30


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize(("q", "queries"), [("", 1), ("hello", 2)])
def test_messages_are_read_once(user, make_inbox, box, q, queries):
    fill(user, 60, folder=BOXES[box])
    inbox = make_inbox(box=box, q=q)
    assert cost(lambda: inbox.page) == queries
    assert len(inbox.page.messages) == 25
    parts = ("page", "older_query", "further_query", "newest")
    assert cost(lambda: [getattr(inbox, part) for part in parts]) == 0


def test_newest_is_queried_once_and_only_after_first_page(user, make_inbox):
    rows = fill(user, 3)
    first, later = make_inbox(), make_inbox(before=rows[1].pk)
    assert first.page.newest == rows[2].pk
    assert cost(lambda: first.newest) == 0
    assert cost(lambda: later.newest) == 1
    assert cost(lambda: later.newest) == 0
    assert (first.newest, later.newest) == (rows[2].pk, rows[2].pk)


def test_later_page_keeps_newest_of_first_page(user, make_inbox, settings):
    """Messages that arrived in between were on neither page, so no action on all changes them."""
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    rows = fill(user, 5)
    place = Filter.from_query(QueryDict(make_inbox().older_query[1:]))
    fill(user, 1)
    inbox = make_inbox(before=place.before, newest=place.newest)
    assert cost(lambda: inbox.newest) == 0
    assert inbox.newest == rows[4].pk
    assert inbox.older_query.endswith(f"&newest={rows[4].pk}")
    assert inbox.query == "?"


def test_search_does_not_query_newest(user, make_inbox):
    """It has no actions on all messages."""
    rows = fill(user, 3)
    inbox = make_inbox(q="hello", before=rows[2].pk)
    assert cost(lambda: inbox.page) == 2
    assert cost(lambda: inbox.newest) == 0


def test_unread_count_is_queried_once_per_request(user, make_inbox):
    fill(user, 3)
    inbox = make_inbox()
    assert cost(lambda: (inbox.unread, inbox.unread)) == 1
    again = InboxPage(inbox.request, Filter(box="unread"))
    assert cost(lambda: (inbox.unread, again.unread, unread_count(inbox.request))) == 0
    assert inbox.unread == again.unread == 3


def test_inbox_reuses_count_of_counter(user, make_inbox):
    fill(user, 3)
    inbox = make_inbox()
    assert unread_count(inbox.request) == 3
    assert cost(lambda: inbox.unread) == 0


def test_reset_unread_count_makes_next_inbox_count_again(user, make_inbox):
    fill(user, 3)
    inbox = make_inbox()
    assert inbox.unread == 3
    Message.objects.update(read_at=timezone.now())
    reset_unread_count(inbox.request)
    assert InboxPage(inbox.request, Filter()).unread == 0


@pytest.mark.parametrize("who", [AnonymousUser(), None])
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("place", [{}, {"q": "hello"}, {"level": "info"}, {"before": MAX_KEY}])
def test_visitor_gets_empty_inbox_without_query(
    user, make_inbox, who, box, place, django_assert_num_queries
):
    fill(user, folder=BOXES[box])
    inbox = make_inbox(of=who, box=box, **place)
    with django_assert_num_queries(0):
        assert inbox.page.messages == []
        assert (inbox.newest, inbox.unread, inbox.news_after(0)) == (0, 0, 0)


def test_request_without_user_gets_empty_inbox(db, django_assert_num_queries):
    """A site without the authentication middleware."""
    inbox = InboxPage(RequestFactory().get("/"), Filter())
    with django_assert_num_queries(0):
        assert (inbox.page.messages, inbox.newest, inbox.unread) == ([], 0, 0)


def test_inbox_without_filter_ignores_query_string(user):
    row = fill(user)[0]
    request = RequestFactory().get("/?box=trash")
    request.user = user
    inbox = InboxPage(request)
    assert inbox.filter == Filter()
    assert inbox.page.messages == [row]


# The page as a whole


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("q", ["", "hello"], ids=["list", "search"])
@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("swap", [False, True], ids=["page", "fragment"])
def test_page_with_strip_and_counter_takes_at_most_four_queries(
    client, user, settings, monkeypatch, box, q, later, swap
):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3, "SEARCH_WINDOW": 20, "COUNTER_LIMIT": 5}
    monkeypatch.setattr("persistent_messages.inbox.filters.topics", ["billing"])
    for level in (120, 140) * 10:
        fill(user, folder=BOXES[box], level=level, topic="billing")
    newest = Message.objects.latest("pk").pk
    found = {}
    for level, topic in product(("", "error"), ("", "billing")):
        # The link on the previous page.
        further = {"before": newest, "newest": newest} if later else {}
        place = Filter(box=box, level=level, topic=topic, q=q, **further)
        with CaptureQueriesContext(connection) as queries:
            response = client.get(
                reverse("message_list") + place.query(),
                headers={"HX-Request": "true"} if swap else {},
            )
        assert response.status_code == 200
        assert response.content.count(b'name="ids"') == 3
        assert swap or b"pm-notices" in response.content
        assert swap or b"pm-unread" in response.content
        ours = [query["sql"] for query in queries if TABLE in query["sql"]]
        assert len(queries) - len(ours) == 2, "the session, the user"
        assert all(sql.startswith("SELECT") for sql in ours)
        found[level, topic] = len(ours)
    assert max(found.values()) <= 4, found


# The bound of actions on all messages


def test_newest_is_that_of_filtered_list_on_any_page(user, make_inbox):
    """Actions on all messages only change those that existed when the page was rendered."""
    rows = fill(user, 5)
    error = fill(user, level=140)[0]
    bill = fill(user, topic="billing", read_at=timezone.now())[0]
    trash = fill(user, folder=Folder.TRASH)[0]
    read = fill(user, read_at=timezone.now())[0]
    fill(user, expires=timezone.now() - timedelta(seconds=1))
    for before in (None, rows[2].pk):
        assert make_inbox(before=before).newest == read.pk
        assert make_inbox(box="unread", before=before).newest == error.pk
        assert make_inbox(level="error").newest == error.pk
        assert make_inbox(box="trash").newest == trash.pk
    assert make_inbox(topic="billing", before=rows[2].pk).newest == bill.pk
    assert make_inbox(box="trash", before=rows[2].pk).newest == trash.pk


def test_newest_of_level_is_first_match_of_window(user, make_inbox, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 2}
    errors = fill(user, 2, level=140)
    fill(user, 3)

    first = make_inbox(level="error")
    assert (first.page.messages, first.newest) == ([], 0)
    assert "newest" not in first.further_query
    second = make_inbox(level="error", before=first.page.further)
    assert second.page.messages == errors[1:]
    assert second.newest == errors[1].pk
    assert second.further_query.endswith(f"&newest={errors[1].pk}")


@pytest.mark.parametrize("before", [None, MAX_KEY, 0])
def test_newest_excludes_messages_that_arrive_during_rendering(user, make_inbox, before):
    last = fill(user, 3)[-1]
    inbox = make_inbox(before=before)
    assert inbox.newest == last.pk
    fill(user)
    assert inbox.newest == last.pk
    if before is None:
        assert inbox.page.messages[0].pk == last.pk


@pytest.mark.parametrize("before", [None, 0, MAX_KEY])
@pytest.mark.parametrize("box", BOXES)
def test_newest_of_empty_list_is_zero(user, make_inbox, box, before):
    inbox = make_inbox(box=box, before=before)
    assert inbox.newest == 0
    fill(user, 2, folder=BOXES[box])
    assert not inbox.filter.messages_of(user).up_to(inbox.newest).exists()


# Unread messages


@pytest.mark.parametrize(
    ("count", "label"), [(0, "0"), (1, "1"), (5, "5"), (6, "5+"), (7, "5+"), (50, "5+")]
)
@pytest.mark.parametrize(
    "place", [{}, {"box": "unread"}, {"topic": "billing"}, {"before": MAX_KEY}]
)
def test_unread_count_is_limited(user, make_inbox, settings, count, label, place):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5, "PAGE_SIZE": 3}
    fill(user, count, topic="billing")
    inbox = make_inbox(**place)
    assert inbox.unread == min(count, 6)
    assert counter.count_label(inbox.unread) == label


@pytest.mark.parametrize("size", [3, 25], ids=["more", "all"])
def test_unread_count_of_topic_counts_only_topic(user, make_inbox, settings, size):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": size}
    fill(user, 2)
    fill(user, 4, topic="billing", level=140)
    fill(user, 4, topic="billing", read_at=timezone.now())
    fill(user, 5, topic="billing", folder=Folder.ARCHIVE)
    fill(user, 6, topic="billing", expires=timezone.now() - timedelta(seconds=1))
    assert make_inbox().unread == 6
    assert make_inbox(topic="billing").unread == 4
    assert make_inbox(topic="storage").unread == 0
    assert make_inbox(box="unread", topic="billing").unread == (4 if size == 25 else None)


def test_unread_count_of_level_needs_whole_level_on_page(user, make_inbox, settings):
    fill(user, 3, level=140)
    fill(user, 4, level=140, read_at=timezone.now())
    fill(user, 5)
    inbox = make_inbox(level="error")
    assert len(inbox.page.messages) == 7
    assert cost(lambda: inbox.unread) == 0
    assert inbox.unread == 3
    assert make_inbox(level="debug").unread == 0
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 5}
    assert make_inbox(level="error").unread is None
    assert make_inbox(level="error").unread_is_open
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 5}
    assert make_inbox(level="error").unread is None


def test_unread_count_query_has_limit(user, make_inbox, settings):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5, "PAGE_SIZE": 10}
    fill(user, 20, topic="billing")
    for place in ({}, {"topic": "billing"}):
        with CaptureQueriesContext(connection) as queries:
            assert make_inbox(**place).unread == 6
        assert "LIMIT 6" in queries[-1]["sql"]


@pytest.mark.parametrize("place", [{"q": "hello"}, {"box": "archive"}, {"box": "trash"}])
@pytest.mark.parametrize("level", ["", "info"])
def test_lists_without_mark_all_count_nothing(
    user, make_inbox, place, level, django_assert_num_queries
):
    for folder in (Folder.INBOX, Folder.ARCHIVE, Folder.TRASH):
        fill(user, 2, folder=folder)
    inbox = make_inbox(level=level, **place)
    with django_assert_num_queries(0):
        assert inbox.unread == 0


@pytest.mark.parametrize("box", ["inbox", "unread"])
@pytest.mark.parametrize("kind", [{"level": "info"}, {"topic": "billing"}])
def test_later_pages_of_level_or_topic_do_not_count_unread(
    user, make_inbox, box, kind, django_assert_num_queries
):
    fill(user, 3, topic="billing")
    inbox = make_inbox(box=box, **kind, before=MAX_KEY)
    with django_assert_num_queries(0):
        assert inbox.unread is None


@pytest.mark.parametrize(("count", "label"), [(0, ""), (1, "1"), (5, "5"), (6, "5+"), (50, "5+")])
@pytest.mark.parametrize("place", [{}, {"box": "trash"}, {"level": "error", "before": 7}])
def test_all_unread_has_same_label_as_counter(
    user, make_inbox, settings, count, label, place, django_assert_num_queries
):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5}
    fill(user, count)
    inbox = make_inbox(**place)
    with django_assert_num_queries(1):
        assert inbox.all_unread == label
        assert inbox.all_unread == label
        assert unread_count(inbox.request) == min(count, 6)


def test_unread_messages_of_other_users_do_not_count(user, other, make_inbox):
    fill(other, 5)
    assert (make_inbox().unread, make_inbox(level="info").unread, make_inbox(of=other).unread) == (
        0,
        0,
        5,
    )


# New messages


def test_news_after_counts_newer_messages(user, other, make_inbox):
    rows = fill(user, 5)
    fill(user, folder=Folder.ARCHIVE)
    fill(user, expires=timezone.now() - timedelta(seconds=1))
    fill(other, 5)
    assert [make_inbox().news_after(row.pk) for row in rows] == [4, 3, 2, 1, 0]
    assert make_inbox().news_after(0) == 5
    assert make_inbox().news_after(MAX_KEY) == 0


def test_news_after_follows_filter_on_any_page(user, make_inbox):
    first = fill(user)[0]
    fill(user, 2, level=140)
    fill(user, 3, read_at=timezone.now())
    fill(user, 4, folder=Folder.TRASH)
    for before in (None, 0, first.pk):
        assert make_inbox(before=before).news_after(first.pk) == 5
        assert make_inbox(level="error", before=before).news_after(first.pk) == 2
        assert make_inbox(box="unread", before=before).news_after(first.pk) == 2
        assert make_inbox(box="trash", before=before).news_after(first.pk) == 4


@pytest.mark.parametrize("place", [{}, {"box": "unread"}, {"level": "info"}, {"q": "hello"}])
def test_news_after_query_has_limit(user, make_inbox, settings, place):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5}
    fill(user, 20)
    with CaptureQueriesContext(connection) as queries:
        assert make_inbox(**place).news_after(0) == 6
    assert len(queries) == 1
    assert "LIMIT 6" in queries[0]["sql"]


# The list


def test_inbox_keeps_row_of_its_folder(user, make_inbox):
    row = fill(user)[0]
    kept = {box: make_inbox(box=box).keeps(row) for box in BOXES}
    assert kept == {
        "inbox": True,
        "unread": True,
        "archive": False,
        "sent": False,
        "trash": False,
    }


@pytest.mark.parametrize("box", BOXES)
def test_inbox_does_not_keep_moved_or_expired_row(user, make_inbox, box):
    inbox = make_inbox(box=box)
    for folder in Folder:
        row = fill(user, folder=folder)[0]
        assert inbox.keeps(row) is (folder == BOXES[box])
        row.expires = timezone.now() + timedelta(hours=1)
        assert inbox.keeps(row) is (folder == BOXES[box])
        row.expires = timezone.now()
        assert inbox.keeps(row) is False


def test_unread_folder_keeps_row_just_read(user, make_inbox):
    row = fill(user, read_at=timezone.now())[0]
    assert make_inbox(box="unread").keeps(row)


def test_keeps_takes_no_query(user, make_inbox, django_assert_num_queries):
    row = fill(user)[0]
    with django_assert_num_queries(0):
        make_inbox(box="unread", level="info").keeps(row)


# Links


def test_older_query_leads_to_next_page(user, make_inbox, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    rows = fill(user, 5)
    newest = f"&newest={rows[4].pk}"
    assert make_inbox().older_query == f"?before={rows[3].pk}{newest}"
    assert make_inbox(before=rows[3].pk).older_query == f"?before={rows[1].pk}{newest}"
    assert make_inbox(level="info").older_query == f"?level=info&before={rows[3].pk}{newest}"
    assert make_inbox(q="hello").older_query == f"?q=hello&before={rows[3].pk}"


def test_further_query_leads_to_older_messages(user, make_inbox, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 2}
    rows = fill(user, 5)
    inbox = make_inbox(q="nothing", box="unread")
    place = Filter(box="unread", q="nothing", before=inbox.page.further)
    assert rows[2].pk < place.before <= rows[3].pk
    assert inbox.further_query == place.query()


def test_query_is_that_of_first_page(make_inbox):
    inbox = make_inbox(box="trash", level="error", q="hello", before=7)
    assert inbox.query == "?box=trash&level=error&q=hello"
    assert inbox.without_words == "?box=trash&level=error"


def test_box_links_keep_level(make_inbox):
    inbox = make_inbox(box="trash", level="error", q="hello", before=7)
    assert [(box.name, box.query, box.is_current) for box in inbox.boxes] == [
        ("inbox", "?level=error", False),
        ("unread", "?box=unread&level=error", False),
        ("archive", "?box=archive&level=error", False),
        ("sent", "?box=sent", False),
        ("trash", "?box=trash&level=error", True),
    ]


def test_level_links_keep_search_and_current_level_can_be_cleared(make_inbox, user, settings):
    settings.DEBUG = True
    for level in LEVELS.values():
        fill(user, folder=Folder.TRASH, level=level)
    inbox = make_inbox(box="trash", level="error", q="hello", before=7)
    assert [(level.name, level.query, level.is_current) for level in inbox.levels] == [
        ("error", "?box=trash&q=hello", True),
        ("warning", "?box=trash&level=warning&q=hello", False),
        ("success", "?box=trash&level=success&q=hello", False),
        ("info", "?box=trash&level=info&q=hello", False),
        ("debug", "?box=trash&level=debug&q=hello", False),
    ]


def test_levels_and_unread_count_take_one_query(make_inbox, user):
    fill(user, 3, level=140)
    fill(user, level=130, read_at=timezone.now())
    inbox = make_inbox()
    assert cost(inbox.prefetch) == 1
    assert cost(lambda: [inbox.levels, inbox.unread]) == 0
    assert ([level.name for level in inbox.levels], inbox.unread) == (["error", "warning"], 3)


def test_each_box_and_level_has_name(make_inbox):
    assert list(BOX_NAMES) == list(BOXES)
    assert list(LEVEL_NAMES) == list(FILTER_NAMES) == list(LEVELS)
    assert [str(make_inbox(box=box).box_name) for box in BOXES] == [
        "Inbox",
        "Unread",
        "Archive",
        "Sent",
        "Trash",
    ]
    with translation.override("de"):
        assert all(str(choice.label) for choice in make_inbox().boxes + make_inbox().levels)


def test_trash_days_follows_setting(make_inbox, settings):
    inbox = make_inbox()
    assert inbox.trash_days == 30
    settings.PERSISTENT_MESSAGES = {"TRASH_DAYS": 7}
    assert inbox.trash_days == 7
