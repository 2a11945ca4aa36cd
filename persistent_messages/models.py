"""The table: one row lies in exactly one folder of exactly one user's mailbox."""

from __future__ import annotations

from collections.abc import Collection
from html import unescape
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.contrib.messages.storage import base as contrib
from django.core.exceptions import SuspiciousOperation
from django.db import models
from django.utils import timezone
from django.utils.html import format_html, strip_tags
from django.utils.safestring import SafeData, mark_safe
from django.utils.text import Truncator

from .constants import Folder, base_level, is_persistent, storable
from .querysets import MessageQuerySet

if TYPE_CHECKING:
    from typing_extensions import Self

NAME_LENGTH = 150
SNIPPET_LENGTH = 160


class Message(models.Model):
    """One message in one mailbox.

    Equals a `django.contrib.messages` message of the same level and text, so that a site's
    `assertMessages` goes on working.
    """

    id = models.BigAutoField(primary_key=True)
    # No labels here: a changed word would mean a migration for every site.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
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
    level = models.SmallIntegerField()
    subject = models.CharField(max_length=255, blank=True)
    message = models.TextField()
    is_safe = models.BooleanField(default=False)
    extra_tags = models.CharField(max_length=128, blank=True)
    url = models.CharField(max_length=2000, blank=True)
    created = models.DateTimeField(default=timezone.now)
    read_at = models.DateTimeField(null=True, blank=True)
    expires = models.DateTimeField(null=True, blank=True)
    # Of the last move between folders, by which one undo finds what to take back: for nothing else.
    moved_at = models.DateTimeField(null=True, blank=True)
    # Since when it lies in the trash; null in every other folder.
    trashed_at = models.DateTimeField(null=True, blank=True)
    close_timeout = models.PositiveIntegerField(null=True, blank=True)
    # Of a letter: which it is and which conversation it belongs to, the same in all its copies; its
    # place in the conversation, from 1; and the newer one of the conversation that stands for it in
    # the list of its folder, null where it stands there itself, as every notice does.
    letter = models.UUIDField(null=True, blank=True)
    thread = models.UUIDField(null=True, blank=True)
    thread_position = models.PositiveIntegerField(null=True, blank=True)
    followed_by = models.BigIntegerField(null=True, blank=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        indexes = [
            # All of a folder, newest first.
            models.Index(fields=["user", "folder", "id"], name="pm_folder"),
            # A page of it: notices and the heads of conversations.
            models.Index(fields=["user", "folder", "followed_by", "id"], name="pm_head"),
            # One level of a folder.
            models.Index(fields=["user", "folder", "level", "followed_by", "id"], name="pm_level"),
            # The unread of a folder, newest first: the counter and the strip.
            models.Index(
                fields=["user", "folder", "read_at", "followed_by", "id"], name="pm_unread"
            ),
            # What one undo takes back. The time first, so that no read of a mailbox takes it.
            models.Index(fields=["moved_at", "user"], name="pm_moved"),
            # A conversation in one mailbox.
            models.Index(fields=["user", "thread", "id"], name="pm_thread"),
            # What somebody sent lately; and what to settle when that account goes.
            models.Index(fields=["from_user", "user", "created"], name="pm_sender"),
            # What prune_messages removes. None begins with the folder: by such an index PostgreSQL
            # might read that folder of everybody where it is asked for that of one.
            models.Index(fields=["expires"], name="pm_expires"),
            models.Index(fields=["trashed_at"], name="pm_trashed"),
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

    @classmethod
    def from_db(
        cls,
        db: str | None,
        field_names: Collection[str],
        values: Collection[Any],
        **kwargs: Any,
    ) -> Self:
        """Load a row; text that was stored as safe is safe again."""
        message = super().from_db(db, field_names, values, **kwargs)
        if message.__dict__.get("is_safe") and "message" in message.__dict__:
            message.message = mark_safe(message.message)  # noqa: S308 (its caller marked it)
        return message

    def settle_text(self) -> None:
        """Force lazy texts, drop what no database stores, note whether the text is safe."""
        text = str(self.message)
        self.is_safe = isinstance(text, SafeData)
        text = storable(text)
        self.message = mark_safe(text) if self.is_safe else text  # noqa: S308 (was safe before)
        self.subject = storable(str(self.subject))
        self.extra_tags = storable(str(self.extra_tags))

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
    def to_names(self) -> list[str]:
        """The names of those to whom its owner sent it; empty for what its owner received."""
        return self.to_name.splitlines()

    @property
    def other_name(self) -> str:
        """The name of the other end: the first recipient of a sent letter, else the sender."""
        return self.to_names[0] if self.to_name else self.from_name

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
        """The subject, or the beginning of the text where there is none; plain text."""
        return self.subject or self.snippet

    @property
    def plain_text(self) -> str:
        """The text; of safe text what remains without its tags."""
        return self._plain(str(self.message))

    @staticmethod
    def _plain(text: str) -> str:
        if not isinstance(text, SafeData):
            return text
        try:
            return unescape(strip_tags(text))
        except SuspiciousOperation:  # markup beyond what Django takes apart: show it as it is
            return "" + text

    @property
    def snippet(self) -> str:
        """The beginning of the text on one line, plain."""
        text = str(self.message)
        begin = text[: 10 * SNIPPET_LENGTH]  # enough, however long it is
        if isinstance(text, SafeData):
            if begin.rfind("<") > begin.rfind(">"):
                begin = begin[: begin.rfind("<")]  # not the beginning of a tag
            begin = self._plain(mark_safe(begin))  # noqa: S308 (only to lose its tags)
        return Truncator(" ".join(begin.split())).chars(SNIPPET_LENGTH)


class Block(models.Model):
    """A user who does not want letters of another, who is not told."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    blocked = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "blocked"], name="pm_block")]

    def __str__(self) -> str:
        return f"{self.user} blocks {self.blocked}"


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
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="+",
        null=True,
        blank=True,
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["reporter", "letter"], name="pm_report")]
        indexes = [models.Index(fields=["settled_at", "id"], name="pm_report_open")]

    def __str__(self) -> str:
        return f"{self.accused_name}, {self.created:%Y-%m-%d}"
