"""What a page costs: how many queries, each served by an index, whatever the mailbox holds."""

import json
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
from persistent_messages import Folder, undo
from persistent_messages import mailbox as mailbox_module
from persistent_messages import pruning as pruning_module
from persistent_messages.conversation import Conversation
from persistent_messages.filters import BOXES, Filter
from persistent_messages.inbox import Inbox
from persistent_messages.mailbox import Change
from persistent_messages.models import Message

from .partitions import TABLE, parents

STRIP = "{% include 'persistent_messages/message/includes/messages.html' %}"
COUNTER = "{% load persistent_messages %}{% unread_counter %}"
SIZES = (10, 10_000)


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
    # Its pages are those whose frame ours take.
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
    """Sally's mailbox, half of it unread, and as much put away."""
    size, now = request.param, timezone.now()
    rows_of(user, size // 2, read_at=now)
    rows_of(user, size - size // 2, expires=now + timedelta(days=1))
    for folder in (Folder.SENT, Folder.ARCHIVE, Folder.TRASH):
        rows_of(user, size // 3, folder=folder, moved_at=now)
    return size


def ours(queries):
    return [query["sql"] for query in queries if TABLE in query["sql"]]


def cost(client, address, method="get", **kwargs):
    """What a page asks of our table; of the others it may ask but who is there."""
    with CaptureQueriesContext(connection) as queries:
        response = getattr(client, method)(address, **kwargs)
    assert response.status_code in {200, 302}
    statements = ours(queries)
    users = get_user_model()._meta.db_table
    others = [
        query["sql"]
        for query in queries
        if query["sql"] not in statements
        and not re.match(r"BEGIN|COMMIT|SAVEPOINT|RELEASE", query["sql"])
    ]
    assert not [sql for sql in others if "django_session" not in sql and users not in sql]
    return len(statements)


# What each page asks of our table, and how much less once nothing waits to be removed.
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
    "/messages/?box=trash&level=info": (4, 3),
    "/messages/?q=hello": (5, 4),
    "/messages/?box=archive&level=info&q=hello": (5, 4),
}


def test_a_page_costs_the_same_whatever_the_mailbox_holds(client, user, mailbox):
    """Cost per page of a user: no query when nothing asks; at most 2 for the strip, 1 for the
    counter, whatever the mailbox holds."""
    found = {}
    for address in PAGES:
        rows_of(user, 2, folder=Folder.ONE_SHOT, level=contrib_messages.INFO)
        found[address] = (cost(client, address), cost(client, address))
        Message.objects.filter(folder=Folder.ONE_SHOT).delete()

    assert found == PAGES


def test_a_page_that_shows_nothing_does_not_even_ask_who_is_there(
    client, mailbox, django_assert_num_queries
):
    with django_assert_num_queries(0):
        client.get("/nothing/")


def test_a_visitor_costs_nothing(visitor, send, django_assert_num_queries):
    send("Hello")

    with django_assert_num_queries(0):
        for address in ("/strip/", "/counter/", "/both/", "/any/"):
            visitor.get(address)


def test_an_action_costs_the_same_whatever_the_mailbox_holds(client, user, mailbox):
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
        arguments = {"message_bulk": [], "message_undo": [undo.token(user, change)]}
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

    # The message before and after, whether a move cuts a conversation, the change itself, the
    # strip, what goes after it, the counter.
    assert max(found.values()) <= 7, found
    # Where there is no message to look up: the change, the list, the strip, after it, the counter;
    # for moves whether they cut conversations, and those of what is ticked.
    assert found["message_mark_all_read"] == 5
    assert found["message_delete_all"] == found["message_undo"] == 6
    assert found["message_bulk"] == 7


def test_asking_before_all_is_deleted_costs_the_same_whatever_the_mailbox_holds(client, mailbox):
    # The newest, the number, the strip, the counter.
    for box in ("inbox", "unread", "archive", "trash"):
        assert cost(client, reverse("message_delete_all"), data={"box": box}) <= 4


def test_the_names_of_senders_cost_nothing(client, user, other):
    rows_of(user, 25, from_user=other, from_name="Harry")

    assert cost(client, "/messages/") <= 3


def test_no_page_reads_more_rows_than_it_shows(client, user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 7, "STRIP_LIMIT": 5, "COUNTER_LIMIT": 9}
    rows_of(user, 50)

    with CaptureQueriesContext(connection) as queries:
        client.get("/messages/")

    limits = [set(re.findall(r"LIMIT (\d+)", sql)) for sql in ours(queries)]
    assert sorted(limits, key=str) == [{"10"}, {"5"}, {"8"}]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("level", ["", "info"])
@pytest.mark.parametrize("q", ["", "hello"])
def test_every_statement_of_a_page_has_a_limit(client, user, settings, box, level, q):
    settings.PERSISTENT_MESSAGES = {
        "PAGE_SIZE": 7,
        "STRIP_LIMIT": 5,
        "COUNTER_LIMIT": 9,
        "SEARCH_WINDOW": 20,
    }
    rows_of(user, 50)
    rows_of(user, 50, folder=BOXES[box])
    newest = Message.objects.latest("pk").pk

    for before in (None, newest):
        with CaptureQueriesContext(connection) as queries:
            client.get("/messages/" + Filter(box=box, level=level, q=q, before=before).query())
        limits = {limit for sql in ours(queries) for limit in re.findall(r"LIMIT (\d+)", sql)}
        assert all("LIMIT" in sql for sql in ours(queries))
        assert limits <= {"1", "2", "5", "8", "10"}


# Plans


def sqlite_plan(sql):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        steps = [row[3] for row in cursor.fetchall()]
    touching = [step for step in steps if TABLE in step]
    return {
        "tables": {TABLE} if touching else set(),
        "indexes": {name for step in touching for name in re.findall(r"INDEX (\w+)", step)},
        "scans": [step for step in touching if step.startswith("SCAN")],
        "sorts": [step for step in steps if "USE TEMP B-TREE" in step],
    }


def postgresql_nodes(sql, how=""):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({how}FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    (found,) = plan if isinstance(plan, list) else json.loads(plan)
    waiting, nodes = [found["Plan"]], []
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes


def postgresql_plan(sql):
    nodes, whole = postgresql_nodes(sql), parents()
    tables = {node["Relation Name"] for node in nodes if "Relation Name" in node}
    indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
    return {
        "tables": {name for name in tables - {*whole.values()} if whole.get(name, name) == TABLE},
        # Django's names are those of the whole table.
        "indexes": {whole.get(name, name) for name in indexes},
        "scans": [node for node in nodes if node["Node Type"] == "Seq Scan"],
        "sorts": [node for node in nodes if "Sort" in node["Node Type"]],
    }


def mysql_plan(sql):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        names = [column[0] for column in cursor.description]
        steps = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    # What stands for the two halves of the strip is no table.
    touching = [step for step in steps if step["table"] == TABLE]
    return {
        "tables": {step["table"] for step in touching},
        # Several of them are written "a,b"; one that filters the rows of another "a|b".
        "indexes": {
            name for step in touching for name in re.split("[,|]", step["key"] or "") if name
        },
        "scans": [step for step in touching if step["type"] in {"ALL", "index"}],
        "sorts": [step for step in touching if "filesort" in (step["Extra"] or "")],
    }


PLANS = {"sqlite": sqlite_plan, "postgresql": postgresql_plan, "mysql": mysql_plan}


def sqlite_effort(sql):
    """The steps of its machine."""
    steps = []
    with connection.cursor() as cursor:
        connection.connection.set_progress_handler(lambda: steps.append(1), 1)
        try:
            cursor.execute(sql)
            cursor.fetchall()
        finally:
            connection.connection.set_progress_handler(None, 1)
    return len(steps)


def postgresql_effort(sql):
    """The rows it visits."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in postgresql_nodes(sql, "ANALYZE, ")
        if "Relation Name" in node
    )


def mysql_effort(sql):
    """The entries of indexes and the rows it reads."""

    def read(cursor):
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(count) for _, count in cursor.fetchall())

    with connection.cursor() as cursor:
        before = read(cursor)
        cursor.execute(sql)
        cursor.fetchall()
        return read(cursor) - before


# What a statement takes, whatever the machine does beside it.
EFFORTS = {"sqlite": sqlite_effort, "postgresql": postgresql_effort, "mysql": mysql_effort}

# The statistics that let PostgreSQL see how much is there. SQLite needs none, and with MariaDB the
# statement would end the transaction of the test.
ANALYZE = {"sqlite": [], "postgresql": [f"ANALYZE {TABLE}"], "mysql": []}
# How many others there are: SQLite plans without looking, the others read a small table whole.
CROWD = {"sqlite": 20, "postgresql": 600, "mysql": 300}

READS = {
    "the counter": lambda user, middle: Message.objects.count_unread_of(user, 21),
    "the strip": lambda user, middle: Message.objects.strip_of(user, 10),
    "what passes": lambda user, middle: list(Message.objects.one_shot_of(user)),
    "the newest unread": lambda user, middle: list(
        Message.objects.inbox_of(user).unread_heads()[:10]
    ),
}


for box, level, later in product(BOXES, ("", "error"), (False, True)):
    what = f"of {box} {level}".strip()

    def place_of(middle, box=box, level=level, later=later, **words):
        return Filter(box=box, level=level, before=middle if later else None, **words)

    def see(user, middle, place_of=place_of):
        return place_of(middle).page_of(user)

    def search(user, middle, place_of=place_of):
        return place_of(middle, q="hello").page_of(user)

    def look(user, middle, place_of=place_of):
        request = RequestFactory().get("/")
        request.user = user
        return Inbox(request, place_of(middle))

    READS[f"a {'deep' if later else 'newest'} page {what}"] = see
    READS[f"a {'deep' if later else 'newest'} search {what}"] = search
    if later:
        READS[f"the newest {what}"] = lambda user, middle, look=look: look(user, middle).newest
        READS[f"the news {what}"] = lambda user, middle, look=look: look(user, middle).news_after(
            middle
        )
        READS[f"the unread {what}"] = lambda user, middle, look=look: look(user, middle).unread

INDEXES = {"pm_folder", "pm_head", "pm_level", "pm_unread"}
# Few by nature, or within a range of keys: a database may find it cheaper to sort them.
BOUNDED = {"what passes", "the strip"} | {
    read for read in READS if "search" in read or "news" in read
}
# What is there: of the inbox most, and the folders mixed as they would have come.
ARRIVALS = 5 * [
    *[(Folder.INBOX, True)] * 7,
    *[(folder, True) for folder in (Folder.ARCHIVE, Folder.SENT, Folder.TRASH)] * 2,
    *[(Folder.INBOX, False)] * 3,
]
# Much smaller than what Sally has of each kind, as on a large site.
LIMITS = {"PAGE_SIZE": 5, "STRIP_LIMIT": 5, "COUNTER_LIMIT": 20, "SEARCH_WINDOW": 30}


@pytest.fixture
def big_table(user, settings):
    """Rows of many people, Sally's among them; returns a key in the middle of hers."""
    settings.PERSISTENT_MESSAGES = LIMITS
    people = get_user_model()
    people.objects.bulk_create(
        people(username=f"person-{number}") for number in range(CROWD[connection.vendor])
    )
    crowd = list(people.objects.filter(username__startswith="person-"))
    arrivals = [(person, folder, read) for folder, read in ARRIVALS for person in crowd]
    now = timezone.now()
    # Hers lie among those of the others, as they would have come.
    every = max(1, len(arrivals) // 2400)

    def row(number, owner, folder, read):
        # What lies in the trash came there in the last thirty days, all but a little of it.
        then = now - timedelta(days=30.7 * (number % 50) / 50, microseconds=number)
        return Message(
            user=owner,
            folder=folder,
            level=140 if number // every % 3 == 0 else 120,
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
    look_around()
    return middle


def look_around():
    with connection.cursor() as cursor:
        for statement in ANALYZE[connection.vendor]:
            cursor.execute(statement)


def plans_of(ask):
    with CaptureQueriesContext(connection) as queries:
        ask()
    return [PLANS[connection.vendor](sql) for sql in ours(queries)]


def test_an_index_serves_each_read_of_a_page(user, big_table):
    wrong = {}
    for read, ask in READS.items():
        for plan in plans_of(lambda ask=ask: ask(user, big_table)):
            sorts = [] if read in BOUNDED else plan["sorts"]
            used = plan["indexes"]
            # A search looks into the conversations that a row stands for, too.
            known = INDEXES | ({"pm_thread"} if "search" in read else set())
            if plan["scans"] or sorts or not used & INDEXES or used - known:
                wrong[read] = plan
            if len(plan["tables"]) != 1:
                wrong[f"{read}: tables"] = sorted(plan["tables"])

    assert wrong == {}


def test_a_level_is_found_without_passing_the_others(user, big_table):
    wrong = {}
    for box in ("inbox", "archive", "sent", "trash"):
        for read in (f"a newest page of {box} error", f"a deep page of {box} error"):
            (plan,) = plans_of(lambda read=read: READS[read](user, big_table))
            if plan["indexes"] != {"pm_level"}:
                wrong[read] = plan

    assert wrong == {}


def exchange(mine, others, letters, ago):
    """Letters in the mailbox of `mine` of one conversation, each newer than the one before."""
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
            followed_by=None if number + 2 >= letters else number + 2,
        )
        for number in range(letters)
    ]


@pytest.fixture
def long_letter(user, other, big_table):
    """The latest letter of a long conversation of Sally, who has many short ones; so do others."""
    people = list(get_user_model().objects.filter(username__startswith="person-")[:200])
    rows = exchange(user, other, 600, timedelta(minutes=20))
    for person in people:
        rows += exchange(person, other, 6, timedelta(days=1))
        rows += exchange(user, person, 2, timedelta(days=9))
    Message.objects.bulk_create(rows, batch_size=1000)
    look_around()
    return Message.objects.filter(user=user, from_user=other).latest("pk")


def test_an_index_serves_each_read_of_letters(user, long_letter):
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
        # Nobody sends more than the rate allows: to sort them may be cheaper.
        sorts = [] if index == "pm_sender" else plan["sorts"]
        assert (plan["indexes"], plan["scans"], sorts) == ({index}, [], []), read
        assert len(plan["tables"]) == 1, read


# What each write of a whole list, of an undo, or of pruning looks for, and the index that finds it.
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


WRITES = {
    "undo of reading": (undo_of_reading, {"pm_unread"}),
    "undo of archiving": (undo_of_a_move(Folder.ARCHIVE), {"pm_moved"}),
    "undo of deleting": (undo_of_a_move(Folder.TRASH), {"pm_moved"}),
    "pruning what is expired": (pruning("expired"), {"pm_expires"}),
    "pruning the trash": (pruning("trash"), {"pm_trashed"}),
    "pruning the spent": (pruning("spent"), {"pm_expires"}),
    "marking all read": (all_of(mailbox_module.mark_read, Filter()), INDEXES),
    "marking a level read": (all_of(mailbox_module.mark_read, Filter(level="error")), INDEXES),
    "deleting all": (all_of(mailbox_module.delete, Filter()), INDEXES),
    "emptying the trash": (all_of(mailbox_module.delete, Filter(box="trash")), INDEXES),
}


def test_an_index_finds_what_is_written_at_once(user, big_table):
    wrong = {}
    for write, (ask, expected) in WRITES.items():
        with transaction.atomic():
            with CaptureQueriesContext(connection) as queries:
                ask(user)
            # By its key a row is found anyhow; what looks one up beforehand is the test itself.
            statements = [sql for sql in ours(queries) if not re.search(r"IN \(\d|LIMIT 1$", sql)]
            assert statements, write
            for sql in statements:
                plan = PLANS[connection.vendor](sql)
                # Whether it cuts a conversation.
                looking = {"pm_thread"} if "DISTINCT" in sql else set()
                if plan["scans"] or not plan["indexes"] & (expected | looking):
                    wrong[sql] = plan
                if len(plan["tables"]) != 1 and "pruning" not in write:
                    wrong[sql] = sorted(plan["tables"])
            transaction.set_rollback(True)

    assert wrong == {}


# What makes most of the inbox ready to be pruned, for each reason.
LONG_AGO = timezone.now() - timedelta(days=90)
READY = {
    "expired": ({"expires": LONG_AGO}, "pm_expires"),
    "trash": ({"folder": Folder.TRASH, "trashed_at": LONG_AGO}, "pm_trashed"),
    "spent": ({"folder": Folder.SPENT, "expires": LONG_AGO}, "pm_expires"),
}


def test_an_index_finds_what_is_pruned_however_much_there_is(big_table):
    """And in its order, so that a batch reads no more than itself."""
    for reason, (fields, index) in READY.items():
        with transaction.atomic():
            Message.objects.filter(folder=Folder.INBOX).update(**fields)
            look_around()
            with CaptureQueriesContext(connection) as queries:
                assert pruning(reason)(None) == pruning_module.BATCH
            plan = PLANS[connection.vendor](ours(queries)[0])
            transaction.set_rollback(True)

        assert (plan["indexes"], plan["scans"], plan["sorts"]) == ({index}, [], []), reason


def test_the_unread_are_found_without_passing_the_read(user, big_table):
    for read in ("the counter", "the strip", "a newest page of unread"):
        with CaptureQueriesContext(connection) as queries:
            READS[read](user, big_table)
        (sql,) = ours(queries)
        assert "pm_unread" in PLANS[connection.vendor](sql)["indexes"], read


def test_what_waits_for_others_costs_nothing_before_the_database_knows_of_it(user, big_table):
    """When PostgreSQL looked around last, nothing may have waited for anybody."""
    waiting = Message.objects.filter(folder=Folder.ONE_SHOT)
    hers = [row.pk for row in waiting.filter(user=user)]
    waiting.update(folder=Folder.INBOX)
    look_around()
    Message.objects.filter(pk__in=hers).update(folder=Folder.ONE_SHOT)
    alone = {read: what_it_takes(user, read) for read in ("the strip", "what passes")}

    fields = {"folder": Folder.ONE_SHOT, "level": contrib_messages.INFO, "message": "Hello"}
    crowd = get_user_model().objects.filter(username__startswith="person-")
    Message.objects.bulk_create(Message(user=person, **fields) for person in crowd for _ in "123")

    assert {read: what_it_takes(user, read) for read in alone} == alone


def what_it_takes(user, read):
    """The indexes that serve a read, which all begin with the user, and its effort."""
    with CaptureQueriesContext(connection) as queries:
        READS[read](user, None)
    (sql,) = ours(queries)
    plan = PLANS[connection.vendor](sql)
    assert plan["indexes"] <= INDEXES, plan
    assert plan["scans"] == []
    return plan["indexes"], EFFORTS[connection.vendor](sql)


def test_no_statement_of_a_page_reads_the_whole_table(client, big_table):
    for address in ("/strip/", "/counter/", "/messages/", "/messages/?q=hello"):
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        statements = ours(queries)
        assert statements
        for sql in statements:
            assert PLANS[connection.vendor](sql)["scans"] == [], sql
