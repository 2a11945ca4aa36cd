"""The public functions, and the errors they raise."""

import inspect
import logging
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone

import django
import pytest
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.locmem import EmailBackend as LocmemBackend
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone as django_timezone
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeData, mark_safe

import persistent_messages
from persistent_messages.constants import Folder
from persistent_messages.mailbox import delivery
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage

pytestmark = pytest.mark.django_db

SHORTCUTS = ["debug", "info", "success", "warning", "error"]
TAIL = (
    "message, extra_tags='', fail_silently=False, subject='', user=None, email=False, "
    "from_user=None, expires=None, close_timeout=None, url='', "
    "key=None, topic='', action=''"
)


class BrokenBackend(BaseEmailBackend):
    """A mail server that is down."""

    def send_messages(self, email_messages):
        raise OSError("connection refused")


class HalfBrokenBackend(LocmemBackend):
    """A mail server that refuses Sally's mail."""

    def send_messages(self, email_messages):
        if any("sally@example.com" in mail.to for mail in email_messages):
            raise OSError("mailbox full")
        return super().send_messages(email_messages)


@pytest.fixture
def request_of():
    """Make a request of a user, with its storage."""

    def request_of(user):
        request = RequestFactory().get("/")
        request.session = {}
        request.user = user
        request._messages = PersistentMessageStorage(request)
        return request

    return request_of


@pytest.fixture
def request_of_sally(user, request_of):
    """A request of Sally."""
    return request_of(user)


@pytest.fixture
def many_users(db):
    """Twenty-five users."""
    User = get_user_model()  # noqa: N806 (it is a class)
    return User.objects.bulk_create(User(username=f"user{n:02}") for n in range(25))


@pytest.fixture
def batches_of_ten(monkeypatch):
    monkeypatch.setattr(delivery, "MAX_BATCH_SIZE", 10)
    monkeypatch.setattr(delivery, "BATCH_SIZE", 10)


@pytest.fixture
def delivered():
    """The sizes of the batches that `messages_delivered` told of."""
    sizes = []

    def receive(sender, messages, email, **kwargs):
        assert sender is Message
        sizes.append(len(messages))

    persistent_messages.messages_delivered.connect(receive)
    yield sizes
    persistent_messages.messages_delivered.disconnect(receive)


def plain(signature):
    """Write a signature without its annotations."""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(bare))


# Signatures


def test_add_message_has_documented_signature():
    signature = inspect.signature(persistent_messages.add_message)
    assert plain(signature) == f"(request, level, {TAIL})"


@pytest.mark.parametrize("name", SHORTCUTS)
def test_shortcuts_have_same_arguments_without_level(name):
    shortcut = getattr(persistent_messages, name)
    assert plain(inspect.signature(shortcut)) == f"(request, {TAIL})"
    assert shortcut.__name__ == name
    assert name.upper() in shortcut.__doc__


def test_send_message_has_documented_signature():
    signature = inspect.signature(persistent_messages.send_message)
    assert list(signature.parameters)[:3] == ["users", "level", "message"]
    rest = list(signature.parameters.values())[3:]
    assert {p.name: p.default for p in rest} == {
        "subject": "",
        "extra_tags": "",
        "from_user": None,
        "url": "",
        "expires": None,
        "close_timeout": None,
        "email": False,
        "key": None,
        "topic": "",
        "action": "",
        "progress": None,
        "atomic": True,
    }
    assert {p.kind for p in rest} == {inspect.Parameter.KEYWORD_ONLY}


def test_public_names_exist():
    assert len(set(persistent_messages.__all__)) == len(persistent_messages.__all__)
    for name in persistent_messages.__all__:
        assert hasattr(persistent_messages, name)
    assert {*SHORTCUTS, *map(str.upper, SHORTCUTS)} <= set(persistent_messages.__all__)
    assert {"add_message", "send_message", "MessageFailure"} <= set(persistent_messages.__all__)
    assert {"PERSISTENT_MESSAGE_LEVELS", "DEFAULT_TAGS"} <= set(persistent_messages.__all__)


def test_star_import_gives_public_names():
    names = {}
    exec("from persistent_messages import *", names)
    assert set(persistent_messages.__all__) <= set(names)


@pytest.mark.parametrize("name", messages.api.__all__)
def test_each_function_of_contrib_has_counterpart(name):
    assert name in persistent_messages.__all__


def test_package_can_be_imported_before_app_registry_is_ready():
    code = """
import persistent_messages
from django.apps import apps
assert not apps.ready and not apps.models_ready
from persistent_messages import *
assert persistent_messages.INFO == 120
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_settings_can_import_levels(tmp_path):
    (tmp_path / "site_settings.py").write_text(
        "import persistent_messages\n"
        "MESSAGE_TAGS = {persistent_messages.ERROR: 'danger'}\n"
        "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes',\n"
        "                  'django_htmx', 'persistent_messages']\n"
        "DATABASES = {}\n"
        "USE_TZ = True\n"
    )
    code = f"""
import os, sys
sys.path.insert(0, {str(tmp_path)!r})
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
import django
django.setup()
from persistent_messages.models import Message
assert Message(level=140).level_tag == "danger"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# add_message


def test_persistent_message_is_returned(request_of_sally, user):
    row = persistent_messages.add_message(request_of_sally, persistent_messages.INFO, "Hello")
    assert isinstance(row, Message)
    assert row.pk is not None
    assert Message.objects.get() == row
    assert (row.user, row.level, row.message) == (user, 120, "Hello")


def test_one_shot_message_is_queued_and_none_returned(request_of_sally):
    assert persistent_messages.add_message(request_of_sally, messages.INFO, "Hello") is None
    assert not Message.objects.exists()
    assert [(m.level, m.message) for m in request_of_sally._messages] == [(20, "Hello")]


def test_ignored_message_returns_none(request_of_sally):
    assert persistent_messages.info(request_of_sally, "") is None
    assert persistent_messages.info(request_of_sally, None) is None
    assert persistent_messages.debug(request_of_sally, "Below the default level") is None
    assert not Message.objects.exists()


@pytest.mark.parametrize("name", SHORTCUTS)
def test_each_shortcut_adds_its_level(request_of_sally, settings, name):
    settings.MESSAGE_LEVEL = messages.DEBUG
    row = getattr(persistent_messages, name)(request_of_sally, "Hello", "x", subject="Subject")
    assert row.level == getattr(persistent_messages, name.upper())
    assert (row.message, row.extra_tags, row.subject) == ("Hello", "x", "Subject")


@pytest.mark.parametrize("name", SHORTCUTS)
def test_shortcuts_accept_keyword_arguments(request_of_sally, settings, name):
    settings.MESSAGE_LEVEL = messages.DEBUG
    row = getattr(persistent_messages, name)(request=request_of_sally, message="Hello")
    assert row.message == "Hello"


def test_arguments_may_be_positional(request_of_sally, other):
    expires = django_timezone.now() + timedelta(days=1)
    row = persistent_messages.add_message(
        request_of_sally,
        130,
        "Hello",
        "x",
        False,
        "Subject",
        other,
        False,
        request_of_sally.user,
        expires,
        5000,
    )
    assert (row.level, row.message, row.extra_tags, row.subject) == (130, "Hello", "x", "Subject")
    assert (row.user, row.from_user) == (other, request_of_sally.user)
    assert (row.expires, row.close_timeout) == (expires, 5000)


def test_sender_is_stored_with_name(request_of_sally, user, other):
    """The name stays readable after the account has been deleted."""
    row = persistent_messages.info(request_of_sally, "Hello", from_user=user, user=other)
    assert (row.from_user, row.from_name) == (user, "Sally Ride")
    user.delete()
    row = Message.objects.get()
    assert (row.from_user, row.from_name) == (None, "Sally Ride")


def test_message_to_other_user_is_stored_immediately(request_of_sally, other):
    row = persistent_messages.add_message(request_of_sally, messages.INFO, "Once", user=other)
    assert (row.user, row.folder) == (other, Folder.ONE_SHOT)
    assert Message.objects.count() == 1


def test_user_may_be_primary_key(request_of_sally, other):
    assert persistent_messages.info(request_of_sally, "Hello", user=other.pk).user == other
    assert persistent_messages.info(request_of_sally, "Hello", user=str(other.pk)).user == other


def test_text_from_user_is_never_safe(request_of_sally, user, other):
    row = persistent_messages.info(
        request_of_sally, mark_safe("<b>Hi</b>"), from_user=user, user=other
    )
    assert not isinstance(row.message, SafeData)
    assert not isinstance(Message.objects.get().message, SafeData)
    assert Message.objects.get().message == "<b>Hi</b>"


def test_safe_text_of_site_stays_safe(request_of_sally):
    row = persistent_messages.info(request_of_sally, mark_safe("<b>Hi</b>"))
    assert isinstance(row.message, SafeData)
    assert isinstance(Message.objects.get().message, SafeData)


def test_other_storage_raises_message_failure(db, rf):
    request = rf.get("/")
    request._messages = []
    with pytest.raises(messages.MessageFailure, match="PersistentMessageStorage"):
        persistent_messages.info(request, "Hello")


def test_error_with_contrib_storage_explains_how_to_build_request(user, rf):
    """Sites do this in tests of views that use `django.contrib.messages`."""
    request = rf.get("/")
    request.session, request.user = {}, user
    request._messages = FallbackStorage(request)
    with pytest.raises(messages.MessageFailure, match=r"FallbackStorage.* a test ") as told:
        persistent_messages.info(request, "Hello")
    _, _, advice = str(told.value).partition(" sets ")
    exec(advice.rstrip("."), globals(), {"request": request})
    persistent_messages.info(request, "Hello")
    assert [str(message) for message in messages.get_messages(request)] == ["Hello"]


@pytest.mark.parametrize("name", SHORTCUTS)
def test_message_may_have_url(request_of_sally, settings, name):
    settings.MESSAGE_LEVEL = messages.DEBUG
    getattr(persistent_messages, name)(request_of_sally, "Hello", url="/orders/17/")
    persistent_messages.add_message(
        request_of_sally, persistent_messages.INFO, "Hello", url="/orders/17/"
    )
    assert [row.url for row in Message.objects.all()] == ["/orders/17/"] * 2
    with pytest.raises(ValueError, match=r"^url must be"):
        getattr(persistent_messages, name)(request_of_sally, "Hello", url="javascript:alert()")


def test_naive_expires_uses_current_time_zone(request_of_sally):
    with django_timezone.override("Europe/Berlin"):
        row = persistent_messages.info(request_of_sally, "Hello", expires=datetime(2030, 1, 1, 12))  # noqa: DTZ001 (naive)
    expected = datetime(2030, 1, 1, 11, 0, tzinfo=timezone.utc)
    assert row.expires == expected
    assert Message.objects.get().expires == expected


def test_aware_expires_is_kept(request_of_sally):
    expires = datetime(2030, 1, 1, 12, 0, tzinfo=timezone(timedelta(hours=5)))
    assert persistent_messages.info(request_of_sally, "Hello", expires=expires).expires == expires
    assert Message.objects.get().expires == expires


# Invalid input, refused before anything is written

# Valid in UTC, but out of range in time zones further east or west.
LAST_DAY = datetime(9999, 12, 31, 12, tzinfo=timezone.utc)
FIRST_DAY = datetime(1, 1, 1, 12, tzinfo=timezone.utc)

WRONG = {
    "level-word": ({"level": "high"}, TypeError, "level"),
    "level-none": ({"level": None}, TypeError, "level"),
    "level-endless": ({"level": float("inf")}, TypeError, "level"),
    "level-list": ({"level": [20]}, TypeError, "level"),
    "level-big": ({"level": 2**15}, ValueError, "level.*32767"),
    "level-small": ({"level": -(2**15) - 1}, ValueError, "level.*-32768"),
    "subject": ({"subject": "x" * 256}, ValueError, "subject.*255"),
    "subject-none": ({"subject": None}, TypeError, "subject.*None"),
    "url-none": ({"url": None}, TypeError, "url.*None"),
    "action-none": ({"action": None, "url": "/"}, TypeError, "action.*None"),
    "from_user-unsaved": ({"from_user": "unsaved"}, ValueError, "from_user"),
    "from_user-visitor": ({"from_user": AnonymousUser()}, ValueError, "from_user"),
    "from_user-group": ({"from_user": "group"}, TypeError, "from_user"),
    "from_user-key": ({"from_user": 1}, TypeError, "from_user"),
    "from_user-object": ({"from_user": object()}, TypeError, "from_user"),
    "expires-date": ({"expires": date(2030, 1, 1)}, TypeError, "expires"),
    "expires-text": ({"expires": "2030-01-01"}, TypeError, "expires"),
    "expires-number": ({"expires": 5}, TypeError, "expires"),
    "expires-delta": ({"expires": timedelta(days=1)}, TypeError, "expires"),
    "expires-late": ({"expires": LAST_DAY}, ValueError, "expires.*9999"),
    "expires-early": ({"expires": FIRST_DAY}, ValueError, "expires.*1"),
    "close_timeout-text": ({"close_timeout": "5000"}, TypeError, "close_timeout"),
    "close_timeout-float": ({"close_timeout": 1.5}, TypeError, "close_timeout"),
    "close_timeout-small": ({"close_timeout": -1}, ValueError, "close_timeout.*0"),
    "close_timeout-big": ({"close_timeout": 2**31}, ValueError, "close_timeout.*2147483647"),
}
WRONG_USERS = {
    "visitor": (AnonymousUser(), ValueError),
    "unsaved": ("unsaved", ValueError),
    "content type": ("content type", TypeError),
    "object": (object(), TypeError),
    "word": ("sally", TypeError),
    "huge": (10**30, TypeError),
}
WRONG_URLS = [
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "mailto:sally@example.com",
    "http://[",
]


def resolve_value(value):
    """Put a thing that needs the database in the place of its name."""
    if value == "unsaved":
        return get_user_model()(username="nobody")
    if value == "group":
        return Group.objects.create(name="Staff")
    if value == "content type":
        return ContentType.objects.get_for_model(Group)
    return value


@pytest.mark.parametrize(("wrong", "error", "match"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("level", [messages.ERROR, persistent_messages.ERROR])
def test_add_message_rejects_invalid_argument(request_of_sally, level, wrong, error, match):
    given = {"level": level, "message": "Hello"} | {k: resolve_value(v) for k, v in wrong.items()}
    with CaptureQueriesContext(connection) as queries, pytest.raises(error, match=match):
        persistent_messages.add_message(request_of_sally, **given)
    assert len(queries) == 0
    request_of_sally._messages.update(HttpResponse())
    assert not Message.objects.exists()


@pytest.mark.parametrize(("wrong", "error", "match"), WRONG.values(), ids=WRONG)
def test_send_message_rejects_invalid_argument(user, wrong, error, match):
    given = {"level": 120, "message": "Hello"} | {k: resolve_value(v) for k, v in wrong.items()}
    with pytest.raises(error, match=match):
        persistent_messages.send_message(user, **given)
    assert not Message.objects.exists()


@pytest.mark.parametrize("level", [messages.ERROR, persistent_messages.ERROR])
@pytest.mark.parametrize(("wrong", "error"), WRONG_USERS.values(), ids=WRONG_USERS)
def test_add_message_rejects_invalid_user(request_of_sally, level, wrong, error):
    wrong = resolve_value(wrong)
    with CaptureQueriesContext(connection) as queries, pytest.raises(error, match=r"^user must be"):
        persistent_messages.add_message(request_of_sally, level, "Hello", user=wrong)
    assert len(queries) == 0
    assert not Message.objects.exists()


@pytest.mark.parametrize(("wrong", "error"), WRONG_USERS.values(), ids=WRONG_USERS)
@pytest.mark.parametrize("wrap", [lambda user: user, lambda user: [user]], ids=["alone", "list"])
def test_send_message_rejects_invalid_user(user, wrong, error, wrap):
    with pytest.raises(error, match=r"^users must be"):
        persistent_messages.send_message(wrap(resolve_value(wrong)), 120, "Hello")
    assert not Message.objects.exists()


@pytest.mark.parametrize("url", WRONG_URLS)
def test_url_that_is_no_page_is_rejected(user, url):
    with pytest.raises(ValueError, match=r"^url must be a path or an http"):
        persistent_messages.send_message(user, 120, "Hello", url=url)
    assert not Message.objects.exists()


def test_too_long_url_is_rejected(user):
    with pytest.raises(ValueError, match=r"url.*2000"):
        persistent_messages.send_message(user, 120, "Hello", url="/" * 2001)


@pytest.mark.parametrize("character", ["\x00", "\ud800"])
def test_url_with_unstorable_character_is_rejected(user, character):
    with pytest.raises(ValueError, match=r"^url"):
        persistent_messages.send_message(user, 120, "Hello", url=f"/a{character}b")


@pytest.mark.parametrize("url", ["", "/orders/1/", "orders?x=1", "https://example.com/", "#top"])
def test_valid_url_is_stored(user, url):
    persistent_messages.send_message(user, 120, "Hello", url=url)
    assert Message.objects.get().url == url


def test_empty_message_is_rejected(user):
    with pytest.raises(ValueError, match=r"^message must not be empty"):
        persistent_messages.send_message(user, 120, "")


def test_values_of_maximum_length_are_stored_unchanged(user):
    values = {
        "subject": "s" * 255,
        "extra_tags": "t" * 128,
        "url": "/" + "u" * 1999,
        "close_timeout": 2**31 - 1,
    }
    persistent_messages.send_message(user, 199, "x" * 100_000, **values)
    row = Message.objects.get()
    assert {name: getattr(row, name) for name in values} == values
    assert len(row.message) == 100_000


@pytest.mark.parametrize("level", [-(2**15), 0, 2**15 - 1])
def test_each_level_that_fits_column_is_stored(user, level):
    persistent_messages.send_message(user, level, "Hello")
    assert Message.objects.get().level == level


def test_message_for_visitor_is_refused_before_any_query(request_of, db):
    request = request_of(AnonymousUser())
    with CaptureQueriesContext(connection) as queries, pytest.raises(NotImplementedError):
        persistent_messages.info(request, "Hello")
    assert len(queries) == 0


# Mail


def test_mail_is_sent_to_recipient_after_commit(
    request_of_sally, other, mailoutbox, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        persistent_messages.info(
            request_of_sally, "The text", subject="Subject", user=other, email=True
        )
        assert mailoutbox == []
    [mail] = mailoutbox
    assert (mail.to, mail.subject, mail.body) == (["harry@example.com"], "Subject", "The text")
    assert Message.objects.get().user == other


@pytest.mark.parametrize("level", [messages.INFO, persistent_messages.INFO])
def test_mail_is_sent_to_request_user_by_default(
    request_of_sally, level, mailoutbox, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        row = persistent_messages.add_message(request_of_sally, level, "The text", email=True)
    assert [mail.to for mail in mailoutbox] == [["sally@example.com"]]
    assert row.user == request_of_sally.user


def test_no_mail_is_sent_by_default(
    request_of_sally, other, mailoutbox, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        persistent_messages.info(request_of_sally, "Hello")
        persistent_messages.info(request_of_sally, "Hello", user=other)
        messages.info(request_of_sally, "Hello")
        request_of_sally._messages.update(HttpResponse())
    assert mailoutbox == []


def test_no_mail_is_sent_for_ignored_message(
    request_of_sally, mailoutbox, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        persistent_messages.debug(request_of_sally, "Low", email=True)
        persistent_messages.info(request_of_sally, "", email=True)
    assert mailoutbox == []


def test_no_mail_is_sent_after_rollback(
    request_of_sally, mailoutbox, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        persistent_messages.info(request_of_sally, "Hello", email=True)
        transaction.set_rollback(True)
    assert mailoutbox == []
    assert not Message.objects.exists()


def test_line_break_in_subject_cannot_inject_header(
    request_of_sally, mailoutbox, django_capture_on_commit_callbacks
):
    """A newline in the subject of a mail would raise an error."""
    with django_capture_on_commit_callbacks(execute=True):
        persistent_messages.info(
            request_of_sally, "Text", subject="Hello\r\nBcc: eve@example.com", email=True
        )
    [mail] = mailoutbox
    assert mail.subject == "Hello Bcc: eve@example.com"
    assert "Bcc" not in mail.message()


def test_mail_of_safe_text_is_plain_text(
    request_of_sally, mailoutbox, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        persistent_messages.info(
            request_of_sally, mark_safe("<p>Tom &amp; <b>Jerry</b></p>"), email=True
        )
    [mail] = mailoutbox
    assert mail.body == "Tom & Jerry"
    assert mail.subject == "Tom & Jerry"


def test_mail_is_sent_from_site_address(
    request_of_sally, user, other, mailoutbox, settings, django_capture_on_commit_callbacks
):
    """The sender's own address in From would fail DMARC."""
    settings.DEFAULT_FROM_EMAIL = "site@example.org"
    with django_capture_on_commit_callbacks(execute=True):
        persistent_messages.info(request_of_sally, "Text", user=other, from_user=user, email=True)
    [mail] = mailoutbox
    assert mail.from_email == '"Sally Ride via example.org" <site@example.org>'
    assert "sally@example.com" not in str(mail.message())


def test_recipient_without_email_is_skipped(
    user, other, mailoutbox, django_capture_on_commit_callbacks
):
    get_user_model().objects.filter(pk=user.pk).update(email="")
    with django_capture_on_commit_callbacks(execute=True):
        assert persistent_messages.send_message([user, other], 120, "Hello", email=True) == 2
    assert [mail.to for mail in mailoutbox] == [["harry@example.com"]]


def use_mail_backend(settings, name):
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": f"{__name__}.{name}"}}
    else:
        settings.EMAIL_BACKEND = f"{__name__}.{name}"


def test_mail_server_error_is_logged_and_message_is_stored(
    request_of_sally, settings, caplog, django_capture_on_commit_callbacks
):
    """Errors are logged, and the message is stored."""
    use_mail_backend(settings, "BrokenBackend")
    with django_capture_on_commit_callbacks(execute=True):
        row = persistent_messages.info(request_of_sally, "Hello", email=True)
    assert Message.objects.get() == row
    [record] = [
        record for record in caplog.records if record.name == "persistent_messages.delivery.email"
    ]
    assert record.levelno == logging.ERROR
    assert str(row.pk) in record.getMessage()
    assert "connection refused" in caplog.text


def test_failed_mail_does_not_stop_other_mails(
    user, other, settings, caplog, mailoutbox, django_capture_on_commit_callbacks
):
    use_mail_backend(settings, "HalfBrokenBackend")
    with django_capture_on_commit_callbacks(execute=True):
        persistent_messages.send_message([user, other], 120, "Hello", email=True)
    assert [mail.to for mail in mailoutbox] == [["harry@example.com"]]
    assert "mailbox full" in caplog.text


def test_mail_takes_two_queries_per_batch(many_users, django_capture_on_commit_callbacks):
    """One for the addresses, and one to record what was sent."""
    with django_capture_on_commit_callbacks() as callbacks:
        persistent_messages.send_message(many_users, 120, "Hello", email=True)
    with CaptureQueriesContext(connection) as queries:
        for callback in callbacks:
            callback()
    assert len(queries) == 2


# send_message


def owners():
    return list(Message.objects.order_by("user_id").values_list("user_id", flat=True))


def test_one_user_gets_one_message(user, other):
    sent = persistent_messages.send_message(
        user, 130, "Hello", subject="Subject", extra_tags="x", from_user=other, url="/orders/"
    )
    assert sent == 1
    row = Message.objects.get()
    assert (row.user, row.folder, row.level, row.message) == (user, Folder.INBOX, 130, "Hello")
    assert (row.subject, row.extra_tags, row.url) == ("Subject", "x", "/orders/")
    assert (row.from_user, row.from_name) == (other, "harry")


def test_one_shot_message_can_be_sent(user):
    assert persistent_messages.send_message(user, messages.INFO, "Once") == 1
    assert Message.objects.get().folder == Folder.ONE_SHOT


@pytest.mark.parametrize(
    "given",
    [
        lambda a, b: [a, b],
        lambda a, b: (a.pk, b.pk),
        lambda a, b: [a, b.pk],
        lambda a, b: {a, b},
        lambda a, b: [str(a.pk), b],
        lambda a, b: (user for user in (a, b)),
        lambda a, b: iter([b.pk, a]),
        lambda a, b: get_user_model().objects.all(),
        lambda a, b: get_user_model().objects.order_by("-username"),
        lambda a, b: get_user_model().objects.filter(pk__in=[a.pk, b.pk]),
        lambda a, b: get_user_model().objects.order_by("pk")[:2],
        lambda a, b: get_user_model().objects.values_list("pk", flat=True),
        lambda a, b: [a, b, a, b.pk, str(b.pk)],
    ],
    ids=[
        "users",
        "keys",
        "both",
        "set",
        "text key",
        "generator",
        "iterator",
        "queryset",
        "ordered queryset",
        "filtered queryset",
        "sliced queryset",
        "keys of a queryset",
        "duplicates",
    ],
)
def test_each_given_user_gets_one_message(user, other, given):
    assert persistent_messages.send_message(given(user, other), 120, "Hello") == 2
    assert owners() == sorted([user.pk, other.pk])


@pytest.mark.parametrize("key", [lambda user: user.pk, lambda user: str(user.pk)])
def test_single_user_may_be_primary_key(user, other, key):
    assert persistent_messages.send_message(key(other), 120, "Hello") == 1
    assert owners() == [other.pk]


def test_lazy_request_user_is_accepted(user, other):
    # The middleware leaves a lazy object there, which claims to be iterable.
    lazy = SimpleLazyObject(lambda: user)
    assert persistent_messages.send_message([lazy], 120, "Hello", from_user=lazy) == 1
    assert persistent_messages.send_message(lazy, 120, "Hello") == 1
    assert owners() == [user.pk] * 2


def test_user_repeated_by_join_gets_one_message(user, other):
    """A member of two groups must not get a message twice."""
    for name in ("One", "Two"):
        user.groups.add(Group.objects.create(name=name))
    users = get_user_model().objects.filter(groups__name__in=["One", "Two"])
    assert users.count() == 2
    assert persistent_messages.send_message(users, 120, "Hello") == 1
    assert persistent_messages.send_message(users[:2], 120, "Hello") == 1


def test_union_of_querysets_reaches_each_user_once(user, other):
    users = get_user_model().objects.all()
    both = users.filter(pk=user.pk).union(users.filter(pk__in=[user.pk, other.pk]))
    assert persistent_messages.send_message(both, 120, "Hello") == 2


@pytest.mark.parametrize("empty", [[], (), set(), "none", "generator"])
def test_empty_users_argument_sends_nothing(
    user, delivered, empty, django_capture_on_commit_callbacks
):
    users = {"none": get_user_model().objects.none(), "generator": iter(())}.get(
        empty if isinstance(empty, str) else "", empty
    )
    with django_capture_on_commit_callbacks(execute=True):
        assert persistent_messages.send_message(users, 120, "Hello") == 0
    assert delivered == []
    assert not Message.objects.exists()


@pytest.mark.parametrize("key", [0, -1, 10**6, str(10**6)])
def test_unknown_user_key_is_rejected_and_nothing_is_stored(user, key):
    with pytest.raises(ValueError, match=r"^users: there is no user with the key"):
        persistent_messages.send_message([user, key], 120, "Hello")
    assert not Message.objects.exists()


@pytest.mark.parametrize("key", [10**6, "sally", None, object(), 10**30])
def test_invalid_user_in_last_batch_rolls_back_earlier_batches(
    many_users, key, delivered, monkeypatch, django_capture_on_commit_callbacks
):
    monkeypatch.setattr("persistent_messages.mailbox.recipients.BATCH_SIZE", 10)
    monkeypatch.setattr(delivery, "MAX_BATCH_SIZE", 10)
    written = []

    def users():
        yield from many_users
        written.append(Message.objects.count())
        yield key

    with (
        django_capture_on_commit_callbacks(execute=True),
        pytest.raises((TypeError, ValueError), match=r"^users"),
    ):
        persistent_messages.send_message(users(), 120, "Hello")
    assert written == [20]  # it was streamed: the first batches had been written
    assert not Message.objects.exists()
    assert delivered == []


def test_group_stands_for_its_members(user, other, many_users):
    group = Group.objects.create(name="Staff")
    group.user_set.add(user, other)
    with CaptureQueriesContext(connection) as queries:
        assert persistent_messages.send_message(group, 120, "Hello") == 2
    verbs = [row["sql"].split()[0] for row in queries]
    # One query finds the end of the range. On MariaDB, the insert has the keys that were just read.
    assert verbs.count("SELECT") == COPY.count("SELECT") + 1
    assert verbs.count("INSERT") == 1
    assert owners() == sorted([user.pk, other.pk])


def test_empty_group_sends_nothing(db):
    assert persistent_messages.send_message(Group.objects.create(name="Staff"), 120, "Hello") == 0


def test_unsaved_group_is_rejected(db):
    with pytest.raises(ValueError, match=r"^users must be a saved group"):
        persistent_messages.send_message(Group(name="Staff"), 120, "Hello")


def test_queryset_of_other_model_is_rejected(db):
    Group.objects.create(name="Staff")
    with pytest.raises(TypeError, match=r"^users must be a queryset of users, not of Group"):
        persistent_messages.send_message(Group.objects.all(), 120, "Hello")


@pytest.mark.parametrize("wrong", [True, 1.5])
def test_value_resembling_key_is_rejected(user, wrong):
    with pytest.raises(TypeError, match=r"^users must be"):
        persistent_messages.send_message([wrong], 120, "Hello")


# On SQLite, the lock is taken before anything is read.
BEGIN = ["SAVEPOINT", "UPDATE"] if connection.vendor == "sqlite" else ["SAVEPOINT"]
# On MariaDB, the statement has the keys that were just read.
COPY = ["SELECT", "SET", "INSERT"] if connection.vendor == "mysql" else ["INSERT"]


def test_queryset_is_read_once_and_written_in_batches(
    many_users, batches_of_ten, delivered, django_capture_on_commit_callbacks
):
    with (
        django_capture_on_commit_callbacks(execute=True),
        CaptureQueriesContext(connection) as queries,
    ):
        assert persistent_messages.send_message(get_user_model().objects.all(), 120, "Hi") == 25
        assert delivered == []
    # PostgreSQL streams what it selects by a cursor, which is declared.
    kinds = [row["sql"].split()[0].replace("DECLARE", "SELECT") for row in queries]
    lock_and_insert = ["SELECT", "INSERT"]
    assert kinds == [*BEGIN, "SELECT", *lock_and_insert * 3, "RELEASE"]
    assert delivered == [10, 10, 5]
    assert owners() == sorted(user.pk for user in many_users)


def test_user_instances_take_no_lookup(many_users, batches_of_ten):
    with CaptureQueriesContext(connection) as queries:
        persistent_messages.send_message(many_users, 120, "Hi")
    kinds = [row["sql"].split()[0] for row in queries]
    assert kinds == [*BEGIN, *COPY, *COPY, *COPY, "RELEASE"]


def test_user_keys_take_one_lookup(many_users, batches_of_ten):
    keys = [user.pk for user in many_users]
    with CaptureQueriesContext(connection) as queries:
        persistent_messages.send_message(keys, 120, "Hi")
    kinds = [row["sql"].split()[0] for row in queries]
    assert kinds == [*BEGIN, "SELECT", *COPY, *COPY, *COPY, "RELEASE"]


def test_messages_to_many_users_have_one_insert_and_one_timestamp(many_users):
    with CaptureQueriesContext(connection) as queries:
        persistent_messages.send_message(many_users, 120, "Hi")
    assert [row["sql"].split()[0] for row in queries].count("INSERT") == 1
    assert len(set(Message.objects.values_list("created", flat=True))) == 1


def test_signal_has_stored_rows(user, other, django_capture_on_commit_callbacks):
    seen = []

    def receive(sender, messages, email, **kwargs):
        seen.extend((row.pk, row.user_id, str(row), email) for row in messages)

    persistent_messages.messages_delivered.connect(receive)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            persistent_messages.send_message([user, other], 120, "Hello", subject="S")
    finally:
        persistent_messages.messages_delivered.disconnect(receive)
    rows = Message.objects.order_by("pk")
    assert seen == [(row.pk, row.user_id, "S: Hello", False) for row in rows]
    assert len(seen) == 2


def test_sent_text_from_user_is_never_safe(user, other):
    """`SafeString` is only kept in notices, never in letters."""
    persistent_messages.send_message(user, 120, mark_safe("<b>Hi</b>"), from_user=other)
    row = Message.objects.get()
    assert row.is_safe is False
    assert not isinstance(row.message, SafeData)
    assert not isinstance(str(row), SafeData)


def test_sent_text_of_site_may_be_safe(user):
    persistent_messages.send_message(user, 120, mark_safe("<b>Hi</b>"))
    assert isinstance(Message.objects.get().message, SafeData)


def test_unstorable_characters_are_dropped(user):
    persistent_messages.send_message(user, 120, "a\x00\ud800b", subject="\x00S", extra_tags="t\x00")
    row = Message.objects.get()
    assert (row.message, row.subject, row.extra_tags) == ("ab", "S", "t")
