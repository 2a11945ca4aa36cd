"""System checks for common mistakes in a site's settings and templates, with hints to fix them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from difflib import SequenceMatcher
from importlib import import_module
from itertools import product
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.models import Manager, QuerySet
from django.http import HttpRequest
from django.template import engines
from django.template.backends.django import DjangoTemplates
from django.test import RequestFactory
from django.urls import NoReverseMatch, URLResolver, get_resolver, reverse
from django.utils.module_loading import import_string

from . import conflicts
from .conf import SETTING, SETTING_NAMES, Config, get_config
from .db import outage
from .delivery import Channel
from .live.brokers import REDIS
from .models import Message
from .notices.kinds import kinds
from .rendering.markup import MARKDOWN
from .rendering.render_cache import is_bundled
from .storage import PersistentMessageStorage
from .topics import NEVER, topics

STORAGE = "persistent_messages.storage.PersistentMessageStorage"
MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
OURS = "persistent_messages.middleware.HtmxMessagesMiddleware"
HTMX = "django_htmx.middleware.HtmxMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
PROCESSORS = (
    "django.contrib.messages.context_processors.messages",
    "django.template.context_processors.request",
)
APPS = (
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
)
HTMX_APP = "django_htmx"
SITES_APP = "django.contrib.sites"

URLS = "persistent_messages.urls"
FRAME = "persistent_messages/base.html"
CONTENT = "pm-content-stands-here"
SIMILAR = 0.85
"""The similarity from which the name of a setting counts as a misspelling of ours."""


def check_site(**_kwargs: Any) -> list[CheckMessage]:
    """Return the problems of the site, in the order in which to fix them."""
    return [
        *_check_distribution(),
        *_check_names(),
        *_check_settings(),
        *_check_apps(),
        *_check_storage(),
        *_check_middleware(settings.MIDDLEWARE),
        *_check_context_processors(),
        *_check_urls(),
        *_check_frame(),
        *_check_site_url(),
    ]


def _check_distribution() -> Iterator[CheckMessage]:
    if conflicts.is_installed():
        yield Error(conflicts.MESSAGE, hint=conflicts.HINT, id="persistent_messages.E001")


def _check_names() -> Iterator[CheckMessage]:
    for name in dir(settings):
        key = name.removeprefix(f"{SETTING}_")
        if name == SETTING or not name.isupper():
            continue
        if name != key and key in SETTING_NAMES:
            hint = f"Write {SETTING} = {{{key!r}: …}}."
        elif _is_mistyped(name) and isinstance(getattr(settings, name), Mapping):
            hint = f"Name it {SETTING}."
        else:
            continue
        yield checks.Warning(
            f"The setting {name} is no setting of persistent_messages, and is not read.",
            hint=hint,
            id="persistent_messages.W010",
        )


def _is_mistyped(name: str) -> bool:
    words = {word.removesuffix("S") for word in name.split("_")}
    named_alike = {"PERSISTENT", "MESSAGE"} <= words
    return named_alike or SequenceMatcher(None, name, SETTING).ratio() > SIMILAR


def _check_settings() -> Iterator[CheckMessage]:
    try:
        config = get_config()
    except ImproperlyConfigured as error:
        yield Error(str(error), hint=f"Correct settings.{SETTING}.", id="persistent_messages.E002")
        return
    if config.MARKDOWN:
        for path in filter(_is_missing, MARKDOWN):
            yield Error(
                f"{SETTING} needs {path!r}, which cannot be imported.",
                hint="pip install django-persistent-inbox[markdown]",
                id="persistent_messages.E009",
            )
    yield from _check_live(config)
    yield from _check_channels(config)
    yield from _check_callbacks(config)


def _check_live(config: Config) -> Iterator[CheckMessage]:
    if "://" in config.LIVE and _is_missing(REDIS):
        yield Error(
            f"{SETTING} needs {REDIS!r}, which cannot be imported.",
            hint="pip install django-persistent-inbox[live]",
            id="persistent_messages.E009",
        )
    vendor = connections[router.db_for_write(Message)].vendor
    # `psycopg.Capabilities` is new in 3.2, as is the timeout of `notifies()`.
    can_listen = vendor == "postgresql" and not _is_missing("psycopg.Capabilities")
    if config.LIVE == "postgresql" and not can_listen:
        yield Error(
            f"{SETTING}['LIVE'] is 'postgresql', but the messages are not in a PostgreSQL "
            "database that Django reaches by psycopg 3.2 or later.",
            hint="Name a Redis server, or use that database.",
            id="persistent_messages.E009",
        )


def _check_channels(config: Config) -> Iterator[CheckMessage]:
    for path in config.CHANNELS:
        try:
            kind = import_string(path)
            problem = "" if issubclass(kind, Channel) else "which is no subclass of Channel"
        except TypeError:
            problem = "which is no class"
        except Exception as error:
            problem = f"which cannot be imported ({type(error).__name__}: {error})"
        if problem:
            yield Error(
                f"{SETTING}['CHANNELS'] has {path!r}, {problem}.",
                hint="Name a subclass of persistent_messages.Channel.",
                id="persistent_messages.E009",
            )


def _is_missing(path: str) -> bool:
    try:
        return not import_string(path)
    except ImportError:
        return True


# A site's functions


def _check_callbacks(config: Config) -> Iterator[CheckMessage]:
    for field in fields(Config):
        given = getattr(config, field.name)
        if "Callback" not in str(field.type) or given == field.default:
            continue
        takes = _parameters_of(field.default)
        problem = _problem_of(given, takes)
        if problem is None and field.name == "RECIPIENTS":
            problem = _problem_of_recipients(given)
        if problem is not None:
            taking = "" if takes is None else f" ({', '.join(takes)})"
            returns = " -> QuerySet of users" if field.name == "RECIPIENTS" else ""
            yield Error(
                f"{SETTING}[{field.name!r}] is {given!r}, {problem}.",
                hint=f"Name a callable{taking}{returns}.",
                id="persistent_messages.E009",
            )


def _parameters_of(default: Any) -> tuple[str, ...] | None:
    # A site's function takes the same arguments as the app's own.
    function = import_string(default) if isinstance(default, str) else default
    return tuple(inspect.signature(function).parameters) if callable(function) else None


def _problem_of(given: Any, takes: tuple[str, ...] | None) -> str | None:
    try:
        function = import_string(given) if isinstance(given, str) else given
    except Exception as error:
        return f"which cannot be imported ({type(error).__name__}: {error})"
    if not callable(function):
        return "which is not callable"
    if inspect.iscoroutinefunction(function):
        return "which is a coroutine function"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a built-in function without a signature
        return None
    try:
        signature.bind(*(takes or ()))
    except TypeError as error:
        if takes is not None:
            return f"which cannot be called with ({', '.join(takes)}): {error}"
    return None


def _problem_of_recipients(given: Any) -> str | None:
    function = import_string(given) if isinstance(given, str) else given
    people = get_user_model()
    try:
        with _no_queries():
            found = function(_somebody())
    except Exception:
        return None
    if isinstance(found, Manager):
        found = found.all()
    if not isinstance(found, QuerySet):
        return f"which returns a {type(found).__name__} instead of a QuerySet"
    if not issubclass(found.model, people):
        return f"which returns a QuerySet of {found.model.__name__} instead of {people.__name__}"
    if found.query.is_sliced or found.query.combinator:
        return "which returns a QuerySet that cannot be filtered further"
    return None


def _somebody() -> Any:
    user = get_user_model()()
    user.pk = 0 if user.pk is None else user.pk
    return user


class _QueryRefusedError(Exception):
    """Checks must not query a database."""


@contextmanager
def _no_queries() -> Iterator[None]:
    """Refuse every query of this thread before it reaches a database, or connects to one."""

    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise _QueryRefusedError

    names = ("cursor", "chunked_cursor")
    wrappers = connections.all()
    for connection, name in product(wrappers, names):
        setattr(connection, name, refuse)
    try:
        yield
    finally:
        for connection, name in product(wrappers, names):
            delattr(connection, name)


# Installation


def _check_apps() -> Iterator[CheckMessage]:
    for name in (*APPS, *([HTMX_APP] if _has_pages() else [])):
        if not apps.is_installed(name):
            yield Error(
                f"{name!r} is missing from INSTALLED_APPS.",
                hint=f"Add {name!r} to INSTALLED_APPS.",
                id="persistent_messages.E003",
            )


def _check_storage() -> Iterator[CheckMessage]:
    try:
        storage = import_string(settings.MESSAGE_STORAGE)
        is_one = issubclass(storage, PersistentMessageStorage)
    except Exception:
        is_one = False
    if not is_one:
        yield checks.Warning(
            "MESSAGE_STORAGE is not the storage of persistent_messages: nothing is kept.",
            hint=f"Set MESSAGE_STORAGE = {STORAGE!r}, or a subclass of it.",
            id="persistent_messages.W004",
        )


def _check_middleware(middleware: Sequence[str]) -> Iterator[CheckMessage]:
    for name in (SESSIONS, AUTHENTICATION, MESSAGES, *([HTMX] if _has_pages() else [])):
        if name not in middleware:
            yield checks.Warning(
                f"{name!r} is missing from MIDDLEWARE.",
                hint=f"Add {name!r} to MIDDLEWARE.",
                id="persistent_messages.W005",
            )
    # Each of these needs what the first one has set on the request.
    orders = [(SESSIONS, MESSAGES), *((name, OURS) for name in (AUTHENTICATION, MESSAGES, HTMX))]
    for first, second in orders:
        both = first in middleware and second in middleware
        if both and middleware.index(first) > middleware.index(second):
            yield Error(
                f"{second!r} stands before {first!r} in MIDDLEWARE.",
                hint=f"Move {second!r} below {first!r}.",
                id="persistent_messages.E006",
            )


def _check_context_processors() -> Iterator[CheckMessage]:
    backends = [engine for engine in engines.all() if isinstance(engine, DjangoTemplates)]
    for name in PROCESSORS:
        if not any(name in backend.engine.context_processors for backend in backends):
            yield checks.Warning(
                f"The context processor {name!r} is missing from TEMPLATES.",
                hint=f"Add {name!r} to OPTIONS['context_processors'] of DjangoTemplates.",
                id="persistent_messages.W007",
            )


def _check_urls() -> Iterator[CheckMessage]:
    # The URLs are optional, but they cannot be reversed if they are included with a namespace.
    if settings.ROOT_URLCONF and not _has_pages() and _is_included(get_resolver()):
        yield checks.Warning(
            "The URLs of persistent_messages are included with a namespace, so they are not found.",
            hint="Use path('messages/', include('persistent_messages.urls')), without a namespace.",
            id="persistent_messages.W008",
        )


def _has_pages() -> bool:
    try:
        return bool(settings.ROOT_URLCONF and reverse("message_list"))
    except NoReverseMatch:
        return False


def _is_included(resolver: URLResolver) -> bool:
    inner = [pattern for pattern in resolver.url_patterns if isinstance(pattern, URLResolver)]
    return any(
        pattern.urlconf_module == import_module(URLS) or _is_included(pattern) for pattern in inner
    )


# The base template


def _check_frame() -> Iterator[CheckMessage]:
    backend = next((found for found in engines.all() if isinstance(found, DjangoTemplates)), None)
    if backend is not None and _has_pages() and _is_blank(backend):
        yield checks.Warning(
            f"{FRAME} does not show its block pm_content: the pages of the inbox are blank.",
            hint="Put {% block pm_content %}{% endblock %} into a block that the template which it "
            "extends has.",
            id="persistent_messages.W011",
        )


def _is_blank(backend: DjangoTemplates) -> bool:
    """Return whether the site's base template leaves out the content of a page.

    Errors are ignored, because the template is rendered without a database, a session and the
    site's middleware.
    """
    page = f'{{% extends "{FRAME}" %}}{{% block pm_content %}}{CONTENT}{{% endblock %}}'
    try:
        if is_bundled(backend.engine.get_template(FRAME)):
            return False
        with _no_queries():
            return CONTENT not in backend.from_string(page).render({}, _request())
    except Exception:
        return False


def _request() -> HttpRequest:
    """Return a request of a signed-in user for which the app makes no queries."""
    request = RequestFactory().get("/")
    request.user = _somebody()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore()
    outage.assume_outage(request, "messages")
    return request


# The mails


def _check_site_url() -> Iterator[CheckMessage]:
    try:
        config = get_config()
    except ImproperlyConfigured:  # told already
        return
    if _sends_mail(config) and not config.SITE_URL and not apps.is_installed(SITES_APP):
        yield checks.Warning(
            f"{SETTING}['SITE_URL'] is missing: mails have no links, and nobody can unsubscribe.",
            hint=f"Set it to the address of the site, or add {SITES_APP!r} to INSTALLED_APPS.",
            id="persistent_messages.W016",
        )


def _sends_mail(config: Config) -> bool:
    """Return whether settings, topics or notice classes send mail; ignores `email=True` in code."""
    letters = config.LETTERS and config.MAIL_LETTERS != NEVER
    by_topic = any(topic.mail not in (None, NEVER) for topic in topics.values())
    return letters or by_topic or any(kind.email for kind in kinds())
