"""Levels and folders."""

import pytest
from django.contrib.messages import constants as contrib

import persistent_messages
from persistent_messages import constants
from persistent_messages.constants import Folder, base_level, is_persistent


def test_levels_have_documented_values():
    names = ["DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR"]
    assert [getattr(persistent_messages, name) for name in names] == [110, 120, 125, 130, 140]


def test_persistent_message_levels_lists_all_levels():
    """In the package of 2011, `DEBUG` was missing from them."""
    assert tuple(persistent_messages.PERSISTENT_MESSAGE_LEVELS) == (110, 120, 125, 130, 140)


def test_default_tags_equal_those_of_contrib():
    assert persistent_messages.DEFAULT_TAGS == {
        110: "debug",
        120: "info",
        125: "success",
        130: "warning",
        140: "error",
    }


def test_default_levels_correspond_to_contrib():
    assert persistent_messages.DEFAULT_LEVELS == {
        "DEBUG": 110,
        "INFO": 120,
        "SUCCESS": 125,
        "WARNING": 130,
        "ERROR": 140,
    }


def test_contrib_constants_are_unchanged():
    """The package of 2011 changed contrib's `DEFAULT_TAGS` at import."""
    assert contrib.DEFAULT_TAGS == {
        10: "debug",
        20: "info",
        25: "success",
        30: "warning",
        40: "error",
    }
    assert set(contrib.DEFAULT_LEVELS.values()) == {10, 20, 25, 30, 40}


@pytest.mark.parametrize("level", [101, 110, 129, 140, 199])
def test_levels_from_101_to_199_are_persistent(level):
    assert is_persistent(level)
    assert base_level(level) == level - 100


@pytest.mark.parametrize("level", [-100, -1, 0, 10, 40, 99, 100, 200, 240])
def test_other_levels_are_not_persistent(level):
    assert not is_persistent(level)
    assert base_level(level) == level


def test_folder_values_are_unchanged():
    assert {folder.name: folder.value for folder in Folder} == {
        "ONE_SHOT": 0,
        "INBOX": 1,
        "SENT": 2,
        "ARCHIVE": 3,
        "TRASH": 4,
        "TOMBSTONE": 5,
    }


def test_persistent_offset_is_100():
    assert constants.PERSISTENT_OFFSET == constants.INFO - contrib.INFO == 100
