"""The site under ASGI, and a client of its events."""

import http.client
import socket
import threading
import time
from contextlib import contextmanager, suppress

import uvicorn
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import reverse

PATIENCE = 20  # seconds, then something hangs


@contextmanager
def served():
    """Serve the site by uvicorn in a thread; yields its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        application = ASGIStaticFilesHandler(get_asgi_application())
        config = uvicorn.Config(
            application, lifespan="off", log_level="error", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=[[listening]], daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


class Listener:
    """Somebody who listens to the events, as a browser does; `events` are those that came."""

    def __init__(self, port, browser, **headers):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        cookies = "; ".join(f"{name}={each.value}" for name, each in browser.cookies.items())
        self.connection.request(
            "GET", reverse("message_events"), headers={"Cookie": cookies, **headers}
        )
        self._socket = self.connection.sock
        self.answer = self.connection.getresponse()
        self.events, self.ids, self.data, self.ended = [], [], [], False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for line in self.answer:
                name, _, value = line.decode().strip().partition(": ")
                with self._news:
                    if name == "event":
                        self.events.append(value)
                    elif name == "id":
                        self.ids.append(value)
                    elif name == "data":
                        self.data.append(value)
                    self._news.notify_all()
        except (OSError, http.client.HTTPException, AttributeError, ValueError):
            pass
        with self._news:
            self.ended = True
            self._news.notify_all()

    def has(self, kind, times=1):
        """Wait until `times` events of this kind came; tells whether they did."""
        with self._news:
            return self._news.wait_for(lambda: self.events.count(kind) >= times, PATIENCE)

    def is_there(self):
        """Wait for the first event, which each stream begins with; tells whether it came."""
        with self._news:
            return self._news.wait_for(lambda: self.ids, PATIENCE)

    def is_over(self):
        """Wait until the stream ended; tells whether it did."""
        with self._news:
            return self._news.wait_for(lambda: self.ended, PATIENCE)

    def close(self):
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self.answer.close()
        self._socket.close()


def wait_until(is_true):
    """Wait until `is_true` returns what is true."""
    until = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)
