"""The files of the project: for a package index, contributors and GitHub."""

import ast
import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from readme_renderer import markdown

from .documentation import DOCS, PAGES, ROOT, name_of, read

WORKFLOW = ".github/workflows/ci.yml"
GITHUB = "https://github.com/django-persistent-inbox/django-persistent-inbox"
RAW = GITHUB.replace("github.com", "raw.githubusercontent.com")
SITE = "https://django-persistent-inbox.readthedocs.io/"


def loaded(name):
    return yaml.safe_load(read(name))


def jobs():
    return loaded(WORKFLOW)["jobs"]


def commands(job):
    return [step["run"] for step in jobs()[job]["steps"] if "run" in step]


def classified(prefix):
    """Return the versions in the classifiers."""
    found = re.findall(rf'"{re.escape(prefix)} :: (\d+\.\d+)"', read("pyproject.toml"))
    return {*found}


@pytest.fixture
def pairs():
    """Return the pairs of Python and Django in the noxfile."""
    tree = ast.parse(read("noxfile.py"))
    [node] = [
        node
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets) == "PAIRS"
    ]
    return {*eval(compile(ast.Expression(node.value), "noxfile.py", "eval"))}


# Versions


def test_workflow_runs_nox_pairs_on_each_database(pairs):
    matrix = jobs()["tests"]["strategy"]["matrix"]
    left_out = {(pair["python"], pair["django"]) for pair in matrix["exclude"]}
    addresses = {each["database"]: each["url"] for each in matrix["include"]}

    assert {*product(matrix["python"], matrix["django"])} - left_out == pairs
    assert matrix["database"] == ["sqlite", *addresses]
    assert jobs()["tests"]["env"] == {"DATABASE_URL": "${{ matrix.url }}"}


def test_classifiers_equal_tested_versions(pairs):
    assert classified("Programming Language :: Python") == {python for python, _ in pairs}
    assert classified("Framework :: Django") == {django for _, django in pairs}


def test_versions_allowed_to_fail_are_not_declared():
    matrix = jobs()["next-python"]
    [version] = [
        step["with"]["python-version"] for step in matrix["steps"] if "setup-python" in str(step)
    ]

    assert matrix["continue-on-error"] is True
    assert version not in classified("Programming Language :: Python")
    assert {*matrix["strategy"]["matrix"]["django"]} == classified("Framework :: Django")


def test_readme_names_supported_versions(pairs):
    text = read("README.md").partition("## Versions")[2].partition("##")[0]

    named = {*re.findall(r"\b(?:\d\.\d{1,2})\b", text)}
    django = classified("Framework :: Django")
    newest = max((version for version, _ in pairs), key=lambda each: int(each[2:]))
    assert django | {"3.10", "3.12", newest} == named


def test_metadata_requires_oldest_supported_python(pairs):
    oldest = min((python for python, _ in pairs), key=lambda each: int(each[2:]))

    assert f'requires-python = ">={oldest}"' in read("pyproject.toml")


# The workflow


def test_workflow_runs_checks_of_dev_py():
    assert "python3 dev.py check" in commands("lint")
    assert "python3 dev.py docs" in commands("docs")
    assert any("wheel_site.py" in command for command in commands("wheel"))
    assert any("distributions.py" in command for command in commands("wheel"))
    assert any("tests/browser" in command for command in commands("browser"))


def test_release_needs_each_required_job():
    release = jobs()["release"]
    must_pass = [
        name for name, job in jobs().items() if name != "release" and "continue-on-error" not in job
    ]

    assert release["needs"] == must_pass
    assert release["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert release["permissions"] == {"id-token": "write"}
    assert release["steps"][-1] == {"uses": "pypa/gh-action-pypi-publish@release/v1"}


def test_only_release_job_has_write_permission():
    permissions = {name: job.get("permissions") for name, job in jobs().items()}

    assert loaded(WORKFLOW)["permissions"] == {"contents": "read"}
    assert {name for name, given in permissions.items() if given} == {"release"}


def test_workflow_actions_have_versions():
    used = [step["uses"] for job in jobs().values() for step in job["steps"] if "uses" in step]

    assert used
    assert all(re.fullmatch(r"[\w./-]+@[\w./-]*v\d+", action) for action in used)


# Hooks


def hooks():
    [repository] = loaded(".pre-commit-config.yaml")["repos"]
    return repository["hooks"]


def checked():
    """Return the commands of `dev.py check` without options."""
    tree = ast.parse(read("dev.py"))
    [check] = [node for node in tree.body if getattr(node, "name", "") == "check"]
    runs = [node for node in ast.walk(check) if ast.unparse(node).startswith("run(")]
    for node in runs:
        if isinstance(node, ast.Call):
            words = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            yield [word for word in words if isinstance(word, str) and word.isidentifier()]


def test_pre_commit_hooks_cover_dev_py_check():
    entries = [{Path(word).name for word in hook["entry"].split()} for hook in hooks()]
    tools = [words for words in checked() if words]

    assert len(tools) >= 5
    # The settings of a server need an environment.
    assert [each for each in tools if not any({*each} <= entry for entry in entries)] == []


def test_each_pre_commit_hook_is_run_elsewhere():
    tools = [{*words} for words in checked()]
    others = {hook["id"] for hook in hooks()} - {"biome"}

    assert all(any({*each.split("-")} >= words for words in tools if words) for each in others)
    [biome] = [hook for hook in hooks() if hook["id"] == "biome"]
    [package] = biome["additional_dependencies"]
    assert any(f"npx --yes {package} lint" in command for command in commands("lint"))


def test_mail_lint_runs_in_workflow_and_ci_run():
    assert ".ci/lint-mails" in commands("lint")
    assert ".ci/lint-mails" in read(".ci/run").splitlines()


# Read the Docs


def test_read_the_docs_configuration_matches_dev_py():
    settings = loaded(".readthedocs.yaml")

    assert settings["sphinx"] == {"configuration": "docs/conf.py", "fail_on_warning": True}
    version = settings["build"]["tools"]["python"]
    assert version in classified("Programming Language :: Python")
    assert any("--group docs" in command for command in settings["build"]["jobs"]["install"])


# The README, as an index page shows it


def test_readme_is_short():
    assert len(read("README.md").splitlines()) <= 150


def test_readme_can_be_rendered():
    html = markdown.render(read("README.md"))

    assert html is not None
    assert '<img src="https://' in html
    addresses = re.findall(r'<(?:a|img)\b[^>]* (?:href|src)="([^#"][^"]*)"', html)
    assert addresses
    # Relative links do not work there.
    assert [each for each in addresses if not each.startswith(("https://", "http://127"))] == []


ADDRESSES = sorted(
    {
        (name_of(page), address)
        for page in PAGES
        for address in re.findall(rf"(?:{GITHUB}|{RAW}|{SITE})[\w./-]*", read(name_of(page)))
    }
)


@pytest.mark.parametrize(("name", "address"), ADDRESSES)
def test_project_urls_have_existing_targets(name, address):
    if address.startswith(SITE):
        path = DOCS / (address.removeprefix(SITE) or "index.html")
        assert path.with_suffix(".md").exists()
    elif "/blob/main/" in address:
        assert (ROOT / address.partition("/blob/main/")[2]).exists()
    elif address.startswith(RAW):
        assert (ROOT / address.removeprefix(f"{RAW}/main/")).exists()
    else:
        assert address.removeprefix(GITHUB) in ("", "/security", "/issues")


def test_metadata_has_project_urls():
    urls = read("pyproject.toml").partition("[project.urls]\n")[2].partition("\n\n")[0]
    given = dict(re.findall(r'^(\w+) = "(.*)"$', urls, re.MULTILINE))

    assert given == {
        "Documentation": SITE,
        "Changelog": f"{SITE}changelog.html",
        "Source": GITHUB,
        "Issues": f"{GITHUB}/issues",
    }
