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


def change_url(sent):
    return reverse("admin:persistent_messages_broadcast_change", args=[sent.pk])


def withdraw_url(sent):
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


def form_data(page, **values):
    """Return the data of the form with other values."""
    form = re.search(r'<form [^>]*id="broadcast_form".*?</form>', page.text, re.DOTALL)[0]
    return {**FormFields(form).sent, **values}


def preview_page(browser, page_at=ADD, **values):
    """Return the page with the preview."""
    data = form_data(browser.get(page_at), **values)
    return browser.post(page_at, {**data, "_preview": "Preview"})


def send_form(browser, page_at=ADD, **values):
    """Return the response to a form that was previewed and then sent."""
    page = preview_page(browser, page_at, **values)
    return browser.post(page_at, {**form_data(page), "_save": "Send"})


def visit_as(user):
    browser = Client()
    browser.force_login(user)
    browser.get("/messages/")


def texts_of(user):
    return [row.message for row in Message.objects.filter(user=user).order_by("pk")]


# Writing


def test_broadcast_is_not_sent_before_preview(staff, user):
    data = form_data(staff.get(ADD), **TEXT)

    page = staff.post(ADD, {**data, "_save": "Send"})

    assert page.status_code == 200
    assert "This will reach 2 users." in page.text
    assert not Broadcast.objects.exists()


def test_preview_shows_each_language(staff):
    page = preview_page(
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


def test_previewed_broadcast_is_sent(staff, user):
    starts = timezone.now().replace(microsecond=0) - timedelta(hours=1)
    answer = send_form(
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
    visit_as(user)
    assert texts_of(user) == ["Sunday"]


def test_changes_after_preview_are_previewed_again(staff):
    page = preview_page(staff, **TEXT)

    page = staff.post(ADD, {**form_data(page, message="Monday"), "_save": "Send"})

    assert page.status_code == 200
    assert "<bdi>Monday</bdi>" in page.text
    assert not Broadcast.objects.exists()
    assert staff.post(ADD, {**form_data(page), "_save": "Send"}).status_code == 302
    assert Broadcast.objects.get().message == "Monday"


def test_broadcast_text_is_escaped(staff, user):
    page = preview_page(staff, **{**TEXT, "message": "<b>Sunday</b>"})
    assert "<b>Sunday</b>" not in page.text

    send_form(staff, **{**TEXT, "message": "<b>Sunday</b>"})
    visit_as(user)

    assert not Message.objects.get(user=user).is_safe


@pytest.mark.parametrize(
    ("values", "expected_text"),
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
def test_invalid_form_shows_errors_and_no_preview(staff, user, values, expected_text):
    page = preview_page(staff, **{**TEXT, **values})

    assert expected_text in page.text
    assert 'id="pm-preview"' not in page.text
    assert staff.post(ADD, {**form_data(page), "_save": "Send"}).status_code == 200
    assert not Broadcast.objects.exists()
    assert not Message.objects.exists()


def test_default_languages_setting_gives_single_text_field(staff, settings):
    settings.LANGUAGES = global_settings.LANGUAGES

    page = preview_page(staff, **TEXT)

    assert "subject_de" not in page.text
    assert page.text.count('<div class="pm"') == 1


# Recipients


def test_preview_counts_users_of_audience(staff, user, other):
    team = Group.objects.create(name="Team Nord")
    other.groups.add(team)
    User.objects.create(username="gone", is_active=False)

    for name, number in {
        "everybody": "3 users",
        "staff": "1 user",
        "group:Team Nord": "1 user",
    }.items():
        assert (
            f"This will reach {number}." in preview_page(staff, **{**TEXT, "audience": name}).text
        )


def test_preview_estimates_custom_audience(staff, monkeypatch):
    audience("even", "Even users")(lambda person: person.pk % 2 == 0)
    User.objects.bulk_create(User(username=f"u{n}") for n in range(39))
    exact = preview_page(staff, **{**TEXT, "audience": "even"})
    assert "This will reach 20 users." in exact.text

    monkeypatch.setattr(broadcasts, "SAMPLE_SIZE", 10)
    estimated = preview_page(staff, **{**TEXT, "audience": "even"})

    assert "This will reach about 20 users." in estimated.text
    assert "Even users" in estimated.text


# Chosen users


def test_form_can_send_to_chosen_users_immediately(staff, user, other):
    choice = {"audience": "usernames", "recipients": "sally, harry\nsally"}
    assert "This will reach 2 users." in preview_page(staff, **{**TEXT, **choice}).text

    answer = send_form(staff, **{**TEXT, **choice})

    assert answer.url == LIST
    assert (texts_of(user), texts_of(other)) == (["Sunday"], ["Sunday"])
    assert not Broadcast.objects.exists()
    assert "Sent to 2 users." in staff.get(LIST).text
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.change_message) == (
        "Message to chosen users",
        "Sent to 2 users.",
    )


def test_user_with_add_permission_is_redirected_to_allowed_page(user, other):
    clerk = staff_with("add")

    answer = send_form(clerk, **{**TEXT, "audience": "usernames", "recipients": "sally"})

    assert texts_of(user) == ["Sunday"]
    assert clerk.get(answer.url).status_code == 200


def test_recipient_ids_can_be_given_in_query_string(staff, user, other):
    ids = f"{user.pk},{other.pk}"
    address = f"{ADD}?audience=ids&recipients={ids}"
    page = staff.get(address)
    assert ids in page.text

    page = staff.post(ADD, {**form_data(page, level=str(WARNING), message="Hi"), "_preview": "1"})
    staff.post(ADD, {**form_data(page), "_save": "Send"})

    rows = Message.objects.exclude(folder=Folder.ONE_SHOT)
    assert {row.user for row in rows} == {user, other}


def test_chosen_users_get_text_in_their_language(staff, user, settings):
    settings.PERSISTENT_MESSAGES = {"LANGUAGE_OF": lambda person: "de"}

    chosen = {"audience": "usernames", "recipients": "sally"}
    send_form(staff, **{**TEXT, **chosen, "message_de": "Sonntag"})

    assert texts_of(user) == ["Sonntag"]


# Editing


def test_edit_changes_copies(staff, user, django_capture_on_commit_callbacks):
    one = broadcast(INFO, "Sunday", subject="Maintenance")
    visit_as(user)

    with django_capture_on_commit_callbacks(execute=True):
        answer = send_form(staff, change_url(one), message="Monday", subject_de="Wartung")

    assert answer.status_code == 302
    one.refresh_from_db()
    assert (one.message, one.subject) == ("Monday", "Maintenance")
    assert one.translations == {"de": {"subject": "Wartung"}}
    assert texts_of(user) == ["Monday"]
    assert "message" in LogEntry.objects.get().get_change_message().lower()


def test_html_text_cannot_be_edited(staff, user, django_capture_on_commit_callbacks):
    one = broadcast(INFO, mark_safe("<b>Sunday</b>"))
    visit_as(user)

    with django_capture_on_commit_callbacks(execute=True):
        send_form(staff, change_url(one), message="<script>", subject="Maintenance")

    copy = Message.objects.get(user=user)
    assert (copy.message, copy.subject, copy.is_safe) == ("<b>Sunday</b>", "Maintenance", True)


def of_language(word):
    """Return a lazy text such as "Sunday de"."""
    return lazy(lambda: f"{word} {get_language()}", str)()


@pytest.mark.parametrize(("name", "text"), [("url", "/new/"), ("action", "Buy")])
def test_edited_text_replaces_translations_without_field(staff, name, text):
    lazy_texts = {"url": of_language("/old/"), "action": of_language("See")}
    one = broadcast(INFO, "Sunday", **lazy_texts)
    kept = {"url", "action"} - {name}
    before = one.translations["de"]

    send_form(staff, change_url(one), **{name: text})

    one.refresh_from_db()
    assert getattr(one.in_language("de"), name) == text
    assert one.translations["de"] == {each: before[each] for each in kept}


def test_edited_single_text_replaces_all_translations(staff, settings):
    one = broadcast(INFO, of_language("Sunday"), subject=of_language("Maintenance"))
    settings.LANGUAGES = global_settings.LANGUAGES

    send_form(staff, change_url(one), message="Monday")

    one.refresh_from_db()
    german = one.in_language("de")
    assert (german.message, german.subject) == ("Monday", "Maintenance de")


def test_unedited_multiline_text_keeps_its_translations(staff, settings):
    one = broadcast(INFO, of_language("On\nSunday"))
    settings.LANGUAGES = global_settings.LANGUAGES
    data = form_data(staff.get(change_url(one)), message="On\r\nSunday en", subject="Maintenance")

    page = staff.post(change_url(one), {**data, "_preview": "Preview"})
    staff.post(change_url(one), {**form_data(page), "_save": "Save"})

    one.refresh_from_db()
    assert one.subject == "Maintenance"
    assert one.in_language("de").message == "On\nSunday de"


def test_text_with_html_in_one_language_cannot_be_edited(staff):
    def text():
        return mark_safe("<b>Sonntag</b>") if get_language() == "de" else "Sunday"

    one = broadcast(INFO, lazy(text, str)())

    send_form(staff, change_url(one), message_de="<script>", subject="Maintenance")

    one.refresh_from_db()
    assert one.subject == "Maintenance"
    assert one.in_language("de").message == "<b>Sonntag</b>"


def test_edit_keeps_key_and_can_change_audience(staff, user):
    one = broadcast(INFO, "Sunday", audience="staff", key="maintenance")
    visit_as(user)

    send_form(staff, change_url(one), audience="everybody")
    visit_as(user)

    one.refresh_from_db()
    assert one.key == "maintenance"
    assert texts_of(user) == ["Sunday"]


def test_form_shows_current_values(staff):
    Group.objects.create(name="team")
    one = broadcast(WARNING, "Sunday", audience="group:team", topic="status", url="/a/")
    Group.objects.all().delete()

    data = form_data(staff.get(change_url(one)))

    assert (data["message"], data["level"], data["topic"]) == ("Sunday", str(WARNING), "status")
    assert (data["audience"], data["url"]) == ("group:team", "/a/")


def test_edit_keeps_level_of_the_site(staff):
    one = broadcast(150, "Sunday")

    send_form(staff, change_url(one), message="Monday")

    one.refresh_from_db()
    assert (one.level, one.message) == (150, "Monday")


# Receipts


def test_page_counts_received_read_and_deleted_copies(staff, user, other):
    third = User.objects.create(username="third")
    one = broadcast(INFO, "Sunday")
    for person in (user, other, third):
        visit_as(person)
    rows = Message.objects.all()
    mailbox.mark_read(user, Folder.INBOX, rows)
    mailbox.delete(other, Folder.INBOX, rows)
    mailbox.delete(third, Folder.INBOX, rows)
    mailbox.delete(third, Folder.TRASH, rows)

    assert "3 received, 1 read, 2 deleted" in staff.get(change_url(one)).text


def test_counts_of_copies_are_limited(staff, user, other, monkeypatch):
    monkeypatch.setattr(broadcasts, "COUNT_LIMIT", 1)
    one = broadcast(INFO, "Sunday")
    for person in (user, other):
        visit_as(person)

    assert "1+ received, 0+ read, 0+ deleted" in staff.get(change_url(one)).text
    assert base.COUNT_LIMIT == 10_000


def test_list_shows_state_and_audience(staff):
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


def test_broadcast_is_withdrawn_after_confirmation(staff, user):
    one = broadcast(INFO, "Sunday")
    visit_as(user)

    page = staff.get(withdraw_url(one))
    assert "Withdraw “Sunday”?" in page.text
    assert "1 received, 0 read, 0 deleted" in page.text
    assert texts_of(user) == ["Sunday"]

    answer = staff.post(withdraw_url(one), follow=True)
    assert "Sunday: Withdrawn from 1 mailbox." in answer.text
    assert texts_of(user) == []
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (str(one.pk), "Withdrawn from 1 mailbox.")


def test_old_broadcast_is_read_only(staff, user):
    sent = broadcast(INFO, "Sunday")
    reader = Client()
    reader.force_login(user)
    reader.get("/messages/")
    Broadcast.objects.update(expires=timezone.now() - timedelta(days=91))
    assert 'name="message"' in staff.get(change_url(sent)).text

    prune_messages()

    page = staff.get(change_url(sent)).text
    assert "1 received" in page
    assert "0 read" not in page
    assert 'name="message"' not in page
    assert staff.post(change_url(sent), TEXT).status_code == 403


def test_selected_broadcasts_are_withdrawn(staff, user):
    ones = [broadcast(INFO, text) for text in ("One", "Two", "Three")]
    visit_as(user)

    chosen = {"action": "withdraw_chosen", "_selected_action": [one.pk for one in ones[:2]]}
    staff.post(LIST, chosen)

    assert texts_of(user) == ["Three"]
    assert LogEntry.objects.count() == 2


def test_withdrawn_broadcast_is_read_only(staff):
    one = broadcast(INFO, "Sunday")
    one.withdraw()

    page = staff.get(change_url(one))

    assert page.status_code == 200
    assert "Sunday" in page.text
    assert 'name="_preview"' not in page.text
    assert staff.post(change_url(one), {**TEXT, "_preview": "1"}).status_code == 403
    assert staff.post(withdraw_url(one)).status_code == 403


@pytest.mark.parametrize("name", ["change", "withdraw", "history"])
def test_unknown_broadcast_is_not_found(staff, name):
    url = reverse(f"admin:persistent_messages_broadcast_{name}", args=["987"])
    assert staff.get(url).status_code in {302, 404}


# Permissions


def test_view_permission_does_not_allow_changes(db):
    viewer, one = staff_with("view"), broadcast(INFO, "Sunday")

    assert viewer.get(LIST).status_code == 200
    page = viewer.get(change_url(one))
    assert "Sunday" in page.text
    assert 'name="_preview"' not in page.text
    assert viewer.get(ADD).status_code == 403
    assert viewer.post(ADD, TEXT).status_code == 403
    assert viewer.post(change_url(one), TEXT).status_code == 403
    assert viewer.get(withdraw_url(one)).status_code == 403
    assert viewer.post(withdraw_url(one)).status_code == 403
    viewer.post(LIST, {"action": "withdraw_chosen", "_selected_action": [one.pk]})
    assert Broadcast.objects.get().withdrawn_at is None


def test_add_permission_does_not_allow_changes(db):
    writer, one = staff_with("add"), broadcast(INFO, "Sunday")

    assert send_form(writer, **TEXT).status_code == 302
    assert Broadcast.objects.count() == 2
    assert writer.get(change_url(one)).status_code == 403
    assert writer.post(withdraw_url(one)).status_code == 403


def test_broadcast_cannot_be_deleted(staff):
    one = broadcast(INFO, "Sunday")

    url = reverse("admin:persistent_messages_broadcast_delete", args=[one.pk])
    assert staff.post(url, {"post": "yes"}).status_code == 403


def test_preview_without_urls_of_app_shows_only_notice(staff, monkeypatch):
    monkeypatch.setattr(broadcasts, "page_context", lambda: PageContext("", "en", ""))

    page = preview_page(staff, **TEXT)

    assert page.text.count('class="pm-notice ') == 3
    assert 'class="pm-item' not in page.text
