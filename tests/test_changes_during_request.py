"""Another tab deletes or moves messages during a request."""

from contextlib import contextmanager

import pytest
from django.db import connection
from django.urls import reverse

from persistent_messages import Folder, LetterRefused, mailbox, send_letter
from persistent_messages.models import Message
from persistent_messages.urls import urlpatterns

from .pages import HTMX, count_heads, prepare, thread_parts

ON_ONE = [p.name for p in urlpatterns if "message_id" in p.pattern.converters]
TABLE = Message._meta.db_table


@contextmanager
def deletion_before_next_update():
    """Delete every message right before the next statement that would change one."""
    gone = []

    def delete_first(execute, sql, params, many, context):
        if not gone and sql.startswith(f"UPDATE {connection.ops.quote_name(TABLE)}"):
            gone.append(sql)
            with connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {TABLE}")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(delete_first):
        yield


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("name", ON_ONE)
def test_action_on_message_deleted_during_request_does_not_fail(
    client, user, other, name, method, headers
):
    letter = send_letter(other, user, "Rota", "Can you take Thursday?").letter
    mine = Message.objects.get(user=user, letter=letter)
    prepare(name, mine)
    data = {"message": "Yes."} if method == "post" else {}

    with deletion_before_next_update():
        answer = getattr(client, method)(reverse(name, args=[mine.pk]), data, headers=headers)

    assert answer.status_code < 500


def test_reply_to_notice_deleted_during_request_is_refused(user, other, send):
    notice = send("Can you take Thursday?", from_user=other)

    with (
        deletion_before_next_update(),
        pytest.raises(LetterRefused, match="can’t reply to this message"),
    ):
        send_letter(user, None, "", "Yes.", notice)

    assert not Message.objects.in_folder(Folder.SENT)


@contextmanager
def after_looking_for_letters(act):
    """Have another tab act between the look for letters among the rows and the move of these."""
    done = []

    def act_after(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if not done and sql.startswith("SELECT DISTINCT"):
            done.append(sql)
            act()
        return result

    with connection.execute_wrapper(act_after):
        yield


@pytest.mark.parametrize("letters_before", [0, 1])
def test_conversation_restored_during_deletion_keeps_one_head(user, other, letters_before):
    """Part of it is in the trash, and the rest returns to the inbox during the deletion."""
    first = send_letter(other, user, "Rota", "Number 1")
    rows = Message.objects.owned_by(user).filter(thread=first.thread)
    mailbox.delete(user, Folder.INBOX, rows)
    for _ in range(2):
        send_letter(other, None, "", "More", first)
    mailbox.archive(user, Folder.INBOX, rows)
    for _ in range(letters_before):
        send_letter(other, user, "Parking", "Hello")

    with after_looking_for_letters(lambda: mailbox.restore(user, Folder.ARCHIVE, rows)):
        mailbox.delete(user, Folder.INBOX, Message.objects.all())

    assert count_heads() == dict.fromkeys(thread_parts(), 1)
