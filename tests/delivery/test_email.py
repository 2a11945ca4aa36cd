"""Mails, as a real server of SMTP gets them."""

import pytest
from django.contrib.auth import get_user_model


def recipients(sink):
    return [str(mail["To"]) for mail in sink.mails]


ADDRESSES = [f"person-{number}@example.com" for number in range(5)]


def test_mails_of_a_batch_share_a_connection(sink, people, mail_to):
    mail_to(people)

    assert recipients(sink) == ADDRESSES
    assert sink.connections == 1


def test_a_mail_says_that_nobody_wrote_it(sink, people, mail_to):
    mail_to(people[0])

    assert sink.mails[0]["Auto-Submitted"] == "auto-generated"


def test_no_mail_reaches_an_inactive_account(sink, people, mail_to):
    get_user_model().objects.filter(pk=people[1].pk).update(is_active=False)

    assert mail_to(people) == 5

    assert recipients(sink) == [ADDRESSES[0], *ADDRESSES[2:]]


def test_nobody_to_mail_to_asks_no_server(sink, people, mail_to):
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
def test_a_bad_address_loses_no_other_mail(sink, people, mail_to, caplog, address):
    if "\x00" in address:  # PostgreSQL stores none
        address = address.replace("\x00", "\x01")
    get_user_model().objects.filter(pk=people[1].pk).update(email=address)

    mail_to(people)

    assert [to for to in recipients(sink) if to in ADDRESSES] == [ADDRESSES[0], *ADDRESSES[2:]]
    assert sink.connections == 1
    assert not [mail for mail in sink.mails if "eve" in str(mail["Bcc"]) + str(mail["To"])]


def test_a_line_break_in_an_address_is_logged(sink, people, mail_to, caplog):
    get_user_model().objects.filter(pk=people[1].pk).update(email="a@example.com\nX: y")

    mail_to(people)

    (record,) = [
        each for each in caplog.records if each.name == "persistent_messages.delivery.email"
    ]
    assert "could not be mailed" in record.getMessage()


def test_a_refused_address_loses_no_other_mail(sink, people, mail_to, caplog):
    sink.refused.add(ADDRESSES[1])

    mail_to(people)

    assert recipients(sink) == [ADDRESSES[0], *ADDRESSES[2:]]
    assert sink.connections == 1
    assert "No such mailbox" in caplog.text


def test_a_server_that_hangs_up_is_connected_to_again(sink, people, mail_to, caplog):
    sink.hung_up.add(ADDRESSES[1])

    mail_to(people)

    assert recipients(sink) == [ADDRESSES[0], *ADDRESSES[2:]]
    assert sink.connections == 2


def test_no_server_is_logged_once_and_fails_nothing(no_server, people, mail_to, caplog):

    assert mail_to(people) == 5

    (record,) = [
        each for each in caplog.records if each.name == "persistent_messages.delivery.email"
    ]
    assert "could not be mailed" in record.getMessage()


# Whose address it shows


def test_no_mail_shows_the_address_of_its_sender(sink, people, other, mail_to):
    mail_to(people[0], from_user=other)

    assert "harry@example.com" not in sink.mails[0].as_string()
    assert sink.mails[0]["Reply-To"] is None


def test_a_site_may_have_answers_go_to_the_sender(sink, people, other, mail_to, settings):
    settings.PERSISTENT_MESSAGES = {"MAIL_REPLY_TO": True}

    mail_to(people[0], from_user=other)

    assert sink.mails[0]["Reply-To"] == "harry@example.com"


@pytest.mark.parametrize("address", ["", "harry@example.com\nBcc: eve@example.com", "harry"])
def test_a_bad_address_of_the_sender_loses_no_mail(sink, people, other, mail_to, settings, address):
    settings.PERSISTENT_MESSAGES = {"MAIL_REPLY_TO": True}
    other.email = address
    other.save()

    mail_to(people, from_user=other)

    assert recipients(sink) == ADDRESSES
    assert {mail["Reply-To"] for mail in sink.mails} == {None}
