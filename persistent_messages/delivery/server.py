"""The mail server: one connection for many mails, and the meaning of its errors."""

from __future__ import annotations

import logging
from email.headerregistry import HeaderRegistry
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
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from typing_extensions import Self

logger = logging.getLogger(__name__)

PERMANENT = range(500, 600)
"""The reply codes for permanent errors."""
TIMEOUT = 30
"""The timeout in seconds if the site does not set EMAIL_TIMEOUT."""
MAX_LOST = 3
"""The number of consecutive lost connections after which no more mail is tried."""


CONNECTION_LOST = (SMTPServerDisconnected, TimeoutError, ConnectionError)

_AddressHeader: Any = HeaderRegistry()["To"]  # which creates a class at each access


class Unreachable(Exception):  # noqa: N818 (what happened)
    """The server cannot be reached. Trying other mails would only add timeouts."""


class MailServer:
    """A connection that is opened for the first mail, and closed on exit."""

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
        """Send `copy`. Raises `Unreachable`, or the error of the server or the backend."""
        try:
            self._connection.open()  # does nothing if it is already open
        except Exception as error:
            raise Unreachable from error
        _check_sender(copy.from_email)
        _check_recipients(copy, self._connection)
        try:
            self._connection.send_messages([copy])
        except Exception as error:
            if self._is_disconnected():
                self._close()
            self._lost = self._lost + 1 if isinstance(error, CONNECTION_LOST) else 0
            raise
        self._lost = 0

    @property
    def keeps_losing_connections(self) -> bool:
        """Whether the latest mails all lost the connection; more mails might only add timeouts."""
        return self._lost >= MAX_LOST

    def _is_disconnected(self) -> bool:
        # smtplib closes the socket when the connection breaks, but not when a mail is refused.
        server = getattr(self._connection, "connection", None)
        return server is not None and getattr(server, "sock", server) is None

    def _close(self) -> None:
        try:
            self._connection.close()
        except Exception:
            logger.warning("The connection to the mail server was not closed.", exc_info=True)


def is_permanent(error: Exception) -> bool:
    """Return whether retrying the mail would raise `error` again."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code in PERMANENT for code, _words in error.recipients.values())
    if isinstance(error, SMTPDataError):
        return error.smtp_code in PERMANENT
    # An invalid address or header, or one that the server does not support.
    return isinstance(error, (ValueError, SMTPNotSupportedError))


def _check_sender(address: str) -> None:
    """Raise `ImproperlyConfigured` unless `address`, the site's, is a valid sender.

    Backends raise `ValueError`, as for an invalid recipient, and the mail would be given up.
    """
    if len(_parsed(address)) != 1 or address.splitlines() != [address]:
        raise ImproperlyConfigured(f"DEFAULT_FROM_EMAIL must be one mail address, not {address!r}.")


def _check_recipients(copy: EmailMessage, backend: Any) -> None:
    """Raise `ValueError` for an address that cannot be parsed, or that requires SMTPUTF8.

    Python's parser fails with errors of many classes, which otherwise would look like errors of the
    backend. Before version 6.0, Django's backend turns an address that requires SMTPUTF8 into a
    different one, which does not exist.
    """
    is_ascii_only = django.VERSION < (6, 0) and type(backend) is EmailBackend
    for address in copy.recipients():
        if not _parsed(address):
            raise ValueError(f"Invalid address {address!r}")
        if is_ascii_only and not address.rpartition("@")[0].isascii():
            raise ValueError(f"Invalid address {address!r}: non-ASCII local part")


def _parsed(text: str) -> list[Any]:
    """Return the mail addresses in `text`; none if it cannot be parsed."""
    try:
        found = _AddressHeader("To", text).addresses
        return [each for each in found if each.username or each.domain]
    except Exception:
        return []
