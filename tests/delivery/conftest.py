"""A real server of SMTP in a thread, and mail to it."""

import socketserver
import threading
from email import message_from_bytes, policy

import django
import pytest
from django.contrib.auth import get_user_model

from persistent_messages import INFO, send_message

SMTP = "django.core.mail.backends.smtp.EmailBackend"


class Session(socketserver.StreamRequestHandler):
    """One connection: what a client says, and the mails that come through."""

    def handle(self):
        sink = self.server
        sink.connections += 1
        self.say(220, "Hello")
        for line in self.rfile:
            command, _, rest = line.decode().strip().partition(" ")
            address = rest.partition("<")[2].partition(">")[0]
            if command.upper() == "RCPT" and address in sink.refused:
                self.say(550, "No such mailbox")
            elif command.upper() == "RCPT" and address in sink.hung_up:
                return
            elif command.upper() == "DATA":
                self.say(354, "Go on")
                sink.mails.append(self.mail())
                self.say(250, "Stored")
            elif command.upper() == "QUIT":
                self.say(221, "Bye")
                return
            else:
                self.say(250, "Fine")

    def say(self, code, words):
        self.wfile.write(f"{code} {words}\r\n".encode())

    def mail(self):
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line.removeprefix(b"."))
        self.server.raw.append(b"".join(lines))
        return message_from_bytes(self.server.raw[-1], policy=policy.default)


class Sink(socketserver.ThreadingTCPServer):
    """A mail server that keeps what it gets."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Session)
        self.raw = []
        self.mails, self.connections, self.refused, self.hung_up = [], 0, set(), set()


@pytest.fixture
def use_server(settings):
    def use_server(port):
        options = {"host": "127.0.0.1", "port": port, "timeout": 10}
        if django.VERSION >= (6, 1):
            settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": options}}
        else:
            settings.EMAIL_BACKEND = SMTP
            settings.EMAIL_HOST, settings.EMAIL_PORT = options["host"], port
            settings.EMAIL_TIMEOUT = options["timeout"]

    return use_server


@pytest.fixture
def sink(use_server):
    with Sink() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        use_server(server.server_address[1])
        yield server
        server.shutdown()
        thread.join()


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
    """An address where nobody answers."""
    with Sink() as server:
        port = server.server_address[1]
    use_server(port)
