"""The code blocks of docs/growing.md."""

import re
import shlex
from pathlib import Path

CHAPTER = Path(__file__).parent.parent / "docs" / "growing.md"


def code_block(title, language="python"):
    """Return the block that begins with the comment `title`."""
    blocks = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", CHAPTER.read_text(encoding="utf-8"))
    (found,) = [block for block in blocks if re.match(rf"(#|--) {re.escape(title)}\n", block)]
    return found


def commands(title):
    """Yield the arguments of each `manage.py` command in a block."""
    for line in code_block(title, "sh").splitlines():
        if line.startswith("python manage.py "):
            yield shlex.split(re.split("[|<>]", line)[0])[2:]


def settings_of(title, **known):
    """Return the settings that a block sets; it may use `known` ones."""
    exec(f"import os, dj_database_url\n{code_block(title)}", known)
    return {name: value for name, value in known.items() if name.isupper()}
