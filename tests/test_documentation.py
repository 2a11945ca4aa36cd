"""Run the code blocks of the documentation.

Each page is a site. Blocks that name a file are its modules, settings and templates. Other blocks
are run in their order, with the names in `known`. Functions are called, test cases are run, and
templates are rendered.
"""

import ast
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import unittest
from copy import deepcopy
from datetime import timedelta
from functools import partial
from types import ModuleType, SimpleNamespace

import celery
import dj_database_url
import django
import pytest
import uvicorn
from asgiref.sync import async_to_sync
from django.conf import settings as current_settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command, get_commands, load_command_class
from django.db import transaction
from django.dispatch import Signal
from django.http import HttpResponse
from django.template import engines
from django.test import RequestFactory
from django.utils import timezone
from django.utils.module_loading import import_string

import persistent_messages
from persistent_messages import signals, topics
from persistent_messages.checks import check_site
from persistent_messages.notices import Notice, audiences, kinds
from persistent_messages.notices.checks import check_notices
from persistent_messages.storage import PersistentMessageStorage

from .documentation import BLOCKS, PAGES, ROOT, blocks_in, name_of, read

PACKAGE = ROOT / "persistent_messages"
LANGUAGES = {"python", "django", "html", "css", "js", "sh", "sql", "text"}

# Tests run these elsewhere, where they can work.
RUN_ELSEWHERE = {
    "docs/quickstart.md": "test_quickstart_leads_from_empty_project_to_inbox",
    "docs/growing.md": "tests/test_growing.py, tests/test_replicas.py",
}
# The receivers that a site connects before its first request.
OF_CONNECTIONS = {"DATABASES", "DATABASE_ROUTERS", "CACHES", "SESSION_ENGINE"}
# The context of the templates on a page.
LOADED = "{% load django_htmx i18n persistent_messages static %}"


# Replaces a broker and workers.
celery.current_app.conf.task_always_eager = True


def ids(things):
    return [str(thing) for thing in things]


# The pages


@pytest.mark.parametrize("block", BLOCKS, ids=ids(BLOCKS))
def test_block_names_known_language(block):
    assert block.language in LANGUAGES


SITES = [
    name_of(page)
    for page in PAGES
    if any(block.page == name_of(page) for block in blocks_in("python", "django"))
    and name_of(page) not in RUN_ELSEWHERE
]


@pytest.fixture
def restore_registrations():
    """Remove everything that a page registered."""
    registered = dict(admin.site._registry)
    senders = [value for value in vars(signals).values() if isinstance(value, Signal)]
    known = [
        topics.topics,
        kinds.classes,
        audiences.registered,
        *(signal.receivers for signal in senders),
    ]
    before = [each.copy() for each in known]
    yield
    # Django replaces this one when INSTALLED_APPS changes.
    known, before = [*known, admin.site._registry], [*before, registered]
    for each, old in zip(known, before, strict=True):
        each.clear()
        each.update(old) if isinstance(each, dict) else each.extend(old)
    for signal in senders:
        signal.sender_receivers_cache.clear()


class Site:
    """The site that the blocks of one page define."""

    def __init__(self, settings, monkeypatch):
        self.settings, self.monkeypatch = settings, monkeypatch
        self.modules, self.templates = [], {}

    def add(self, block):
        """Add a module or a template."""
        if block.language == "django":
            self.templates[block.path.removeprefix("templates/")] = block.text
        else:
            self.module(block)

    def set(self, block):
        """Apply a block of settings on top of those of the demo."""
        upper = [name for name in dir(current_settings) if name.isupper()]
        before = {name: getattr(current_settings, name, None) for name in upper}
        given = {
            name: deepcopy(value) if isinstance(value, (list, dict)) else value
            for name, value in before.items()
        }
        names = {"os": os, "dj_database_url": dj_database_url, "BASE_DIR": ROOT, **given}
        run(block, names)
        for name in ("INSTALLED_APPS", "MIDDLEWARE"):  # the demo has ours, too
            names[name] = list(dict.fromkeys(names[name]))
        for path in names["MIDDLEWARE"]:
            assert import_string(path)
        for name in names.keys() - {"BASE_DIR"} - OF_CONNECTIONS:
            if name.isupper() and names[name] != before.get(name):
                setattr(self.settings, name, names[name])

    def module(self, block):
        """Import a block as a module."""
        name = block.path.removesuffix(".py").replace("/", ".")
        if (module := sys.modules.get(name)) in self.modules:  # the block continues
            run(block, vars(module))
            return
        package, _, last = name.rpartition(".")
        module = ModuleType(name)
        module.__package__ = package
        self.monkeypatch.setitem(sys.modules, name, module)
        if package:
            parent = sys.modules.get(package)
            if parent is None:
                parent = ModuleType(package)
                parent.__path__ = []
                self.monkeypatch.setitem(sys.modules, package, parent)
            setattr(parent, last, module)
        run(block, vars(module))
        self.modules.append(module)

    def use_urls(self):
        """Use the URLconf of the page, if it has one."""
        for module in self.modules:
            if module.__name__.endswith(".urls"):
                self.settings.ROOT_URLCONF = module.__name__

    def use_templates(self):
        """Put the templates of the page before those of the demo."""
        (engine,) = current_settings.TEMPLATES
        loaders = [
            ("django.template.loaders.locmem.Loader", self.templates),
            "django.template.loaders.filesystem.Loader",
            "django.template.loaders.app_directories.Loader",
        ]
        options = {**engine["OPTIONS"], "loaders": loaders}
        self.settings.TEMPLATES = [{**engine, "APP_DIRS": False, "OPTIONS": options}]


def run(block, names):
    """Execute a block, so that tracebacks have the lines of the page."""
    tree = ast.parse(block.text)
    ast.increment_lineno(tree, block.line)
    exec(compile(tree, block.page, "exec"), names)


def usable(block):
    """Return whether the installed Django is new enough; if not, the block is only parsed."""
    if django.VERSION[:2] >= block.django:
        return True
    ast.parse(block.text)
    return False


@pytest.fixture
def known_names(user, other, client, rf, db):
    """Return the names that pages use without defining them."""
    request = RequestFactory().post("/")
    request.session, request.user = SessionStore(), user
    request._messages = PersistentMessageStorage(request)
    persistent_messages.send_message(other, persistent_messages.INFO, "Hello")
    ida = get_user_model().objects.create_user("ida", "ida@example.com", "secret")
    return {
        "request": request,
        "user": user,
        "users": get_user_model().objects.all(),
        "user_id": user.pk,
        "sally": user,
        "harry": other,
        "ida": ida,
        "seller": other,
        "invited": [other],
        "team": SimpleNamespace(pk=7, get_absolute_url=lambda: "/teams/7/"),
        "sunday": timezone.now() + timedelta(days=3),
        "monday": timezone.now() + timedelta(days=4),
        "text": "Hello",
        "keys": [],
        "sent": 10_000,
        "message": other.persistent_messages.get(),
        "client": client,
        "rf": rf,
    }


@pytest.mark.parametrize("name", SITES)
@pytest.mark.usefixtures("restore_registrations")
def test_code_of_page_runs(
    name, known_names, settings, monkeypatch, django_capture_on_commit_callbacks
):
    site, names = Site(settings, monkeypatch), dict(known_names)
    blocks = [b for b in blocks_in("python", "django") if b.page == name and usable(b)]
    files = [block for block in blocks if block.path]
    for block in files:
        if not block.path.endswith("settings.py"):
            site.add(block)
    site.use_urls()
    site.use_templates()
    assert site_problems() | {*check_notices()} == set()
    for block in files:
        if block.path.endswith("settings.py"):
            site.set(block)
            assert site_problems() == set()
    committed = partial(django_capture_on_commit_callbacks, execute=True)
    with committed():
        for block in blocks:
            if block.language == "python" and not block.path:
                run(block, names)
    for found in (names, *map(vars, site.modules)):
        for called in callables_of(found):
            with transaction.atomic():
                with committed():
                    call_definition(called, known_names)
                transaction.set_rollback(True)
    for path in site.templates:
        render(f'{{% include "{path}" %}}', known_names)
    for block in blocks:
        if block.language == "django" and not block.path:
            render(LOADED + block.text, known_names)


def site_problems():
    """Return the problems of the site, apart from its URL, which no page of the guides sets."""
    return {message.id for message in check_site()} - {"persistent_messages.W016"}


def callables_of(names):
    """Return the functions, test cases and notices that the blocks defined."""
    for name, value in list(names.items()):
        if isinstance(value, type):
            is_case = issubclass(value, unittest.TestCase)
            if (is_case and value.__module__ == names.get("__name__")) or is_notice(value):
                yield value
        elif is_defined_here(value, names) and not name.startswith("_"):
            yield value


def is_notice(value):
    return issubclass(value, Notice) and value is not Notice


def call_definition(called, known_names):
    if not isinstance(called, type):
        call(called, known_names)
    elif is_notice(called):
        if not (callable(called.url) or callable(called.key)):  # these need more than text
            assert called.sample().preview().message
    else:
        run_case(called)


def is_defined_here(value, names):
    function = inspect.unwrap(getattr(value, "run", None) or getattr(value, "func", None) or value)
    return inspect.isfunction(function) and function.__globals__ is names


def call(function, known_names):
    function = getattr(function, "func", function)  # of a Django task
    takes = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    if "sender" in takes:  # it was called when its signal was sent
        return
    arguments = {name: known_names[name] for name in takes}
    run_it = async_to_sync(function) if inspect.iscoroutinefunction(function) else function
    result = run_it(**arguments)
    if takes == ["request"]:
        assert result is None or isinstance(result, HttpResponse)


def run_case(case):
    result = unittest.TestResult()
    for test in unittest.defaultTestLoader.loadTestsFromTestCase(case):
        test(result)  # one by one: the end of a class would close the connection
    assert result.testsRun > 0
    assert [*result.errors, *result.failures] == []


def render(source, known_names):
    request = RequestFactory().get("/")
    request.session, request.user = SessionStore(), known_names["user"]
    request._messages = PersistentMessageStorage(request)
    return engines["django"].from_string(source).render(dict(known_names), request)


# Other languages


@pytest.mark.parametrize("block", blocks_in("html"), ids=ids(blocks_in("html")))
def test_htmx_configuration_equals_that_of_app(block):
    given = re.findall("name=\"htmx-config\" content='(.*?)'", block.text)
    frame = (PACKAGE / "templates" / "persistent_messages" / "base.html").read_text("utf-8")
    assert all(json.loads(each) and each in frame for each in given)


@pytest.mark.parametrize("block", blocks_in("css"), ids=ids(blocks_in("css")))
def test_css_names_exist_in_style_sheet(block):
    sheet = (PACKAGE / "static/persistent_messages/persistent_messages.css").read_text("utf-8")
    names = {*re.findall(r"--pm-[\w-]+", block.text), *re.findall(r"\.pm-[\w-]+", block.text)}
    assert block.text.count("{") == block.text.count("}")
    assert {name for name in names if name not in sheet} == set()


@pytest.mark.parametrize("block", blocks_in("js"), ids=ids(blocks_in("js")))
def test_events_in_scripts_exist_in_app(block):
    sources = [*PACKAGE.rglob("*.js"), *PACKAGE.rglob("*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in sources)
    events = re.findall(r'"(pm:\w+)"', block.text)
    assert events
    assert all(f'"{event}"' in source for event in events)


def commands_of(block):
    """Yield the commands in a block of shell lines as lists of words."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for part in re.split(r"[|<>]", line.partition("#")[0]):
            words = shlex.split(part)
            while words and re.match(r"[A-Z_]+=", words[0]):
                del words[0]
            if words:
                yield words


@pytest.mark.django_db
@pytest.mark.parametrize("block", blocks_in("sh"), ids=ids(blocks_in("sh")))
def test_shell_commands_exist(block, django_user_model):
    django_user_model.objects.create(username="sally")  # named by some of the commands
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
    assert done.stderr == ""
    for words in commands_of(block):
        check_command(words)


def check_command(words):
    match words:
        case ["python", "manage.py", name, *arguments]:
            parse_arguments(name, arguments)
        case ["django-admin", name, *arguments]:
            parse_arguments(name, arguments)
        case ["python3", "dev.py", name, *_]:
            assert f'"{name}": {name},' in read("dev.py")
        case ["python", "-m", "pip", "install" | "uninstall", *packages]:
            assert packages
            for package in packages:
                check_package(package)
        case ["python", "-m", "pytest", *_]:
            pass
        case ["uvicorn", _application, *options]:
            assert uvicorn.main.make_context("uvicorn", [_application, *options])
        case ["gunicorn", module]:
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists()
        case ["export", *settings]:
            assert all("=" in each for each in settings)
        case [name, *_]:
            # Names of files, and the programs of PostgreSQL.
            assert name == "psql" or re.fullmatch(r"[\w-]+\.(jsonl|py|sql)", name), words


def parse_arguments(name, arguments):
    app = get_commands()[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    parser = command.create_parser("manage.py", name)
    parser.called_from_command_line = False  # an error is raised
    parser.parse_args(arguments)


def check_package(package):
    name, _, extra = package.rstrip("]").partition("[")
    assert name in ("django-persistent-inbox", "django-persistent-messages", "uvicorn")
    optional = re.search(
        r"\[project.optional-dependencies\]\n(.*?)\n\n", read("pyproject.toml"), re.DOTALL
    )
    assert not extra or re.search(rf"^{extra} = ", optional[1], re.MULTILINE)


# The quickstart

TRIED = """
import django
django.setup()
from pathlib import Path
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.template import engines
from django.test import Client

settings.ALLOWED_HOSTS = ["testserver"]
call_command("migrate", verbosity=0)
mary = get_user_model().objects.create_superuser("mary")

def check(frame):
    call_command("check", fail_level="WARNING")
    browser = Client(raise_request_exception=True)
    assert browser.get("/messages/").headers["Location"].startswith("/admin/login/")
    browser.force_login(mary)
    assert "Saved." not in browser.get("/").text
    page = browser.post("/", follow=True)
    assert page.redirect_chain == [("/", 302)]
    assert "Saved." in page.text and "Your card expires soon." in page.text
    assert "1 unread" in page.text
    again = browser.get("/").text
    assert "Saved." not in again and "Your card expires soon." in again
    message = mary.persistent_messages.get()
    for address in ("/messages/", f"/messages/detail/{message.pk}/"):
        page = browser.get(address).text
        assert "Your card expires soon." in page
        assert "<nav>" in page and frame in page
    message.delete()

check("<main>")
for written in Path("other").rglob("*.html"):
    (Path("templates") / written.relative_to("other")).write_text(written.read_text())
for loader in engines["django"].engine.template_loaders:
    loader.reset()
check("<section>")
"""


def test_quickstart_leads_from_empty_project_to_inbox(tmp_path):
    """Follow the page, with its base template and with one that has other block names."""
    blocks = [block for block in BLOCKS if block.page == "docs/quickstart.md" and block.path]
    call_command("startproject", "mysite", str(tmp_path))
    for block in blocks:
        path = tmp_path / block.path
        if path.exists() and "templates" in path.parts:  # the override for other names
            path = tmp_path / "other" / path.relative_to(tmp_path / "templates")
        path.parent.mkdir(parents=True, exist_ok=True)
        added = path.name == "settings.py"
        path.write_text((path.read_text() if added else "") + block.text)
    base = tmp_path / "templates" / "base.html"
    home = tmp_path / "templates" / "home.html"
    for path in (base, home):
        renamed = path.read_text().replace("block title", "block head_title")
        renamed = renamed.replace("block content", "block main")
        (tmp_path / "other" / path.name).write_text(renamed.replace("main>", "section>"))

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRIED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "mysite.settings"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
