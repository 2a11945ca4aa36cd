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
from django.db import transaction

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


def test_a_channel_gets_what_was_stored_for_each_user_by_one_query(
    use, people, committed, django_assert_max_num_queries
):
    use(HERE + "Recorder")
    first, second, *_ = people
    with django_assert_max_num_queries(6) as seen, committed():
        send_message([first, second], INFO, "Hello", subject="Greeting")
    assert sum(each["sql"].startswith("SELECT") for each in seen) == 1
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


def test_what_was_rolled_back_is_not_delivered(use, people, committed):
    use(HERE + "Recorder")
    with committed(), transaction.atomic():
        send_message(people, INFO, "Hello")
        transaction.set_rollback(True)

    assert texts() == []


def test_a_channel_that_accepts_nothing_has_no_row_read(
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


def test_a_channel_that_fails_stops_nobody(use, people, committed, caplog):
    use(HERE + "Broken", HERE + "Recorder")
    with committed():
        assert send_message(people[:2], INFO, "Hello") == 2

    assert texts() == [("person-0", ["Hello"]), ("person-1", ["Hello"])]
    assert caplog.text.count("Broken could not deliver messages to user") == 2
    assert "The chat does not answer." in caplog.text


def test_a_site_without_the_channel_of_mail_mails_nothing(use, people, committed, monkeypatch):
    use()
    monkeypatch.setitem(topics, "billing", Topic("billing", "Billing", mail="now"))
    with committed():
        send_message(people[0], INFO, "Hello", email=True)
        send_message(people[0], INFO, "Hello", topic="billing")
        send_message(people, INFO, "Hello", email=True)
        send_letter(people[1], [people[0]], "Lunch", "At noon?")

    assert mail.outbox == []
    assert not DueMail.objects.exists()


def test_the_channel_of_mail_mails_at_once_what_it_is_given(people):
    message = Message.objects.create(user=people[0], level=INFO, message="Hello", read_at=None)

    MailChannel().deliver(people[0], [message])

    [sent] = mail.outbox
    assert sent.to == [people[0].email]
    assert "Hello" in sent.body


def test_each_level_of_the_app_reaches_a_channel(use, people, committed):
    use(HERE + "Recorder")
    for level in levels.PERSISTENT_MESSAGE_LEVELS:
        with committed():
            send_message(people[0], level, f"Level {level}")

    assert [new[0].level for _user, new in Recorder.delivered] == [
        *levels.PERSISTENT_MESSAGE_LEVELS
    ]


def test_the_channels_of_the_app_take_nothing_from_here():
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
def test_a_channel_that_is_none_is_told_at_start(use, path, words):
    use(path)

    [error] = [each for each in check_site() if each.id == "persistent_messages.E009"]
    assert path in error.msg
    assert words in error.msg


@pytest.mark.parametrize("given", ["persistent_messages.Channel", [Recorder], {"a.b"}, [""]])
def test_what_is_no_list_of_paths_is_refused_by_name(settings, given):
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


def test_the_example_of_the_documentation_posts_to_a_chat(settings, people, monkeypatch):
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


def test_a_channel_that_cannot_accept_stops_nobody(use, people, committed, caplog):
    use(HERE + "Careless", HERE + "Recorder")
    everybody = get_user_model().objects.all()

    with committed():
        assert send_message(everybody, INFO, "Hello") == len(people)

    assert [user for user, _ in Recorder.delivered] == [*everybody.order_by("pk")]
    assert "Careless could not accept a message" in caplog.text
