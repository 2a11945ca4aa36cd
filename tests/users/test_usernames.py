"""Looking up users by typed usernames, as Django's log-in does, on each database."""

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import UserManager
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from persistent_messages.letters import policy
from persistent_messages.models import Message
from persistent_messages.users.usernames import BATCH_SIZE, find_by_username

# The spellings of "harry" and "zoé" that each database accepts.
FOLDS_CASE = connection.vendor == "mysql"


@pytest.fixture(autouse=True)
def letters_on(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True, "LOOKUP_RATE": None}


def person(username):
    # Unchanged, as in a database that another program has filled.
    new = get_user_model()(username=username)
    new.set_password("secret")
    new.save()
    return new


def everybody():
    return get_user_model()._default_manager.all()


def found(*names):
    return {name: user.username for name, user in find_by_username(everybody(), names).items()}


def logs_in(name):
    return AuthenticationForm(data={"username": name, "password": "secret"}).is_valid()


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("zo\u00e9", "zo\u00e9"),
        ("zo\u00e9", "zoe\u0301"),
        ("harry", "ｈａｒｒｙ"),
        ("fish", "\ufb01sh"),
        ("harry", "HARRY"),
        ("harry", " harry "),
        ("HARRY", "harry"),
        ("zo\u00e9", "ZOE\u0301"),
        ("harry", "harr"),
        ("harry", "harry%"),
        ("harry", "h_rry"),
    ],
)
def test_whoever_log_in_finds_is_found(db, stored, typed):
    person(stored)

    assert bool(found(typed)) == logs_in(typed)


@pytest.mark.parametrize("typed", ["\ufb01sh", "ｆ"])
def test_a_username_that_was_never_normalized_is_found_as_it_is(db, typed):
    person(typed)

    assert found(typed) == {typed: typed}


def test_the_normalized_one_comes_first(db):
    person("fish")
    person("\ufb01sh2")

    assert found("\ufb01sh", "\ufb01sh2") == {"\ufb01sh": "fish", "\ufb01sh2": "\ufb01sh2"}


def test_case_is_as_the_database_has_it(db):
    person("harry")

    assert found("Harry", "harry", "nobody") == {
        "harry": "harry",
        **({"Harry": "harry"} if FOLDS_CASE else {}),
    }


@pytest.mark.parametrize("count", [1, 20, BATCH_SIZE])
def test_all_names_take_one_query(db, count):
    people = [person(f"person-{number}") for number in range(3)]
    names = [f"person-{number}" for number in range(count)]

    with CaptureQueriesContext(connection) as queries:
        assert len(find_by_username(everybody(), names)) == min(count, len(people))

    assert len(queries) == 1


def test_more_names_than_a_query_has_columns_for(db):
    person("person-0")
    person(f"person-{BATCH_SIZE}")
    names = [f"person-{number}" for number in range(BATCH_SIZE + 5)]

    assert set(found(*names)) == {"person-0", f"person-{BATCH_SIZE}"}


@pytest.mark.parametrize("name", ["", " ", "\x00", "\ud800", "x" * 100_000, "'\"\\", "a\nb"])
def test_an_absurd_name_is_nobodys(user, name):
    assert found(name) == {}


# A manager with its own comparison


@pytest.fixture
def folding(monkeypatch):
    """Log-in without regard to case, by the manager."""

    def get_by_natural_key(self, username):
        return self.get(username__iexact=username)

    monkeypatch.setattr(UserManager, "get_by_natural_key", get_by_natural_key, raising=False)


def test_the_natural_key_of_the_site_decides(db, folding):
    person("Harry")

    assert authenticate(username="hARRY", password="secret")
    assert found("hARRY", "nobody") == {"hARRY": "Harry"}


def test_the_number_of_queries_does_not_tell_who_exists(user, other, folding):
    policy.block(other, user)
    counts = set()
    for name in ("harry", "nobody", "HARRY", "NOBODY"):
        with CaptureQueriesContext(connection) as queries:
            assert policy.find_recipients(user, [name]) == {}
        counts.add(len(queries))

    assert len(counts) == 1


def test_several_accounts_of_one_natural_key_are_nobody(db, folding):
    if FOLDS_CASE:
        return  # the database allows only one
    person("Harry")
    person("harry")

    assert found("hARRY") == {}


# The form


def write(sender, to):
    browser = Client()
    browser.force_login(sender)
    page = browser.get("/messages/write/")
    token = page.context["form"]["letter"].value()
    return browser.post("/messages/write/", {"to": to, "message": "Hello", "letter": token})


@pytest.mark.parametrize("to", ["zo\u00e9, zoe\u0301", "zoe\u0301,zo\u00e9,zoe\u0301"])
def test_one_typed_in_several_spellings_gets_one_letter(user, to):
    zoe = person("zo\u00e9")

    assert write(user, to).status_code == 302
    assert Message.objects.filter(user=zoe).count() == 1


@pytest.mark.parametrize("is_folding", [False, True])
def test_one_typed_in_two_cases_gets_one_letter(user, other, request, is_folding):
    if is_folding:
        request.getfixturevalue("folding")
    response = write(user, "harry, HARRY")

    # If log-in distinguishes the two, the second one is Harry's display name.
    assert response.status_code == 302
    assert Message.objects.filter(user=other).count() == 1


def test_ones_own_name_in_another_spelling_is_oneself(user, folding):
    for name in ("sally", "SALLY", "ｓally"):
        assert "You can’t send a message to yourself." in write(user, name).text
    assert not Message.objects.exists()
