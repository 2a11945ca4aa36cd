"""The conversation on the page of a letter: its letters, the other user, and the reply form."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from persistent_messages.conf import get_config
from persistent_messages.exceptions import LetterRefused
from persistent_messages.models import Block, Message
from persistent_messages.querysets import MessageQuerySet, Page

from . import policy, replies
from .forms import ReplyForm


class Conversation:
    """A conversation in the mailbox of the user of the request; each part is read on first use."""

    def __init__(
        self,
        request: HttpRequest,
        message: Message,
        before: int | None = None,
        after: int | None = None,
    ) -> None:
        self.request = request
        self.message = message
        self.before = before
        self.after = after
        self.user: Any = request.user

    @cached_property
    def page(self) -> Page:
        """A page of letters, newest first; one query.

        These are the latest letters, those before letter `before`, or all letters after `after`, in
        which case `older` means that they do not fit on one page. If the message is in the trash,
        only trashed letters are included; otherwise only letters outside the trash.
        """
        if not self.message.is_letter:
            return Page([self.message])
        size = get_config().PAGE_SIZE
        if self.after is not None:
            later = self._letters.filter(pk__gt=self.after)
            return later.newest_first().page(size)
        return self._letters.newest_first().older_than(self.before).page(size)

    @property
    def posts(self) -> list[Message]:
        """The letters of the page, oldest first."""
        return self.page.messages[::-1]

    @cached_property
    def scroll_to(self) -> Message | None:
        """The letter to scroll to: the first unread one, or else the last one.

        None if that is the first letter of the page, or if only a part of the page is rendered.
        """
        if self.is_part:
            return None
        posts = self.posts
        found = next((post for post in posts if not post.read), posts[-1])
        return None if found is posts[0] else found

    @property
    def is_open(self) -> bool:
        """Whether the page includes the end of the conversation, where replies are appended."""
        return self.message.is_letter and self.before is None

    @property
    def is_part(self) -> bool:
        """Whether only letters to add to an open page are rendered."""
        return self.before is not None or self.after is not None

    def news_after(self, after: int) -> int:
        """Count the letters after letter `after`, up to the limit of the counter plus one."""
        news = self._letters.filter(pk__gt=after).newest_first()
        return news.count_up_to(get_config().COUNTER_LIMIT + 1)

    @property
    def _letters(self) -> MessageQuerySet:
        rows = Message.objects.all()
        if self.request.method == "POST":  # a replica may not have the letter that was just sent
            rows = rows.on_primary()
        return rows.visible_to(self.user).in_same_thread(self.message)

    @property
    def title(self) -> str:
        """The title of the message: its subject, or else the beginning of its text."""
        return self.message.title

    @cached_property
    def other(self) -> Any:
        """The other user, or None if a reply is not possible. At most two queries."""
        try:
            return replies.reply_recipient(self.user, self.message)
        except LetterRefused as refused:
            self.refusal_reason = refused.reason
            return None

    refusal_reason: Any = ""
    """Why a reply is not possible; set when `other` is read."""

    @cached_property
    def block(self) -> Block | None:
        """The user's block of the other user, or None; one query."""
        if self.other is None:
            return None
        return policy.blocks_of(self.user).filter(blocked=self.other.pk).first()

    @cached_property
    def form(self) -> ReplyForm | None:
        """An empty reply form, or None if a reply is not possible."""
        if not get_config().LETTERS or self.other is None or self.block:
            return None
        return reply_form(self.user, self.message)

    @property
    def may_be_reported(self) -> bool:
        """Whether the message is a letter that the user received."""
        return self.message.letter is not None and not self.message.is_sent


def reply_form(user: Any, message: Message, *data: Any, **kwargs: Any) -> ReplyForm:
    """Return a form for a reply to `message`."""
    url = reverse("message_reply", args=[message.pk])
    return ReplyForm(user, *data, reply_to=message, url=url, **kwargs)
