"""The private API of Django that the package uses: each use has a test, and is documented.

If a test fails with a new version of Django, it shows what has changed, and the page says where it
is used.
"""

import ast
import re
from pathlib import Path

import django
import pytest
from django.contrib.admin.utils import NestedObjects
from django.contrib.auth import get_user_model
from django.contrib.messages import INFO, constants
from django.contrib.messages.storage import base
from django.contrib.messages.storage.base import BaseStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db import OperationalError, connection, connections, models, transaction
from django.db.models.query import ModelIterable
from django.http import HttpResponse
from django.template import engines
from django.template.backends.django import DjangoTemplates
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

import persistent_messages
from persistent_messages.db.compiled import Param
from persistent_messages.db.keys import SparseIndex, SparseUniqueConstraint
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage
from persistent_messages.web import htmx
from tests.databases import close_response, unreachable_database

PACKAGE = Path(persistent_messages.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "contributing" / "private-api.md"


def names_in(cell):
    return re.findall(r"`([^`]+)`", cell)


ROWS = [
    [names_in(cell) for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]
# Names that are too common to search for; their rows say what they belong to.
COMMON = {"order_by", "_get", "where", "tags", "engine", "features", "_messages", "origin"}


# The page


def test_each_row_names_existing_modules_and_test():
    assert len(ROWS) > 20
    for names, modules, *_, tests in ROWS:
        assert names
        assert [module for module in modules if not (PACKAGE / f"{module}.py").exists()] == []
        assert [name for name in tests if not callable(globals().get(name))] == []
        assert len(tests) == 1


def uses():
    """Return where each private name is used, as an attribute, an import or an argument."""
    listed = {name for names, *_ in ROWS for name in names} - COMMON
    found = set()
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).with_suffix("").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                {node.attr}
                if isinstance(node, ast.Attribute)
                else {alias.name for alias in node.names}
                if isinstance(node, ast.ImportFrom)
                else {node.arg}
                if isinstance(node, ast.keyword)
                else {node.value}
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
                else {node.name}
                if isinstance(node, ast.FunctionDef)
                else set()
            )
            found |= {(name, module) for name in names & listed}
    return found


def test_listed_names_equal_used_names():
    listed = {
        (name, module)
        for names, modules, *_ in ROWS
        for name in set(names) - COMMON
        for module in modules
    }
    used = uses()
    assert sorted(used - listed) == []
    for names, modules, *_ in ROWS:
        if not set(names) & COMMON:
            assert {module for name, module in used if name in names} == {*modules}
            assert {name for name, _ in used if name in names} == {*names}


DJANGOS_OWN = re.compile(r"^_(?!_)")
DOCUMENTED = {"_meta", "_state", "_base_manager", "_default_manager", "_fields", "_make"}
"""Documented by Django, or by Python for named tuples."""


def test_private_attributes_of_other_objects_are_listed():
    """Return the attributes that begin with "_", except those of `self` and of the module."""
    listed = {name for names, *_ in ROWS for name in names} | DOCUMENTED
    unlisted = []
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Attribute) or not DJANGOS_OWN.match(node.attr):
                continue
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                continue
            is_own = re.search(rf"\bdef {node.attr}\b|\.{node.attr} = |\b{node.attr}: ", source)
            if node.attr not in listed and not is_own:
                unlisted.append((path.name, node.attr))
    assert unlisted == []


# Queries


def test_query_compiles_to_sql_and_parameters():
    field = Message._meta.get_field("level")
    rows = Message.objects.filter(level=Param("level", field)).values("pk")

    sql, parameters = rows.query.get_compiler(using="default").as_sql()

    assert sql.startswith("SELECT ")
    assert sql.count("%s") == len(parameters) == 1
    assert isinstance(parameters[0], Param)
    assert isinstance(parameters, tuple if django.VERSION >= (6, 1) else (tuple, list))


def test_foreign_key_has_target_field():
    target = Message._meta.get_field("user").target_field
    assert target is get_user_model()._meta.pk


@pytest.mark.django_db
def test_queryset_yields_rows_through_iterable_class(user, send):
    send("One")
    send("Two")
    handed_out = []

    class Noting(ModelIterable):
        def __iter__(self):
            assert not self.queryset.query.is_sliced
            self.queryset = self.queryset.all()
            self.queryset.query.set_limits(high=1)
            for row in super().__iter__():
                handed_out.append(row)
                yield row

    rows = Message.objects.order_by("pk")
    rows._iterable_class = Noting
    copied = rows.filter(user=user)  # a copy keeps it

    assert handed_out == []
    assert [str(row) for row in copied] == ["One"]
    assert handed_out == list(copied)


def test_query_has_is_sliced_and_combinator():
    rows = Message.objects.all()
    assert not rows.query.is_sliced
    assert rows[:1].query.is_sliced
    assert rows.query.combinator is None
    assert rows.union(rows).query.combinator == "union"


def test_query_has_order_by():
    assert Message.objects.order_by("expires").query.order_by == ("expires",)


def test_query_has_where_and_distinct_fields():
    people = get_user_model().objects.filter(pk=7).exclude(username="x").distinct()
    exact, negated = people.query.where.children

    assert (exact.lookup_name, exact.lhs.target.name) == ("exact", "id")
    assert (people.query.where.connector, negated.negated) == ("AND", True)
    assert people.query.distinct
    assert people.query.distinct_fields == ()


@pytest.mark.django_db
def test_queryset_is_copied_by_clone_and_filled_by_fetch_all():
    class Noting(models.QuerySet):
        copies = 0

        def _clone(self):
            type(self).copies += 1
            return super()._clone()

        def _fetch_all(self):
            self._result_cache = self._result_cache or ["filled"]

    rows = Noting(Message)

    assert list(rows.filter(level=1)) == ["filled"]
    assert Noting.copies == 1
    assert len(rows) == 1


def test_model_has_concrete_fields():
    columns = [field.column for field in Message._meta.concrete_fields]
    assert columns[0] == "id"
    assert {"user_id", "from_user_id", "message", "times"} < set(columns)


# Connections


@pytest.mark.django_db(transaction=True)
def test_connection_records_errors(user):
    with unreachable_database() as lost:
        assert not lost.errors_occurred
        with pytest.raises(OperationalError):
            lost.ensure_connection()
        assert lost.errors_occurred or lost.connection is None
        assert lost in connections.all(initialized_only=True)
    assert connection.is_usable()


@pytest.mark.django_db(transaction=True)
def test_connection_has_in_atomic_block(db):
    assert not connection.in_atomic_block
    with transaction.atomic():
        assert connection.in_atomic_block


def test_new_connection_has_settings_of_its_alias(transactional_db):
    other = connections.create_connection("default")
    try:
        assert other is not connection
        assert other.settings_dict["NAME"] == connection.settings_dict["NAME"]
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)
    finally:
        other.close()


def test_database_has_features():
    features = connection.features
    for name in (
        "has_select_for_update",
        "has_select_for_no_key_update",
        "order_by_nulls_first",
        "supports_partial_indexes",
    ):
        assert isinstance(getattr(features, name), bool)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["pm_key", "pm_topic"])
def test_constraint_and_index_create_sql(transactional_db, name):
    options = Message._meta
    (sparse,) = (each for each in (*options.constraints, *options.indexes) if each.name == name)
    assert isinstance(sparse, SparseUniqueConstraint | SparseIndex)
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        add = str(sparse.create_sql(Message, editor))
        drop = str(sparse.remove_sql(Message, editor))
    assert name in add
    assert name in drop
    assert ("WHERE" in add) == connection.features.supports_partial_indexes


# Deletion


@pytest.mark.django_db
def test_user_is_deleted_without_reading_messages(user, send):
    send("Hello")
    with CaptureQueriesContext(connection) as queries:
        user.delete()
    about = [query["sql"] for query in queries if "persistent_messages_message" in query["sql"]]
    assert [sql.split()[0] for sql in about if sql.startswith(("SELECT", "DELETE"))] == ["DELETE"]
    assert not Message.objects.exists()


@pytest.mark.django_db
def test_admin_collects_objects_of_deletion(user, send):
    send("Hello")
    collector = NestedObjects(using="default", origin=user)

    collector.collect([user])

    assert "1 message" in str(collector.model_objs[Message])
    assert {str(row) for row in collector.edges[None]} == {"1 message", str(user)}


# Storages of messages


def request_of(user=None):
    request = RequestFactory().get("/")
    request.session = {}
    if user is not None:
        request.user = user
    return request


def test_contrib_storage_has_attributes():
    storage = FallbackStorage(request_of())
    assert (storage.used, storage.added_new, storage._queued_messages) == (False, False, [])

    storage.add(INFO, "Hello")
    assert storage.added_new
    assert [message.message for message in storage._queued_messages] == ["Hello"]
    assert storage._loaded_messages == storage._loaded_data == []
    assert list(storage) == storage._loaded_data
    assert storage.used
    for name in ("_prepare_messages", "_loaded_messages", "_store", "_get", "update"):
        assert hasattr(BaseStorage, name)


def test_fallback_storage_reads_and_stores():
    storage, response = FallbackStorage(request_of()), HttpResponse()
    message = base.Message(INFO, "Hello")
    message._prepare()

    assert storage._store([message], response) == []
    assert "messages" in response.cookies

    again = request_of()
    again.COOKIES["messages"] = response.cookies["messages"].value
    first = FallbackStorage(again).storages[0]
    found, is_all = first._get()
    assert (found, is_all) == ([message], True)


def test_level_tags_follow_setting(settings):
    settings.MESSAGE_TAGS = {constants.ERROR: "danger"}
    assert base.LEVEL_TAGS[constants.ERROR] == "danger"
    assert Message(level=persistent_messages.ERROR).level_tag == "danger"


@pytest.mark.django_db
def test_request_has_storage(client):
    request = client.get("/messages/").wsgi_request
    assert isinstance(request._messages, PersistentMessageStorage)


@pytest.mark.django_db
def test_response_runs_registered_closers():
    closed, response = [], HttpResponse()
    response._resource_closers.append(lambda: closed.append(True))
    assert closed == []
    close_response(response)
    assert closed == [True]


# Templates


def test_template_has_origin():
    template = engines["django"].engine.get_template(htmx.ROW)
    assert template.origin.name == str(PACKAGE / "templates" / htmx.ROW)


def test_context_has_engine():
    backend = engines["django"]
    assert isinstance(backend, DjangoTemplates)
    page = backend.from_string("{% load persistent_messages %}{% unread_counter %}")
    assert page.template.engine is backend.engine
    assert "django.template.context_processors.request" in backend.engine.context_processors


def test_partial_is_found_in_template():
    partial = htmx.get_partial(htmx.INBOX, "status")
    assert callable(partial.render)
    if django.VERSION < (6, 0):
        found = engines["django"].get_template(htmx.INBOX).template.extra_data["partials"]
        assert "status" in found
