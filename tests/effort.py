"""The number of examples in tests: a part of them by default, all of them with `--slow`."""

import os

WHOLE = "SLOW_TESTS"
"""Set in the environment by `--slow` before any test is imported."""


def is_slow():
    """Return whether all examples are tried."""
    return bool(os.environ.get(WHOLE))


def example_count(examples):
    """Return the number of random examples to try, a tenth by default."""
    return examples if is_slow() else max(3, examples // 10)


def some_of(values, number):
    """Return the values to try, a third of them by default.

    Tests with different numbers try different thirds.
    """
    values = list(values)
    return values if is_slow() else values[number % min(3, len(values) or 1) :: 3]
