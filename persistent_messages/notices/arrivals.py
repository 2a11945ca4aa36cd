"""The arrival of broadcasts: they are copied into a mailbox before a page reads it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connections, transaction
from django.db.models import BigIntegerField, Case, CharField, Q, Value, When
from django.http import HttpRequest
from django.utils import timezone, translation

from persistent_messages import mailbox
from persistent_messages.db import outage
from persistent_messages.http import visits
from persistent_messages.mailbox.deadlocks import retry_on_deadlock
from persistent_messages.mailbox.writes import primary_database
from persistent_messages.models import LANGUAGE_LENGTH, Broadcast, Message, Receipt
from persistent_messages.users import accounts
from persistent_messages.users.languages import language_of

from . import audiences
from .running import Running, running
from .sending import supported_language

logger = logging.getLogger(__name__)

SESSION_KEY = "_pm_broadcasts"
REFUSAL_SECONDS = 300
"""How long a session remembers that its user is not in an audience, which may change."""
ATTEMPTS = 3
SHARE_LOCK = {"postgresql": " FOR SHARE", "mysql": " LOCK IN SHARE MODE"}
"""Makes edits of a broadcast wait for requests that copy it; SQLite has a single lock."""


class ChangedError(Exception):
    """A broadcast was changed after it was read."""


def receive(request: HttpRequest, user: Any, **_: Any) -> None:
    """Deliver the running broadcasts that the user has not received; on `mailbox_visited`.

    No query if no broadcast runs, or if the session remembers that all of them were handled.
    Otherwise one, and one insert each for the copies and the receipts. Audiences that are groups
    take one more query, and those that are functions a few more.
    """
    listed = outage.fallback_if_unreachable(request, "messages", running, None)
    if not listed or not accounts.has_mailbox(user):
        return
    memory = Memory(request, user)
    if unknown := [each for each in listed if not memory.has(each)]:
        arrive = partial(_arrive_for, request, user, unknown, memory, listed)
        outage.fallback_if_unreachable(request, "messages", arrive, None)


def _arrive_for(
    request: HttpRequest,
    user: Any,
    unknown: list[Running],
    memory: Memory,
    listed: list[Running],
) -> None:
    names = audiences.possible({each.audience for each in unknown}, user)
    reached = [each for each in unknown if each.audience in names]
    if reached and not arrive(user, [each.pk for each in reached]):
        return
    refused = [each for each in unknown if each.audience not in names]
    # The session is saved after the view's transaction, which may be rolled back.
    connection = connections[primary_database()]
    committed = [not connection.in_atomic_block]
    if connection.in_atomic_block:
        transaction.on_commit(lambda: committed.append(True), using=connection.alias)

    def remember() -> None:
        if any(committed) or connection.in_atomic_block:
            memory.update(listed, reached, refused)

    visits.at_end(request, remember)


class Memory:
    """The broadcasts that a session remembers as handled for its user."""

    def __init__(self, request: HttpRequest, user: Any) -> None:
        self.session: Any = getattr(request, "session", None)
        self.user = str(user.pk)
        found = None if self.session is None else self.session.get(SESSION_KEY)
        self.known: dict[str, int] = {}
        if isinstance(found, list) and found[:1] == [self.user]:
            self.known = dict(found[1])
        self.now = int(timezone.now().timestamp())

    def has(self, broadcast: Running) -> bool:
        """Return whether the user is known to have received it, or not to be in its audience."""
        until = self.known.get(broadcast.name)  # 0 means forever
        return until is not None and (until == 0 or self.now < until)

    def update(
        self, listed: Iterable[Running], reached: list[Running], refused: list[Running]
    ) -> None:
        """Remember `reached` and `refused`, and forget broadcasts that no longer run."""
        if self.session is None:
            return
        known = {**self.known}
        known |= {each.name: 0 for each in reached}
        known |= {each.name: self.now + REFUSAL_SECONDS for each in refused}
        names = {each.name for each in listed}
        kept = {name: until for name, until in known.items() if name in names}
        self.session[SESSION_KEY] = [self.user, kept]


def arrive(user: Any, broadcasts: Iterable[int]) -> bool:
    """Copy the broadcasts with these keys for which `user` has no receipt.

    The copies are in the user's language, and are made once, even by concurrent requests. Returns
    whether all of them have been handled: False while they are being changed, or if the account no
    longer exists. One query if there is nothing to copy.
    """
    language = _language_of(user)
    for _attempt in range(ATTEMPTS):
        missing = list(_missing(user, broadcasts))
        if not missing:
            return True
        try:
            _copy(user, missing, language)
        except ChangedError:
            continue
        except IntegrityError:
            # Another request of the user was quicker, or the account was deleted.
            if _missing(user, broadcasts).exists():
                return False
        return True
    return False


def _missing(user: Any, broadcasts: Iterable[int]) -> Any:
    rows = Broadcast.objects.using(primary_database()).filter(pk__in=broadcasts, withdrawn_at=None)
    return rows.exclude(receipts__user=user.pk).order_by("pk")


def _language_of(user: Any) -> str:
    try:
        code = language_of(user)
    except ImproperlyConfigured:  # which must not break every page of the user
        logger.exception("LANGUAGE_OF failed for the user %s.", user.pk)
        code = None
    return supported_language(code or translation.get_language())[:LANGUAGE_LENGTH]


@retry_on_deadlock
def _copy(user: Any, broadcasts: list[Broadcast], language: str) -> None:
    with transaction.atomic(using=primary_database()):
        plain = [each for each in broadcasts if not audiences.is_function(each.audience)]
        asked = [each for each in broadcasts if audiences.is_function(each.audience)]
        if plain:
            copies = _deliver(user, plain, language)
            _insert_receipts(user, plain, language, copies)
        if asked:
            # Insert the receipts first, so that no other request calls the functions, too.
            _insert_receipts(user, asked, language, {})
            asked = [each for each in asked if audiences.includes(each.audience, user)]
            for pk, copy in _deliver(user, asked, language).items():
                receipts = Receipt.objects.using(primary_database())
                receipts.filter(broadcast=pk, user=user.pk).update(message_id=copy)


def _deliver(user: Any, broadcasts: list[Broadcast], language: str) -> dict[int, int]:
    """Insert the copies; return their keys by the keys of their broadcasts."""
    copies: dict[int, Message] = {}
    for each in broadcasts:
        message = each.in_language(language)
        message.user_id = user.pk
        message.prepare_text()
        copies[each.pk] = message
    mailbox.deliver([*copies.values()])
    return {pk: message.pk for pk, message in copies.items()}


def _insert_receipts(
    user: Any, broadcasts: list[Broadcast], language: str, copies: dict[int, int]
) -> None:
    """Insert a receipt for each of `broadcasts`; one statement.

    Raises `ChangedError` if one of them has changed since it was read, and `IntegrityError` if a
    receipt exists.
    """
    rows = Broadcast.objects.using(primary_database())
    as_read = Q()
    for each in broadcasts:
        as_read |= Q(pk=each.pk, edition=each.edition)
    found = (
        rows.filter(as_read, withdrawn_at=None)
        .order_by()
        .values_list(
            "pk",
            Value(user.pk, output_field=_column("user").target_field),
            Case(
                *(When(pk=pk, then=Value(copy)) for pk, copy in copies.items()),
                output_field=BigIntegerField(),
            ),
            Value(language, output_field=CharField()),
        )
    )
    connection = connections[rows.db]
    sql, parameters = found.query.get_compiler(using=rows.db).as_sql()
    quote = connection.ops.quote_name
    table = quote(Receipt._meta.db_table)
    columns = ", ".join(
        quote(_column(name).column) for name in ("broadcast", "user", "message_id", "language")
    )
    lock = SHARE_LOCK.get(connection.vendor, "")
    with connection.cursor() as cursor:
        statement = f"INSERT INTO {table} ({columns}) {sql}{lock}"
        cursor.execute(statement, parameters)
        if cursor.rowcount != len(broadcasts):
            raise ChangedError


def _column(name: str) -> Any:
    return Receipt._meta.get_field(name)
