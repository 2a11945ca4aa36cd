"""The mail server: one connection for many mails, and what its refusals mean."""

from __future__ import annotations

import logging
from smtplib import (
    SMTPDataError,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPServerDisconnected,
)
from types import TracebackType
from typing import Any

import django
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from typing_extensions import Self

logger = logging.getLogger(__name__)

PERMANENT = range(500, 600)
"""The codes by which a server says that it will never take a mail."""
TIMEOUT = 30
"""Seconds that a server may take to answer, where the site sets no limit."""
MAX_LOST = 3
"""Mails in a row during which the server hangs or hangs up, until it counts as away."""


CONNECTION_LOST = (SMTPServerDisconnected, TimeoutError, ConnectionError)


class Unreachable(Exception):  # noqa: N818 (what happened)
    """The server is away, or hangs: to try each mail would take as many timeouts."""


class MailServer:
    """A connection that is opened for the first mail, and kept until the end."""

    def __init__(self) -> None:
        mailers: Any = getattr(mail, "mailers", None)  # since Django 6.1
        self._connection: Any = mail.get_connection() if mailers is None else mailers.default
        self._lost = 0
        if isinstance(self._connection, EmailBackend) and self._connection.timeout is None:
            self._connection.timeout = TIMEOUT

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def send(self, copy: EmailMessage) -> None:
        """Hand `copy` to the server. Raises `Unreachable`, or what the server or backend raises."""
        try:
            self._connection.open()  # does nothing while it is open
        except Exception as error:
            raise Unreachable from error
        _check_recipients(copy, self._connection)
        try:
            self._connection.send_messages([copy])
        except Exception as error:
            if self._was_hung_up():
                self._close()
            self._lost = self._lost + 1 if isinstance(error, CONNECTION_LOST) else 0
            if self._lost == MAX_LOST:
                raise Unreachable from error
            raise
        self._lost = 0

    def _was_hung_up(self) -> bool:
        # Of a refused mail the server wants no more; of one that breaks, smtplib closes the socket.
        server = getattr(self._connection, "connection", None)
        return server is not None and getattr(server, "sock", server) is None

    def _close(self) -> None:
        try:
            self._connection.close()
        except Exception:
            logger.warning("The connection to the mail server was not closed.", exc_info=True)


def is_permanent(error: Exception) -> bool:
    """Tell whether a mail that met `error` would meet it again, however often it is tried."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code in PERMANENT for code, _words in error.recipients.values())
    if isinstance(error, SMTPDataError):
        return error.smtp_code in PERMANENT
    # An address or header that is none, or that the server does not know.
    return isinstance(error, (ValueError, SMTPNotSupportedError))


def _check_recipients(copy: EmailMessage, backend: Any) -> None:
    """Raise `ValueError` for an address that can be sent to with SMTPUTF8 only.

    Before 6.0, Django's backend makes another address of it, which nobody has.
    """
    if django.VERSION >= (6, 0) or type(backend) is not EmailBackend:
        return
    for address in copy.recipients():
        if not address.rpartition("@")[0].isascii():
            raise ValueError(f"Invalid address {address!r}: non-ASCII local part")
