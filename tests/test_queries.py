"""The number of queries of each page, their plans, and the rows they read."""

import re
import uuid
from datetime import timedelta
from itertools import product

import pytest
from django.contrib import messages as contrib_messages
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.http import HttpResponse
from django.template import engines
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from demo.urls import urlpatterns as demo_pages
from persistent_messages import Folder
from persistent_messages import mailbox as mailbox_module
from persistent_messages.inbox import bulk_actions
from persistent_messages.inbox.bulk_actions import BulkAction
from persistent_messages.inbox.filters import BOXES, Filter
from persistent_messages.inbox.page import InboxPage
from persistent_messages.letters.conversation import Conversation
from persistent_messages.mailbox import Change, undo_tokens
from persistent_messages.mailbox import pruning as pruning_module
from persistent_messages.mailbox.threads import update_thread_heads
from persistent_messages.models import Message
from persistent_messages.querysets import LEVEL_WINDOW

from .partitions import PARTITIONS, TABLE
from .plans import EFFORTS, PLANS, app_statements

STRIP = "{% include 'persistent_messages/message/includes/messages.html' %}"
COUNTER = "{% load persistent_messages %}{% unread_counter %}"
SIZES = (10, 6_000)
"""The second is more than a search, or a step of a bulk action, looks at."""


def shows(code):
    def view(request):
        return HttpResponse(engines["django"].from_string(code).render({}, request))

    return view


urlpatterns = [
    path("nothing/", shows("Nothing.")),
    path("strip/", shows(STRIP)),
    path("strip-twice/", shows(STRIP + STRIP)),
    path("any/", shows("{% if messages %}Any.{% endif %}")),
    path("counter/", shows(COUNTER)),
    path("counter-twice/", shows(COUNTER + COUNTER)),
    path("both/", shows(COUNTER + STRIP)),
    # The app's pages use the frame of these pages.
    *demo_pages,
]


@pytest.fixture(autouse=True)
def site(settings):
    settings.ROOT_URLCONF = __name__


def rows_of(user, count, **fields):
    fields = {"user": user, "folder": Folder.INBOX, "level": 120, "message": "Hello", **fields}
    if fields["folder"] == Folder.TRASH:
        fields["trashed_at"] = timezone.now()
    return Message.objects.bulk_create((Message(**fields) for _ in range(count)), batch_size=2000)


@pytest.fixture(params=SIZES)
def mailbox(request, user):
    """Fill Sally's mailbox: half of the inbox is unread, and as many messages are elsewhere."""
    size, now = request.param, timezone.now()
    rows_of(user, size // 2, read_at=now)
    rows_of(user, size - size // 2, expires=now + timedelta(days=1))
    for folder in (Folder.SENT, Folder.ARCHIVE, Folder.TRASH):
        rows_of(user, size // 3, folder=folder, moved_at=now)
    return size


def cost(client, address, method="get", **kwargs):
    """Return the queries of a page on the app's tables; other queries may only look up the user."""
    with CaptureQueriesContext(connection) as queries:
        response = getattr(client, method)(address, **kwargs)
    assert response.status_code in {200, 302}
    statements = app_statements(queries)
    users = get_user_model()._meta.db_table
    others = [
        query["sql"]
        for query in queries
        if query["sql"] not in statements
        and not re.match(r"BEGIN|COMMIT|SAVEPOINT|RELEASE", query["sql"])
    ]
    assert not [sql for sql in others if "django_session" not in sql and users not in sql]
    return len(statements)


# The queries of each page, and how many fewer once there is nothing left to remove.
PAGES = {
    "/nothing/": (0, 0),
    "/any/": (1, 1),
    "/strip/": (2, 1),
    "/strip-twice/": (2, 1),
    "/counter/": (1, 1),
    "/counter-twice/": (1, 1),
    "/both/": (3, 2),
    "/messages/": (4, 3),
    "/messages/?box=unread": (4, 3),
    "/messages/?box=archive": (4, 3),
    "/messages/?box=sent": (4, 3),
    "/messages/?box=trash": (4, 3),
    "/messages/?level=info": (5, 4),
    "/messages/?box=unread&level=info": (5, 4),
    "/messages/?box=trash&level=info": (5, 4),
    "/messages/?topic=billing": (4, 3),
    "/messages/?box=unread&topic=billing": (5, 4),
    "/messages/?box=trash&topic=billing": (4, 3),
    "/messages/?topic=billing&level=info": (5, 4),
    "/messages/?q=hello": (5, 4),
    "/messages/?box=archive&level=info&q=hello": (5, 4),
}


def test_query_count_of_page_does_not_depend_on_mailbox_size(client, user, mailbox):
    """Cost per page of a user: no query when nothing asks; at most 2 for the strip, 1 for the
    counter, whatever the mailbox holds."""
    found = {}
    for address in PAGES:
        rows_of(user, 2, folder=Folder.ONE_SHOT, level=contrib_messages.INFO)
        found[address] = (cost(client, address), cost(client, address))
        Message.objects.filter(folder=Folder.ONE_SHOT).delete()

    assert found == PAGES


def test_page_without_messages_takes_no_query(client, mailbox, django_assert_num_queries):
    with django_assert_num_queries(0):
        client.get("/nothing/")


def test_page_of_visitor_takes_no_query(visitor, send, django_assert_num_queries):
    send("Hello")

    with django_assert_num_queries(0):
        for address in ("/strip/", "/counter/", "/both/", "/any/"):
            visitor.get(address)


def test_query_count_of_action_does_not_depend_on_mailbox_size(client, user, mailbox):
    found = {}
    for name, folder in {
        "message_detail": Folder.INBOX,
        "message_mark_unread": Folder.INBOX,
        "message_mark_read": Folder.INBOX,
        "message_archive": Folder.INBOX,
        "message_restore": Folder.ARCHIVE,
        "message_delete": Folder.INBOX,
        "message_bulk": Folder.INBOX,
        "message_mark_all_read": Folder.INBOX,
        "message_delete_all": Folder.INBOX,
        "message_undo": Folder.INBOX,
    }.items():
        newest = Message.objects.filter(user=user, folder=Folder.INBOX)
        if folder != Folder.INBOX or not newest:
            newest = Message.objects.filter(user=user, folder=folder)
        key = newest.latest("pk").pk if newest else 0
        change = Change("move", Folder.INBOX, timezone.now(), 1, Folder.TRASH)
        arguments = {"message_bulk": [], "message_undo": [undo_tokens.make_token(user, change)]}
        url = reverse(name, args=arguments.get(name, [] if "all" in name else [key]))
        data = {
            "pm-part": ["list", "strip", "counter"],
            "pm-row": [str(key)],
            "pm-filter": "?box=archive" if folder == Folder.ARCHIVE else "?",
            "newest": str(key),
            "ids": [str(key)],
            "do": "delete",
        }
        method = "get" if name == "message_detail" else "post"
        headers = {} if name == "message_detail" else {"HX-Request": "true"}
        rows_of(user, 1, folder=Folder.ONE_SHOT, level=contrib_messages.INFO)
        found[name] = cost(client, url, method, data=data, headers=headers)

    # At most: the message before and after the change, a check for conversations that a move
    # separates, the change, the strip, the removal of shown messages, and the unread count.
    assert max(found.values()) <= 8, found
    # No message is looked up. The rows of a step, the change, the list, the strip, the removal of
    # shown messages, the unread count; for moves, the check for conversations; and once, the
    # number of messages that are left.
    left = int(mailbox // 2 > bulk_actions.MAX_ROWS)
    assert found["message_mark_all_read"] in (6, 6 + left)
    assert found["message_delete_all"] in (7, 7 + left)
    assert found["message_bulk"] == 7
    assert found["message_undo"] <= 6


def test_query_count_of_delete_all_confirmation_is_limited(client, mailbox):
    # The newest message, the number of messages, the strip, the unread count.
    for box in ("inbox", "unread", "archive", "trash"):
        assert cost(client, reverse("message_delete_all"), data={"box": box}) <= 4


def test_sender_names_take_no_query(client, user, other):
    rows_of(user, 25, from_user=other, from_name="Harry")

    assert cost(client, "/messages/") <= 3


def test_page_queries_have_limits_of_settings(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 7, "STRIP_LIMIT": 5, "COUNTER_LIMIT": 9}
    rows_of(user, 50)

    with CaptureQueriesContext(connection) as queries:
        client.get("/messages/")

    limits = [set(re.findall(r"LIMIT (\d+)", sql)) for sql in app_statements(queries)]
    # The query of the counter also reads the levels of the latest rows, and one row per topic.
    # The strip has a limit for persistent and one for one-shot messages; the latter reads one row
    # more, to know whether there are further messages.
    assert sorted(limits, key=sorted) == [{"1", "10", str(LEVEL_WINDOW)}, {"5", "51"}, {"8"}]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("level", ["", "info"])
@pytest.mark.parametrize("topic", ["", "billing"])
@pytest.mark.parametrize("q", ["", "hello"])
def test_each_statement_of_page_has_limit(client, user, settings, box, level, topic, q):
    settings.PERSISTENT_MESSAGES = {
        "PAGE_SIZE": 7,
        "STRIP_LIMIT": 5,
        "COUNTER_LIMIT": 9,
        "SEARCH_WINDOW": 20,
    }
    rows_of(user, 50, topic=topic)
    rows_of(user, 50, folder=BOXES[box], topic=topic)
    newest = Message.objects.latest("pk").pk

    for before in (None, newest):
        with CaptureQueriesContext(connection) as queries:
            place = Filter(box=box, level=level, topic=topic, q=q, before=before)
            client.get("/messages/" + place.query())
        limits = {
            limit for sql in app_statements(queries) for limit in re.findall(r"LIMIT (\d+)", sql)
        }
        assert all("LIMIT" in sql for sql in app_statements(queries))
        # The second query of a window finds out whether there are more.
        assert limits <= {"1", "2", "5", "8", "10", "21", "51", str(LEVEL_WINDOW)}


# Updates the statistics of PostgreSQL. SQLite needs none, and on MariaDB the statement would commit
# the transaction of the test.
ANALYZE = {"sqlite": [], "postgresql": [f"ANALYZE {TABLE}"], "mysql": []}
# The number of other users: the plans of SQLite ignore it; other databases scan small tables.
CROWD = {"sqlite": 20, "postgresql": 600, "mysql": 300}

READS = {
    "the counter": lambda user, middle: Message.objects.count_unread_of(user, 21),
    "the strip": lambda user, middle: Message.objects.strip_of(user, 10),
    "what passes": lambda user, middle: list(Message.objects.one_shot_of(user)),
    "the newest unread": lambda user, middle: list(
        Message.objects.inbox_of(user).unread_thread_heads()[:10]
    ),
}


TOPICS = ["billing", "storage"]
KINDS = {"": {}, "error": {"level": "error"}, "billing": {"topic": "billing"}}
KINDS["error in billing"] = KINDS["error"] | KINDS["billing"]

for box, kind, later in product(BOXES, KINDS, (False, True)):
    what = f"of {box} {kind}".strip()

    def place_of(middle, box=box, kind=kind, later=later, **words):
        return Filter(box=box, **KINDS[kind], before=middle if later else None, **words)

    def kinds(user, middle, box=box):
        return Message.objects.count_unread_and_kinds_of(user, 21, BOXES[box], TOPICS)

    def beside(user, middle, place_of=place_of):
        return place_of(middle).neighbors_of(user, middle)

    def see(user, middle, place_of=place_of):
        return place_of(middle).page_of(user)

    def search(user, middle, place_of=place_of):
        return place_of(middle, q="hello").page_of(user)

    def look(user, middle, place_of=place_of):
        request = RequestFactory().get("/")
        request.user = user
        return InboxPage(request, place_of(middle))

    READS[f"what there is in {box}"] = kinds
    READS[f"what is beside a message {what}"] = beside
    READS[f"a {'deep' if later else 'newest'} page {what}"] = see
    READS[f"a {'deep' if later else 'newest'} search {what}"] = search
    if later:
        READS[f"the newest {what}"] = lambda user, middle, look=look: look(user, middle).newest
        READS[f"the news {what}"] = lambda user, middle, look=look: look(user, middle).news_after(
            middle
        )
        READS[f"the unread {what}"] = lambda user, middle, look=look: look(user, middle).unread

INDEXES = {"pm_folder", "pm_thread_head", "pm_topic", "pm_unread", "pm_notice"}
# Always few rows, or a range of keys: for a database, sorting them may be cheaper.
BOUNDED = {"what passes", "the strip"} | {
    read for read in READS if re.search("search|news|what there is|error|unread billing", read)
}
# The rows: most of them in the inbox, and the folders mixed as in practice.
ARRIVALS = 5 * [
    *[(Folder.INBOX, True)] * 7,
    *[(folder, True) for folder in (Folder.ARCHIVE, Folder.SENT, Folder.TRASH)] * 2,
    *[(Folder.INBOX, False)] * 3,
]
# Far fewer than Sally's messages of each kind, as on a large site.
LIMITS = {"PAGE_SIZE": 5, "STRIP_LIMIT": 5, "COUNTER_LIMIT": 20, "SEARCH_WINDOW": 30}


@pytest.fixture
def big_table(user, settings):
    """Create rows of many users; return a key in the middle of Sally's."""
    settings.PERSISTENT_MESSAGES = LIMITS
    people = get_user_model()
    people.objects.bulk_create(
        people(username=f"person-{number}") for number in range(CROWD[connection.vendor])
    )
    crowd = list(people.objects.filter(username__startswith="person-"))
    arrivals = [(person, folder, read) for folder, read in ARRIVALS for person in crowd]
    now = timezone.now()
    # Her rows are mixed with other users' rows, as in practice.
    every = max(1, len(arrivals) // 2400)

    def row(number, owner, folder, read):
        # Nearly all trashed rows were trashed in the last thirty days.
        then = now - timedelta(days=30.7 * (number % 50) / 50, microseconds=number)
        return Message(
            user=owner,
            folder=folder,
            level=140 if number // every % 3 == 0 else 120,
            topic="billing" if number // every % 4 == 0 else "",
            message="Hello",
            read_at=then if read else None,
            moved_at=then if folder in (Folder.ARCHIVE, Folder.TRASH) else None,
            trashed_at=then if folder == Folder.TRASH else None,
            expires=now - timedelta(hours=1) if number % 200 == 0 else None,
        )

    Message.objects.bulk_create(
        (
            row(number, user if mine else person, folder, read)
            for number, (person, folder, read) in enumerate(arrivals)
            for mine in ([False, True] if number % every == 0 else [False])
        ),
        batch_size=1000,
    )
    hers = Message.objects.filter(user=user).order_by("pk")
    middle = hers[hers.count() // 2].pk
    for person in (*crowd, user, user, user):
        rows_of(person, 1, folder=Folder.ONE_SHOT, level=contrib_messages.INFO)
    analyze_tables()
    return middle


def analyze_tables():
    with connection.cursor() as cursor:
        for statement in ANALYZE[connection.vendor]:
            cursor.execute(statement)


def plans_of(ask):
    with CaptureQueriesContext(connection) as queries:
        ask()
    return [PLANS[connection.vendor](sql) for sql in app_statements(queries)]


def test_each_read_of_page_uses_index(user, big_table):
    wrong = {}
    for read, ask in READS.items():
        for plan in plans_of(lambda ask=ask: ask(user, big_table)):
            sorts = [] if read in BOUNDED else plan["sorts"]
            used = plan["indexes"]
            # A search also reads the conversations that a row represents.
            known = INDEXES | ({"pm_thread"} if "search" in read else set())
            if plan["scans"] or sorts or not used & INDEXES or used - known:
                wrong[read] = plan
            if len(plan["tables"]) != 1:
                wrong[f"{read}: tables"] = sorted(plan["tables"])

    assert wrong == {}


def test_topic_filter_uses_topic_index(user, big_table):
    wrong = {}
    for box in ("inbox", "archive", "sent", "trash"):
        for read in (f"a newest page of {box} billing", f"a deep page of {box} billing"):
            (plan,) = plans_of(lambda read=read: READS[read](user, big_table))
            if plan["indexes"] != {"pm_topic"}:
                wrong[read] = plan

    assert wrong == {}


def test_list_of_topics_is_found_without_reading_all_messages(user, big_table):
    def ask():
        *_, found = Message.objects.count_unread_and_kinds_of(user, 21, Folder.INBOX, TOPICS)
        assert found == {"billing"}

    with CaptureQueriesContext(connection) as queries:
        ask()
    (sql,) = app_statements(queries)
    assert "pm_topic" in PLANS[connection.vendor](sql)["indexes"]
    before = EFFORTS[connection.vendor](sql)
    rows_of(user, 5000, topic="billing", superseded_by=None, read_at=timezone.now())

    assert EFFORTS[connection.vendor](sql) < before + 200


INDEX_DEFINITIONS = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'pm_topic'",
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname LIKE '%topic%'",
    "mysql": "SELECT column_name FROM information_schema.statistics WHERE index_name = 'pm_topic'",
}


def test_topic_index_is_partial(user):
    """Most messages have none. MariaDB has no partial indexes, and indexes all of them."""
    with connection.cursor() as cursor:
        cursor.execute(INDEX_DEFINITIONS[connection.vendor])
        definitions = [definition for (definition,) in cursor.fetchall()]

    assert definitions
    is_partial = connection.features.supports_partial_indexes
    assert all("WHERE" in definition for definition in definitions) == is_partial


def exchange(mine, others, letters, ago):
    """Create letters of one conversation in a mailbox, each newer than the one before."""
    thread, now = uuid.uuid4(), timezone.now()
    return [
        Message(
            user=mine,
            folder=Folder.SENT if number % 2 else Folder.INBOX,
            level=120,
            message="Hello",
            from_user=mine if number % 2 else others,
            created=now - ago * (letters - number),
            letter=uuid.uuid4(),
            thread=thread,
            thread_position=number,
            superseded_by=None if number + 2 >= letters else number + 2,
        )
        for number in range(letters)
    ]


@pytest.fixture
def long_letter(user, other, big_table):
    """Return the latest letter of a long conversation among many short ones."""
    people = list(get_user_model().objects.filter(username__startswith="person-")[:200])
    rows = exchange(user, other, 600, timedelta(minutes=20))
    for person in people:
        rows += exchange(person, other, 6, timedelta(days=1))
        rows += exchange(user, person, 2, timedelta(days=9))
    Message.objects.bulk_create(rows, batch_size=1000)
    analyze_tables()
    return Message.objects.filter(user=user, from_user=other).latest("pk")


def test_each_read_of_letters_uses_index(user, long_letter):
    request = RequestFactory().get("/")
    request.user = user
    an_hour_ago = timezone.now() - timedelta(hours=1)
    reads = {
        "the end of a conversation": (
            lambda: Conversation(request, long_letter).page,
            "pm_thread",
        ),
        "an earlier page of it": (
            lambda: Conversation(request, long_letter, long_letter.pk - 200).page,
            "pm_thread",
        ),
        "what was sent lately": (
            lambda: list(Message.objects.sent_since(user, an_hour_ago)[29:30]),
            "pm_sender",
        ),
    }
    for read, (ask, index) in reads.items():
        (plan,) = plans_of(ask)
        # Nobody sends more than the rate allows, so sorting the rows may be cheaper.
        sorts = [] if index == "pm_sender" else plan["sorts"]
        assert (plan["indexes"], plan["scans"], sorts) == ({index}, [], []), read
        assert len(plan["tables"]) == 1, read


def test_updating_thread_heads_reads_only_their_letters(user, other, long_letter):
    """Twice as many conversations take twice as long, whatever the size of the folder."""
    threads = Message.objects.owned_by(user).exclude(thread=long_letter.thread).thread_ids()
    efforts = {}
    for count in (50, 100):
        letters = Message.objects.in_threads(threads[:count])
        Message.objects.owned_by(user).filter(thread__in=threads[:count]).update(superseded_by=1)
        with CaptureQueriesContext(connection) as queries:
            update_thread_heads(Message.objects.all(), [user.pk], threads[:count])
        (look, *changes) = app_statements(queries)
        plan = PLANS[connection.vendor](look)
        assert (plan["indexes"], plan["scans"]) == ({"pm_thread"}, [])
        # The order of the letters, the snippets of the user's own replies, and the thread heads.
        assert [PLANS[connection.vendor](sql)["scans"] for sql in changes] == [[], [], []]
        assert letters.owned_by(user).exclude(superseded_by=None).count() == 0
        efforts[count] = EFFORTS[connection.vendor](look)

    assert efforts[100] < 3 * efforts[50]


def test_bulk_step_reads_only_letters_of_its_conversations(user, other, long_letter):
    with CaptureQueriesContext(connection) as queries:
        step_of("delete", Filter())(user)
    (look,) = [
        sql
        for sql in app_statements(queries)
        if "LIMIT 1001" in sql and re.search(r"thread\W+IN", sql)
    ][:1]

    plan = PLANS[connection.vendor](look)
    # The partition has few other rows, so reading the whole folder costs as little.
    served = [{"pm_thread"}, {"pm_folder"}] if PARTITIONS else [{"pm_thread"}]
    assert plan["indexes"] in served
    assert plan["scans"] == []


# The rows that each write of a whole list, an undo or pruning needs, and the index for them.
def undo_of_reading(user):
    row = Message.objects.owned_by(user).in_folder(Folder.INBOX).exclude(read_at=None)[0]
    mailbox_module.undo(user, Change("read", Folder.INBOX, row.read_at))


def undo_of_a_move(folder):
    def undo_of_it(user):
        row = Message.objects.owned_by(user).in_folder(folder)[0]
        mailbox_module.undo(user, Change("move", Folder.INBOX, row.moved_at, target=folder))

    return undo_of_it


def pruning(reason):
    return lambda user: next(pruning_module.prune(pruning_module.prunable(30)[reason]), 0)


def all_of(write, place):
    def all_of_it(user):
        newest = Message.objects.owned_by(user).latest("pk").pk
        write(user, place.folder, place.messages_of(user).up_to(newest))

    return all_of_it


def step_of(verb, place):
    def step_of_it(user):
        newest = Message.objects.owned_by(user).latest("pk").pk - 1
        change, _ = bulk_actions.run_step(user, BulkAction.of_list(verb, place, newest))
        assert change.count

    return step_of_it


WRITES = {
    # A step has a large part of this small list, so the index depends on the statistics.
    "a step of marking all read": (step_of("read", Filter()), INDEXES),
    "a step of a level": (step_of("read", Filter(level="error")), INDEXES),
    "a step of a topic": (step_of("read", Filter(topic="billing")), INDEXES),
    "a step of deleting all": (step_of("delete", Filter()), INDEXES),
    "a step of deleting a level": (step_of("delete", Filter(level="error")), INDEXES),
    "a step of emptying the trash": (step_of("delete", Filter(box="trash")), INDEXES),
    "undo of reading": (undo_of_reading, {"pm_unread", "pm_notice"}),
    "undo of archiving": (undo_of_a_move(Folder.ARCHIVE), {"pm_moved"}),
    "undo of deleting": (undo_of_a_move(Folder.TRASH), {"pm_moved"}),
    "pruning what is expired": (pruning("expired"), {"pm_expires"}),
    "pruning the trash": (pruning("trash"), {"pm_trashed"}),
    "pruning tombstones": (pruning("tombstones"), {"pm_expires"}),
    "marking all read": (all_of(mailbox_module.mark_read, Filter()), INDEXES),
    "marking a level read": (all_of(mailbox_module.mark_read, Filter(level="error")), INDEXES),
    "marking a topic read": (all_of(mailbox_module.mark_read, Filter(topic="billing")), INDEXES),
    "deleting all": (all_of(mailbox_module.delete, Filter()), INDEXES),
    "emptying the trash": (all_of(mailbox_module.delete, Filter(box="trash")), INDEXES),
}


def test_each_write_uses_index(user, big_table):
    wrong = {}
    for write, (ask, expected) in WRITES.items():
        with transaction.atomic():
            with CaptureQueriesContext(connection) as queries:
                ask(user)
            # A row is found by its key in any case; the query before that is the test's own.
            statements = [
                sql for sql in app_statements(queries) if not re.search(r"IN \(\d|LIMIT 1$", sql)
            ]
            assert statements, write
            for sql in statements:
                plan = PLANS[connection.vendor](sql)
                # The check for conversations that the move separates.
                looking = {"pm_thread"} if "DISTINCT" in sql else set()
                if plan["scans"] or not plan["indexes"] & (expected | looking):
                    wrong[sql] = plan
                if len(plan["tables"]) != 1 and "pruning" not in write:
                    wrong[sql] = sorted(plan["tables"])
            transaction.set_rollback(True)

    assert wrong == {}


# The changes that make most of the inbox prunable, one for each reason.
LONG_AGO = timezone.now() - timedelta(days=90)
READY = {
    "expired": ({"expires": LONG_AGO}, "pm_expires"),
    "trash": ({"folder": Folder.TRASH, "trashed_at": LONG_AGO}, "pm_trashed"),
    "tombstones": ({"folder": Folder.TOMBSTONE, "expires": LONG_AGO}, "pm_expires"),
}


def test_pruning_uses_index(big_table):
    """In the order of the index, so that a batch reads only its own rows."""
    for reason, (fields, index) in READY.items():
        with transaction.atomic():
            Message.objects.filter(folder=Folder.INBOX).update(**fields)
            analyze_tables()
            with CaptureQueriesContext(connection) as queries:
                assert pruning(reason)(None) == pruning_module.BATCH_SIZE
            plan = PLANS[connection.vendor](app_statements(queries)[0])
            transaction.set_rollback(True)

        assert (plan["indexes"], plan["scans"], plan["sorts"]) == ({index}, [], []), reason


def test_unread_messages_are_found_without_reading_read_ones(user, big_table):
    for read in ("the counter", "the strip", "a newest page of unread"):
        with CaptureQueriesContext(connection) as queries:
            READS[read](user, big_table)
        (sql,) = app_statements(queries)
        index = "pm_notice" if read == "the strip" else "pm_unread"
        assert index in PLANS[connection.vendor](sql)["indexes"], read


def test_strip_query_does_not_read_letters(user, other, big_table):
    """Even if there are many newer unread letters above the only unread notice."""
    notices = Message.objects.inbox_of(user).unread()
    notice = notices.earliest("pk")
    notices.exclude(pk=notice.pk).delete()
    analyze_tables()
    _, before = indexes_and_effort(user, "the strip")
    letters = [
        Message(user=user, from_user=other, level=120, message="Hello", thread=uuid.uuid4())
        for _ in range(10_000)
    ]
    Message.objects.bulk_create(letters, batch_size=1000)
    analyze_tables()

    assert indexes_and_effort(user, "the strip") == ({"pm_folder", "pm_notice"}, before)
    assert Message.objects.strip_of(user, 10)[-1] == notice
    assert Message.objects.strip_of(user, 10, letters=True)[-1] != notice


def test_one_shot_messages_of_others_do_not_affect_plans(user, big_table):
    """The statistics of PostgreSQL may be from a time without one-shot messages."""
    waiting = Message.objects.filter(folder=Folder.ONE_SHOT)
    hers = [row.pk for row in waiting.filter(user=user)]
    waiting.update(folder=Folder.INBOX)
    analyze_tables()
    Message.objects.filter(pk__in=hers).update(folder=Folder.ONE_SHOT)
    alone = {read: indexes_and_effort(user, read) for read in ("the strip", "what passes")}

    fields = {"folder": Folder.ONE_SHOT, "level": contrib_messages.INFO, "message": "Hello"}
    crowd = get_user_model().objects.filter(username__startswith="person-")
    Message.objects.bulk_create(Message(user=person, **fields) for person in crowd for _ in "123")

    assert {read: indexes_and_effort(user, read) for read in alone} == alone


def indexes_and_effort(user, read):
    """Return the indexes of a read, which all begin with the user, and its effort."""
    with CaptureQueriesContext(connection) as queries:
        READS[read](user, None)
    (sql,) = app_statements(queries)
    plan = PLANS[connection.vendor](sql)
    assert plan["indexes"] <= INDEXES, plan
    assert plan["scans"] == []
    return plan["indexes"], EFFORTS[connection.vendor](sql)


def test_page_statements_do_not_scan_table(client, big_table):
    for address in ("/strip/", "/counter/", "/messages/", "/messages/?q=hello"):
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        statements = app_statements(queries)
        assert statements
        for sql in statements:
            assert PLANS[connection.vendor](sql)["scans"] == [], sql
