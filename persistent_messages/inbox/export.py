"""Export a mailbox as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from persistent_messages.constants import Folder, level_name
from persistent_messages.models import Block, Message, Report
from persistent_messages.preferences import choices
from persistent_messages.users.names import name_of

PAGE_SIZE = 1000
FOLDERS = [folder for folder in Folder if folder != Folder.TOMBSTONE]


def export_lines(user: Any) -> Iterator[str]:
    """Yield everything that is stored about `user` as lines of JSON, with line breaks.

    First the messages, folder by folder and oldest first. Then the users that `user` has blocked,
    the letters that `user` has reported, and the preferences. Lazy: one query for each 1,000
    messages, so memory use is constant. Other users have the same names as in the inbox, never
    their mail addresses.
    """
    for record in _records(user):
        yield json.dumps(record, ensure_ascii=False) + "\n"


def _records(user: Any) -> Iterator[dict[str, Any]]:
    for folder in FOLDERS:
        for message in _messages(user, folder):
            yield _record(message)
    for block in Block.objects.filter(user=user).select_related("blocked").order_by("pk"):
        yield {
            "type": "block",
            "name": name_of(block.blocked).label,
            "created": _time(block.created),
        }
    for report in Report.objects.filter(reporter=user).order_by("pk").iterator():
        yield {
            "type": "report",
            "name": report.accused_name,
            "reason": report.reason,
            "letters": report.excerpt,
            "created": _time(report.created),
        }
    chosen = choices.export(user)
    if chosen["topics"] or chosen["mail_is_paused"]:
        yield {"type": "preferences", **chosen}


def _messages(user: Any, folder: Folder) -> Iterator[Message]:
    rows = Message.objects.owned_by(user).in_folder(folder).order_by("pk")
    rest = rows
    while page := list(rest[:PAGE_SIZE]):
        yield from page
        rest = rows.filter(pk__gt=page[-1].pk)


def _record(message: Message) -> dict[str, Any]:
    return {
        "type": "letter" if message.is_letter or message.is_sent else "message",
        "id": message.pk,
        "folder": message.folder_name.lower(),
        "level": level_name(message.level),
        "subject": message.subject,
        "message": str(message.message),
        "is_html": message.is_safe,
        "from": message.sender.label,
        "to": [name.label for name in message.recipients],
        "conversation": message.thread and str(message.thread),
        "topic": message.topic,
        "key": message.key,
        "times": message.times,
        "url": message.url,
        "action": message.action,
        "extra_tags": message.extra_tags,
        "created": _time(message.created),
        "read": _time(message.read_at),
        "moved": _time(message.moved_at),
        "expires": _time(message.expires),
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
