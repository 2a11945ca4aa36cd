"""The production settings of the demo, each in a process with its own environment."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {
    "ALLOWED_HOSTS",
    "BEHIND_PROXY",
    "CSRF_TRUSTED_ORIGINS",
    "DATABASE_URL",
    "DEBUG",
    "DJANGO_SETTINGS_MODULE",
    "EMAIL_HOST",
    "EMAIL_HOST_PASSWORD",
    "EMAIL_HOST_USER",
    "EMAIL_PORT",
    "HSTS_SECONDS",
    "LOG_LEVEL",
    "SECRET_KEY",
    "STATIC_ROOT",
}
SECRETS = {
    "SECRET_KEY": "a-key-for-this-test-that-is-long-enough-for-the-check-of-django",
    "ALLOWED_HOSTS": "northbank.example",
}
CHECK = ("-m", "django", "check", "--deploy", "--fail-level", "WARNING")
# Prints the status, headers and body of the responses to a few requests.
ASK = """
import json, sys
import django
django.setup()
from django.test import Client
browser = Client(SERVER_NAME="northbank.example", raise_request_exception=False)
answers = []
for request in json.loads(sys.argv[1]):
    browser.cookies.load(request.pop("cookies", {}))
    answer = browser.get(**request)
    body = b"".join(answer) if answer.streaming else answer.content
    answers.append({
        "status": answer.status_code,
        "headers": dict(answer.items()),
        "cookies": {name: dict(cookie) for name, cookie in answer.cookies.items()},
        "body": body.decode(),
    })
print(json.dumps(answers))
"""


def run(*arguments, **environment):
    """Run Python with the production settings and only these variables."""
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**inherited, "DJANGO_SETTINGS_MODULE": "demo.production", **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Request a page with these settings; return the response and the log."""
    folder = tmp_path_factory.mktemp("server")
    places = {
        "STATIC_ROOT": str(folder / "static"),
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
    }
    collected = run("-m", "django", "collectstatic", "--noinput", **SECRETS, **places)
    assert collected.returncode == 0, collected.stderr

    def ask(*requests, **environment):
        done = run("-c", ASK, json.dumps(requests), **SECRETS, **places, **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    return ask


def test_deployment_checks_pass():
    done = run(*CHECK, **SECRETS)
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout


def test_weak_secret_key_fails_deployment_checks():
    done = run(*CHECK, **{**SECRETS, "SECRET_KEY": "secret"})
    assert done.returncode != 0
    assert "security.W009" in done.stderr


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", [None, "", " "])
def test_missing_secret_is_named_in_error(name, value):
    given = {**SECRETS, name: value}
    done = run(*CHECK, **{key: text for key, text in given.items() if text is not None})
    assert done.returncode != 0
    assert f"ImproperlyConfigured: Set the environment variable {name}" in done.stderr


@pytest.mark.parametrize("name", ["HSTS_SECONDS", "EMAIL_PORT"])
def test_invalid_number_is_named_in_error(name):
    done = run(*CHECK, **SECRETS, **{name: "many"})
    assert done.returncode != 0
    assert f"ImproperlyConfigured: The environment variable {name}" in done.stderr


def test_demo_environment_does_not_weaken_settings():
    show = "from django.conf import settings; print(settings.DEBUG, settings.ALLOWED_HOSTS)"
    done = run("-c", show, **{**SECRETS, "ALLOWED_HOSTS": "a.example, b.example"}, DEBUG="1")
    assert done.stdout.strip() == "False ['a.example', 'b.example']"


def test_trusted_origins_are_read_from_environment():
    show = "from django.conf import settings; print(settings.CSRF_TRUSTED_ORIGINS)"
    done = run("-c", show, **SECRETS, CSRF_TRUSTED_ORIGINS="https://a.example,https://b.example")
    assert done.stdout.strip() == "['https://a.example', 'https://b.example']"


def test_mail_is_sent_to_relay_from_environment():
    send = "from django.core.mail import EmailMessage; EmailMessage(to=['a@b.example']).send()"
    with socket.create_server(("127.0.0.1", 0)) as relay, ThreadPoolExecutor() as aside:
        port = str(relay.getsockname()[1])
        sending = aside.submit(run, "-c", send, **SECRETS, EMAIL_HOST="127.0.0.1", EMAIL_PORT=port)
        relay.settimeout(60)
        caller = relay.accept()[0]
        caller.sendall(b"554 closed for this test\r\n")
        caller.close()
        assert "closed for this test" in sending.result().stderr


def test_pages_require_tls_and_have_strict_policy(ask):
    forwarded = {"X-Forwarded-Proto": "https"}
    (plain, forged, page), _log = ask(
        {"path": "/log-in/"},
        {"path": "/log-in/", "headers": forwarded},
        {"path": "/log-in/", "secure": True},
    )
    for redirected in (plain, forged):
        assert redirected["status"] == 301
        assert redirected["headers"]["Location"] == "https://northbank.example/log-in/"
    assert page["status"] == 200
    assert page["headers"]["Content-Security-Policy"] == "default-src 'self'"
    assert "includeSubDomains; preload" in page["headers"]["Strict-Transport-Security"]
    assert page["cookies"]["csrftoken"]["secure"]


def test_proxy_header_is_trusted_if_configured(ask):
    headers = {"X-Forwarded-Proto": "https"}
    (page,), _log = ask({"path": "/log-in/", "headers": headers}, BEHIND_PROXY="1")
    assert page["status"] == 200


def test_static_files_have_hashed_names_and_policy(ask):
    (page,), _log = ask({"path": "/log-in/", "secure": True})
    name = "/static/persistent_messages/persistent_messages."
    start = page["body"].index(name)
    address = page["body"][start : page["body"].index('"', start)]
    assert len(address) > len(f"{name}css")
    (file,), _log = ask({"path": address, "secure": True})
    assert file["status"] == 200
    assert "immutable" in file["headers"]["Cache-Control"]
    assert file["headers"]["Content-Security-Policy"] == "default-src 'self'"


def test_errors_are_logged_to_stderr_and_not_shown(ask):
    # There are no tables, so the session cannot be read.
    request = {
        "path": "/messages/",
        "secure": True,
        "cookies": {"sessionid": "a-session-of-before"},
    }
    (page,), log = ask(request)
    assert page["status"] == 500
    assert "django_session" not in page["body"]
    assert log.count("ERROR django.request: Internal Server Error: /messages/") == 1
    assert "no such table: django_session" in log
