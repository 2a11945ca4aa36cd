"""`partition_messages`: its SQL, run on PostgreSQL, and the resulting table."""

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import InternalError, connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from persistent_messages import INFO, Folder, send_letter, send_message
from persistent_messages.models import Message

from .growing import code_block, commands
from .partitions import TABLE, run, sql


@pytest.fixture(autouse=True)
def unpartitioned_table(db):
    """The table as migrations make it, whatever table the suite runs on."""
    with connection.schema_editor() as editor:
        editor.delete_model(Message)
        editor.create_model(Message)


@pytest.fixture
def people():
    return [get_user_model().objects.create_user(f"person-{number}") for number in range(20)]


def convert():
    """Run what is printed, but for the bounds of its transaction: the test is in one already."""
    connection.check_constraints()  # no table can be altered while checks are pending
    first, *statements, last = sql(4).splitlines()
    assert (first, last) == ("BEGIN;", "COMMIT;")
    run("\n".join(statements))


def fetch_all(query, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchall()


def table():
    """Its columns, and its keys, checks and indexes by their names."""
    with connection.cursor() as cursor:
        see = connection.introspection
        return see.get_table_description(cursor, TABLE), see.get_constraints(cursor, TABLE)


def test_rows_are_unchanged_in_partition_of_owner(people):
    model = get_user_model()
    # So many that no partition is empty by chance.
    more = model.objects.bulk_create(model(username=f"other-{number}") for number in range(60))
    for person in [*people, *more]:
        send_message(person, INFO, "Hello", subject="é 🎉")
    send_letter(people[0], people[1:], "Rota", "Can you take Thursday?")
    before = list(Message.objects.order_by("pk").values())

    convert()

    assert list(Message.objects.order_by("pk").values()) == before
    owners = fetch_all(f"SELECT tableoid::regclass::text, user_id FROM {TABLE} GROUP BY 1, 2")
    assert {name for name, _ in owners} == {f"{TABLE}_p{number}" for number in range(4)}
    assert len(owners) == len(people) + len(more)


def test_columns_constraints_and_indexes_equal_migrations():
    columns, constraints = table()

    convert()

    # The sequence is now used by a default instead of an identity column.
    number, *others = columns
    assert table()[0][1:] == others
    assert table()[0][0]._replace(default=None) == number._replace(is_autofield=False)
    # A key of a partitioned table must include the partition key.
    constraints[f"{TABLE}_pkey"]["columns"] = ["id", "user_id"]
    assert table()[1] == constraints


def test_next_message_has_next_key(user):
    send_message(user, INFO, "Before")
    last = Message.objects.get().pk

    convert()
    send_message(user, INFO, "After")

    assert Message.objects.latest("pk").pk == last + 1
    # Django uses this to find the sequence, for example to reset it after `loaddata`.
    assert fetch_all(f"SELECT pg_get_serial_sequence('{TABLE}', 'id')") == [
        (f"public.{TABLE}_id_seq",)
    ]


def test_empty_table_starts_with_key_1(user):
    convert()
    send_message(user, INFO, "First")

    assert Message.objects.get().pk == 1


def test_no_migration_is_missing_or_unapplied_afterwards():
    convert()

    call_command("makemigrations", "persistent_messages", check=True, dry_run=True, verbosity=0)
    call_command("migrate", "persistent_messages", check_unapplied=True, verbosity=0)


LATER = [
    migrations.AddField("message", "colour", models.CharField(max_length=9, default="red")),
    migrations.AddField("message", "seen", models.DateTimeField(db_default=Now(), db_index=True)),
    migrations.AlterField("message", "colour", models.TextField(null=True, db_index=True)),
    migrations.RenameField("message", "colour", "color"),
    migrations.AddIndex("message", models.Index(fields=["user", "color"], name="pm_color")),
    migrations.RenameIndex("message", "pm_hue", old_name="pm_color"),
    migrations.RemoveIndex("message", "pm_hue"),
    migrations.AddConstraint(
        "message", models.CheckConstraint(condition=~models.Q(color="grey"), name="pm_no_grey")
    ),
    migrations.RemoveConstraint("message", "pm_no_grey"),
    migrations.RemoveField("message", "color"),
    migrations.RemoveIndex("message", "pm_sender"),
    migrations.AlterField(
        "message", "from_user", models.ForeignKey("auth.User", models.CASCADE, null=True)
    ),
    migrations.RemoveField("message", "from_user"),
    migrations.AlterField("message", "level", models.IntegerField()),
    migrations.AlterModelTable("message", "letterbox"),
    migrations.DeleteModel("Message"),
]


def test_later_migrations_work_on_partitioned_table(user):
    send_message(user, INFO, "Hello")
    convert()
    state = MigrationLoader(connection).project_state()

    for operation in LATER:
        after = state.clone()
        operation.state_forwards("persistent_messages", after)
        connection.check_constraints()
        with connection.schema_editor() as editor:
            operation.database_forwards("persistent_messages", editor, state, after)
        state = after

    # The partitions and the sequence were dropped with it.
    assert fetch_all("SELECT relname FROM pg_class WHERE relname LIKE %s", f"{TABLE}%") == []


def test_deleting_user_deletes_mailbox_and_keeps_sent_letters(people):
    one, two, *_ = people
    send_letter(one, two, "Rota", "Can you take Thursday?")
    convert()

    one.delete()

    (letter,) = Message.objects.all()
    assert (letter.user_id, letter.folder, letter.from_user_id) == (two.pk, Folder.INBOX, None)


def test_table_settings_and_privileges_are_kept():
    run(code_block("vacuum after a fiftieth", "sql"))
    run(
        f"ALTER TABLE {TABLE} SET (fillfactor = 90);"
        "CREATE ROLE pm_reader; CREATE ROLE pm_writer;"
        f"GRANT SELECT ON {TABLE} TO pm_reader, PUBLIC;"
        f"GRANT INSERT, UPDATE ON {TABLE} TO pm_writer;"
        f"GRANT USAGE ON SEQUENCE {TABLE}_id_seq TO pm_writer"
    )

    convert()

    can = "SELECT has_table_privilege(%s, %s, %s)"
    assert fetch_all(can, "pm_reader", TABLE, "SELECT") == [(True,)]
    assert fetch_all(can, "pm_reader", TABLE, "INSERT") == [(False,)]
    assert fetch_all(can, "pm_writer", TABLE, "INSERT") == [(True,)]
    assert fetch_all(can, "pm_writer", TABLE, "DELETE") == [(False,)]
    usage = "SELECT has_sequence_privilege(%s, %s, 'USAGE')"
    assert fetch_all(usage, "pm_writer", f"{TABLE}_id_seq") == [(True,)]
    assert fetch_all("SELECT reloptions FROM pg_class WHERE relname = %s", f"{TABLE}_p3") == [
        (
            [
                "autovacuum_vacuum_scale_factor=0.02",
                "autovacuum_analyze_scale_factor=0.02",
                "fillfactor=90",
            ],
        )
    ]


def test_table_in_other_schema_stays_there(user):
    run("CREATE SCHEMA elsewhere")
    run(f"ALTER TABLE {TABLE} SET SCHEMA elsewhere; SET LOCAL search_path = public, elsewhere")
    send_message(user, INFO, "Hello")

    convert()
    send_message(user, INFO, "After")

    place = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname LIKE %s"
    assert {*fetch_all(place, f"{TABLE}%"), *fetch_all(place, "pm_folder")} == {("elsewhere",)}
    assert fetch_all(f"SELECT count(*) FROM elsewhere.{TABLE}") == [(2,)]


def test_command_prints_given_number_of_partitions_and_changes_nothing():
    with CaptureQueriesContext(connection) as queries:
        printed = sql(7)

    assert printed.count("PARTITION OF") == 7
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}


def test_documented_command_prints_sql(capsys):
    (command,) = commands("prints the SQL, and changes nothing")

    call_command(*command)

    assert sql(16) == capsys.readouterr().out


@pytest.mark.parametrize("partitions", [-1, 0, 1, 1025])
def test_invalid_number_of_partitions_is_rejected(partitions):
    with pytest.raises(CommandError, match="from 2 to 1024"):
        sql(partitions)


def test_partitioned_table_is_rejected():
    convert()

    with pytest.raises(CommandError, match="is already partitioned"):
        sql(4)


def test_missing_table_is_rejected():
    run(f"DROP TABLE {TABLE}")

    with pytest.raises(CommandError, match="run migrate first"):
        sql(4)


@pytest.mark.parametrize(
    ("what", "match"),
    [
        (
            f"CREATE TABLE pins (message bigint REFERENCES {TABLE})",
            "the foreign key pins_message_fkey of pins",
        ),
        (
            (
                f"CREATE TRIGGER looking BEFORE UPDATE ON {TABLE} "
                "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
            ),
            "the trigger looking",
        ),
        (f"CREATE POLICY own ON {TABLE} USING (user_id = 1)", "the policy own"),
        (f"CREATE PUBLICATION news FOR TABLE {TABLE}", "the publication news"),
    ],
    ids=["key", "trigger", "policy", "publication"],
)
def test_dependent_objects_are_named_in_error(what, match):
    run(what)

    with pytest.raises(CommandError, match=f"cannot be replaced: {match}."):
        sql(4)


def test_view_on_table_stops_conversion():
    run(f"CREATE VIEW lately AS SELECT id FROM {TABLE}")

    with pytest.raises(InternalError, match="other objects depend on it"):
        convert()
