"""What the page of one letter shows: the letters of its conversation, and who may answer."""

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
    """A conversation in the mailbox of the request's user; each part is read only if asked."""

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
        """The letters at its place, newest first; one query.

        At the end, before letter `before`, or all that came after letter `after`: then `older` says
        that these are more than a page.

        Of what lies in the trash the letters that lie there, else all that do not.
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
        """The letters at its place, oldest first."""
        return self.page.messages[::-1]

    @cached_property
    def scroll_to(self) -> Message | None:
        """Where reading goes on: the first unread letter, else the last one.

        None where that is the first on the page, and after an earlier page was asked for.
        """
        if self.is_part:
            return None
        posts = self.posts
        found = next((post for post in posts if not post.read), posts[-1])
        return None if found is posts[0] else found

    @property
    def is_open(self) -> bool:
        """Whether its end is shown, where replies come."""
        return self.message.is_letter and self.before is None

    @property
    def is_part(self) -> bool:
        """Whether it is what joins the letters that a page shows."""
        return self.before is not None or self.after is not None

    def news_after(self, after: int) -> int:
        """Count what came after letter `after`, to the limit of the counter and one more."""
        news = self._letters.filter(pk__gt=after).newest_first()
        return news.count_up_to(get_config().COUNTER_LIMIT + 1)

    @property
    def _letters(self) -> MessageQuerySet:
        rows = Message.objects.all()
        if self.request.method == "POST":  # a replica may not have what was just written
            rows = rows.on_primary()
        return rows.visible_to(self.user).in_same_thread(self.message)

    @property
    def title(self) -> str:
        """What it is about: the subject, else how its latest letter begins."""
        return self.message.title

    @cached_property
    def other(self) -> Any:
        """The user at the other end; None where there is nobody to answer. Two queries at most."""
        try:
            return replies.reply_recipient(self.user, self.message)
        except LetterRefused as refused:
            self.refusal_reason = refused.reason
            return None

    refusal_reason: Any = ""
    """Why nobody can be answered; known once `other` was asked."""

    @cached_property
    def block(self) -> Block | None:
        """By which the user has blocked the other end; one query."""
        if self.other is None:
            return None
        return policy.blocks_of(self.user).filter(blocked=self.other.pk).first()

    @cached_property
    def form(self) -> ReplyForm | None:
        """An empty reply, None where there is nobody to answer."""
        if not get_config().LETTERS or self.other is None or self.block:
            return None
        return reply_form(self.user, self.message)

    @property
    def may_be_reported(self) -> bool:
        """Whether the message is a letter that the user received."""
        return self.message.letter is not None and not self.message.is_sent


def reply_form(user: Any, message: Message, *data: Any, **kwargs: Any) -> ReplyForm:
    """Return a form that answers `message`."""
    url = reverse("message_reply", args=[message.pk])
    return ReplyForm(user, *data, reply_to=message, url=url, **kwargs)
