"""A site's channels: the arguments they get, and errors in them."""

import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from persistent_messages import ERROR, INFO, Channel, Topic, send_letter, send_message
from persistent_messages import constants as levels
from persistent_messages.checks import check_site
from persistent_messages.conf import get_config
from persistent_messages.delivery import LiveChannel, MailChannel
from persistent_messages.models import DueMail, Message
from persistent_messages.topics import topics
from tests.documentation import blocks_in

pytestmark = pytest.mark.django_db


class Recorder(Channel):
    """Records its arguments."""

    delivered = []

    def deliver(self, user, messages):
        self.delivered.append((user, messages))


class Errors(Recorder):
    """Accepts only errors."""

    def accepts(self, message):
        return message.level >= ERROR


class Broken(Channel):
    """A channel that fails."""

    def deliver(self, user, messages):
        raise ConnectionError("The chat does not answer.")


class Careless(Channel):
    """Reads the user, which a message to many users does not have."""

    def accepts(self, message):
        return message.user.is_staff


HERE = "tests.delivery.test_channels."


@pytest.fixture
def use(settings, monkeypatch):
    monkeypatch.setattr(Recorder, "delivered", [])

    def use(*channels):
        given = settings.PERSISTENT_MESSAGES
        settings.PERSISTENT_MESSAGES = {**given, "CHANNELS": [*channels]}

    return use


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    return partial(django_capture_on_commit_callbacks, execute=True)


def texts():
    return [(user.username, [each.message for each in new]) for user, new in Recorder.delivered]


def test_channel_gets_stored_messages_per_user_with_one_query(
    use, people, committed, django_assert_max_num_queries
):
    use(HERE + "Recorder")
    first, second, *_ = people
    with django_assert_max_num_queries(7) as seen, committed():
        send_message([first, second], INFO, "Hello", subject="Greeting")
    # One locks the users, and one reads them for the channel.
    assert sum(each["sql"].startswith("SELECT") for each in seen) == 2
    with committed():
        send_letter(first, [second], "Lunch", "At noon?")

    assert texts() == [
        ("person-0", ["Hello"]),
        ("person-1", ["Hello"]),
        ("person-1", ["At noon?"]),
    ]
    user, [message] = Recorder.delivered[0]
    assert user == first
    assert message == Message.objects.owned_by(first).get(message="Hello")


def test_rolled_back_message_is_not_delivered(use, people, committed):
    use(HERE + "Recorder")
    with committed(), transaction.atomic():
        send_message(people, INFO, "Hello")
        transaction.set_rollback(True)

    assert texts() == []


def test_rows_are_not_read_if_no_channel_accepts(
    use, people, committed, django_assert_max_num_queries
):
    use(HERE + "Errors")
    everybody = get_user_model().objects.all()
    with committed(), django_assert_max_num_queries(6) as seen:
        send_message(everybody, INFO, "Hello")
    assert not any("last_login" in each["sql"] for each in seen)  # no user is read
    assert texts() == []

    with committed():
        send_message(everybody, ERROR, "Fire")
    assert texts() == [(person.username, ["Fire"]) for person in people]


def test_failing_channel_does_not_stop_other_deliveries(use, people, committed, caplog):
    use(HERE + "Broken", HERE + "Recorder")
    with committed():
        assert send_message(people[:2], INFO, "Hello") == 2

    assert texts() == [("person-0", ["Hello"]), ("person-1", ["Hello"])]
    assert caplog.text.count("Broken could not deliver messages to user") == 2
    assert "The chat does not answer." in caplog.text


def test_site_without_mail_channel_sends_no_mail(use, people, committed, monkeypatch):
    use()
    monkeypatch.setitem(topics, "billing", Topic("billing", "Billing", mail="now"))
    with committed():
        send_message(people[0], INFO, "Hello", email=True)
        send_message(people[0], INFO, "Hello", topic="billing")
        send_message(people, INFO, "Hello", email=True)
        send_letter(people[1], [people[0]], "Lunch", "At noon?")

    assert mail.outbox == []
    assert not DueMail.objects.exists()


def test_waiting_mail_is_not_sent_after_mail_channel_is_removed(use, people, monkeypatch):
    monkeypatch.setitem(topics, "billing", Topic("billing", "Billing", mail="unread"))
    send_message(people, INFO, "Hello", topic="billing")
    DueMail.objects.update(due=timezone.now())

    use()
    call_command("send_due_mail", verbosity=0)
    assert mail.outbox == []

    use("persistent_messages.delivery.MailChannel")
    call_command("send_due_mail", verbosity=0)
    assert len(mail.outbox) == len(people)


def test_mail_channel_sends_given_messages_immediately(people):
    message = Message.objects.create(user=people[0], level=INFO, message="Hello", read_at=None)

    MailChannel().deliver(people[0], [message])

    [sent] = mail.outbox
    assert sent.to == [people[0].email]
    assert "Hello" in sent.body


def test_each_persistent_level_reaches_channel(use, people, committed):
    use(HERE + "Recorder")
    for level in levels.PERSISTENT_MESSAGE_LEVELS:
        with committed():
            send_message(people[0], level, f"Level {level}")

    assert [new[0].level for _user, new in Recorder.delivered] == [
        *levels.PERSISTENT_MESSAGE_LEVELS
    ]


def test_bundled_channels_accept_no_message():
    message = Message(level=INFO, message="Hello")

    assert [path.rpartition(".")[2] for path in get_config().CHANNELS] == [
        "MailChannel",
        "LiveChannel",
    ]
    assert not MailChannel().accepts(message)
    assert not LiveChannel().accepts(message)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("shop.nowhere.Channel", "which cannot be imported"),
        ("persistent_messages.send_message", "which is no class"),
        ("persistent_messages.models.Message", "which is no subclass of Channel"),
    ],
)
def test_invalid_channel_is_reported_by_check(use, path, words):
    use(path)

    [error] = [each for each in check_site() if each.id == "persistent_messages.E009"]
    assert path in error.msg
    assert words in error.msg


@pytest.mark.parametrize("given", ["persistent_messages.Channel", [Recorder], {"a.b"}, [""]])
def test_invalid_channels_setting_is_named_in_error(settings, given):
    settings.PERSISTENT_MESSAGES = {"CHANNELS": given}

    with pytest.raises(ImproperlyConfigured, match=r"CHANNELS.*must be a list of dotted paths"):
        get_config()


class Hook(BaseHTTPRequestHandler):
    """The webhook of a chat."""

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        self.server.posts.append(json.loads(self.rfile.read(size)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments):
        pass


def test_documented_channel_posts_to_chat(settings, people, monkeypatch):
    block = next(b for b in blocks_in("python") if b.page == "docs/guides/channels.md")
    module = ModuleType("shop.channels")
    exec(block.text, vars(module))
    channel = module.ChatChannel()
    low = Message(user=people[0], level=INFO, message="Nothing new")
    high = Message(user=people[0], level=ERROR, message="Disk full", subject="“Archive”")
    assert [channel.accepts(low), channel.accepts(high)] == [False, True]

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        server.posts = []
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        settings.CHAT_WEBHOOK = f"http://127.0.0.1:{server.server_address[1]}/"
        channel.deliver(people[0], [high])
        thread.join()

    assert server.posts == [{"text": "person-0: “Archive”"}]


def test_channel_with_failing_accepts_does_not_stop_others(use, people, committed, caplog):
    use(HERE + "Careless", HERE + "Recorder")
    everybody = get_user_model().objects.all()

    with committed():
        assert send_message(everybody, INFO, "Hello") == len(people)

    assert [user for user, _ in Recorder.delivered] == [*everybody.order_by("pk")]
    assert "Careless could not accept a message" in caplog.text
