"""A real Chromium on the demo site, which is served under a strict Content Security Policy.

`mode` says how a page works: with htmx 2 (the default), with htmx 4 as django-htmx ships it, with
the newest final htmx 4, which lies in static/ and sets some headers otherwise, or without
JavaScript.
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import Client, override_settings
from playwright.sync_api import sync_playwright
from pytest_django.live_server_helper import LiveServer

HERE = Path(__file__).parent
# The first one is the same browser without windows of its own, and twice as quick.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
# Without them a sandboxed machine refuses to start it, and it calls home at every start.
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
# Violations that no console line tells of would be missed otherwise.
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

LEFT_OUT = pytest.StashKey[int]()
MISSING = "no Chromium: apt-get install chromium, or set CHROMIUM to the path of one"


def browser_is_there():
    if CHROMIUM:
        return shutil.which(CHROMIUM) is not None
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()


def pytest_collection_modifyitems(config, items):
    ours = [item for item in items if HERE in item.path.parents]
    if not ours or browser_is_there():
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
def _queries_beside_the_loop_of_playwright():
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    yield
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args, live_server):
    # It closes before the server stops, whose threads serve its open connections as long.
    own = {"executable_path": CHROMIUM, "args": ARGUMENTS} if CHROMIUM else {}
    return {**browser_type_launch_args, **own}


@pytest.fixture(scope="session")
def live_server(django_db_setup, django_db_blocker):
    """The demo site under `default-src 'self'`; the middleware is loaded once, at its start."""
    middleware = [*django_settings.MIDDLEWARE, "tests.browser.site.strict_policy"]
    with django_db_blocker.unblock(), override_settings(MIDDLEWARE=middleware):
        server = LiveServer("localhost")
    # Its files are looked up when they are asked for.
    with override_settings(STATICFILES_DIRS=[*django_settings.STATICFILES_DIRS, HERE / "static"]):
        yield server
    server.stop()


@dataclass
class Troubles:
    """What the consoles of a test's pages told; empty at its end, or the test fails."""

    told: list[str] = field(default_factory=list)

    def watch(self, page):
        page.on("console", self.hear)
        page.on("pageerror", lambda error: self.told.append(f"error in a script: {error}"))

    def hear(self, line):
        # The next letter of a search replaces the request of the one before, which htmx tells of as
        # an error; a request that failed is told of in other words, too.
        aborted = ("AbortError", "htmx:afterRequest", "htmx:sendAbort", "htmx:abort")
        if line.type in ("error", "warning") and not any(map(line.text.__contains__, aborted)):
            self.told.append(f"{line.type} in the console: {line.text}")

    def expect(self, words):
        """Take out one thing that was told and must have been, known by its `words`."""
        found = next((line for line in self.told if words in line), None)
        assert found is not None, f"{words!r} is not among {self.told}"
        self.told.remove(found)


@pytest.fixture
def troubles():
    heard = Troubles()
    yield heard
    assert heard.told == []


@pytest.fixture
def mode():
    """Tests that hold in other modes too are parametrized with it."""
    return "htmx 2"


@pytest.fixture
def base_page(settings, tmp_path):
    """Serve the demo site with another base page: its own, with `old` replaced by `new`."""

    def base_page(old, new):
        text = (Path(settings.BASE_DIR) / "templates" / "base.html").read_text(encoding="utf-8")
        assert old in text
        (tmp_path / "base.html").write_text(text.replace(old, new), encoding="utf-8")
        [engine] = settings.TEMPLATES
        settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]

    return base_page


@pytest.fixture
def more_pages(settings):
    """Serve `/both/`, with strip and inbox, and `/twice/`, with each part twice."""
    settings.ROOT_URLCONF = "tests.browser.site"
    [engine] = settings.TEMPLATES
    folder = settings.BASE_DIR / "tests" / "browser" / "templates"
    settings.TEMPLATES = [{**engine, "DIRS": [folder, *engine["DIRS"]]}]


@pytest.fixture
def site_url(live_server):
    """Where the pages are; under ASGI for the tests of live updates."""
    return live_server.url


@pytest.fixture
def open_page(new_context, site_url, troubles, mode, request):
    """Open a page in a browser of its own, in which `user` is logged in, if any."""
    if mode in SCRIPTS:
        request.getfixturevalue("base_page")(SCRIPTS["htmx 2"], SCRIPTS[mode])

    def open_page(user=None, **device):
        script = mode != "without"
        context = new_context(base_url=site_url, java_script_enabled=script, **device)
        context.add_init_script(WATCH_POLICY)
        context.set_default_timeout(5_000)
        if user is not None:
            browser = Client()
            browser.force_login(user)
            name = django_settings.SESSION_COOKIE_NAME
            cookie = {"name": name, "value": browser.cookies[name].value, "url": site_url}
            context.add_cookies([cookie])
        page = context.new_page()
        troubles.watch(page)
        return page

    return open_page


@pytest.fixture
def visitor_page(open_page):
    """A page in which nobody is logged in."""
    return open_page()


@pytest.fixture
def page(open_page, user):
    """A page in which Sally is logged in."""
    return open_page(user)


@pytest.fixture
def other_page(open_page, other):
    """A page in which Harry is logged in."""
    return open_page(other)
