"""The number of examples in tests: a part of them by default, all of them with `--slow`."""

import os

WHOLE = "SLOW_TESTS"
"""Set in the environment by `--slow` before any test is imported."""


def example_count(examples):
    """Return the number of random examples to try, a tenth by default."""
    return examples if os.environ.get(WHOLE) else max(3, examples // 10)


def some_of(values, number):
    """Return the values to try, a third of them by default.

    Tests with different numbers try different thirds.
    """
    values = list(values)
    return values if os.environ.get(WHOLE) else values[number % min(3, len(values) or 1) :: 3]
