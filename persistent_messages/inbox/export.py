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
# JSON allows these characters in a string, but some programs begin a new line at them.
LINE_BREAKS = {ord(each): json.dumps(each)[1:-1] for each in "\x85\u2028\u2029"}
FOLDERS = [folder for folder in Folder if folder != Folder.TOMBSTONE]


def export_lines(user_id: Any) -> Iterator[str]:
    """Yield everything that is stored about a user as lines of JSON, with line breaks.

    First the messages, folder by folder and oldest first. Then the users that they have blocked,
    the letters that they have reported, and the preferences. Lazy: one query for each 1,000
    messages, so memory use is constant. Other users have the same names as in the inbox, never
    their mail addresses.
    """
    for record in _records(user_id):
        yield json.dumps(record, ensure_ascii=False).translate(LINE_BREAKS) + "\n"


def _records(user_id: Any) -> Iterator[dict[str, Any]]:
    for folder in FOLDERS:
        for message in _messages(user_id, folder):
            yield _record(message)
    for block in Block.objects.filter(user=user_id).select_related("blocked").order_by("pk"):
        yield {
            "type": "block",
            "name": name_of(block.blocked).label,
            "created": _time(block.created),
        }
    for report in Report.objects.filter(reporter=user_id).order_by("pk").iterator():
        yield {
            "type": "report",
            "name": report.accused_name,
            "reason": report.reason,
            "letters": report.excerpt,
            "created": _time(report.created),
        }
    chosen = choices.export(user_id)
    if chosen["topics"] or chosen["mail_is_paused"]:
        yield {"type": "preferences", **chosen}


def _messages(user_id: Any, folder: Folder) -> Iterator[Message]:
    rows = Message.objects.owned_by(user_id).in_folder(folder).order_by("pk")
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
