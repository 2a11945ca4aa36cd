"""The properties, texts and comparisons of a message."""

from datetime import timedelta
from unittest.mock import ANY

import pytest
from django.contrib import messages
from django.contrib.messages import Message as ContribMessage
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.safestring import SafeData, mark_safe

import persistent_messages
from persistent_messages import mailbox
from persistent_messages.constants import Folder
from persistent_messages.models import SNIPPET_LENGTH, Message

pytestmark = pytest.mark.django_db


def text_of(value):
    """Return text and whether it is safe."""
    return str(value), isinstance(value, SafeData)


# The text


def test_str_is_message():
    assert text_of(str(Message(level=120, message="Hello"))) == ("Hello", False)


def test_str_includes_subject():
    assert str(Message(level=120, subject="Note", message="Hello")) == "Note: Hello"


def test_str_of_safe_text_is_safe_with_escaped_subject():
    message = Message(level=120, subject="<i>Note</i>", message=mark_safe("<b>Hello</b>"))
    assert text_of(str(message)) == ("&lt;i&gt;Note&lt;/i&gt;: <b>Hello</b>", True)


def test_safe_subject_does_not_make_str_safe():
    message = Message(level=120, subject=mark_safe("<i>Note</i>"), message="<b>Hello</b>")
    assert text_of(str(message)) == ("<i>Note</i>: <b>Hello</b>", False)


def test_repr_has_key_level_and_text(send):
    row = send("Hello")
    assert repr(row) == f"<Message {row.pk}: level=120, message='Hello'>"


def test_safe_text_is_safe_after_loading(send):
    send(mark_safe("<b>Hello</b>"))
    assert isinstance(Message.objects.get().message, SafeData)
    send("<b>Hello</b>")
    assert not isinstance(Message.objects.latest("pk").message, SafeData)


def test_row_can_be_loaded_without_text(send):
    row = send(mark_safe("<b>Hello</b>"))
    assert Message.objects.only("level").get() == row
    assert Message.objects.defer("message").get().message == "<b>Hello</b>"
    assert Message.objects.defer("is_safe").get().message == "<b>Hello</b>"


def test_prepare_text_evaluates_lazy_text_and_sets_is_safe():
    class Lazy:
        def __str__(self):
            return mark_safe("<b>\x00Hello\ud800</b>")

    message = Message(level=120, message=Lazy(), subject="a\x00", extra_tags="b\udfff")
    message.prepare_text()
    assert text_of(message.message) == ("<b>Hello</b>", True)
    assert message.is_safe is True
    assert (message.subject, message.extra_tags) == ("a", "b")
    message.message = "Plain"
    message.prepare_text()
    assert message.is_safe is False
    assert type(message.message) is str


# Title and snippet


def test_title_is_subject_or_snippet():
    assert Message(level=120, subject="Note", message="Hello").title == "Note"
    assert Message(level=120, message="Hello").title == "Hello"


def test_snippet_is_one_line():
    assert Message(level=120, message="  a\r\n\tb  \n c ").snippet == "a b c"


def test_snippet_of_long_text_is_truncated():
    snippet = Message(level=120, message="word " * 1000).snippet
    assert len(snippet) == SNIPPET_LENGTH
    assert snippet.startswith("word word")
    assert snippet.endswith("…")


def test_snippet_of_text_with_maximum_length_is_not_truncated():
    text = "x" * SNIPPET_LENGTH
    assert Message(level=120, message=text).snippet == text
    assert Message(level=120, message=text + "x").snippet != text


def test_snippet_of_safe_text_is_plain_text():
    message = Message(level=120, message=mark_safe("<p>Tom &amp; <b>Jerry</b></p>"))
    assert text_of(message.snippet) == ("Tom & Jerry", False)
    assert message.plain_text == "Tom & Jerry"


def test_snippet_of_unsafe_text_is_unchanged():
    message = Message(level=120, message="<p>Tom &amp; Jerry</p>")
    assert text_of(message.snippet) == ("<p>Tom &amp; Jerry</p>", False)
    assert message.plain_text == "<p>Tom &amp; Jerry</p>"


def test_snippet_of_long_safe_text_is_plain_text():
    message = Message(level=120, message=mark_safe("<p>" + "<b>word</b> " * 1000 + "</p>"))
    assert text_of(message.snippet)[1] is False
    assert "<" not in message.snippet
    assert message.snippet.startswith("word word")


@pytest.mark.parametrize(
    "start", ['<a href="/', '<img alt="', "<!-- "], ids=["link", "image", "comment"]
)
def test_snippet_has_no_incomplete_tag(start):
    end = " -->" if start.startswith("<!") else '">'
    message = Message(level=120, message=mark_safe(f"Look {start}{'x' * 5000}{end}here"))
    assert "<" not in message.snippet
    assert "xxx" not in message.snippet


def test_unescaped_text_is_not_safe():
    message = Message(level=120, message=mark_safe("&lt;script&gt;alert(1)&lt;/script&gt;"))
    assert text_of(message.snippet) == ("<script>alert(1)</script>", False)
    assert text_of(message.title)[1] is False
    assert text_of(message.plain_text)[1] is False


def test_snippet_of_empty_text_is_empty():
    assert Message(level=120, message="").snippet == ""
    assert Message(level=120, message=mark_safe("<br>")).snippet == ""


# State


def test_message_is_read_if_read_at_is_set():
    """The package of 2011 had a field `read`."""
    assert Message(level=120).read is False
    assert Message(level=120, read_at=timezone.now()).read is True


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Honolulu"])
def test_message_expires_at_same_moment_in_any_time_zone(settings, zone):
    settings.TIME_ZONE = zone
    now = timezone.now()
    assert Message(level=120).has_expired is False
    assert Message(level=120, expires=now + timedelta(hours=1)).has_expired is False
    assert Message(level=120, expires=now).has_expired is True


@pytest.mark.parametrize(("level", "base"), [(20, 20), (120, 20), (129, 29), (100, 100)])
def test_base_level_and_is_persistent(level, base):
    message = Message(level=level)
    assert message.base_level == base
    assert message.is_persistent is (level != base)


def test_new_row_has_defaults(user):
    before = timezone.now()
    row = Message.objects.create(user=user, level=120, message="Hello")
    assert row.folder == Folder.INBOX
    assert before <= row.created <= timezone.now()
    empty = ("subject", "extra_tags", "url", "from_name", "to_name")
    assert [getattr(row, name) for name in empty] == [""] * 5
    unset = ("read_at", "expires", "moved_at", "trashed_at", "close_timeout")
    unset += ("thread", "from_user", "to_user")
    assert [getattr(row, name) for name in unset] == [None] * 8


# Tags


def test_tags_are_extra_tags_level_tag_and_read_state():
    message = Message(level=130, extra_tags="a b")
    assert message.tags == "a b warning unread"
    message.read_at = timezone.now()
    assert message.tags == "a b warning read"


def test_one_shot_messages_are_neither_read_nor_unread():
    assert Message(level=30, extra_tags="a").tags == "a warning"
    assert Message(level=30, extra_tags=None).tags == "warning"
    assert Message(level=29).tags == ""


def test_tags_follow_message_tags_setting(settings):
    """In the package of 2011, the tags were fixed at import."""
    message = Message(level=persistent_messages.ERROR)
    assert message.level_tag == "error"
    settings.MESSAGE_TAGS = {messages.ERROR: "danger"}
    assert message.level_tag == "danger"
    settings.MESSAGE_TAGS = {messages.ERROR: ""}
    assert message.tags == "unread"
    settings.MESSAGE_TAGS = {messages.ERROR: "danger", persistent_messages.ERROR: ""}
    assert message.tags == "unread"


def test_tags_do_not_leak_between_settings(settings):
    settings.MESSAGE_TAGS = {29: "custom"}
    assert Message(level=129).level_tag == "custom"
    settings.MESSAGE_TAGS = {}
    assert Message(level=129).level_tag == ""


# Equality


def test_message_equals_contrib_message_with_same_level_and_text():
    ours, theirs = Message(level=120, message="Hello"), ContribMessage(120, "Hello")
    assert ours == theirs
    assert theirs == ours
    assert not ours != theirs  # noqa: SIM202 (the other operator)
    assert not theirs != ours  # noqa: SIM202


@pytest.mark.parametrize(
    "theirs", [ContribMessage(20, "Hello"), ContribMessage(120, "hello"), ContribMessage(120, "")]
)
def test_message_differs_from_other_contrib_messages(theirs):
    ours = Message(level=120, message="Hello")
    assert ours != theirs
    assert theirs != ours


def test_equality_ignores_extra_tags():
    ours = Message(level=20, message="Hello", extra_tags="a")
    assert ours == ContribMessage(20, "Hello", "b")


def test_rows_are_equal_by_primary_key(send):
    """In contrib, messages are equal if their texts are."""
    first, second = send("Same"), send("Same")
    assert first != second
    assert first == Message.objects.get(pk=first.pk)
    assert len({first, second, Message.objects.get(pk=first.pk)}) == 2


def test_two_unsaved_messages_are_not_equal():
    assert Message(level=20, message="Same") != Message(level=20, message="Same")


def test_message_can_be_compared_with_any_object():
    message = Message(level=20, message="Hello")
    assert message == ANY
    assert message != "Hello"
    assert message is not None
    assert message != object()


# Table


def test_deleting_user_deletes_own_messages(user, other, send):
    send("Hers", from_user=other)
    user.delete()
    assert not Message.objects.exists()


def test_deleting_sender_keeps_messages_with_name(user, other, send):
    """`CASCADE` would delete the recipient's copy; `PROTECT` would prevent the deletion."""
    send("From Harry", from_user=other)
    other.delete()
    row = Message.objects.get()
    assert (row.from_user, row.from_name, row.message) == (None, "harry", "From Harry")


def test_message_requires_user(db):
    with pytest.raises(IntegrityError):
        Message.objects.create(level=120, message="Nobody's")


def test_model_does_not_define_prepare():
    """The framework calls `message._prepare()`, and `ModelBase` has a method with this name."""
    assert "_prepare" not in vars(Message)


def test_queryset_methods_select_states(user, other, send):
    past = timezone.now() - timedelta(seconds=1)
    unread, read = send("Unread"), send("Read")
    trash, archived = send("Trash"), send("Archived")
    mailbox.mark_read(user, Folder.INBOX, Message.objects.filter(pk=read.pk))
    mailbox.delete(user, Folder.INBOX, Message.objects.filter(pk=trash.pk))
    mailbox.archive(user, Folder.INBOX, Message.objects.filter(pk=archived.pk))
    once, expired, foreign = send("Once", 20), send("Late", expires=past), send("His", to=other)
    rows = Message.objects
    assert set(rows.owned_by(user)) == {unread, read, trash, archived, once, expired}
    assert set(rows.owned_by(other.pk)) == {foreign}
    assert set(rows.owned_by(None)) == set()
    assert set(rows.in_folder(Folder.TRASH)) == {trash}
    assert set(rows.in_folder(Folder.ARCHIVE)) == {archived}
    assert set(rows.owned_by(user).unread()) == {unread, trash, archived, once, expired}
    assert set(rows.owned_by(user).current()) == {unread, read, trash, archived, once}
    assert set(rows.expired()) == {expired}
    assert set(rows.visible_to(user)) == {unread, read, trash, archived, expired}
    assert list(rows.inbox_of(user).newest_first()) == [read, unread]
    assert list(rows.inbox_of(user).thread_heads()) == [read, unread]
    assert list(rows.inbox_of(user).unread_thread_heads()) == [unread]
    assert set(rows.inbox_of(user).up_to(unread.pk)) == {unread}
    assert set(rows.inbox_of(user).older_than(read.pk)) == {unread}
    assert set(rows.inbox_of(user).older_than(None)) == {unread, read}
    assert list(rows.one_shot_of(user)) == [once]


def page_of(user, cursor=None):
    return Message.objects.inbox_of(user).newest_first().older_than(cursor).page(2)


def test_page_takes_one_query_and_has_cursor(user, send):
    sent = [send(f"Number {number}") for number in range(5)]
    pages, cursor = [], None
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            page = page_of(user, cursor)
        assert len(queries) == 1
        pages.append((page.messages, page.older))
        cursor = page.older
    assert pages == [
        ([sent[4], sent[3]], sent[3].pk),
        ([sent[2], sent[1]], sent[1].pk),
        ([sent[0]], None),
    ]


def test_next_page_works_if_cursor_row_is_deleted(user, send):
    sent = [send(f"Number {number}") for number in range(4)]
    cursor = page_of(user).older
    Message.objects.filter(pk=cursor).delete()
    assert page_of(user, cursor).messages == [sent[1], sent[0]]


def test_next_page_ignores_new_messages(user, send):
    sent = [send(f"Number {number}") for number in range(4)]
    cursor = page_of(user).older
    send("Meanwhile")
    assert page_of(user, cursor).messages == [sent[1], sent[0]]


def test_exactly_full_page_has_no_cursor(user, send):
    newest = [send("One"), send("Two")][-1]
    page = page_of(user)
    assert (page.older, page.further) == (None, None)
    assert page.newest == newest.pk


def test_empty_page_has_no_cursor(user):
    page = page_of(user)
    assert (page.messages, page.older, page.further, page.newest) == ([], None, None, 0)


def test_count_up_to_stops_at_limit(user, send):
    for _ in range(3):
        send()
    inbox = Message.objects.inbox_of(user)
    assert [inbox.count_up_to(limit) for limit in (2, 3, 10)] == [2, 3, 3]
