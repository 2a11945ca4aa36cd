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


def all_users():
    return get_user_model()._default_manager.all()


def found(*names):
    return {name: user.username for name, user in find_by_username(all_users(), names).items()}


def can_log_in(name):
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
def test_find_by_username_matches_log_in(db, stored, typed):
    person(stored)

    assert bool(found(typed)) == can_log_in(typed)


@pytest.mark.parametrize("typed", ["\ufb01sh", "ｆ"])
def test_unnormalized_username_is_found(db, typed):
    person(typed)

    assert found(typed) == {typed: typed}


def test_normalized_username_is_preferred(db):
    person("fish")
    person("\ufb01sh2")

    assert found("\ufb01sh", "\ufb01sh2") == {"\ufb01sh": "fish", "\ufb01sh2": "\ufb01sh2"}


def test_case_sensitivity_follows_database(db):
    person("harry")

    assert found("Harry", "harry", "nobody") == {
        "harry": "harry",
        **({"Harry": "harry"} if FOLDS_CASE else {}),
    }


@pytest.mark.parametrize("count", [1, 20, BATCH_SIZE])
def test_names_take_one_query(db, count):
    people = [person(f"person-{number}") for number in range(3)]
    names = [f"person-{number}" for number in range(count)]

    with CaptureQueriesContext(connection) as queries:
        assert len(find_by_username(all_users(), names)) == min(count, len(people))

    assert len(queries) == 1


def test_more_names_than_batch_size_are_found(db):
    person("person-0")
    person(f"person-{BATCH_SIZE}")
    names = [f"person-{number}" for number in range(BATCH_SIZE + 5)]

    assert set(found(*names)) == {"person-0", f"person-{BATCH_SIZE}"}


@pytest.mark.parametrize("name", ["", " ", "\x00", "\ud800", "x" * 100_000, "'\"\\", "a\nb"])
def test_invalid_name_is_not_found(user, name):
    assert found(name) == {}


# A manager with its own comparison


@pytest.fixture
def folding(monkeypatch):
    """Log-in without regard to case, by the manager."""

    def get_by_natural_key(self, username):
        return self.get(username__iexact=username)

    monkeypatch.setattr(UserManager, "get_by_natural_key", get_by_natural_key, raising=False)


def test_custom_natural_key_is_used(db, folding):
    person("Harry")

    assert authenticate(username="hARRY", password="secret")
    assert found("hARRY", "nobody") == {"hARRY": "Harry"}


def test_query_count_does_not_reveal_existing_users(user, other, folding):
    policy.block(other, user)
    counts = set()
    for name in ("harry", "nobody", "HARRY", "NOBODY"):
        with CaptureQueriesContext(connection) as queries:
            assert policy.find_recipients(user, [name]) == {}
        counts.add(len(queries))

    assert len(counts) == 1


def test_ambiguous_natural_key_is_not_found(db, folding):
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
def test_recipient_in_several_spellings_gets_one_letter(user, to):
    zoe = person("zo\u00e9")

    assert write(user, to).status_code == 302
    assert Message.objects.filter(user=zoe).count() == 1


@pytest.mark.parametrize("is_folding", [False, True])
def test_recipient_in_two_cases_gets_one_letter(user, other, request, is_folding):
    if is_folding:
        request.getfixturevalue("folding")
    response = write(user, "harry, HARRY")

    # If log-in distinguishes the two, the second one is Harry's display name.
    assert response.status_code == 302
    assert Message.objects.filter(user=other).count() == 1


def test_own_name_in_other_spelling_is_rejected(user, folding):
    for name in ("sally", "SALLY", "ｓally"):
        assert "You can’t send a message to yourself." in write(user, name).text
    assert not Message.objects.exists()
