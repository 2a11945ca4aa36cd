"""Times without USE_TZ are naive and in TIME_ZONE, whatever zone is active; and times with USE_TZ.

In zones on both sides of UTC, and across clock changes.
"""

from datetime import datetime, timedelta
from datetime import timezone as time_zones
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from persistent_messages import Folder, mailbox, send_letter, send_message
from persistent_messages.admin.messages import NewMessageForm
from persistent_messages.exceptions import LetterRefused
from persistent_messages.inbox.filters import Filter
from persistent_messages.letters.policy import next_letter_at
from persistent_messages.mailbox import undo_tokens
from persistent_messages.mailbox.pruning import prunable
from persistent_messages.mailbox.validation import clean_expires
from persistent_messages.models import Message
from persistent_messages.rendering.dates import local_day, short_age, time_left

pytestmark = pytest.mark.django_db

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ZONES = ("America/New_York", "Asia/Kathmandu", "Pacific/Apia")
NEW_YORK = ZoneInfo("America/New_York")
# When clocks went forward from 02:00 to 03:00, and back from 02:00 to 01:00.
FORWARD = datetime(2026, 3, 8, 7, tzinfo=time_zones.utc)
BACK = datetime(2026, 11, 1, 6, tzinfo=time_zones.utc)


@pytest.fixture(params=[(use_tz, zone) for use_tz in (False, True) for zone in ZONES])
def zones(request, settings):
    """A site in a zone, whose reader is in another."""
    settings.USE_TZ, settings.TIME_ZONE = request.param
    elsewhere = ZONES[ZONES.index(settings.TIME_ZONE) - 1]
    with timezone.override(elsewhere):
        yield settings


@pytest.fixture
def new_york(settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "America/New_York"
    with timezone.override("Asia/Kathmandu"):
        yield settings


@pytest.fixture
def at(monkeypatch):
    """Set the clock to an aware time: Django tells it as the settings say."""

    def at(moment):
        naive = moment.astimezone(timezone.get_default_timezone()).replace(tzinfo=None, fold=0)
        monkeypatch.setattr(timezone, "now", lambda: naive)
        return naive

    return at


def aware_now():
    return datetime.now(time_zones.utc)


def undo_by_token(user, change):
    return mailbox.undo(user, undo_tokens.read_token(user, undo_tokens.make_token(user, change)))


@pytest.mark.parametrize("write", [mailbox.mark_read, mailbox.archive, mailbox.delete])
def test_undo_works_in_any_time_zone(zones, user, send, write):
    send()
    change = write(user, Folder.INBOX, Message.objects.all())

    assert undo_by_token(user, change) == change.count == 1
    assert Message.objects.inbox_of(user).unread().count() == 1


def test_undo_of_page_works_in_any_time_zone(zones, client, user, send):
    message = send()
    client.post(reverse("message_archive", args=[message.pk]))
    message.refresh_from_db()
    change = mailbox.Change("move", Folder.INBOX, message.moved_at, 1, Folder.ARCHIVE)
    client.post(reverse("message_undo", args=[undo_tokens.make_token(user, change)]))

    message.refresh_from_db()
    assert message.folder == Folder.INBOX


@pytest.mark.parametrize("zone", [time_zones.utc, *map(ZoneInfo, ZONES)])
@pytest.mark.parametrize(("hours", "shown"), [(-1, False), (1, True)])
def test_aware_expiry_is_same_moment_in_any_time_zone(
    zones, client, user, send, zone, hours, shown
):
    expires = (aware_now() + hours * HOUR).astimezone(zone)
    message = send("Only today", expires=expires)

    assert message.has_expired is not shown
    assert Message.objects.inbox_of(user).exists() is shown
    assert len(Message.objects.strip_of(user, 10)) == shown
    assert Message.objects.count_unread_of(user, 10) == shown
    assert len(Filter().page_of(user).messages) == shown
    assert len(Filter(q="today").page_of(user).messages) == shown
    assert ("Only today" in client.get(reverse("message_list")).content.decode()) is shown
    assert prunable(30)["expired"].exists() is not shown
    stored = message.expires
    if timezone.is_naive(stored):
        stored = stored.replace(tzinfo=timezone.get_default_timezone())
    assert stored == expires


@pytest.mark.parametrize(("hours", "shown"), [(-1, False), (1, True)])
def test_naive_expiry_uses_current_or_default_time_zone(zones, user, send, hours, shown):
    zone = timezone.get_current_timezone() if zones.USE_TZ else timezone.get_default_timezone()
    expires = (aware_now() + hours * HOUR).astimezone(zone).replace(tzinfo=None)
    send(expires=expires)

    assert Message.objects.inbox_of(user).exists() is shown


@pytest.mark.parametrize(("hours", "shown"), [(-1, False), (1, True)])
def test_admin_form_interprets_times_like_django_forms(zones, user, hours, shown):
    zone = timezone.get_current_timezone() if zones.USE_TZ else timezone.get_default_timezone()
    expires = (aware_now() + hours * HOUR).astimezone(zone)
    data = {"user": user.pk, "level": 120, "message": "Hello", "expires_0": f"{expires:%Y-%m-%d}"}
    form = NewMessageForm({**data, "expires": f"{expires:%Y-%m-%d %H:%M:%S}"})
    assert form.is_valid(), form.errors
    form.save()

    assert Message.objects.inbox_of(user).exists() is shown


@pytest.mark.parametrize("year", [1, 9999])
@pytest.mark.parametrize("zone", [None, time_zones.utc])
def test_expiry_at_limits_of_datetime_is_rejected(zones, year, zone):
    moment = (1, 1, 0) if year == 1 else (12, 31, 23)
    with pytest.raises(ValueError, match="expires must lie in the years"):
        clean_expires(datetime(year, *moment, tzinfo=zone))


def test_new_message_is_shown_as_current(zones, send):
    message = send(expires=aware_now() + 30 * HOUR)
    message.refresh_from_db()

    assert short_age(message.created) == "now"
    assert time_left(message.expires) == "2 days left"
    zone = timezone.get_current_timezone() if zones.USE_TZ else timezone.get_default_timezone()
    assert local_day(message.created) == aware_now().astimezone(zone).date()


def test_send_rate_holds_for_its_period(zones, user, other):
    zones.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "1/h"}
    send_letter(user, other, "", "Hello")

    with pytest.raises(LetterRefused) as refused:
        send_letter(user, other, "", "Hello again")
    assert abs(refused.value.retry_at - timezone.now() - HOUR) < MINUTE


# Changes of the clocks

CHANGES = [
    pytest.param(change + minutes * MINUTE, id=f"{name} {minutes:+}")
    for name, change in (("forward", FORWARD), ("back", BACK))
    for minutes in (-90, -61, -30, -1, 0, 1, 30, 59, 61, 90)
]


@pytest.mark.parametrize("moment", CHANGES)
def test_undo_works_during_clock_change(new_york, at, user, send, moment):
    send()
    at(moment)
    change = mailbox.archive(user, Folder.INBOX, Message.objects.all())
    at(moment + 20 * MINUTE)

    assert undo_by_token(user, change) == 1


@pytest.mark.parametrize("moment", CHANGES)
def test_aware_expiry_has_passed_two_hours_after_clock_change(new_york, at, user, send, moment):
    send(expires=moment)

    at(moment - 2 * HOUR)
    assert Message.objects.inbox_of(user).exists()
    at(moment + 2 * HOUR)
    assert not Message.objects.inbox_of(user).exists()


@pytest.mark.parametrize("minutes", [1, 30, 59, 61])
@pytest.mark.parametrize("moment", CHANGES)
def test_send_rate_is_enforced_during_clock_change(new_york, at, user, other, moment, minutes):
    new_york.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "1/h"}
    at(moment)
    send_letter(user, other, "", "Hello")
    now = at(moment + minutes * MINUTE)

    retry_at = next_letter_at(user)
    if minutes < 60:
        assert retry_at > now, "what is said lies ahead"
    elif retry_at is not None:  # in the hours that the clocks show twice
        assert retry_at <= now + HOUR
    at(moment + 2 * HOUR + MINUTE)
    assert next_letter_at(user) is None


def test_deleted_letter_counts_across_clock_change(new_york, at, user, other):
    new_york.PERSISTENT_MESSAGES = {"LETTERS": True, "SEND_RATE": "1/d"}
    at(FORWARD - HOUR)
    sent = send_letter(user, other, "", "Hello")
    mailbox.delete(user, Folder.SENT, Message.objects.filter(pk=sent.pk))
    mailbox.delete(user, Folder.TRASH, Message.objects.filter(pk=sent.pk))
    at(FORWARD + 22 * HOUR + 30 * MINUTE)

    assert not prunable(30)["tombstones"].exists()
    assert next_letter_at(user) is not None


@pytest.mark.parametrize(
    ("sent", "read", "age"),
    [
        (FORWARD - MINUTE, FORWARD + MINUTE, "2 min"),
        (FORWARD - 2 * HOUR, FORWARD + HOUR, "3 h"),
        (BACK - 2 * HOUR, BACK + HOUR, "3 h"),
        (BACK - 20 * MINUTE, BACK + 10 * MINUTE, "30 min"),
        (BACK + 5 * MINUTE, BACK + 10 * MINUTE, "5 min"),
    ],
)
def test_age_across_clock_change_is_elapsed_time(new_york, at, sent, read, age):
    created = sent.astimezone(NEW_YORK).replace(tzinfo=None, fold=0)
    at(read)

    assert short_age(created) == age


@pytest.mark.parametrize("moment", CHANGES)
def test_pages_are_shown_during_clock_change(new_york, at, user, moment):
    browser = Client()
    browser.force_login(user)
    at(moment)
    send_message(user, 120, "Hello", expires=moment + 3 * HOUR)
    Message.objects.update(created=at(moment))

    for _ in range(2):
        assert "Hello" in browser.get(reverse("message_list")).content.decode()
        at(moment + 30 * MINUTE)
