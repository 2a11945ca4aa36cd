"""Compose mails: the subject, text, HTML and headers for some messages to one user."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import ngettext

from persistent_messages.models import DueMail, Message
from persistent_messages.preferences.choices import topic_of
from persistent_messages.topics import DAILY, WEEKLY
from persistent_messages.users.languages import language_of

from .addresses import Site, address_of, reply_to
from .headers import Copy

TEMPLATES = "persistent_messages/email/{kind}.{format}"
DIGEST_LENGTH = 50
"""The number of messages in a digest; the others are only counted."""


@dataclass
class Mail:
    """One mail: its messages, and the rows of the outbox that it completes."""

    kind: str
    """The name of its templates: "notice", "letter" or "digest"."""
    user: Any
    rows: list[DueMail] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What identifies the mail, so that a retry has the same `Message-ID`."""
        keys = [row.pk for row in self.rows if row.pk is not None]
        return (min(keys),) if keys else ("message", self.messages[0].pk)


def group(pairs: list[tuple[DueMail, Message]], people: dict[Any, Any]) -> list[Mail]:
    """Return mails for `pairs`: one for each digest, conversation or single notice.

    Rows with the same claim stay together, so that a retried mail has the same messages and the
    same `Message-ID`.
    """
    mails: dict[tuple[Any, ...], Mail] = {}
    for row, message in sorted(pairs, key=lambda pair: pair[1].pk):
        kind, about = _kind_of(row, message)
        key = (row.user_id, kind, about, row.claim)
        mail = mails.setdefault(key, Mail(kind, people[row.user_id]))
        mail.rows.append(row)
        mail.messages.append(message)
    return list(mails.values())


def _kind_of(row: DueMail, message: Message) -> tuple[str, int | UUID | None]:
    if row.choice in (DAILY, WEEKLY):
        return "digest", None
    if message.letter is not None:
        return "letter", message.thread
    return "notice", message.pk


def compose(mail: Mail, site: Site, people: dict[Any, Any]) -> Copy:
    """Return `mail` in the language of its recipient. No query, unless a template makes one.

    `people` are users by key, including the senders if MAIL_REPLY_TO is on.
    """
    with translation.override(language_of(mail.user) or translation.get_language()):
        return _compose(mail, site, people)


def _compose(mail: Mail, site: Site, people: dict[Any, Any]) -> Copy:
    last = mail.messages[-1]
    topics = {topic_of(message) for message in mail.messages}
    unsubscribe = site.unsubscribe_page(mail.user, topics)
    is_digest = mail.kind == "digest"
    context = {
        "user": mail.user,
        "site_name": site.name,
        "items": [(message, site.page_of(message)) for message in _shown(mail)],
        "more": len(mail.messages) - len(_shown(mail)),
        "message": last,
        "address": site.page("message_list") if is_digest else site.page_of(last),
        "preferences_url": site.page("message_preferences"),
        "unsubscribe_url": unsubscribe,
        "language_code": translation.get_language(),
        "direction": "rtl" if translation.get_language_bidi() else "ltr",
    }
    context["subject"] = subject = _subject(mail, site)
    copy = Copy(
        subject,
        _render(mail, "txt", context),
        from_email=None if is_digest else site.sender_for(last),
        to=[address_of(mail.user)],
        reply_to=[] if is_digest else reply_to(people.get(last.from_user_id)),
        headers=_headers(mail, site, unsubscribe),
    )
    copy.attach_alternative(_render(mail, "html", context), "text/html")
    return copy


def _shown(mail: Mail) -> list[Message]:
    # A digest begins with the newest message, a conversation with the oldest.
    return mail.messages[: -DIGEST_LENGTH - 1 : -1] if mail.kind == "digest" else mail.messages


def _render(mail: Mail, format_: str, context: dict[str, Any]) -> str:
    text = render_to_string(TEMPLATES.format(kind=mail.kind, format=format_), context)
    return "" + text.strip()


def _subject(mail: Mail, site: Site) -> str:
    if mail.kind == "digest":
        count = len(mail.messages)
        words = ngettext(
            "%(count)d unread message on %(site)s", "%(count)d unread messages on %(site)s", count
        )
        text = words % {"count": count, "site": site.name}
    else:
        text = mail.messages[-1].title
    # Remove line breaks, which are not allowed in a header.
    return " ".join(text.split())


def _headers(mail: Mail, site: Site, unsubscribe: str) -> dict[str, str]:
    last = mail.messages[-1]
    headers = {
        "Message-ID": site.mail_id(*mail.identity),
        # Prevents automatic replies (RFC 3834).
        "Auto-Submitted": "auto-generated",
    }
    about = last.thread or last.key
    if mail.kind != "digest" and about:
        # No mail has this ID. Mail programs group the mails that refer to it as a conversation.
        root = site.mail_id("conversation", mail.user.pk, about)
        headers |= {"In-Reply-To": root, "References": root}
    if unsubscribe:
        headers["List-Unsubscribe"] = f"<{unsubscribe}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers
