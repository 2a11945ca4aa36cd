"""What a site forgot is told at its start, with the line that mends it."""

import sys

import pytest
from django.core.checks import Error, Warning, run_checks  # noqa: A004 (Django's name for it)
from django.core.management import call_command

from persistent_messages.checks import check_site

MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
OURS = "persistent_messages.middleware.HtmxMessagesMiddleware"
HTMX = "django_htmx.middleware.HtmxMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"

urlpatterns = []  # a site without our addresses


def found():
    return [(message.id.removeprefix("persistent_messages."), message) for message in check_site()]


def only():
    """The one thing that is wrong."""
    (message,) = check_site()
    return message


def ours():
    """What the command `check` would say of us."""
    return [message for message in run_checks() if message.id.startswith("persistent_messages.")]


def test_a_right_site_hears_nothing():
    assert check_site() == []
    assert ours() == []


def test_the_checks_run_by_themselves(settings):
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

    assert [message.id for message in ours()] == ["persistent_messages.W004"]


def test_the_command_passes_on_a_right_site(capsys):
    call_command("check", fail_level="WARNING")

    assert "no issues" in capsys.readouterr().out


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Another distribution on the path, that ships packages."""

    def installed(name, *packages):
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "top_level.txt").write_text("\n".join(packages))
        (info / "RECORD").write_text("")
        monkeypatch.syspath_prepend(tmp_path)

    return installed


def test_the_distribution_of_somebody_else_with_our_import_name_is_an_error(installed):
    installed("django-persistent-messages", "persistent_messages")

    message = only()

    assert isinstance(message, Error)
    assert message.id == "persistent_messages.E001"
    assert "django-persistent-messages" in message.msg
    assert "pip uninstall django-persistent-messages" in message.hint


def test_another_distribution_does_not_matter(installed):
    installed("django-something", "something")

    assert check_site() == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"PAGE_SIZE": 0}, "PERSISTENT_MESSAGES['PAGE_SIZE']"),
        ({"COUNTER_LIMIT": "99"}, "PERSISTENT_MESSAGES['COUNTER_LIMIT']"),
        ({"STRIP_LIMIT": True}, "PERSISTENT_MESSAGES['STRIP_LIMIT']"),
        ({"PAGESIZE": 10}, "unknown key 'PAGESIZE'"),
        ({7: 10}, "unknown key 7"),
        (["PAGE_SIZE"], "must be a dict"),
        (None, "must be a dict"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(settings, value, said):
    settings.PERSISTENT_MESSAGES = value

    message = only()

    assert isinstance(message, Error)
    assert message.id == "persistent_messages.E002"
    assert said in message.msg
    assert "PERSISTENT_MESSAGES" in message.hint


@pytest.mark.parametrize("value", [{}, {"PAGE_SIZE": 1}, {"TRASH_DAYS": 365, "STRIP_LIMIT": 3}])
def test_a_right_setting_is_none(settings, value):
    settings.PERSISTENT_MESSAGES = value

    assert check_site() == []


@pytest.mark.parametrize("app", ["django_htmx", "django.contrib.messages"])
def test_a_missing_app_is_an_error(settings, app):
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != app]

    message = only()

    assert isinstance(message, Error)
    assert message.id == "persistent_messages.E003"
    assert repr(app) in message.msg
    assert message.hint == f"Add {app!r} to INSTALLED_APPS."


def test_an_app_may_be_installed_by_its_config(settings):
    settings.INSTALLED_APPS = [
        "django.contrib.messages.apps.MessagesConfig" if name == "django.contrib.messages" else name
        for name in settings.INSTALLED_APPS
    ]

    assert check_site() == []


def test_another_storage_is_a_warning(settings):
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.fallback.FallbackStorage"

    message = only()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W004"
    assert "'persistent_messages.storage.PersistentMessageStorage'" in message.hint


@pytest.mark.parametrize("middleware", [SESSIONS, AUTHENTICATION, MESSAGES, HTMX])
def test_a_missing_middleware_is_a_warning(settings, middleware):
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != middleware]

    message = only()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W005"
    assert message.hint == f"Add {middleware!r} to MIDDLEWARE."


@pytest.mark.parametrize(
    ("first", "second"),
    [(SESSIONS, MESSAGES), (AUTHENTICATION, OURS), (MESSAGES, OURS), (HTMX, OURS)],
)
def test_middleware_in_the_wrong_order_is_an_error(settings, first, second):
    others = [name for name in settings.MIDDLEWARE if name not in {first, second}]
    # The rest keeps its order: only these two are exchanged.
    before, after = (others, []) if second == OURS else ([], others)
    settings.MIDDLEWARE = [*before, second, first, *after]

    wrong = [message for id_, message in found() if id_ == "E006"]

    assert f"{second!r} stands before {first!r} in MIDDLEWARE." in [m.msg for m in wrong]
    assert f"Move {second!r} below {first!r}." in [m.hint for m in wrong]
    assert all(isinstance(message, Error) for message in wrong)


def test_a_site_need_not_have_our_middleware(settings):
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != OURS]

    assert check_site() == []


@pytest.mark.parametrize(
    "processor",
    [
        "django.contrib.messages.context_processors.messages",
        "django.template.context_processors.request",
    ],
)
def test_a_missing_context_processor_is_a_warning(settings, processor):
    (backend,) = settings.TEMPLATES
    processors = [p for p in backend["OPTIONS"]["context_processors"] if p != processor]
    settings.TEMPLATES = [{**backend, "OPTIONS": {"context_processors": processors}}]

    message = only()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W007"
    assert repr(processor) in message.msg
    assert repr(processor) in message.hint


def test_missing_addresses_are_a_warning_that_may_be_silenced(settings):
    settings.ROOT_URLCONF = __name__

    message = only()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W008"
    assert "include('persistent_messages.urls')" in message.hint
    settings.SILENCED_SYSTEM_CHECKS = ["persistent_messages.W008"]
    assert message.is_silenced()


def test_a_site_without_any_address_is_checked_too(settings):
    settings.ROOT_URLCONF = None

    assert check_site() == []


def test_all_that_is_wrong_is_told_at_once(settings):
    settings.ROOT_URLCONF = __name__
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.fallback.FallbackStorage"
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": -1}

    assert [id_ for id_, _ in found()] == ["E002", "W004", "W008"]
    assert all(message.hint for _, message in found())


def test_a_path_that_cannot_be_imported_is_named(settings):
    settings.PERSISTENT_MESSAGES = {"RECIPIENTS": "shop.nobody.knows"}

    message = only()

    assert message.id == "persistent_messages.E009"
    assert "'shop.nobody.knows'" in message.msg
    assert "QuerySet" in message.hint


def test_markdown_needs_its_libraries(settings, monkeypatch):
    settings.PERSISTENT_MESSAGES = {"MARKDOWN": True}
    assert check_site() == []

    monkeypatch.setitem(sys.modules, "nh3", None)

    message = only()
    assert message.id == "persistent_messages.E009"
    assert "nh3" in message.msg
    assert "[markdown]" in message.hint
