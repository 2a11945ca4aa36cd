"""The table: one row lies in exactly one folder of exactly one user's mailbox."""

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
from .db.keys import KeyField, SparseUniqueConstraint
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

    Equals a `django.contrib.messages` message of the same level and text, so that a site's
    `assertMessages` goes on working.
    """

    id = models.BigAutoField(primary_key=True)
    # No labels here: a changed word would mean a migration for every site.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=cascade,
        related_name="persistent_messages",
        # The composite indexes begin with it.
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
    # Of a sent letter: the names of all its recipients, a line each.
    to_name = models.TextField(blank=True)
    # What stands beside these names: of a sent letter a line for each recipient, else the sender's.
    name_details = models.TextField(blank=True)
    level = models.SmallIntegerField()
    subject = models.CharField(max_length=255, blank=True)
    message = models.TextField()
    is_safe = models.BooleanField(default=False)
    # What a search looks through, empty where the other columns will do. Written with the row, and
    # read by searches only.
    search_text = models.TextField(blank=True, editable=False)
    extra_tags = models.TextField(blank=True)
    url = models.CharField(max_length=2000, blank=True)
    # What a button says that leads to `url`; "" for the usual word.
    action = models.CharField(max_length=ACTION_LENGTH, blank=True)
    # What a notice is about, by the name of a registered topic; "" for none.
    topic = models.CharField(max_length=TOPIC_LENGTH, blank=True)
    # What a notice says, whatever its words: sent again, it replaces the one in the inbox. A row
    # keeps its key wherever it is moved. is_live: True for the one that was delivered last and has
    # not left the inbox since; else null, which the constraint does not compare. times: how often
    # it was sent since there was none in the inbox.
    key = KeyField(max_length=KEY_LENGTH, null=True, blank=True)
    is_live = models.BooleanField(null=True, editable=False)
    times = models.PositiveIntegerField(default=1)
    created = models.DateTimeField(default=timezone.now)
    # Of a one-shot message: the browser whose request queued it; null for any.
    browser = models.BigIntegerField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    expires = models.DateTimeField(null=True, blank=True)
    # Of the last move between folders, by which one undo finds what to take back: for nothing else.
    moved_at = models.DateTimeField(null=True, blank=True)
    # Since when it lies in the trash; null in every other folder.
    trashed_at = models.DateTimeField(null=True, blank=True)
    close_timeout = models.PositiveIntegerField(null=True, blank=True)
    # letter: shared by all copies of one letter. thread: shared by a conversation. thread_position:
    # 1 for the first letter of the conversation. superseded_by: key of a newer letter of the
    # conversation in the same folder; null if this row stands for the conversation in the list of
    # its folder (the thread head), and for every notice.
    letter = models.UUIDField(null=True, blank=True)
    thread = models.UUIDField(null=True, blank=True)
    thread_position = models.PositiveIntegerField(null=True, blank=True)
    superseded_by = models.BigIntegerField(null=True, blank=True)
    # Of a thread head: how many letters the page of the conversation shows, null until its heads
    # are updated; and how the owner's own letter begins, if that is the latest.
    thread_length = models.PositiveIntegerField(null=True, blank=True)
    reply_snippet = models.CharField(max_length=SNIPPET_LENGTH, blank=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        indexes = [
            # All of a folder, newest first.
            models.Index(fields=["user", "folder", "id"], name="pm_folder"),
            # A page of it: notices and thread heads.
            models.Index(fields=["user", "folder", "superseded_by", "id"], name="pm_thread_head"),
            # One level of a folder.
            models.Index(
                fields=["user", "folder", "level", "superseded_by", "id"], name="pm_level"
            ),
            # The unread of a folder, newest first: the counter and the list.
            models.Index(
                fields=["user", "folder", "read_at", "superseded_by", "id"], name="pm_unread"
            ),
            # The unread notices, for the strip: however many letters lie unread above them.
            models.Index(fields=["user", "folder", "read_at", "thread", "id"], name="pm_notice"),
            # What one undo takes back. The time first, so that no read of a mailbox takes it.
            models.Index(fields=["moved_at", "user"], name="pm_moved"),
            # A conversation in one mailbox.
            models.Index(fields=["user", "thread", "id"], name="pm_thread"),
            # What somebody sent lately; and what to update when that account is deleted.
            models.Index(fields=["from_user", "user", "created"], name="pm_sender"),
            # What prune_messages removes. None begins with the folder: by such an index PostgreSQL
            # might read that folder of everybody where it is asked for that of one.
            models.Index(fields=["expires"], name="pm_expires"),
            models.Index(fields=["trashed_at"], name="pm_trashed"),
        ]
        constraints = [
            # The key first, so that no read of a mailbox takes it.
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
        """Save the row, and what a search looks through with its texts."""
        fields = kwargs.get("update_fields")
        if fields is None or not SEARCHED.isdisjoint(fields):
            # Of a row that was loaded in parts, those that it has may have changed.
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
        """Load a row; text that was stored as safe is safe again."""
        gaps = _gaps(cls, tuple(field_names))
        if gaps:  # else Django looks each field of the model up in the names, for each row
            values = list(values)
            for place in gaps:
                values.insert(place, models.DEFERRED)
        message = super().from_db(db, field_names, values, **kwargs)
        if message.__dict__.get("is_safe") and "message" in message.__dict__:
            message.message = mark_safe(message.message)  # noqa: S308 (its caller marked it)
        return message

    def prepare_text(self) -> None:
        """Force lazy texts, drop what no database stores, note whether the text is safe."""
        text = str(self.message)
        self.is_safe = isinstance(text, SafeData)
        text = storable(text)
        self.message = mark_safe(text) if self.is_safe else text  # noqa: S308 (was safe before)
        self.subject = storable(str(self.subject))
        self.extra_tags = storable(str(self.extra_tags))
        self.update_search_text()

    def update_search_text(self) -> None:
        """Note what a search looks through, as the texts are now."""
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
        """Whether it was opened or closed."""
        return self.read_at is not None

    @property
    def folder_name(self) -> str:
        """Where it lies, as `constants.Folder` names it: "INBOX", for one."""
        return Folder(self.folder).name

    @property
    def is_letter(self) -> bool:
        """Whether it belongs to a conversation between users."""
        return self.thread is not None

    @property
    def is_sent(self) -> bool:
        """Whether it is the copy of a letter that its owner wrote."""
        # Nobody writes to themselves; what a site sends in a user's own name is no letter.
        return self.letter is not None and self.from_user_id == self.user_id

    @property
    def is_from_user(self) -> bool:
        """Whether it is from a user, or in the name of one, who may be gone; else from the site."""
        is_letter = self.letter is not None or self.is_letter
        return is_letter or self.from_user_id is not None or bool(self.from_name)

    @property
    def sender(self) -> Name:
        """How its sender is named; blank for what the site sent, and for one's own letters."""
        return Name("") if self.is_sent else Name(self.from_name, self.name_details)

    @property
    def recipients(self) -> list[Name]:
        """How those are named to whom its owner sent it; empty for what its owner received."""
        names = self.to_name.splitlines()
        details = self.name_details.split("\n") if self.is_sent else []
        return list(starmap(Name, zip_longest(names, details[: len(names)], fillvalue="")))

    @property
    def topic_label(self) -> str:
        """What people read of its topic; "" for none."""
        return topic_label(self.topic)

    @property
    def to_names(self) -> list[str]:
        """The names of those to whom its owner sent it; empty for what its owner received."""
        return self.to_name.splitlines()

    @property
    def other_name(self) -> str:
        """The name of the other end: the first recipient of a sent letter, else the sender."""
        return next(iter(self.to_names), self.from_name)

    @property
    def has_expired(self) -> bool:
        """Whether its time is over: it is in no list any more."""
        return self.expires is not None and self.expires <= timezone.now()

    @property
    def is_persistent(self) -> bool:
        """Whether it stays until somebody deletes it."""
        return is_persistent(self.level)

    @property
    def base_level(self) -> int:
        """Django's level of the same meaning, to compare with: 40 for a persistent error (140)."""
        return base_level(self.level)

    @property
    def level_tag(self) -> str:
        """The tag of its own level, else of its base level, as `MESSAGE_TAGS` has it now."""
        # Through the module: contrib replaces the object when the setting changes.
        tags = cast("dict[int, str]", contrib.LEVEL_TAGS)
        return str(tags[self.level] if self.level in tags else tags.get(self.base_level, ""))

    @property
    def tags(self) -> str:
        """Extra tags, level tag and, for a persistent message, `read` or `unread`."""
        state = ("read" if self.read else "unread") if self.is_persistent else ""
        return " ".join(tag for tag in (str(self.extra_tags or ""), self.level_tag, state) if tag)

    @property
    def title(self) -> str:
        """The subject, or the beginning of the text where there is none; plain text.

        Where neither shows anything, what is to be said instead: never blank.
        """
        if self.has_subject:
            return self.subject
        snippet = self.snippet
        if has_visible_text(snippet):
            return snippet
        return _("(no subject)") if self.is_letter else level_word(level_name(self.level))

    @property
    def has_subject(self) -> bool:
        """Whether there is anything to see of a subject."""
        return has_visible_text(str(self.subject))

    @property
    def plain_text(self) -> str:
        """The text; of safe text what remains without its tags."""
        text = str(self.message)
        return to_plain_text(text) if isinstance(text, SafeData) else text

    @property
    def searched_text(self) -> str:
        """As much of `plain_text` as a search looks through."""
        return self._beginning(SEARCH_LENGTH)

    def _beginning(self, length: int) -> str:
        text = str(self.message)
        if isinstance(text, SafeData):
            text = plain_text_start(text, 5 * length)
        return text[:length]

    @property
    def snippet(self) -> str:
        """The beginning of the text on one line, plain."""
        # Enough, however long it is; or more, where that is nothing but markup and spaces.
        words = self._beginning(10 * SNIPPET_LENGTH).split() or self.searched_text.split()
        text = " ".join(words)
        return text if len(text) <= SNIPPET_LENGTH else Truncator(text).chars(SNIPPET_LENGTH)


@lru_cache(64)
def _gaps(model: type[models.Model], names: tuple[str, ...]) -> list[int]:
    """Return where the columns of `model` stand that a query left out, lowest first."""
    columns = [field.attname for field in model._meta.concrete_fields]
    return [place for place, name in enumerate(columns) if name not in names]


class Block(models.Model):
    """A user who does not want letters of another, who is not told."""

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
    """A letter that its recipient showed to the staff, with what came before it, as it was then."""

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
    # The letters, oldest first: name, time, subject and text of each.
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
    """A message to an audience: one row, which each user gets a copy of when they come."""

    id = models.BigAutoField(primary_key=True)
    level = models.SmallIntegerField()
    subject = models.CharField(max_length=255, blank=True)
    message = models.TextField()
    is_safe = models.BooleanField(default=False, editable=False)
    url = models.CharField(max_length=2000, blank=True)
    action = models.CharField(max_length=ACTION_LENGTH, blank=True)
    topic = models.CharField(max_length=TOPIC_LENGTH, blank=True)
    key = KeyField(max_length=KEY_LENGTH, null=True, blank=True)
    # By the code of a language: those of TEXTS that differ in it.
    translations = models.JSONField(default=dict, blank=True)
    audience = models.CharField(max_length=AUDIENCE_LENGTH, default="everybody")
    created = models.DateTimeField(default=timezone.now)
    starts = models.DateTimeField(null=True, blank=True)
    expires = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Counts its changes: who copies it finds out whether it is still what they read.
    edition = models.PositiveIntegerField(default=1, editable=False)

    TEXTS = ("subject", "message", "is_safe", "url", "action")
    """What may differ by language."""

    changes: ClassVar[Any] = None
    """What changes its copies: the module `notices.broadcasts`, which stands above this one."""

    def __str__(self) -> str:
        return self.in_language("").title

    @property
    def is_running(self) -> bool:
        """Whether users who come get it."""
        return self.withdrawn_at is None and is_between(self.starts, self.expires)

    def in_language(self, language: str) -> Message:
        """Return it as a message that is not saved and has no owner, with the texts of a language.

        Its own texts where it has none in that language. No query.
        """
        texts = {name: getattr(self, name) for name in self.TEXTS}
        texts |= {k: v for k, v in self.translations.get(language, {}).items() if k in texts}
        own = {"level": self.level, "topic": self.topic, "key": self.key, "expires": self.expires}
        message = Message(**texts, **own)
        if message.is_safe:
            message.message = mark_safe(message.message)  # noqa: S308 (its caller marked it)
        return message

    def withdraw(self) -> int:
        """End it, and remove its copies from inboxes and archives; returns how many.

        Nobody gets it any more. A copy in the trash stays there, and no undo moves it back. Of
        copies a batch at a time, each in a transaction of its own; sends `mailbox_changed`.
        """
        return int(self.changes.withdraw(self))

    def edit(self, **changes: Any) -> int:
        """Change it, and its copies that are not in the trash; returns how many of these.

        `changes` are arguments of `persistent_messages.broadcast`, all but `key`. A new text is
        for all languages. Neither the order of a mailbox changes, nor what is read. Raises what
        `broadcast` raises, before anything is written.
        """
        return int(self.changes.edit(self, **changes))


class Receipt(models.Model):
    """A user who was asked about a broadcast: who got a copy, and who is not in its audience."""

    id = models.BigAutoField(primary_key=True)
    broadcast = models.ForeignKey(
        Broadcast,
        on_delete=models.CASCADE,
        related_name="receipts",
        db_index=False,  # pm_receipt begins with it
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=cascade, related_name="+")
    # The copy, which may be gone; null for a user who is not in the audience. No foreign key: in a
    # partitioned table an id alone is not unique for the database.
    message_id = models.BigIntegerField(null=True)
    # Which texts the copy has: a code of `Broadcast.translations`, or "".
    language = models.CharField(max_length=LANGUAGE_LENGTH, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["broadcast", "user"], name="pm_receipt")]

    def __str__(self) -> str:
        return f"{self.broadcast_id}: {self.user_id}"


def is_between(starts: datetime | None, expires: datetime | None) -> bool:
    """Tell whether `starts` has come, and `expires` has not; None for any time."""
    now = timezone.now()
    return (starts is None or starts <= now) and (expires is None or expires > now)


class Preference(models.Model):
    """What a user chose for a topic. There is no row while that is what the site set.

    `MAIL` in the place of a topic: the user gets no mail at all, until `until`; where that is null,
    since mail to that address came back.
    """

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=cascade, related_name="+", db_index=False
    )
    topic = models.CharField(max_length=TOPIC_LENGTH, blank=True)
    in_inbox = models.BooleanField(default=True)
    # One of `MAIL_CHOICES`; "" for what the site set.
    mail = models.CharField(max_length=10, blank=True)
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "topic"], name="pm_preference")]

    def __str__(self) -> str:
        return f"{name_of(self.user).label}, {self.topic or '-'}"


class DueMail(models.Model):
    """A message that is to be mailed. The row goes once that is done, or needless."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=cascade, related_name="+")
    # No foreign key: the table of messages may be replaced by a partitioned one, and what was
    # deleted meanwhile is not mailed.
    message_id = models.BigIntegerField()
    # The conversation of a letter: those of one that wait are one mail.
    thread = models.UUIDField(null=True)
    # One of `MAIL_CHOICES`.
    choice = models.CharField(max_length=10)
    # Also how long whoever claimed it has: who was killed leaves it due again.
    due = models.DateTimeField()
    # Who sends it, or was about to: rows of one claim make the same mails when tried again.
    claim = models.UUIDField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["due", "id"], name="pm_due")]

    def __str__(self) -> str:
        return f"{self.choice}, {self.due:%Y-%m-%d %H:%M}"
