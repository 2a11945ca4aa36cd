"""Remove one-shot messages after the response that shows them has been sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextvars import copy_context
from functools import partial
from threading import get_ident

from asgiref.sync import async_to_sync, sync_to_async
from django.db import router
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from persistent_messages import mailbox
from persistent_messages.db import outage
from persistent_messages.models import Message

logger = logging.getLogger(__name__)


class Removal:
    """Removes the messages that a response shows, after the response has been sent.

    If another response takes its place, nothing is removed. A pickled copy of the response, for
    example in a cache, removes nothing either.
    """

    def __init__(
        self,
        request: HttpRequest | None = None,
        response: HttpResponseBase | None = None,
        shown: Iterable[Message] = (),
    ) -> None:
        self.response = response
        self.request = request
        self.shown = list(shown)
        self.thread, self.context = get_ident(), copy_context()
        if self.shown:
            # Tell a router that pins users to the primary database after a write.
            router.db_for_write(Message)

    def __reduce__(self) -> tuple[type[Removal], tuple[()]]:
        return Removal, ()

    def __call__(self) -> None:
        """Remove the messages; those that cannot be removed are shown again."""
        if self.request is None or self.response is None or self.response.status_code >= 500:
            return
        try:
            if get_ident() == self.thread:
                self.remove()
            else:
                async_to_sync(self.remove_in_its_thread)()
        except Exception:
            logger.exception("Messages that were shown could not be removed.")

    async def remove_in_its_thread(self) -> None:
        """Call `remove` in the thread of the request, which has the database connection."""
        await self.context.run(asyncio.ensure_future, sync_to_async(self.remove)())

    def remove(self) -> None:
        """Delete the rows with one statement; log it if the database cannot be reached."""
        shown, self.shown = self.shown, []
        if self.request is not None:
            outage.fallback_if_unreachable(
                self.request, "messages", partial(_remove_rows, shown), None
            )


def _remove_rows(shown: list[Message]) -> None:
    for owner in {message.user_id for message in shown}:
        mailbox.remove_one_shots(owner, [m.pk for m in shown if m.user_id == owner])
