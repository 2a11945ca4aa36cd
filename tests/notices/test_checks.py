"""System checks of notice classes, and the command that lists them."""

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.messages import INFO as ONCE
from django.core.checks import run_checks
from django.core.management import call_command
from django.utils.translation import gettext_lazy, override, trans_real

from persistent_messages import Notice, Topic
from persistent_messages.notices.checks import check_notices
from persistent_messages.notices.kinds import kinds
from persistent_messages.topics import topics


@pytest.fixture(autouse=True)
def no_other_notices(monkeypatch):
    monkeypatch.setattr("persistent_messages.notices.kinds.classes", [])


def make_notice(name="Told", **attributes):
    return type(name, (Notice,), {"message": "Hello", "__module__": __name__, **attributes})


def problems():
    return [(problem.id.partition(".")[2], problem.msg) for problem in check_notices()]


def test_valid_notice_class_has_no_problem(monkeypatch):
    monkeypatch.setitem(topics, "storage", None)
    Topic("storage", "Storage")
    right = make_notice(
        subject="%(percent)d %%", topic="storage", key="a", url="/", action="Go", min_interval=HOUR
    )

    assert problems() == []
    assert right.kind() == "tests.Told"


HOUR = timedelta(hours=1)


@pytest.mark.django_db  # from Django 6.1 on, other checks ask the database
def test_notice_checks_are_registered():
    wrong = make_notice(topic="gone")

    assert wrong in [problem.obj for problem in run_checks()]


def test_duplicate_names_are_reported():
    first, second = make_notice(), make_notice()

    assert [code for code, _ in problems()] == ["E012"]
    assert first.kind() == second.kind()


@pytest.mark.parametrize(
    ("attributes", "expected_text"),
    [
        ({"topic": "gone"}, "topic must be registered, not 'gone'"),
        ({"key": "k" * 101}, "key may have 100 characters at most"),
        ({"key": "a", "level": ONCE}, "key needs a persistent level, not 20"),
        ({"min_interval": 60, "key": "a"}, "min_interval must be a timedelta, not 60"),
        ({"min_interval": HOUR}, "min_interval needs a key"),
        ({"action": "Go"}, "action needs a url to lead to"),
        ({"action": "x" * 101, "url": "/"}, "action may have 100 characters at most"),
        ({"action": None}, "action must be a text, not None"),
        ({"subject": "x" * 256}, "subject may have 255 characters at most"),
        ({"subject": None}, "subject must be a text, not None"),
        ({"url": "javascript:alert(1)"}, "url must be a path or an http"),
        ({"level": "high"}, "level must be an integer, not 'high'"),
        ({"level": 2**15}, "level must lie from"),
        ({"key": 5}, "key must be a str, not 5"),
        ({"key": "build:%(number)d"}, "key has a placeholder, but only subject and message"),
        ({"url": "/builds/%(number)d/"}, "url has a placeholder, but only subject and message"),
        ({"url": "/", "action": "Open %(name)s"}, "action has a placeholder, but only"),
        ({"parameters": "builds"}, "parameters must be a tuple of names, not 'builds'"),
        (
            {"template_name": "persistent_messages/base.html"},
            "it has both a message and a template_name",
        ),
        ({"template_name": "gone.html", "message": ""}, "the template 'gone.html' does not exist"),
    ],
)
def test_invalid_attribute_is_reported(attributes, expected_text):
    wrong = make_notice(**attributes)

    ((code, text),) = problems()

    assert (code, text.partition(": ")[0]) == ("E015", wrong.kind())
    assert expected_text in text


def test_lone_percent_sign_is_reported():
    wrong = make_notice(subject="100 % full")

    ((code, text),) = problems()

    assert code == "E013"
    assert "begins no placeholder" in text
    assert wrong.subject


def test_example_that_is_no_dict_is_reported():
    wrong = make_notice(example=["percent"])

    assert problems() == [("E013", f"{wrong.kind()}: example must be a dict, not ['percent'].")]


def test_example_of_unknown_parameter_is_reported():
    wrong = make_notice(example={"percent": 1})

    assert problems() == [
        ("E013", f"{wrong.kind()}: example has 'percent', which is no parameter.")
    ]


@pytest.mark.parametrize(
    ("translated", "code", "expected_text"),
    [
        ("Hallo %(wer)s", "E014", "has the placeholder 'wer', which the source has not"),
        ("Hallo", "W014", "lacks the placeholder 'name'"),
        ("100 % für %(name)s", "E013", "begins no placeholder"),
    ],
)
def test_translation_with_other_placeholders_is_reported(
    monkeypatch, translated, code, expected_text
):
    wrong = make_notice(message=gettext_lazy("Hello %(name)s"))
    with override("de"):
        texts = trans_real.catalog()._catalog._catalogs[0]
    monkeypatch.setitem(texts, "Hello %(name)s", translated)

    found = [(each, text) for each, text in problems() if each == code]

    assert len(found) == 1
    assert f"{wrong.kind()}: message in 'de'" in found[0][1]
    assert expected_text in found[0][1]


def test_class_without_text_is_no_notice():
    base = type("Base", (Notice,), {"topic": "gone"})

    assert problems() == []
    assert base not in kinds()


def test_command_lists_notices(monkeypatch):
    monkeypatch.setitem(topics, "storage", None)
    listed = make_notice(
        subject="%(percent)d %% full",
        topic=Topic("storage", "Storage"),
        key=lambda self, team: team,
    )
    out = StringIO()

    call_command("notices", stdout=out)

    assert out.getvalue() == (
        f"{listed.kind()} (120)\n"
        "  says: %(percent)d %% full: Hello\n"
        "  takes: percent, team\n"
        "  topic: storage\n"
        "  key: by a method\n"
    )


def test_command_reports_if_there_are_no_notices():
    out = StringIO()

    call_command("notices", stdout=out)

    assert out.getvalue().startswith("There are none.")
