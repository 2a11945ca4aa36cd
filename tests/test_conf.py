"""The settings of the app."""

from dataclasses import FrozenInstanceError, fields
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import InterfaceError, OperationalError
from django.test import override_settings

from persistent_messages.conf import Config, get_config

NUMBERS = {
    "PAGE_SIZE": 25,
    "STRIP_LIMIT": 10,
    "COUNTER_LIMIT": 99,
    "SEARCH_WINDOW": 5000,
    "TRASH_DAYS": 30,
    "BROADCAST_REFRESH": 10,
    "LIVE_CONNECTIONS": 10,
    "MAX_RECIPIENTS": 20,
    "MESSAGE_LENGTH": 10_000,
}
DEFAULTS = {
    **NUMBERS,
    "LETTERS": False,
    "RECIPIENTS": "persistent_messages.letters.policy.active_users",
    "MAILBOX_NAME": "persistent_messages.users.names.mailbox_name",
    "SEND_RATE": "30/h",
    "LOOKUP_RATE": "120/m",
    "SUGGEST": "persistent_messages.letters.autocomplete.suggest",
    "MAIL_REPLY_TO": False,
    "SITE_URL": "",
    "EMAIL_DELAY": timedelta(minutes=15),
    "DIGEST_HOUR": 7,
    "MAIL_JOURNAL": "",
    "MAIL_LETTERS": "unread",
    "MARKDOWN": False,
    "CHANNELS": (
        "persistent_messages.delivery.MailChannel",
        "persistent_messages.delivery.LiveChannel",
    ),
    "LIVE": "",
    "LANGUAGE_OF": "persistent_messages.users.languages.active_language",
    "STRIP_LETTERS": False,
    "PLAIN_PAGES": "persistent_messages.http.admin_pages.is_admin_page",
}


def test_setting_is_optional(settings):
    del settings.PERSISTENT_MESSAGES
    assert get_config() == Config()
    assert {field.name: getattr(get_config(), field.name) for field in fields(Config)} == DEFAULTS


def test_each_key_is_optional(settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 5}
    assert get_config() == Config(PAGE_SIZE=5)
    assert get_config().STRIP_LIMIT == 10


@pytest.mark.parametrize("key", NUMBERS)
def test_each_key_is_used(settings, key):
    settings.PERSISTENT_MESSAGES = {key: 1}
    assert getattr(get_config(), key) == 1


def test_settings_are_read_at_each_call():
    before = get_config()
    with override_settings(PERSISTENT_MESSAGES={"PAGE_SIZE": 7}):
        assert get_config().PAGE_SIZE == 7
    assert get_config() == before


def test_mutated_dict_is_read_again(settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 7}
    settings.PERSISTENT_MESSAGES["PAGE_SIZE"] = 8
    assert get_config().PAGE_SIZE == 8


@pytest.mark.parametrize("key", ["PAGESIZE", "page_size", "", 5])
def test_unknown_key_is_named_in_error(settings, key):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 5, key: 5}
    with pytest.raises(ImproperlyConfigured) as error:
        get_config()
    assert f"PERSISTENT_MESSAGES has an unknown key {key!r}" in str(error.value)
    assert all(known in str(error.value) for known in DEFAULTS)


def add(one, other):
    return one + other


@pytest.mark.parametrize("callback", [add, "tests.test_conf.add"])
def test_callback_may_be_function_or_dotted_path(settings, callback):
    settings.PERSISTENT_MESSAGES = {"RECIPIENTS": callback}
    assert get_config().call("RECIPIENTS", 2, 3) == 5


@pytest.mark.parametrize(
    ("callback", "arguments", "words"),
    [
        (add, (1, "a"), "TypeError"),
        (add, (), "TypeError"),
        ("tests.test_conf.nothing", (), "nothing"),
        ("nowhere.nothing", (), "nowhere"),
    ],
)
def test_failing_callback_is_named_in_error(settings, callback, arguments, words):
    settings.PERSISTENT_MESSAGES = {"RECIPIENTS": callback}
    with pytest.raises(ImproperlyConfigured) as error:
        get_config().call("RECIPIENTS", *arguments)
    assert "PERSISTENT_MESSAGES['RECIPIENTS'] failed" in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize("value", [0, -1, None, "10", 1.5, True, [5]])
@pytest.mark.parametrize("key", NUMBERS)
def test_invalid_number_is_named_in_error(settings, key, value):
    settings.PERSISTENT_MESSAGES = {key: value}
    with pytest.raises(ImproperlyConfigured) as error:
        get_config()
    assert f"PERSISTENT_MESSAGES[{key!r}]" in str(error.value)
    assert "at least 1" in str(error.value)
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("value", [None, [], "PAGE_SIZE", 5])
def test_setting_must_be_dict(settings, value):
    settings.PERSISTENT_MESSAGES = value
    with pytest.raises(ImproperlyConfigured, match="PERSISTENT_MESSAGES must be a dict"):
        get_config()


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, SynchronousOnlyOperation])
def test_database_error_in_callback_is_raised_unchanged(settings, error):
    """The callers handle these errors."""

    def fails(request):
        raise error("no")

    settings.PERSISTENT_MESSAGES = {"PLAIN_PAGES": fails}
    with pytest.raises(error):
        get_config().call("PLAIN_PAGES", None)


def test_config_is_immutable():
    with pytest.raises(FrozenInstanceError):
        get_config().PAGE_SIZE = 5


def test_config_takes_keyword_arguments_only():
    with pytest.raises(TypeError):
        Config(5)


@pytest.mark.parametrize(
    ("rate", "limit", "period"),
    [
        ("1/s", 1, timedelta(seconds=1)),
        ("5/m", 5, timedelta(minutes=1)),
        ("30/h", 30, timedelta(hours=1)),
        ("200/d", 200, timedelta(days=1)),
    ],
)
def test_rate_has_limit_and_period(settings, rate, limit, period):
    settings.PERSISTENT_MESSAGES = {"SEND_RATE": rate}
    assert get_config().rate == (limit, period)


def test_rate_of_none_means_no_limit(settings):
    settings.PERSISTENT_MESSAGES = {"SEND_RATE": None}
    assert get_config().rate is None


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        *[
            ("SEND_RATE", rate, "None")
            for rate in ("", "30", "0/h", "x/h", "-1/h", "3/w", "²/h", 30, b"3/h")
        ],
        *[("LETTERS", value, "True or False") for value in (1, "yes", None)],
        *[("MARKDOWN", value, "True or False") for value in (0, "no", None)],
        *[
            ("RECIPIENTS", value, "a callable or its dotted path")
            for value in ("", "nobody", None, 5)
        ],
    ],
)
def test_invalid_value_of_other_type_is_named_in_error(settings, key, value, what):
    settings.PERSISTENT_MESSAGES = {key: value}
    with pytest.raises(ImproperlyConfigured) as error:
        get_config()
    assert f"PERSISTENT_MESSAGES[{key!r}] must be" in str(error.value)
    assert what in str(error.value)
    assert repr(value) in str(error.value)


def test_equal_value_of_other_type_is_still_rejected(settings):
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": 1}
    assert get_config().PAGE_SIZE == 1

    for wrong in (True, 1.0, [1]):
        settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": wrong}
        with pytest.raises(ImproperlyConfigured, match="PAGE_SIZE"):
            get_config()


@pytest.mark.parametrize(
    "value", ["", "memory", "postgresql", "redis://127.0.0.1:6379/1", "rediss://cache.example"]
)
def test_live_accepts_valid_addresses(settings, value):
    settings.PERSISTENT_MESSAGES = {"LIVE": value}
    assert value == get_config().LIVE


@pytest.mark.parametrize("value", [None, True, "redis", "127.0.0.1:6379", "http://cache", 5])
def test_invalid_live_address_is_named_in_error(settings, value):
    settings.PERSISTENT_MESSAGES = {"LIVE": value}
    with pytest.raises(ImproperlyConfigured, match=r"\['LIVE'\] must be the address of a Redis"):
        get_config()
