"""`dev.py` repairs an incomplete environment, and says in one line what it cannot do.

Each test runs it in its own directory, without a network.
"""

import ast
import os
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path):
    """Create the part of a checkout that `dev.py` uses."""
    for name in ("dev.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def dev(folder, *arguments, before="", **env):
    """Run `dev.py`; return the exit code and the lines that it printed."""
    script = f"import runpy, sys; sys.argv = {['dev.py', *arguments]!r}\n{before}\n"
    script += "runpy.run_path('dev.py', run_name='__main__')"
    # Nothing listens at port 9: as on a machine without a network.
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0", "PIP_NO_INDEX": "0"}
    unset = ("DATABASE_URL", "PORT", "CHROMIUM", "CI")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**inherited, **offline, "PIP_CONFIG_FILE": os.devnull, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout.splitlines()


# Old Pythons


@pytest.mark.parametrize("version", [(3, 6), (3, 9)])
def test_old_python_gets_error_with_required_version(checkout, version):
    before = f"sys.version_info, sys.version = {(*version, 1)!r}, '{version[0]}.{version[1]}.1 (x)'"

    code, lines = dev(checkout, "test", before=before)

    assert code == 1
    assert len(lines) == 1
    assert "Python 3.10 or newer is needed" in lines[0]
    assert f"3.{version[1]}.1" in lines[0]


def test_version_check_parses_on_old_python():
    source = (ROOT / "dev.py").read_text()
    tree = ast.parse(source, feature_version=(3, 6))

    check = next(node for node in tree.body if isinstance(node, ast.If))
    before = tree.body[: tree.body.index(check)]
    assert "version_info" in ast.unparse(check.test)
    assert all(isinstance(node, (ast.Expr, ast.Import, ast.ImportFrom)) for node in before)
    assert "__future__" not in source


# Where the demo is served


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.parametrize(
    "port", ["abc", "0", "-1", "65536", "80 80", "８０００", "1e3", "99999999"]
)
def test_invalid_port_is_rejected_before_setup(checkout, port):
    for code, lines in (dev(checkout, "demo", PORT=port), dev(checkout, "demo", f"[::1]:{port}")):
        assert code == 1
        assert len(lines) == 1
        assert "65535" in lines[0]
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("by_argument", [False, True])
def test_port_in_use_is_reported_before_setup(checkout, by_argument):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        given = ((f"127.0.0.1:{port}",), {}) if by_argument else ((), {"PORT": port})

        code, lines = dev(checkout, "demo", *given[0], **given[1])

    assert code == 1
    assert len(lines) == 1
    assert port in lines[0]
    assert "PORT=8001 python3 dev.py demo" in lines[0]
    assert not (checkout / ".venv").exists()


def test_unknown_host_is_reported_in_one_line(checkout):
    code, lines = dev(checkout, "demo", "no.such.host.invalid:8000")

    assert code == 1
    assert len(lines) == 1
    assert "no.such.host.invalid" in lines[0]


# An incomplete `.venv`


def without_pip(folder):
    venv.create(folder / ".venv", with_pip=False)


def without_python(folder):
    without_pip(folder)
    for python in (folder / ".venv" / "bin").glob("python*"):
        python.unlink()


def with_missing_python(folder):
    without_python(folder)
    (folder / ".venv" / "bin" / "python").symlink_to("/nowhere/python")


def with_old_python(folder):
    without_python(folder)
    python = folder / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\necho 3 8\n")
    python.chmod(0o755)


def from_other_folder(folder):
    without_pip(folder)
    quick_pip(folder)
    (folder / ".venv" / ".installed-demo").write_text("0123 /elsewhere/.venv")


def empty_environment(folder):
    (folder / ".venv").mkdir()


def quick_pip(folder):
    """Install a pip that cannot reach its index."""
    (packages,) = (folder / ".venv").glob("lib/python3*/site-packages")
    (packages / "pip" / "_internal" / "cli").mkdir(parents=True)
    for path in ("", "_internal/", "_internal/cli/"):
        (packages / "pip" / path / "__init__.py").write_text("")
    (packages / "pip" / "_internal" / "cli" / "main.py").write_text("")
    (packages / "pip" / "__main__.py").write_text("exit('ERROR: … (from versions: none)')\n")


# Replaces unpacking pip, which takes half a minute.
QUICKLY = f"""
import venv, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from tests.test_dev import quick_pip
create = venv.create
def quickly(folder, *, clear, with_pip):
    assert clear and with_pip
    create(folder, clear=True, with_pip=False)
    quick_pip(Path(folder).parent)
venv.create = quickly
"""


@pytest.mark.parametrize(
    "half_made",
    [
        without_python,
        with_missing_python,
        with_old_python,
        from_other_folder,
        empty_environment,
    ],
)
def test_broken_environment_is_recreated(checkout, half_made):
    half_made(checkout)
    (checkout / ".venv" / "of-before").write_text("")

    code, lines = dev(checkout, "test", before=QUICKLY)

    assert not (checkout / ".venv" / "of-before").exists()
    assert not (checkout / ".venv" / ".installed-demo").exists()
    # Then there is no network to install the packages from.
    assert code == 1
    assert lines[-1].startswith("No network")
    assert len(lines) == 2


def test_environment_without_pip_gets_pip(checkout):
    without_pip(checkout)
    (checkout / ".venv" / "of-before").write_text("")

    code, lines = dev(checkout, "demo", PORT=str(free_port()))

    python = str(checkout / ".venv" / "bin" / "python")
    assert subprocess.run([python, "-m", "pip", "-q", "check"]).returncode == 0
    assert (checkout / ".venv" / "of-before").exists()
    assert code == 1
    assert lines[-1].startswith("No network")
    assert len(lines) == 2


def test_file_named_venv_is_reported_in_one_line(checkout):
    (checkout / ".venv").write_text("")

    code, lines = dev(checkout, "test")

    assert code == 1
    assert len(lines) == 2
    assert ".venv" in lines[-1]


def test_missing_ensurepip_is_reported_with_package_name(checkout):
    before = (
        "import subprocess, venv\n"
        "def create(*arguments, **options): raise subprocess.CalledProcessError(1, 'ensurepip')\n"
        "venv.create = create"
    )

    code, lines = dev(checkout, "test", before=before, PATH="/nowhere")

    assert code == 1
    assert "apt install python3-venv" in lines[-1]
    assert len(lines) == 2


@pytest.mark.parametrize("command", ["demo", "test", "check", "docs"])
def test_read_only_folder_is_reported_in_one_line(checkout, command):
    before = "import os; os.access = lambda *arguments, **options: False"

    code, lines = dev(checkout, command, before=before)

    assert code == 1
    assert lines == [
        f"{checkout} is read-only: make it writable, or run a copy of the checkout.",
    ]
    assert not (checkout / ".venv").exists()


# A complete one, in which pytest is a script


@pytest.fixture
def complete_checkout(checkout):
    """Create a complete `.venv` whose pytest records its arguments, and exits as told."""
    without_pip(checkout)
    quick_pip(checkout)
    (packages,) = (checkout / ".venv").glob("lib/python3*/site-packages")
    (packages / "pytest.py").write_text(
        "import os, sys\n"
        "print('pytest', *sys.argv[1:])\n"
        "is_browser = 'tests/browser' in sys.argv\n"
        "sys.exit(int(os.environ['BROWSER_EXITS' if is_browser else 'PYTEST_EXITS']))\n"
    )
    (packages / "sphinx.py").write_text(
        "import os, sys\n"
        "print('sphinx', *sys.argv[1:])\n"
        "sys.exit(int(os.environ['SPHINX_EXITS']))\n"
    )
    told = "import runpy; print(runpy.run_path('dev.py')['_stamp']())"
    stamp = subprocess.check_output([sys.executable, "-c", told], cwd=checkout, text=True).strip()
    for group in ("test", "docs"):
        (checkout / ".venv" / f".installed-{group}").write_text(stamp)
    return checkout


def test_missing_browser_is_reported_and_other_tests_run(complete_checkout):
    code, lines = dev(
        complete_checkout, "test", CHROMIUM="/nowhere", PYTEST_EXITS="0", BROWSER_EXITS="5"
    )

    assert code == 0
    assert lines[:2] == ["pytest -n 2 --ignore=tests/browser", "pytest -n 3 tests/browser"]
    assert lines[2].startswith("No Chromium")
    assert "CHROMIUM" in lines[2]


def test_slow_option_runs_slow_tests(complete_checkout):
    ends = {"PYTEST_EXITS": "0", "BROWSER_EXITS": "0"}

    code, lines = dev(complete_checkout, "test", "--slow", CHROMIUM=sys.executable, **ends)

    assert code == 0
    assert lines == [
        "pytest --slow -n 2 --ignore=tests/browser",
        "pytest --slow -n 3 tests/browser",
    ]


def test_cov_option_measures_coverage_except_in_browser_tests(complete_checkout):
    ends = {"PYTEST_EXITS": "0", "BROWSER_EXITS": "0"}

    code, lines = dev(complete_checkout, "test", "--cov", CHROMIUM=sys.executable, **ends)

    assert code == 0
    assert lines == ["pytest --cov -n 2 --ignore=tests/browser", "pytest -n 3 tests/browser"]


def test_missing_browser_is_reported_for_browser_tests_alone(complete_checkout):
    code, lines = dev(
        complete_checkout, "test", "tests/browser", CHROMIUM="/nowhere", BROWSER_EXITS="5"
    )

    assert code == 0
    assert lines[-1].startswith("No Chromium")


@pytest.mark.parametrize(
    ("chromium", "codes", "code"),
    [
        ("/nowhere", ("1", "5"), 1),
        ("/nowhere", ("0", "1"), 1),
        ("/nowhere", ("0", "4"), 4),
        (sys.executable, ("0", "0"), 0),
        (sys.executable, ("0", "5"), 5),
    ],
)
def test_failing_tests_give_exit_code(complete_checkout, chromium, codes, code):
    ends = dict(zip(("PYTEST_EXITS", "BROWSER_EXITS"), codes, strict=True))

    found, lines = dev(complete_checkout, "test", CHROMIUM=chromium, **ends)

    assert found == code
    assert not any(line.startswith("No Chromium") for line in lines)


def test_documentation_is_rebuilt_with_warnings_as_errors(complete_checkout):
    code, lines = dev(complete_checkout, "docs", SPHINX_EXITS="0")

    assert code == 0
    command, last = lines
    name, *options, source, target = command.split()
    assert (name, source, target) == ("sphinx", "docs", "build/docs")
    assert {"-E", "-W"} <= {*options}
    assert last == "Built build/docs/index.html."


def test_failing_documentation_build_gives_exit_code(complete_checkout):
    code, lines = dev(complete_checkout, "docs", SPHINX_EXITS="1")

    assert code == 1
    assert len(lines) == 1
