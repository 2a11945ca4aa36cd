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

from .growing import code, commands
from .partitions import TABLE, run, sql


@pytest.fixture(autouse=True)
def whole(db):
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


def asked(query, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchall()


def table():
    """Its columns, and its keys, checks and indexes by their names."""
    with connection.cursor() as cursor:
        see = connection.introspection
        return see.get_table_description(cursor, TABLE), see.get_constraints(cursor, TABLE)


def test_every_row_is_as_it_was_in_the_partition_of_its_owner(people):
    model = get_user_model()
    # So many that no partition is empty by chance.
    more = model.objects.bulk_create(model(username=f"other-{number}") for number in range(60))
    for person in [*people, *more]:
        send_message(person, INFO, "Hello", subject="é 🎉")
    send_letter(people[0], people[1:], "Rota", "Can you take Thursday?")
    before = list(Message.objects.order_by("pk").values())

    convert()

    assert list(Message.objects.order_by("pk").values()) == before
    owners = asked(f"SELECT tableoid::regclass::text, user_id FROM {TABLE} GROUP BY 1, 2")
    assert {name for name, _ in owners} == {f"{TABLE}_p{number}" for number in range(4)}
    assert len(owners) == len(people) + len(more)


def test_columns_keys_checks_and_indexes_are_those_of_the_migrations():
    columns, constraints = table()

    convert()

    # The sequence is now used by a default instead of an identity column.
    number, *others = columns
    assert table()[0][1:] == others
    assert table()[0][0]._replace(default=None) == number._replace(is_autofield=False)
    # A key of a partitioned table must include the partition key.
    constraints[f"{TABLE}_pkey"]["columns"] = ["id", "user_id"]
    assert table()[1] == constraints


def test_the_next_message_has_the_next_number(user):
    send_message(user, INFO, "Before")
    last = Message.objects.get().pk

    convert()
    send_message(user, INFO, "After")

    assert Message.objects.latest("pk").pk == last + 1
    # Django uses this to find the sequence, for example to reset it after `loaddata`.
    assert asked(f"SELECT pg_get_serial_sequence('{TABLE}', 'id')") == [(f"public.{TABLE}_id_seq",)]


def test_an_empty_table_begins_with_the_first_number(user):
    convert()
    send_message(user, INFO, "First")

    assert Message.objects.get().pk == 1


def test_no_migration_is_missing_or_waits_afterwards():
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


def test_later_migrations_do_what_they_do_to_any_table(user):
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
    assert asked("SELECT relname FROM pg_class WHERE relname LIKE %s", f"{TABLE}%") == []


def test_who_leaves_takes_the_mailbox_along_and_leaves_letters_to_others(people):
    one, two, *_ = people
    send_letter(one, two, "Rota", "Can you take Thursday?")
    convert()

    one.delete()

    (letter,) = Message.objects.all()
    assert (letter.user_id, letter.folder, letter.from_user_id) == (two.pk, Folder.INBOX, None)


def test_settings_and_rights_of_the_table_stay():
    run(code("vacuum after a fiftieth", "sql"))
    run(
        f"ALTER TABLE {TABLE} SET (fillfactor = 90);"
        "CREATE ROLE pm_reader; CREATE ROLE pm_writer;"
        f"GRANT SELECT ON {TABLE} TO pm_reader, PUBLIC;"
        f"GRANT INSERT, UPDATE ON {TABLE} TO pm_writer;"
        f"GRANT USAGE ON SEQUENCE {TABLE}_id_seq TO pm_writer"
    )

    convert()

    can = "SELECT has_table_privilege(%s, %s, %s)"
    assert asked(can, "pm_reader", TABLE, "SELECT") == [(True,)]
    assert asked(can, "pm_reader", TABLE, "INSERT") == [(False,)]
    assert asked(can, "pm_writer", TABLE, "INSERT") == [(True,)]
    assert asked(can, "pm_writer", TABLE, "DELETE") == [(False,)]
    usage = "SELECT has_sequence_privilege(%s, %s, 'USAGE')"
    assert asked(usage, "pm_writer", f"{TABLE}_id_seq") == [(True,)]
    assert asked("SELECT reloptions FROM pg_class WHERE relname = %s", f"{TABLE}_p3") == [
        (
            [
                "autovacuum_vacuum_scale_factor=0.02",
                "autovacuum_analyze_scale_factor=0.02",
                "fillfactor=90",
            ],
        )
    ]


def test_a_table_of_another_schema_stays_there(user):
    run("CREATE SCHEMA elsewhere")
    run(f"ALTER TABLE {TABLE} SET SCHEMA elsewhere; SET LOCAL search_path = public, elsewhere")
    send_message(user, INFO, "Hello")

    convert()
    send_message(user, INFO, "After")

    place = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname LIKE %s"
    assert {*asked(place, f"{TABLE}%"), *asked(place, "pm_folder")} == {("elsewhere",)}
    assert asked(f"SELECT count(*) FROM elsewhere.{TABLE}") == [(2,)]


def test_it_prints_as_many_partitions_as_asked_for_and_changes_nothing():
    with CaptureQueriesContext(connection) as queries:
        printed = sql(7)

    assert printed.count("PARTITION OF") == 7
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}


def test_the_chapter_names_it_as_it_is(capsys):
    (command,) = commands("prints the SQL, and changes nothing")

    call_command(*command)

    assert sql(16) == capsys.readouterr().out


@pytest.mark.parametrize("partitions", [-1, 0, 1, 1025])
def test_a_number_that_makes_no_sense_is_refused(partitions):
    with pytest.raises(CommandError, match="from 2 to 1024"):
        sql(partitions)


def test_a_partitioned_table_is_refused():
    convert()

    with pytest.raises(CommandError, match="is already partitioned"):
        sql(4)


def test_before_there_is_a_table_it_is_refused():
    run(f"DROP TABLE {TABLE}")

    with pytest.raises(CommandError, match="run migrate first"):
        sql(4)


@pytest.mark.parametrize(
    ("what", "said"),
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
def test_what_the_new_table_would_lose_is_named(what, said):
    run(what)

    with pytest.raises(CommandError, match=f"cannot be replaced: {said}."):
        sql(4)


def test_a_view_of_the_table_stops_it():
    run(f"CREATE VIEW lately AS SELECT id FROM {TABLE}")

    with pytest.raises(InternalError, match="other objects depend on it"):
        convert()
