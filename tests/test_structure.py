"""The rooms of the package and their imports, read from the source.

docs/contributing/architecture.md has the plan and its reasons.
"""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import persistent_messages

PACKAGE = Path(persistent_messages.__file__).parent
TESTS = Path(__file__).parent

GROUND = ("conf", "constants", "exceptions", "labels", "signals", "topics", "type_aliases")
"""Every package may import these. They import no other modules, except that `constants` imports
`conflicts`."""
TABLES = ("models", "querysets")

# From bottom to top: the package, its description, and the packages that it imports from, in
# addition to `GROUND`.
ROOMS = [
    ("text", "Operations on text: converting to plain text, folding for search, truncating.", []),
    ("http", "Facts about a request, and the cache headers and cookies of a response.", []),
    ("users", "The site's users: whether they exist, their names, how to look them up.", []),
    (
        "db",
        "Database helpers: compiled reads, copied rows, stored times, cascades, outages.",
        ["users"],
    ),
    ("tables", "", ["text", "users", "db"]),
    (
        "preferences",
        "What users choose for each topic: whether to get it in the inbox and by mail.",
        ["db", "tables"],
    ),
    (
        "mailbox",
        "Every write to a mailbox. Each write is set-based and sends its signal after commit.",
        ["users", "db", "tables", "preferences"],
    ),
    (
        "storage",
        "The storage backend for `django.contrib.messages`: its database and browser halves.",
        ["http", "users", "db", "tables", "mailbox"],
    ),
    (
        "letters",
        "Messages between users: who may write to whom, sending, replies, reports, forms.",
        ["http", "users", "db", "tables", "mailbox"],
    ),
    (
        "notices",
        "What a site tells its users: notices declared as classes, and broadcasts.",
        ["http", "users", "db", "tables", "mailbox"],
    ),
    (
        "inbox",
        "What a page of the inbox shows, bulk actions, and the export of a mailbox.",
        ["text", "http", "users", "db", "tables", "preferences", "mailbox"],
    ),
    (
        "live",
        "The stream of events that notifies the open pages of a user of changes.",
        ["users", "db", "mailbox"],
    ),
    (
        "delivery",
        "Delivery of messages outside the site: mail, live updates and a site's own channels.",
        ["users", "db", "tables", "preferences", "mailbox", "live"],
    ),
    (
        "api",
        "",
        [
            *("http", "db", "tables", "preferences", "mailbox", "letters", "notices", "inbox"),
            "delivery",
        ],
    ),
    (
        "rendering",
        "Messages as HTML: rows and notices, their actions and icons, texts, dates.",
        ["text", "users", "db", "tables", "mailbox"],
    ),
    (
        "web",
        "Requests and responses: page or fragment, out-of-band parts, decorators, redirects.",
        ["http", "users", "db", "tables", "mailbox", "storage", "inbox", "rendering"],
    ),
    (
        "views",
        "The views, one module for each kind of page.",
        [
            *("http", "users", "db", "tables", "preferences", "mailbox", "letters", "inbox"),
            *("live", "rendering", "web"),
        ],
    ),
    (
        "admin",
        "The admin pages: messages, broadcasts, and the moderation of letters.",
        ["users", "db", "tables", "mailbox", "notices", "inbox", "rendering"],
    ),
]
# The entry points for Django. No other module imports them; `apps` imports the checks, and `urls`
# the views.
EDGES = ("apps", "checks", "management", "middleware", "migrations", "templatetags", "urls")

ORDER = [name for name, *_ in ROOMS]
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py" and "migrations" not in path.parts
)


def name_of(path):
    """Return the dotted name of a module within the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def room_of(module):
    top = module.partition(".")[0]
    return "ground" if top in (*GROUND, "conflicts") else "tables" if top in TABLES else top


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def in_functions(tree):
    """Return the imports inside functions, each with the qualified name of the function."""

    def visit(node, around, in_function):
        for child in ast.iter_child_nodes(node):
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            named = is_function or isinstance(child, ast.ClassDef)
            if in_function and isinstance(child, (ast.Import, ast.ImportFrom)):
                yield ".".join(around), child
            inner = [*around, child.name] if named else around
            yield from visit(child, inner, in_function or is_function)

    return list(visit(tree, [], in_function=False))


def imported(tree, path):
    """Return the modules of the package that a source imports, also for type checkers."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{base_of(node, path)}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "persistent_messages":
                found.add(module_of(rest))
    return found


def base_of(node, path):
    if not node.level:
        return node.module
    here = ["persistent_messages", *path.relative_to(PACKAGE).parts[:-1]]
    above = here[: len(here) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def module_of(name):
    """Return the module that contains `name`, or "" for the package itself."""
    while name and name not in NAMES:
        name = name.rpartition(".")[0]
    return name


def forbidden_imports(path, tree=None):
    """Return the imports that the plan does not allow for the module at `path`."""
    module = name_of(path)
    room, allowed = room_of(module), {"ground"}
    if room == "ground":
        allowed = set()
    elif room in EDGES:
        allowed |= {*ORDER, *{"apps": ["checks"]}.get(room, [])}
    else:
        allowed |= {room, *{name: rooms for name, _, rooms in ROOMS}[room]}
    names = imported(tree or parse(path), path)
    return sorted(name for name in names if not name or room_of(name) not in allowed)


# The plan


def test_each_module_belongs_to_room():
    assert {room_of(name) for name in NAMES} - {*EDGES, "ground", ""} == {*ORDER}


@pytest.mark.parametrize(("room", "sentence", "below"), ROOMS, ids=ORDER)
def test_room_has_its_docstring_and_is_above_its_imports(room, sentence, below):
    assert {*below} <= {*ORDER[: ORDER.index(room)]}
    if sentence:
        assert ast.get_docstring(parse(PACKAGE / room / "__init__.py")) == sentence


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_imports_only_from_rooms_below(path):
    assert forbidden_imports(path) == (["conflicts"] if name_of(path) == "constants" else [])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_does_not_import_edges(path):
    imports = {room_of(name) for name in imported(parse(path), path)}
    assert imports & {*EDGES, "views", "admin"} <= {
        "apps": {"checks"},
        "urls": {"views"},
        "views": {"views"},
        "admin": {"admin"},
    }.get(room_of(name_of(path)), set())


def test_allowed_imports_are_all_used():
    used = defaultdict(set)
    for path in MODULES:
        room = room_of(name_of(path))
        used[room] |= {room_of(name) for name in imported(parse(path), path)} - {room, "ground"}
    assert {name: {*rooms} for name, _, rooms in ROOMS} == {name: used[name] for name in ORDER}


def test_modules_have_no_import_cycles():
    """Neither directly nor through others, including imports for type checkers."""
    rest = {name: imported(parse(path), path) - {name} for name, path in NAMES.items()}
    while free := {name for name, needed in rest.items() if not needed & rest.keys()}:
        rest = {name: needed for name, needed in rest.items() if name not in free}
    assert rest == {}


LATE = {
    "api": {
        *("send_message", "resolve", "send_letter", "_load"),
        *("broadcast", "wants", "export_preferences", "mail_failed"),
        *("erase_mailbox", "export_mailbox", "prune_messages"),
    },
    "apps": {"PersistentMessagesConfig.ready"},
    "rendering.forms": {"render_form", "_form_helper"},
}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_are_not_inside_functions(path):
    """Except where the models may not be loaded yet, and for crispy-forms."""
    assert {around for around, _ in in_functions(parse(path))} == LATE.get(name_of(path), set())


def test_package_init_imports_nothing_that_needs_app_registry():
    path = PACKAGE / "__init__.py"
    assert imported(parse(path), path) == {
        *("api", "constants", "exceptions", "signals", "topics"),
        *("delivery", "notices"),  # for type checkers, and on first access
    }


def test_constants_import_only_message_constants_of_django():
    path = PACKAGE / "constants.py"
    nodes = [node for node in ast.walk(parse(path)) if isinstance(node, ast.ImportFrom)]
    names = [f"{node.module}.{alias.name}" for node in nodes for alias in node.names]
    assert [name for name in names if name.startswith("django")] == [
        "django.contrib.messages.constants"
    ]


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if room_of(name_of(path)) in ("tables", "mailbox")],
    ids=name_of,
)
def test_tables_and_mailbox_do_not_use_request(path):
    assert "request" not in {
        node.id for node in ast.walk(parse(path)) if isinstance(node, ast.Name)
    }


# The tests


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.name)
def test_test_modules_are_not_imported(path):
    """Code that several test modules use belongs in a helper module."""
    nodes = [node for node in ast.walk(parse(path)) if isinstance(node, ast.ImportFrom)]
    modules = [(node.module or "").rpartition(".")[2] for node in nodes]
    assert [name for name in modules if name.startswith("test_") or name == "conftest"] == []


# The parser of the source finds what it should.

CHANGES = PACKAGE / "mailbox" / "changes.py"


@pytest.mark.parametrize(
    "line",
    [
        "from persistent_messages import storage",
        "from ..storage import PersistentMessageStorage",
        "from .. import storage",
        "from persistent_messages.storage.database import PersistentMessageStorage",
        "import persistent_messages.storage",
        "import persistent_messages",
        "from persistent_messages import INFO",
        "def late():\n    from persistent_messages import storage",
        "try:\n    from persistent_messages import storage\nexcept ImportError:\n    pass",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..views import inbox",
    ],
)
def test_forbidden_import_is_detected(line):
    assert len(forbidden_imports(CHANGES, ast.parse(line))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from persistent_messages import signals",
        "from .validation import draft",
        "from . import threads",
        "import django",
    ],
)
def test_allowed_import_is_accepted(line):
    assert forbidden_imports(CHANGES, ast.parse(line)) == []


def test_import_is_resolved_to_its_module():
    lines = ast.parse("from . import threads, undo\nfrom ..db.times import ago")
    assert imported(lines, CHANGES) == {"mailbox.threads", "mailbox", "db.times"}


def test_import_inside_method_is_detected():
    tree = ast.parse("class A:\n    def b(self):\n        if self:\n            import os\n")
    assert [around for around, _ in in_functions(tree)] == ["A.b"]
