"""Mails whose headers hold long addresses as they are."""

from __future__ import annotations

from email import policy as policies
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.policy import EmailPolicy
from typing import Any

import django
from django.core.mail import EmailMultiAlternatives

VERBATIM = ("list-unsubscribe", "references", "in-reply-to")


class _VerbatimHeader(UnstructuredHeader):
    """A header that is never folded, nor encoded."""

    name: str

    def fold(self, *, policy: Any) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_headers = HeaderRegistry()
for _name in VERBATIM:
    _headers.map_to_type(_name, _VerbatimHeader)  # type: ignore[arg-type]


class Copy(EmailMultiAlternatives):
    """The mail that a user gets.

    Since Django 6.0 a header without a space that is longer than a line would be encoded by
    RFC 2047, and no mail program finds an address in that.
    """

    def message(self, **options: Any) -> Any:
        """Return it as a message of Python's."""
        if django.VERSION < (6, 0):
            return super().message()
        policy: EmailPolicy = options.pop("policy", policies.default)
        policy = policy.clone(header_factory=_headers)
        return super().message(policy=policy, **options)
