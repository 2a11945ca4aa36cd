"""Dates of a list."""

import sys
from datetime import datetime, timedelta
from datetime import timezone as time_zones

import pytest
from django.conf import global_settings
from django.utils import dateformat, formats, timezone
from django.utils.html import escape
from django.utils.translation import override

from persistent_messages.rendering.dates import TimeTags, short_age

NOON = datetime(2024, 2, 29, 12, 34, 56, tzinfo=time_zones.utc)
MOMENTS = [NOON, NOON + timedelta(hours=3), NOON + timedelta(days=1), NOON - timedelta(days=900)]


def expected(moment, name):
    return escape(dateformat.format(timezone.localtime(moment), formats.get_format(name)))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Los_Angeles"])
def test_time_is_formatted_as_by_django_in_each_language(zone):
    """Includes languages with the time first, or with words between date and time."""
    for language, _name in global_settings.LANGUAGES:
        with override(language), timezone.override(zone):
            times, dated = TimeTags(), TimeTags(has_date=True)
            for moment in MOMENTS:
                exact = f'title="{expected(moment, "DATETIME_FORMAT")}"'
                assert exact in times.of(moment)
                assert exact in dated.of(moment)
                assert f">{expected(moment, 'TIME_FORMAT')}</time>" in times.of(moment)
                assert f">{expected(moment, 'SHORT_DATETIME_FORMAT')}</time>" in dated.of(moment)


@pytest.mark.parametrize(
    "exact",
    ["H:i j. F Y P", "N j, Y (e) P", r"j F Y \P", "P", "c"],
    ids=["time on both sides", "time zone", "escaped", "time alone", "ISO"],
)
def test_custom_format_is_rendered_as_by_django(settings, tmp_path, monkeypatch, exact):
    (tmp_path / "own_formats" / "en").mkdir(parents=True)
    for folder in ("own_formats", "own_formats/en"):
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "own_formats" / "en" / "formats.py").write_text(
        f"DATETIME_FORMAT = {exact!r}\nTIME_FORMAT = 'P'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("own_formats")]:
        monkeypatch.delitem(sys.modules, name)
    settings.FORMAT_MODULE_PATH = "own_formats"
    formats.reset_format_cache()
    try:
        assert formats.get_format("DATETIME_FORMAT") == exact
        times = TimeTags()
        for moment in MOMENTS:
            assert f'title="{expected(moment, "DATETIME_FORMAT")}"' in times.of(moment)
    finally:
        formats.reset_format_cache()


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (timedelta(seconds=59), "now"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=23, minutes=59, seconds=59), "23 h"),
        (timedelta(hours=24), "02/28/2024"),
    ],
)
def test_short_age_changes_unit_at_exact_limits(monkeypatch, age, shown):
    monkeypatch.setattr(timezone, "now", lambda: NOON)
    assert short_age(NOON - age) == shown
