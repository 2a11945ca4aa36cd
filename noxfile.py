"""The tests on every supported pair of Python and Django; warnings are errors there, too.

`nox` runs all pairs, and `nox -s "tests(python='3.13', django='6.1')"` one of them. Arguments after
`--` are passed to pytest. The browser tests are slow and do not depend on Python, so they only run
with the newest pair. `database` runs the tests that depend on the database, for databases other
than SQLite.
"""

import nox

nox.options.default_venv_backend = "uv|virtualenv"
# A missing interpreter must not count as a success.
nox.options.error_on_missing_interpreters = True
nox.options.reuse_existing_virtualenvs = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
PAIRS = [
    *((python, "5.2") for python in ("3.10", "3.11", "3.12", "3.13")),
    *((python, django) for django in ("6.0", "6.1") for python in ("3.12", "3.13")),
]
NEWEST = PAIRS[-1]


# Tests that depend on the database. The others test pages, texts and tools, which do not.
DATABASE_TESTS = [
    *("db", "delivery", "letters", "live", "mailbox", "notices", "preferences", "users"),
    *("inbox/test_bulk_actions.py", "inbox/test_search.py", "inbox/test_unread.py"),
    "storage/test_database.py",
    *("test_changes_during_request.py", "test_commands.py", "test_compatibility.py"),
    *("test_concurrency.py", "test_growing.py", "test_kill.py", "test_migrations.py"),
    *("test_models.py", "test_private_api.py", "test_queries.py", "test_request_users.py"),
    *("test_state_machine.py", "test_user_models.py"),
]


@nox.session
@nox.parametrize("python,django", PAIRS)
def tests(session, django):
    install(session, django)
    arguments = session.posargs
    if not arguments and (session.python, django) != NEWEST:
        arguments = ["-n", "2", "--ignore=tests/browser"]
    session.run("python", "-m", "pytest", *arguments)


@nox.session
@nox.parametrize("python,django", PAIRS)
def database(session, django):
    install(session, django)
    named = [f"tests/{name}" for name in DATABASE_TESTS]
    session.run("python", "-m", "pytest", "-n", "2", *named, *session.posargs)


def install(session, django):
    packages = nox.project.dependency_groups(PYPROJECT, "test")
    # One resolution, so that a package that does not support this Django is an error.
    session.install("-e", ".", *packages, f"django~={django}.0")
