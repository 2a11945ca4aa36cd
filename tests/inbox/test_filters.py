"""Filters: their query string, their messages, and search."""

from dataclasses import FrozenInstanceError, replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import persistent_messages
from persistent_messages.constants import DEFAULT_TAGS, Folder
from persistent_messages.inbox.filters import BOXES, LEVELS, MAX_KEY, Filter, parse_key
from persistent_messages.models import Message

pytestmark = pytest.mark.django_db

# Far more pages than any test goes through.
ENDLESS = 100


def read(query):
    return Filter.from_query(QueryDict(query))


def texts(page):
    return [message.message for message in page.messages]


def found(user, q, **place):
    """The texts that a search finds on its first page; as the address asks for it."""
    query = QueryDict(mutable=True)
    query.update({"q": q, **place})
    return texts(Filter.from_query(query).page_of(user))


def pages_from(user, start):
    """All pages from this one on, by whichever cursor leads on."""
    pages, place = [], start
    while len(pages) < ENDLESS:
        page = place.page_of(user)
        pages.append(page)
        assert page.older is None or page.further is None, "one way on at most"
        cursor = page.older or page.further
        if cursor is None:
            return pages
        assert place.before is None or cursor < place.before, "it gets on"
        place = replace(place, before=cursor)
    raise AssertionError("the walk has no end")


def keys_of(pages):
    return [message.pk for page in pages for message in page.messages]


def rows_for(user, contents, **fields):
    """Rows with these texts, the last one the newest; returns their keys."""
    fields = {"user": user, "folder": Folder.INBOX, "level": 120, **fields}
    Message.objects.bulk_create(Message(message=text, **fields) for text in contents)
    keys = Message.objects.filter(user=user).order_by("-pk").values_list("pk", flat=True)
    return sorted(keys[: len(contents)])


# The URL


@pytest.mark.parametrize(
    "query",
    [
        "",
        "&&&",
        "=",
        "box=nope&level=loud&before=abc&q=",
        "box=INBOX",
        "box=one_shot",
        "box=0",
        "box=trash%00",
        "box[]=trash",
        "box=trash&box=",
        "level=140",
        "level=ERROR",
        "level=error&level=none",
        "newest=x",
        "newest=-1",
        "before=-1",
        "before=%2B1",
        "before=1.5",
        "before=1e3",
        "before=0x10",
        "before=1_000",
        "before=%201",
        "before=%00",
        "before=None",
        "before=%D9%A3",  # ٣, a digit to `int`
        "before=%C2%B2",  # ², a digit to `isdigit`
        "before=" + "9" * 20,
        "before=" + "9" * 10_000,
        "q=%00%00",
        "q=%20%09%0A",
        "unknown=1&__class__=2",
        "before=%ff&box=%ff%fe&level=%c3",
    ],
)
def test_invalid_query_parameters_are_ignored(query):
    assert read(query) == Filter()


def test_valid_parameters_are_used_beside_invalid_ones():
    assert read("box=trash&level=loud&q=x&before=no") == Filter(box="trash", q="x")
    assert read("box=nope&level=error&before=7") == Filter(level="error", before=7)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("0", 0),
        ("007", 7),
        ("7", 7),
        (str(MAX_KEY), MAX_KEY),
        (str(MAX_KEY + 1), MAX_KEY),
        ("9" * 19, MAX_KEY),
        ("9" * 20, None),
        ("", None),
        (None, None),
        ("-7", None),
        ("٣", None),
    ],
)
def test_parse_key_accepts_only_database_integers(text, key):
    assert parse_key(text) == key


@pytest.mark.parametrize("before", ["0", "1", str(MAX_KEY), "9" * 19, "9" * 5000])
def test_before_accepts_any_number(user, send, before):
    row = send("Hello")
    shown = [] if before in ("0", "1") else [row]
    assert read(f"before={before}").page_of(user).messages == shown
    assert read(f"q=hello&before={before}").page_of(user).messages == shown


def test_search_words_are_truncated_and_lose_null_characters():
    assert read("q=%20a%00b%20").q == "ab"
    long = read("q=" + "x" * 10_000)
    assert long.q == "x" * 100
    assert len(read("q=" + "+".join("abcdefghijklmnop")).words) == 8
    assert read("q=one++two%0Athree%C2%A0four").words == ["one", "two", "three", "four"]


QS = ["", "hello", "a b", "a&b=c#d?e/f", "100% + 1", "ärger 😀 ‮", "'\"<b>\\", "a;b", "box=trash"]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("level", ["", *LEVELS])
def test_filter_round_trips_through_query_string(box, level):
    for q in QS:
        for before in (None, 0, 1, MAX_KEY):
            place = Filter(box=box, level=level, q=q, before=before)
            query = place.query()
            assert query.startswith("?")
            assert read(query[1:]) == place
            assert read(query[1:]).query() == query


@pytest.mark.parametrize("spaces", [1, 5])
def test_truncated_words_round_trip_through_query_string(spaces):
    place = read("q=" + "x" * 98 + "+" * spaces + "y" * 50)
    assert read(place.query()[1:]) == place


def test_query_string_omits_defaults():
    assert Filter().query() == "?"
    assert Filter(box="trash").query() == "?box=trash"
    assert Filter(box="trash", level="error", q="a b", before=7).query() == (
        "?box=trash&level=error&q=a+b&before=7"
    )
    assert Filter(before=7, newest=9).query() == "?before=7&newest=9"
    assert Filter(before=7, newest=9).query(before=None) == "?", "the first page has its own"


def test_query_accepts_overrides():
    place = Filter(box="trash", level="error", q="a", before=7)
    assert place.query(before=None) == "?box=trash&level=error&q=a"
    assert place.query(box="inbox", q="", before=9) == "?level=error&before=9"
    assert place == Filter(box="trash", level="error", q="a", before=7)
    with pytest.raises(TypeError, match="bx"):
        place.query(bx="inbox")


def test_filter_is_immutable():
    with pytest.raises(FrozenInstanceError):
        Filter().box = "trash"


def test_each_box_shows_one_folder_and_none_shows_one_shot_messages():
    folders = {box: Filter(box=box).folder for box in BOXES}
    assert folders == {
        "inbox": Folder.INBOX,
        "unread": Folder.INBOX,
        "archive": Folder.ARCHIVE,
        "sent": Folder.SENT,
        "trash": Folder.TRASH,
    }
    assert {LEVELS[name]: name for name in LEVELS} == DEFAULT_TAGS


# The selected messages


@pytest.fixture
def full_mailbox(user, other):
    """A mailbox with some of everything, and another like it."""
    now = timezone.now()
    Message.objects.bulk_create(
        Message(
            user=owner,
            folder=folder,
            level=level,
            message=f"{folder.name} {DEFAULT_TAGS.get(level)} {'read' if read_at else 'unread'}",
            read_at=read_at,
            expires=expires,
        )
        for owner in (user, other)
        for folder in Folder
        for level in (*LEVELS.values(), 155)
        for read_at in (None, now)
        for expires in (None, now + timedelta(hours=1), now - timedelta(seconds=1))
    )


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("level", ["", *LEVELS])
def test_filter_shows_exactly_matching_messages(user, full_mailbox, box, level):
    def belongs(row):
        return (
            row.user_id == user.pk
            and row.folder == BOXES[box]
            and (not level or row.level == LEVELS[level])
            and (box != "unread" or not row.read)
            and not row.has_expired
        )

    expected = [row for row in Message.objects.order_by("-pk") if belongs(row)]
    shown = Filter(box=box, level=level)
    assert expected
    assert list(shown.rows_of(user)) == expected
    assert list(shown.rows_of(user.pk)) == expected
    assert keys_of(pages_from(user, shown)) == [row.pk for row in expected]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("q", ["", "unread"])
@pytest.mark.parametrize("who", [AnonymousUser(), None])
def test_visitor_gets_empty_page_without_query(
    full_mailbox, who, box, q, django_assert_num_queries
):
    with django_assert_num_queries(0):
        page = Filter(box=box, level="error", q=q).page_of(who)
    assert (page.messages, page.older, page.further, page.newest) == ([], None, None, 0)


def test_rows_of_filter_are_lazy(user, django_assert_num_queries):
    with django_assert_num_queries(0):
        Filter(box="unread", level="error", q="x", before=7).rows_of(user)


@pytest.mark.parametrize("box", BOXES)
def test_page_is_limited_and_has_cursor_to_next_page(user, settings, box):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2}
    keys = rows_for(user, "abcde", folder=BOXES[box])
    pages = pages_from(user, Filter(box=box))
    assert [texts(page) for page in pages] == [["e", "d"], ["c", "b"], ["a"]]
    assert [page.older for page in pages] == [keys[3], keys[1], None]
    assert [page.further for page in pages] == [None] * 3


def test_page_size_follows_current_setting(user, settings):
    rows_for(user, "abcde")
    assert len(Filter().page_of(user).messages) == 5
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 3}
    assert len(Filter().page_of(user).messages) == 3
    assert len(Filter(q="e").page_of(user).messages) == 1


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("level", ["", "info"])
@pytest.mark.parametrize("topic", ["", "billing"])
@pytest.mark.parametrize("q", ["", "hello", "hello 1 2 3 4 5 6 7 8 9"])
@pytest.mark.parametrize("before", [None, MAX_KEY])
def test_page_takes_one_query_and_search_or_level_takes_two(
    user, django_assert_num_queries, box, level, topic, q, before
):
    rows_for(user, ["Hello"] * 40, folder=BOXES[box], topic=topic)
    place = Filter(box=box, level=level, topic=topic, q=q, before=before)
    looks = q or level or (topic and box == "unread")
    with django_assert_num_queries(2 if looks else 1):
        page = place.page_of(user)
    assert len(page.messages) == (25 if q in ("", "hello") else 0)


# Search


def test_search_covers_subject_text_sender_and_recipient(user):
    fields = {"user": user, "folder": Folder.SENT, "level": 120}
    hits = [
        Message.objects.create(message="a", subject="The Needle", **fields),
        Message.objects.create(message="a needle.", **fields),
        Message.objects.create(message="a", from_name="Ned Needle", **fields),
        Message.objects.create(message="a", to_name="Needleman", **fields),
    ]
    Message.objects.create(message="hay", extra_tags="needle", url="/needle/", **fields)
    assert Filter(box="sent", q="needle").page_of(user).messages == hits[::-1]


def test_search_requires_all_words_in_any_field(user):
    fields = {"user": user, "level": 120}
    both = Message.objects.create(message="costs more", subject="The invoice", **fields)
    named = Message.objects.create(message="invoice", from_name="Costs & Sons", **fields)
    Message.objects.create(message="The invoice", **fields)
    Message.objects.create(message="It costs", **fields)
    for q in ("invoice costs", "costs invoice", "  costs \t invoice ", "cost voice"):
        assert Filter(q=q).page_of(user).messages == [named, both]
    assert Filter(q="invoice costs nothing").page_of(user).messages == []


def test_search_uses_each_word_up_to_limit(user):
    rows_for(user, ["a b c d e f g h", "a b c d e f g"])
    assert found(user, "a b c d e f g h") == ["a b c d e f g h"]


def test_search_ignores_case(user):
    rows_for(user, ["Hello", "HELLO", "hello", "other"])
    for q in ("hello", "HELLO", "hElLo", "ELL"):
        assert found(user, q) == ["hello", "HELLO", "Hello"]


def test_search_finds_non_ascii_text(user):
    rows_for(user, ["Ärger mit Größe", "Привет", "こんにちは世界", "مرحبا", "🎉 done"])
    for q in ("Ärger", "Größe", "Привет", "世界", "مرحبا", "🎉"):
        (text,) = found(user, q)
        assert q in text


SPECIAL = [
    "100 sure",
    "100% sure",
    "axb",
    "a_b",
    "C:temp",
    r"C:\temp",
    "it's",
    '"quoted"',
    "[ab]",
    "%s of %d",
    "{}",
]


@pytest.mark.parametrize(
    ("q", "shown"),
    [
        ("%", ["%s of %d", "100% sure"]),
        ("100%", ["100% sure"]),
        ("1%e", []),
        ("_", ["a_b"]),
        ("a_b", ["a_b"]),
        ("\\", [r"C:\temp"]),
        (r"C:\temp", [r"C:\temp"]),
        (r"\%", []),
        (r"\t", [r"C:\temp"]),
        ("'", ["it's"]),
        ("';--", []),
        ('"', ['"quoted"']),
        ("[ab]", ["[ab]"]),
        ("a.b", []),
        ("a*", []),
        ("%s", ["%s of %d"]),
        ("%(x)s", []),
        ("{}", ["{}"]),
    ],
)
def test_search_takes_wildcards_literally(user, q, shown):
    rows_for(user, SPECIAL)
    assert found(user, q) == shown


def test_search_ignores_null_characters(user):
    rows_for(user, ["Hello"])
    for q in ("he\x00llo", "\x00hello", "hello\x00", "hel\x00\x00lo \x00"):
        assert found(user, q) == ["Hello"]


def test_search_truncates_very_long_word(user):
    rows_for(user, ["x" * 20_000, "x" * 99, "Hello"])
    for q in ("x" * 10_000, "x" * 1_000_000):
        assert [len(text) for text in found(user, q)] == [20_000]


@pytest.mark.parametrize(
    "q", ["x " * 5000, "% " * 5000, "_" * 10_000, "\\" * 10_000, "😀" * 10_000]
)
def test_search_accepts_any_number_of_words(user, q, django_assert_num_queries):
    rows_for(user, ["Hello"])
    with django_assert_num_queries(2):
        assert found(user, q) == []


@pytest.mark.parametrize("box", BOXES)
def test_search_stays_in_box_and_level(user, full_mailbox, box):
    for level in ("", *LEVELS):
        everything = Filter(box=box, level=level)
        shown = keys_of(pages_from(user, replace(everything, q="re")))
        assert shown
        assert shown == [row.pk for row in everything.rows_of(user)]


def test_search_never_finds_messages_of_other_users(user, other, send, settings):
    """Other users' messages do not count towards the window, either."""
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 3}
    hers = send("secret of Sally")
    rows_for(other, ["secret of Harry"] * 10)
    page = Filter(q="secret").page_of(user)
    assert (page.messages, page.further) == ([hers], None)
    assert len(Filter(q="secret").page_of(other).messages) == 3
    assert keys_of(pages_from(other, Filter(q="Sally"))) == []


@pytest.mark.parametrize("folder", [Folder.ONE_SHOT, Folder.ARCHIVE, Folder.SENT, Folder.TRASH])
def test_other_folders_do_not_count_towards_search_window(user, settings, folder):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 3}
    rows_for(user, ["needle", "hay"])
    rows_for(user, ["needle elsewhere"] * 10, folder=folder)
    rows_for(user, ["needle too late"] * 10, expires=timezone.now() - timedelta(seconds=1))
    page = Filter(q="needle").page_of(user)
    assert (texts(page), page.further) == (["needle"], None)


# The window


@pytest.mark.parametrize("box", BOXES)
def test_search_reads_only_newest_rows_up_to_window(user, settings, box):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 5}
    keys = rows_for(user, ["needle"] * 2 + ["hay"] * 5, folder=BOXES[box])
    page = Filter(box=box, q="needle").page_of(user)
    assert (page.messages, page.older) == ([], None)
    further = Filter(box=box, q="needle", before=page.further).page_of(user)
    assert [row.pk for row in further.messages] == keys[1::-1]
    assert further.further is None


def test_search_finds_last_row_of_window_but_not_next(user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 5}
    rows_for(user, ["needle outside", "needle inside"] + ["hay"] * 4)
    assert found(user, "needle") == ["needle inside"]


def test_search_window_is_key_range_in_both_queries(user, settings):
    """However many rows match, the database reads no more than the search window."""
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 5}
    keys = rows_for(user, ["hay"] * 20)
    with CaptureQueriesContext(connection) as queries:
        Filter(q="needle", before=keys[15]).page_of(user)
    edge, search = [query["sql"] for query in queries]
    # The rows of the window, and one more.
    assert "LIMIT 6" in edge
    assert "LIKE" not in edge.upper()
    numbers = {
        int(word) for word in search.replace("(", " ").replace(")", " ").split() if word.isdigit()
    }
    assert {keys[15], 26} <= numbers
    # The end of the window: at the last of five rows, or just after it.
    assert numbers & set(keys[9:12])


def test_search_has_no_further_cursor_if_window_covers_folder(user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 5}
    rows_for(user, ["needle"] + ["hay"] * 3)
    assert Filter(q="needle").page_of(user).further is None
    rows_for(user, ["hay"])
    assert Filter(q="needle").page_of(user).further is None, "exactly full"
    rows_for(user, ["hay"])
    assert Filter(q="needle").page_of(user).further is not None


def test_next_page_of_search_continues_within_window(user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 5, "PAGE_SIZE": 2}
    keys = rows_for(user, ["needle"] * 8)
    pages = pages_from(user, Filter(q="needle"))
    assert [[row.pk for row in page.messages] for page in pages if page.messages] == [
        keys[7:5:-1],
        keys[5:3:-1],
        keys[3:1:-1],
        keys[1::-1],
    ]


SIZES = [(2, 5), (5, 2)]
"""Rows on a page, and in the window of a search."""
SIZES += [pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((1, 1), (3, 3), (25, 4))]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("level", ["", "info"])
@pytest.mark.parametrize(("page_size", "window"), SIZES)
@pytest.mark.parametrize("every", [1, 3, 50])
def test_search_pages_cover_mailbox_without_gap_or_duplicate(
    user, other, settings, box, level, page_size, window, every
):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": page_size, "SEARCH_WINDOW": window}
    fields = {"folder": BOXES[box], "level": 120}
    kinds = [
        {"user": user, **fields},
        {"user": user, **fields, "level": 140},
        {"user": user, **fields, "read_at": timezone.now()},
        {"user": other, **fields},
    ]
    Message.objects.bulk_create(
        Message(message="hay" if number % every else "needle", **kind)
        for number in range(23)
        for kind in kinds
    )
    start = Filter(box=box, level=level)
    expected = [row.pk for row in start.rows_of(user) if row.message == "needle"]
    assert expected
    pages = pages_from(user, replace(start, q="needle"))
    assert keys_of(pages) == expected
    assert all(len(page.messages) <= page_size for page in pages)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("level", ["", "error"])
@pytest.mark.parametrize("topic", ["", "billing"])
@pytest.mark.parametrize("q", ["", "needle"])
@pytest.mark.parametrize(("page_size", "window"), SIZES)
def test_level_and_topic_pages_have_no_gap_or_duplicate(
    user, other, settings, box, level, topic, q, page_size, window
):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": page_size, "SEARCH_WINDOW": window}
    Message.objects.bulk_create(
        Message(
            user=other if number % 5 == 0 else user,
            folder=BOXES[box],
            level=140 if number % 3 == 0 else 120,
            topic=("", "billing", "storage")[number // 2 % 3],
            message="needle" if number % 2 else "hay",
        )
        for number in range(60)
    )
    place = Filter(box=box, level=level, topic=topic, q=q)
    expected = [row.pk for row in place.rows_of(user) if not q or row.message == q]
    assert expected
    pages = pages_from(user, place)
    assert keys_of(pages) == expected
    assert all(len(page.messages) <= page_size for page in pages)


@pytest.mark.parametrize("box", BOXES)
def test_topic_filter_has_no_window(user, settings, box):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 3}
    (bill,) = rows_for(user, ["bill"], folder=BOXES[box], topic="billing", level=140)
    rows_for(user, ["other"] * 5, folder=BOXES[box])

    assert Filter(box=box, level="error").page_of(user).messages == []
    page = Filter(box=box, topic="billing", level="error").page_of(user)
    # The index of topics does not have `read_at`.
    found = [] if box == "unread" else [bill]
    assert [row.pk for row in page.messages] == found
    assert (page.further is None) is (box != "unread")


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("level", ["", "error"])
@pytest.mark.parametrize("topic", ["", "billing"])
def test_neighbors_of_message_follow_filtered_list(
    user, other, django_assert_num_queries, box, level, topic
):
    Message.objects.bulk_create(
        Message(
            user=other if number % 5 == 0 else user,
            folder=BOXES[box],
            level=140 if number % 3 == 0 else 120,
            topic=("", "billing", "storage")[number // 2 % 3],
            message="Hello",
        )
        for number in range(40)
    )
    place = Filter(box=box, level=level, topic=topic)
    listed = [row.pk for row in place.rows_of(user)]
    assert len(listed) > 2
    for row in Message.objects.filter(user=user):
        with django_assert_num_queries(1):
            newer, older = place.neighbors_of(user, row.pk)
        found = [getattr(message, "pk", None) for message in (newer, older)]
        assert found == [
            min((key for key in listed if key > row.pk), default=None),
            max((key for key in listed if key < row.pk), default=None),
        ]


def test_neighbors_in_level_are_limited_to_window(user, settings):
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 3}
    levels = [140, 120, 120, 140, 120, 120, 120, 140]
    rows = [rows_for(user, ["Hello"], level=level)[0] for level in levels]

    newer, older = Filter(level="error").neighbors_of(user, rows[3])

    assert (newer, older.pk) == (None, rows[0])


def test_arrivals_during_paging_cause_no_gap_or_duplicate(user, settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 2, "SEARCH_WINDOW": 3}
    keys = rows_for(user, ["needle", "hay"] * 6)
    seen, place = [], Filter(q="needle")
    for _ in range(ENDLESS):
        page = place.page_of(user)
        seen += [row.pk for row in page.messages]
        rows_for(user, ["needle"])
        cursor = page.older or page.further
        if cursor is None:
            break
        Message.objects.filter(pk=cursor, message="hay").delete()
        place = replace(place, before=cursor)
    assert seen == keys[10::-2]


def test_search_window_follows_current_setting(user, settings):
    rows_for(user, ["needle"] + ["hay"] * 5)
    assert found(user, "needle") == ["needle"]
    settings.PERSISTENT_MESSAGES = {"SEARCH_WINDOW": 2}
    assert found(user, "needle") == []


def test_search_finds_message_sent_by_site(user, send):
    """The words are found through the same rows that `send_message` writes."""
    send("Your order left the house.", persistent_messages.SUCCESS, subject="Order 4711")
    assert found(user, "4711 house", level="success") == ["Your order left the house."]
    assert found(user, "4711", level="error") == []


def test_page_of_accepts_user_or_primary_key(user):
    (key,) = rows_for(user, ["Hello"])
    for whose in (user, user.pk):
        assert [message.pk for message in Filter().page_of(whose).messages] == [key]
        assert [message.pk for message in Filter(q="hello").page_of(whose).messages] == [key]
    for nobody in (None, AnonymousUser()):
        assert Filter().page_of(nobody) == Filter(q="hello").page_of(nobody)
