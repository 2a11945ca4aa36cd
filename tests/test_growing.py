"""The chapter on growing: moving to PostgreSQL, and the settings."""

import json
from datetime import timedelta
from importlib import import_module
from io import StringIO

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString, mark_safe

from persistent_messages import INFO, send_letter, send_message
from persistent_messages.letters import policy, reports
from persistent_messages.models import Block, Message, Report

from .growing import code_block, commands, settings_of

User = get_user_model()
OURS = (Message, Block, Report)
MOVE = "with DATABASE_URL of SQLite"


def everything(*models):
    return [list(model.objects.order_by("pk").values()) for model in models]


def test_messages_are_moved_from_old_database_unchanged(user, other, other_database):
    other_database("old")
    a_day = timedelta(days=1, microseconds=1)  # which JSON would truncate
    send_message(user, INFO, mark_safe("<b>Bold</b> 🎉"), expires=timezone.now() + a_day)
    sent = send_letter(other, user, "Rota", "Can you take Thursday?")
    reports.report(user, Message.objects.get(user=user, letter=sent.letter), "Rude")
    policy.block(user, other)
    before = everything(*OURS)
    for model in (User, *OURS):
        model.objects.using("old").bulk_create(list(model.objects.all()))
    for model in OURS:
        model.objects.all().delete()

    exec(code_block("move_messages.py"), {})

    assert everything(*OURS) == before
    assert isinstance(Message.objects.earliest("pk").message, SafeString)


@pytest.mark.django_db(transaction=True, reset_sequences=True)
def test_sequence_is_reset_after_move(user, other_database):
    other_database("old")
    Message.objects.using("old").create(pk=1, user=user, level=INFO, message="Of old")
    *_, reset = commands(MOVE)

    exec(code_block("move_messages.py"), {})
    out = StringIO()
    call_command(*reset, stdout=out, no_color=True)
    with connection.cursor() as cursor:
        for statement in out.getvalue().splitlines():
            cursor.execute(statement)
    send_message(user, INFO, "Next")

    assert [*Message.objects.order_by("pk").values_list("pk", "message")] == [
        (1, "Of old"),
        (2, "Next"),
    ]


def test_users_and_permissions_are_moved(user, client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    team = Group.objects.create(name="Team")
    team.permissions.add(Permission.objects.get(codename="delete_message"))
    user.groups.add(team)
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Group),
        object_id=team.pk,
        action_flag=CHANGE,
    )
    dump, _migrate, load, *_ = commands(MOVE)

    call_command(*dump, verbosity=0)
    for model in (LogEntry, User, Group, Session):
        model.objects.all().delete()
    call_command(*load, verbosity=0)

    assert [*User.objects.values_list("pk", "username")] == [(user.pk, "sally")]
    assert User.objects.get().has_perm("persistent_messages.delete_message")
    assert LogEntry.objects.get().get_edited_object() == team
    assert client.get("/messages/").status_code == 200  # still signed in


def test_sqlite_settings_equal_those_of_demo():
    databases = {"default": {}}
    settings_of("mysite/settings.py: SQLite", DATABASES=databases)

    source = (import_module("demo.settings").BASE_DIR / "demo" / "settings.py").read_text()
    for name, value in databases["default"]["OPTIONS"].items():
        assert f'"{name}": {json.dumps(value)}' in source


def test_settings_for_move_have_old_database(monkeypatch):
    monkeypatch.setenv("OLD_URL", "sqlite:////srv/db.sqlite3")
    databases = {}
    settings_of("mysite/settings.py: moving", DATABASES=databases)

    assert databases["old"]["NAME"] == "/srv/db.sqlite3"


def test_redis_settings_name_existing_classes():
    new = settings_of("mysite/settings.py: Redis")

    assert import_string(new["CACHES"]["default"]["BACKEND"])
    assert import_module(new["SESSION_ENGINE"]).SessionStore
