"""The code in docs/growing.md, which is run as it stands there."""

import re
import shlex
from pathlib import Path

CHAPTER = Path(__file__).parent.parent / "docs" / "growing.md"


def code(title, language="python"):
    """The block of the chapter that begins with the comment `title`."""
    blocks = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", CHAPTER.read_text(encoding="utf-8"))
    (found,) = [block for block in blocks if re.match(rf"(#|--) {re.escape(title)}\n", block)]
    return found


def commands(title):
    """The arguments of each `manage.py` in a block."""
    for line in code(title, "sh").splitlines():
        if line.startswith("python manage.py "):
            yield shlex.split(re.split("[|<>]", line)[0])[2:]


def settings_of(title, **known):
    """The settings that a block sets, beside those it knows."""
    exec(f"import os, dj_database_url\n{code(title)}", known)
    return {name: value for name, value in known.items() if name.isupper()}
