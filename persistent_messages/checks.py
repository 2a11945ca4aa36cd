"""System checks: what a site forgot, told at start with the line that mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.template import engines
from django.template.backends.django import DjangoTemplates
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from .conf import SETTING, get_config
from .text import MARKDOWN

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
    "django_htmx",
)
CLASHING = "django-persistent-messages"


def check_site(**_kwargs: Any) -> list[CheckMessage]:
    """Return what keeps the app from working on this site, in the order in which to mend it."""
    return [
        *_check_distribution(),
        *_check_settings(),
        *_check_letters(),
        *_check_apps(),
        *_check_storage(),
        *_check_middleware(settings.MIDDLEWARE),
        *_check_context_processors(),
        *_check_urls(),
    ]


def _check_distribution() -> Iterator[CheckMessage]:
    if CLASHING in packages_distributions().get("persistent_messages", ()):
        yield Error(
            f"The distribution {CLASHING} is installed too, and ships the same import name.",
            hint=f"pip uninstall {CLASHING}, then reinstall django-persistent-inbox.",
            id="persistent_messages.E001",
        )


def _check_settings() -> Iterator[CheckMessage]:
    try:
        get_config()
    except ImproperlyConfigured as error:
        yield Error(str(error), hint=f"Mend settings.{SETTING}.", id="persistent_messages.E002")


def _check_letters() -> Iterator[CheckMessage]:
    try:
        config = get_config()
    except ImproperlyConfigured:
        return  # told above
    needed = {config.RECIPIENTS: "Name a callable (user) -> QuerySet of users."}
    if config.MARKDOWN:
        needed |= dict.fromkeys(MARKDOWN, "pip install django-persistent-inbox[markdown]")
    for path, hint in needed.items():
        if not _can_import(path):
            yield Error(
                f"{SETTING} needs {path!r}, which cannot be imported.",
                hint=hint,
                id="persistent_messages.E009",
            )


def _can_import(path: str) -> bool:
    try:
        return bool(import_string(path))
    except ImportError:
        return False


def _check_apps() -> Iterator[CheckMessage]:
    for name in APPS:
        if not apps.is_installed(name):
            yield Error(
                f"{name!r} is missing from INSTALLED_APPS.",
                hint=f"Add {name!r} to INSTALLED_APPS.",
                id="persistent_messages.E003",
            )


def _check_storage() -> Iterator[CheckMessage]:
    if settings.MESSAGE_STORAGE != STORAGE:
        yield checks.Warning(
            "MESSAGE_STORAGE is not the storage of persistent_messages: nothing is kept.",
            hint=f"Set MESSAGE_STORAGE = {STORAGE!r}, unless yours is a subclass of it.",
            id="persistent_messages.W004",
        )


def _check_middleware(middleware: Sequence[str]) -> Iterator[CheckMessage]:
    for name in (SESSIONS, AUTHENTICATION, MESSAGES, HTMX):
        if name not in middleware:
            yield checks.Warning(
                f"{name!r} is missing from MIDDLEWARE.",
                hint=f"Add {name!r} to MIDDLEWARE.",
                id="persistent_messages.W005",
            )
    # Each needs what the one before it left on the request.
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
    if not settings.ROOT_URLCONF:
        return
    try:
        reverse("message_list")
    except NoReverseMatch:
        yield checks.Warning(
            "The pages of persistent_messages are not in the URLconf: nothing links to the inbox.",
            hint="Add path('messages/', include('persistent_messages.urls')) without a namespace; "
            "or silence this check, since everything but the pages works without them.",
            id="persistent_messages.W008",
        )
