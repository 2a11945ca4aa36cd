"""The verdict and the report of the load test, which `python3 dev.py load` runs."""

from dataclasses import replace

import pytest
from django.db import connection

from benchmarks import load_report

MIB = 2**20
FIGURES = {"requests": 600, "errors": 0, "rate": 10.0, "median": 20, "p99": 90}


@pytest.fixture
def passing_result():
    return load_report.Result(
        facts=f"{connection.display_name} 1.2\n\nOf today.",
        alone={"nothing": {**FIGURES, "rate": 100.0}, "home": FIGURES},
        mix={"nothing": FIGURES, "home": FIGURES, "Aggregated": {**FIGURES, "requests": 1200}},
        seconds=60,
        memory=(100 * MIB, 103 * MIB),
        growth=8 * MIB,
        acknowledged=50,
        refused=0,
        stored=50,
        errors=[],
        log=["WARNING django.request: Not Found: /robots.txt"],
    )


def test_run_without_failures_passes(passing_result):
    assert passing_result.failures == []
    assert "No error in 1,200 requests" in list(load_report.verdict(passing_result))[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"errors": ["3 times GET home: 500, not 200"]}, "500, not 200"),
        ({"log": ["2026 ERROR django.request: Internal Server Error: /"]}, "1 errors in the log"),
        ({"stored": 49}, "50 letters acknowledged, 49 stored"),
        ({"stored": 51}, "50 letters acknowledged, 51 stored"),
        ({"memory": (100 * MIB, 109 * MIB)}, "has grown"),
        ({"mix": {}}, "nothing was measured"),
    ],
)
def test_each_failure_fails_run(passing_result, change, words):
    bad = replace(passing_result, **change)
    assert [words in failure for failure in bad.failures] == [True]
    assert any("FAILED" in line and words in line for line in load_report.verdict(bad))


def test_letter_with_failed_response_may_be_stored(passing_result):
    assert replace(passing_result, stored=51, refused=1).failures == []


def test_report_compares_requests_with_empty_page(passing_result, tmp_path):
    report = tmp_path / "LOAD.md"
    load_report.write(passing_result, report)
    assert "| home | 10.0 | 10.0 | 20 ms | 90 ms |" in report.read_text(encoding="utf-8")


def test_run_replaces_only_section_of_its_database(passing_result, tmp_path):
    report = tmp_path / "LOAD.md"
    load_report.write(replace(passing_result, facts="Another 3.4\n\nOf yesterday."), report)
    load_report.write(
        replace(passing_result, facts=f"{connection.display_name} 1.1\n\nOf before."), report
    )
    load_report.write(passing_result, report)
    text = report.read_text(encoding="utf-8")
    assert text.startswith("# Under load\n")
    assert text.count("\n## ") == 2
    assert "Of yesterday." in text
    assert "Of today." in text
    assert "Of before." not in text


def test_failed_run_is_marked_in_report(passing_result, tmp_path):
    report = tmp_path / "LOAD.md"
    load_report.write(replace(passing_result, stored=49), report)
    text = report.read_text(encoding="utf-8")
    assert "**Failed: 50 letters acknowledged, 49 stored**" in text
    assert "No error in" not in text
