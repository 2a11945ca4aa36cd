"""The admin of broadcasts: preview, send, edit, withdraw, and permissions."""

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from django.conf import global_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.safestring import mark_safe
from django.utils.translation import get_language

from persistent_messages import (
    INFO,
    WARNING,
    Folder,
    Topic,
    audience,
    broadcast,
    mailbox,
    prune_messages,
)
from persistent_messages.admin import base, broadcasts
from persistent_messages.models import Broadcast, Message
from persistent_messages.notices import audiences
from persistent_messages.rendering.row_actions import PageContext
from persistent_messages.topics import topics

LIST = reverse("admin:persistent_messages_broadcast_changelist")
ADD = reverse("admin:persistent_messages_broadcast_add")
TEXT = {"audience": "everybody", "level": str(INFO), "message": "Sunday"}
User = get_user_model()


@pytest.fixture(autouse=True)
def _own_names(monkeypatch, settings):
    monkeypatch.setattr(audiences, "registered", {})
    monkeypatch.setitem(topics, "status", Topic("status", "Status"))
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("ar", "العربية")]


def staff_with(*rights):
    person = User.objects.create_user("clerk", "", "secret", is_staff=True)
    codes = [f"{right}_broadcast" for right in rights]
    person.user_permissions.set(Permission.objects.filter(codename__in=codes))
    browser = Client()
    browser.force_login(person)
    return browser


@pytest.fixture
def staff(db):
    return staff_with("add", "change", "view")


def change(sent):
    return reverse("admin:persistent_messages_broadcast_change", args=[sent.pk])


def withdraw(sent):
    return reverse("admin:persistent_messages_broadcast_withdraw", args=[sent.pk])


class FormFields(HTMLParser):
    """Return the data that a browser submits for a form of the admin."""

    def __init__(self, form):
        super().__init__()
        self.sent, self.select, self.textarea = {}, None, None
        self.feed(form)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        name = found.get("name")
        if tag == "input" and found.get("type") != "submit":
            self.sent[name] = found.get("value") or ""
        elif tag == "select":
            self.select = name
        elif tag == "option" and "selected" in found:
            self.sent[self.select] = found["value"]
        elif tag == "textarea":
            self.textarea, self.sent[name] = name, ""

    def handle_data(self, data):
        if self.textarea:
            self.sent[self.textarea] += data

    def handle_endtag(self, tag):
        if tag == "textarea":
            self.sent[self.textarea] = self.sent[self.textarea].lstrip()
            self.textarea = None


def filled(page, **values):
    """Return the data of the form with other values."""
    form = re.search(r'<form [^>]*id="broadcast_form".*?</form>', page.text, re.DOTALL)[0]
    return {**FormFields(form).sent, **values}


def previewed(browser, page_at=ADD, **values):
    """Return the page with the preview."""
    data = filled(browser.get(page_at), **values)
    return browser.post(page_at, {**data, "_preview": "Preview"})


def sent(browser, page_at=ADD, **values):
    """Return the response to a form that was previewed and then sent."""
    page = previewed(browser, page_at, **values)
    return browser.post(page_at, {**filled(page), "_save": "Send"})


def come(user):
    browser = Client()
    browser.force_login(user)
    browser.get("/messages/")


def texts_of(user):
    return [row.message for row in Message.objects.filter(user=user).order_by("pk")]


# Writing


def test_nothing_is_sent_before_its_preview(staff, user):
    data = filled(staff.get(ADD), **TEXT)

    page = staff.post(ADD, {**data, "_save": "Send"})

    assert page.status_code == 200
    assert "This will reach 2 users." in page.text
    assert not Broadcast.objects.exists()


def test_the_preview_is_what_readers_see_in_each_language(staff):
    page = previewed(
        staff, **TEXT, subject="Maintenance", subject_de="Wartung", url="/", action="Go"
    )

    shown = re.search(r'id="pm-preview".*?</section>', page.text, re.DOTALL)[0]
    assert re.findall(r"<h3>(.*?)</h3>\s*\n", shown) == ["English", "Deutsch", "العربية"]
    english, german, arabic = shown.split('<div class="pm"')[1:]
    assert 'lang="de" dir="ltr"' in german
    assert 'lang="ar" dir="rtl"' in arabic
    assert "Maintenance" in english
    assert "Wartung" in german
    assert "Schließen" in german
    assert "Sunday" in german
    assert "Go" in english
    assert not Message.objects.exists()
    assert not Broadcast.objects.exists()


def test_what_was_previewed_is_broadcast(staff, user):
    starts = timezone.now().replace(microsecond=0) - timedelta(hours=1)
    answer = sent(
        staff,
        **TEXT,
        subject="Maintenance",
        subject_de="Wartung",
        topic="status",
        url="/status/",
        action="Look",
        key="maintenance",
        starts_0=f"{starts:%Y-%m-%d}",
        starts_1=f"{starts:%H:%M:%S}",
    )

    assert answer.status_code == 302
    stored = Broadcast.objects.get()
    assert (stored.level, stored.message, stored.subject) == (INFO, "Sunday", "Maintenance")
    assert (stored.topic, stored.url, stored.action) == ("status", "/status/", "Look")
    assert (stored.key, stored.starts, stored.audience) == ("maintenance", starts, "everybody")
    assert stored.translations == {"de": {"subject": "Wartung"}}
    come(user)
    assert texts_of(user) == ["Sunday"]


def test_what_was_changed_since_is_previewed_again(staff):
    page = previewed(staff, **TEXT)

    page = staff.post(ADD, {**filled(page, message="Monday"), "_save": "Send"})

    assert page.status_code == 200
    assert "<bdi>Monday</bdi>" in page.text
    assert not Broadcast.objects.exists()
    assert staff.post(ADD, {**filled(page), "_save": "Send"}).status_code == 302
    assert Broadcast.objects.get().message == "Monday"


def test_text_is_text(staff, user):
    page = previewed(staff, **{**TEXT, "message": "<b>Sunday</b>"})
    assert "<b>Sunday</b>" not in page.text

    sent(staff, **{**TEXT, "message": "<b>Sunday</b>"})
    come(user)

    assert not Message.objects.get(user=user).is_safe


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"message": ""}, "This field is required."),
        ({"url": "javascript:alert(1)"}, "url must be a path"),
        ({"action": "Look"}, "action needs a url"),
        ({"audience": "nobody"}, "Select a valid choice."),
        ({"level": "20"}, "Select a valid choice."),
        ({"topic": "unknown"}, "Select a valid choice."),
        ({"subject_de": "x" * 256}, "at most 255 characters"),
        ({"key": "x" * 101}, "at most 100 characters"),
        (
            {
                "starts_0": "2030-01-02",
                "starts_1": "00:00",
                "expires_0": "2030-01-01",
                "expires_1": "00:00",
            },
            "expires must be later than starts",
        ),
        ({"audience": "usernames"}, "Add at least one recipient."),
        ({"audience": "usernames", "recipients": "nobody"}, "There is no user “nobody”."),
        ({"audience": "ids", "recipients": "987654"}, "there is no user with the key"),
        ({"audience": "ids", "recipients": "sally"}, "must be a user or a user&#x27;s key"),
        (
            {
                "audience": "usernames",
                "recipients": "clerk",
                "starts_0": "2030-01-02",
                "starts_1": "00:00",
            },
            "To chosen users a message is sent at once.",
        ),
    ],
)
def test_a_mistake_is_named_and_nothing_is_previewed(staff, user, values, says):
    page = previewed(staff, **{**TEXT, **values})

    assert says in page.text
    assert 'id="pm-preview"' not in page.text
    assert staff.post(ADD, {**filled(page), "_save": "Send"}).status_code == 200
    assert not Broadcast.objects.exists()
    assert not Message.objects.exists()


def test_a_site_that_has_chosen_no_languages_has_one_text(staff, settings):
    settings.LANGUAGES = global_settings.LANGUAGES

    page = previewed(staff, **TEXT)

    assert "subject_de" not in page.text
    assert page.text.count('<div class="pm"') == 1


# Recipients


def test_the_number_of_users_is_that_of_the_audience(staff, user, other):
    team = Group.objects.create(name="Team Nord")
    other.groups.add(team)
    User.objects.create(username="gone", is_active=False)

    for name, number in {
        "everybody": "3 users",
        "staff": "1 user",
        "group:Team Nord": "1 user",
    }.items():
        assert f"This will reach {number}." in previewed(staff, **{**TEXT, "audience": name}).text


def test_an_audience_of_the_site_is_estimated(staff, monkeypatch):
    audience("even", "Even users")(lambda person: person.pk % 2 == 0)
    User.objects.bulk_create(User(username=f"u{n}") for n in range(39))
    exact = previewed(staff, **{**TEXT, "audience": "even"})
    assert "This will reach 20 users." in exact.text

    monkeypatch.setattr(broadcasts, "SAMPLE_SIZE", 10)
    estimated = previewed(staff, **{**TEXT, "audience": "even"})

    assert "This will reach about 20 users." in estimated.text
    assert "Even users" in estimated.text


# Chosen users


def test_the_same_form_sends_to_chosen_users_at_once(staff, user, other):
    choice = {"audience": "usernames", "recipients": "sally, harry\nsally"}
    assert "This will reach 2 users." in previewed(staff, **{**TEXT, **choice}).text

    answer = sent(staff, **{**TEXT, **choice})

    assert answer.url == LIST
    assert (texts_of(user), texts_of(other)) == (["Sunday"], ["Sunday"])
    assert not Broadcast.objects.exists()
    assert "Sent to 2 users." in staff.get(LIST).text
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.change_message) == (
        "Message to chosen users",
        "Sent to 2 users.",
    )


def test_who_may_only_add_is_led_to_a_page_that_they_may_see(user, other):
    clerk = staff_with("add")

    answer = sent(clerk, **{**TEXT, "audience": "usernames", "recipients": "sally"})

    assert texts_of(user) == ["Sunday"]
    assert clerk.get(answer.url).status_code == 200


def test_a_list_of_ids_may_come_with_the_address(staff, user, other):
    ids = f"{user.pk},{other.pk}"
    address = f"{ADD}?audience=ids&recipients={ids}"
    page = staff.get(address)
    assert ids in page.text

    page = staff.post(ADD, {**filled(page, level=str(WARNING), message="Hi"), "_preview": "1"})
    staff.post(ADD, {**filled(page), "_save": "Send"})

    rows = Message.objects.exclude(folder=Folder.ONE_SHOT)
    assert {row.user for row in rows} == {user, other}


def test_chosen_users_read_their_language(staff, user, settings):
    settings.PERSISTENT_MESSAGES = {"LANGUAGE_OF": lambda person: "de"}

    chosen = {"audience": "usernames", "recipients": "sally"}
    sent(staff, **{**TEXT, **chosen, "message_de": "Sonntag"})

    assert texts_of(user) == ["Sonntag"]


# Editing


def test_an_edit_reaches_the_copies(staff, user, django_capture_on_commit_callbacks):
    one = broadcast(INFO, "Sunday", subject="Maintenance")
    come(user)

    with django_capture_on_commit_callbacks(execute=True):
        answer = sent(staff, change(one), message="Monday", subject_de="Wartung")

    assert answer.status_code == 302
    one.refresh_from_db()
    assert (one.message, one.subject) == ("Monday", "Maintenance")
    assert one.translations == {"de": {"subject": "Wartung"}}
    assert texts_of(user) == ["Monday"]
    assert "message" in LogEntry.objects.get().get_change_message().lower()


def test_a_text_that_is_html_is_not_edited_here(staff, user, django_capture_on_commit_callbacks):
    one = broadcast(INFO, mark_safe("<b>Sunday</b>"))
    come(user)

    with django_capture_on_commit_callbacks(execute=True):
        sent(staff, change(one), message="<script>", subject="Maintenance")

    copy = Message.objects.get(user=user)
    assert (copy.message, copy.subject, copy.is_safe) == ("<b>Sunday</b>", "Maintenance", True)


def of_language(word):
    """Return a lazy text such as "Sunday de"."""
    return lazy(lambda: f"{word} {get_language()}", str)()


@pytest.mark.parametrize(("name", "text"), [("url", "/new/"), ("action", "Buy")])
def test_an_edited_text_is_that_of_languages_without_a_field(staff, name, text):
    lazy_texts = {"url": of_language("/old/"), "action": of_language("See")}
    one = broadcast(INFO, "Sunday", **lazy_texts)
    kept = {"url", "action"} - {name}
    before = one.translations["de"]

    sent(staff, change(one), **{name: text})

    one.refresh_from_db()
    assert getattr(one.in_language("de"), name) == text
    assert one.translations["de"] == {each: before[each] for each in kept}


def test_an_edited_text_is_that_of_all_languages_where_the_form_has_one(staff, settings):
    one = broadcast(INFO, of_language("Sunday"), subject=of_language("Maintenance"))
    settings.LANGUAGES = global_settings.LANGUAGES

    sent(staff, change(one), message="Monday")

    one.refresh_from_db()
    german = one.in_language("de")
    assert (german.message, german.subject) == ("Monday", "Maintenance de")


def test_a_text_of_several_lines_that_is_not_edited_keeps_its_translations(staff, settings):
    one = broadcast(INFO, of_language("On\nSunday"))
    settings.LANGUAGES = global_settings.LANGUAGES
    data = filled(staff.get(change(one)), message="On\r\nSunday en", subject="Maintenance")

    page = staff.post(change(one), {**data, "_preview": "Preview"})
    staff.post(change(one), {**filled(page), "_save": "Save"})

    one.refresh_from_db()
    assert one.subject == "Maintenance"
    assert one.in_language("de").message == "On\nSunday de"


def test_no_text_is_edited_where_one_language_has_html(staff):
    def text():
        return mark_safe("<b>Sonntag</b>") if get_language() == "de" else "Sunday"

    one = broadcast(INFO, lazy(text, str)())

    sent(staff, change(one), message_de="<script>", subject="Maintenance")

    one.refresh_from_db()
    assert one.subject == "Maintenance"
    assert one.in_language("de").message == "<b>Sonntag</b>"


def test_an_edit_keeps_the_key_and_asks_another_audience(staff, user):
    one = broadcast(INFO, "Sunday", audience="staff", key="maintenance")
    come(user)

    sent(staff, change(one), audience="everybody")
    come(user)

    one.refresh_from_db()
    assert one.key == "maintenance"
    assert texts_of(user) == ["Sunday"]


def test_the_form_shows_a_broadcast_as_it_is(staff):
    Group.objects.create(name="team")
    one = broadcast(WARNING, "Sunday", audience="group:team", topic="status", url="/a/")
    Group.objects.all().delete()

    data = filled(staff.get(change(one)))

    assert (data["message"], data["level"], data["topic"]) == ("Sunday", str(WARNING), "status")
    assert (data["audience"], data["url"]) == ("group:team", "/a/")


# Receipts


def test_the_page_says_how_many_got_read_and_deleted_it(staff, user, other):
    third = User.objects.create(username="third")
    one = broadcast(INFO, "Sunday")
    for person in (user, other, third):
        come(person)
    rows = Message.objects.all()
    mailbox.mark_read(user, Folder.INBOX, rows)
    mailbox.delete(other, Folder.INBOX, rows)
    mailbox.delete(third, Folder.INBOX, rows)
    mailbox.delete(third, Folder.TRASH, rows)

    assert "3 received, 1 read, 2 deleted" in staff.get(change(one)).text


def test_it_counts_so_many_and_no_further(staff, user, other, monkeypatch):
    monkeypatch.setattr(broadcasts, "COUNT_LIMIT", 1)
    one = broadcast(INFO, "Sunday")
    for person in (user, other):
        come(person)

    assert "1+ received, 0+ read, 0+ deleted" in staff.get(change(one)).text
    assert base.COUNT_LIMIT == 10_000


def test_the_list_says_what_runs(staff):
    now, hour = timezone.now(), timedelta(hours=1)
    broadcast(INFO, "One").withdraw()
    broadcast(INFO, "Two", expires=now - hour)
    broadcast(INFO, "Three", audience="staff")
    broadcast(INFO, "Four", starts=now + hour)

    page = staff.get(LIST).text

    assert re.findall(r'class="field-state">(\w+)<', page) == [
        "Scheduled",
        "Running",
        "Ended",
        "Withdrawn",
    ]
    assert re.findall(r'class="field-audience_name">(\w+)<', page)[1] == "Administrators"


# Withdrawing


def test_a_broadcast_is_withdrawn_after_a_question(staff, user):
    one = broadcast(INFO, "Sunday")
    come(user)

    page = staff.get(withdraw(one))
    assert "Withdraw “Sunday”?" in page.text
    assert "1 received, 0 read, 0 deleted" in page.text
    assert texts_of(user) == ["Sunday"]

    answer = staff.post(withdraw(one), follow=True)
    assert "Sunday: Withdrawn from 1 mailbox." in answer.text
    assert texts_of(user) == []
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (str(one.pk), "Withdrawn from 1 mailbox.")


def test_what_ended_long_ago_is_only_looked_at(staff, user):
    sent = broadcast(INFO, "Sunday")
    reader = Client()
    reader.force_login(user)
    reader.get("/messages/")
    Broadcast.objects.update(expires=timezone.now() - timedelta(days=91))
    assert 'name="message"' in staff.get(change(sent)).text

    prune_messages()

    page = staff.get(change(sent)).text
    assert "1 received" in page
    assert "0 read" not in page
    assert 'name="message"' not in page
    assert staff.post(change(sent), TEXT).status_code == 403


def test_some_are_withdrawn_from_the_list(staff, user):
    ones = [broadcast(INFO, text) for text in ("One", "Two", "Three")]
    come(user)

    chosen = {"action": "withdraw_chosen", "_selected_action": [one.pk for one in ones[:2]]}
    staff.post(LIST, chosen)

    assert texts_of(user) == ["Three"]
    assert LogEntry.objects.count() == 2


def test_what_was_withdrawn_is_only_looked_at(staff):
    one = broadcast(INFO, "Sunday")
    one.withdraw()

    page = staff.get(change(one))

    assert page.status_code == 200
    assert "Sunday" in page.text
    assert 'name="_preview"' not in page.text
    assert staff.post(change(one), {**TEXT, "_preview": "1"}).status_code == 403
    assert staff.post(withdraw(one)).status_code == 403


@pytest.mark.parametrize("name", ["change", "withdraw", "history"])
def test_a_broadcast_that_is_not_there_is_not_found(staff, name):
    url = reverse(f"admin:persistent_messages_broadcast_{name}", args=["987"])
    assert staff.get(url).status_code in {302, 404}


# Permissions


def test_the_right_to_view_writes_nothing(db):
    viewer, one = staff_with("view"), broadcast(INFO, "Sunday")

    assert viewer.get(LIST).status_code == 200
    page = viewer.get(change(one))
    assert "Sunday" in page.text
    assert 'name="_preview"' not in page.text
    assert viewer.get(ADD).status_code == 403
    assert viewer.post(ADD, TEXT).status_code == 403
    assert viewer.post(change(one), TEXT).status_code == 403
    assert viewer.get(withdraw(one)).status_code == 403
    assert viewer.post(withdraw(one)).status_code == 403
    viewer.post(LIST, {"action": "withdraw_chosen", "_selected_action": [one.pk]})
    assert Broadcast.objects.get().withdrawn_at is None


def test_the_right_to_add_changes_nothing(db):
    writer, one = staff_with("add"), broadcast(INFO, "Sunday")

    assert sent(writer, **TEXT).status_code == 302
    assert Broadcast.objects.count() == 2
    assert writer.get(change(one)).status_code == 403
    assert writer.post(withdraw(one)).status_code == 403


def test_nobody_deletes_a_broadcast(staff):
    one = broadcast(INFO, "Sunday")

    url = reverse("admin:persistent_messages_broadcast_delete", args=[one.pk])
    assert staff.post(url, {"post": "yes"}).status_code == 403


def test_a_site_without_the_addresses_of_the_app_previews_the_notice(staff, monkeypatch):
    monkeypatch.setattr(broadcasts, "page_context", lambda: PageContext("", "en", ""))

    page = previewed(staff, **TEXT)

    assert page.text.count('class="pm-notice ') == 3
    assert 'class="pm-item' not in page.text
