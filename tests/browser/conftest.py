"""A real Chromium on the demo site, which is served under a strict Content Security Policy.

The mode of a page is htmx 2 (the default), htmx 4 as shipped by django-htmx, the newest final
release of htmx 4, which is in static/ and sets some headers differently, or no JavaScript.
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import Client, override_settings
from playwright.sync_api import expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from .actions import PATIENCE

HERE = Path(__file__).parent
# The headless shell is the same browser without a window, and twice as fast.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
# Without these, Chromium does not start in a sandbox, and contacts its vendor at every start.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
# Report policy violations in the console, because browsers do not always do so.
WATCH_POLICY = """
document.addEventListener("securitypolicyviolation", event => console.error(
  `policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


SCRIPTS = {
    "htmx 2": "{% htmx_script %}",
    "htmx 4": "{% htmx_script version=4 %}",
    "htmx 4 final": "<script src=\"{% static 'htmx-4.0.1.min.js' %}\" defer></script>",
}
"""How the base page loads htmx, by mode."""

expect.set_options(timeout=PATIENCE)

LEFT_OUT = pytest.StashKey[int]()
MISSING = "no Chromium: apt-get install chromium, or set CHROMIUM to the path of one"


def is_browser_installed():
    if CHROMIUM:
        return shutil.which(CHROMIUM) is not None
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()


def pytest_collection_modifyitems(config, items):
    ours = [item for item in items if HERE in item.path.parents]
    if not ours or is_browser_installed():
        return
    if os.environ.get("CI"):
        raise pytest.UsageError(MISSING)
    items[:] = [item for item in items if item not in ours]
    config.hook.pytest_deselected(items=ours)
    # One line for all of them.
    config.stash[LEFT_OUT] = len(ours)


def pytest_terminal_summary(terminalreporter, config):
    if LEFT_OUT in config.stash:
        count = config.stash[LEFT_OUT]
        terminalreporter.write_line(f"SKIPPED [{count}] tests/browser: {MISSING}", yellow=True)


@pytest.fixture(scope="session", autouse=True)
def _allow_queries_beside_playwright():
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    yield
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args, live_server):
    # Depend on the server, so that the browser closes its connections before the server stops.
    own = {"executable_path": CHROMIUM, "args": ARGUMENTS} if CHROMIUM else {}
    return {**browser_type_launch_args, **own}


@pytest.fixture(scope="session")
def live_server(django_db_setup, django_db_blocker):
    """The demo site under `default-src 'self'`; the middleware is loaded once, at its start."""
    middleware = [*django_settings.MIDDLEWARE, "tests.browser.site.strict_policy"]
    with django_db_blocker.unblock(), override_settings(MIDDLEWARE=middleware):
        server = LiveServer("localhost")
    # Static files are looked up at each request.
    with override_settings(STATICFILES_DIRS=[*django_settings.STATICFILES_DIRS, HERE / "static"]):
        yield server
    server.stop()


@dataclass
class ConsoleErrors:
    """The console messages of a test's pages; the test fails if any are left at its end."""

    lines: list[str] = field(default_factory=list)

    def watch(self, page):
        page.on("console", self.record)
        page.on("pageerror", lambda error: self.lines.append(f"error in a script: {error}"))

    def record(self, line):
        # Typing in a search aborts the request of the letter before, which htmx logs as an error. A
        # request that failed is also logged with other messages.
        aborted = ("AbortError", "htmx:afterRequest", "htmx:sendAbort", "htmx:abort")
        if line.type in ("error", "warning") and not any(map(line.text.__contains__, aborted)):
            self.lines.append(f"{line.type} in the console: {line.text}")

    def expect(self, words):
        """Remove one expected message that contains `words`."""
        found = next((line for line in self.lines if words in line), None)
        assert found is not None, f"{words!r} is not among {self.lines}"
        self.lines.remove(found)


@pytest.fixture
def console_errors():
    errors = ConsoleErrors()
    yield errors
    assert errors.lines == []


@pytest.fixture
def mode():
    """The default mode; tests for other modes are parametrized."""
    return "htmx 2"


@pytest.fixture
def base_page(settings, tmp_path):
    """Serve the demo site with a changed base template, in which `old` is replaced by `new`."""

    def base_page(old, new):
        text = (Path(settings.BASE_DIR) / "templates" / "base.html").read_text(encoding="utf-8")
        assert old in text
        (tmp_path / "base.html").write_text(text.replace(old, new), encoding="utf-8")
        [engine] = settings.TEMPLATES
        settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]

    return base_page


@pytest.fixture
def more_pages(settings):
    """Serve `/both/` with the strip and the inbox, and `/twice/` with each part twice."""
    settings.ROOT_URLCONF = "tests.browser.site"
    [engine] = settings.TEMPLATES
    folder = settings.BASE_DIR / "tests" / "browser" / "templates"
    settings.TEMPLATES = [{**engine, "DIRS": [folder, *engine["DIRS"]]}]


@pytest.fixture
def site_url(live_server):
    """Return the URL of the site; the tests of live updates override this with ASGI."""
    return live_server.url


@pytest.fixture
def open_page(new_context, site_url, console_errors, mode, request):
    """Return a function that opens a page in a new browser, in which `user` is logged in."""
    if mode in SCRIPTS:
        request.getfixturevalue("base_page")(SCRIPTS["htmx 2"], SCRIPTS[mode])

    def open_page(user=None, **device):
        script = mode != "without"
        context = new_context(base_url=site_url, java_script_enabled=script, **device)
        context.add_init_script(WATCH_POLICY)
        context.set_default_timeout(PATIENCE)
        if user is not None:
            browser = Client()
            browser.force_login(user)
            name = django_settings.SESSION_COOKIE_NAME
            cookie = {"name": name, "value": browser.cookies[name].value, "url": site_url}
            context.add_cookies([cookie])
        page = context.new_page()
        console_errors.watch(page)
        return page

    return open_page


@pytest.fixture
def visitor_page(open_page):
    """Return a page in which nobody is logged in."""
    return open_page()


@pytest.fixture
def page(open_page, user):
    """Return a page in which Sally is logged in."""
    return open_page(user)


@pytest.fixture
def other_page(open_page, other):
    """Return a page in which Harry is logged in."""
    return open_page(other)


@pytest.fixture
def three_messages(send):
    for subject in ("First", "Second", "Third"):
        send(f"The text of {subject}.", subject=subject)
