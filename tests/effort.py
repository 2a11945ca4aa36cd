"""How much the tests try: by default a tenth of the examples, with `--slow` all of them."""

import os

WHOLE = "SLOW_TESTS"
"""Set in the environment by `--slow`, before any test is imported."""


def some_of(examples):
    """How many of so many examples to try."""
    return examples if os.environ.get(WHOLE) else max(3, examples // 10)
