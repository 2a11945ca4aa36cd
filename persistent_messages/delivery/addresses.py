"""URLs and mail addresses in mails: pages of the site, message IDs, senders and recipients."""

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
    """The URL, name and domain of the site for mails. At most one query."""

    def __init__(self) -> None:
        name, self.url = "", get_config().SITE_URL.rstrip("/")
        if not self.url and (site := _current_site()) is not None:
            name, self.url = site.name, f"https://{site.domain}"
        self.sender_name, self.sender = parseaddr(settings.DEFAULT_FROM_EMAIL)
        url = urlsplit(self.url)
        self.domain = _ascii(url.hostname or self.sender.rpartition("@")[2])
        self.name = clean_name(name) or url.netloc or self.domain
        if url.hostname and not self.url.isascii():
            # A header with other characters is encoded, so mail programs do not find the URL in it.
            port = f":{url.port}" if url.port else ""
            self.url = f"{url.scheme}://{self.domain}{port}"

    def page(self, name: str, *arguments: Any) -> str:
        """Return the absolute URL of a page of the app, or "" if the site does not have it."""
        try:
            return self.url and urljoin(self.url, reverse(name, args=arguments))
        except NoReverseMatch:
            return ""

    def page_of(self, message: Message) -> str:
        """Return the URL of the page of `message`, or else its own `url`, or ""."""
        return self.page("message_detail", message.pk) or (
            urljoin(self.url, message.url) if self.url and message.url else ""
        )

    def unsubscribe_page(self, user: Any, topics: set[str]) -> str:
        """Return the URL where `user` can unsubscribe from `topics` without a log-in, or ""."""
        return self.page("message_unsubscribe", make_token(user, topics))

    def mail_id(self, *parts: Any) -> str:
        """Return the `Message-ID` for `parts`, which is always the same and cannot be guessed."""
        digest = salted_hmac(SALT, repr([str(part) for part in parts]), algorithm="sha256")
        return f"<{digest.hexdigest()[:40]}@{self.domain}>"

    def sender_for(self, message: Message) -> str | None:
        """Return the sender of a mail of `message`: "user via site", or None for the site.

        The address is always the site's, which cannot authenticate a user's address (DMARC, RFC
        7489). The site's name is beside the user's, because users can choose any name.
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
    """Return the mail address of `user`, or ""."""
    return getattr(user, user.get_email_field_name(), "") or ""


def reply_to(sender: Any) -> list[str]:
    """Return the Reply-To addresses of a mail from `sender`."""
    # Users do not see each other's addresses, unless the setting is on.
    if sender is None or not get_config().MAIL_REPLY_TO:
        return []
    address = address_of(sender)
    try:
        validate_email(address)
    except ValidationError:  # the mail must be sent anyway
        return []
    return [address]
