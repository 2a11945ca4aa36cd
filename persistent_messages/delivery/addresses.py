"""Addresses in mails: of pages of the site, of mails, and of those who send and get them."""

from __future__ import annotations

from email.errors import HeaderParseError
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.validators import validate_email
from django.urls import NoReverseMatch, reverse
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from persistent_messages.conf import get_config
from persistent_messages.models import Message
from persistent_messages.preferences.tokens import make_token
from persistent_messages.users.names import clean_name

SALT = "persistent_messages.mail"


class Site:
    """The site as mails name it: its address, its name, its domain. One query at most."""

    def __init__(self) -> None:
        name, self.url = "", get_config().SITE_URL.rstrip("/")
        if not self.url and (site := _current_site()) is not None:
            name, self.url = site.name, f"https://{site.domain}"
        self.sender_name, self.sender = parseaddr(settings.DEFAULT_FROM_EMAIL)
        self.domain = _ascii(urlsplit(self.url).hostname or self.sender.rpartition("@")[2])
        self.name = clean_name(name) or urlsplit(self.url).netloc or self.domain

    def page(self, name: str, *arguments: Any) -> str:
        """Return the address of a page of ours, or "" where the site has none."""
        try:
            return self.url and urljoin(self.url, reverse(name, args=arguments))
        except NoReverseMatch:
            return ""

    def page_of(self, message: Message) -> str:
        """Return where `message` is read: its page, else what it leads to; "" for nowhere."""
        return self.page("message_detail", message.pk) or (
            urljoin(self.url, message.url) if self.url and message.url else ""
        )

    def unsubscribe_page(self, user: Any, topics: set[str]) -> str:
        """Return where `user` unsubscribes from `topics` without a log-in; "" for nowhere."""
        return self.page("message_unsubscribe", make_token(user, topics))

    def mail_id(self, *parts: Any) -> str:
        """Return the `Message-ID` of what `parts` say: the same each time, and unguessable."""
        digest = salted_hmac(SALT, repr([str(part) for part in parts]), algorithm="sha256")
        return f"<{digest.hexdigest()[:40]}@{self.domain}>"

    def sender_for(self, message: Message) -> str | None:
        """Return who a mail of `message` is from: the site, in the name of a user; None: the site.

        Never the address of a user: the site could not vouch for it (DMARC, RFC 7489). The name of
        the site stands beside that of the user, who might have called themselves anything.
        """
        if not message.is_from_user or not (name := clean_name(message.from_name)):
            return None
        words = _("%(name)s via %(site)s") % {"name": name, "site": self.name}
        try:
            return str(Address(words, addr_spec=self.sender))
        except (ValueError, IndexError, HeaderParseError):  # the site's own address is unusual
            return None


def _current_site() -> Any:
    if not apps.is_installed("django.contrib.sites"):
        return None
    sites: Any = apps.get_app_config("sites")
    try:
        return sites.get_model("Site").objects.get_current()
    except ObjectDoesNotExist:
        return None


def _ascii(domain: str) -> str:
    try:
        return domain.encode("idna").decode() or "localhost"
    except UnicodeError:
        return "localhost"


def address_of(user: Any) -> str:
    """Return the mail address of `user` by the field that its model names for it, or ""."""
    return getattr(user, user.get_email_field_name(), "") or ""


def reply_to(sender: Any) -> list[str]:
    """Return to whom replies to a mail go that `sender` caused, or nobody."""
    # Users do not get to know each other's addresses, unless the site says so.
    if sender is None or not get_config().MAIL_REPLY_TO:
        return []
    address = address_of(sender)
    try:
        validate_email(address)
    except ValidationError:  # it must not cost the recipient the mail
        return []
    return [address]
