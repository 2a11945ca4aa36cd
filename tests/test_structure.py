"""Who may import whom, read from the source."""

import ast
from pathlib import Path

import pytest

import persistent_messages

PACKAGE = Path(persistent_messages.__file__).parent

# Low to high: a module imports from the rows above its own in this list, and from no other.
ROWS = [
    {"constants", "icons"},
    {"signals", "exceptions"},
    {"conf", "outage", "prepared", "stencils"},
    {"querysets"},
    {"models"},
    {"drafts"},
    {"threads", "retries"},
    {"mailbox", "policy"},
    {"letters", "pruning"},
    {"carried"},
    {"storage"},
    {"api"},
    {"email"},
    {"counter", "filters", "safety", "text", "undo", "wording"},
    {"forms"},
    {"inbox", "conversation", "actions"},
    {"rows"},
    {"htmx"},
    {"middleware"},
    {"views"},
    {"bulk", "correspondence", "moderation"},
    {"urls", "admin", "checks", "templatetags", "management", "apps"},
]
ROW = {name: number for number, names in enumerate(ROWS) for name in names}
# The package itself hands the public names on to a site.
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if "migrations" not in path.parts and path != PACKAGE / "__init__.py"
)
SOURCES = [*MODULES, PACKAGE / "__init__.py"]


def name_of(path):
    """Return the name in the table: a module, or the folder of those at the edge."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_for_typing(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(node):
    """Yield the imports below `node`, but those for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if is_for_typing(child):
            for other in child.orelse:
                yield from imports(other)
        elif isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        else:
            yield from imports(child)


def imported_names(node, path):
    """Return the dotted names that an import statement may load, in full."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = node.module or ""
    if node.level:
        here = ["persistent_messages", *path.relative_to(PACKAGE).parts[:-1]]
        above = here[: len(here) - node.level + 1]
        module = ".".join([*above, *([module] if module else [])])
    return [f"{module}.{alias.name}" for alias in node.names]


def own_imports(tree, path):
    """Yield the modules of the package that the source at `path` imports, as the table has them."""
    for node in imports(tree):
        for name in imported_names(node, path):
            package, _, rest = name.partition(".")
            if package == "persistent_messages":
                yield rest.split(".")[0] if rest.split(".")[0] in ROW else "the package itself"


def misplaced(tree, path):
    row = ROW[name_of(path)]
    return [name for name in own_imports(tree, path) if name not in ROW or ROW[name] >= row]


def hidden_imports(tree):
    """Yield the functions that import something, each by the names around it."""

    def visit(node, around, in_function):
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            if in_function and isinstance(child, (ast.Import, ast.ImportFrom)):
                yield ".".join(around)
            yield from visit(
                child,
                [*around, child.name] if named else around,
                in_function or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)),
            )

    yield from visit(tree, [], in_function=False)


def without_ready(tree):
    """Leave out `ready()`, which alone may import late, and from its own row."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [child for child in node.body if getattr(child, "name", "") != "ready"]
    return tree


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def relative(path):
    return str(path.relative_to(PACKAGE))


def test_every_module_has_its_row():
    assert {name_of(path) for path in MODULES} == set(ROW)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_imports_only_from_the_rows_above_it(path):
    tree = parse(path)
    assert misplaced(without_ready(tree) if name_of(path) == "apps" else tree, path) == []


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_import_hides_in_a_function(path):
    allowed = ["PersistentMessagesConfig.ready"] if path == PACKAGE / "apps.py" else []
    assert list(hidden_imports(parse(path))) == allowed


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_stays_under_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 300


def test_the_package_itself_imports_only_what_needs_no_registry():
    path = PACKAGE / "__init__.py"
    assert set(own_imports(parse(path), path)) <= {
        "api",
        "constants",
        "exceptions",
        "letters",
        "signals",
    }


def test_the_constants_know_nothing_of_django_but_its_level_constants():
    names = [
        name
        for node in imports(parse(PACKAGE / "constants.py"))
        for name in imported_names(node, PACKAGE / "constants.py")
    ]
    assert [name for name in names if name.startswith("django")] == [
        "django.contrib.messages.constants"
    ]


@pytest.mark.parametrize("name", ["models", "querysets", "mailbox", "drafts"])
def test_the_data_knows_no_request(name):
    assert "request" not in {
        node.id for node in ast.walk(parse(PACKAGE / f"{name}.py")) if isinstance(node, ast.Name)
    }


# The reader of the source finds what it looks for.


@pytest.mark.parametrize(
    "line",
    [
        "from . import storage",
        "from .storage import forget_unread",
        "from . import mailbox",
        "from persistent_messages import storage",
        "from persistent_messages.storage import forget_unread",
        "import persistent_messages.storage",
        "import persistent_messages",
        "from persistent_messages import INFO",
        "def late():\n    from . import storage",
        "try:\n    from . import storage\nexcept ImportError:\n    pass",
    ],
)
def test_a_wrong_import_is_found(line):
    assert len(misplaced(ast.parse(line), PACKAGE / "mailbox.py")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from . import signals",
        "from .drafts import draft",
        "import django",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import storage",
        "import typing\nif typing.TYPE_CHECKING:\n    from . import storage",
    ],
)
def test_a_right_import_is_let_through(line):
    assert misplaced(ast.parse(line), PACKAGE / "mailbox.py") == []


def test_an_import_from_a_folder_at_the_edge_is_resolved():
    path = PACKAGE / "templatetags" / "persistent_messages.py"
    assert misplaced(ast.parse("from ..htmx import render"), path) == []
    assert misplaced(ast.parse("from ..admin import MessageAdmin"), path) == ["admin"]


def test_an_import_in_a_method_is_found():
    tree = ast.parse("class A:\n    def b(self):\n        if self:\n            import os\n")
    assert list(hidden_imports(tree)) == ["A.b"]
