"""System checks of a site, with hints that fix the problem."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.checks import Error, Warning, run_checks  # noqa: A004 (Django's name for it)
from django.core.management import call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import timezone

from persistent_messages import notices, send_message
from persistent_messages.checks import check_site
from persistent_messages.models import DueMail
from persistent_messages.storage import PersistentMessageStorage

MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
OURS = "persistent_messages.middleware.HtmxMessagesMiddleware"
HTMX = "django_htmx.middleware.HtmxMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"

ROOT = Path(__file__).parents[1]
SITE = {"SITE_URL": "https://example.org"}

urlpatterns = []  # a site without our addresses


@pytest.fixture(autouse=True)
def _site(settings):
    settings.PERSISTENT_MESSAGES = settings.PERSISTENT_MESSAGES | SITE


def found():
    return [(message.id.removeprefix("persistent_messages."), message) for message in check_site()]


def only_problem():
    """Return the only problem."""
    (message,) = check_site()
    return message


def ours():
    """Return the messages of the command `check` about this app."""
    return [message for message in run_checks() if message.id.startswith("persistent_messages.")]


@pytest.mark.django_db  # Django's own checks may ask the database what it can
def test_valid_site_has_no_messages():
    assert check_site() == []
    assert ours() == []


@pytest.mark.django_db  # Django's own checks may ask the database what it can
def test_checks_are_registered(settings):
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

    assert [message.id for message in ours()] == ["persistent_messages.W004"]


@pytest.mark.django_db  # Django's own checks may ask the database what it can
def test_check_command_passes_for_valid_site(capsys):
    call_command("check", fail_level="WARNING")

    assert "no issues" in capsys.readouterr().out


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Another distribution on the path that ships packages."""

    def installed(name, *packages):
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "top_level.txt").write_text("\n".join(packages))
        (info / "RECORD").write_text("")
        monkeypatch.syspath_prepend(tmp_path)

    return installed


def test_conflicting_distribution_is_error(installed):
    installed("django-persistent-messages", "persistent_messages")

    message = only_problem()

    assert isinstance(message, Error)
    assert message.id == "persistent_messages.E001"
    assert "django-persistent-messages" in message.msg
    assert "pip uninstall django-persistent-messages" in message.hint


@pytest.mark.parametrize(
    "statement",
    [
        "import persistent_messages",
        "import persistent_messages.storage",
        "import django; django.setup()",
        "from django.core.management import execute_from_command_line as run; run(['', 'check'])",
    ],
)
def test_conflicting_distribution_prevents_import(installed, tmp_path, statement):
    installed("django-persistent-messages", "persistent_messages")

    done = subprocess.run(
        [sys.executable, "-c", f"import django; {statement}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "demo.settings"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("django.core.exceptions.ImproperlyConfigured: The distribution")
    assert "pip uninstall django-persistent-messages" in last


def test_other_distribution_is_ignored(installed):
    installed("django-something", "something")

    assert check_site() == []


@pytest.mark.parametrize(
    ("value", "expected_text"),
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
def test_invalid_setting_is_named_in_error(settings, value, expected_text):
    settings.PERSISTENT_MESSAGES = value

    message = only_problem()

    assert isinstance(message, Error)
    assert message.id == "persistent_messages.E002"
    assert expected_text in message.msg
    assert "PERSISTENT_MESSAGES" in message.hint


@pytest.mark.parametrize("value", [{}, {"PAGE_SIZE": 1}, {"TRASH_DAYS": 365, "STRIP_LIMIT": 3}])
def test_valid_setting_has_no_message(settings, value):
    settings.PERSISTENT_MESSAGES = SITE | value

    assert check_site() == []


@pytest.mark.parametrize("app", ["django_htmx", "django.contrib.messages"])
def test_missing_app_is_error(settings, app):
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != app]

    message = only_problem()

    assert isinstance(message, Error)
    assert message.id == "persistent_messages.E003"
    assert repr(app) in message.msg
    assert message.hint == f"Add {app!r} to INSTALLED_APPS."


def test_app_may_be_installed_by_app_config(settings):
    settings.INSTALLED_APPS = [
        "django.contrib.messages.apps.MessagesConfig" if name == "django.contrib.messages" else name
        for name in settings.INSTALLED_APPS
    ]

    assert check_site() == []


def test_other_storage_is_warning(settings):
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.fallback.FallbackStorage"

    message = only_problem()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W004"
    assert "'persistent_messages.storage.PersistentMessageStorage'" in message.hint


class CustomStorage(PersistentMessageStorage):
    """A site's own subclass of the storage."""


class UnrelatedClass:
    """Another storage."""


def test_storage_subclass_is_accepted(settings):
    settings.MESSAGE_STORAGE = f"{__name__}.CustomStorage"

    assert check_site() == []


@pytest.mark.parametrize(
    "name", [f"{__name__}.UnrelatedClass", f"{__name__}.found", "shop.nobody", "x"]
)
def test_invalid_storage_path_is_warning(settings, name):
    settings.MESSAGE_STORAGE = name

    assert only_problem().id == "persistent_messages.W004"


@pytest.mark.parametrize("middleware", [SESSIONS, AUTHENTICATION, MESSAGES, HTMX])
def test_missing_middleware_is_warning(settings, middleware):
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != middleware]

    message = only_problem()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W005"
    assert message.hint == f"Add {middleware!r} to MIDDLEWARE."


@pytest.mark.parametrize(
    ("first", "second"),
    [(SESSIONS, MESSAGES), (AUTHENTICATION, OURS), (MESSAGES, OURS), (HTMX, OURS)],
)
def test_wrong_middleware_order_is_error(settings, first, second):
    others = [name for name in settings.MIDDLEWARE if name not in {first, second}]
    # Swap only these two, and keep the order of the others.
    before, after = (others, []) if second == OURS else ([], others)
    settings.MIDDLEWARE = [*before, second, first, *after]

    wrong = [message for id_, message in found() if id_ == "E006"]

    assert f"{second!r} stands before {first!r} in MIDDLEWARE." in [m.msg for m in wrong]
    assert f"Move {second!r} below {first!r}." in [m.hint for m in wrong]
    assert all(isinstance(message, Error) for message in wrong)


def test_our_middleware_is_optional(settings):
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != OURS]

    assert check_site() == []


@pytest.mark.parametrize(
    "processor",
    [
        "django.contrib.messages.context_processors.messages",
        "django.template.context_processors.request",
    ],
)
def test_missing_context_processor_is_warning(settings, processor):
    (backend,) = settings.TEMPLATES
    processors = [p for p in backend["OPTIONS"]["context_processors"] if p != processor]
    settings.TEMPLATES = [{**backend, "OPTIONS": {"context_processors": processors}}]

    message = only_problem()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W007"
    assert repr(processor) in message.msg
    assert repr(processor) in message.hint


def test_our_urls_are_optional(settings):
    settings.ROOT_URLCONF = __name__

    assert check_site() == []


def test_namespaced_urls_are_warning(settings, monkeypatch):
    patterns = [path("messages/", include(("persistent_messages.urls", "inbox")))]
    monkeypatch.setattr(sys.modules[__name__], "urlpatterns", [path("my/", include(patterns))])
    settings.ROOT_URLCONF = __name__

    message = only_problem()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W008"
    assert "include('persistent_messages.urls')" in message.hint


def test_site_without_urlconf_is_checked(settings):
    settings.ROOT_URLCONF = None

    assert check_site() == []


def test_all_problems_are_reported_together(settings):
    settings.ROOT_URLCONF = __name__
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.fallback.FallbackStorage"
    settings.PERSISTENT_MESSAGES = {"PAGE_SIZE": -1}
    settings.PERSISTENT_MESSAGE = {"PAGE_SIZE": 1}

    assert [id_ for id_, _ in found()] == ["W010", "E002", "W004"]
    assert all(message.hint for _, message in found())


def test_path_that_cannot_be_imported_is_named(settings):
    settings.PERSISTENT_MESSAGES = SITE | {"RECIPIENTS": "shop.nobody.knows"}

    message = only_problem()

    assert message.id == "persistent_messages.E009"
    assert "'shop.nobody.knows'" in message.msg
    assert "QuerySet" in message.hint


def test_markdown_requires_its_libraries(settings, monkeypatch):
    settings.PERSISTENT_MESSAGES = SITE | {"MARKDOWN": True}
    assert check_site() == []

    monkeypatch.setitem(sys.modules, "nh3", None)

    message = only_problem()
    assert message.id == "persistent_messages.E009"
    assert "nh3" in message.msg
    assert "[markdown]" in message.hint


# The functions of a site


def people(user):
    return get_user_model().objects.filter(is_active=True)


def colleagues(user):
    return get_user_model().objects.filter(groups__in=user.groups.all())


def everybody(user, more=None):
    return get_user_model().objects


def known(user):
    """Query the database, so that the check can say nothing before there is a user."""
    return list(get_user_model().objects.all())


class People:
    def __call__(self, user):
        return people(user)


@pytest.mark.parametrize(
    "recipients",
    [
        people,
        colleagues,
        everybody,
        known,
        People(),
        f"{__name__}.people",
        lambda *users: people(0),
    ],
)
def test_valid_recipients_callable_is_accepted(settings, recipients):
    settings.PERSISTENT_MESSAGES = SITE | {"RECIPIENTS": recipients}

    assert check_site() == []


async def async_recipients(user):
    return people(user)


@pytest.mark.parametrize(
    ("recipients", "expected_text"),
    [
        (lambda: people(None), "cannot be called with (user)"),
        (lambda user, team: people(user), "cannot be called with (user)"),
        (lambda user: [], "returns a list instead of a QuerySet"),
        (lambda user: None, "returns a NoneType instead of a QuerySet"),
        (lambda user: Group.objects.all(), "returns a QuerySet of Group instead of User"),
        (lambda user: people(user)[:10], "cannot be filtered further"),
        (lambda user: people(user).union(people(user)), "cannot be filtered further"),
        (async_recipients, "is a coroutine function"),
        ("tests.test_checks.ROOT", "is not callable"),
        ("tests.test_checks.nothing", "cannot be imported"),
        (f"{__name__}.found", "cannot be called with (user)"),
    ],
)
def test_invalid_recipients_callable_is_named(settings, recipients, expected_text):
    settings.PERSISTENT_MESSAGES = SITE | {"RECIPIENTS": recipients}

    message = only_problem()

    assert isinstance(message, Error)
    assert message.id == "persistent_messages.E009"
    assert "PERSISTENT_MESSAGES['RECIPIENTS']" in message.msg
    assert expected_text in message.msg
    assert message.hint == "Name a callable (user) -> QuerySet of users."


def test_checking_callables_takes_no_query(settings, user, django_assert_num_queries):
    settings.PERSISTENT_MESSAGES = SITE | {"RECIPIENTS": known}

    with django_assert_num_queries(0):
        assert check_site() == []


# Invalid settings


@pytest.mark.parametrize(
    "name",
    [
        "PERSISTENT_MESSAGE",
        "PERSISTENT_MESSAGES_",
        "PERSISTANT_MESSAGES",
        "PERSISTENTMESSAGES",
        "PERSISTENT_MESAGES",
        "PERSISTENT_MESSAGES_SETTINGS",
        "PERSISTENT_MESSAGE_SETTINGS",
        "MESSAGES_PERSISTENT",
        "DJANGO_PERSISTENT_MESSAGES",
    ],
)
def test_misspelled_setting_is_named(settings, name):
    setattr(settings, name, {"LETTERS": True})

    message = only_problem()

    assert message.id == "persistent_messages.W010"
    assert name in message.msg
    assert message.hint == "Name it PERSISTENT_MESSAGES."


def test_key_used_as_separate_setting_is_named(settings):
    settings.PERSISTENT_MESSAGES_PAGE_SIZE = 10

    message = only_problem()

    assert message.id == "persistent_messages.W010"
    assert "PERSISTENT_MESSAGES_PAGE_SIZE" in message.msg
    assert "'PAGE_SIZE'" in message.hint


def test_other_settings_of_site_are_ignored(settings):
    settings.PERSISTENT_MESSENGERS = 3
    settings.PERSISTENT_CACHE = {"LETTERS": True}
    settings.MESSAGES = {"LETTERS": True}

    assert check_site() == []


# The frame of the pages


@pytest.fixture
def base_template(settings, tmp_path):
    """Use these texts as the site's override of base.html and the template that it extends."""

    def base_template(base_template, base="<body>{% block main %}{% endblock %}</body>"):
        (tmp_path / "persistent_messages").mkdir()
        (tmp_path / "persistent_messages" / "base.html").write_text(base_template)
        (tmp_path / "page.html").write_text(base)
        (backend,) = settings.TEMPLATES
        settings.TEMPLATES = [{**backend, "DIRS": [tmp_path, *backend["DIRS"]]}]

    return base_template


INTO = (
    "{{% extends 'page.html' %}}"
    "{{% block {} %}}{{% block pm_content %}}{{% endblock %}}{{% endblock %}}"
)
OUR_PARTS = (
    "{% load persistent_messages %}{% unread_counter %}{% block main %}{% endblock %}"
    "{% include 'persistent_messages/message/includes/bell.html' %}"
    "{% include 'persistent_messages/message/includes/messages.html' %}"
)


def test_base_template_with_missing_block_is_named(base_template):
    base_template(INTO.format("content"))

    message = only_problem()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W011"
    assert "persistent_messages/base.html" in message.msg
    assert "{% block pm_content %}" in message.hint


@pytest.mark.parametrize("text", ["", "<main>Nothing</main>", "{% extends 'page.html' %}"])
def test_base_template_without_our_block_is_named(base_template, text):
    base_template(text)

    assert only_problem().id == "persistent_messages.W011"


@pytest.mark.parametrize(
    "base",
    [
        "{% block main %}{% endblock %}",
        OUR_PARTS,
        "{% if user.is_authenticated %}{% block main %}{% endblock %}{% endif %}",
        "{% if not request.htmx %}{% csrf_token %}{% block main %}{% endblock %}{% endif %}",
        "{{ request.session.seen }}{{ request.tenant.name }}{% block main %}{% endblock %}",
    ],
)
def test_base_template_that_shows_block_is_accepted(
    base_template, user, django_assert_num_queries, base
):
    base_template(INTO.format("main"), base)

    with django_assert_num_queries(0):
        assert check_site() == []


@pytest.mark.parametrize(
    "base",
    [
        "{% url 'nowhere' %}",
        "{% include 'nothing.html' %}",
        "{% for group in user.groups.all %}{{ group }}{% endfor %}",
        "{% no_such_tag %}",
    ],
)
def test_error_in_base_template_is_ignored(base_template, user, django_assert_num_queries, base):
    base_template(INTO.format("content"), base)

    with django_assert_num_queries(0):
        assert check_site() == []


def test_site_without_our_urls_needs_no_base_template(base_template, settings):
    base_template(INTO.format("content"))
    settings.ROOT_URLCONF = __name__

    assert check_site() == []


# Mail


def test_mail_without_site_url_is_warning(settings, register):
    register(news={"mail": "never"})
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}

    message = only_problem()

    assert isinstance(message, Warning)
    assert message.id == "persistent_messages.W016"
    assert "SITE_URL" in message.msg
    assert "django.contrib.sites" in message.hint


@pytest.fixture(autouse=True)
def _no_notices(monkeypatch):
    """Forget the classes of the site, and of other tests; some are mailed."""
    monkeypatch.setattr(notices.kinds, "classes", [])


@pytest.mark.parametrize(
    ("mail", "value", "warned"),
    [
        ("now", {}, True),
        (None, {}, False),
        ("never", {}, False),
        (None, {"LETTERS": True, "MAIL_LETTERS": "never"}, False),
        ("now", SITE, False),
    ],
)
def test_site_url_is_required_only_for_mail(settings, register, mail, value, warned):
    register(news={"mail": mail})
    settings.PERSISTENT_MESSAGES = value

    assert [message.id for message in check_site()] == ["persistent_messages.W016"] * warned


def test_mailed_notice_requires_site_url(settings, register):
    register(news={})
    settings.PERSISTENT_MESSAGES = {}
    assert check_site() == []

    type("Mailed", (notices.Notice,), {"message": "Hello", "email": True})

    assert only_problem().id == "persistent_messages.W016"


def test_sites_framework_replaces_site_url(settings):
    settings.PERSISTENT_MESSAGES = {"LETTERS": True}
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.sites"]

    assert check_site() == []


def checked_with(database):
    """Return the messages about mail of `check --database default`."""
    found = run_checks(tags=["database"], databases=[database])
    return [message for message in found if message.id == "persistent_messages.W017"]


def test_overdue_mail_is_warning_in_database_check(user, register):
    register(news={"mail": "unread"})
    send_message(user, 120, "Hello", topic="news")
    due = timezone.now() - timedelta(minutes=59)
    DueMail.objects.update(due=due)
    assert checked_with("default") == []

    DueMail.objects.update(due=due - timedelta(minutes=2))

    (message,) = checked_with("default")
    assert isinstance(message, Warning)
    assert "send_due_mail" in message.hint
    assert message.id not in [each.id for each in ours()]


@pytest.mark.django_db(transaction=True)
def test_database_check_works_before_first_migration():
    with connection.schema_editor() as editor:
        editor.delete_model(DueMail)
    try:
        assert checked_with("default") == []
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(DueMail)


def test_database_without_messages_is_not_queried(db, other_database):
    other_database("old")
    with CaptureQueriesContext(connections["old"]) as queries:
        assert checked_with("old") == []
    assert [query for query in queries if "duemail" in query["sql"]] == []
