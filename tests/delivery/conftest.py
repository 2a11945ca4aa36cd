"""A real SMTP server in a thread, and mail to it."""

import asyncio
import socket
import threading
from contextlib import ExitStack
from email import message_from_bytes, policy

import django
import pytest
from aiosmtpd import smtp
from django.contrib.auth import get_user_model

from persistent_messages import INFO, send_message

SMTP = "django.core.mail.backends.smtp.EmailBackend"


class Sink:
    """A mail server that keeps the mails it receives, and fails for the recipients in its sets."""

    def __init__(self, **options):
        self.options, self.port = options, None
        self.mails, self.raw, self.recipients = [], [], []
        self.connections = 0
        self.refused, self.put_off, self.hung_up = set(), set(), set()
        self.hung, self.lost = set(), set()

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refused:
            return "550 No such mailbox"
        if address in self.put_off:
            return "451 Come back later"
        if address in self.hung_up:
            server.transport.close()
        if address in self.hung:
            await asyncio.Event().wait()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.raw.append(envelope.content)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients += envelope.rcpt_tos
        if self.lost.intersection(envelope.rcpt_tos):  # accepted, but not acknowledged
            server.transport.close()
        return "250 OK"

    def connect(self):
        self.connections += 1
        return smtp.SMTP(self, loop=self._loop, hostname="localhost", **self.options)

    def __enter__(self):
        self._loop, self._stop, is_ready = None, None, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(is_ready)))
        self._thread.start()
        assert is_ready.wait(30)
        return self

    async def _serve(self, is_ready):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(self.connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        is_ready.set()
        await self._stop.wait()
        server.close()

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture
def use_backend(settings):
    """Make the site use a mail backend; Django 6.1 has its options in a setting of their own."""

    def use_backend(path, **options):
        if django.VERSION >= (6, 1):
            settings.MAILERS = {"default": {"BACKEND": path, "OPTIONS": options}}
        else:
            settings.EMAIL_BACKEND = path
            for name, value in options.items():
                setattr(settings, f"EMAIL_{name.upper()}", value)

    return use_backend


@pytest.fixture
def use_server(use_backend):
    def use_server(port, timeout=10):
        use_backend(SMTP, host="127.0.0.1", port=port, timeout=timeout)

    return use_server


@pytest.fixture
def server(use_server):
    """Return a function that starts a server with options of aiosmtpd."""
    with ExitStack() as stack:

        def server(timeout=10, **options):
            sink = stack.enter_context(Sink(**options))
            use_server(sink.port, timeout)
            return sink

        yield server


@pytest.fixture
def sink(server):
    return server()


@pytest.fixture
def mail_to(django_capture_on_commit_callbacks):
    def mail_to(users, text="Hello", level=INFO, **kwargs):
        with django_capture_on_commit_callbacks(execute=True):
            return send_message(users, level, text, email=True, **kwargs)

    return mail_to


@pytest.fixture
def people(db):
    model = get_user_model()
    return model.objects.bulk_create(
        model(username=f"person-{number}", email=f"person-{number}@example.com")
        for number in range(5)
    )


@pytest.fixture
def no_server(use_server):
    """Return an address that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    use_server(port)
