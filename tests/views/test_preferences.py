"""The page of preferences, and unsubscribing without a log-in."""

import json
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.core import signing
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone

from persistent_messages import mail_failed
from persistent_messages.models import Preference
from persistent_messages.preferences import choices, tokens
from persistent_messages.views import preferences as views
from tests.pages import HTMX, MODES, PAGES, fill, soup, text_of

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture(autouse=True)
def _topics(register):
    billing = {"label": "Billing {{ 1 }} & <more>"}
    register(billing=billing, alerts={"mandatory": True, "mail": "now"})


@pytest.fixture
def url(db):
    return reverse("message_preferences")


def selects(html):
    """The choices of the page: the name of each, and what is selected."""
    found = {}
    for select in (e for e in soup(html).find_all(True) if e.name == "select"):
        options = [e for e in soup(str(select)).find_all(True) if e.name == "option"]
        chosen = [o.attrs["value"] for o in options if "selected" in o.attrs]
        found[select.attrs["name"]] = chosen
    return found


def rows():
    return {row.topic: (row.in_inbox, row.mail) for row in Preference.objects.all()}


# The page


def test_preferences_page_lists_topics_with_labels(client, url):
    page = client.get(url).text

    assert selects(page) == {
        "inbox-billing": ["inbox"],
        "mail-billing": [""],
        "mail-alerts": ["now"],
        "mail-_letters": ["unread"],
        "mail-": ["now"],
    }
    headings = [text_of(e) for e in soup(page).find_all(True) if e.name == "h2"]
    assert headings[:3] == ["Billing {{ 1 }} & <more>", "Alerts", "Messages from people"]


def test_letter_preference_is_missing_if_letters_are_disabled(client, url, settings):
    settings.PERSISTENT_MESSAGES = {}
    assert "mail-_letters" not in selects(client.get(url).text)


def test_inbox_links_to_preferences(client, url):
    assert f'href="{url}"' in client.get(reverse("message_list")).text


@pytest.mark.parametrize("mode", MODES)
def test_preferences_are_page_or_fragment(client, url, mode):
    answer = client.get(url, headers=MODES[mode])
    assert ("<html" in answer.text) == (mode in PAGES)
    assert "no-store" in answer["Cache-Control"]


def test_visitor_is_redirected_to_log_in(visitor, url):
    for ask in (visitor.get, visitor.post):
        assert ask(url)["Location"].startswith(reverse("login"))
        assert reverse("login") in ask(url, headers=HTMX)["HX-Redirect"]


def test_post_without_csrf_token_is_rejected(user, url):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    assert browser.post(url, {"mail-billing": "daily"}).status_code == 403
    assert rows() == {}


def test_preferences_are_saved(client, url, other):
    data = {"inbox-billing": "archive", "mail-billing": "daily", "mail-alerts": "now", "mail-": ""}

    answer = client.post(url, data, follow=True)

    assert answer.redirect_chain == [(url, 302)]
    assert "Saved." in answer.text
    assert rows() == {"billing": (False, "daily")}
    assert selects(answer.text)["inbox-billing"] == ["archive"]
    assert not choices.choices_of([other.pk], ["billing"], "default").chosen(other.pk, "billing")[1]


def test_preference_is_saved_by_htmx(client, url):
    data = {"mail-billing": "never", "pm-part": ["strip"], "pm-from": "preferences"}

    answer = client.post(url, data, headers=HTMX)

    assert answer.status_code == 200
    assert "Saved." in answer.text
    assert "<html" not in answer.text
    assert rows() == {"billing": (True, "never")}


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_fields_that_are_not_submitted_keep_preferences(client, url, user, headers):
    day = (timezone.localdate() + timedelta(days=2)).isoformat()
    client.post(url, {"inbox-billing": "archive", "mail-": "never", "pause_until": day})
    stored = rows()

    client.post(url, {"mail-alerts": "daily"}, headers=headers)

    assert rows() == stored | {"alerts": (True, "daily")}
    assert choices.export(user)["mail_is_paused_until"]


def test_default_preference_is_not_stored(client, url):
    client.post(url, {"mail-alerts": "never"})
    client.post(url, {"mail-alerts": "now"})
    assert rows() == {}


@pytest.mark.parametrize(
    "data", [{"mail-billing": "monthly"}, {"inbox-billing": "spam"}, {"mail-unknown": "now"}]
)
def test_invalid_preference_is_not_saved(client, url, data):
    client.post(url, data)
    assert rows() == {}


def test_mandatory_topic_cannot_leave_inbox(client, url):
    client.post(url, {"inbox-alerts": "archive"})
    assert rows() == {}


# The pause


def test_mail_is_paused_until_date(client, url, user, settings):
    settings.TIME_ZONE = "America/New_York"
    day = (timezone.localtime() + timedelta(3)).date()

    page = client.post(url, {"pause_until": day.isoformat()}, follow=True).text

    until = choices.choices_of([user.pk], [], "default").pause_of(user.pk).until
    begin = timezone.localtime(until, timezone.get_default_timezone())
    assert (begin.date(), begin.hour) == (day, 0)
    assert f'value="{day.isoformat()}"' in page
    client.post(url, {"pause_until": ""})
    assert rows() == {}


def test_pause_is_limited_to_ten_years(client, url):
    assert client.post(url, {"pause_until": "9999-12-31"}, follow=True).status_code == 200
    assert Preference.objects.get().until < timezone.now() + timedelta(3651)


@pytest.mark.parametrize("day", ["2020-01-01", "soon", "9999-99-99", "0001-01-01"])
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_invalid_pause_date_shows_error(client, url, day, headers):
    answer = client.post(url, {"pause_until": day, "mail-billing": "now"}, headers=headers)

    assert answer.status_code == 200
    assert 'class="errorlist"' in answer.text
    assert rows() == {}
    assert answer.headers.get("HX-Retarget") == (".pm-choices" if headers else None)


def test_user_can_resume_mail_after_bounce(client, url, user):
    mail_failed(user)
    assert "Mail to you came back" in client.get(url).text
    client.post(url, {"mail-billing": "now"})
    assert "_mail" in rows()

    page = client.post(url, {"resume": "Send mail again"}, follow=True).text

    assert "_mail" not in rows()
    assert "Mail to you came back" not in page


# Unsubscribing


@pytest.fixture
def unsubscribe_url(user):
    def unsubscribe_url(*about, token=None):
        return reverse("message_unsubscribe", args=[token or tokens.make_token(user, about)])

    return unsubscribe_url


@pytest.fixture
def mail_program(db):
    """Return the client of a mail program: no log-in, no cookies, no CSRF token."""
    return Client(enforce_csrf_checks=True)


def test_one_click_unsubscribes_from_one_topic(mail_program, unsubscribe_url, user):
    choices.save(user, {"billing": choices.Choice(in_inbox=False, mail="daily")})

    answer = mail_program.post(unsubscribe_url("billing"), ONE_CLICK)

    assert answer.status_code == 200
    assert rows() == {"billing": (False, "never")}
    assert not answer.cookies


def test_one_click_unsubscribe_can_be_repeated(mail_program, unsubscribe_url):
    for _ in range(2):
        assert mail_program.post(unsubscribe_url("alerts", ""), ONE_CLICK).status_code == 200
    assert rows() == {"alerts": (True, "never"), "": (True, "never")}


@pytest.mark.parametrize("method", ["get", "head"])
def test_get_and_head_requests_do_not_unsubscribe(mail_program, unsubscribe_url, method):
    answer = getattr(mail_program, method)(unsubscribe_url("billing"))
    assert answer.status_code == 200
    assert rows() == {}


def test_unsubscribe_page_asks_for_confirmation(visitor, unsubscribe_url):
    page = visitor.get(unsubscribe_url("alerts")).text
    assert "Stop mail about “Alerts”?" in page
    assert f'action="{unsubscribe_url("alerts")}"' in page
    assert (
        "You won’t get any more mail about “Alerts”."
        in visitor.post(unsubscribe_url("alerts")).text
    )


def test_removed_topic_can_be_unsubscribed_from(mail_program, unsubscribe_url):
    assert mail_program.post(unsubscribe_url("gone"), ONE_CLICK).status_code == 200
    assert rows() == {"gone": (True, "never")}


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("kind", ["forged", "old", "of nobody", "of a deleted user", "another"])
def test_invalid_unsubscribe_token_is_not_found(
    mail_program, unsubscribe_url, user, method, kind, expired_token
):
    token = {
        "forged": "a:b:c",
        "old": expired_token,
        "of nobody": signing.dumps(["abc", "billing"], salt=tokens.SALT),
        "of a deleted user": signing.dumps([str(user.pk + 99), "billing"], salt=tokens.SALT),
        "another": signing.dumps([str(user.pk), "billing"], salt="another"),
    }[kind]

    answer = getattr(mail_program, method)(unsubscribe_url(token=token))

    assert answer.status_code == 404
    assert rows() == {}


@pytest.fixture
def expired_token(user, monkeypatch):
    """Return a token that is two years old."""
    with monkeypatch.context() as patch:
        now = signing.time.time()
        patch.setattr(signing.time, "time", lambda: now - 2 * 365 * 86400)
        return tokens.make_token(user, ["billing"])


# Downloads


def test_user_can_download_messages(client, other, send):
    send("Hers", subject="Für Sally")
    send("Not hers", to=other)

    answer = client.get(reverse("message_export"))

    assert answer["Content-Type"] == "application/jsonl"
    assert answer["Content-Disposition"] == 'attachment; filename="messages.jsonl"'
    assert "no-store" in answer["Cache-Control"]
    (message,) = map(json.loads, answer.getvalue().decode().splitlines())
    assert (message["subject"], message["message"]) == ("Für Sally", "Hers")


def test_export_is_streamed_under_asgi(client, user, monkeypatch):
    """Otherwise, Django would read all lines before it sends the first one."""
    monkeypatch.setattr(views, "LINES", 3)
    fill(user, 7)

    async def read():
        browser = AsyncClient()
        browser.cookies = client.cookies
        answer = await browser.get(reverse("message_export"))
        return [part async for part in answer.streaming_content]

    parts = async_to_sync(read)()

    assert [part.count(b"\n") for part in parts] == [3, 3, 1]
    assert len({json.loads(line)["id"] for line in b"".join(parts).splitlines()}) == 7


def test_export_of_empty_mailbox_is_empty(client):
    assert client.get(reverse("message_export")).getvalue() == b""


def test_preferences_page_links_to_export(client, url):
    link = soup(client.get(url)).select_one("a[download]")
    assert (link["href"], text_of(link)) == (reverse("message_export"), "Download your messages")


def test_export_requires_log_in_and_get(visitor, client):
    asked = visitor.get(reverse("message_export"))
    assert asked.status_code == 302
    assert "log-in" in asked["Location"]
    assert client.post(reverse("message_export")).status_code == 405
