"""The admin of messages: staff search, read, add and delete, on a table of any size."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models.signals import pre_delete
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import persistent_messages
from persistent_messages import Folder, mailbox, models, send_letter
from persistent_messages.admin import base
from persistent_messages.letters import policy, reports
from persistent_messages.models import Block, Message
from tests.pages import soup

LIST = reverse("admin:persistent_messages_message_changelist")
ADD = reverse("admin:persistent_messages_message_add")
TABLE = Message._meta.db_table


@pytest.fixture
def staff(db):
    """Return a client in which a superuser is logged in."""
    browser = Client()
    browser.force_login(get_user_model().objects.create_superuser("root", "", "secret"))
    return browser


def listed(browser, **query):
    """Return the keys of the rows in the list."""
    page = browser.get(LIST, query)
    assert page.status_code == 200, page.get("Location")
    found = re.findall(r'name="_selected_action" value="(\d+)"', page.content.decode())
    return [int(key) for key in found]


def change(message):
    return reverse("admin:persistent_messages_message_change", args=[message.pk])


def delete(message):
    return reverse("admin:persistent_messages_message_delete", args=[message.pk])


def app_queries(queries):
    return [query["sql"] for query in queries if TABLE in query["sql"]]


def rows_of(user, count, **fields):
    fields = {"user": user, "folder": Folder.INBOX, "level": 120, "message": "Hello", **fields}
    Message.objects.bulk_create((Message(**fields) for _ in range(count)), batch_size=2000)


# Looking up


def test_search_finds_messages_by_exact_username(staff, other, send):
    hers, his = send("Hers"), send("His", to=other)

    assert listed(staff) == [his.pk, hers.pk]
    assert listed(staff, q="sally") == [hers.pk]
    assert listed(staff, q="harry") == [his.pk]
    assert listed(staff, q="sal") == []
    assert listed(staff, q="nobody") == []


@pytest.mark.parametrize("q", ["\x00", "'; DROP TABLE", "%", "x" * 5000, "sally harry"])
def test_invalid_search_causes_no_error(staff, send, q):
    send("Hers")

    assert staff.get(LIST, {"q": q}).status_code in {200, 302}


def test_list_can_be_filtered_by_folder_and_level(staff, send):
    inbox = send("Inbox")
    trash = send("Trash", persistent_messages.ERROR)
    mailbox.delete(trash.user, Folder.INBOX, Message.objects.filter(pk=trash.pk))

    assert listed(staff, folder=Folder.TRASH.value) == [trash.pk]
    assert listed(staff, folder=Folder.INBOX.value) == [inbox.pk]
    assert listed(staff, level=140) == [trash.pk]
    assert listed(staff, level=140, folder=Folder.INBOX.value) == []


@pytest.mark.parametrize("query", [{"folder": "nine"}, {"level": "1' OR 1"}, {"folder": "99"}])
def test_invalid_filter_is_ignored(staff, send, query):
    message = send("Inbox")

    assert listed(staff, **query) == [message.pk]


def test_no_page_has_select_of_users(staff, send, other):
    message = send("Hello")
    for number in range(30):
        get_user_model().objects.create(username=f"somebody-{number}")

    for address in (LIST, ADD, change(message), delete(message)):
        page = staff.get(address).content.decode()
        assert "somebody-" not in page, address
    selects = soup(staff.get(ADD).content.decode()).select("select")
    assert [element["name"] for element in selects] == ["level"]


def test_owner_field_is_raw_id(staff):
    page = staff.get(ADD).content.decode()

    (field,) = soup(page).find_all(attrs={"name": "user"})
    assert field.name == "input"
    assert "vForeignKeyRawIdAdminField" in field["class"]


def test_message_text_is_escaped(staff, send):
    message = send("<script>alert(1)</script>", subject="<b>'\"")

    for address in (LIST, change(message), delete(message)):
        page = staff.get(address).content.decode()
        assert "<script>alert" not in page
        assert "<b>'" not in page


# Cost


def list_queries(staff, **query):
    with CaptureQueriesContext(connection) as queries:
        assert staff.get(LIST, query).status_code == 200
    return queries


def test_query_count_of_list_does_not_depend_on_table_size(staff, user):
    rows_of(user, 10)
    few = len(list_queries(staff))
    for number in range(60):
        rows_of(get_user_model().objects.create(username=f"person-{number}"), 20)

    assert len(list_queries(staff)) == few


@pytest.mark.parametrize("query", [{}, {"folder": "1"}, {"level": "120"}, {"q": "sally"}])
def test_count_query_of_list_has_limit(staff, user, query):
    rows_of(user, 120)

    counts = [sql for sql in app_queries(list_queries(staff, **query)) if "COUNT(" in sql]

    assert counts
    for sql in counts:
        assert f"LIMIT {base.COUNT_LIMIT}" in sql
        assert "ORDER BY" not in sql


def test_list_is_paginated(staff, user):
    rows_of(user, 120)

    assert len(listed(staff)) == 50
    assert len(listed(staff, p=3)) == 20
    reads = [sql for sql in app_queries(list_queries(staff)) if "COUNT(" not in sql]
    assert all("LIMIT" in sql for sql in reads)


def test_show_all_is_limited(staff, user):
    rows_of(user, 201)

    assert len(listed(staff, all="")) == 50


# Writing a message


def notice_data(owner, **fields):
    return {
        "user": owner.pk,
        "level": persistent_messages.WARNING,
        "subject": "Maintenance",
        "message": "On Sunday",
        "url": "/status/",
        "expires_0": "",
        "expires_1": "",
        "close_timeout": "",
        **fields,
    }


def test_notice_added_by_staff_is_delivered(staff, client, user):
    response = staff.post(ADD, notice_data(user))

    assert response.status_code == 302
    message = Message.objects.get(user=user)
    assert (message.level, message.folder) == (persistent_messages.WARNING, Folder.INBOX)
    assert (message.subject, message.message, message.url) == (
        "Maintenance",
        "On Sunday",
        "/status/",
    )
    assert (message.from_user, message.read, message.is_safe) == (None, False, False)
    assert b"Maintenance" in client.get("/").content


def test_notice_added_by_staff_sends_signal(staff, user, django_capture_on_commit_callbacks):
    told = []

    def hear(messages, email, **kwargs):
        # The admin confirms the action with a message, too.
        told.extend((message, email) for message in messages if message.user == user)

    persistent_messages.messages_delivered.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            staff.post(ADD, notice_data(user))
    finally:
        persistent_messages.messages_delivered.disconnect(hear)

    assert told == [(Message.objects.get(user=user), False)]


def test_notice_added_by_staff_is_escaped(staff, client, user):
    staff.post(ADD, notice_data(user, message="<script>alert(1)</script>"))

    assert b"<script>alert" not in client.get("/").content


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": ""},
        {"user": "999999"},
        {"user": "nobody"},
        {"message": ""},
        {"level": "20"},
        {"level": "x"},
        {"url": "javascript:alert(1)"},
        {"url": "http://[x"},
        {"subject": "x" * 256},
        {"subject": "\x00"},
        {"message": "a\x00b"},
        {"close_timeout": "-1"},
        {"close_timeout": str(2**31)},
        {"expires_0": "nonsense", "expires_1": "12:00"},
        {"expires_0": "9999-12-31", "expires_1": "12:00"},
    ],
)
def test_invalid_notice_shows_errors(staff, user, wrong):
    response = staff.post(ADD, notice_data(user, **wrong))

    assert response.status_code == 200
    assert b"errorlist" in response.content
    assert Message.objects.count() == 0


def test_notice_can_have_timeout_and_expiry(staff, user):
    staff.post(
        ADD, notice_data(user, close_timeout="5000", expires_0="2099-01-02", expires_1="03:04:05")
    )

    message = Message.objects.get(user=user)
    assert message.close_timeout == 5000
    assert message.expires.isoformat() == "2099-01-02T03:04:05+00:00"


# Reading


def test_message_can_be_viewed_but_not_changed(staff, send):
    message = send("As it was", subject="Subject")
    before = Message.objects.filter(pk=message.pk).values().get()

    page = staff.get(change(message)).content.decode()
    response = staff.post(change(message), {"message": "Changed", "level": 140})

    assert "As it was" in page
    assert 'name="_save"' not in page
    assert not soup(page).select("textarea, select")
    assert response.status_code == 403
    assert Message.objects.filter(pk=message.pk).values().get() == before


def test_viewing_message_does_not_mark_it_as_read(staff, send):
    message = send("Hello")

    staff.get(change(message))

    message.refresh_from_db()
    assert not message.read


# Deleting


def test_delete_moves_to_trash_and_deletes_permanently_from_there(staff, client, send):
    message = send("Hello")

    first = staff.post(delete(message), {"post": "yes"})
    message.refresh_from_db()

    assert first.status_code == 302
    assert message.folder == Folder.TRASH
    assert message.moved_at is not None
    assert b"Hello" not in client.get("/messages/").content
    staff.post(delete(message), {"post": "yes"})
    assert not Message.objects.filter(pk=message.pk).exists()


def test_delete_confirmation_changes_nothing(staff, send):
    message = send("Hello")

    assert staff.get(delete(message)).status_code == 200

    message.refresh_from_db()
    assert message.folder == Folder.INBOX


def test_delete_selected_covers_several_owners(staff, user, other, send):
    hers, his = send("Hers"), send("His", to=other)
    trashed, kept = send("Trashed", to=other), send("Kept")
    mailbox.delete(other, Folder.INBOX, Message.objects.filter(pk=trashed.pk))
    chosen = [hers.pk, his.pk, trashed.pk]

    response = staff.post(
        LIST, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    )

    assert response.status_code == 302
    folders = dict(Message.objects.filter(user__in=[user, other]).values_list("pk", "folder"))
    assert folders == {hers.pk: Folder.TRASH, his.pk: Folder.TRASH, kept.pk: Folder.INBOX}


def test_one_shot_message_is_deleted_permanently(staff, user, client, send):
    waits, chosen = send("Once", 20), send("Once too", 20)

    staff.post(delete(waits), {"post": "yes"})
    staff.post(LIST, {"action": "delete_selected", "_selected_action": [chosen.pk], "post": "yes"})

    assert not Message.objects.filter(user=user).exists()


def test_expired_message_can_be_deleted(staff, send):
    message = send("Too late", expires=timezone.now() - timedelta(days=1))

    staff.post(delete(message), {"post": "yes"})
    staff.post(delete(message), {"post": "yes"})

    assert not Message.objects.filter(pk=message.pk).exists()


def test_delete_selected_sends_signal_per_mailbox(
    staff, user, other, send, django_capture_on_commit_callbacks
):
    chosen = [send("Hers").pk, send("Hers too").pk, send("His", to=other).pk]
    told = []

    def hear(user_id, action, count, **kwargs):
        told.append((user_id, action, count))

    persistent_messages.mailbox_changed.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            staff.post(
                LIST, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
            )
    finally:
        persistent_messages.mailbox_changed.disconnect(hear)

    assert sorted(told) == sorted([(user.pk, "move", 2), (other.pk, "move", 1)])


# Permissions


def test_other_users_are_redirected_to_log_in(visitor, client, send):
    message = send("Very secret")

    for browser in (visitor, client):
        for address in (LIST, ADD, change(message), delete(message)):
            response = browser.get(address)
            assert response.status_code == 302
            assert "/admin/login/" in response["Location"]


def test_view_permission_does_not_allow_add_or_delete(client, user, send):
    user.is_staff = True
    user.save()
    user.user_permissions.add(Permission.objects.get(codename="view_message"))
    message = send("Hello")

    assert client.get(LIST).status_code == 200
    assert client.get(change(message)).status_code == 200
    assert client.get(ADD).status_code == 403
    assert client.post(delete(message), {"post": "yes"}).status_code == 403
    message.refresh_from_db()
    assert message.folder == Folder.INBOX


def test_admin_message_is_shown_once(staff, user):
    staff.post(ADD, notice_data(user))

    assert b"was added successfully" in staff.get(LIST).content
    assert b"was added successfully" not in staff.get(LIST).content


# Letters: blocks and reports


@pytest.fixture
def report(user, other):
    send_letter(other, user, "Offer", "First")
    sent = send_letter(other, user, "Offer", "<b>Rude</b>")
    return reports.report(user, Message.objects.get(user=user, letter=sent.letter), "Spam.")


REPORTS = reverse("admin:persistent_messages_report_changelist")


def run_action(browser, action, *reports):
    data = {"action": action, "_selected_action": [report.pk for report in reports]}
    return browser.post(REPORTS, data, follow=True)


def test_report_page_shows_report(staff, report):
    page = staff.get(reverse("admin:persistent_messages_report_change", args=[report.pk]))

    assert "Spam." in page.text
    assert "&lt;b&gt;Rude&lt;/b&gt;" in page.text
    assert "harry" in page.text
    assert 'name="reason"' not in page.text


def test_reports_can_be_filtered_by_state(staff, report):
    assert "harry" in staff.get(REPORTS, {"state": "open"}).text
    assert "harry" not in staff.get(REPORTS, {"state": "resolved"}).text
    assert staff.get(REPORTS, {"state": "unknown"}).status_code == 200


def test_report_can_be_resolved(staff, report):
    run_action(staff, "resolve", report)

    report.refresh_from_db()
    assert report.resolved_at is not None
    assert report.resolved_by.username == "root"
    first = report.resolved_at
    run_action(staff, "resolve", report)
    report.refresh_from_db()
    assert report.resolved_at == first


def test_report_action_deactivates_sender(staff, report, other):
    page = run_action(staff, "deactivate", report)

    other.refresh_from_db()
    report.refresh_from_db()
    assert not other.is_active
    assert report.resolved_at is not None
    assert "1 account deactivated." in page.text


def test_report_action_does_not_deactivate_staff(staff, report, other):
    other.is_staff = True
    other.save()

    run_action(staff, "deactivate", report)

    other.refresh_from_db()
    assert other.is_active


def test_deactivation_requires_permission_to_change_users(report, user, other):
    helper = get_user_model().objects.create_user("helper", is_staff=True)
    helper.user_permissions.set(Permission.objects.filter(codename__endswith="_report"))
    browser = Client()
    browser.force_login(helper)

    page = run_action(browser, "deactivate", report)

    other.refresh_from_db()
    report.refresh_from_db()
    assert "You don’t have permission to change users." in page.text
    assert other.is_active
    assert report.resolved_at is None


def test_blocks_and_reports_cannot_be_added_or_changed(staff, report, user, other):
    block = policy.block(user, other)
    for name, row in (("block", block), ("report", report)):
        add = reverse(f"admin:persistent_messages_{name}_add")
        change = reverse(f"admin:persistent_messages_{name}_change", args=[row.pk])
        assert staff.get(add).status_code == 403
        assert staff.get(change).status_code == 200
        staff.post(change, {"reason": "Changed", "blocked": user.pk})
    report.refresh_from_db()
    block.refresh_from_db()
    assert report.reason == "Spam."
    assert block.blocked == other


# Private rows on pages of staff who may not read them


SECRET = "Meet me at the old pier"


@pytest.fixture
def helper(db):
    """Return a client and a staff user with these permissions."""

    def helper(*rights):
        person = get_user_model().objects.create_user("helper", is_staff=True)
        person.user_permissions.set(Permission.objects.filter(codename__in=rights))
        browser = Client()
        browser.force_login(person)
        return browser

    return helper


def delete_user(person):
    return reverse("admin:auth_user_delete", args=[person.pk])


RIGHTS = ("view_user", "delete_user", "delete_message", "delete_block", "delete_report")


def test_user_deletion_page_counts_private_rows_without_naming_them(helper, user, other, send):
    send(SECRET)
    send_letter(other, user, "Pier", SECRET)
    policy.block(user, other)
    policy.block(other, user)
    browser = helper(*RIGHTS)

    page = browser.get(delete_user(user))

    assert "Messages: 2" in page.text
    assert "2 messages" in page.text
    assert "2 blocks" in page.text
    assert SECRET not in page.text
    assert "Pier" not in page.text
    assert "harry" not in page.text


def test_query_count_of_user_deletion_page_is_constant(staff, user):
    rows_of(user, 3)
    with CaptureQueriesContext(connection) as few:
        assert "3 messages" in staff.get(delete_user(user)).text
    rows_of(user, 500)

    with CaptureQueriesContext(connection) as many:
        page = staff.get(delete_user(user))

    assert "503 messages" in page.text
    assert page.text.count("Hello") == 0
    assert len(many) == len(few)


def test_user_deletion_page_lists_no_messages_without_any(staff, user):
    page = staff.get(delete_user(user))

    assert "Messages: " not in page.text
    assert "0 messages" not in page.text


def test_deletion_of_selected_users_counts_rows_together(staff, user, other, send):
    send(SECRET)
    send(SECRET, to=other)
    address = reverse("admin:auth_user_changelist")
    data = {"action": "delete_selected", "_selected_action": [user.pk, other.pk]}

    page = staff.post(address, data)
    staff.post(address, {**data, "post": "yes"})

    assert "2 messages" in page.text
    assert SECRET not in page.text
    assert not get_user_model().objects.filter(pk__in=[user.pk, other.pk]).exists()
    assert not Message.objects.filter(message=SECRET).exists()


def test_user_deletion_requires_permission_to_delete_messages(helper, user, send):
    send(SECRET)
    browser = helper("view_user", "delete_user")

    page = browser.get(delete_user(user))

    assert "permission to delete" in page.text
    assert SECRET not in page.text
    assert browser.post(delete_user(user), {"post": "yes"}).status_code == 403
    assert get_user_model().objects.filter(pk=user.pk).exists()


def test_user_deletion_deletes_related_rows(staff, user, other, send):
    send(SECRET)
    send_letter(other, user, "Pier", SECRET)
    policy.block(user, other)
    policy.block(other, user)

    response = staff.post(delete_user(user), {"post": "yes"})

    assert response.status_code == 302
    (copy,) = Message.objects.filter(message=SECRET)
    assert (copy.user, copy.to_user, copy.to_name) == (other, None, "Sally Ride")
    assert not models.Report.objects.exists()
    assert not Block.objects.exists()


def test_user_deletion_reads_no_messages(user, other, send):
    send(SECRET)
    policy.block(user, other)

    with CaptureQueriesContext(connection) as queries:
        user.delete()

    reads = [sql for sql in app_queries(queries) if sql.startswith("SELECT")]
    assert reads == []
    assert not Message.objects.exists()
    assert not Block.objects.exists()


def test_pre_delete_receiver_gets_each_message(user, send):
    first, second = send("One"), send("Two")
    heard = []

    def hear(instance, **kwargs):
        heard.append(instance.pk)

    pre_delete.connect(hear, sender=Message)
    try:
        user.delete()
    finally:
        pre_delete.disconnect(hear, sender=Message)

    assert sorted(heard) == [first.pk, second.pk]
    assert not Message.objects.exists()


def test_admin_log_names_rows_by_primary_key(staff, user, other, report, send):
    staff.post(ADD, notice_data(user, message=SECRET, subject="Pier"))
    message, block = Message.objects.get(message=SECRET), policy.block(user, other)
    staff.post(delete(message), {"post": "yes"})
    staff.post(LIST, {"action": "delete_selected", "_selected_action": [message.pk], "post": "yes"})
    for row, name in ((block, "block"), (report, "report")):
        address = reverse(f"admin:persistent_messages_{name}_delete", args=[row.pk])
        staff.post(address, {"post": "yes"})

    logged = list(LogEntry.objects.order_by("pk").values_list("object_repr", flat=True))

    assert logged == [f"Message {message.pk}"] * 3 + [f"Block {block.pk}", f"Report {report.pk}"]
    staff.get(reverse("admin:index"))  # shows what the staff was told of each
    history = staff.get(reverse("admin:index"))
    assert f"Message {message.pk}" in history.text
    assert SECRET not in history.text


def test_delete_permission_does_not_reveal_text(helper, user, other, report):
    letter, block = Message.objects.filter(user=user).latest("pk"), policy.block(user, other)
    browser = helper("delete_message", "delete_block", "delete_report")

    for row in (letter, block, report):
        name = row._meta.model_name
        address = reverse(f"admin:persistent_messages_{name}_delete", args=[row.pk])
        page = browser.get(address)
        assert f"{name.capitalize()} {row.pk}" in page.text
        for text in ("Rude", "Offer", "harry", "sally"):
            assert text not in page.text
        done = browser.post(address, {"post": "yes"}, follow=True)
        for text in ("Rude", "Offer", "harry", "sally"):
            assert text not in done.text
    letter.refresh_from_db()
    assert letter.folder == Folder.TRASH
    assert not Block.objects.exists()
    assert not models.Report.objects.exists()


# The permissions of the actions


@pytest.mark.parametrize("action", ["resolve", "deactivate", "delete_selected"])
def test_view_permission_does_not_allow_report_actions(helper, report, other, action):
    browser = helper("view_report", "change_user")

    page = browser.get(REPORTS)
    run_action(browser, action, report)
    browser.post(
        REPORTS, {"action": action, "_selected_action": [report.pk], "post": "yes"}, follow=True
    )

    assert page.status_code == 200
    assert f'value="{action}"' not in page.text
    report.refresh_from_db()
    other.refresh_from_db()
    assert report.resolved_at is None
    assert other.is_active


@pytest.mark.parametrize("name", ["message", "block", "report"])
def test_view_permission_offers_no_action(helper, report, user, other, name):
    row = policy.block(user, other) if name == "block" else report
    row = Message.objects.latest("pk") if name == "message" else row
    browser = helper(f"view_{name}")
    address = reverse(f"admin:persistent_messages_{name}_changelist")

    page = browser.get(address)
    browser.post(
        address, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    )

    assert "<option" not in page.text.partition('name="action"')[2].partition("</select>")[0]
    assert type(row).objects.filter(pk=row.pk).exists()
    if name == "message":
        assert Message.objects.get(pk=row.pk).folder == row.folder
