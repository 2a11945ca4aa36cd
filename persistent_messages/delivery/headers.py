"""A mail class that does not fold or encode headers with long addresses."""

from __future__ import annotations

from email import policy as policies
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.policy import EmailPolicy
from typing import Any

import django
from django.core.mail import EmailMultiAlternatives

VERBATIM = ("list-unsubscribe", "references", "in-reply-to")


class _VerbatimHeader(UnstructuredHeader):
    """A header that is neither folded nor encoded."""

    name: str

    def fold(self, *, policy: Any) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_headers = HeaderRegistry()
for _name in VERBATIM:
    _headers.map_to_type(_name, _VerbatimHeader)  # type: ignore[arg-type]


class Copy(EmailMultiAlternatives):
    """A mail to a user.

    Since Django 6.0, a header without spaces that is longer than a line is encoded (RFC 2047), and
    mail programs then do not find the address in it.
    """

    def message(self, **options: Any) -> Any:
        """Return the mail as an `email.message.Message`."""
        if django.VERSION < (6, 0):
            return super().message()
        policy: EmailPolicy = options.pop("policy", policies.default)
        policy = policy.clone(header_factory=_headers)
        return super().message(policy=policy, **options)
