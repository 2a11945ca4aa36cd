"""The number of examples in tests: a tenth by default, all of them with `--slow`."""

import os

WHOLE = "SLOW_TESTS"
"""Set in the environment by `--slow` before any test is imported."""


def example_count(examples):
    """Return the number of examples to try."""
    return examples if os.environ.get(WHOLE) else max(3, examples // 10)
