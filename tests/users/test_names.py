"""The names of users: never empty, configurable, and distinguishable."""

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse
from django.utils.safestring import mark_safe

import persistent_messages
from persistent_messages import Folder, LetterRefused, mailbox, send_letter
from persistent_messages.letters import policy, replies, reports
from persistent_messages.models import Block, Message
from persistent_messages.users.names import NAME_LENGTH, Name, name_of
from tests.pages import browser_of, soup, text_of, texts

RIGHT_TO_LEFT = "\u202e"
OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.fixture(autouse=True)
def letters_on(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}


def person(username, first_name="", last_name="", **fields):
    return get_user_model().objects.create_user(
        username, first_name=first_name, last_name=last_name, **fields
    )


def copy_of(letter, owner):
    return Message.objects.get(letter=letter.letter, user=owner)


def named_by(settings, function):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "MAILBOX_NAME": function}


# Names


@pytest.mark.parametrize(
    ("username", "full_name", "name", "detail"),
    [
        ("sally", "Sally Ride", "Sally Ride", "sally"),
        ("sally", "", "sally", ""),
        ("sally", " ", "sally", ""),
        ("sally", "\t\n \u00a0", "sally", ""),
        ("sally", "\u200b\u3164\u2800", "sally", ""),
        ("sally", "sally", "sally", ""),
        ("sally", f"Sally{RIGHT_TO_LEFT} Ride", "Sally Ride", "sally"),
        ("sally", f"{OVERRIDES}Sally", "Sally", "sally"),
        ("sally", "Sally\nRide\r\x00\x1b", "Sally Ride", "sally"),
        ("sally", "x" * 300, "x" * NAME_LENGTH, "sally"),
        ("سلمى", "سلمى رايد", "سلمى رايد", "سلمى"),
        ("sally@example.com", "Sally Ride", "Sally Ride", ""),
        ("sally@example.com", "", "sally", ""),
        ("sally@example.com", "sally@example.com", "sally", ""),
        ("sally@example.com", " Sally@Example.com ", "sally", ""),
        ("sally", "sally@example.com", "sally", ""),
        ("@sally", "", "@sally", ""),
        ("", "", "7", ""),
        (" ", " ", "7", ""),
    ],
)
def test_name_falls_back_to_username_and_primary_key(
    monkeypatch, username, full_name, name, detail
):
    user = get_user_model()(pk=7, username=username)
    monkeypatch.setattr(get_user_model(), "get_full_name", lambda self: full_name)

    assert name_of(user) == Name(name, detail)


@pytest.mark.parametrize("full_name", [None, 0, mark_safe("<b>Sally</b>")])
def test_name_is_always_plain_text(monkeypatch, full_name):
    monkeypatch.setattr(get_user_model(), "get_full_name", lambda self: full_name)

    name = name_of(get_user_model()(pk=7, username="sally")).name

    assert type(name) is str
    assert name == (full_name or "sally")


@pytest.mark.parametrize(
    ("result", "named"),
    [
        ("Captain Ride", Name("Captain Ride")),
        ("Captain Ride\nKitchen", Name("Captain Ride", "Kitchen")),
        ("Captain Ride\r\n\r\nKitchen\nand more", Name("Captain Ride", "Kitchen")),
        ("Same\nSame", Name("Same")),
        (f"A{RIGHT_TO_LEFT}B\x00\x1b\u2069\nC{RIGHT_TO_LEFT}", Name("AB", "C")),
        ("", Name("Sally Ride", "sally")),
        (" \n ", Name("Sally Ride", "sally")),
        (RIGHT_TO_LEFT, Name("Sally Ride", "sally")),
        (None, Name("Sally Ride", "sally")),
        (17, Name("17")),
        (mark_safe("<b>Sally</b>"), Name("<b>Sally</b>")),
        ("x" * 10**7, Name("x" * NAME_LENGTH)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_mailbox_name_setting_is_used(user, settings, result, named):
    named_by(settings, lambda user: result)

    assert name_of(user) == named
    assert all(type(part) is str for part in name_of(user))


def test_failing_mailbox_name_setting_is_named_in_error(user, other, settings):
    named_by(settings, lambda user: user.no_such_field)

    with pytest.raises(ImproperlyConfigured, match=r"MAILBOX_NAME.*no_such_field"):
        send_letter(other, user, "", "Hello")
    assert not Message.objects.exists()


@pytest.mark.parametrize("wrong", [5, None, "nodots"])
def test_invalid_mailbox_name_setting_is_named_in_error(user, settings, wrong):
    named_by(settings, wrong)

    with pytest.raises(ImproperlyConfigured, match="MAILBOX_NAME"):
        name_of(user)


def test_mailbox_name_setting_applies_everywhere(user, other, settings, admin_client):
    """Rows, letters, forms, completion and the admin."""
    named_by(settings, lambda user: f"Dr. {user.username}\nWard {user.pk}")
    ward = f"Ward {other.pk}"
    received = copy_of(send_letter(other, user, "Rota", "Hello"), user)
    block = policy.block(user, other)
    browser = browser_of(user)
    settings_free = [
        "/messages/",
        reverse("message_detail", args=[received.pk]),
        reverse("message_blocked"),
        reverse("message_unblock", args=[block.pk]),
        reverse("admin:persistent_messages_block_changelist"),
    ]
    for address in settings_free:
        page = (admin_client if "/admin/" in address else browser).get(address)
        assert "Dr. harry" in page.text, address
        assert ward in page.text, address
    block.delete()
    people = browser.get(reverse("message_people"), {"to": "har"}).text
    question = browser.get(reverse("message_block", args=[received.pk])).text
    own = admin_client.get(reverse("admin:persistent_messages_message_changelist")).text
    sent = browser_of(other).get("/messages/?box=sent").text
    assert "Dr. harry" in people
    assert "Dr. harry" in question
    assert "Dr. harry" in own
    assert "Dr. sally" in sent
    assert (received.from_name, received.sender) == ("Dr. harry", Name("Dr. harry", ward))


def test_message_from_user_keeps_name_at_time_of_sending(user, other, send, settings):
    named_by(settings, lambda user: "Dr. Harry\nSurgery")
    row = send("Hello", from_user=other)
    settings.PERSISTENT_MESSAGES = {}
    other.delete()
    row.refresh_from_db()

    assert row.sender == Name("Dr. Harry", "Surgery")
    assert row.from_name == "Dr. Harry"


# The kind of a row does not depend on names


@pytest.fixture
def no_full_names(monkeypatch):
    """All users have an empty full name, and their stored names are empty."""
    monkeypatch.setattr(get_user_model(), "get_full_name", lambda self: " ")


def clear_stored_names():
    """Names that were stored without validation."""
    Message.objects.update(from_name="", to_name="")


def test_blank_full_name_falls_back_to_username(user, other, no_full_names):
    sent = send_letter(other, user, "Rota", "Hello")

    assert (sent.from_name, sent.to_name) == ("harry", "sally")
    assert copy_of(sent, user).from_name == "harry"


def test_letter_without_names_is_still_letter(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "2/h"}
    sent = send_letter(other, user, "Rota", "Hello")
    clear_stored_names()
    own, received = copy_of(sent, other), copy_of(sent, user)

    assert (own.is_sent, received.is_sent) == (True, False)
    assert (own.is_from_user, received.is_from_user) == (True, True)
    assert replies.reply_recipient(other, own) == user
    assert replies.reply_recipient(user, received) == other
    with pytest.raises(LetterRefused):
        reports.report(other, own)
    assert reports.report(user, received)
    browser = browser_of(other)
    address = reverse("message_block", args=[own.pk])
    browser.post(address)
    assert [(block.user, block.blocked) for block in Block.objects.all()] == [(other, user)]
    assert "Report" not in browser.get(reverse("message_detail", args=[own.pk])).text
    assert browser.post(reverse("message_report", args=[own.pk])).status_code == 400


def test_letter_without_names_can_be_restored(user, other):
    send_letter(other, user, "Rota", "Hello")
    clear_stored_names()
    rows = Message.objects.all()
    for owner, folder in ((other, Folder.SENT), (user, Folder.INBOX)):
        mailbox.delete(owner, folder, rows)
        mailbox.restore(owner, Folder.TRASH, rows)
        assert Message.objects.get(user=owner).folder == folder


def test_letter_without_names_counts_towards_rate(user, other, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "2/h"}
    for _ in range(2):
        send_letter(other, user, "", "Hello")
        clear_stored_names()
        mailbox.delete(other, Folder.SENT, Message.objects.all())
        mailbox.delete(other, Folder.TRASH, Message.objects.all())

    with pytest.raises(LetterRefused):
        send_letter(other, user, "", "Hello")


def test_user_cannot_block_report_or_reply_to_oneself(user, send):
    """A notice that the site sends in a user's own name is not a letter."""
    note = send("A note to yourself", from_user=user)
    browser = browser_of(user)

    with pytest.raises(LetterRefused):
        replies.reply_recipient(user, note)
    assert browser.post(reverse("message_block", args=[note.pk])).status_code == 400
    assert browser.post(reverse("message_report", args=[note.pk])).status_code == 400
    assert not Block.objects.exists()
    mailbox.delete(user, Folder.INBOX, Message.objects.all())
    mailbox.restore(user, Folder.TRASH, Message.objects.all())
    note.refresh_from_db()
    assert note.folder == Folder.INBOX


def test_reply_to_deleted_last_writer_is_refused(user, other):
    third = person("ida")
    sent = send_letter(other, [user, third], "Rota", "Who?")
    with pytest.raises(LetterRefused, match="Nobody has replied yet"):
        replies.reply_recipient(other, sent)
    send_letter(third, None, "", "I.", copy_of(sent, third))
    assert replies.reply_recipient(other, sent) == third
    third.delete()

    with pytest.raises(LetterRefused, match="no longer exists"):
        replies.reply_recipient(other, sent)


# Similar names


@pytest.fixture
def twins(db):
    """Two accounts with the same full name."""
    return [person(name, "Alex", "Kim") for name in ("alex", "kim99")]


@pytest.mark.parametrize("place", ["list", "letter", "report"])
def test_users_with_same_name_are_distinguished_by_username(user, twins, place, admin_client):
    for number, twin in enumerate(twins):
        received = copy_of(send_letter(twin, user, "Rota", f"Number {number}"), user)
        if place == "report":
            reports.report(user, received)
            page = admin_client.get(reverse("admin:persistent_messages_report_changelist"))
            assert twin.username in page.text
            continue
        address = {"list": "/messages/", "letter": reverse("message_detail", args=[received.pk])}
        page = browser_of(user).get(address[place])
        assert twin.username in page.text
        assert "Alex Kim" in page.text


def test_sent_letter_distinguishes_recipients_with_same_name(user, twins):
    sent = send_letter(user, twins, "Rota", "Hello")
    single = send_letter(user, twins[1], "Rota", "Hello")

    browser = browser_of(user)
    assert sent.to_names == ["Alex Kim", "Alex Kim"]
    page = browser.get("/messages/?box=sent")
    assert "To Alex Kim (alex), Alex Kim (kim99)" in page.text
    (unfolded,) = soup(page).select(".pm-to")
    assert text_of(unfolded) == "2 recipients Alex Kim (alex) Alex Kim (kim99)"
    for letter, label in ((sent, "Alex Kim (alex), Alex Kim (kim99)"), (single, "(kim99)")):
        page = browser.get(reverse("message_detail", args=[letter.pk]))
        assert label in " ".join(texts(page, ".pm-note"))


def test_recipients_include_those_without_username_detail(user, twins):
    sent = send_letter(user, [person("ida"), twins[0], person("mae")], "", "Hello")

    sent.refresh_from_db()
    assert sent.recipients == [Name("ida"), Name("Alex Kim", "alex"), Name("mae")]


def test_autocomplete_distinguishes_users_with_same_name(user, twins):
    for twin in twins:
        send_letter(twin, user, "", "Hello")
    page = browser_of(user).get(reverse("message_people"), {"to": "alex"})

    assert sorted(texts(page, ".pm-option")) == ["Alex Kim alex", "Alex Kim kim99"]


def test_deleted_account_keeps_name_and_username(user, twins):
    received = copy_of(send_letter(twins[1], user, "Rota", "Hello"), user)
    twins[1].delete()

    for address in ("/messages/", reverse("message_detail", args=[received.pk])):
        assert "kim99" in browser_of(user).get(address).text


@pytest.mark.parametrize("own", ["Info", "Inbox", "testserver"])
def test_user_named_like_site_is_distinguished_from_site(user, own):
    fake = person("mallory", own)
    received = copy_of(send_letter(fake, user, "Payment", "Please confirm"), user)

    for address in ("/messages/", reverse("message_detail", args=[received.pk])):
        page = browser_of(user).get(address)
        assert "mallory" in page.text
        assert soup(page).select(".pm-avatar--system") == []


def test_bidirectional_overrides_are_removed_from_names(user, other, admin_client):
    for somebody in (user, other):
        somebody.first_name, somebody.last_name = f"A{OVERRIDES}", f"B{RIGHT_TO_LEFT}"
        somebody.save()
    sent = send_letter(other, user, "Rota", "Hello")
    received = copy_of(sent, user)
    policy.block(other, user)
    reports.report(user, received)

    for row in (sent, received):
        assert not set(OVERRIDES) & set(row.from_name + row.to_name)
    browser, writer = browser_of(user), browser_of(other)
    pages = [
        browser.get("/messages/"),
        browser.get(reverse("message_detail", args=[received.pk])),
        browser.get(reverse("message_people"), {"to": "har"}),
        writer.get(reverse("message_blocked")),
        writer.get("/messages/?box=sent"),
        *(
            admin_client.get(reverse(f"admin:persistent_messages_{name}_changelist"))
            for name in ("message", "block", "report")
        ),
    ]
    for page in pages:
        # Above it stands what the site shows by itself.
        ours = page.text.partition("<main")[2] or page.text
        assert not set(OVERRIDES) & set(ours)


def test_email_address_used_as_username_is_not_shown(user):
    writer = person("ida@example.com", "Ida", "Noddack")
    plain = person("mae@example.com")
    reader = browser_of(user)
    for sender in (writer, plain):
        received = copy_of(send_letter(sender, user, "Rota", "Hello"), user)
        for address in ("/messages/", reverse("message_detail", args=[received.pk])):
            page = reader.get(address)
            assert "@example.com" not in page.text
            assert received.from_name in page.text
        policy.block(sender, user)
        with pytest.raises(LetterRefused) as refused:
            send_letter(user, None, "", "Yes.", received)
        assert "@example.com" not in str(refused.value.reason)


def test_names_take_no_query(user, twins, send, django_assert_num_queries):
    for twin in twins:
        send_letter(twin, user, "Rota", "Hello")
    send("Hello", from_user=twins[0])

    received = list(Message.objects.owned_by(user))
    with django_assert_num_queries(0):
        assert {row.sender.label for row in received} == {"Alex Kim (alex)", "Alex Kim (kim99)"}


def test_detail_page_shows_name_of_sender(user, twins, send):
    row = send("Hello", persistent_messages.INFO, from_user=twins[0])

    assert "Alex Kim (alex)" in browser_of(user).get(reverse("message_detail", args=[row.pk])).text
