"""The migrations: complete, and without texts whose change would need a migration."""

from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader

import persistent_messages

from .partitions import TABLE, partition

FOLDER = Path(persistent_messages.__file__).parent / "migrations"
FILES = sorted(FOLDER.glob("0*.py"))


def operations():
    for file in FILES:
        yield from import_module(f"persistent_messages.migrations.{file.stem}").Migration.operations


def fields():
    for operation in operations():
        if isinstance(operation, migrations.CreateModel):
            yield from operation.fields
        if isinstance(operation, migrations.AddField | migrations.AlterField):
            yield operation.name, operation.field


def tables():
    with connection.cursor() as cursor:
        return connection.introspection.table_names(cursor)


def test_no_migration_is_missing(db, capsys):
    call_command("makemigrations", "persistent_messages", check=True, dry_run=True)

    assert "No changes detected" in capsys.readouterr().out


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_no_migration_is_missing_in_another_language(db, settings, language):
    settings.LANGUAGE_CODE = language

    call_command("makemigrations", "persistent_messages", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize(
    "settings_of_a_site",
    [
        {"MESSAGE_TAGS": {140: "danger", 155: "special"}},
        {"PERSISTENT_MESSAGES": {"PAGE_SIZE": 7}},
        {"DEFAULT_AUTO_FIELD": "django.db.models.AutoField"},
        {"USE_TZ": False},
    ],
)
def test_settings_of_site_cause_no_migration(db, settings, settings_of_a_site):
    for name, value in settings_of_a_site.items():
        setattr(settings, name, value)

    call_command("makemigrations", "persistent_messages", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_migrations_contain_no_labels_or_choices(file):
    code = file.read_text()

    for word in ("verbose_name", "help_text", "choices", "gettext"):
        assert word not in code


def test_migration_fields_have_no_choices_or_labels():
    found = dict(fields())

    assert {"user", "folder", "level", "message", "read_at", "expires"} <= set(found)
    for name, field in found.items():
        assert not field.choices, name
        assert not field.help_text, name
        assert field._verbose_name is None, name


def test_level_and_folder_have_suitable_columns():
    found = dict(fields())

    assert isinstance(found["id"], models.BigAutoField)
    assert isinstance(found["level"], models.SmallIntegerField)
    assert isinstance(found["folder"], models.PositiveSmallIntegerField)


def test_migrations_depend_only_on_user_model():
    loader = MigrationLoader(None)
    apps_needed = {
        parent
        for migration in loader.disk_migrations.values()
        if migration.app_label == "persistent_messages"
        for parent, _ in migration.dependencies
    }

    assert apps_needed - {"persistent_messages"} == {"auth"}


def test_migration_graph_has_one_leaf():
    loader = MigrationLoader(None)

    assert len(loader.graph.leaf_nodes("persistent_messages")) == 1


@pytest.mark.django_db(transaction=True)
def test_migrations_can_be_reversed():
    assert TABLE in tables()
    try:
        call_command("migrate", "persistent_messages", "zero", verbosity=0)
        assert TABLE not in tables()
    finally:
        call_command("migrate", "persistent_messages", verbosity=0)
        partition()
    assert TABLE in tables()


def test_table_has_exactly_expected_indexes(db):
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, TABLE)
    ours = {name: c["columns"] for name, c in found.items() if name.startswith("pm_")}

    assert ours == {
        "pm_folder": ["user_id", "folder", "id"],
        "pm_thread_head": ["user_id", "folder", "superseded_by", "id"],
        "pm_topic": ["user_id", "folder", "topic", "superseded_by", "id"],
        "pm_unread": ["user_id", "folder", "read_at", "superseded_by", "id"],
        "pm_notice": ["user_id", "folder", "read_at", "thread", "id"],
        "pm_thread": ["user_id", "thread", "id"],
        "pm_sender": ["from_user_id", "user_id", "created"],
        "pm_moved": ["moved_at", "user_id"],
        "pm_expires": ["expires"],
        "pm_trashed": ["trashed_at"],
        "pm_key": ["key", "user_id", "is_live"],
    }
    # The foreign key of the recipient has one; those of owner and sender begin the ones above.
    on_user = [c for c in found.values() if c["index"] and c["columns"] == ["user_id"]]
    assert on_user == []
