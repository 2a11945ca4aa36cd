"""Mails as a real SMTP server receives them."""

import re
from smtplib import SMTPNotSupportedError

import pytest
from django.contrib.auth import get_user_model
from django.core.mail.backends.smtp import EmailBackend

from persistent_messages.delivery.server import MailServer
from persistent_messages.models import DueMail


def recipients(sink):
    return [str(mail["To"]) for mail in sink.mails]


ADDRESSES = [f"person-{number}@example.com" for number in range(5)]


def test_mails_of_batch_share_connection(sink, people, mail_to):
    mail_to(people)

    assert recipients(sink) == ADDRESSES
    assert sink.connections == 1


@pytest.mark.parametrize("key", [None, "disk"])
def test_mails_of_many_users_share_connection(db, sink, mail_to, key):
    """On SQLite, more than thirty rows may be too many for one insert."""
    model = get_user_model()
    users = [model(username=f"p{n}", email=f"p{n}@example.com") for n in range(100)]
    model.objects.bulk_create(users)

    mail_to(model.objects.filter(username__startswith="p"), key=key)

    assert sorted(recipients(sink)) == sorted(user.email for user in users)
    assert sink.connections == 1


def test_mail_is_marked_as_auto_generated(sink, people, mail_to):
    mail_to(people[0])

    assert sink.mails[0]["Auto-Submitted"] == "auto-generated"


def test_inactive_user_gets_no_mail(sink, people, mail_to):
    get_user_model().objects.filter(pk=people[1].pk).update(is_active=False)

    assert mail_to(people) == 5

    assert recipients(sink) == [ADDRESSES[0], *ADDRESSES[2:]]


def test_no_connection_is_opened_without_recipients(sink, people, mail_to):
    get_user_model().objects.update(email="")

    mail_to(people)

    assert sink.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com\nBcc: eve@example.com",
        "a@example.com\r\n\r\nBody",
        "a@example.com\r",
        "a@example.com, eve@example.com",
        "<a@example.com",
        "a b@example.com",
        "@",
        "ä\x00@example.com",
    ],
)
def test_invalid_address_does_not_affect_other_mails(sink, people, mail_to, caplog, address):
    if "\x00" in address:  # PostgreSQL stores none
        address = address.replace("\x00", "\x01")
    get_user_model().objects.filter(pk=people[1].pk).update(email=address)

    mail_to(people)

    assert [to for to in recipients(sink) if to in ADDRESSES] == [ADDRESSES[0], *ADDRESSES[2:]]
    assert sink.connections == 1
    assert not [mail for mail in sink.mails if "eve" in str(mail["Bcc"]) + str(mail["To"])]


@pytest.mark.parametrize(
    "address", ["a@", '"', "<>", '<"', "a@[ ", "a@['@\u200f", "\t.@a@\u200fa.", "a@\u200f"]
)
def test_unparsable_address_is_not_retried(sink, people, mail_to, caplog, address):
    """Python's parser raises errors of many classes, depending on its version."""
    get_user_model().objects.filter(pk=people[1].pk).update(email=address)

    mail_to(people)

    assert recipients(sink) == [ADDRESSES[0], *ADDRESSES[2:]]
    assert not DueMail.objects.exists()


def test_line_break_in_address_is_logged(sink, people, mail_to, caplog):
    get_user_model().objects.filter(pk=people[1].pk).update(email="a@example.com\nX: y")

    mail_to(people)

    (record,) = [
        each for each in caplog.records if each.name == "persistent_messages.delivery.email"
    ]
    assert "could not be mailed" in record.getMessage()


def test_refused_address_does_not_affect_other_mails(sink, people, mail_to, caplog):
    sink.refused.add(ADDRESSES[1])

    mail_to(people)

    assert recipients(sink) == [ADDRESSES[0], *ADDRESSES[2:]]
    assert sink.connections == 1
    assert "No such mailbox" in caplog.text


def test_connection_closed_by_server_is_reopened(sink, people, mail_to, caplog):
    sink.hung_up.add(ADDRESSES[1])

    mail_to(people)

    assert recipients(sink) == [ADDRESSES[0], *ADDRESSES[2:]]
    assert sink.connections == 2


def test_unreachable_server_is_logged_once_and_raises_nothing(no_server, people, mail_to, caplog):

    assert mail_to(people) == 5

    (record,) = [
        each for each in caplog.records if each.name == "persistent_messages.delivery.email"
    ]
    assert "could not be mailed" in record.getMessage()


# Addresses


def test_mail_does_not_reveal_address_of_sender(sink, people, other, mail_to):
    mail_to(people[0], from_user=other)

    assert "harry@example.com" not in sink.mails[0].as_string()
    assert sink.mails[0]["Reply-To"] is None


def test_reply_to_setting_adds_address_of_sender(sink, people, other, mail_to, settings):
    settings.PERSISTENT_MESSAGES = {"MAIL_REPLY_TO": True}

    mail_to(people[0], from_user=other)

    assert sink.mails[0]["Reply-To"] == "harry@example.com"


@pytest.mark.parametrize("address", ["", "harry@example.com\nBcc: eve@example.com", "harry"])
def test_invalid_address_of_sender_does_not_stop_mail(
    sink, people, other, mail_to, settings, address
):
    settings.PERSISTENT_MESSAGES = {"MAIL_REPLY_TO": True}
    other.email = address
    other.save()

    mail_to(people, from_user=other)

    assert recipients(sink) == ADDRESSES
    assert {mail["Reply-To"] for mail in sink.mails} == {None}


# Kinds of mail servers


def set_address(person, address):
    person.email = address
    person.save()


@pytest.mark.parametrize("knows_utf8", [True, False])
def test_non_ascii_local_part_fails_alone(server, people, mail_to, caplog, knows_utf8):
    """Django's backend does not use SMTPUTF8, and encoding would create another address."""
    sink = server(enable_SMTPUTF8=knows_utf8)
    set_address(people[1], "jürgen@example.com")

    mail_to(people)

    assert sink.recipients == [ADDRESSES[0], *ADDRESSES[2:]]
    assert sink.connections == 1
    assert "could not be mailed" in caplog.text
    assert not DueMail.objects.exists()


@pytest.mark.parametrize("knows_utf8", [True, False])
def test_internationalized_domain_is_encoded(server, people, mail_to, knows_utf8):
    sink = server(enable_SMTPUTF8=knows_utf8)
    set_address(people[0], "jane@bücher.example")

    mail_to(people[:2])

    assert sink.recipients == ["jane@xn--bcher-kva.example", ADDRESSES[1]]


def test_quoted_comma_in_address_is_accepted(sink, people, mail_to):
    set_address(people[0], '"a,b"@example.com')

    mail_to(people[0])

    assert sink.recipients == ['"a,b"@example.com']


class Utf8Backend(EmailBackend):
    """A site's own backend, whose mails need SMTPUTF8."""

    def _send(self, message):
        recipients = message.recipients()
        self.connection.ehlo_or_helo_if_needed()
        options = () if "".join(recipients).isascii() else ["SMTPUTF8"]
        if options and not self.connection.has_extn("smtputf8"):
            raise SMTPNotSupportedError("SMTPUTF8 not supported by server")
        text = re.sub(rb"\r?\n", b"\r\n", message.message().as_bytes())
        self.connection.sendmail("webmaster@localhost", recipients, text, options)
        return True


@pytest.mark.parametrize(("knows_utf8", "more"), [(True, ["jürgen@example.com"]), (False, [])])
def test_custom_backend_can_send_by_smtputf8(
    server, use_backend, people, mail_to, caplog, knows_utf8, more
):
    sink = server(enable_SMTPUTF8=knows_utf8)
    use_backend(f"{__name__}.Utf8Backend", host="127.0.0.1", port=sink.port)
    set_address(people[0], "jürgen@example.com")

    mail_to(people)

    assert sink.recipients == [*more, *ADDRESSES[1:]]
    assert ("SMTPUTF8 not supported" in caplog.text) != knows_utf8
    assert not DueMail.objects.exists()


# A server that hangs


def test_server_timeout_affects_only_one_mail(server, people, mail_to, caplog):
    sink = server(timeout=3)  # long enough for the other mails
    sink.hung.add(ADDRESSES[1])

    mail_to(people)

    assert sink.recipients == [ADDRESSES[0], *ADDRESSES[2:]]
    assert [row.user for row in DueMail.objects.all()] == [people[1]]


def test_server_that_always_times_out_counts_as_unreachable(server, people, mail_to, caplog):
    sink = server(timeout=0.2)
    sink.hung.update(ADDRESSES)

    mail_to(people)

    assert sink.connections <= 3
    assert DueMail.objects.count() == 5


@pytest.mark.parametrize("timeout", [None, 7])
def test_connection_has_default_timeout(use_server, timeout):
    use_server(1, timeout)

    with MailServer() as server:
        assert server._connection.timeout == (timeout or 30)
