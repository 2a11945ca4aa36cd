"""Suggestions and names of recipients: results, cost, and privacy."""

import re

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from persistent_messages import INFO, Folder, send_letter, send_message
from persistent_messages.letters import autocomplete, policy, throttling
from persistent_messages.models import Block, Message
from tests.pages import HTMX, browser_of, fields_of, form_to, soup, texts
from tests.parallel import CONNECTIONS, run_concurrently
from tests.plans import EFFORTS

WRITE = "/messages/write/"


@pytest.fixture(autouse=True)
def no_rates(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "LOOKUP_RATE": None, "SEND_RATE": None}


@pytest.fixture
def third(db):
    return get_user_model().objects.create_user("ida", "ida@example.com", "secret")


def with_settings(settings, **more):
    settings.PERSISTENT_MESSAGES = {**settings.PERSISTENT_MESSAGES, **more}


def found(user, text):
    return [suggestion.user for suggestion in autocomplete.suggestions(user, text)]


def create(*names, **fields):
    model = get_user_model()
    model.objects.bulk_create(model(username=name, **fields) for name in names)
    return list(model.objects.filter(username__in=names).order_by("username"))


def options(browser, text):
    page = browser.get(reverse("message_people"), {"to": text}, headers=HTMX)
    assert page.status_code == 200
    return [option["data-pm-name"] for option in soup(page).select(".pm-option")]


def form_of(browser, **given):
    page = browser.get(WRITE)
    form = {name: values[0] for name, values in fields_of(form_to(page, WRITE)).items()}
    return {**form, "message": "Hello", **given}


def check(browser, names, **given):
    """Return the errors of the recipients."""
    data = form_of(browser, to=names, **{"pm-field": "to"}, **given)
    response = browser.post(WRITE, data, headers=HTMX)
    assert response.status_code == 200
    return texts(response, ".errorlist")


# Matches


def test_stranger_is_suggested_by_username_prefix(user, other, third):
    assert found(user, "har") == [other]
    assert found(user, "HAR") == found(user, " Har ") == [other]
    assert found(user, "arr") == []
    assert found(user, "sal") == []  # oneself


def test_stranger_is_not_suggested_by_other_names(user, third):
    third.first_name, third.last_name = "Hanna", "Harper"
    third.save()

    assert found(user, "han") == found(user, "harper") == []


@pytest.mark.parametrize("name", ["harold", "Harold", "HAROLD"])
def test_suggestions_ignore_case(user, name):
    (person,) = create(name)

    assert found(user, "haro") == found(user, "Haro") == found(user, "HARO") == [person]


def test_typed_name_is_normalized_to_nfkc(user):
    (person,) = create("r\u00e9my")

    assert found(user, "re\u0301m") == found(user, "r\u00e9m") == [person]


@pytest.mark.parametrize("text", ["h", " h ", "", "%a", "%%", "__", "h%", "\x00\x00", "x" * 60_000])
def test_invalid_prefix_suggests_nobody(user, other, text):
    assert found(user, text) == []


def test_eight_users_are_suggested_in_order_of_username(user):
    create(*(f"person-{number:02}" for number in range(12)))

    names = [person.username for person in found(user, "person")]

    assert names == [f"person-{number:02}" for number in range(8)]


@pytest.mark.parametrize("typed", ["hara", "pot", "hara lee p", "HARA", "ida"])
def test_correspondent_is_suggested_by_any_name(user, third, typed):
    third.first_name, third.last_name = "Hara Lee", "Potter"
    third.save()
    for ends in ((user, third), (third, user)):
        send_letter(*ends, "", "Hello")
        assert found(user, typed) == [third]
        Message.objects.all().delete()


def test_latest_correspondent_is_suggested_first(user, other, third):
    (stranger,) = create("haaland")
    third.first_name = "Harriet"
    third.save()
    send_letter(user, other, "", "Hello")
    send_letter(third, user, "", "Hello")

    assert found(user, "ha") == [third, other, stranger]


def test_sender_of_notice_is_not_correspondent(user, third):
    third.first_name = "Hanna"
    third.save()
    send_message(user, INFO, "Hello", from_user=third)

    assert found(user, "hanna") == []


@pytest.fixture
def fresh_tables(db):
    """Have users that no plan takes for more: PostgreSQL counts what other tests rolled back."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            tables = f"{get_user_model()._meta.db_table}, {Group._meta.db_table}"
            cursor.execute(f"TRUNCATE {tables} CASCADE")


def team_mates(user):
    return get_user_model().objects.filter(groups__user=user)


def in_teams(user):
    teams = Group.objects.filter(user=user)
    return get_user_model().objects.filter(groups__in=teams).order_by("last_name").distinct()


def potters_in_team(user):
    return team_mates(user).filter(last_name="Potter")


@pytest.mark.parametrize("callback", [team_mates, in_teams])
def test_recipients_setting_suggests_each_user_once_by_any_name(
    fresh_tables, user, other, third, settings, callback
):
    with_settings(settings, RECIPIENTS=callback)
    third.last_name = "Harper"
    third.save()
    for name in ("Choir", "Kitchen"):
        Group.objects.create(name=name).user_set.add(user, other, third)
    create("harold")

    assert found(user, "har") == [other, third]


def test_user_outside_recipients_setting_is_not_suggested(user, other, third, settings):
    send_letter(user, other, "", "Hello")
    with_settings(settings, RECIPIENTS=potters_in_team)

    assert found(user, "har") == found(user, "ida") == []


def test_inactive_user_is_not_suggested(user, other, third):
    get_user_model().objects.filter(pk__in=[other.pk, third.pk]).update(is_active=False)

    assert found(user, "har") == found(user, "ida") == []


# A function of the site


def by_last_name(user, text):
    return get_user_model().objects.filter(last_name__istartswith=text).order_by("pk")


@pytest.mark.parametrize("shape", [lambda found: found, list, iter])
def test_suggest_setting_is_used(user, other, third, settings, shape):
    with_settings(settings, SUGGEST=lambda user, text: shape(by_last_name(user, text)))
    get_user_model().objects.update(last_name="Potter")

    assert found(user, "pot") == [other, third]
    assert found(user, "harry") == []


def test_suggest_setting_is_limited_to_allowed_recipients(user, other, third, settings):
    with_settings(settings, SUGGEST=by_last_name, RECIPIENTS=team_mates)
    get_user_model().objects.update(last_name="Potter")
    Group.objects.create(name="Choir").user_set.add(user, third)

    assert found(user, "pot") == [third]
    policy.block(user, third)
    assert found(user, "pot") == []


def test_query_of_suggest_setting_is_limited(user, settings):
    create(*(f"person-{number:03}" for number in range(120)), last_name="Potter")
    with_settings(settings, SUGGEST=by_last_name)

    with CaptureQueriesContext(connection) as queries:
        assert len(found(user, "pot")) == 8

    assert f"LIMIT {autocomplete.MAX_CANDIDATES}" in " ".join(query["sql"] for query in queries)


def fails_later(user, text):
    yield user
    raise KeyError(text)


@pytest.mark.parametrize(
    "function",
    [lambda user, text: 1 / 0, lambda user, text: None, lambda user, text: 5, fails_later],
    ids=["raises", "none", "a number", "a generator"],
)
def test_failing_suggest_setting_is_named_in_error(user, settings, function):
    with_settings(settings, SUGGEST=function)

    with pytest.raises(ImproperlyConfigured, match="SUGGEST"):
        found(user, "har")


@pytest.mark.parametrize(
    "function",
    [
        lambda user: 1 / 0,
        lambda user: None,
        lambda user: [user],
        lambda user: get_user_model(),
        lambda user: get_user_model().objects.all()[:5],
    ],
    ids=["raises", "none", "a list", "a model", "a slice"],
)
def test_invalid_recipients_setting_is_named_in_error(user, other, settings, function):
    with_settings(settings, RECIPIENTS=function)

    for ask in (lambda: found(user, "har"), lambda: send_letter(user, other, "", "Hello")):
        with pytest.raises(ImproperlyConfigured, match="RECIPIENTS"):
            ask()


def test_recipients_setting_may_return_manager(user, other, settings):
    with_settings(settings, RECIPIENTS=lambda user: get_user_model().objects)

    assert found(user, "har") == [other]
    assert send_letter(user, other, "", "Hello")


# Costs


CROWD = 3000
TYPED = [
    "zz",
    "user",
    "user99",
    "USER",
    "Us",
    "%%",
    "__",
    "00",
    "~~",
    "ñandú",
    "名前",
    "\U0010ffff\U0010ffff",
]
TYPED += ["x" * 254, "'; --", "\\%", "sally", "aa"]


@pytest.fixture
def crowd(fresh_tables, user):
    create(*(f"user{number}" for number in range(CROWD)))
    analyze()
    return user


def analyze():
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
            # Make the planner treat the small table like a large one.
            cursor.execute("SET LOCAL enable_seqscan = off")


def statements_of(work):
    with CaptureQueriesContext(connection) as queries:
        work()
    return [query["sql"] for query in queries if query["sql"].startswith("SELECT")]


def effort_of(statements):
    return sum(EFFORTS[connection.vendor](sql) for sql in statements)


def scans_of_users(statements):
    """Return the statements that scan the users on SQLite, which does not report row counts."""
    table = get_user_model()._meta.db_table
    scans = []
    for sql in statements:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            scans += [
                row[3] for row in cursor.fetchall() if re.match(f"SCAN {table}(?! USING)", row[3])
            ]
    return scans


# SQLite counts the steps of its virtual machine: one or two dozen per row.
MOST = {"sqlite": 12_000, "postgresql": 500, "mysql": 500}


def assert_bounded(statements):
    assert effort_of(statements) <= MOST[connection.vendor], statements
    if connection.vendor == "sqlite":
        assert scans_of_users(statements) == []


def test_suggestions_read_few_rows_for_any_text(crowd, client):
    for typed in TYPED:
        assert_bounded(statements_of(lambda typed=typed: autocomplete.suggestions(crowd, typed)))
    for typed in ("us", "zz"):
        assert_bounded(statements_of(lambda typed=typed: options(client, typed)))


def test_suggestions_read_few_rows_with_large_mailbox_and_many_blocks(crowd, other):
    letter = send_letter(other, crowd, "", "Hello")
    others = get_user_model().objects.filter(username__startswith="user")
    Message.objects.bulk_create(
        Message(
            user=crowd,
            folder=folder,
            level=120,
            message="Hello",
            from_user=person,
            letter=letter.letter,
            thread=letter.thread,
        )
        for person in others
        for folder in (Folder.INBOX, Folder.SENT, Folder.ARCHIVE)
    )
    block_many(crowd, others)
    analyze()

    for typed in ("user", "user2", "zz", "har"):
        assert_bounded(statements_of(lambda typed=typed: autocomplete.suggestions(crowd, typed)))


def block_many(user, others):
    """Create very many blocks: by Sally, by others, and of Sally."""
    pairs = [(user, person) for person in others if "77" in person.username]
    pairs += [(person, user) for person in others if "88" in person.username]
    pairs += [(one, other) for one in others[:100] for other in others[200:280]]
    Block.objects.bulk_create(Block(user=one, blocked=other) for one, other in pairs)


@pytest.mark.parametrize("size", [10, 100])
@pytest.mark.parametrize("callback", [team_mates, in_teams])
def test_suggestions_read_few_rows_with_recipients_setting(crowd, settings, callback, size):
    with_settings(settings, RECIPIENTS=callback)
    team = Group.objects.create(name="Choir")
    for number in range(20):  # as large as Sally's, in the middle
        there = get_user_model().objects.order_by("pk")[100 * number : 100 * number + size]
        Group.objects.create(name=f"Team {number}").user_set.set(there)
    everybody = get_user_model().objects.order_by("-pk")
    team.user_set.set([crowd, *everybody[:size]])
    analyze()

    for typed in ("user", "user2", "zz", "sal"):
        statements = statements_of(lambda typed=typed: autocomplete.suggestions(crowd, typed))
        assert effort_of(statements) <= MOST[connection.vendor], statements


def few_of_many(user):
    return get_user_model().objects.filter(is_staff=True)


def test_suggestions_do_not_scan_unindexed_recipients(crowd, settings):
    with_settings(settings, RECIPIENTS=few_of_many)
    get_user_model().objects.filter(username="user2999").update(is_staff=True)
    analyze()

    for typed in ("user", "zz"):
        assert_bounded(statements_of(lambda typed=typed: autocomplete.suggestions(crowd, typed)))
    assert [person.username for person in found(crowd, "user2999")] == ["user2999"]


def test_resolving_names_reads_few_rows(crowd):
    names = ["nobody", "harry", *(f"user{number}" for number in range(18))]
    others = get_user_model().objects.filter(username__startswith="user")
    block_many(crowd, others)
    analyze()

    assert_bounded(statements_of(lambda: autocomplete.resolve_names(crowd, names)))


def test_username_query_uses_index(crowd):
    (sql,) = [
        sql
        for sql in statements_of(lambda: autocomplete.suggestions(crowd, "99"))
        if re.search(r"username\W+>=", sql)
    ]
    with connection.cursor() as cursor:
        how = {"sqlite": "EXPLAIN QUERY PLAN"}.get(connection.vendor, "EXPLAIN")
        cursor.execute(f"{how} {sql}")
        plan = str(cursor.fetchall())

    assert "username" in plan or "autoindex_auth_user" in plan, plan
    assert "Seq Scan" not in plan
    assert "TEMP B-TREE" not in plan
    assert "filesort" not in plan


# Addresses that it reveals


@pytest.fixture
def email_as_username(monkeypatch):
    """Make usernames mail addresses."""
    monkeypatch.setattr(get_user_model(), "USERNAME_FIELD", "email")


def test_stranger_is_not_suggested_if_username_is_email(email_as_username, user, other, third):
    get_user_model().objects.update(first_name="Hanna")

    assert found(user, "ha") == found(user, "harry@ex") == found(user, "harry@example.com") == []


def test_correspondent_is_suggested_by_name_but_not_by_email(
    email_as_username, client, user, other
):
    other.first_name, other.last_name = "Harry", "Potter"
    other.save()
    send_letter(user, other, "", "Hello")

    page = client.get(reverse("message_people"), {"to": "pot"}, headers=HTMX)

    assert [e["data-pm-name"] for e in soup(page).select(".pm-option")] == ["Harry Potter"]
    assert "@" not in page.text
    assert options(client, "harry@ex") == []


def test_suggested_name_resolves_to_that_user(email_as_username, client, user, other, third):
    other.first_name, other.last_name = "Harry", "Potter, Jr."
    other.save()
    send_letter(user, other, "", "Hello")
    (name,) = options(client, "har")

    response = client.post(WRITE, form_of(client, to=f"{name}, ida@example.com"))

    assert response.status_code == 302
    assert {row.user for row in Message.objects.in_folder(Folder.INBOX)} == {other, third}


def test_users_with_same_name_are_distinguished(email_as_username, client, user, other, third):
    get_user_model().objects.exclude(pk=user.pk).update(first_name="Harry", last_name="Potter")
    for person in (other, third):
        send_letter(user, person, "", "Hello")

    names = options(client, "harry")
    assert len(set(names)) == 2
    assert "@" not in "".join(names)
    assert len(check(client, "Harry Potter")) == 1
    for name in names:
        assert check(client, name) == []
    sent = {frozenset(autocomplete.resolve_names(user, [name]).values()) for name in names}
    assert sent == {frozenset([other]), frozenset([third])}


@pytest.mark.parametrize("typed", ["harry@example.com"])
def test_complete_email_is_accepted(email_as_username, client, other, typed):
    assert check(client, typed) == []
    assert check(client, typed[:-1]) != []


def test_username_that_looks_like_email_is_not_suggested(client, user):
    (zoe,) = create("zoe@example.com", first_name="Zoe")

    assert options(client, "zo") == []
    assert check(client, "zoe@example.com") == []
    send_letter(zoe, user, "", "Hello")
    assert options(client, "zo") == ["Zoe"]
    assert check(client, "Zoe") == []


def test_unique_name_among_suggestions_is_accepted(client, user, other):
    other.first_name, other.last_name = "James", "Potter"
    other.save()

    assert check(client, "James Potter") != []
    send_letter(other, user, "", "Hello")
    assert check(client, "james potter") == []


def test_full_name_finds_user_whose_username_starts_with_its_word(client, user):
    create("harriet.1912", "quimby2", first_name="Harriet", last_name="Quimby")
    create("quimby3", first_name="Fred", last_name="Quimby")

    assert options(client, "harriet q") == ["harriet.1912"]
    assert options(client, "Harriet Quimby") == ["harriet.1912", "quimby2"]
    assert options(client, "fred quimby") == ["quimby3"]
    assert check(client, "Fred Quimby") == []
    assert check(client, "Fred") != []


def test_ambiguous_full_name_is_rejected(client, user):
    create("harriet1", "harriet2", first_name="Harriet", last_name="Quimby")

    assert len(options(client, "Harriet Quimby")) == 2
    assert check(client, "Harriet Quimby") != []


# What it reveals about users


REASONS = {
    "unknown": lambda user, person: person.delete(),
    "inactive": lambda user, person: type(person).objects.update(is_active=False),
    "has blocked": lambda user, person: policy.block(person, user),
    "is blocked": lambda user, person: policy.block(user, person),
    "out of bounds": lambda user, person: None,
}


def everyone_but_harry(user):
    return get_user_model().objects.exclude(username="harry")


def response_and_query_count(work):
    """Return what is visible from outside: the response, and the number of statements."""
    with CaptureQueriesContext(connection) as queries:
        answer = work()
    return answer, len(queries)


@pytest.mark.parametrize("reason", REASONS)
def test_validation_error_does_not_reveal_reason(user, other, client, settings, reason):
    never = response_and_query_count(lambda: autocomplete.resolve_names(user, ["nobody"]))
    REASONS[reason](user, other)
    if reason == "out of bounds":
        with_settings(settings, RECIPIENTS=everyone_but_harry)

    assert response_and_query_count(lambda: autocomplete.resolve_names(user, ["harry"])) == never
    if reason != "inactive":
        assert len(check(client, "harry")) == 1
        assert check(client, "harry")[0].replace("harry", "nobody") == check(client, "nobody")[0]


@pytest.mark.parametrize("wrote", [True, False])
def test_suggestions_do_not_reveal_who_blocked_user(user, other, wrote):
    if wrote:
        send_letter(user, other, "", "Hello")
    before = response_and_query_count(lambda: autocomplete.suggestions(user, "har"))
    policy.block(other, user)

    assert response_and_query_count(lambda: autocomplete.suggestions(user, "har")) == before
    assert found(user, "har") == [other]


@pytest.mark.parametrize("reason", ["unknown", "is blocked", "out of bounds"])
def test_suggestions_do_not_reveal_why_user_is_missing(user, other, settings, reason):
    REASONS[reason](user, other)
    never = response_and_query_count(lambda: autocomplete.suggestions(user, "hax"))
    if reason == "out of bounds":
        with_settings(settings, RECIPIENTS=everyone_but_harry)

    assert (
        response_and_query_count(lambda: autocomplete.suggestions(user, "har"))
        == never
        == ([], never[1])
    )


# Rates


def test_suggestions_have_rate_limit(client, other, settings):
    with_settings(settings, LOOKUP_RATE="3/d")

    assert [options(client, "har") for _ in range(5)] == [["harry"]] * 3 + [[]] * 2


def test_request_without_lookup_does_not_count_towards_rate(client, other, settings):
    with_settings(settings, LOOKUP_RATE="1/d")
    for _ in range(3):
        options(client, "h")
        client.post(WRITE, form_of(client, **{"pm-field": "subject"}, to="harry"), headers=HTMX)

    assert options(client, "har") == ["harry"]


def test_each_validated_name_counts_towards_rate(client, other, settings):
    with_settings(settings, LOOKUP_RATE="4/d")

    assert check(client, "harry, a1, a2, a3") != []
    after = [check(client, name) for name in ("harry", "nobody")]

    assert after[0] == after[1] != []
    assert "harry" not in after[0][0]
    assert options(client, "har") == []


def test_failed_form_counts_towards_rate(client, other, settings):
    """Any error in the form reveals whether the recipients exist, so it counts as a lookup."""
    with_settings(settings, LOOKUP_RATE="2/d")

    client.post(WRITE, form_of(client, to="nobody"))
    client.post(WRITE, form_of(client, to="harry", message=""))
    page = client.post(WRITE, form_of(client, to="harry"))

    assert page.status_code == 200
    assert "You’ve looked up too many names." in " ".join(texts(page, ".errorlist"))
    assert not Message.objects.exists()
    assert form_of(client, to="harry")["to"] == "harry"


def test_sent_letter_does_not_count_towards_lookup_rate(client, other, settings):
    with_settings(settings, LOOKUP_RATE="1/d")

    for _ in range(4):
        assert client.post(WRITE, form_of(client, to="harry")).status_code == 302


def test_lookup_rate_is_per_user(client, user, other, settings):
    with_settings(settings, LOOKUP_RATE="1/d")

    for browser, typed, name in ((client, "har", "harry"), (browser_of(other), "sal", "sally")):
        assert options(browser, typed) == [name]
        assert options(browser, typed) == []


CACHES = ["dummy.DummyCache", "locmem.LocMemCache"]


@pytest.mark.parametrize("cache", CACHES)
def test_lookup_rate_holds_with_any_cache(user, settings, cache):
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{cache}"}}
    with_settings(settings, LOOKUP_RATE="20/d")

    allowed = run_concurrently([lambda: throttling.allow_lookups(user)] * 60)

    # Never more. In a race for the last lookup, both requests may be refused.
    assert 20 - CONNECTIONS < sum(allowed) <= 20


def test_failing_cache_is_logged_and_rate_still_holds(user, settings, caplog):
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}
    with_settings(settings, LOOKUP_RATE="2/d")

    assert [throttling.allow_lookups(user) for _ in range(3)] == [True, True, False]
    assert "did not count" in caplog.text


class BrokenCache:
    """A cache whose server is down."""

    def __init__(self, location, params):
        pass

    def add(self, *args, **kwargs):
        raise OSError("connection refused")

    def close(self, **kwargs):
        pass


def test_lookup_rate_is_shared_through_cache(user, settings, monkeypatch):
    """Two processes have their own counts, and share the cache."""
    with_settings(settings, LOOKUP_RATE="3/d")

    allowed = []
    for _ in range(4):
        monkeypatch.setattr(throttling, "_process_counter", throttling.ProcessCounter())
        allowed.append(throttling.allow_lookups(user))

    assert allowed == [True, True, True, False]


def test_process_counter_keeps_latest_users(user, monkeypatch):
    monkeypatch.setattr(throttling, "MAX_USERS", 2)
    counter = throttling.ProcessCounter()

    assert [counter.add(key, 1) for key in "abacab"] == [1, 1, 2, 1, 3, 1]
