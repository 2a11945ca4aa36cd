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
def see(user):
    """An inbox as a request of Sally's sees it."""

    def see(of=user, **place):
        request = RequestFactory().get("/")
        request.user = of
        return InboxPage(request, Filter(**place))

    return see


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


def test_nothing_is_read_until_it_is_asked_for(user, see, django_assert_num_queries):
    fill(user)
    with django_assert_num_queries(0):
        for box in BOXES:
            inbox = see(box=box, level="error", q="hello", before=7)
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
def test_the_page_is_read_once(user, see, box, q, queries):
    fill(user, 60, folder=BOXES[box])
    inbox = see(box=box, q=q)
    assert cost(lambda: inbox.page) == queries
    assert len(inbox.page.messages) == 25
    parts = ("page", "older_query", "further_query", "newest")
    assert cost(lambda: [getattr(inbox, part) for part in parts]) == 0


def test_the_newest_is_read_once_and_only_beyond_the_first_page(user, see):
    rows = fill(user, 3)
    first, later = see(), see(before=rows[1].pk)
    assert first.page.newest == rows[2].pk
    assert cost(lambda: first.newest) == 0
    assert cost(lambda: later.newest) == 1
    assert cost(lambda: later.newest) == 0
    assert (first.newest, later.newest) == (rows[2].pk, rows[2].pk)


def test_a_further_page_keeps_the_newest_of_the_first_one(user, see, settings):
    """Messages that arrived in between were on neither page, so no action on all changes them."""
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    rows = fill(user, 5)
    place = Filter.from_query(QueryDict(see().older_query[1:]))
    fill(user, 1)
    inbox = see(before=place.before, newest=place.newest)
    assert cost(lambda: inbox.newest) == 0
    assert inbox.newest == rows[4].pk
    assert inbox.older_query.endswith(f"&newest={rows[4].pk}")
    assert inbox.query == "?"


def test_a_search_has_no_newest_of_its_own_to_read(user, see):
    """It has no actions on all messages."""
    rows = fill(user, 3)
    inbox = see(q="hello", before=rows[2].pk)
    assert cost(lambda: inbox.page) == 2
    assert cost(lambda: inbox.newest) == 0


def test_the_unread_are_counted_once_a_request(user, see):
    fill(user, 3)
    inbox = see()
    assert cost(lambda: (inbox.unread, inbox.unread)) == 1
    again = InboxPage(inbox.request, Filter(box="unread"))
    assert cost(lambda: (inbox.unread, again.unread, unread_count(inbox.request))) == 0
    assert inbox.unread == again.unread == 3


def test_the_counter_counts_for_the_inbox(user, see):
    fill(user, 3)
    inbox = see()
    assert unread_count(inbox.request) == 3
    assert cost(lambda: inbox.unread) == 0


def test_an_action_has_the_next_list_count_anew(user, see):
    fill(user, 3)
    inbox = see()
    assert inbox.unread == 3
    Message.objects.update(read_at=timezone.now())
    reset_unread_count(inbox.request)
    assert InboxPage(inbox.request, Filter()).unread == 0


@pytest.mark.parametrize("who", [AnonymousUser(), None])
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("place", [{}, {"q": "hello"}, {"level": "info"}, {"before": MAX_KEY}])
def test_a_visitor_has_an_empty_inbox_and_costs_nothing(
    user, see, who, box, place, django_assert_num_queries
):
    fill(user, folder=BOXES[box])
    inbox = see(of=who, box=box, **place)
    with django_assert_num_queries(0):
        assert inbox.page.messages == []
        assert (inbox.newest, inbox.unread, inbox.news_after(0)) == (0, 0, 0)


def test_an_inbox_without_users_is_empty(db, django_assert_num_queries):
    """A site without the authentication middleware."""
    inbox = InboxPage(RequestFactory().get("/"), Filter())
    with django_assert_num_queries(0):
        assert (inbox.page.messages, inbox.newest, inbox.unread) == ([], 0, 0)


def test_an_inbox_that_nobody_filtered_is_the_newest_of_the_inbox(user):
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
def test_a_page_of_any_filter_with_strip_and_counter_is_four_queries_at_most(
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


def test_the_newest_is_that_of_the_list_whatever_page_it_is(user, see):
    """Actions on all messages only change those that existed when the page was rendered."""
    rows = fill(user, 5)
    error = fill(user, level=140)[0]
    bill = fill(user, topic="billing", read_at=timezone.now())[0]
    trash = fill(user, folder=Folder.TRASH)[0]
    read = fill(user, read_at=timezone.now())[0]
    fill(user, expires=timezone.now() - timedelta(seconds=1))
    for before in (None, rows[2].pk):
        assert see(before=before).newest == read.pk
        assert see(box="unread", before=before).newest == error.pk
        assert see(level="error").newest == error.pk
        assert see(box="trash").newest == trash.pk
    assert see(topic="billing", before=rows[2].pk).newest == bill.pk
    assert see(box="trash", before=rows[2].pk).newest == trash.pk


def test_the_newest_of_a_level_is_what_the_windows_found_first(user, see, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 2}
    errors = fill(user, 2, level=140)
    fill(user, 3)

    first = see(level="error")
    assert (first.page.messages, first.newest) == ([], 0)
    assert "newest" not in first.further_query
    second = see(level="error", before=first.page.further)
    assert second.page.messages == errors[1:]
    assert second.newest == errors[1].pk
    assert second.further_query.endswith(f"&newest={errors[1].pk}")


@pytest.mark.parametrize("before", [None, MAX_KEY, 0])
def test_what_arrives_while_the_page_is_drawn_is_beyond_the_newest(user, see, before):
    last = fill(user, 3)[-1]
    inbox = see(before=before)
    assert inbox.newest == last.pk
    fill(user)
    assert inbox.newest == last.pk
    if before is None:
        assert inbox.page.messages[0].pk == last.pk


@pytest.mark.parametrize("before", [None, 0, MAX_KEY])
@pytest.mark.parametrize("box", BOXES)
def test_an_empty_list_has_no_newest_and_nothing_is_done_to_all_of_it(user, see, box, before):
    inbox = see(box=box, before=before)
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
def test_the_unread_are_told_up_to_the_limit(user, see, settings, count, label, place):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5, "PAGE_SIZE": 3}
    fill(user, count, topic="billing")
    inbox = see(**place)
    assert inbox.unread == min(count, 6)
    assert counter.count_label(inbox.unread) == label


@pytest.mark.parametrize("size", [3, 25], ids=["more", "all"])
def test_the_unread_of_a_topic_are_those_of_the_topic(user, see, settings, size):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": size}
    fill(user, 2)
    fill(user, 4, topic="billing", level=140)
    fill(user, 4, topic="billing", read_at=timezone.now())
    fill(user, 5, topic="billing", folder=Folder.ARCHIVE)
    fill(user, 6, topic="billing", expires=timezone.now() - timedelta(seconds=1))
    assert see().unread == 6
    assert see(topic="billing").unread == 4
    assert see(topic="storage").unread == 0
    assert see(box="unread", topic="billing").unread == (4 if size == 25 else None)


def test_the_unread_of_a_level_are_told_where_the_page_shows_it_all(user, see, settings):
    fill(user, 3, level=140)
    fill(user, 4, level=140, read_at=timezone.now())
    fill(user, 5)
    inbox = see(level="error")
    assert len(inbox.page.messages) == 7
    assert cost(lambda: inbox.unread) == 0
    assert inbox.unread == 3
    assert see(level="debug").unread == 0
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 5}
    assert see(level="error").unread is None
    assert see(level="error").unread_is_open
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 5}
    assert see(level="error").unread is None


def test_the_unread_are_counted_with_a_bound(user, see, settings):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5, "PAGE_SIZE": 10}
    fill(user, 20, topic="billing")
    for place in ({}, {"topic": "billing"}):
        with CaptureQueriesContext(connection) as queries:
            assert see(**place).unread == 6
        assert "LIMIT 6" in queries[-1]["sql"]


@pytest.mark.parametrize("place", [{"q": "hello"}, {"box": "archive"}, {"box": "trash"}])
@pytest.mark.parametrize("level", ["", "info"])
def test_where_nothing_can_be_marked_at_once_nothing_is_counted(
    user, see, place, level, django_assert_num_queries
):
    for folder in (Folder.INBOX, Folder.ARCHIVE, Folder.TRASH):
        fill(user, 2, folder=folder)
    inbox = see(level=level, **place)
    with django_assert_num_queries(0):
        assert inbox.unread == 0


@pytest.mark.parametrize("box", ["inbox", "unread"])
@pytest.mark.parametrize("kind", [{"level": "info"}, {"topic": "billing"}])
def test_later_pages_of_a_level_or_topic_do_not_count_its_unread(
    user, see, box, kind, django_assert_num_queries
):
    fill(user, 3, topic="billing")
    inbox = see(box=box, **kind, before=MAX_KEY)
    with django_assert_num_queries(0):
        assert inbox.unread is None


@pytest.mark.parametrize(("count", "label"), [(0, ""), (1, "1"), (5, "5"), (6, "5+"), (50, "5+")])
@pytest.mark.parametrize("place", [{}, {"box": "trash"}, {"level": "error", "before": 7}])
def test_all_that_is_unread_is_told_as_the_counter_tells_it(
    user, see, settings, count, label, place, django_assert_num_queries
):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5}
    fill(user, count)
    inbox = see(**place)
    with django_assert_num_queries(1):
        assert inbox.all_unread == label
        assert inbox.all_unread == label
        assert unread_count(inbox.request) == min(count, 6)


def test_what_others_have_unread_does_not_count(user, other, see):
    fill(other, 5)
    assert (see().unread, see(level="info").unread, see(of=other).unread) == (0, 0, 5)


# New messages


def test_news_are_what_came_after_a_message(user, other, see):
    rows = fill(user, 5)
    fill(user, folder=Folder.ARCHIVE)
    fill(user, expires=timezone.now() - timedelta(seconds=1))
    fill(other, 5)
    assert [see().news_after(row.pk) for row in rows] == [4, 3, 2, 1, 0]
    assert see().news_after(0) == 5
    assert see().news_after(MAX_KEY) == 0


def test_news_are_those_of_the_filter_wherever_its_page_is(user, see):
    first = fill(user)[0]
    fill(user, 2, level=140)
    fill(user, 3, read_at=timezone.now())
    fill(user, 4, folder=Folder.TRASH)
    for before in (None, 0, first.pk):
        assert see(before=before).news_after(first.pk) == 5
        assert see(level="error", before=before).news_after(first.pk) == 2
        assert see(box="unread", before=before).news_after(first.pk) == 2
        assert see(box="trash", before=before).news_after(first.pk) == 4


@pytest.mark.parametrize("place", [{}, {"box": "unread"}, {"level": "info"}, {"q": "hello"}])
def test_news_are_counted_with_a_bound(user, see, settings, place):
    settings.PERSISTENT_MESSAGES = {"COUNTER_LIMIT": 5}
    fill(user, 20)
    with CaptureQueriesContext(connection) as queries:
        assert see(**place).news_after(0) == 6
    assert len(queries) == 1
    assert "LIMIT 6" in queries[0]["sql"]


# The list


def test_an_inbox_shows_what_belongs_to_its_folder(user, see):
    row = fill(user)[0]
    kept = {box: see(box=box).keeps(row) for box in BOXES}
    assert kept == {
        "inbox": True,
        "unread": True,
        "archive": False,
        "sent": False,
        "trash": False,
    }


@pytest.mark.parametrize("box", BOXES)
def test_what_moved_or_expired_does_not_stay(user, see, box):
    inbox = see(box=box)
    for folder in Folder:
        row = fill(user, folder=folder)[0]
        assert inbox.keeps(row) is (folder == BOXES[box])
        row.expires = timezone.now() + timedelta(hours=1)
        assert inbox.keeps(row) is (folder == BOXES[box])
        row.expires = timezone.now()
        assert inbox.keeps(row) is False


def test_what_was_just_read_stays_in_sight(user, see):
    row = fill(user, read_at=timezone.now())[0]
    assert see(box="unread").keeps(row)


def test_whether_it_stays_is_asked_of_the_message_alone(user, see, django_assert_num_queries):
    row = fill(user)[0]
    with django_assert_num_queries(0):
        see(box="unread", level="info").keeps(row)


# Links


def test_each_page_leads_to_the_next(user, see, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    rows = fill(user, 5)
    newest = f"&newest={rows[4].pk}"
    assert see().older_query == f"?before={rows[3].pk}{newest}"
    assert see(before=rows[3].pk).older_query == f"?before={rows[1].pk}{newest}"
    assert see(level="info").older_query == f"?level=info&before={rows[3].pk}{newest}"
    assert see(q="hello").older_query == f"?q=hello&before={rows[3].pk}"


def test_a_search_leads_further_back(user, see, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 2}
    rows = fill(user, 5)
    inbox = see(q="nothing", box="unread")
    place = Filter(box="unread", q="nothing", before=inbox.page.further)
    assert rows[2].pk < place.before <= rows[3].pk
    assert inbox.further_query == place.query()


def test_an_inbox_has_the_address_of_its_first_page(see):
    inbox = see(box="trash", level="error", q="hello", before=7)
    assert inbox.query == "?box=trash&level=error&q=hello"
    assert inbox.without_words == "?box=trash&level=error"


def test_the_boxes_lead_to_each_other_and_keep_the_level(see):
    inbox = see(box="trash", level="error", q="hello", before=7)
    assert [(box.name, box.query, box.is_current) for box in inbox.boxes] == [
        ("inbox", "?level=error", False),
        ("unread", "?box=unread&level=error", False),
        ("archive", "?box=archive&level=error", False),
        ("sent", "?box=sent", False),
        ("trash", "?box=trash&level=error", True),
    ]


def test_the_levels_lead_to_each_other_and_the_one_in_force_to_all(see, user, settings):
    settings.DEBUG = True
    for level in LEVELS.values():
        fill(user, folder=Folder.TRASH, level=level)
    inbox = see(box="trash", level="error", q="hello", before=7)
    assert [(level.name, level.query, level.is_current) for level in inbox.levels] == [
        ("error", "?box=trash&q=hello", True),
        ("warning", "?box=trash&level=warning&q=hello", False),
        ("success", "?box=trash&level=success&q=hello", False),
        ("info", "?box=trash&level=info&q=hello", False),
        ("debug", "?box=trash&level=debug&q=hello", False),
    ]


def test_levels_and_unread_count_are_one_query(see, user):
    fill(user, 3, level=140)
    fill(user, level=130, read_at=timezone.now())
    inbox = see()
    assert cost(inbox.prefetch) == 1
    assert cost(lambda: [inbox.levels, inbox.unread]) == 0
    assert ([level.name for level in inbox.levels], inbox.unread) == (["error", "warning"], 3)


def test_every_box_and_level_has_a_name(see):
    assert list(BOX_NAMES) == list(BOXES)
    assert list(LEVEL_NAMES) == list(FILTER_NAMES) == list(LEVELS)
    assert [str(see(box=box).box_name) for box in BOXES] == [
        "Inbox",
        "Unread",
        "Archive",
        "Sent",
        "Trash",
    ]
    with translation.override("de"):
        assert all(str(choice.label) for choice in see().boxes + see().levels)


def test_the_trash_is_kept_as_long_as_the_site_says(see, settings):
    inbox = see()
    assert inbox.trash_days == 30
    settings.PERSISTENT_MESSAGES = {"TRASH_DAYS": 7}
    assert inbox.trash_days == 7
