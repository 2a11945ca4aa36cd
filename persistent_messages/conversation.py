"""What the page of one letter shows: the letters of its conversation, and who may answer."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from . import letters, policy
from .conf import get_config
from .exceptions import LetterRefused
from .forms import ReplyForm
from .models import Block, Message
from .querysets import Page


class Conversation:
    """A conversation in the mailbox of the request's user; each part is read only if asked."""

    def __init__(self, request: HttpRequest, message: Message, before: int | None = None) -> None:
        self.request = request
        self.message = message
        self.before = before
        self.user: Any = request.user

    @cached_property
    def page(self) -> Page:
        """The letters at its place, newest first; one query.

        Of what lies in the trash the letters that lie there, else all that do not.
        """
        if not self.message.is_letter:
            return Page([self.message])
        kept = Message.objects.kept_by(self.user).beside(self.message)
        return kept.newest_first().older_than(self.before).page(get_config().PAGE_SIZE)

    @property
    def posts(self) -> list[Message]:
        """The letters at its place, oldest first."""
        return self.page.messages[::-1]

    @property
    def title(self) -> str:
        """What it is about: the subject, else how its latest letter begins."""
        return self.message.title

    @cached_property
    def other(self) -> Any:
        """The user at the other end; None where there is nobody to answer. Two queries at most."""
        try:
            return letters.other_end(self.user, self.message)
        except LetterRefused as refused:
            self.refusal = refused.reason
            return None

    refusal: Any = ""
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
        return self.message.letter is not None and not self.message.to_name


def reply_form(user: Any, message: Message, *data: Any, **kwargs: Any) -> ReplyForm:
    """Return a form that answers `message`."""
    url = reverse("message_reply", args=[message.pk])
    return ReplyForm(user, *data, reply_to=message, url=url, **kwargs)
