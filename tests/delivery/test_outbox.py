"""The outbox: mail is sent later, once, and only while it is wanted."""

import gc
import json
import logging
import re
import tracemalloc
from datetime import timedelta
from importlib import import_module
from io import StringIO

import django
import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.template import Library
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import mark_safe

from persistent_messages import (
    Folder,
    broadcast,
    mail_failed,
    mailbox,
    send_letter,
    send_message,
)
from persistent_messages.delivery import email, journal, outbox
from persistent_messages.delivery.server import MailServer
from persistent_messages.models import DueMail, Message
from persistent_messages.preferences import choices
from persistent_messages.preferences.choices import Choice

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _site(settings, register, tmp_path):
    settings.PERSISTENT_MESSAGES = {
        "LETTERS": True,
        "SITE_URL": "https://example.org",
        "MAIL_JOURNAL": str(tmp_path),
    }
    register(waits={"mail": "unread"}, daily={"mail": "daily"}, weekly={"mail": "weekly"})


def make_mail_due():
    """Make all unclaimed mail due."""
    DueMail.objects.filter(claim=None).update(due=timezone.now() - timedelta(seconds=1))


def send_due_mail(**options):
    """Make all mail due and run the command; return its output."""
    make_mail_due()
    said = StringIO()
    call_command("send_due_mail", stdout=said, **options)
    return said.getvalue().strip()


def subjects(mails):
    return [str(mail["Subject"]) for mail in mails]


def part(mail, kind):
    return mail.get_body((kind,)).get_content()


# Only what is still unread


def test_unread_message_is_mailed(sink, user):
    send_message(user, 120, "Hello", topic="waits")

    assert send_due_mail() == "1 sent"

    assert subjects(sink.mails) == ["Hello"]
    assert not DueMail.objects.exists()
    assert send_due_mail() == "0 sent"


@pytest.mark.parametrize("topic", ["waits", "daily", "weekly"])
@pytest.mark.parametrize(
    "what",
    ["read", "archived", "trashed", "deleted", "resolved", "expired", "refused", "returned"],
)
def test_message_no_longer_needing_mail_is_not_mailed(sink, user, topic, what):
    send_message(user, 120, "Hello", topic=topic, key="quota")
    rows = Message.objects.owned_by(user)
    if what == "read":
        mailbox.mark_read(user, Folder.INBOX, rows)
    elif what == "archived":
        mailbox.archive(user, Folder.INBOX, rows)
    elif what == "trashed":
        mailbox.delete(user, Folder.INBOX, rows)
    elif what == "deleted":
        rows.delete()
    elif what == "resolved":
        mailbox.resolve(user, "quota")
    elif what == "expired":
        rows.update(expires=timezone.now())
    elif what == "refused":
        choices.never_mail(user.pk, [topic])
    else:
        mail_failed(user)

    assert send_due_mail() == "0 sent, 1 needless"

    assert sink.mails == []
    assert sink.connections == 0
    assert not DueMail.objects.exists()


@pytest.mark.parametrize("choice", [Choice(), Choice(in_inbox=False)])
def test_notice_that_is_renewed_is_mailed_when_the_first_one_was_due(
    sink, user, other, set_clock, choice
):
    """Or a job that fails every ten minutes would never be mailed."""
    choices.save(user, {"waits": choice})
    for minutes in (0, 10, 14):
        set_clock(minutes=minutes)
        send_message([user, other], 120, f"Failed at {minutes}", topic="waits", key="build")
    assert DueMail.objects.count() == 2

    set_clock(minutes=16)
    call_command("send_due_mail", stdout=StringIO())

    assert len(sink.mails) == 2
    assert all("Failed at 14" in part(mail, "plain") for mail in sink.mails)
    assert not DueMail.objects.exists()


def test_notice_that_was_read_before_it_is_renewed_waits_anew(sink, user, set_clock):
    send_message(user, 120, "One", topic="waits", key="build")
    mailbox.mark_read(user, Folder.INBOX, Message.objects.all())
    set_clock(minutes=10)
    send_message(user, 120, "Two", topic="waits", key="build")

    set_clock(minutes=16)
    call_command("send_due_mail", stdout=StringIO())
    assert sink.mails == []
    set_clock(minutes=26)
    call_command("send_due_mail", stdout=StringIO())

    assert len(sink.mails) == 1


def test_outbox_does_not_grow_with_renewals(user):
    for _ in range(3):
        send_message(user, 120, "Failed", topic="daily", key="build")
        send_message(user, 120, "Failed", topic="daily", key="export")

    assert DueMail.objects.count() == 2


def test_message_delivered_to_archive_is_mailed(sink, user):
    choices.save(user, {"waits": Choice(in_inbox=False)})
    send_message(user, 120, "Hello", topic="waits")
    assert Message.objects.get().folder == Folder.ARCHIVE
    assert send_due_mail() == "1 sent"


def test_message_read_before_task_is_mailed_if_due_immediately(sink, user):
    """The user may read the message before the task runs."""
    send_message(user, 120, "Hello", email=True)
    mailbox.mark_read(user, Folder.INBOX, Message.objects.all())
    DueMail.objects.update(due=timezone.now())
    assert send_due_mail() == "1 sent"


def test_running_broadcast_is_mailed_to_recipients(sink, user, other):
    notice = broadcast(120, "Read-only on Sunday", topic="waits")
    for person in (user, other):
        browser = Client()
        browser.force_login(person)
        browser.get(reverse("message_list"))
    assert DueMail.objects.count() == 2
    mailbox.mark_read(user, Folder.INBOX, Message.objects.all())
    assert send_due_mail() == "1 sent, 1 needless"

    browser = Client()
    browser.force_login(get_user_model().objects.create(username="ida", email="ida@example.com"))
    browser.get(reverse("message_list"))
    assert DueMail.objects.count() == 1
    notice.withdraw()
    assert send_due_mail() == "0 sent, 1 needless"


def test_pause_postpones_due_mail(sink, user):
    send_message(user, 120, "One", topic="waits")
    send_message(user, 120, "Two", topic="weekly")
    until = timezone.now().replace(microsecond=0) + timedelta(1)
    choices.pause([user.pk], until)

    assert send_due_mail() == "0 sent, 2 postponed"
    assert {(row.choice, row.due) for row in DueMail.objects.all()} == {("daily", until)}

    choices.resume(user)
    assert send_due_mail() == "1 sent"
    assert subjects(sink.mails) == ["2 unread messages on example.org"]


@pytest.mark.parametrize("change", [{"is_active": False}, {"email": ""}])
def test_user_without_usable_address_is_counted_and_logged(sink, user, change, caplog):
    send_message(user, 120, "Hello", topic="waits")
    get_user_model().objects.update(**change)

    with caplog.at_level(logging.INFO, "persistent_messages.delivery.email"):
        assert send_due_mail() == "0 sent, 1 skipped"

    assert str(user.pk) in caplog.text
    assert not DueMail.objects.exists()


# One mail


def test_digest_is_one_mail(sink, user, other):
    for number in range(3):
        send_message(
            [user, other], 120, f"Text {number}", subject=f"Number {number}", topic="daily"
        )
    send_message(user, 120, "Weekly", topic="weekly", from_user=other)

    assert send_due_mail() == "2 sent"

    first = next(mail for mail in sink.mails if mail["To"] == "sally@example.com")
    assert first["Subject"] == "4 unread messages on example.org"
    text = part(first, "plain")
    assert [text.index(word) for word in ("Weekly", "Number 2", "Number 1", "Number 0")] == sorted(
        text.index(word) for word in ("Weekly", "Number 2", "Number 1", "Number 0")
    )
    assert "https://example.org/messages/detail/" in text
    assert "harry@" not in first.as_string()


def test_long_digest_counts_remaining_messages(sink, user):
    for number in range(52):
        send_message(user, 120, f"Text {number}", topic="daily")
    send_due_mail()
    text = part(sink.mails[0], "plain")
    assert "Text 51" in text
    assert "Text 1\n" not in text
    assert "And 2 more." in text


@pytest.mark.parametrize("size", [5, 9, 100])
def test_digest_is_one_mail_for_any_claim_size(sink, people, monkeypatch, size):
    monkeypatch.setattr(outbox, "BATCH_SIZE", 4)
    monkeypatch.setattr(outbox, "MAX_CLAIM", size)
    for _ in range(4):
        send_message(people, 120, "Hello", topic="daily")

    assert send_due_mail() == "5 sent"

    assert sorted(sink.recipients) == [person.email for person in people]
    assert {subject.split()[0] for subject in subjects(sink.mails)} == {"4"}


def test_digest_larger_than_claim_is_split(sink, user, other, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_CLAIM", 5)
    for _ in range(7):
        send_message([user, other], 120, "Hello", topic="daily")

    assert send_due_mail() == "4 sent"

    assert sorted(subject.split()[0] for subject in subjects(sink.mails)) == ["2", "2", "5", "5"]


def test_letters_of_conversation_are_one_mail(sink, user, other):
    first = send_letter(other, user, "Rota", "First")
    received = Message.objects.get(user=user)
    send_letter(user, None, "", "My answer", reply_to=received)
    send_letter(other, None, "", "Second", reply_to=first)
    send_letter(other, user, "Another", "Third")
    # Only the first one is due; the others of the same mail are claimed with it.
    DueMail.objects.filter(message_id=received.pk).update(due=timezone.now())

    call_command("send_due_mail", verbosity=0)

    (mail,) = sink.mails
    assert "First" in part(mail, "plain")
    assert "Second" in part(mail, "plain")
    assert "Third" not in part(mail, "plain")
    assert str(mail["From"]).startswith('"harry via example.org" <')
    assert "harry@example.com" not in mail.as_string()


def test_letter_is_not_mailed_early_after_read_one(sink, user, other):
    first = send_letter(other, user, "Rota", "First")
    Message.objects.filter(user=user).update(read_at=timezone.now())
    make_mail_due()
    send_letter(other, None, "", "Second", reply_to=first)
    due = DueMail.objects.latest("pk").due

    call_command("send_due_mail", verbosity=0)

    assert sink.mails == []
    (row,) = DueMail.objects.all()
    assert (row.due, row.claim) == (due, None)
    assert send_due_mail() == "1 sent"


def test_reply_is_not_mailed_early_with_its_letter(sink, user, other):
    send_letter(other, user, "Rota", "First")
    send_message(other, 120, "Hello", topic="waits")
    make_mail_due()
    letter = Message.objects.get(user=user)
    send_letter(user, None, "", "Second", reply_to=letter)

    call_command("send_due_mail", verbosity=0)

    assert sorted(subjects(sink.mails)) == ["Hello", "Rota"]
    assert send_due_mail() == "1 sent"


def test_letter_is_not_mailed_early_with_retried_one(sink, user, other, caplog):
    sink.put_off.add(user.email)
    first = send_letter(other, user, "Rota", "First")
    assert send_due_mail() == "0 sent, 1 retried"
    sink.put_off.clear()
    make_retries_due()
    send_letter(other, None, "", "Second", reply_to=first)

    call_command("send_due_mail", verbosity=0)

    (mail,) = sink.mails
    assert "Second" not in part(mail, "plain")
    assert send_due_mail() == "1 sent"


def test_letters_follow_letter_preference(user, other, sink):
    choices.save(user, {"_letters": Choice(mail="never")})
    send_letter(other, user, "Rota", "Hello")
    assert not DueMail.objects.exists()


def test_mail_letters_setting_disables_mail(user, other, settings):
    settings.PERSISTENT_MESSAGES = {**settings.PERSISTENT_MESSAGES, "MAIL_LETTERS": "never"}
    send_letter(other, user, "Rota", "Hello")
    assert not DueMail.objects.exists()


def test_mails_of_conversation_have_references(sink, user, other):
    first = send_letter(other, user, "Rota", "First")
    send_due_mail()
    send_letter(other, None, "", "Second", reply_to=first)
    send_due_mail()
    send_letter(other, user, "Another", "Third")
    send_due_mail()

    one, two, three = sink.mails
    assert one["References"] == two["References"] == one["In-Reply-To"] != three["References"]
    assert len({mail["Message-ID"] for mail in sink.mails}) == 3


# Content


def test_mail_has_text_and_html_with_links_to_site(sink, user):
    send_message(user, 120, "5 < 6 & <b>so</b>", subject="Sums", topic="waits")
    send_due_mail()
    (mail,) = sink.mails
    page = f"https://example.org/messages/detail/{Message.objects.get().pk}/"
    assert "5 < 6 & <b>so</b>" in part(mail, "plain")
    assert page in part(mail, "plain")
    html = part(mail, "html")
    assert html.count('dir="auto"') == 2  # subject and text may be in another script than the site
    assert "5 &lt; 6 &amp; &lt;b&gt;so&lt;/b&gt;" in html
    assert f'href="{page}"' in html


def test_letter_without_subject_has_text_once(sink, user, other):
    send_letter(other, user, "", "At noon.")
    send_due_mail()
    assert sink.mails[0]["Subject"] == "At noon."
    body = part(sink.mails[0], "html").partition("<body")[2]
    assert body.count("At noon.") == 1


def test_safe_text_stays_html(sink, user):
    send_message(user, 120, mark_safe("<p>So <b>bold</b></p>"), topic="waits")
    send_due_mail()
    assert "So bold" in part(sink.mails[0], "plain")
    assert "<p>So <b>bold</b></p>" in part(sink.mails[0], "html")


@pytest.mark.parametrize("kind", ["waits", "daily", "letter"])
def test_html_has_no_scripts_or_external_resources(sink, user, other, kind):
    if kind == "letter":
        send_letter(other, user, "Rota", "Hello")
    else:
        send_message(user, 120, "Hello", topic=kind)
    send_due_mail()
    html = part(sink.mails[0], "html")
    assert not re.search(r"<(img|script|link|iframe|form|object|svg)\b|url\(|@import|src=", html)
    assert "max-width:600px" in html
    assert "prefers-color-scheme: dark" in html
    assert max(map(len, html.splitlines())) < 998


def test_mail_is_in_language_of_recipient(sink, user, other, settings):
    languages = {user.pk: "de", other.pk: "fr"}
    settings.PERSISTENT_MESSAGES = {
        **settings.PERSISTENT_MESSAGES,
        "LANGUAGE_OF": lambda person: languages[person.pk],
    }
    send_message([user, other], 120, "Hello", topic="daily")
    send_due_mail()
    assert sorted(subjects(sink.mails)) == [
        "1 message non lu sur example.org",
        "1 ungelesene Nachricht auf example.org",
    ]
    html = next(part(m, "html") for m in sink.mails if m["To"] == "sally@example.com")
    assert 'lang="de"' in html
    assert "Keine solchen E-Mails mehr bekommen" in html


def test_mail_without_site_url_has_no_links(sink, user, settings):
    settings.PERSISTENT_MESSAGES = {}
    send_message(user, 120, "Hello", url="/somewhere/", topic="waits")
    send_due_mail()
    (mail,) = sink.mails
    assert part(mail, "plain").strip() == "Hello"
    assert "href" not in part(mail, "html")
    assert mail["List-Unsubscribe"] is None


def test_list_unsubscribe_header_allows_one_click(sink, user):
    """RFC 8058."""
    send_message(user, 120, "Hello", topic="waits")
    send_due_mail()
    (mail,) = sink.mails
    address = "".join(str(mail["List-Unsubscribe"]).split()).strip("<>")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert address.startswith("https://example.org/messages/unsubscribe/")

    path = address.removeprefix("https://example.org")
    answer = Client(enforce_csrf_checks=True).post(path, {"List-Unsubscribe": "One-Click"})

    assert answer.status_code == 200
    send_message(user, 120, "Again", topic="waits")
    send_message(user, 120, "Other", topic="daily")
    assert [row.choice for row in DueMail.objects.all()] == ["daily"]


@pytest.mark.parametrize("site", [f"https://{'a' * 60}.example.org", "https://bücher.example:8443"])
def test_urls_in_headers_are_not_encoded(sink, user, other, settings, site):
    """Mail programs do not find an address in an encoded word."""
    settings.PERSISTENT_MESSAGES = {**settings.PERSISTENT_MESSAGES, "SITE_URL": site}
    send_letter(other, user, "Ä rather long subject, which has to be folded " * 4, "Hello")
    send_due_mail()
    head = sink.raw[0].partition(b"\r\n\r\n")[0].decode()
    lines = re.sub(r"\r\n[ \t]+", " ", head).splitlines()
    found = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    for name in ("List-Unsubscribe", "References", "In-Reply-To", "Message-ID"):
        assert re.fullmatch(r"<\S+>", found[name]), found[name]
        assert "=?" not in found[name]
        assert found[name].isascii()


@pytest.mark.parametrize(
    "name", ["Eve\r\nBcc: eve@example.com", 'Eve "the" <b@c.de>, Other', "Éve, 日本", "\u202egnp"]
)
def test_name_cannot_inject_headers(sink, user, other, name):
    other.first_name = name[:150]
    other.save()
    send_letter(other, user, "Rota\nBcc: eve@example.com", "Hello")
    send_due_mail()
    (mail,) = sink.mails
    assert mail["Bcc"] is None
    (sender,) = mail["From"].addresses
    assert sender.addr_spec == "webmaster@localhost"
    assert "via example.org" in sender.display_name
    assert mail["To"] == "sally@example.com"


def test_template_of_site_is_used(sink, user, settings, tmp_path):
    folder = tmp_path / "persistent_messages" / "email"
    folder.mkdir(parents=True)
    (folder / "notice.txt").write_text("Ours: {{ message.title }}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    send_message(user, 120, "Hello", topic="waits")
    send_due_mail()
    assert part(sink.mails[0], "plain").strip() == "Ours: Hello"


# Failures


@pytest.fixture
def notice_template(settings, tmp_path):
    """Override the template for the text of a notice."""

    def notice_template(text, **options):
        path = tmp_path / "persistent_messages" / "email" / "notice.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        given = settings.TEMPLATES[0]
        options = {**given["OPTIONS"], **options}
        settings.TEMPLATES = [{**given, "DIRS": [tmp_path], "OPTIONS": options}]

    return notice_template


def make_retries_due():
    """Make retries due."""
    DueMail.objects.update(due=timezone.now())


register = Library()


@register.filter
def year(message):
    """A site's filter with a bug: `ValueError` for anything but a year."""
    return int(message.plain_text)


@pytest.mark.parametrize(
    ("template", "error"),
    [("{% include 'nowhere.txt' %}", "nowhere.txt"), ("{{ message|year }}", "ValueError")],
)
def test_failing_template_is_retried(sink, user, notice_template, caplog, template, error):
    notice_template(template, builtins=[__name__])
    send_message(user, 120, "Hello", topic="waits")
    send_message(user, 120, "Hello", topic="daily")

    assert send_due_mail() == "1 sent, 1 retried"

    assert error in caplog.text
    notice_template("{{ message.plain_text }}")
    make_retries_due()
    assert send_due_mail() == "1 sent"
    assert len(sink.mails) == 2


def test_unreachable_server_is_retried_later(no_server, user, other, caplog):
    send_message([user, other], 120, "Hello", topic="waits")

    assert send_due_mail() == "0 sent, 2 retried"

    rows = DueMail.objects.all()
    assert {row.attempts for row in rows} == {1}
    assert all(row.due > timezone.now() + timedelta(minutes=4) for row in rows)
    assert len([r for r in caplog.records if "could not be mailed" in r.getMessage()]) == 1


def test_immediate_mail_survives_unreachable_server(no_server, use_server, user, mail_to, caplog):
    mail_to(user)
    assert DueMail.objects.get().attempts == 1


def test_mail_is_given_up_after_maximum_attempts(no_server, user, caplog):
    send_message(user, 120, "Hello", topic="waits")
    DueMail.objects.update(attempts=email.MAX_ATTEMPTS - 1)
    assert send_due_mail() == "0 sent, 1 given up"
    assert not DueMail.objects.exists()


def test_mail_survives_hour_without_server(no_server, server, people, caplog):
    send_message(people, 120, "Hello", topic="waits")
    send_message(people[0], 120, "Hello again", topic="waits")
    make_mail_due()
    for minutes in (5, 10, 20, 40):
        before = timezone.now()
        call_command("send_due_mail", verbosity=0)
        (due,) = {row.due for row in DueMail.objects.all()}
        assert before <= due - timedelta(minutes=minutes) <= timezone.now()
        assert DueMail.objects.count() == 6
        make_retries_due()

    sink = server()
    assert send_due_mail() == "6 sent"

    first, *others = people
    assert sorted(sink.recipients) == sorted(
        [first.email, first.email, *(person.email for person in others)]
    )


def test_disconnecting_recipients_do_not_delay_others_for_long(sink, people, caplog):
    hung_up, others = people[:3], people[3:]
    sink.hung_up.update(person.email for person in hung_up)
    send_message(people, 120, "Hello", topic="waits")
    assert send_due_mail() == "0 sent, 5 retried"
    assert sorted(row.attempts for row in DueMail.objects.all()) == [0, 0, 1, 1, 1]

    make_retries_due()
    assert send_due_mail() == "0 sent, 5 retried"
    first_due = DueMail.objects.order_by("due")[:2]
    assert {row.user for row in first_due} == {*others}
    DueMail.objects.filter(pk__in=[row.pk for row in first_due]).update(due=timezone.now())
    assert send_due_mail() == "2 sent"


def test_temporarily_refused_recipient_is_retried(sink, user, other, caplog):
    sink.put_off.add("sally@example.com")
    send_message([user, other], 120, "Hello", topic="waits")

    assert send_due_mail() == "1 sent, 1 retried"

    sink.put_off.clear()
    make_retries_due()
    assert send_due_mail() == "1 sent"
    assert sink.connections == 2  # one for each run


def test_retry_after_lost_response_has_same_message_id(sink, user, other, caplog):
    """The server may have accepted it; mail programs show one mail for each `Message-ID`."""
    sink.lost.add("sally@example.com")
    send_message([user, other], 120, "Hello", topic="waits")
    assert send_due_mail() == "1 sent, 1 retried"

    sink.lost.clear()
    make_retries_due()
    assert send_due_mail() == "1 sent"

    hers = [mail for mail in sink.mails if mail["To"] == "sally@example.com"]
    assert len(hers) == 2
    assert hers[0]["Message-ID"] == hers[1]["Message-ID"]


@pytest.mark.parametrize(
    "sender", ["Shop, Inc. <shop@example.com>", "", "shop@example.com\n", "a@b, c@d"]
)
def test_mail_is_retried_after_sender_is_corrected(sink, user, settings, caplog, sender):
    settings.DEFAULT_FROM_EMAIL = sender
    send_message(user, 120, "Hello", topic="waits")
    assert send_due_mail() == "0 sent, 1 retried"

    settings.DEFAULT_FROM_EMAIL = '"Shop, Inc." <shop@example.com>'
    make_retries_due()
    assert send_due_mail() == "1 sent"


def test_refused_recipient_is_not_retried(sink, user, other, caplog):
    sink.refused.add("sally@example.com")
    send_message([user, other], 120, "Hello", topic="waits")

    assert send_due_mail() == "1 sent, 1 refused"

    assert not DueMail.objects.exists()
    assert sink.connections == 1


def test_mail_is_retried_after_disconnect(sink, user, other, caplog):
    sink.hung_up.add("sally@example.com")
    send_message([user, other], 120, "Hello", topic="waits")
    assert send_due_mail() == "1 sent, 1 retried"
    sink.hung_up.clear()
    make_retries_due()
    assert send_due_mail() == "1 sent"


# Claims


def test_row_is_claimed_by_one_process(user, other):
    send_message([user, other], 120, "Hello", topic="waits")
    make_mail_due()
    assert len(outbox.claim_some().rows) == 2
    assert outbox.claim_some() is None


def test_expired_claim_is_taken_over_without_later_letters(sink, user, other):
    first = send_letter(other, user, "Rota", "First")
    make_mail_due()
    outbox.claim_some()  # and is killed
    DueMail.objects.update(due=timezone.now())
    # Later messages are another mail, because the first one may have been sent without them.
    send_letter(other, None, "", "Second", reply_to=first)
    make_mail_due()

    call_command("send_due_mail", verbosity=0)

    assert sorted("Second" in part(mail, "plain") for mail in sink.mails) == [False, True]


def test_mail_noted_in_journal_is_not_sent_again(sink, user, other):
    send_message([user, other], 120, "Hello", topic="waits")
    make_mail_due()
    batch = outbox.claim_some()
    noted = journal.Journal(batch.claim)
    noted.note([batch.rows[0].pk])  # and is killed
    DueMail.objects.update(due=timezone.now())

    assert send_due_mail() == "1 sent"

    (mail,) = sink.mails
    assert mail["To"] == batch.rows[1].user.email
    assert not DueMail.objects.exists()


def test_process_that_lost_claim_does_not_settle_it(sink, user, other, monkeypatch, caplog):
    send_message([user, other], 120, "Hello", topic="waits")
    make_mail_due()
    slow = outbox.claim_some()
    DueMail.objects.update(due=timezone.now())
    assert send_due_mail() == "2 sent"
    send_message([user, other], 120, "Hello again", topic="waits")
    slow._renewed -= 10_000  # it was suspended

    with MailServer() as server:
        slow.send(server)

    assert len(sink.mails) == 2
    assert DueMail.objects.count() == 2


@pytest.fixture
def set_clock(monkeypatch):
    """Set the clock ahead or back."""
    real = timezone.now

    def set_clock(**difference):
        monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(**difference))

    return set_clock


@pytest.mark.parametrize("hours", [1, -1])
def test_clock_change_during_send_causes_no_duplicates(sink, user, other, set_clock, hours):
    send_message([user, other], 120, "Hello", topic="waits")
    make_mail_due()
    batch = outbox.claim_some()

    set_clock(hours=hours)
    call_command("send_due_mail", verbosity=0)  # takes what it holds to be left behind
    with MailServer() as server:
        batch.send(server)

    assert sorted(sink.recipients) == ["harry@example.com", "sally@example.com"]
    assert not DueMail.objects.exists()


def test_mail_claimed_by_other_process_before_commit_is_skipped(sink, people):
    """A transaction may take longer than a claim is valid."""
    send_message(people, 120, "Hello", email=True)
    rows = list(DueMail.objects.order_by("pk"))
    messages = {message.pk: message for message in Message.objects.all()}
    make_retries_due()
    taken = outbox.claim_some()

    for row in rows:
        row.due = timezone.now()
    outbox.send_at_once([(row, messages[row.message_id]) for row in rows], rows[0].claim)
    assert sink.recipients == []
    with MailServer() as server:
        taken.send(server)

    assert len(sink.recipients) == len(people)


def test_journal_leaves_no_file(sink, user, tmp_path):
    people = get_user_model().objects.bulk_create(
        get_user_model()(username=f"p{n}", email=f"p{n}@example.com") for n in range(30)
    )
    send_message(people, 120, "Hello", topic="waits")
    assert send_due_mail() == "30 sent"
    assert list(tmp_path.iterdir()) == []


def test_mail_is_sent_without_journal_folder(sink, settings, caplog):
    settings.PERSISTENT_MESSAGES = {"MAIL_JOURNAL": "/nowhere/there"}
    people = get_user_model().objects.bulk_create(
        get_user_model()(username=f"p{n}", email=f"p{n}@example.com") for n in range(30)
    )
    send_message(people, 120, "Hello", topic="waits")
    assert send_due_mail() == "30 sent"


# Costs


def test_thousand_mails_take_few_queries_and_one_connection(sink, monkeypatch):
    """At most twenty per thousand: the number of statements does not depend on the batch."""
    batches = 1000 / outbox.BATCH_SIZE
    monkeypatch.setattr(outbox, "BATCH_SIZE", 50)
    people = get_user_model().objects.bulk_create(
        get_user_model()(username=f"p{n}", email=f"p{n}@example.com") for n in range(100)
    )
    send_message(people, 120, "Hello", topic="waits")
    make_mail_due()

    with CaptureQueriesContext(connection) as queries:
        call_command("send_due_mail", verbosity=0)

    asked = [q["sql"] for q in queries if "SAVEPOINT" not in q["sql"]]
    assert len(sink.mails) == 100
    assert sink.connections == 1
    # Two batches, and a query that finds no more. On SQLite, BEGIN counts as a query.
    assert (len(asked) / 2 + 1) * batches <= 20, asked


class CollectingGarbage(StringIO):
    """Output, by which a command tells its progress, that has memory in cycles freed each time."""

    def write(self, text):
        gc.collect()
        return super().write(text)


def test_memory_use_does_not_depend_on_number_of_mails(use_backend, monkeypatch):
    use_backend("django.core.mail.backends.dummy.EmailBackend")
    monkeypatch.setattr(outbox, "BATCH_SIZE", 5)
    monkeypatch.setattr(outbox, "MAX_CLAIM", 10)
    users = get_user_model().objects.bulk_create(
        get_user_model()(username=f"p{n}", email=f"p{n}@example.com") for n in range(100)
    )

    def peak_for(people):
        send_message(people, 120, "Hello " * 100, topic="waits")
        make_mail_due()
        gc.collect()
        tracemalloc.start()
        try:
            call_command("send_due_mail", stdout=CollectingGarbage())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_for(users)  # fills the caches of templates, translations and drivers
    few, many = peak_for(users[:20]), peak_for(users)  # both are more than a claim

    assert not DueMail.objects.exists()
    # Caches also grow, but by less than one mail takes.
    assert (many - few) / 80 < 3000


def test_dry_run_sends_nothing(sink, user):
    send_message(user, 120, "Hello", topic="waits")
    assert send_due_mail(dry_run=True) == "1 messages are due"
    assert sink.mails == []
    assert DueMail.objects.count() == 1


def test_command_reports_progress_by_verbosity(sink, people):
    send_message(people, 120, "Hello", topic="waits")
    assert send_due_mail(verbosity=2).splitlines() == ["5 sent so far", "5 sent"]
    assert send_due_mail(verbosity=0) == ""


# Tasks


@pytest.fixture
def queue(settings):
    """Collect the enqueued tasks."""
    name = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    settings.TASKS = {"default": {"BACKEND": f"{name}.backends.dummy.DummyBackend"}}
    backend = import_module(name).default_task_backend
    backend.clear()
    return backend.results


def run_task(result):
    """Run a task as a worker does, with arguments from JSON."""
    args, kwargs = json.loads(json.dumps([result.args, result.kwargs]))
    result.task.func(*args, **kwargs)


def test_mail_is_sent_by_task_backend(queue, sink, people, mail_to):
    mail_to(people)
    assert sink.mails == []
    (result,) = queue

    run_task(result)
    run_task(result)  # as a queue may

    assert len(sink.mails) == len(people)
    assert sink.connections == 1
    assert not DueMail.objects.exists()


def test_mail_of_one_shot_message_is_sent_without_task(queue, sink, user, mail_to):
    mail_to(user, level=20)
    assert list(queue) == []
    assert len(sink.mails) == 1


def test_late_task_sends_no_duplicates(queue, sink, people, mail_to):
    mail_to(people)
    DueMail.objects.update(due=timezone.now())
    assert send_due_mail() == "5 sent"
    run_task(queue[0])
    assert len(sink.mails) == 5


def test_task_sends_nothing_after_mail_channel_is_removed(queue, sink, people, mail_to, settings):
    mail_to(people)
    settings.PERSISTENT_MESSAGES = {**settings.PERSISTENT_MESSAGES, "CHANNELS": []}
    run_task(queue[0])
    assert sink.mails == []
    assert DueMail.objects.count() == len(people)


def test_digest_links_to_inbox(sink, user):
    send_message(user, 120, "Hello", topic="daily")
    send_due_mail()
    assert f"https://example.org{reverse('message_list')}" in part(sink.mails[0], "plain")
