"""The tables. A message is in exactly one folder of exactly one user's mailbox."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from itertools import starmap, zip_longest
from typing import Any, ClassVar, cast

from django.conf import settings
from django.contrib.messages.storage import base as contrib
from django.db import models
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeData, mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from typing_extensions import Self

from .constants import Folder, base_level, is_persistent, level_name, storable
from .db.deletion import cascade
from .db.keys import KeyField, SparseIndex, SparseUniqueConstraint
from .labels import level_word
from .querysets import SEARCHED, MessageQuerySet
from .text.plain import has_visible_text, plain_text_start, to_plain_text
from .text.search import SEARCH_LENGTH, search_text
from .topics import TOPIC_LENGTH, topic_label
from .users.names import NAME_LENGTH, Name, name_of

SNIPPET_LENGTH = 160
KEY_LENGTH = 100
ACTION_LENGTH = 100
AUDIENCE_LENGTH = 200
LANGUAGE_LENGTH = 35


class Message(models.Model):
    """One message in one mailbox.

    Equals a `django.contrib.messages` message with the same level and text, so that
    `assertMessages` keeps working.
    """

    id = models.BigAutoField(primary_key=True)
    # No verbose names: changing one would need a migration on every site.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=cascade,
        related_name="persistent_messages",
        # The composite indexes begin with this column.
        db_index=False,
    )
    folder = models.PositiveSmallIntegerField(default=Folder.INBOX.value)
    from_user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
        db_index=False,  # pm_sender begins with it
    )
    from_name = models.CharField(max_length=NAME_LENGTH, blank=True)
    to_user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
    )
    # The names of all recipients of a sent letter, one on each line.
    to_name = models.TextField(blank=True)
    # The details beside the names: for a sent letter a line for each recipient, else the sender's.
    name_details = models.TextField(blank=True)
    level = models.SmallIntegerField()
    subject = models.CharField(max_length=255, blank=True)
    message = models.TextField()
    is_safe = models.BooleanField(default=False)
    # The folded text to search; empty if the other columns can be searched. Only read by searches.
    search_text = models.TextField(blank=True, editable=False)
    extra_tags = models.TextField(blank=True)
    url = models.CharField(max_length=2000, blank=True)
    # The label of the button that leads to `url`; "" for the default.
    action = models.CharField(max_length=ACTION_LENGTH, blank=True)
    # The name of a registered topic, or "".
    topic = models.CharField(max_length=TOPIC_LENGTH, blank=True)
    # key: a notice replaces the one with the same key in the inbox. A row keeps its key when it is
    # moved. is_live: True for the notice that was delivered last and has stayed in the inbox, else
    # null, which the constraint does not compare. times: how often it was sent while the inbox had
    # one.
    key = KeyField(max_length=KEY_LENGTH, null=True, blank=True)
    is_live = models.BooleanField(null=True, editable=False)
    times = models.PositiveIntegerField(default=1)
    created = models.DateTimeField(default=timezone.now)
    # The browser whose request queued a one-shot message; null for any browser.
    browser = models.BigIntegerField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    expires = models.DateTimeField(null=True, blank=True)
    # The time of the last move between folders. Undo finds its rows by it; nothing else uses it.
    moved_at = models.DateTimeField(null=True, blank=True)
    # The time of the move to the trash; null in every other folder.
    trashed_at = models.DateTimeField(null=True, blank=True)
    close_timeout = models.PositiveIntegerField(null=True, blank=True)
    # letter: shared by all copies of a letter. thread: shared by a conversation. thread_position:
    # 1 for the first letter of the conversation. superseded_by: the key of a newer letter of the
    # conversation in the same folder; null for the thread head, which represents the conversation
    # in the list of the folder, and for every notice.
    letter = models.UUIDField(null=True, blank=True)
    thread = models.UUIDField(null=True, blank=True)
    thread_position = models.PositiveIntegerField(null=True, blank=True)
    superseded_by = models.BigIntegerField(null=True, blank=True)
    # For a thread head: the number of letters on the page of the conversation, null until its
    # heads are updated; and a snippet of the owner's reply if that is the latest letter.
    thread_length = models.PositiveIntegerField(null=True, blank=True)
    reply_snippet = models.CharField(max_length=SNIPPET_LENGTH, blank=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        indexes = [
            # All messages in a folder, newest first.
            models.Index(fields=["user", "folder", "id"], name="pm_folder"),
            # The list of a folder: notices and thread heads.
            models.Index(fields=["user", "folder", "superseded_by", "id"], name="pm_thread_head"),
            # The list of one topic in a folder, and the topics in it. Most rows have no topic.
            SparseIndex(
                fields=["user", "folder", "topic", "superseded_by", "id"],
                name="pm_topic",
                unless_empty="topic",
            ),
            # The unread messages in a folder, newest first: the counter and the list.
            models.Index(
                fields=["user", "folder", "read_at", "superseded_by", "id"], name="pm_unread"
            ),
            # The unread notices for the strip, without the unread letters among them.
            models.Index(fields=["user", "folder", "read_at", "thread", "id"], name="pm_notice"),
            # The rows of an undo. The time is first, so that no read of a mailbox uses this index.
            models.Index(fields=["moved_at", "user"], name="pm_moved"),
            # A conversation in one mailbox.
            models.Index(fields=["user", "thread", "id"], name="pm_thread"),
            # Letters that a user sent recently, and rows to update when that user is deleted.
            models.Index(fields=["from_user", "user", "created"], name="pm_sender"),
            # The rows that prune_messages removes. These indexes do not begin with the folder, or
            # PostgreSQL might use them to read one user's folder among those of all users.
            models.Index(fields=["expires"], name="pm_expires"),
            models.Index(fields=["trashed_at"], name="pm_trashed"),
        ]
        constraints = [
            # The key is first, so that no read of a mailbox uses this index.
            SparseUniqueConstraint(fields=["key", "user", "is_live"], name="pm_key"),
        ]

    def __str__(self) -> str:
        text = str(self.message)
        if not self.subject:
            return text
        if isinstance(text, SafeData):
            return format_html("{}: {}", self.subject, text)
        return f"{self.subject}: {text}"

    def __repr__(self) -> str:
        return f"<Message {self.pk}: level={self.level}, message={str(self.message)!r}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, contrib.Message):
            return bool(self.level == other.level and self.message == other.message)
        return super().__eq__(other)

    __hash__ = models.Model.__hash__

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row, and update `search_text` with its texts."""
        fields = kwargs.get("update_fields")
        if fields is None or not SEARCHED.isdisjoint(fields):
            # If some fields are deferred, any of the loaded ones may have changed.
            if fields is not None or not (SEARCHED - {"is_safe"}).isdisjoint(self.__dict__):
                self.update_search_text()
            if fields is not None:
                kwargs["update_fields"] = {*fields, "search_text"}
        super().save(*args, **kwargs)

    @classmethod
    def from_db(
        cls,
        db: str | None,
        field_names: Collection[str],
        values: Collection[Any],
        **kwargs: Any,
    ) -> Self:
        """Load a row; text that was stored as safe is marked safe again."""
        gaps = _gaps(cls, tuple(field_names))
        if gaps:  # faster than Django, which looks up each field of the model for each row
            values = list(values)
            for place in gaps:
                values.insert(place, models.DEFERRED)
        message = super().from_db(db, field_names, values, **kwargs)
        if message.__dict__.get("is_safe") and "message" in message.__dict__:
            message.message = mark_safe(message.message)  # noqa: S308 (its caller marked it)
        return message

    def prepare_text(self) -> None:
        """Evaluate lazy texts, remove characters that cannot be stored, and set `is_safe`."""
        text = str(self.message)
        self.is_safe = isinstance(text, SafeData)
        text = storable(text)
        self.message = mark_safe(text) if self.is_safe else text  # noqa: S308 (was safe before)
        self.subject = storable(str(self.subject))
        self.extra_tags = storable(str(self.extra_tags))
        self.update_search_text()

    def update_search_text(self) -> None:
        """Set `search_text` from the current texts."""
        self.search_text = search_text(
            str(self.subject),
            "" + str(self.message),
            str(self.from_name),
            str(self.to_name),
            str(self.name_details),
            is_html=bool(self.is_safe),
        )

    @property
    def read(self) -> bool:
        """Whether the message was opened or closed."""
        return self.read_at is not None

    @property
    def folder_name(self) -> str:
        """The name of the folder in `constants.Folder`, such as "INBOX"."""
        return Folder(self.folder).name

    @property
    def is_letter(self) -> bool:
        """Whether the message belongs to a conversation between users."""
        return self.thread is not None

    @property
    def is_sent(self) -> bool:
        """Whether the message is the sender's copy of a letter."""
        # Users cannot write to themselves. A notice in the owner's name has no `letter`.
        return self.letter is not None and self.from_user_id == self.user_id

    @property
    def is_from_user(self) -> bool:
        """Whether the sender is a user, who may have been deleted, and not the site."""
        is_letter = self.letter is not None or self.is_letter
        return is_letter or self.from_user_id is not None or bool(self.from_name)

    @property
    def sender(self) -> Name:
        """The name of the sender; empty for messages from the site and for sent letters."""
        return Name("") if self.is_sent else Name(self.from_name, self.name_details)

    @property
    def recipients(self) -> list[Name]:
        """The names of the recipients of a sent letter; empty for received messages."""
        names = self.to_name.splitlines()
        details = self.name_details.split("\n") if self.is_sent else []
        return list(starmap(Name, zip_longest(names, details[: len(names)], fillvalue="")))

    @property
    def topic_label(self) -> str:
        """The label of the topic, or ""."""
        return topic_label(self.topic)

    @property
    def to_names(self) -> list[str]:
        """The recipients' names without details; empty for received messages."""
        return self.to_name.splitlines()

    @property
    def other_name(self) -> str:
        """The first recipient of a sent letter, or else the sender."""
        return next(iter(self.to_names), self.from_name)

    @property
    def has_expired(self) -> bool:
        """Whether the message has expired, so that no list shows it."""
        return self.expires is not None and self.expires <= timezone.now()

    @property
    def is_persistent(self) -> bool:
        """Whether the level is persistent."""
        return is_persistent(self.level)

    @property
    def base_level(self) -> int:
        """The corresponding level of Django: 40 for a persistent error (140)."""
        return base_level(self.level)

    @property
    def level_tag(self) -> str:
        """The tag in `MESSAGE_TAGS` of the level, or else of the base level."""
        # Read it from the module, because contrib replaces the dict when the setting changes.
        tags = cast("dict[int, str]", contrib.LEVEL_TAGS)
        return str(tags[self.level] if self.level in tags else tags.get(self.base_level, ""))

    @property
    def tags(self) -> str:
        """The extra tags, the level tag and, for persistent messages, `read` or `unread`."""
        state = ("read" if self.read else "unread") if self.is_persistent else ""
        return " ".join(tag for tag in (str(self.extra_tags or ""), self.level_tag, state) if tag)

    @property
    def title(self) -> str:
        """The subject, or else the beginning of the text, as plain text.

        If neither has visible characters, a default text; never empty.
        """
        if self.has_subject:
            return self.subject
        snippet = self.snippet
        if has_visible_text(snippet):
            return snippet
        return _("(no subject)") if self.is_letter else level_word(level_name(self.level))

    @property
    def has_subject(self) -> bool:
        """Whether the subject has visible characters."""
        return has_visible_text(str(self.subject))

    @property
    def plain_text(self) -> str:
        """The text; without tags if it is safe."""
        text = str(self.message)
        return to_plain_text(text) if isinstance(text, SafeData) else text

    @property
    def searched_text(self) -> str:
        """The part of `plain_text` that is searched."""
        return self._beginning(SEARCH_LENGTH)

    def _beginning(self, length: int) -> str:
        text = str(self.message)
        if isinstance(text, SafeData):
            text = plain_text_start(text, 5 * length)
        return text[:length]

    @property
    def snippet(self) -> str:
        """The beginning of the text as plain text on one line."""
        # Read only the beginning of a long text, unless that is nothing but markup and spaces.
        words = self._beginning(10 * SNIPPET_LENGTH).split() or self.searched_text.split()
        text = " ".join(words)
        return text if len(text) <= SNIPPET_LENGTH else Truncator(text).chars(SNIPPET_LENGTH)


@lru_cache(64)
def _gaps(model: type[models.Model], names: tuple[str, ...]) -> list[int]:
    """Return the positions of the columns of `model` that are not in `names`, in order."""
    columns = [field.attname for field in model._meta.concrete_fields]
    return [place for place, name in enumerate(columns) if name not in names]


class Block(models.Model):
    """A block of a user by another, which the blocked user is not told about."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=cascade, related_name="+", db_index=False
    )
    blocked = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=cascade, related_name="+")
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "blocked"], name="pm_block")]

    def __str__(self) -> str:
        return f"{name_of(self.user).label} blocks {name_of(self.blocked).label}"


class Report(models.Model):
    """A report of a letter by its recipient, with copies of the letter and those before it."""

    id = models.BigAutoField(primary_key=True)
    reporter = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, related_name="+", null=True
    )
    accused = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, related_name="+", null=True
    )
    accused_name = models.CharField(max_length=NAME_LENGTH)
    letter = models.UUIDField()
    reason = models.TextField(blank=True)
    # The letters, oldest first, each with its sender, time, subject and text.
    excerpt = models.JSONField()
    created = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["reporter", "letter"], name="pm_report")]
        indexes = [models.Index(fields=["resolved_at", "id"], name="pm_report_open")]

    def __str__(self) -> str:
        return f"{self.accused_name}, {self.created:%Y-%m-%d}"


class Broadcast(models.Model):
    """A message to an audience, stored once. Users get a copy on their next visit."""

    id = models.BigAutoField(primary_key=True)
    level = models.SmallIntegerField()
    subject = models.CharField(max_length=255, blank=True)
    message = models.TextField()
    is_safe = models.BooleanField(default=False, editable=False)
    url = models.CharField(max_length=2000, blank=True)
    action = models.CharField(max_length=ACTION_LENGTH, blank=True)
    topic = models.CharField(max_length=TOPIC_LENGTH, blank=True)
    key = KeyField(max_length=KEY_LENGTH, null=True, blank=True)
    # By language code, the values of TEXTS that differ in that language.
    translations = models.JSONField(default=dict, blank=True)
    audience = models.CharField(max_length=AUDIENCE_LENGTH, default="everybody")
    created = models.DateTimeField(default=timezone.now)
    starts = models.DateTimeField(null=True, blank=True)
    expires = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Incremented by each edit, so that a request that copies the broadcast notices the change.
    edition = models.PositiveIntegerField(default=1, editable=False)
    # The number of users who received it, stored when its receipts are pruned; null before. Without
    # receipts, it must not run again, or it would arrive twice.
    receipt_count = models.PositiveIntegerField(null=True, blank=True, editable=False)

    TEXTS = ("subject", "message", "is_safe", "url", "action")
    """The fields that may differ by language."""

    changes: ClassVar[Any] = None
    """The module `notices.broadcasts`, which sets this, because it cannot be imported here."""

    def __str__(self) -> str:
        return self.in_language("").title

    @property
    def is_running(self) -> bool:
        """Whether users receive it on their next visit."""
        return self.withdrawn_at is None and is_between(self.starts, self.expires)

    def in_language(self, language: str) -> Message:
        """Return an unsaved message without an owner, with the texts in `language`.

        Texts without a translation are those of the site's language. No query.
        """
        texts = {name: getattr(self, name) for name in self.TEXTS}
        texts |= {k: v for k, v in self.translations.get(language, {}).items() if k in texts}
        own = {"level": self.level, "topic": self.topic, "key": self.key, "expires": self.expires}
        message = Message(**texts, **own)
        if message.is_safe:
            message.message = mark_safe(message.message)  # noqa: S308 (its caller marked it)
        return message

    def withdraw(self) -> int:
        """End the broadcast, and remove its copies from inboxes and archives; return how many.

        Nobody receives it any more. Copies in the trash stay there, and undo does not move them
        back. Copies are removed in batches, each in its own transaction. Sends `mailbox_changed`.
        """
        return int(self.changes.withdraw(self))

    def edit(self, **changes: Any) -> int:
        """Change the broadcast and its copies outside the trash; return the number of copies.

        `changes` are arguments of `persistent_messages.broadcast`, except `key`. A new text applies
        to all languages. Copies keep their place and stay read or unread. Raises the same errors as
        `broadcast` before anything is written.
        """
        return int(self.changes.edit(self, **changes))


class Receipt(models.Model):
    """A broadcast that was handled for a user: delivered, or the user is not in its audience."""

    id = models.BigAutoField(primary_key=True)
    broadcast = models.ForeignKey(
        Broadcast,
        on_delete=models.CASCADE,
        related_name="receipts",
        db_index=False,  # pm_receipt begins with it
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=cascade, related_name="+")
    # The copy, which may have been deleted; null if the user is not in the audience. It is not a
    # foreign key, because the id alone is not unique in a partitioned table.
    message_id = models.BigIntegerField(null=True)
    # The language of the copy: a key of `Broadcast.translations`, or "".
    language = models.CharField(max_length=LANGUAGE_LENGTH, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["broadcast", "user"], name="pm_receipt")]

    def __str__(self) -> str:
        return f"{self.broadcast_id}: {self.user_id}"


def is_between(starts: datetime | None, expires: datetime | None) -> bool:
    """Return whether now is between `starts` and `expires`; None means unlimited."""
    now = timezone.now()
    return (starts is None or starts <= now) and (expires is None or expires > now)


class Preference(models.Model):
    """A user's preferences for a topic. There is no row for the site's defaults.

    With the topic `MAIL`, all mail is paused until `until`. If that is null, it is paused because
    mail to the user's address was returned.
    """

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=cascade, related_name="+", db_index=False
    )
    topic = models.CharField(max_length=TOPIC_LENGTH, blank=True)
    in_inbox = models.BooleanField(default=True)
    # One of `MAIL_CHOICES`; "" for the site's default.
    mail = models.CharField(max_length=10, blank=True)
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "topic"], name="pm_preference")]

    def __str__(self) -> str:
        return f"{name_of(self.user).label}, {self.topic or '-'}"


class DueMail(models.Model):
    """A message to be mailed. The row is deleted after that, or if it is no longer necessary."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=cascade, related_name="+")
    # Not a foreign key, because the table of messages may be replaced by a partitioned one. A
    # message that has been deleted is not mailed.
    message_id = models.BigIntegerField()
    # The conversation of a letter: waiting letters of a conversation are one mail.
    thread = models.UUIDField(null=True)
    # One of `MAIL_CHOICES`.
    choice = models.CharField(max_length=10)
    # While claimed, the end of the claim: if the process was killed, the row is then due again.
    due = models.DateTimeField()
    # The last claim. Rows with the same claim make the same mails when they are retried.
    claim = models.UUIDField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["due", "id"], name="pm_due")]

    def __str__(self) -> str:
        return f"{self.choice}, {self.due:%Y-%m-%d %H:%M}"
