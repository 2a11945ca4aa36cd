"""Letters on a site with another user model: `tests.test_user_models` runs these for each."""

import re

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

import persistent_messages
from persistent_messages import (
    INFO,
    Folder,
    LetterRefused,
    Topic,
    broadcast,
    resolve,
    send_letter,
    send_message,
)
from persistent_messages.letters import policy
from persistent_messages.mailbox import delivery
from persistent_messages.models import Block, Message, Preference, Report

pytestmark = pytest.mark.django_db

WRITE = "/messages/write/"
NAMES = {
    "MailAccount": ("sally@example.com", "harry@example.com", "ida@example.com"),
    "NumberAccount": (17, 18, 2**31 - 1),
    "TextAccount": ("Sally/é 1?#&", "harry", "null"),
    "FoldingAccount": ("Sally", "harry", "ÏDA"),
}[settings.MODEL]
SHOWN = [str(name).partition("@")[0] for name in NAMES]


@pytest.fixture
def people(db):
    return [get_user_model().objects.create_user(name) for name in NAMES]


def browser_of(person):
    browser = Client()
    browser.force_login(person)
    return browser


def post(browser, url, **data):
    page = browser.get(url)
    tokens = re.findall(r'name="letter" value="([^"]+)"', page.text)
    return browser.post(url, {**({"letter": tokens[0]} if tokens else {}), **data})


def typed(person):
    return str(person.get_username())


def copy_of(letter, owner):
    return Message.objects.get(letter=letter.letter, user=owner)


def test_migrations_are_complete(people):
    call_command("makemigrations", "persistent_messages", check=True, dry_run=True, verbosity=0)
    call_command("check", "--fail-level", "WARNING")


def test_letter_can_be_written_read_and_replied_to(people):
    sally, harry, ida = people
    writer, reader = browser_of(harry), browser_of(sally)

    response = post(writer, WRITE, to=f"{typed(sally)}, {typed(ida)}", message="Hello")

    assert response.status_code == 302
    own = Message.objects.get(user=harry, folder=Folder.SENT)
    assert own.to_names == [SHOWN[0], SHOWN[2]]
    assert "Sent to " in writer.get(response["Location"]).text
    received = Message.objects.get(user=sally)
    assert (received.from_name, received.is_sent) == (SHOWN[1], False)
    assert SHOWN[1] in reader.get("/messages/").text
    url = reverse("message_detail", args=[received.pk])
    assert SHOWN[1] in reader.get(url).text
    answer = post(reader, reverse("message_reply", args=[received.pk]), message="Hello yourself")
    assert answer.status_code == 302
    assert Message.objects.inbox_of(harry).get().message == "Hello yourself"
    assert (
        post(writer, reverse("message_reply", args=[own.pk]), message="Once more").status_code
        == 302
    )
    assert Message.objects.inbox_of(sally).count() == 2
    assert SHOWN[0] in writer.get("/messages/?box=sent").text


def test_same_form_sends_once_and_changed_text_again(people):
    sally, harry, _ida = people
    browser = browser_of(harry)
    page = browser.get(WRITE)
    (token,) = re.findall(r'name="letter" value="([^"]+)"', page.text)
    data = {"to": typed(sally), "letter": token}

    for text in ("Helo", "Helo", "Hello"):
        assert browser.post(WRITE, {**data, "message": text}).status_code == 302

    received = Message.objects.inbox_of(sally).order_by("pk")
    assert [row.message for row in received] == ["Helo", "Hello"]


@pytest.mark.parametrize(
    "name", ["nobody", "9" * 40, "-1", "1.5", "x" * 3000, "<b>", "%", "1e5", "😀", "\u202e"]
)
def test_unknown_recipient_shows_field_error(people, name):
    page = post(browser_of(people[1]), WRITE, to=name, message="Hello")

    assert page.status_code == 200
    assert "can’t be delivered" in page.text
    assert not Message.objects.exists()


def test_letter_to_oneself_shows_field_error(people):
    page = post(browser_of(people[0]), WRITE, to=typed(people[0]), message="Hello")

    assert "You can’t send a message to yourself." in page.text


def test_recipient_named_twice_gets_one_letter(people):
    sally, harry, _ida = people
    name = typed(sally)
    other = name.upper() if settings.MODEL == "FoldingAccount" else f" {name} "

    response = post(browser_of(harry), WRITE, to=f"{name},{other}", message="Hello")

    assert response.status_code == 302
    assert Message.objects.filter(user=sally).count() == 1


def test_recipient_is_found_as_by_log_in(people):
    harry = people[1]
    spelled = {
        "NumberAccount": "１７",
        "FoldingAccount": "sALLY",
        "TextAccount": "Sally/e\u0301 1?#&",
        "MailAccount": "ｓally@example.com",
    }[settings.MODEL]

    response = post(browser_of(harry), WRITE, to=spelled, message="Hello")

    assert response.status_code == 302
    assert Message.objects.filter(user=people[0]).count() == 1


def test_autocomplete_works_for_each_input(people):
    sally, harry, ida = people
    send_letter(sally, harry, "", "Hello")
    for begun in ("sa", "Sally", "17", "99999999999999999999", "@e", "exa", "harry, sa"):
        page = browser_of(harry).get(reverse("message_people"), {"to": begun})
        assert page.status_code == 200
        assert typed(ida) not in page.text or "@" not in typed(ida)


def test_sender_can_be_blocked_and_unblocked(people):
    sally, harry, _ida = people
    received = copy_of(send_letter(harry, sally, "", "Hello"), sally)
    browser = browser_of(sally)

    assert SHOWN[1] in browser.get(reverse("message_block", args=[received.pk])).text
    browser.post(reverse("message_block", args=[received.pk]))
    block = Block.objects.get()
    assert (block.user, block.blocked) == (sally, harry)
    assert SHOWN[1] in browser.get(reverse("message_blocked")).text
    with pytest.raises(LetterRefused) as refused:
        send_letter(harry, sally, "", "Hello")
    assert "@" not in str(refused.value.reason)
    page = post(browser_of(harry), WRITE, to=typed(sally), message="Hello")
    assert "can’t be delivered" in page.text
    browser.post(reverse("message_unblock", args=[block.pk]))
    assert send_letter(harry, sally, "", "Hello")


def test_letter_can_be_reported_and_seen_by_staff(people):
    sally, harry, ida = people
    received = copy_of(send_letter(harry, sally, "", "Rude"), sally)
    own = Message.objects.get(user=harry)
    assert browser_of(harry).post(reverse("message_report", args=[own.pk])).status_code == 400

    browser_of(sally).post(reverse("message_report", args=[received.pk]), {"reason": "Rude."})

    report = Report.objects.get()
    assert (report.accused, report.accused_name) == (harry, SHOWN[1])
    policy.block(sally, harry)
    staff = browser_of(ida)
    for name in ("message", "block", "report"):
        page = staff.get(reverse(f"admin:persistent_messages_{name}_changelist"))
        assert page.status_code == 200
        assert SHOWN[1] in page.text
    for row in (received, report, Block.objects.get()):
        url = reverse(f"admin:persistent_messages_{row._meta.model_name}_change", args=[row.pk])
        assert staff.get(url).status_code == 200
    for action in ("resolve", "deactivate"):
        data = {"action": action, "_selected_action": [report.pk]}
        url = reverse("admin:persistent_messages_report_changelist")
        assert staff.post(url, data).status_code in {200, 302}


def test_admin_search_finds_messages_of_owner(people):
    sally, _harry, ida = people
    send_message([sally, ida], persistent_messages.INFO, "Hello")
    url, staff = reverse("admin:persistent_messages_message_changelist"), browser_of(ida)

    found = staff.get(url, {"q": typed(sally)}).context["cl"].queryset
    assert [row.user for row in found] == [sally]
    for nobody in ("nobody", "17.5", "9" * 30, "a b", '"', "é"):
        page = staff.get(url, {"q": nobody})
        assert page.status_code == 200
        assert not page.context["cl"].queryset


def test_moved_message_can_be_restored_and_found(people):
    sally, harry, _ida = people
    sent = send_letter(harry, sally, "Rota", "Who takes Thursday?")
    for owner, folder in ((harry, Folder.SENT), (sally, Folder.INBOX)):
        row, browser = copy_of(sent, owner), browser_of(owner)
        browser.post(reverse("message_delete", args=[row.pk]))
        (undo,) = set(re.findall(r"/messages/undo/[^\"' ]+", browser.get("/messages/").text))
        assert browser.post(undo).status_code == 302
        row.refresh_from_db()
        assert row.folder == folder
        browser.post(reverse("message_delete", args=[row.pk]))
        browser.post(reverse("message_restore", args=[row.pk]))
        row.refresh_from_db()
        assert row.folder == folder
        box = "sent" if folder == Folder.SENT else "inbox"
        page = browser.get("/messages/", {"box": box, "q": "thursday"})
        assert f'data-pm-message="{row.pk}"' in page.text


def test_send_rate_is_enforced(people, settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "2/h"}
    sally, harry, _ida = people
    browser = browser_of(harry)
    for _ in range(2):
        sent = send_letter(harry, sally, "", "Hello")
        for _again in range(2):
            browser.post(reverse("message_delete", args=[sent.pk]), {"final": "1"})
    assert not Message.objects.visible_to(harry).exists()

    assert (
        "You’ve reached the sending limit."
        in post(browser, WRITE, to=typed(sally), message="Hello").text
    )


def test_send_message_accepts_querysets_keys_and_instances(people):
    users = get_user_model().objects.all()
    count = send_message(users, persistent_messages.INFO, "All")
    count += send_message([person.pk for person in people], persistent_messages.INFO, "Keys")

    assert count == 6
    for person in people:
        page = browser_of(person).get("/messages/")
        assert page.status_code == 200
        assert "All" in page.text
        assert "Keys" in page.text


@pytest.mark.parametrize("key", [None, "quota"])
def test_send_message_works_in_ranges_of_keys(people, key, monkeypatch):
    for name in ("RANGE_SIZE", "BATCH_SIZE"):
        monkeypatch.setattr(delivery, name, 1)
    users = get_user_model().objects.all()
    for _ in range(2):
        assert send_message(users, persistent_messages.INFO, "All", key=key, atomic=False) == 3

    found = Message.objects.filter(message="All").values_list("user", "times")
    times = [1, 1] if key is None else [2]
    assert sorted(found) == sorted((person.pk, n) for person in people for n in times)


def test_deleted_account_keeps_its_name(people):
    sally, harry, _ida = people
    received = copy_of(send_letter(harry, sally, "", "Hello"), sally)
    send_letter(sally, None, "", "Yes.", received)
    harry.delete()

    for url in ("/messages/", "/messages/?box=sent", f"/messages/detail/{received.pk}/"):
        assert SHOWN[1] in browser_of(sally).get(url).text


@pytest.mark.parametrize("key", [None, "maintenance"])
def test_broadcast_arrives_and_is_edited_and_withdrawn(people, key):
    """Also where users have neither groups nor `is_staff`."""
    sent = broadcast(INFO, "Sunday", key=key)
    for person in people:
        assert "Sunday" in browser_of(person).get("/messages/").text

    assert sent.edit(message="Monday") == len(people)
    assert {row.user for row in Message.objects.filter(message="Monday")} == set(people)
    with pytest.raises(ValueError, match="audience must be 'everybody'"):
        sent.edit(audience="group:Editors")
    assert sent.withdraw() == len(people)


def test_notice_with_topic_is_sent_and_resolved(people):
    topic = Topic("storage", "Storage")
    Preference.objects.create(user=people[0], topic="storage", in_inbox=False)
    Preference.objects.create(user=people[1], topic="storage", mail="daily")

    for users in (people, get_user_model().objects.all(), [person.pk for person in people]):
        assert send_message(users, INFO, "Full", topic=topic, key="quota") == len(people)

    times = {row.user: row.times for row in Message.objects.all()}
    assert times == {people[0]: 1, people[1]: 3, people[2]: 3}
    assert resolve(people, "quota") == 2
