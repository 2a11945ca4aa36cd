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


def test_each_topic_is_on_the_page_in_its_words(client, url):
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


def test_without_letters_there_is_no_choice_for_them(client, url, settings):
    settings.PERSISTENT_MESSAGES = {}
    assert "mail-_letters" not in selects(client.get(url).text)


def test_the_inbox_leads_to_it(client, url):
    assert f'href="{url}"' in client.get(reverse("message_list")).text


@pytest.mark.parametrize("mode", MODES)
def test_it_is_a_page_or_a_fragment(client, url, mode):
    answer = client.get(url, headers=MODES[mode])
    assert ("<html" in answer.text) == (mode in PAGES)
    assert "no-store" in answer["Cache-Control"]


def test_it_asks_visitors_to_sign_in(visitor, url):
    for ask in (visitor.get, visitor.post):
        assert ask(url)["Location"].startswith(reverse("login"))
        assert reverse("login") in ask(url, headers=HTMX)["HX-Redirect"]


def test_it_needs_a_csrf_token(user, url):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    assert browser.post(url, {"mail-billing": "daily"}).status_code == 403
    assert rows() == {}


def test_what_is_chosen_is_saved(client, url, other):
    data = {"inbox-billing": "archive", "mail-billing": "daily", "mail-alerts": "now", "mail-": ""}

    answer = client.post(url, data, follow=True)

    assert answer.redirect_chain == [(url, 302)]
    assert "Saved." in answer.text
    assert rows() == {"billing": (False, "daily")}
    assert selects(answer.text)["inbox-billing"] == ["archive"]
    assert not choices.choices_of([other.pk], ["billing"], "default").chosen(other.pk, "billing")[1]


def test_a_script_saves_as_one_chooses(client, url):
    data = {"mail-billing": "never", "pm-part": ["strip"], "pm-from": "preferences"}

    answer = client.post(url, data, headers=HTMX)

    assert answer.status_code == 200
    assert "Saved." in answer.text
    assert "<html" not in answer.text
    assert rows() == {"billing": (True, "never")}


def test_what_is_as_the_site_set_it_is_no_row(client, url):
    client.post(url, {"mail-alerts": "never"})
    client.post(url, {"mail-alerts": "now"})
    assert rows() == {}


@pytest.mark.parametrize(
    "data", [{"mail-billing": "monthly"}, {"inbox-billing": "spam"}, {"mail-unknown": "now"}]
)
def test_what_is_no_choice_is_not_saved(client, url, data):
    client.post(url, data)
    assert rows() == {}


def test_a_mandatory_topic_cannot_leave_the_inbox(client, url):
    client.post(url, {"inbox-alerts": "archive"})
    assert rows() == {}


# The pause


def test_all_mail_is_paused_until_a_day(client, url, user, settings):
    settings.TIME_ZONE = "America/New_York"
    day = (timezone.localtime() + timedelta(3)).date()

    page = client.post(url, {"pause_until": day.isoformat()}, follow=True).text

    until = choices.choices_of([user.pk], [], "default").pause_of(user.pk).until
    begin = timezone.localtime(until, timezone.get_default_timezone())
    assert (begin.date(), begin.hour) == (day, 0)
    assert f'value="{day.isoformat()}"' in page
    client.post(url, {"pause_until": ""})
    assert rows() == {}


def test_no_pause_is_longer_than_ten_years(client, url):
    assert client.post(url, {"pause_until": "9999-12-31"}, follow=True).status_code == 200
    assert Preference.objects.get().until < timezone.now() + timedelta(3651)


@pytest.mark.parametrize("day", ["2020-01-01", "soon", "9999-99-99", "0001-01-01"])
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_an_impossible_day_is_said(client, url, day, headers):
    answer = client.post(url, {"pause_until": day, "mail-billing": "now"}, headers=headers)

    assert answer.status_code == 200
    assert 'class="errorlist"' in answer.text
    assert rows() == {}
    assert answer.headers.get("HX-Retarget") == (".pm-choices" if headers else None)


def test_a_user_whose_mail_came_back_ends_that(client, url, user):
    mail_failed(user)
    assert "Mail to you came back" in client.get(url).text
    client.post(url, {"mail-billing": "now"})
    assert "_mail" in rows()

    page = client.post(url, {"resume": "Send mail again"}, follow=True).text

    assert "_mail" not in rows()
    assert "Mail to you came back" not in page


# Unsubscribing


@pytest.fixture
def unsubscribe(user):
    def unsubscribe(*about, token=None):
        return reverse("message_unsubscribe", args=[token or tokens.make_token(user, about)])

    return unsubscribe


@pytest.fixture
def program(db):
    """Return the client of a mail program: no log-in, no cookies, no CSRF token."""
    return Client(enforce_csrf_checks=True)


def test_one_click_unsubscribes_from_that_topic_alone(program, unsubscribe, user):
    choices.save(user, {"billing": choices.Choice(in_inbox=False, mail="daily")})

    answer = program.post(unsubscribe("billing"), ONE_CLICK)

    assert answer.status_code == 200
    assert rows() == {"billing": (False, "never")}
    assert not answer.cookies


def test_it_may_be_clicked_twice(program, unsubscribe):
    for _ in range(2):
        assert program.post(unsubscribe("alerts", ""), ONE_CLICK).status_code == 200
    assert rows() == {"alerts": (True, "never"), "": (True, "never")}


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_scanner_changes_nothing(program, unsubscribe, method):
    answer = getattr(program, method)(unsubscribe("billing"))
    assert answer.status_code == 200
    assert rows() == {}


def test_a_person_is_asked(visitor, unsubscribe):
    page = visitor.get(unsubscribe("alerts")).text
    assert "Stop mail about “Alerts”?" in page
    assert f'action="{unsubscribe("alerts")}"' in page
    assert "You won’t get any more mail about “Alerts”." in visitor.post(unsubscribe("alerts")).text


def test_a_topic_that_is_gone_can_be_unsubscribed_from(program, unsubscribe):
    assert program.post(unsubscribe("gone"), ONE_CLICK).status_code == 200
    assert rows() == {"gone": (True, "never")}


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("kind", ["forged", "old", "of nobody", "of a deleted user", "another"])
def test_a_wrong_token_does_nothing(program, unsubscribe, user, method, kind, time_machine_token):
    token = {
        "forged": "a:b:c",
        "old": time_machine_token,
        "of nobody": signing.dumps(["abc", "billing"], salt=tokens.SALT),
        "of a deleted user": signing.dumps([str(user.pk + 99), "billing"], salt=tokens.SALT),
        "another": signing.dumps([str(user.pk), "billing"], salt="another"),
    }[kind]

    answer = getattr(program, method)(unsubscribe(token=token))

    assert answer.status_code == 404
    assert rows() == {}


@pytest.fixture
def time_machine_token(user, monkeypatch):
    """Return a token that is two years old."""
    with monkeypatch.context() as patch:
        now = signing.time.time()
        patch.setattr(signing.time, "time", lambda: now - 2 * 365 * 86400)
        return tokens.make_token(user, ["billing"])


# Downloads


def test_a_user_downloads_all_that_is_kept(client, other, send):
    send("Hers", subject="Für Sally")
    send("Not hers", to=other)

    answer = client.get(reverse("message_export"))

    assert answer["Content-Type"] == "application/jsonl"
    assert answer["Content-Disposition"] == 'attachment; filename="messages.jsonl"'
    assert "no-store" in answer["Cache-Control"]
    (message,) = map(json.loads, answer.getvalue().decode().splitlines())
    assert (message["subject"], message["message"]) == ("Für Sally", "Hers")


def test_the_event_loop_streams_it_too(client, user, monkeypatch):
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


def test_of_whom_nothing_is_kept_the_file_is_empty(client):
    assert client.get(reverse("message_export")).getvalue() == b""


def test_the_page_of_preferences_leads_to_the_download(client, url):
    link = soup(client.get(url)).select_one("a[download]")
    assert (link["href"], text_of(link)) == (reverse("message_export"), "Download your messages")


def test_a_visitor_is_asked_to_log_in_and_nothing_is_posted(visitor, client):
    asked = visitor.get(reverse("message_export"))
    assert asked.status_code == 302
    assert "log-in" in asked["Location"]
    assert client.post(reverse("message_export")).status_code == 405
